"""The certificates that a call trusts: those that the calling library would trust by itself.

httpx and httpx2 each have their own rule, which changes with the version. So llmwatch asks the library's own
``create_ssl_context`` and repeats nothing of it. By default it trusts (as seen with these versions on Linux):

==========================  ============================  ======================  ==============================
variable                    httpx 0.23 to 0.27            httpx 0.28              httpx2 2.16, openai, anthropic
==========================  ============================  ======================  ==============================
none                        certifi                       certifi                 the system's store
``SSL_CERT_FILE``           that file, if it exists       that file               that file
``SSL_CERT_DIR``            that one directory            those directories       those directories
both of these               the file                      the file                the file
``REQUESTS_CA_BUNDLE``      not read                      not read                not read
``CURL_CA_BUNDLE``          not read                      not read                not read
==========================  ============================  ======================  ==============================
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any

import requests
from requests.utils import select_proxy

from llmwatch.errors import ConfigError
from llmwatch.interruption import is_interruption
from llmwatch.sdk.libraries import Library

__all__ = ["TRUST_ADVICE", "Trust", "Verify"]

Verify = bool | str | os.PathLike[str] | ssl.SSLContext
"""httpx's ``verify``: whether to verify, a file or directory of certificates, or a whole context."""

TRUST_ADVICE = (
    "if it is meant to, name its authority's certificate in SSL_CERT_FILE, or pass"
    " verify=ssl.create_default_context(cafile=...) to llmwatch.sdk.Transport, openai or anthropic"
)
"""The advice to a user of these libraries about a certificate that does not verify."""

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


class Trust:
    """The certificates that one transport trusts, by its ``verify`` and ``session``, for each library.

    ``verify`` goes before the session's, and that (with ``REQUESTS_CA_BUNDLE``, which a session reads) before the
    library's rule. Raises :class:`TypeError` for a ``verify`` of another type and :class:`~llmwatch.ConfigError` for a
    missing file.
    """

    def __init__(self, verify: Verify | None, session: requests.Session | None) -> None:
        if verify is not None and not isinstance(verify, (bool, str, os.PathLike, ssl.SSLContext)):
            raise TypeError(f"verify must be a bool, a path or an ssl.SSLContext, not {type(verify).__name__}")
        if isinstance(verify, (str, os.PathLike)):
            verify = os.fspath(verify)
            if not os.path.exists(verify):
                raise ConfigError(f"verify names {verify!r}, and there is no such file.", field="verify", value=verify)
        self._verify = verify
        self._session = session
        self._contexts: dict[tuple[Any, ...], ssl.SSLContext] = {}

    def settings(self, library: Library, url: str, lent: Mapping[str, Any]) -> tuple[Any, Any]:
        """``verify`` and ``cert`` for the adapter; ``lent`` is what requests would use for ``url``.

        They hold for a proxy that is reached by TLS too, whatever the scheme of ``url``. The environment is read at
        every call. Raises :class:`~llmwatch.ConfigError` for certificates that cannot be loaded.
        """
        verify, cert = self._verify, lent["cert"]
        if verify is None:
            verify = lent["verify"] if self._session is not None else True
        proxy = select_proxy(url, dict(lent["proxies"])) or ""
        if verify is True and (url.startswith("https:") or proxy.lower().startswith("https:")):
            trusts_environment = self._session is None or self._session.trust_env
            return self._context(library, trusts_environment, cert), None
        if isinstance(verify, ssl.SSLContext) and cert is not None:
            # The libraries too load the client's certificate into the user's context.
            _load(verify, cert)
            cert = None
        return verify, cert

    def _context(self, library: Library, trusts_environment: bool, cert: Any) -> ssl.SSLContext:
        """The library's own context, made once for the same settings: certifi alone takes 10 ms to load."""
        variables = tuple(os.environ.get(name) for name in _VARIABLES) if trusts_environment else ()
        key = (library.name, variables, tuple(cert) if isinstance(cert, list) else cert)
        context = self._contexts.get(key)
        if context is not None:
            return context
        try:
            made: ssl.SSLContext = library.get("create_ssl_context")(trust_env=trusts_environment)
        except OSError as error:
            if is_interruption(error):
                raise
            raise _not_loaded(error, trusts_environment) from None
        if cert is not None:
            _load(made, cert)
        # Another thread may have made it first, and connections are pooled by their context.
        return self._contexts.setdefault(key, made)


def _load(context: ssl.SSLContext, cert: Any) -> None:
    try:
        context.load_cert_chain(*([cert] if isinstance(cert, str) else cert))
    except OSError as error:
        if is_interruption(error):
            raise
        raise ConfigError(
            f"The certificate of the client, cert={cert!r}, cannot be loaded ({_reason(error)}). Nothing was sent.",
            field="cert",
        ) from None


def _not_loaded(error: OSError, trusts_environment: bool) -> ConfigError:
    for name in _VARIABLES if trusts_environment else ():
        value = os.environ.get(name)
        if value:
            return ConfigError(
                f"{name} is {value!r}, and no certificates can be loaded from there ({_reason(error)}). Nothing was"
                " sent.",
                field=name,
                value=value,
            )
    return ConfigError(
        f"The certificates that are trusted by default cannot be loaded ({_reason(error)}). Nothing was sent.",
        field="verify",
    )


def _reason(error: OSError) -> str:
    # The strerror of an error of TLS tells no more than its reason.
    return str(getattr(error, "reason", None) or error.strerror or type(error).__name__)
