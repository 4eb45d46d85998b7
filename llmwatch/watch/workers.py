"""The threads that do the work of attempts: new ones, and idle ones of the same client.

A thread works for one attempt at a time, in a copy of the caller's context. Only llmwatch's own code may run in a
thread that takes a second attempt: the code of a user may leave data in thread-local variables. The thread of an
attempt that was killed or cancelled ends with it. A thread that lies idle for :data:`IDLE` seconds ends, and so does
every idle thread once its client is closed. To hand work to an idle thread costs a tenth of the start of a thread.

``_lock`` protects the list of seats and what is in a seat. It is a leaf, and nothing is waited for while it is held. A
signal handler may interrupt a hand-over anywhere: a thread that was taken and got nothing ends when its time is over,
and work that was withdrawn is not done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from llmwatch import at_fork
from llmwatch.watch.clock import SYSTEM, Waiter
from llmwatch.watch.launch import Launch

__all__ = ["IDLE", "Job", "Workers"]

IDLE = 1.0
"""Seconds for which a thread waits for its next work."""
_MOST = 32
"""Most threads of a client that lie idle."""


class _Seat:
    """Where one idle thread waits."""

    __slots__ = ("job", "left", "thread", "waiter")

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.waiter = Waiter()
        self.job: Job | None = None
        self.left = False  # the thread takes no more work


class Workers:
    """The idle threads of one client. The one that was at work last is taken first."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._idle: list[_Seat] = []
        self._closed = False
        at_fork.follow(self)

    def take(self) -> _Seat | None:
        """An idle thread's seat, if there is one."""
        with self._lock:
            self._closed = False
            return self._idle.pop() if self._idle else None

    def give(self, seat: _Seat, job: Job) -> bool:
        """Have the thread of a taken ``seat`` do ``job``; ``False`` if it has left."""
        with self._lock:
            if not seat.left:
                seat.job = job
                seat.waiter.put()
            return not seat.left

    def wait(self) -> Job | None:
        """In a thread that is idle: the next job, ``None`` if the thread is to end."""
        seat = _Seat()
        with self._lock:
            if self._closed or len(self._idle) >= _MOST:
                return None
            self._idle.append(seat)
        SYSTEM.wait(seat.waiter, SYSTEM.now() + IDLE)
        with self._lock:
            seat.left = True
            if seat in self._idle:
                self._idle.remove(seat)
            # The two refer to each other no more.
            job, seat.job = seat.job, None
            return job

    def close(self) -> None:
        """End the idle threads, and each busy one after its work, until the next job comes."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for seat in idle:
            seat.waiter.put()

    def after_fork(self) -> None:
        """In a forked child: the parent's threads are not there."""
        self._lock = threading.RLock()
        self._idle = []


class Job:
    """The work of one attempt, for an idle thread of ``workers`` or for a new thread.
    If ``work`` returns a true value, its thread ends and takes no other work. Taking the work out of ``_waiting`` is
    one step, and decides. The thread takes it out and does it, or :meth:`withdraw` takes it out and it is never done.
    """

    __slots__ = ("_seat", "_waiting", "_workers", "thread")

    def __init__(self, work: Callable[[], object], workers: Workers | None) -> None:
        self._waiting = [work]
        self._workers = workers
        self._seat = None if workers is None else workers.take()
        self.thread = self._new_thread() if self._seat is None else self._seat.thread

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=_serve, args=(self, self._workers), name="llmwatch-worker", daemon=True)

    def start(self) -> None:
        """Have the work done. To be called once.
        Raises :class:`~llmwatch.TooManyThreads` where a thread is needed and the system has none left. After any other
        exception the work may be done: :meth:`withdraw` tells.
        """
        if self._seat is not None and self._workers is not None:
            if self._workers.give(self._seat, self):
                return
            self.thread = self._new_thread()
        Launch(self.thread).start()

    def withdraw(self) -> bool:
        """Keep the work from being done; ``False`` if it has begun."""
        return self._taken() is not None

    def do(self) -> object:
        """Do the work, unless it was withdrawn; a true value if the thread is to end."""
        work = self._taken()
        return None if work is None else work()

    def _taken(self) -> Callable[[], object] | None:
        try:
            return self._waiting.pop()
        except IndexError:
            return None


def _serve(job: Job | None, workers: Workers | None) -> None:
    while job is not None:
        spent = job.do()
        # An idle thread keeps nothing of the attempt.
        job = None
        if not spent and workers is not None:
            job = workers.wait()
