"""The logger ``llmwatch``. Logging never fails a call; a repeated failure is logged once a minute.

The user may attach any handler to the logger. An exception of a handler must not fail a call.
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
"""Seconds between two lines of the same kind."""

_MOST_KEYS = 256

_log = logging.getLogger("llmwatch")

_lock = threading.RLock()  # protects the fields of every limit below; a leaf, re-entrant for signal handlers
renew_in_child(globals(), "_lock", threading.RLock)


def say(level: int, message: str, *values: object, extra: dict[str, object] | None = None) -> None:
    """Log ``message % values``. Exceptions of log handlers are dropped, those of signal handlers not."""
    try:
        _log.log(level, message, *values, extra=extra, stacklevel=2)
    except Exception as error:
        if is_interruption(error):
            raise


class LogLimit:
    """Admits one line in :data:`EVERY` seconds and counts the lines held back. Thread-safe."""

    __slots__ = ("_at", "_held")

    def __init__(self) -> None:
        self._at: float | None = None
        self._held = 0

    def admit(self, now: float) -> int | None:
        """Occurrences since the last line, this one included; ``None`` if that line is too recent.

        ``now`` is in seconds of a monotonic clock.
        """
        with _lock:
            self._held += 1
            if self._at is not None and self._at <= now < self._at + EVERY:
                return None
            count, self._held, self._at = self._held, 0, now
            return count


class LogLimits:
    """A :class:`LogLimit` for each kind of line. Keeps the 256 kinds that were used last."""

    def __init__(self) -> None:
        self._limits: OrderedDict[Hashable, LogLimit] = OrderedDict()

    def admit(self, kind: Hashable, now: float) -> int | None:
        """:meth:`LogLimit.admit` for ``kind``."""
        with _lock:
            limit = self._limits.pop(kind, None) or LogLimit()
            self._limits[kind] = limit
            if len(self._limits) > _MOST_KEYS:
                self._limits.popitem(last=False)
        return limit.admit(now)


_troubles = LogLimits()


def say_seldom(kind: Hashable, now: float, level: int, message: str, *values: object) -> None:
    """:func:`say`, at most once in :data:`EVERY` seconds for each ``kind``.

    The line has the number of occurrences since the last line. ``now`` is in seconds of a monotonic clock.
    """
    count = _troubles.admit(kind, now)
    if count == 1:
        say(level, message, *values)
    elif count is not None:
        say(level, message + " (%d times since the last line about it)", *values, count)
