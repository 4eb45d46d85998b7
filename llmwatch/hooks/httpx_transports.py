"""Watches the model calls of httpx or httpx2 in place, at ``HTTPTransport.handle_request``.

There the client has settled mounts, proxies, auth, hooks and redirects. A model call goes over a transport of llmwatch
that is made from the settings of that one transport's pool. Every other request goes the library's way, unchanged.
Where other code wrapped the function first, a call is watched beneath its wrapper
(:mod:`llmwatch.hooks.wrapped_calls`).

The hook's lock (:mod:`llmwatch.hooks.hook`) protects its transports, too.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import Settings
from llmwatch.hooks.hook import Hook, Makers
from llmwatch.hooks.httpx_heads import takes_head
from llmwatch.hooks.left_alone import LeftAlone, count_other, leave, leave_unread
from llmwatch.hooks.pool_settings import PoolAdapter, PoolSettings, check_pool, is_core_pool, read_pool, stands_in
from llmwatch.hooks.wrapped_calls import PoolFunctions, call_wrapper, note_arrival
from llmwatch.interruption import is_interruption
from llmwatch.payload import is_model_call, may_be_model_call
from llmwatch.policy import resolve_keepalive
from llmwatch.sdk.conversion import prepare
from llmwatch.sdk.libraries import Library
from llmwatch.sdk.transport import AdapterTransport, ConnectionSettings

__all__ = ["HttpxHook"]

_ATTRIBUTE = "_llmwatch_transport"
"""The attribute of a library's transport that holds llmwatch's for it, so that both go at once."""

_UNWATCHED_EXTENSIONS = frozenset({"trace", "target"})
"""Extensions of a request that only the library's own connections serve as the caller expects."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"(?:[^\0\s]+(?:[ \t]+[^\0\s]+)*)?")
"""Names and values of headers that h11 sends."""


_REMEDY = "transport=llmwatch.sdk.Transport() in its client watches it."
_NO_EXTENSION = "Leave the extension out."


class _PoolTransport(AdapterTransport):
    """Sends the model calls of one transport of the library over connections like those of its pool."""

    leaves_keys = False
    takes_head = staticmethod(takes_head)
    trust_advice = (
        "if it is meant to, name its authority's certificate in SSL_CERT_FILE, or pass"
        " verify=ssl.create_default_context(cafile=...) to the client"
    )

    def __init__(self, given: Settings, pool: Any, pool_settings: PoolSettings) -> None:
        self._set_up(_with_keepalive(given, pool_settings.keepalive), PoolAdapter(pool_settings))
        self.given = given
        self.pool = pool
        proxy = pool_settings.proxy
        self._connection = ConnectionSettings(
            verify=pool_settings.tls, cert=None, proxies={} if proxy is None else {"all": proxy}
        )

    def _connection_settings(self, library: Library, url: str) -> ConnectionSettings:
        """The pool's own TLS context and proxy."""
        return self._connection


def _with_keepalive(settings: Settings, seconds: float | None) -> Settings:
    """``settings`` with the pool's ``seconds`` where no argument names any and the variable's are longer."""
    if settings.keepalive is not None or seconds is None or seconds >= resolve_keepalive(None, os.environ):
        return settings
    return replace(settings, keepalive=seconds)


