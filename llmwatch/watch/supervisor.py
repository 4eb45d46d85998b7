"""The registry of live attempts, and the supervisor: one daemon thread that ends expired attempts.

The schedule belongs to the supervisor's thread alone. There are two ways in, and a finalizer may use both: the inbox, a
``SimpleQueue``, wakes the thread; ``_unarmed`` holds the attempts that the thread takes up when it wakes. An attempt
enters ``_unarmed`` when it starts and when its next expiry moves *forward*, and wakes the thread only if that expiry
comes before the thread wakes by itself. So call after call costs no wake-up: the thread sleeps until the connect limit
of a call that ended long ago. An event that moves the expiry back costs nothing: the supervisor looks at the attempt
again before it acts on a deadline.

No wake-up is lost: a thread that arms an attempt first appends it and then reads ``_wakes_at``; the supervisor first
writes ``_wakes_at`` and then looks into ``_unarmed``, and sleeps only if it is empty.

The supervisor holds no lock of its own while it takes an attempt's lock, and takes one attempt's lock at a time. When
many attempts expire at once, all verdicts come first, then the shutdowns.

A turn that raises is logged and counted, and the next turn continues where it stopped. The thread ends if turn after
turn fails, or if another cause kills it. The next :meth:`Supervisor.watch` notices that and starts another thread,
which takes over the schedule and looks at every live attempt.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable

from llmwatch.at_fork import in_child, renew_in_child
from llmwatch.watch import dropped
from llmwatch.watch.clock import SYSTEM, Clock, Waiter
from llmwatch.watch.interfaces import Watched, WatchedAttempt
from llmwatch.watch.launch import Launch
from llmwatch.watch.machine import GRACE, Action

__all__ = ["MOST_ORPHANS", "Registry", "Supervisor", "current", "finish_dropped"]

MOST_ORPHANS = 64
"""Most workers that may be stuck; no attempt starts while there are as many."""


class Registry:
    """The attempts whose worker lives, with counters of late events and of workers that did not wake.

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
        """Remove an attempt whose worker is gone."""
        with self._lock:
            if attempt not in self._live:
                return
            self._live.discard(attempt)
            self._orphans.discard(attempt)
            self._late += late

    def orphan(self, attempt: WatchedAttempt) -> None:
        """Count the worker of an attempt that is over as an orphan: it did not wake."""
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
        """In a forked child: the parent's attempts, read without the lock: another thread may have held it."""
        return list(self._live)


_log = logging.getLogger("llmwatch")

_NOW, _NEVER = float("-inf"), float("inf")
_MOST_UNARMED = 64
"""So many attempts wake the thread at any time, or those that are over would pile up."""
_PAUSES = (0.0, 0.02, 0.1, 0.5, 1.0)
"""Seconds before the next turn after each failed turn in a row. One more failure ends the thread."""


class _Shift:
    """One thread's watch."""

    __slots__ = ("launch", "over", "thread")

    def __init__(self, run: Callable[[_Shift], None]) -> None:
        self.over = False
        """Whether the thread has ended."""
        self.thread = threading.Thread(target=run, args=(self,), name="llmwatch-supervisor", daemon=True)
        self.launch = Launch(self.thread)


