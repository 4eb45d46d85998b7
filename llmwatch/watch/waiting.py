"""How a thread sleeps until another has changed something, so that a signal handler may raise at any instant of it.

Python runs signal handlers in the main thread, between any two calls, and what they raise (``KeyboardInterrupt``, the
time-out of a ``SIGALRM`` recipe) comes up right there. ``threading.Condition`` does not stand that: its ``wait`` gives
the lock up and takes it back in Python code, and so do its ``__enter__`` and ``__exit__``. An exception in between
leaves the lock held for ever, or makes the ``with`` block fail with ``RuntimeError: cannot release un-acquired lock``.

The rules for everything that a caller's thread may run:

* A lock is a ``threading.Lock`` or ``RLock`` and is taken by ``with``, which CPython does in one step each way. No
  ``Condition``, ``Event`` or ``Semaphore``, and no lock behind a context manager that is written in Python.
* No loop and no comprehension stands in the block of a lock itself: CPython 3.13 takes a signal at the jump of a loop,
  which the compiler may put outside of what the block protects. A function that is called there may loop.
* No lock is held during a wait. The thread enters itself in a :class:`WaitList` under the lock, gives the lock up,
  sleeps on a lock of its own, and looks again.
* Whatever may be interrupted half-way can be done again, and somebody does: a second call, or the supervisor.
* ``Thread.start`` is not called there (:mod:`llmwatch.watch.launch`), nor ``Thread.is_alive`` and ``join``, which take
  a thread that runs for one that is over if they are interrupted (CPython 3.10 to 3.12).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from llmwatch.watch.clock import Clock, Waiter

__all__ = ["WaitList"]


class WaitList:
    """The threads that wait for one kind of change. Used under the lock that protects what changes, except
    :meth:`wait_for`.
    """

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: dict[Waiter, None] = {}  # a set in order, of which one step takes somebody out or does nothing

    def __contains__(self, waiter: object) -> bool:
        return waiter in self._waiters

    def __bool__(self) -> bool:
        return bool(self._waiters)

    def enter(self, waiter: Waiter | None) -> Waiter:
        """Wait for the next change: returns ``waiter`` if it is in the list, else a new one.

        Look at the state again after a new one has come into the list, and before it is waited for: a signal handler
        of this very thread may have changed something just before, lock or no lock.
        """
        if waiter is None or waiter not in self._waiters:
            waiter = Waiter()
            self._waiters[waiter] = None
        return waiter

    def leave(self, waiter: Waiter | None) -> None:
        """Wait no longer."""
        if waiter is not None:
            self._waiters.pop(waiter, None)

    def wake(self) -> None:
        """Let everybody look again. Each is woken before it leaves the list, so that one who is interrupted in the
        middle of this leaves nobody asleep whom the next call would not find.
        """
        for waiter in tuple(self._waiters):
            waiter.put(None)
            self._waiters.pop(waiter, None)

    def wait_for(
        self, ready: Callable[[], bool], lock: AbstractContextManager[object], clock: Clock, until: float | None = None
    ) -> bool:
        """Sleep until ``ready()``, which is called with ``lock`` held, or until ``until`` has come; whether it is."""
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