class HttpxHook(Hook):
    """Watches every synchronous client of the library ``name``, existing or future, once it is imported."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._name = name
        self._functions = PoolFunctions()

    def _undo(self) -> None:
        super()._undo()
        self._functions.detach()

    def _makers(self, module: ModuleType) -> Makers:
        owner = module.HTTPTransport
        return {
            (owner, "handle_request"): self._handle_request,
            (owner, "close"): self._closing,
            (owner, "__exit__"): self._closing,
        }

    def _handle_request(self, original: Any) -> Any:
        # What other code has put there may hold spans or answer by itself: it gets every call.
        wrapped = stands_in(original, f"{self._name}._transports.default")

        @functools.wraps(original)
        def handle_request(transport: Any, request: Any) -> Any:
            settings = self._settings
            if settings is None:
                return original(transport, request)
            if not may_be_watched(self._name, request):
                return original(transport, request)
            if wrapped:
                return self._call_wrapper(original, transport, request, settings)
            watched = self._transport_for(transport, request, settings)
            return original(transport, request) if watched is None else watched.handle_request(request)

        return handle_request

    def _call_wrapper(self, original: Any, transport: Any, request: Any, settings: Settings) -> Any:
        """The response of other code's wrapper ``original``; the call is watched if it comes to the pool."""

        def send() -> Any:
            watched = self._transport_for(transport, request, settings)
            return None if watched is None else watched.handle_request(request)

        pool = getattr(transport, "_pool", None)
        if is_core_pool(pool):
            with self._lock:
                self._functions.attach(pool)
        response, came_down = call_wrapper(original, transport, request, send)
        if not came_down and is_httpx_model_call(request):
            leave(self._name, LeftAlone("another package's handle_request", said=False), remedy=_REMEDY)
        return response

    def _closing(self, original: Any) -> Any:
        @functools.wraps(original)
        def close(transport: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return original(transport, *args, **kwargs)
            finally:
                made = vars(transport).get(_ATTRIBUTE)
                if made is not None:
                    made.close()

        return close

    def _transport_for(self, transport: Any, request: Any, settings: Settings) -> _PoolTransport | None:
        """The transport that sends ``request``; ``None`` if the library's own does."""
        note_arrival(request)
        try:
            if not is_httpx_model_call(request):
                count_other(self._name)
                return None
            if not _UNWATCHED_EXTENSIONS.isdisjoint(request.extensions):
                raise LeftAlone("an extension trace or target of the request", remedy=_NO_EXTENSION)
            pool = transport._pool
            check_pool(pool)
            made: _PoolTransport | None = vars(transport).get(_ATTRIBUTE)
            if made is None or made.pool is not pool or made.given is not settings:
                made = self._make(transport, pool, settings)
            return made
        except LeftAlone as reason:
            leave(self._name, reason, remedy=_REMEDY)
        except (AttributeError, LookupError, TypeError) as error:
            if is_interruption(error):
                raise
            # The library keeps its settings otherwise than the versions that are known.
            unread = LeftAlone(f"its connections cannot be read ({type(error).__name__})")
            leave(self._name, unread, remedy=_REMEDY)
        return None

    def _make(self, transport: Any, pool: Any, settings: Settings) -> _PoolTransport:
        with self._lock:
            before: _PoolTransport | None = vars(transport).get(_ATTRIBUTE)
            if before is not None and before.pool is pool and before.given is settings:
                return before
            made = _PoolTransport(settings, pool, read_pool(pool))
            vars(transport)[_ATTRIBUTE] = made
            self._made.add(made)
        if before is not None:
            before.close()
        return made


def may_be_watched(library: str, request: Any) -> bool:
    """A quick test of a request, with false positives. Counts those that are left alone.

    A body that is read once is not looked at.
    """
    try:
        body = request.content
    except RuntimeError:  # RequestNotRead
        if type(request.stream) is not getattr(sys.modules.get(library), "ByteStream", None):
            leave_unread(library, request.method, str(request.url))
            return False
        # The request after a redirect has the stream alone, here one of bytes, which can be read again.
        body = request.read()
    if may_be_model_call(request.method, request.url, body):
        return True
    count_other(library)
    return False


def is_httpx_model_call(request: Any) -> bool:
    """Whether a request of either library, whose body is here, is a model call."""
    if not _can_be_sent(request):
        # The library's own error for it.
        return False
    call = CallRequest.of(prepare(request))
    return is_model_call(call.method, call.url, call.body)


def _can_be_sent(request: Any) -> bool:
    """Whether URL and headers are such as the core library and the look-up of names take (h11 0.16)."""
    url = request.url
    labels = url.raw_host.removesuffix(b".").split(b".")
    return (
        url.scheme in ("http", "https")
        and all(0 < len(label) < 64 for label in labels)
        and (url.port or 0) < 65536
        and all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in request.headers.raw)
    )