class Supervisor:
    """Watches any number of attempts from one thread, which starts with the first attempt."""

    def __init__(self, clock: Clock = SYSTEM, registry: Registry | None = None) -> None:
        self.clock = clock
        self.registry = registry or Registry()
        self._inbox: queue.SimpleQueue[Watched | None] = queue.SimpleQueue()
        self._unarmed: deque[Watched] = deque()
        self._wakes_at = _NOW  # when the thread wakes by itself; _NOW while it is awake
        self._heap: list[tuple[float, int, Watched]] = []
        self._numbers = itertools.count()
        self._compact_at = 64
        self._due: dict[int, Watched] = {}  # to be examined in this turn
        self._doomed: deque[Watched] = deque()  # to be aborted after that
        self._lags: deque[float] = deque(maxlen=1024)
        self._missed = 0
        self._failed = 0
        self._replaced = 0
        self._start_lock = threading.RLock()  # protects _shift, and is held until its thread is up
        self._shift: _Shift | None = None

    def watch(self, attempt: Watched) -> None:
        """Watch an attempt from now on. Raises :class:`~llmwatch.TooManyThreads` if no thread can start."""
        with self._start_lock:
            if self._shift is None or self._shift.over or not self._shift.launch.came_up():
                self._begin_shift()
        self.arm(attempt)

    def _begin_shift(self) -> None:
        if self._shift is not None and self._shift.over:
            self._replaced += 1
            _log.error("llmwatch: the thread that watches over the limits had died; another takes over")
        self._shift = shift = _Shift(self._run)
        shift.launch.start()

    def arm(self, attempt: Watched) -> None:
        """Have ``attempt`` examined when its instant ``armed`` has come. Takes no lock."""
        self._unarmed.append(attempt)
        if attempt.armed < self._wakes_at or not len(self._unarmed) % _MOST_UNARMED:
            self._inbox.put(None)

    def look_at(self, attempt: Watched) -> None:
        """Have ``attempt`` examined soon. Takes no lock, so finalizers may call it."""
        self._inbox.put(attempt)

    def lag(self) -> dict[str, float]:
        """How late the last 1,024 wake-ups for a deadline were, in seconds: median and largest."""
        lags = sorted(self._lags)
        if not lags:
            return {"median": 0.0, "max": 0.0}
        return {"median": lags[len(lags) // 2], "max": lags[-1]}

    def counts(self) -> dict[str, int]:
        """Failures of the watch itself since the start of the process."""
        return {
            "missed_beats": self._missed,
            "failed_turns": self._failed,
            "supervisors_replaced": self._replaced,
        }

    def _run(self, shift: _Shift) -> None:
        try:
            self._look_at_all()
            pauses = iter(_PAUSES)
            while True:
                try:
                    self.turn()
                except BaseException:
                    self._failed += 1
                    with contextlib.suppress(Exception):
                        _log.exception("llmwatch: a turn of the watch over the limits failed; it goes on")
                    pause = next(pauses, None)
                    if pause is None:
                        return
                    _pause(pause)
                    self._look_at_all()
                else:
                    pauses = iter(_PAUSES)
        finally:
            shift.over = True

    def _look_at_all(self) -> None:
        """Queue every live attempt: a broken turn or a dead thread may have lost those it had in hand."""
        heapq.heapify(self._heap)
        for attempt in self.registry.live():
            self._inbox.put(attempt)

    def turn(self) -> None:
        """Sleep until the next deadline or message, then handle everything that is due."""
        until = self._heap[0][0] if self._heap else None
        self._wakes_at = _NEVER if until is None else until
        item = self.clock.get(self._inbox, _NOW if self._due or self._doomed or self._unarmed else until)
        self._wakes_at = _NOW
        with contextlib.suppress(queue.Empty):
            while True:
                if item is not None:
                    self._due[id(item)] = item
                item = self._inbox.get_nowait()
        now = self.clock.now()
        if until is not None and now > until:
            self._lags.append(now - until)
            self._missed += now - until > GRACE
        while self._unarmed:
            attempt = self._unarmed.popleft()
            if attempt.armed < _NEVER:
                self._arm(attempt, attempt.armed)
        self._pop_due(now)
        for key, attempt in list(self._due.items()):
            if self._examine(attempt, now):
                self._doomed.append(attempt)
            del self._due[key]
        while self._doomed:
            attempt = self._doomed.popleft()
            try:
                attempt.abort()
            except BaseException:  # a failing attempt must not stop the watch over the others
                _log.exception("llmwatch: an attempt could not be aborted")

    def _pop_due(self, now: float) -> None:
        while self._heap and self._heap[0][0] < now:
            at, _, attempt = heapq.heappop(self._heap)
            if attempt.armed == at:
                self._due[id(attempt)] = attempt

    def _examine(self, attempt: Watched, now: float) -> bool:
        try:
            action, at = attempt.examine(now)
        except BaseException:
            _log.exception("llmwatch: an attempt could not be examined")
            return True
        if at is not None:
            self._arm(attempt, at)
        return action is not Action.NOTHING

    def _arm(self, attempt: Watched, at: float) -> None:
        if len(self._heap) >= self._compact_at:
            # An entry is stale once its attempt is armed for another instant.
            self._heap = [entry for entry in self._heap if entry[2].armed == entry[0]]
            heapq.heapify(self._heap)
            self._compact_at = max(64, 2 * len(self._heap))
        heapq.heappush(self._heap, (at, next(self._numbers), attempt))

    @property
    def scheduled(self) -> int:
        """Entries in the schedule, stale ones included."""
        return len(self._heap)


def _pause(seconds: float) -> None:
    # The fault in the turns may strike here as well.
    with contextlib.suppress(Exception):
        SYSTEM.wait(Waiter(), SYSTEM.now() + seconds)


_current: Supervisor | None = None
_current_lock = threading.RLock()  # protects _current; a leaf
renew_in_child(globals(), "_current_lock", threading.RLock)


def current() -> Supervisor:
    """The supervisor of this process, made on the first call. Its thread starts with the first watch."""
    global _current
    with _current_lock:
        if _current is None:
            _current = Supervisor()
        return _current


def _end_all() -> None:
    """At exit: cancel every attempt without waiting, then finish the dropped calls."""
    if _current is not None:
        for attempt in _current.registry.live():
            attempt.end_at_exit()
    finish_dropped()


def finish_dropped() -> None:
    """At exit: have the records of dropped calls made and passed to the sinks, within a second."""
    if _current is not None:
        dropped.finish(_current.look_at)


@in_child
def _detach_in_child() -> None:
    """In a forked child: detach the parent's attempts; a new supervisor is made on demand."""
    global _current
    inherited, _current = _current, None
    if inherited is not None:
        # The parent's other threads may have held these locks at the fork, so none is touched.
        for attempt in inherited.registry.inherited():
            with contextlib.suppress(Exception):
                attempt.detach_in_child()
