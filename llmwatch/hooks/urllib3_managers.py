"""Watches the model calls of urllib3 in place, at ``PoolManager.urlopen``.

``urllib3.request``, ``PoolManager.request`` and ``ProxyManager.request`` come there. requests, botocore and llmwatch
itself call the pools below, so none of their calls is seen here.

urllib3's own function runs for each call, with a stand-in for the manager, so redirects and a proxy's headers stay
urllib3's. The stand-in hands out a :class:`_WatchedCall` in place of a pool. That one sends over pools of llmwatch's
that are made with the manager's own arguments (TLS, proxy, limits on connections). The manager's own pools are not
touched. Behind a redirect another call begins, with a record and a ``deadline`` of its own.

Left alone, because llmwatch cannot send the request again or would change what it connects to: bodies other than bytes
or text, chunked bodies, managers with pools of another kind (SOCKS, HTTP/2, subclasses that make their own), and a
``HTTPConnectionPool`` that is used without a manager: nothing there tells a program's call from one of requests.

The hook's lock (:mod:`llmwatch.hooks.hook`) protects what was made for a manager, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import requests
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPHeaderDict, PoolManager, ProxyManager, Retry
from urllib3._collections import RecentlyUsedContainer
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import pool_classes_by_scheme
from urllib3.util import Timeout, Url, parse_url

from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import Settings
from llmwatch.engine.timeouts import of_requests
from llmwatch.errors import LLMWatchError
from llmwatch.hooks.hook import Hook, Makers
from llmwatch.hooks.left_alone import LeftAlone, count_other, leave, leave_unread
from llmwatch.hooks.pool_settings import answers_by_itself
from llmwatch.hooks.urllib_errors import as_urllib3
from llmwatch.interruption import is_interruption
from llmwatch.payload import is_model_call, may_be_model_call
from llmwatch.session.watching_adapter import open_response
from llmwatch.transport import context as contexts
from llmwatch.transport.adapter import SOCKET_OPTIONS, WatchedAdapter
from llmwatch.transport.pools import POOL_CLASSES

__all__ = ["Urllib3Hook", "is_urllib3_model_call"]

_NAME = "urllib3"

_ADAPTER = "_llmwatch_adapter"
"""The attribute of a manager that holds llmwatch's connections for it, so that both go at once."""
_STANDS_FOR = "_llmwatch_manager"
"""The attribute of a stand-in that holds the manager."""

_KEYWORDS = frozenset(
    [
        "assert_same_host",
        "body",
        "body_pos",
        "chunked",
        "decode_content",
        "enforce_content_length",
        "headers",
        "pool_timeout",
        "preload_content",
        "redirect",
        "release_conn",
        "retries",
        "timeout",
    ]
)
"""The keyword arguments of ``urlopen`` whose meaning is known (urllib3 2.3 to 2.8)."""

_REMEDY = "llmwatch.stream() or llmwatch.Session() sends and watches it."
_TRUST_ADVICE = "if it is meant to, name its authority's certificate in ca_certs= of the PoolManager"


class _ManagerAdapter(WatchedAdapter):
    """An adapter with the pools of a manager, watched. It keeps no reference to the manager."""

    for_requests = False

    def __init__(self, manager: PoolManager, given: Settings) -> None:
        self.given = given
        self._like = manager
        super().__init__()
        del self._like

    def init_poolmanager(self, *sizes: Any, **pool_kwargs: Any) -> None:
        like: Any = self.__dict__.get("_like") or self.poolmanager
        made = _copy(like)
        made.pools = RecentlyUsedContainer(like.pools._maxsize)
        made.pool_classes_by_scheme = POOL_CLASSES
        self.poolmanager = made

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """The pool for the request's URL. TLS is the manager's affair."""
        if self.poolmanager.proxy is not None:
            contexts.note(self.poolmanager.proxy.url, self.poolmanager.proxy_headers)
        return self.pool_for(parse_url(request.url or ""))

    def pool_for(self, url: Url) -> Any:
        """The pool for ``url``, with the manager's present arguments."""
        given = {"socket_options": [*SOCKET_OPTIONS], **self.poolmanager.connection_pool_kw}
        return self.poolmanager.connection_from_host(url.host, url.port, url.scheme, pool_kwargs=given)

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        url = parse_url(request.url or "")
        whole = self.poolmanager._proxy_requires_url_absolute_form(url)
        return url._replace(fragment=None).url if whole else url.request_uri

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Nothing: the pools were made with the manager's certificates."""


