"""Which requests a proxy serves: those of this machine's programs, none of a web page.

A page in a browser can send requests to a port of this machine. Such a request has an ``Origin`` if it could do harm
(any POST, and any that a page of another origin may read). A page whose own name was made to lead here (DNS rebinding)
sends the page's host as ``Host``. ``Sec-Fetch-*`` is not looked at: the fetch of Node sends it as well (undici, Node
20).

A proxy that listens elsewhere than on loopback serves only those that show its token.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmwatch.transport.header_lines import HeaderLines

__all__ = ["TOKEN_HEADER", "Admission"]

TOKEN_HEADER = "x-llmwatch-token"
"""The header with the token of a proxy. It is not sent on."""

_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The rule for a proxy at ``port``.
    ``loopback``: the ``Host`` has to be this machine. ``default_port``: of the scheme. ``token``: what a request has to
    show, ``None`` for nothing.
    """

    port: int
    loopback: bool = True
    default_port: int = 80
    token: str | None = None

    def refusal(self, headers: HeaderLines) -> tuple[int, str] | None:
        """The status and the text of a refusal; ``None`` for a request that is served."""
        if values(headers, "origin"):
            return 403, "A request with an Origin comes from a web page, and is not relayed."
        hosts = values(headers, "host")
        if self.loopback and not (len(hosts) == 1 and self._is_here(hosts[0])):
            return 403, f"The Host of a request has to be 127.0.0.1:{self.port} or localhost:{self.port}."
        if self.token is not None:
            shown = values(headers, TOKEN_HEADER)
            if len(shown) != 1 or not hmac.compare_digest(shown[0].encode("latin-1"), self.token.encode()):
                return 401, f"The header {TOKEN_HEADER} with the token of this proxy is missing or wrong."
        return None

    def _is_here(self, text: str) -> bool:
        match = _HOST.fullmatch(text)
        if match is None or int(match["port"] or self.default_port) != self.port:
            return False
        if match["host"].lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(match["host"].strip("[]")).is_loopback
        except ValueError:
            return False


def values(headers: HeaderLines, name: str) -> Sequence[str]:
    """The values of the headers of this name, in lower case, as they came."""
    return [value for header, value in headers if header.lower() == name]
