"""A request's extensions that change its connection and its first line.

``sni_hostname`` is the name that TLS asks for, and that the certificate must have, in place of the URL's host.
``target`` replaces the URL's path in the first line, byte for byte. Both hold behind a proxy too, as with httpx2; httpx
0.28 leaves the name out there and puts the target into the CONNECT.
"""

from __future__ import annotations

import re
from typing import Any

from llmwatch.errors import ConfigError
from llmwatch.sdk.conversion import header_lines
from llmwatch.sdk.libraries import Library
from llmwatch.transport import Overrides

__all__ = ["overrides_of"]

_TARGET = re.compile(rb"[\x21-\x7e]+")
"""The characters that HTTP allows between the spaces of a request's first line."""


def overrides_of(request: Any, library: Library) -> Overrides:
    """The settings in the extensions of ``request``.

    Raises :class:`TypeError` for values of a wrong type, :class:`~llmwatch.ConfigError` for a name that no server can
    have, and the library's ``LocalProtocolError`` for a target that cannot be sent.
    """
    return Overrides(
        server_hostname=_name_in(request.extensions),
        target=_target_in(request, library),
        # A tracer of the library has put its header there. It may have patched http.client as well, for requests' sake.
        header_lines=header_lines(request),
    )


def _name_in(extensions: Any) -> str | None:
    name = extensions.get("sni_hostname")
    if not name:
        return None
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    if not isinstance(name, str):
        raise TypeError(f"the extension sni_hostname must be text, not {type(name).__name__}")
    try:
        valid = bool(name.encode("idna")) and not name.startswith(".")
    except UnicodeError:
        valid = False
    if not valid:
        raise ConfigError(
            f"The extension sni_hostname is {name!r}, which is no name of a host. Nothing was sent.",
            field="sni_hostname",
            value=name,
        )
    return name


def _target_in(request: Any, library: Library) -> str | None:
    if "target" not in request.extensions:
        return None
    target = request.extensions["target"]
    if isinstance(target, str) and target.isascii():
        target = target.encode()
    if not isinstance(target, bytes):
        what = "text beyond ASCII" if isinstance(target, str) else type(target).__name__
        raise TypeError(f"the extension target must be bytes or ASCII text, not {what}")
    if not _TARGET.fullmatch(target):
        raise library.get("LocalProtocolError")(
            f"The extension target is {target!r}, and HTTP lets no space, control character or byte above 126 stand"
            " there, nor nothing at all. Nothing was sent.",
            request=request,
        )
    return target.decode()