class _WatchedCall:
    """Stands for the pool of one call. Every other attribute is the pool's."""

    def __init__(self, adapter: _ManagerAdapter, host: str | None, port: int | None = None, scheme: Any = None) -> None:
        self._adapter = adapter
        self._base = Url(scheme=scheme, host=host, port=port)
        self._pool = adapter.pool_for(self._base)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def urlopen(
        self,
        method: str,
        url: str,
        *,
        body: bytes | str,
        headers: Mapping[str, Any] | None = None,
        retries: Any = None,
        timeout: Any = Timeout.DEFAULT_TIMEOUT,
        preload_content: bool = True,
        decode_content: bool = True,
        **others: Any,
    ) -> Any:
        """The watched answer: urllib3's response, which reads from llmwatch's worker."""
        pool, settings = self._pool, self._adapter.given
        told = Retry.from_int(retries, redirect=False, default=pool.retries)
        # urllib3's own check of the time-outs.
        bound = pool._get_timeout(timeout)

        def fail(error: LLMWatchError, *request_and_response: Any) -> BaseException:
            return as_urllib3(error, pool, url, retries=told.total is not False)

        raw: Any = open_response(
            self._adapter,
            _prepared(method, self._whole(url), pool.headers if headers is None else headers, body),
            settings,
            stream=not preload_content,
            timeouts=of_requests(bound, heeded=settings.heeds_timeouts),
            error=fail,
            trust_advice=_TRUST_ADVICE,
            documents_whole=True,
            recorded_as=_NAME,
        ).raw
        raw.retries, raw.decode_content = told, decode_content
        if preload_content:
            _ = raw.data
        if told.raise_on_status and told.is_retry(method, raw.status, "Retry-After" in raw.headers):
            # llmwatch has sent again what it sends again; the program expects its own retries to have failed.
            raw.drain_conn()
            told.new(total=0).increment(method, url, response=raw, _pool=pool)
        return raw

    def _whole(self, url: str) -> str:
        """The whole URL of a ``url`` that may lack scheme and host."""
        return self._base.url + url if url.startswith("/") else url


class Urllib3Hook(Hook):
    """Watches every ``PoolManager`` and ``ProxyManager``, existing or future."""

    def __init__(self) -> None:
        super().__init__(PoolManager.__module__)

    def _makers(self, module: ModuleType) -> Makers:
        return {(PoolManager, "urlopen"): self._urlopen, (PoolManager, "clear"): self._clear}

    def _urlopen(self, original: Any) -> Any:
        @functools.wraps(original)
        def urlopen(manager: Any, method: str, url: str, *args: Any, **kw: Any) -> Any:
            settings = self._settings
            if settings is not None:
                # Behind a redirect the call comes from the stand-in.
                manager = vars(manager).get(_STANDS_FOR, manager)
                adapter = self._adapter_for(manager, method, url, kw, settings)
                if adapter is not None:
                    return original(_stand_in(manager, adapter), method, url, *args, **kw)
            return original(manager, method, url, *args, **kw)

        return urlopen

    def _clear(self, original: Any) -> Any:
        @functools.wraps(original)
        def clear(manager: Any) -> None:
            try:
                original(manager)
            finally:
                made = vars(manager).get(_ADAPTER)
                if made is not None:
                    made.close()

        return clear

    def _adapter_for(
        self, manager: Any, method: str, url: str, kw: Mapping[str, Any], settings: Settings
    ) -> _ManagerAdapter | None:
        """The connections that send the request; ``None`` if the manager's own do."""
        try:
            if not _is_model_call(method, url, kw):
                return None
            _check(manager, kw)
            made: _ManagerAdapter | None = vars(manager).get(_ADAPTER)
            if made is None or not _fits(made, manager, settings):
                made = self._make(manager, settings)
            return made
        except LeftAlone as reason:
            leave(_NAME, reason, remedy=_REMEDY)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            if is_interruption(error):
                raise
            # urllib3 raises its own error for such a request, or keeps its settings otherwise than is known.
            leave(_NAME, LeftAlone(f"its request cannot be read ({type(error).__name__})"), remedy=_REMEDY)
        return None

    def _make(self, manager: Any, settings: Settings) -> _ManagerAdapter:
        with self._lock:
            before: _ManagerAdapter | None = vars(manager).get(_ADAPTER)
            if before is not None and _fits(before, manager, settings):
                return before
            made = _ManagerAdapter(manager, settings)
            vars(manager)[_ADAPTER] = made
            self._made.add(made)
        if before is not None:
            before.close()
        return made


