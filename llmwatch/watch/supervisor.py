"""The supervisor: one daemon thread that sleeps until the earliest deadline and ends what has expired.

How it stays simple: the schedule belongs to its thread alone, and the only way in is an inbox (a ``SimpleQueue``,
which a finalizer may use as well). Attempts put themselves there when they start and when their next expiry has moved
*forward*; an event that moves it back costs nothing, because a deadline that comes is looked at again before anything
happens.

The supervisor holds no lock of its own while it takes an attempt's, and takes one attempt's at a time. When many
expire at once all verdicts come first, then the shutdowns.

**It is watched itself.** A turn that raises is logged and counted, and the next one goes on where it stopped. Where
turn after turn fails the thread ends, and so it does if something else kills it. The next :meth:`Supervisor.watch`
finds that out and starts another thread, which takes over the schedule and looks at every attempt that is alive.
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
from llmwatch.watch.interfaces import Watched
from llmwatch.watch.launch import Launch
from llmwatch.watch.machine import GRACE, Action
from llmwatch.watch.registry import Registry

__all__ = ["Supervisor", "current", "finish_dropped"]

_log = logging.getLogger("llmwatch")

_NOW = float("-inf")
_PAUSES = (0.0, 0.02, 0.1, 0.5, 1.0)
"""Seconds before the next turn, for each that has failed since one went well; after one more the thread ends."""


class _Shift:
    """One thread's watch."""

    __slots__ = ("launch", "over", "thread")

    def __init__(self, run: Callable[[_Shift], None]) -> None:
        self.over = False
        """The thread has ended."""
        self.thread = threading.Thread(target=run, args=(self,), name="llmwatch-supervisor", daemon=True)
        self.launch = Launch(self.thread)


class Supervisor:
    """Watches any number of attempts from one thread, which starts with the first of them."""

    def __init__(self, clock: Clock = SYSTEM, registry: Registry | None = None) -> None:
        self.clock = clock
        self.registry = registry or Registry()
        self._inbox: queue.SimpleQueue[Watched | None] = queue.SimpleQueue()
        self._heap: list[tuple[float, int, Watched]] = []
        self._numbers = itertools.count()
        self._compact_at = 64
        self._due: dict[int, Watched] = {}  # to be examined in this turn
        self._doomed: deque[Watched] = deque()  # to be aborted behind that
        self._lags: deque[float] = deque(maxlen=1024)
        self._missed = 0
        self._failed = 0
        self._replaced = 0
        self._start_lock = threading.RLock()  # protects _shift, and is held until its thread is up
        self._shift: _Shift | None = None

    def watch(self, attempt: Watched) -> None:
        """Watch an attempt from now on. Raises :class:`~llmwatch.TooManyThreads` if there is no thread to do it."""
        with self._start_lock:
            if self._shift is None or self._shift.over or not self._shift.launch.came_up():
                self._begin_shift()
        self._inbox.put(attempt)

    def _begin_shift(self) -> None:
        if self._shift is not None and self._shift.over:
            self._replaced += 1
            _log.error("llmwatch: the thread that watches over the limits had died; another takes over")
        self._shift = shift = _Shift(self._run)
        shift.launch.start()

    def look_at(self, attempt: Watched) -> None:
        """Its next expiry came closer, or something else happened to it. Takes no lock: finalizers may call it."""
        self._inbox.put(attempt)

    def lag(self) -> dict[str, float]:
        """How late the last thousand wake-ups for a deadline were, in seconds: median and largest."""
        lags = sorted(self._lags)
        if not lags:
            return {"median": 0.0, "max": 0.0}
        return {"median": lags[len(lags) // 2], "max": lags[-1]}

    def counts(self) -> dict[str, int]:
        """What went wrong with the watch itself, since the start of the process."""
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
        """After a turn that broke off, or a thread that died: what it had in hand may be nowhere else."""
        heapq.heapify(self._heap)
        for attempt in self.registry.live():
            self._inbox.put(attempt)

    def turn(self) -> None:
        """Sleep until the next deadline or message, then deal with all there is."""
        until = self._heap[0][0] if self._heap else None
        item = self.clock.get(self._inbox, _NOW if self._due or self._doomed else until)
        while item is not None:
            self._due[id(item)] = item
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                break
        now = self.clock.now()
        if until is not None and now > until:
            self._lags.append(now - until)
            self._missed += now - until > GRACE
        self._pop_due(now)
        for key, attempt in list(self._due.items()):
            if self._examine(attempt, now):
                self._doomed.append(attempt)
            del self._due[key]
        while self._doomed:
            attempt = self._doomed.popleft()
            try:
                attempt.abort()
            except BaseException:  # one attempt that cannot be ended must not end the watch over the others
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
    # What is wrong with the turns may be wrong with this as well.
    with contextlib.suppress(Exception):
        SYSTEM.wait(Waiter(), SYSTEM.now() + seconds)


_current: Supervisor | None = None
_current_lock = threading.RLock()  # protects _current; a leaf
renew_in_child(globals(), "_current_lock", threading.RLock)


def current() -> Supervisor:
    """The supervisor of this process. It is made on the first call; its thread starts with the first watch."""
    global _current
    with _current_lock:
        if _current is None:
            _current = Supervisor()
        return _current


def _end_all() -> None:
    """At exit: attempts are given up, and nobody is waited for, but for what there is to tell of dropped calls."""
    if _current is not None:
        for attempt in _current.registry.live():
            attempt.end_at_exit()
    finish_dropped()


def finish_dropped() -> None:
    """At exit: have everything said that there is to say of calls that were dropped, within a second."""
    if _current is not None:
        dropped.finish(_current.look_at)


@in_child
def _detach_in_child() -> None:
    """In a forked child: no thread of the parent lives here, so its attempts are inert and a new supervisor is made
    on demand.
    """
    global _current
    inherited, _current = _current, None
    if inherited is not None:
        # The parent's other threads may have held these locks at the fork, so none of them is touched.
        for attempt in inherited.registry.inherited():
            with contextlib.suppress(Exception):
                attempt.detach_in_child()
