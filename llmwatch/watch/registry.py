"""The process-wide registry of attempts, workers and orphans behind :func:`llmwatch.stats`."""

from __future__ import annotations

import threading

from llmwatch.watch.interfaces import WatchedAttempt

__all__ = ["MOST_ORPHANS", "Registry"]

MOST_ORPHANS = 64
"""Most workers that may be stuck; no attempt starts while there are as many."""


class Registry:
    """The attempts whose worker lives, and counts.

    ``_lock`` protects every field. It is a leaf: it may be taken under an attempt's lock, and no lock is taken under
    it. It is re-entrant, as are all locks of a call, since a signal handler or a finalizer of the thread that holds it
    may make a call.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._live: set[WatchedAttempt] = set()
        self._orphans: set[WatchedAttempt] = set()
        self._unabortable = 0
        self._late = 0

    def add(self, attempt: WatchedAttempt) -> None:
        with self._lock:
            self._live.add(attempt)

    def remove(self, attempt: WatchedAttempt, late: int) -> None:
        """The attempt's worker is gone."""
        with self._lock:
            if attempt not in self._live:
                return
            self._live.discard(attempt)
            self._orphans.discard(attempt)
            self._late += late

    def orphan(self, attempt: WatchedAttempt) -> None:
        """The worker did not wake although its attempt is over."""
        with self._lock:
            if attempt in self._live and attempt not in self._orphans:
                self._orphans.add(attempt)
                self._unabortable += 1

    @property
    def orphans(self) -> int:
        with self._lock:
            return len(self._orphans)

    def live(self) -> list[WatchedAttempt]:
        """The attempts whose worker lives."""
        with self._lock:
            return list(self._live)

    def counts(self) -> dict[str, int]:
        with self._lock:
            live = list(self._live)
            orphans, unabortable, late = len(self._orphans), self._unabortable, self._late
        # Read outside the lock: an attempt's lock is taken before this lock, never after it.
        running = sum(1 for attempt in live if attempt.verdict is None)
        return {
            "live_attempts": running,
            "workers": len(live),
            "orphans": orphans,
            "unabortable": unabortable,
            "late_events": late + sum(attempt.late for attempt in live),
        }

    def inherited(self) -> list[WatchedAttempt]:
        """In a forked child: the parent's attempts, read without the lock, which another thread may have held."""
        return list(self._live)
