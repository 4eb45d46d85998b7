"""The clocks, and the waiting of threads. No other module reads the time.

Every duration in llmwatch is measured on a :class:`Clock`, which is monotonic. Wall time serves only records and HTTP
dates. Every bounded wait goes through the clock too, so a :class:`ManualClock` can replace real time.

Python runs signal handlers in the main thread, between any two calls. Their exception (``KeyboardInterrupt``, the
time-out of a ``SIGALRM`` recipe) appears right there. ``threading.Condition`` is not safe then: its ``wait``,
``__enter__`` and ``__exit__`` release and take the lock in Python code. An exception in between leaves the lock held
for ever, or makes the ``with`` block fail with ``RuntimeError: cannot release un-acquired lock``.

The rules for all code that a caller's thread may run:

* A lock is a ``threading.Lock`` or ``RLock`` and is taken by ``with``, which CPython does in one step each way. No
  ``Condition``, ``Event`` or ``Semaphore``, and no lock behind a context manager written in Python.
* The block of a lock itself contains no loop and no comprehension: CPython 3.13 takes a signal at the jump of a loop,
  which the compiler may put outside the protected range. A function that the block calls may loop.
* No lock is held during a wait. The thread enters itself in a :class:`WaitList` under the lock, releases the lock,
  sleeps on a lock of its own, and checks the state again.
* Every step that may be interrupted half-way can be repeated, and a second call or the supervisor repeats it.
* No ``Thread.start`` (:mod:`llmwatch.watch.launch`), and no ``Thread.is_alive`` or ``join``: interrupted, these take a
  running thread for one that is over (CPython 3.10 to 3.12).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

__all__ = ["SYSTEM", "Clock", "ManualClock", "SystemClock", "WaitList", "Waiter"]

T = TypeVar("T")


class Waiter:
    """The object that one thread sleeps on. :meth:`put` wakes the thread, now or as soon as it sleeps.
    It is a lock, since a ``SimpleQueue`` does not always come back from a wait that signal handlers interrupt (CPython
    3.10 to 3.12).
    """

    __slots__ = ("_woken",)

    def __init__(self) -> None:
        self._woken = threading.Lock()
        self._woken.acquire()

    def put(self, item: None = None) -> None:
        """Wake the thread. Takes no lock and never fails."""
        try:
            self._woken.release()
        except RuntimeError:
            return  # already woken, and the thread has not slept since

    @property
    def woken(self) -> bool:
        """Whether the thread was woken and will not sleep."""
        return not self._woken.locked()

    def get(self, timeout: float = -1) -> None:
        """Sleep until woken. Raises :class:`queue.Empty` after ``timeout`` seconds, unless that is negative."""
        if not self._woken.acquire(timeout=timeout):
            raise queue.Empty


# Queues and locks refuse time-outs near the platform's largest; waking once an hour costs nothing.
_LONGEST_WAIT = 3600.0
# Only the main thread runs signal handlers. It misses a signal that comes between its last look and the system call
# that sleeps, and on Windows a lock notices no signal. So it waits in slices: Ctrl-C works within 0.2 s.
_SLICE = 0.1


class Clock(Protocol):
    """Monotonic seconds, wall seconds, and the two kinds of wait."""

    def now(self) -> float:
        """Seconds on a clock that never goes back; its zero has no meaning."""

    def wall(self) -> float:
        """Seconds since the Unix epoch, for records only."""

    def get(self, inbox: queue.SimpleQueue[T | None], until: float | None) -> T | None:
        """The next item of ``inbox``, or ``None`` when ``until`` has come. May return ``None`` early."""

    def wait(self, waiter: Waiter, until: float | None) -> None:
        """Sleep until ``waiter`` is woken or ``until`` has come.
        May return early. The thread holds no lock meanwhile, so an exception of a signal handler may end the wait.
        """


class SystemClock:
    """Real time."""

    # Unwrapped: every event of every stream reads the time several times.
    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    def get(self, inbox: queue.SimpleQueue[T | None], until: float | None) -> T | None:
        if until is None:
            return inbox.get()
        left = until - time.monotonic()
        try:
            if left <= 0:
                return inbox.get_nowait()
            return inbox.get(timeout=min(left, _LONGEST_WAIT))
        except queue.Empty:
            return None

    def wait(self, waiter: Waiter, until: float | None) -> None:
        longest = _SLICE if threading.get_ident() == threading.main_thread().ident else _LONGEST_WAIT
        left = longest if until is None else min(until - time.monotonic(), longest)
        if left > 0:
            try:
                waiter.get(timeout=left)
            except queue.Empty:
                return


class ManualClock:
    """Time that moves only when a test moves it.
    :meth:`advance` wakes every thread that waits on this clock, so the code under test sees the new time at once. Wall
    time moves along; :meth:`set_wall` sets it apart, to show that no limit depends on it.
    """

    def __init__(self, now: float = 1_000.0, wall: float = 1_700_000_000.0) -> None:
        self._lock = threading.Lock()  # protects the four fields below; a leaf
        self._now = now
        self._wall = wall
        self._inboxes: list[queue.SimpleQueue[object]] = []
        self._waiters: list[Waiter] = []

    def now(self) -> float:
        with self._lock:
            return self._now

    def wall(self) -> float:
        with self._lock:
            return self._wall

    def set_wall(self, wall: float) -> None:
        """Set the wall clock, as an administrator or a time server would."""
        with self._lock:
            self._wall = wall

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, and wake every waiter."""
        with self._lock:
            self._now += seconds
            self._wall += seconds
            inboxes, waiters = list(self._inboxes), list(self._waiters)
        for inbox in inboxes:
            inbox.put(None)
        for waiter in waiters:
            waiter.put(None)

    def get(self, inbox: queue.SimpleQueue[T | None], until: float | None) -> T | None:
        with self._lock:
            if inbox not in self._inboxes:
                self._inboxes.append(inbox)  # type: ignore[arg-type]
            # A limit expires only after its instant, so at the instant itself there is nothing to do.
            due = until is not None and until < self._now
        if due:
            try:
                return inbox.get_nowait()
            except queue.Empty:
                return None
        return inbox.get()

    def wait(self, waiter: Waiter, until: float | None) -> None:
        with self._lock:
            self._waiters.append(waiter)
            due = until is not None and until <= self._now
        try:
            if not due:
                waiter.get()
        finally:
            with self._lock:
                self._waiters.remove(waiter)


