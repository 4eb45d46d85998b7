"""Watches the model calls of ``urllib.request`` in place, at ``AbstractHTTPHandler.do_open``.

``urlopen`` and every opener come there, once handlers have settled proxies, authentication and cookies. Redirects and
``HTTPError`` are made above, by the opener's other handlers, from the response that is returned here.

A model call goes over a connection of llmwatch's to the same host or proxy, with the TLS context that the library's own
connection would have used. The program gets a real :class:`http.client.HTTPResponse`, which reads from llmwatch's
worker. Nothing is kept between calls: ``urllib.request`` asks the server to close each connection.

Left alone are bodies other than bytes, handlers with connections of their own, a proxy that is reached by TLS, and
handlers with a debug level, which print what http.client sends.
"""

from __future__ import annotations

import functools
import http.client
import re
import socket
import urllib.request
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import requests
from requests.structures import CaseInsensitiveDict

from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import Settings
from llmwatch.engine.timeouts import of_requests
from llmwatch.errors import LLMWatchError
from llmwatch.hooks.hook import Hook, Makers
from llmwatch.hooks.left_alone import LeftAlone, count_other, leave, leave_unread
from llmwatch.hooks.pool_settings import PoolAdapter, PoolSettings, answers_by_itself
from llmwatch.hooks.urllib_errors import as_urllib
from llmwatch.interruption import is_interruption
from llmwatch.payload import is_model_call, may_be_model_call
from llmwatch.records import CallRecord
from llmwatch.session.watching_adapter import open_response

__all__ = ["UrllibHook", "WatchedHTTPResponse"]

_NAME = "urllib"

_REMEDY = "llmwatch.stream() or llmwatch.Session() sends and watches it."
_TRUST_ADVICE = "if it is meant to, pass context=ssl.create_default_context(cafile=...) to urlopen"

_URL = re.compile(r"https?://[^/?#@\s]+(?:[/?][\x21-\x7e]*)?")
"""URLs that http.client and urllib3 send alike."""


class WatchedHTTPResponse(http.client.HTTPResponse):
    """A :class:`http.client.HTTPResponse` whose body comes from llmwatch's worker."""

    def __init__(self, response: requests.Response, url: str) -> None:
        raw: Any = response.raw
        self._raw = raw
        super().__init__(_NoSocket(raw._fp), method=response.request.method, url=url)  # type: ignore[arg-type]
        # As begin() leaves them. The worker undoes the framing, and checks that the body is whole.
        self.version = raw.version
        self.code = self.status = raw.status
        self.reason = raw.reason or ""
        self.headers = raw._fp.headers
        self.chunked, self.length, self.will_close = False, None, True
        self.url = url
        # urllib.request has the reason in this place.
        self.msg = self.reason  # type: ignore[assignment]

    def __del__(self) -> None:
        """Nothing: the finalizer of files would close this file, which takes locks.
        The file below has its own finalizer, which takes none.
        """

    @property
    def llmwatch_record(self) -> CallRecord | None:
        """The call's record. ``None`` while the body is still to be read."""
        record: CallRecord | None = self._raw.llmwatch_record
        return record


class _NoSocket:
    """Stands for the socket that :class:`http.client.HTTPResponse` makes its file of."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def makefile(self, mode: str) -> Any:
        return self._file


class _OneCallAdapter(PoolAdapter):
    """An adapter whose connections are closed when their answer has ended."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        pool.retired = True
        return pool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """How the library would have sent a request: over which connections, and with which headers."""

    prepared: requests.PreparedRequest
    settings: PoolSettings


class UrllibHook(Hook):
    """Watches every opener of ``urllib.request``, existing or future."""

    def __init__(self) -> None:
        super().__init__(urllib.request.__name__)

    def _makers(self, module: ModuleType) -> Makers:
        return {(urllib.request.AbstractHTTPHandler, "do_open"): self._do_open}

    def _do_open(self, original: Any) -> Any:
        @functools.wraps(original)
        def do_open(handler: Any, http_class: Any, req: Any, **http_conn_args: Any) -> Any:
            settings = self._settings
            if settings is not None:
                route = _route(handler, http_class, req, http_conn_args)
                if route is not None:
                    return _open(route, req, settings)
            return original(handler, http_class, req, **http_conn_args)

        return do_open


