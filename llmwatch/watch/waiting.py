"""How a thread waits for another thread's change, although a signal handler may raise at any instant.

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
  sleeps on a lock of its own, and looks again.
* Every step that may be interrupted half-way can be repeated, and a second call or the supervisor repeats it.
* No ``Thread.start`` (:mod:`llmwatch.watch.launch`), and no ``Thread.is_alive`` or ``join``: interrupted, these take a
  running thread for one that is over (CPython 3.10 to 3.12).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from llmwatch.watch.clock import Clock, Waiter

__all__ = ["WaitList"]


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
        """Have every waiter look again.
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