SYSTEM = SystemClock()


class WaitList:
    """The threads that wait for one kind of change.
    Used under the lock that protects the changing state, except :meth:`wait_for`.
    """

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: dict[Waiter, None] = {}  # an ordered set; pop removes a waiter, or does nothing, in one step

    def __contains__(self, waiter: object) -> bool:
        return waiter in self._waiters

    def __bool__(self) -> bool:
        return bool(self._waiters)

    def enter(self, waiter: Waiter | None) -> Waiter:
        """Wait for the next change: returns ``waiter`` if it is in the list, else a new one.
        The caller looks at the state again after a new waiter entered the list and before it waits: a signal handler of
        this very thread may have changed the state just before, despite the lock.
        """
        if waiter is None or waiter not in self._waiters:
            waiter = Waiter()
            self._waiters[waiter] = None
        return waiter

    def leave(self, waiter: Waiter | None) -> None:
        """Stop waiting."""
        if waiter is not None:
            self._waiters.pop(waiter, None)

    def wake(self) -> None:
        """Wake every waiter, which then checks the state again.
        Each is woken before it leaves the list: an interrupted wake leaves no sleeper that the next wake would miss.
        """
        for waiter in tuple(self._waiters):
            waiter.put(None)
            self._waiters.pop(waiter, None)

    def wait_for(
        self, ready: Callable[[], bool], lock: AbstractContextManager[object], clock: Clock, until: float | None = None
    ) -> bool:
        """Sleep until ``ready()`` is true or ``until`` has come; returns the last ``ready()``.
        ``ready`` is called with ``lock`` held.
        """
        waiter: Waiter | None = None
        while True:
            with lock:
                done = ready()
                if done or (until is not None and clock.now() >= until):
                    self.leave(waiter)
                    return done
                before, waiter = waiter, self.enter(waiter)
            if waiter is before:
                clock.wait(waiter, until)
