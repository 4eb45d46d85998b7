"""All sessions of the process at once, those that exist and those to come.

**The lock** protects the one installation. Under it the lock of :mod:`llmwatch.transport.instrument` is taken, a leaf.
A call looks at the installation as it is and takes no lock: each gets an adapter of its own, which remembers nothing.
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
        """An adapter that watches, around ``adapter``. What is watched already, and what is not HTTP, is left as it
        is.
        """
        if isinstance(adapter, (WatchingAdapter, WatchedAdapter)) or not is_http(url):
            return adapter
        return WatchingAdapter(adapter, self._settings)


_lock = threading.RLock()  # protects _installed; see the module's docstring
renew_in_child(globals(), "_lock", threading.RLock)
_installed: _Installation | None = None


@shows_settings
def install(**settings: Unpack[ClientSettings]) -> None:
    """Have the calls of every :class:`requests.Session` in this process watched, from now on.

    Those that exist and those to come, the ones behind ``requests.get`` and behind other libraries included, as the
    calls of a :class:`~llmwatch.Session` are. Adapters are kept and wrapped, as :func:`~llmwatch.mount` does it.
    Installing again exchanges the settings, for calls that have not begun; nothing is watched twice. It does not reach
    sessions whose class has a ``get_adapter`` of its own that does not call its parent's, nor libraries that do not
    use requests.
    """
    checked = checked_settings(**settings)
    global _installed
    with _lock:
        before, _installed = _installed, _Installation(checked)
        # First, so that what looks for the sockets of a wrapped function finds a call of its own here.
        instrument.add_interceptor(_installed.intercept, first=True)
        if before is not None:
            instrument.remove_interceptor(before.intercept)


def uninstall() -> None:
    """Take :func:`install` back. Calls that are on their way go on watched. Does nothing if nothing is installed."""
    global _installed
    with _lock:
        if _installed is not None:
            instrument.remove_interceptor(_installed.intercept)
            _installed = None
