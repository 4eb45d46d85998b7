"""Requests that a hook leaves to their library: counted by library and reason, and said once each.

A hook calls :func:`count_other` for a request that is no model call, or that cannot be examined, and :func:`leave` for
a model call that it cannot watch. Both return at once and raise nothing of their own. A forked child counts for itself,
and repeats no line of its parent.

**The lock** protects the counts and what was said, and is a leaf: the line is written without it. Re-entrant, because a
signal handler of the same thread may make a request.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from llmwatch.at_fork import renew_in_child
from llmwatch.interruption import is_interruption
from llmwatch.payload import is_model_url
from llmwatch.records.log import say

__all__ = ["OTHER", "READ_ONCE", "LeftAlone", "count_other", "counts", "leave", "leave_unread", "tell_with"]

OTHER = "not a model call"
"""The reason of requests that no line is said about."""

READ_ONCE = "a body that is read once"
"""The reason of requests whose body cannot be examined: a generator, a file."""

Notify = Callable[[str], object]
"""Takes one line, without a prefix."""

_counts: dict[tuple[str, str], int] = {}
_said: set[tuple[str, str]] = set()
_notify: Notify | None = None  # replaced whole, so that it is read without the lock
_lock = threading.RLock()  # see the module's docstring
renew_in_child(globals(), "_lock", threading.RLock)
renew_in_child(globals(), "_counts", dict)


class LeftAlone(Exception):
    """Why a model call is left to its library, in a few words: ``HTTP/2``, ``a SOCKS proxy``, ...

    ``said``: a user should know of it; a stand-in for the network is what a test wants. ``remedy``: what to write so
    that the call is watched, as one sentence; without it the hook's own.
    """

    def __init__(self, reason: str, *, said: bool = True, remedy: str = "") -> None:
        super().__init__(reason)
        self.said = said
        self.remedy = remedy


def count_other(library: str, reason: str = OTHER) -> None:
    """Count a request through ``library`` that is not known to be a model call.

    Takes well under a microsecond.
    """
    key = library, reason
    with _lock:
        _counts[key] = _counts.get(key, 0) + 1


def leave(library: str, reason: LeftAlone, *, remedy: str) -> None:
    """Count a model call through ``library``, and say once for each reason why it is not watched.

    ``library`` is the name that records have as the entry point. The line ends with the reason's remedy, or else with
    ``remedy``. It is a warning on the logger ``llmwatch``, unless :func:`tell_with` named another way.
    """
    key = library, str(reason)
    with _lock:
        _counts[key] = _counts.get(key, 0) + 1
        if not reason.said or key in _said:
            return
        _said.add(key)
    line = f"a model call through {library} is not watched: {reason}. {reason.remedy or remedy}"
    if _notify is None:
        say(logging.WARNING, "llmwatch: %s", line)
        return
    try:
        _notify(line)
    except Exception as error:
        if is_interruption(error):
            raise


def leave_unread(library: str, method: str, url: str) -> None:
    """Count a request whose body is read once.

    It is a model call if its URL is that of a method of a provider.
    """
    if is_model_url(method, url):
        leave(library, LeftAlone(READ_ONCE), remedy="Pass the body as bytes or text.")
    else:
        count_other(library, READ_ONCE)


def tell_with(notify: Notify | None) -> None:
    """Pass each line to ``notify`` from now on, in place of the logger; ``None``: to the logger again."""
    global _notify
    _notify = notify


def counts() -> dict[str, dict[str, int]]:
    """The requests that this process left alone: numbers by reason, by library."""
    with _lock:
        counted = list(_counts.items())
    left: dict[str, dict[str, int]] = {}
    for (library, reason), number in counted:
        left.setdefault(library, {})[reason] = number
    return left
