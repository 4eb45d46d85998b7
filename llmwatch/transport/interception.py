"""The one place where requests itself is changed: what ``Session.get_adapter`` returns, in every session of this
process.

It is changed while anybody asks for it, and put back afterwards. If somebody else has changed it after us, ours stays
beneath theirs and passes adapters through; if they have put back what was there before us, the next one that asks
changes it again. ``HTTPAdapter.send`` is left alone: libraries that stand in for the network in tests replace it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

import requests
from requests.adapters import BaseAdapter

from llmwatch.module_locks import renew_in_child

__all__ = ["Interceptor", "add", "remove"]

Interceptor: TypeAlias = Callable[[requests.Session, str, BaseAdapter], BaseAdapter]
"""Gets the session, the URL and the adapter that was chosen; returns the adapter to be used."""

_lock = threading.RLock()  # serialises the writers of the two below; a leaf. Readers take the tuple as it is.
renew_in_child(globals(), "_lock", threading.RLock)
_interceptors: tuple[Interceptor, ...] = ()
_patches: list[_Patch] = []  # those that somebody may still call


class _Patch:
    """One change, which knows what it has taken the place of. It goes by what is asked for at the moment of a call."""

    def __init__(self) -> None:
        original = self.original = requests.Session.get_adapter

        def get_adapter(self: requests.Session, url: str) -> BaseAdapter:
            """The adapter for ``url``, watched by llmwatch."""
            adapter = original(self, url)
            for interceptor in _interceptors:
                adapter = interceptor(self, url, adapter)
            return adapter

        self.function = get_adapter

    @property
    def on_top(self) -> bool:
        return requests.Session.get_adapter is self.function


def add(interceptor: Interceptor, *, first: bool = False) -> None:
    """Let ``interceptor`` see every adapter from now on; with ``first`` before all others, else after them. The same
    one may be added several times, and counts as often.

    It has to leave an adapter alone that it has returned itself: where others change the same thing it may see it
    twice.
    """
    global _interceptors
    with _lock:
        _interceptors = (interceptor, *_interceptors) if first else (*_interceptors, interceptor)
        if not any(patch.on_top for patch in _patches):
            patch = _Patch()
            requests.Session.get_adapter = patch.function  # type: ignore[method-assign]
            _patches.append(patch)


def remove(interceptor: Interceptor) -> None:
    """Take back one :func:`add`. Does nothing if there is none."""
    global _interceptors
    with _lock:
        left = list(_interceptors)
        if interceptor not in left:
            return
        left.remove(interceptor)
        _interceptors = tuple(left)
        if not left:
            _take_back()


def _take_back() -> None:
    """Put the originals back where nobody has patched on top. The lock is held."""
    while ours := [patch for patch in _patches if patch.on_top]:
        requests.Session.get_adapter = ours[0].original  # type: ignore[method-assign]
        _patches.remove(ours[0])