def _open(route: _Route, req: Any, settings: Settings) -> WatchedHTTPResponse:
    timeout = socket.getdefaulttimeout() if _is_default(req.timeout) else req.timeout
    tls, proxy = route.settings.tls, route.settings.proxy

    def fail(
        error: LLMWatchError, prepared: requests.PreparedRequest, response: requests.Response | None
    ) -> BaseException:
        return as_urllib(error, in_body=response is not None)

    response = open_response(
        _OneCallAdapter(route.settings),
        route.prepared,
        settings,
        stream=True,
        timeouts=of_requests(timeout, heeded=settings.heeds_timeouts),
        verify=True if tls is None else tls,
        proxies={} if proxy is None else {"all": proxy},
        error=fail,
        trust_advice=_TRUST_ADVICE,
        documents_whole=True,
        recorded_as=_NAME,
    )
    return WatchedHTTPResponse(response, req.get_full_url())


def _is_default(timeout: object) -> bool:
    return timeout is socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]


def _route(handler: Any, http_class: Any, req: Any, http_conn_args: dict[str, Any]) -> _Route | None:
    """The way of a model call; ``None`` for a request that goes the library's own."""
    try:
        if not _may_be_watched(req):
            return None
        prepared = _prepared(req)
        call = CallRequest.of(prepared)
        if not _URL.fullmatch(call.url) or not is_model_call(call.method, call.url, call.body):
            count_other(_NAME)
            return None
        return _Route(prepared=prepared, settings=_connection(handler, http_class, req, http_conn_args))
    except LeftAlone as reason:
        leave(_NAME, reason, remedy=_REMEDY)
    except Exception as error:
        if is_interruption(error):
            raise
        # The library raises its own error for such a request, or keeps it otherwise than is known.
        leave(_NAME, LeftAlone(f"its request cannot be read ({type(error).__name__})"), remedy=_REMEDY)
    return None


def _may_be_watched(req: Any) -> bool:
    """A quick test of a request, with false positives. Counts those that are left alone."""
    data = req.data
    if data is not None and not isinstance(data, bytes):
        leave_unread(_NAME, req.get_method(), req.full_url)
        return False
    if data is not None and may_be_model_call(req.get_method(), req.full_url, data):
        return True
    count_other(_NAME)
    return False


def _headers(req: Any) -> dict[str, str]:
    """The headers that the library sends, the proxy's among them."""
    own = req.unredirected_hdrs
    headers = {**own, **{name: value for name, value in req.headers.items() if name not in own}, "Connection": "close"}
    return {name.title(): value for name, value in headers.items()}


def _prepared(req: Any) -> requests.PreparedRequest:
    """The request for an adapter of requests."""
    prepared = requests.PreparedRequest()
    # A request through a proxy has the proxy's host, and one through a tunnel the path alone.
    direct = not req._tunnel_host and not req.has_proxy()
    prepared.method, prepared.hooks = req.get_method(), {"response": []}
    prepared.url = f"{req.type}://{req.host}{req.selector}" if direct else req.full_url.partition("#")[0]
    prepared.body = req.data
    headers = _headers(req)
    if req._tunnel_host:
        headers.pop("Proxy-Authorization", None)
    prepared.headers = CaseInsensitiveDict(headers)
    return prepared


def _connection(handler: Any, http_class: Any, req: Any, http_conn_args: dict[str, Any]) -> PoolSettings:
    """The settings of the connection that the library would open; else raises :class:`LeftAlone`."""
    if http_class.__module__ != "http.client":
        # A recorder of exchanges stands in for the network.
        raise LeftAlone("connections of another kind", said=not http_class.__module__.startswith("vcr."))
    if any(answers_by_itself(http.client.HTTPConnection, name) for name in ("connect", "request")):
        raise LeftAlone("a stand-in for the network", said=False)
    if handler._debuglevel:
        raise LeftAlone("a debug level")
    if "Transfer-Encoding" in _headers(req):
        raise LeftAlone("a chunked body")
    is_tls = issubclass(http_class, http.client.HTTPSConnection)
    if is_tls and req.has_proxy():
        raise LeftAlone("a proxy that is reached by TLS")
    tunnel = _headers(req).get("Proxy-Authorization") if req._tunnel_host else None
    # It connects to nothing. The module's defaults, which programs replace, decide on its TLS context.
    unused = http_class(req.host, **http_conn_args)
    return PoolSettings(
        tls=unused._context if is_tls else None,
        proxy=f"http://{req.host}" if req._tunnel_host or req.has_proxy() else None,
        proxy_headers={} if tunnel is None else {"Proxy-Authorization": tunnel},
        proxy_tls=None,
        socket_options=(),
        local_address=None,
        most=None,
        keepalive=0.0,
    )
