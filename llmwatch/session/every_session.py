"""Watches all sessions of the process, existing and future ones.

**The lock** protects the one installation. The lock of :mod:`llmwatch.transport.instrument`, a leaf, is taken under it.
A call reads the installation without a lock, and gets an adapter of its own, which keeps no state.
"""

from __future__ import annotations

import threading

import requests
from requests.adapters import BaseAdapter

from llmwatch.at_fork import renew_in_child
from llmwatch.engine.settings import Settings
from llmwatch.session.watching_adapter import WatchingAdapter, is_http
from llmwatch.transport import instrument
from llmwatch.transport.adapter import WatchedAdapter

__all__ = ["unwatch_sessions", "watch_sessions"]


class _Installation:
    """One set of settings for every session."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def intercept(self, session: requests.Session, url: str, adapter: BaseAdapter) -> BaseAdapter:
        """A watching adapter around ``adapter``.
        An adapter that is watched already, or not HTTP, is unchanged.
        """
        if isinstance(adapter, (WatchingAdapter, WatchedAdapter)) or not is_http(url):
            return adapter
        return WatchingAdapter(adapter, self._settings, recorded_as="requests")


_lock = threading.RLock()  # protects _installed; see the module's docstring
renew_in_child(globals(), "_lock", threading.RLock)
_installed: _Installation | None = None


def watch_sessions(settings: Settings) -> None:
    """Watch the calls of every :class:`requests.Session`. A second call exchanges the settings."""
    global _installed
    with _lock:
        before, _installed = _installed, _Installation(settings)
        # First, so that the search for a wrapped function's sockets finds a call of its own here.
        instrument.add_interceptor(_installed.intercept, first=True)
        if before is not None:
            instrument.remove_interceptor(before.intercept)


def unwatch_sessions() -> None:
    """Take :func:`watch_sessions` back, if sessions are watched. Calls in progress stay watched."""
    global _installed
    with _lock:
        if _installed is not None:
            instrument.remove_interceptor(_installed.intercept)
            _installed = None
