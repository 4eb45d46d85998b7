"""Finds the sockets that a wrapped function opens through requests.

While a function runs, every ``Session.get_adapter`` in its thread returns the usual adapter behind an
:class:`InstrumentedAdapter`, which makes its pools watched before it sends. The adapter keeps its settings, and its
connections behave as before in every other thread. Connections that are made in another way, or in a thread that the
function starts, are not found.
"""

from __future__ import annotations

import threading
from typing import Any

import requests
from requests.adapters import BaseAdapter

from llmwatch.at_fork import in_child, renew_in_child
from llmwatch.transport import context as contexts
from llmwatch.transport import instrument
from llmwatch.transport.adapter import request_id_of
from llmwatch.transport.instrument import adopt_adapter, adopt_proxy
from llmwatch.wrap.observer import FunctionObserver

__all__ = ["BoundExceeded", "InstrumentedAdapter", "end", "find", "start"]

_PIECE = 8192


class BoundExceeded(requests.exceptions.RequestException):
    """The body of a response exceeded the bound of its bounded function, and its rest was not read."""


def _observer() -> FunctionObserver | None:
    """The observer of the wrapped function that this thread runs."""
    context = contexts.current()
    return context.observer if context is not None and isinstance(context.observer, FunctionObserver) else None


class InstrumentedAdapter(BaseAdapter):
    """Sends through another adapter, whose connections report to the function's attempt."""

    def __init__(self, inner: BaseAdapter) -> None:
        super().__init__()
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        # Every other attribute is the inner adapter's.
        inner = self.__dict__.get("_inner")
        if inner is None:
            raise AttributeError(name)
        return getattr(inner, name)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        observer = _observer()
        if observer is None:
            return self._inner.send(request, *args, **kwargs)
        adopt_adapter(self._inner, warn=False)
        adopt_proxy(self._inner, request.url, kwargs.get("proxies"))
        observer.check()
        if observer.max_body is not None:
            kwargs["stream"] = True
        response = self._inner.send(request, *args, **kwargs)
        try:
            observer.headers(response.status_code, refused=False, request_id=request_id_of(response))
            if observer.max_body is not None:
                # An authentication that answers a challenge sends through this attribute.
                response.connection = self  # type: ignore[assignment]
                _load(response, observer.max_body)
        except BaseException:
            response.close()
            raise
        return response

    def close(self) -> None:
        self._inner.close()


def _load(response: requests.Response, most: int) -> None:
    """Read the decoded body, which may have at most ``most`` bytes."""
    pieces: list[bytes] = []
    size = 0
    for piece in response.iter_content(min(_PIECE, most + 1)):
        size += len(piece)
        if size > most:
            raise BoundExceeded(
                f"The body of the response is larger than {most:,} bytes, which is the most that is accepted here.",
                request=response.request,
                response=response,
            )
        pieces.append(piece)
    response._content = b"".join(pieces)


def find(session: requests.Session, url: str, adapter: BaseAdapter) -> BaseAdapter:
    """The interceptor: ``adapter`` as instrumented for the wrapped function, if any."""
    return adapter if _observer() is None or isinstance(adapter, InstrumentedAdapter) else InstrumentedAdapter(adapter)


# Protects _running and orders adding and removing; taken before the lock of :mod:`llmwatch.transport.instrument`, which
# is a leaf.
_lock = threading.RLock()
renew_in_child(globals(), "_lock", threading.RLock)
_running = 0


def start() -> None:
    """Begin to find the sockets of a wrapped function."""
    global _running
    with _lock:
        _running += 1
        if _running == 1:
            instrument.add_interceptor(find)


def end() -> None:
    """Stop finding the sockets of a wrapped function, which has come back."""
    global _running
    with _lock:
        # A child that a function forked continues that function, and counts from zero.
        _running = max(0, _running - 1)
        if _running == 0:
            instrument.remove_interceptor(find)


@in_child
def _forget_functions() -> None:
    """In a forked child no function of the parent runs."""
    global _running
    if _running:
        _running = 0
        instrument.remove_interceptor(find)
