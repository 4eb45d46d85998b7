"""The connection settings of an httpx or httpx2 transport, read off its pool, and an adapter alike.

Read are the TLS context, the proxy with its headers and its own TLS context, the socket options, the local address and
the limits on connections, as httpcore 1.0 and httpcore2 2.16 keep them. The TLS context itself is used, not a copy, and
nothing is added to what it trusts. A transport whose pool is not as expected has no such settings: the caller gets the
reason, and leaves the transport alone.
"""

from __future__ import annotations

import ssl
import sys
from dataclasses import dataclass
from types import FunctionType, MappingProxyType
from typing import Any

import requests
from requests.utils import select_proxy

from llmwatch.hooks.left_alone import LeftAlone
from llmwatch.hooks.wrapped_calls import PoolFunction
from llmwatch.transport import context as contexts
from llmwatch.transport.adapter import SOCKET_OPTIONS, WatchedAdapter

__all__ = ["PoolAdapter", "PoolSettings", "answers_by_itself", "check_pool", "is_core_pool", "read_pool", "stands_in"]

_CORES = ("httpcore", "httpcore2")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """What a pool of httpcore makes its connections with.

    ``most``: connections at a time, ``None`` for no limit. ``keepalive``: seconds that an idle connection is kept, 0 to
    keep none, ``None`` for no limit. ``tls`` is ``None`` where no TLS is spoken.
    """

    tls: ssl.SSLContext | None
    proxy: str | None
    proxy_headers: dict[str, str]
    proxy_tls: ssl.SSLContext | None
    socket_options: tuple[Any, ...]
    local_address: str | None
    most: int | None
    keepalive: float | None


def stands_in(function: object, module: str) -> bool:
    """Whether ``function`` is not the one that ``module`` defines: other code has put its own there.

    A tracer's proxy (wrapt's) says that it is that function, and counts as such: nothing answers by itself that way.
    """
    return not isinstance(function, FunctionType) or function.__globals__.get("__name__") != module


def is_core_pool(pool: Any) -> bool:
    """Whether ``pool`` is of one of the core libraries' own classes."""
    kind = type(pool)
    core = kind.__module__.partition(".")[0]
    return core in _CORES and kind in [getattr(sys.modules[core], name, None) for name in _POOLS]


def answers_by_itself(owner: type[Any], name: str) -> bool:
    """Whether other code has replaced the function ``name`` of ``owner`` without wrapping it."""
    function = vars(owner)[name]
    return stands_in(function, owner.__module__) and not hasattr(function, "__wrapped__")


def check_pool(pool: Any) -> None:
    """Raise :class:`LeftAlone` where connections like those of ``pool`` cannot be made."""
    kind = type(pool)
    if not is_core_pool(pool):
        raise LeftAlone("a custom pool")
    if kind.__name__ == "SOCKSProxy":
        raise LeftAlone("a SOCKS proxy")
    if _is_mocked(pool, kind.__module__.partition(".")[0]):
        raise LeftAlone("a stand-in for the network", said=False)
    if pool._http2 or not pool._http1:
        raise LeftAlone("HTTP/2")
    if getattr(pool, "_uds", None) is not None:
        raise LeftAlone("a Unix socket")
    if not isinstance(pool._ssl_context, ssl.SSLContext):
        raise LeftAlone("a TLS context of another kind")
    if getattr(pool, "_proxy", None) is not None or pool._max_connections < 1:
        raise LeftAlone("a custom pool")


def read_pool(pool: Any) -> PoolSettings:
    """The settings of ``pool``, which :func:`check_pool` has passed."""
    url = getattr(pool, "_proxy_url", None)
    most = pool._max_connections
    return PoolSettings(
        tls=pool._ssl_context,
        proxy=None if url is None else _text_of(url),
        proxy_headers={} if url is None else _headers_of(pool._proxy_headers),
        proxy_tls=None if url is None or url.scheme != b"https" else _proxy_tls(pool),
        socket_options=tuple(getattr(pool, "_socket_options", None) or ()),
        local_address=pool._local_address,
        most=None if most >= sys.maxsize else most,
        keepalive=0.0 if pool._max_keepalive_connections == 0 else pool._keepalive_expiry,
    )


_POOLS = ("ConnectionPool", "HTTPProxy", "SOCKSProxy")


def _is_mocked(pool: Any, core: str) -> bool:
    """Whether other code has put itself between the pool and the network."""
    connection = getattr(sys.modules.get(f"{core}._sync.connection"), "HTTPConnection", None)
    return (
        not isinstance(vars(pool).get("handle_request"), (PoolFunction, type(None)))
        or stands_in(type(pool).handle_request, f"{core}._sync.connection_pool")
        or stands_in(getattr(connection, "handle_request", None), f"{core}._sync.connection")
        or type(pool._network_backend).__module__.partition(".")[0] != core
        or type(pool._network_backend).__name__ != "SyncBackend"
    )


def _text_of(url: Any) -> str:
    host = url.host.decode("ascii")
    port = "" if url.port is None else f":{url.port}"
    return f"{url.scheme.decode('ascii')}://{f'[{host}]' if ':' in host else host}{port}"


def _headers_of(pairs: Any) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}


def _proxy_tls(pool: Any) -> ssl.SSLContext:
    given = pool._proxy_ssl_context
    core = type(pool).__module__.partition(".")[0]
    # httpcore makes its default one for each connection.
    made: ssl.SSLContext = sys.modules[core].default_ssl_context() if given is None else given
    return made


class PoolAdapter(WatchedAdapter):
    """An adapter whose connections are those of a pool of httpcore.

    The limit on connections holds for each origin, where httpcore has one for all; a call waits for a free connection
    within its ``connect``.
    """

    for_requests = False

    def __init__(self, settings: PoolSettings) -> None:
        self._pool_settings = settings
        super().__init__(verifies_proxies=True)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        size, blocks = (maxsize, block) if (most := self._pool_settings.most) is None else (most, True)
        super().init_poolmanager(connections, size, blocks, **self._made_with(), **pool_kwargs)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, **self._made_with(), **proxy_kwargs)

    def _made_with(self) -> dict[str, Any]:
        settings = self._pool_settings
        options = [*SOCKET_OPTIONS, *settings.socket_options]
        address = None if settings.local_address is None else (settings.local_address, 0)
        return {"socket_options": options, "source_address": address}

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """The pool's own, credentials included."""
        return dict(self._pool_settings.proxy_headers)

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        settings = self._pool_settings
        url = request.url or ""
        proxied = bool(select_proxy(url, proxies))
        if proxied:
            contexts.note(None, MappingProxyType(settings.proxy_headers))
        if proxied and settings.proxy_tls is not None and url.lower().startswith("http:"):
            # The one TLS connection here is that to the proxy.
            verify = settings.proxy_tls
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        # The libraries do not warn of it, and a program may make errors of warnings.
        pool.warns = False
        config = getattr(pool, "proxy_config", None)
        if config is not None and settings.proxy_tls is not None:
            names = None if settings.proxy_tls.check_hostname else False
            pool.proxy_config = config._replace(ssl_context=settings.proxy_tls, assert_hostname=names)
            pool.conn_kw["proxy_config"] = pool.proxy_config
        return pool