def _fits(made: _ManagerAdapter, manager: Any, settings: Settings) -> bool:
    return made.given is settings and made.poolmanager.connection_pool_kw is manager.connection_pool_kw


def _copy(manager: Any) -> Any:
    """A manager of the same class with the same attributes, without what llmwatch keeps there."""
    made = object.__new__(type(manager))
    # In one step: another thread may set an attribute.
    kept = vars(manager).copy()
    for name in (_ADAPTER, _STANDS_FOR):
        kept.pop(name, None)
    vars(made).update(kept)
    return made


def _stand_in(manager: Any, adapter: _ManagerAdapter) -> Any:
    """A copy of ``manager`` for one call, whose pools are watched."""
    made = _copy(manager)
    vars(made)[_STANDS_FOR] = manager
    made.connection_from_host = functools.partial(_WatchedCall, adapter)
    return made


def _check(manager: Any, kw: Mapping[str, Any]) -> None:
    """Raise :class:`LeftAlone` for a model call that cannot be sent as ``manager`` would send it."""
    if "connection_from_host" in vars(manager) or answers_by_itself(HTTPConnectionPool, "urlopen"):
        raise LeftAlone("a stand-in for the network", said=False)
    if manager.pool_classes_by_scheme != pool_classes_by_scheme:
        raise LeftAlone("pools of another kind, such as those of a SOCKS proxy")
    kind = type(manager)
    base = ProxyManager if isinstance(manager, ProxyManager) else PoolManager
    if any(getattr(kind, name) is not getattr(base, name) for name in _MAKERS):
        raise LeftAlone("a manager that makes its own pools")
    if HTTPSConnectionPool.ConnectionCls.__module__.startswith("urllib3.http2"):
        raise LeftAlone("HTTP/2")
    headers = kw.get("headers", manager.headers) or ()
    if kw.get("chunked") or "transfer-encoding" in {str(name).lower() for name in headers}:
        raise LeftAlone("a chunked body")


_MAKERS = (
    "connection_from_host",
    "connection_from_context",
    "connection_from_pool_key",
    "_new_pool",
    "_merge_pool_kwargs",
)


def _is_model_call(method: str, url: str, kw: Mapping[str, Any]) -> bool:
    """Whether the request is a model call whose body can be sent again. Counts every other."""
    body = kw.get("body")
    if not isinstance(body, (bytes, str)):
        if body is None:
            count_other(_NAME)
        else:
            leave_unread(_NAME, method, url)
        return False
    if kw.keys() <= _KEYWORDS and is_urllib3_model_call(method, url, kw.get("headers") or {}, body):
        return True
    count_other(_NAME)
    return False


def is_urllib3_model_call(method: str, url: str, headers: Mapping[str, Any], body: bytes | str) -> bool:
    """Whether a request of urllib3 to the whole ``url`` is a model call."""
    encoded = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    if not may_be_model_call(method, url, encoded):
        return False
    call = CallRequest.of(_prepared(method, url, headers, body))
    return call.url.lower().startswith(("http://", "https://")) and is_model_call(call.method, call.url, call.body)


def _prepared(method: str, url: str, headers: Mapping[str, Any], body: bytes | str) -> requests.PreparedRequest:
    """The request for an adapter of requests, whose headers are those that urllib3 sends."""
    merged: Callable[[], Any] = headers.itermerged if isinstance(headers, HTTPHeaderDict) else headers.items
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url, prepared.hooks = method, url, {"response": []}
    prepared.body = body.encode() if isinstance(body, str) else body
    prepared.headers = CaseInsensitiveDict(merged())
    if "content-length" not in prepared.headers:
        prepared.headers = CaseInsensitiveDict([("Content-Length", str(len(prepared.body))), *prepared.headers.items()])
    return prepared
