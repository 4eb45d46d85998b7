"""The logger ``llmwatch``: what is said there never harms a call, and what goes wrong again and again is said once a
minute.

A library logs where its user may have hung anything: a handler that raises is no reason for a call to fail.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Hashable

from llmwatch.at_fork import renew_in_child
from llmwatch.interruption import is_interruption

__all__ = ["EVERY", "LogLimit", "LogLimits", "say", "say_seldom"]

EVERY = 60.0
"""Seconds between two lines about the same trouble."""

_MOST_KEYS = 256

_log = logging.getLogger("llmwatch")

_lock = threading.RLock()  # protects the fields of every limit below; a leaf, re-entrant for signal handlers
renew_in_child(globals(), "_lock", threading.RLock)


def say(level: int, message: str, *values: object, extra: dict[str, object] | None = None) -> None:
    """Log ``message % values``. What a handler of the user's raises goes no further."""
    try:
        _log.log(level, message, *values, extra=extra, stacklevel=2)
    except Exception as error:
        if is_interruption(error):
            raise


class LogLimit:
    """Lets one line in :data:`EVERY` seconds through and counts what it holds back. May be used from any thread."""

    __slots__ = ("_at", "_held")

    def __init__(self) -> None:
        self._at: float | None = None
        self._held = 0

    def admit(self, now: float) -> int | None:
        """Something happened at ``now``, in seconds of one clock that never goes back. How often it did since the last
        line, this time included; ``None`` where that line is too recent for another.
        """
        with _lock:
            self._held += 1
            if self._at is not None and self._at <= now < self._at + EVERY:
                return None
            count, self._held, self._at = self._held, 0, now
            return count


class LogLimits:
    """A :class:`LogLimit` for each kind of trouble. Of 256 kinds, the one that is the longest ago is forgotten."""

    def __init__(self) -> None:
        self._limits: OrderedDict[Hashable, LogLimit] = OrderedDict()

    def admit(self, kind: Hashable, now: float) -> int | None:
        """As :meth:`LogLimit.admit`, for ``kind``."""
        with _lock:
            limit = self._limits.pop(kind, None) or LogLimit()
            self._limits[kind] = limit
            if len(self._limits) > _MOST_KEYS:
                self._limits.popitem(last=False)
        return limit.admit(now)


_troubles = LogLimits()


def say_seldom(kind: Hashable, now: float, level: int, message: str, *values: object) -> None:
    """As :func:`say`, once in :data:`EVERY` seconds for each ``kind`` of trouble; the line says how often there was
    that trouble since the one before. ``now`` is in seconds of a clock that never goes back.
    """
    count = _troubles.admit(kind, now)
    if count == 1:
        say(level, message, *values)
    elif count is not None:
        say(level, message + " (%d times since the last line about it)", *values, count)
