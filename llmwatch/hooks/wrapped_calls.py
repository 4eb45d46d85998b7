"""Watches a call beneath a wrapper that was around ``HTTPTransport.handle_request`` before llmwatch.

A tracer's wrapper calls the library's function in the end, which hands the request to the transport's pool. A stand-in
for the network answers by itself. Only a call shows which of the two a wrapper is. So the wrapper is called as it is,
and the call is watched where its request comes to the pool: in an attribute ``handle_request`` of that one pool. The
pool's class is left alone, and so is a call that does not come to the pool.

The class takes no lock: its user serialises the calls of :meth:`PoolFunctions.attach` and
:meth:`PoolFunctions.detach`.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

__all__ = ["PoolFunction", "PoolFunctions", "call_wrapper", "note_arrival"]

_NAME = "handle_request"

Send = Callable[[], Any]
"""Sends the request watched and returns the library's response; ``None`` if the pool is to send it."""


class _Call:
    """A call of a wrapper, with the library's request."""

    __slots__ = ("came_down", "request", "send")

    def __init__(self, request: Any, send: Send) -> None:
        self.request = request
        self.send = send
        self.came_down = False

    def passes(self, sent: Any) -> bool:
        """Whether ``sent``, the core library's request, is the library's.
        The wrapper may have changed its headers. A request that the wrapper has made by itself is another.
        """
        request, url = self.request, sent.url
        return (
            sent.stream is request.stream
            and sent.extensions is request.extensions
            and list(sent.headers) == request.headers.raw
            and (url.host, url.port, url.target) == (request.url.raw_host, request.url.port, request.url.raw_path)
        )


_current: ContextVar[_Call | None] = ContextVar("llmwatch_wrapped_call", default=None)


def call_wrapper(wrapper: Callable[[Any, Any], Any], transport: Any, request: Any, send: Send) -> tuple[Any, bool]:
    """The response of ``wrapper``, and whether ``request`` came down to llmwatch.

    ``send`` stands in for the pool of ``transport``, if that has a function of ours.
    """
    call = _Call(request, send)
    token = _current.set(call)
    try:
        return wrapper(transport, request), call.came_down
    finally:
        _current.reset(token)


def note_arrival(request: Any) -> None:
    """The ``request`` of a wrapper has come down to llmwatch. Does nothing for any other request."""
    call = _current.get()
    if call is not None and call.request is request:
        call.came_down = True


class PoolFunction:
    """``handle_request`` of one pool, which it does not keep alive."""

    __slots__ = ("__weakref__", "_pool")

    def __init__(self, pool: Any) -> None:
        self._pool = weakref.ref(pool)

    def __call__(self, request: Any) -> Any:
        """The core library's response to its ``request``."""
        call = _current.get()
        response = call.send() if call is not None and call.passes(request) else None
        pool: Any = self._pool()
        if response is None:
            # As the class says at this moment: a test may have replaced its function.
            return type(pool).handle_request(pool, request)
        core = sys.modules[type(pool).__module__.partition(".")[0]]
        return core.Response(
            response.status_code,
            headers=response.headers.raw,
            content=response.stream,
            extensions=response.extensions,
        )

    def detach(self) -> None:
        """Give the pool its class's function back."""
        pool = self._pool()
        if pool is not None and vars(pool).get(_NAME) is self:
            del vars(pool)[_NAME]


class PoolFunctions:
    """The functions of one library's pools."""

    def __init__(self) -> None:
        self._attached: weakref.WeakSet[PoolFunction] = weakref.WeakSet()

    def attach(self, pool: Any) -> None:
        """Give ``pool`` a function of ours, unless it has one of its own."""
        if _NAME not in vars(pool):
            function = PoolFunction(pool)
            self._attached.add(function)
            vars(pool)[_NAME] = function

    def detach(self) -> None:
        """Take every function back that is still ours."""
        for function in list(self._attached):
            function.detach()
