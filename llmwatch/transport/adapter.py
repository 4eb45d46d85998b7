"""The requests adapter over the watched pools."""

from __future__ import annotations

import functools
import inspect
import ssl
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3.connection import HTTPConnection
from urllib3.exceptions import LocationValueError
from urllib3.util import parse_url

from llmwatch import at_fork
from llmwatch.errors import ConfigError
from llmwatch.transport import context as contexts
from llmwatch.transport import hooks
from llmwatch.transport.aside import aside
from llmwatch.transport.pools import POOL_CLASSES
from llmwatch.transport.sockets import KEEPALIVE_OPTIONS
from llmwatch.watch.workers import Workers

__all__ = ["REQUEST_ID_HEADERS", "SOCKET_OPTIONS", "WatchedAdapter", "request_id_of"]

# Threads share a client, and a pool that overflows closes good connections.
_SEND = inspect.unwrap(HTTPAdapter.send)
"""requests' own function, without wrappers."""

_POOL_SIZE = 100

SOCKET_OPTIONS = (*HTTPConnection.default_socket_options, *KEEPALIVE_OPTIONS)
"""The socket options of every connection."""

REQUEST_ID_HEADERS = (
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-amzn-requestid",
    "x-goog-request-id",
    "cf-ray",
)
"""Headers in which providers name the request, the most specific first."""


class WatchedAdapter(HTTPAdapter):
    """A requests adapter whose sockets an attempt can shut down in every phase.
    The adapter never retries by itself. ``verifies_proxies``: verify a proxy's own certificate as ``verify`` says,
    whatever the URL; otherwise requests decides.
    """

    verifies_proxies = False
    for_requests = True
    """Whether other code's wrappers of requests' adapters belong to its calls: mocks, tracers.
    Not so for a call of another library, which would not come there.
    """

    def __init__(self, *, verifies_proxies: bool = False) -> None:
        self.verifies_proxies = verifies_proxies
        self.workers = Workers()
        """The idle threads of the client whose connections these are."""
        self._inherited: list[Any] = []
        super().__init__(pool_connections=_POOL_SIZE, pool_maxsize=_POOL_SIZE, max_retries=0)
        at_fork.follow(self)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        pool_kwargs.setdefault("socket_options", [*SOCKET_OPTIONS])
        super().init_poolmanager(connections, maxsize, block, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = POOL_CLASSES

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        if proxy.lower().startswith("socks"):
            raise ConfigError(
                "SOCKS proxies are not supported: their connections cannot be watched while they are made. Use an HTTP"
                " proxy, or none (proxies=, HTTPS_PROXY, ALL_PROXY). Nothing was sent.",
                field="proxies",
            )
        proxy_kwargs.setdefault("socket_options", [*SOCKET_OPTIONS])
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        manager.pool_classes_by_scheme = POOL_CLASSES
        return manager

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        proxy = select_proxy(request.url or "", proxies)
        try:
            if proxy:
                parse_url(proxy if "://" in proxy else f"http://{proxy}")
                contexts.note(proxy)
        except LocationValueError:
            raise ConfigError(
                "The URL of the proxy cannot be read; check proxies=, HTTP_PROXY, HTTPS_PROXY and ALL_PROXY.",
                field="proxies",
            ) from None
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        config = getattr(pool, "proxy_config", None)
        if config is not None and isinstance(verify, ssl.SSLContext):
            # Otherwise urllib3's own context would verify a proxy that is reached by TLS, whatever this context trusts.
            # The pool belongs to this context alone.
            names = None if verify.check_hostname else False
            pool.proxy_config = config._replace(ssl_context=verify, assert_hostname=names)
            pool.conn_kw["proxy_config"] = pool.proxy_config
        return pool

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """requests' own attributes, with a ``verify`` that may be an :class:`ssl.SSLContext` too.
        That context alone then decides what is verified, and how.
        """
        tls = verify if isinstance(verify, ssl.SSLContext) else None
        host, pool = super().build_connection_pool_key_attributes(request, True if tls else verify, cert)
        settings: dict[str, Any] = {**pool}
        if tls is not None:
            del settings["cert_reqs"]
            settings["ssl_context"] = tls
            if not tls.check_hostname:
                # urllib3 would otherwise still check the name.
                settings["assert_hostname"] = False
        context = contexts.current()
        if context is not None and context.overrides.server_hostname is not None and host["scheme"] == "https":
            # A separate pool: a connection verified for one name must not serve another name.
            settings["server_hostname"] = context.overrides.server_hostname
        return host, settings

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        # requests would overwrite the context's settings for good.
        if not isinstance(verify, ssl.SSLContext):
            # The pool may be a proxy's, whose scheme may differ from the URL's.
            shown_by = f"{conn.scheme}:" if self.verifies_proxies else url
            super().cert_verify(conn, shown_by, verify, cert)  # type: ignore[no-untyped-call]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._inherited = []
        self.workers = Workers()
        super().__setstate__(state)  # type: ignore[misc]
        at_fork.follow(self)

    def after_fork(self) -> None:
        """In a forked child: start with empty pools. Two processes cannot share a connection."""
        inherited = [self.poolmanager, *self.proxy_manager.values()]
        # Kept, because their pools' finalizers take locks that a thread of the parent may have held at the fork.
        self._inherited.extend(inherited)
        for manager in inherited:
            # Read without the container's lock, for the same reason.
            for pool in list(manager.pools._container.values()):
                pool.detach_in_child()
        self.proxy_manager = {}
        self.init_poolmanager(_POOL_SIZE, _POOL_SIZE)

    def close(self) -> None:
        """Close the idle connections now, and each connection in use when its owner has finished.
        The idle threads end. A signal handler may close the adapter in the middle of a close.
        """
        self.workers.close()
        aside(self._close)

    def _close(self) -> None:
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            # clear() alone leaves a pool open while any object, such as a kept response, refers to it.
            for key in list(manager.pools.keys()):
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.retired = True
                    pool.close_idle()
        super().close()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        context = contexts.current()
        if context is not None:
            context.asked.append((request.url or "", request.headers))
        send = super().send if self.for_requests else functools.partial(_SEND, self)
        response: requests.Response = send(request, *args, **kwargs)
        if context is not None:
            try:
                # This may not be the answer yet: a hook or a redirect may send another request.
                context.observer.headers(response.status_code, refused=False, request_id=request_id_of(response))
            except BaseException:
                response.close()
                raise
            if context.max_body is not None and request.hooks.get("response"):
                context.bounded.append(response)
                hooks.bound(response, most=context.max_body, most_of_error=context.max_error_body)
            context.responses.append(response)
        return response


def request_id_of(response: requests.Response) -> str | None:
    """The provider's name for the request; ``None`` if no header has one."""
    headers = response.headers
    for name in REQUEST_ID_HEADERS:
        if name in headers:
            return headers[name]
    return None
