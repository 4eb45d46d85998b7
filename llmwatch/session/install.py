"""Watches all sessions of the process, existing and future ones.

**The lock** protects the one installation. The lock of :mod:`llmwatch.transport.instrument`, a leaf, is taken under it.
A call reads the installation without a lock, and gets an adapter of its own, which keeps no state.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import requests
from requests.adapters import BaseAdapter

from llmwatch.at_fork import renew_in_child
from llmwatch.engine.settings import ClientSettings, Settings, checked_settings, shows_settings
from llmwatch.session.watching_adapter import WatchingAdapter, is_http
from llmwatch.transport import instrument
from llmwatch.transport.adapter import WatchedAdapter

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["install", "uninstall"]


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
        return WatchingAdapter(adapter, self._settings)


_lock = threading.RLock()  # protects _installed; see the module's docstring
renew_in_child(globals(), "_lock", threading.RLock)
_installed: _Installation | None = None


@shows_settings
def install(**settings: Unpack[ClientSettings]) -> None:
    """Watch the calls of every :class:`requests.Session` in this process from now on.

    This covers existing and future sessions, those behind ``requests.get`` and behind other libraries included. The
    calls are watched as those of a :class:`~llmwatch.Session` are. Adapters are kept and wrapped, as
    :func:`~llmwatch.mount` does. A second call exchanges the settings for calls that have not begun; no call is watched
    twice. It does not reach sessions whose class overrides ``get_adapter`` without calling the parent's, nor libraries
    that do not use requests.
    """
    checked = checked_settings(**settings)
    global _installed
    with _lock:
        before, _installed = _installed, _Installation(checked)
        # First, so that the search for a wrapped function's sockets finds a call of its own here.
        instrument.add_interceptor(_installed.intercept, first=True)
        if before is not None:
            instrument.remove_interceptor(before.intercept)


def uninstall() -> None:
    """Take :func:`install` back; does nothing if nothing is installed. Calls in progress stay watched."""
    global _installed
    with _lock:
        if _installed is not None:
            instrument.remove_interceptor(_installed.intercept)
            _installed = None
