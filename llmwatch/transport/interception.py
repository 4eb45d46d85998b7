"""The one place where requests itself is changed: what ``Session.get_adapter`` returns, in every session of this
process.

It is changed while anybody asks for it, and put back afterwards. ``HTTPAdapter.send`` is left alone: libraries that
stand in for the network in tests replace it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeAlias

import requests
from requests.adapters import BaseAdapter

__all__ = ["Interceptor", "add", "remove"]

Interceptor: TypeAlias = Callable[[requests.Session, str, BaseAdapter], BaseAdapter]
"""Gets the session, the URL and the adapter that was chosen; returns the adapter to be used."""

_lock = threading.Lock()  # serialises the writers of the two below; a leaf. Readers take the tuple as it is.
_interceptors: tuple[Interceptor, ...] = ()
_original: Callable[[requests.Session, str], BaseAdapter] | None = None


def _forget_lock() -> None:
    """In a forked child another thread of the parent may have held the lock for ever."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)


def _intercepting(original: Callable[[requests.Session, str], BaseAdapter]) -> Callable[..., BaseAdapter]:
    def get_adapter(self: requests.Session, url: str) -> BaseAdapter:
        """The adapter for ``url``, watched by llmwatch."""
        adapter = original(self, url)
        for interceptor in _interceptors:
            adapter = interceptor(self, url, adapter)
        return adapter

    return get_adapter


_patched: Callable[..., BaseAdapter] | None = None


def add(interceptor: Interceptor) -> None:
    """Let ``interceptor`` see every adapter from now on. The same one may be added several times, and counts as
    often.
    """
    global _interceptors, _original, _patched
    with _lock:
        _interceptors = (*_interceptors, interceptor)
        if _patched is None:
            _original = requests.Session.get_adapter
            _patched = _intercepting(_original)
            requests.Session.get_adapter = _patched  # type: ignore[method-assign]


def remove(interceptor: Interceptor) -> None:
    """Take back one :func:`add`. Does nothing if there is none."""
    global _interceptors, _original, _patched
    with _lock:
        left = list(_interceptors)
        if interceptor not in left:
            return
        left.remove(interceptor)
        _interceptors = tuple(left)
        # If somebody has changed it after us, ours stays beneath and passes adapters through.
        if not left and requests.Session.get_adapter is _patched and _original is not None:
            requests.Session.get_adapter = _original  # type: ignore[method-assign, assignment]
            _original = _patched = None
