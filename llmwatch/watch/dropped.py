"""Calls that were dropped unclosed: nobody refers to their stream, response or iterator any more, and they are told of
all the same.

A finalizer may run in any thread between any two steps, with any lock held, so it only leaves word
(:class:`Dropped`). The supervisor ends the attempt, and hands on what is left to do in two steps, neither of them in
its own thread:

* ``CLOSING`` ends the call: it makes the record, and gives back what the call holds before the gate of its origin.
  That is our own work, takes a fraction of a millisecond, and waits for nobody.
* ``TELLING`` calls the user's sinks. One that blocks holds up the records of other dropped calls, and nothing else:
  neither the watch, nor the gate, nor a call that somebody still holds.

Each is one thread, which begins with the first dropped call and ends with the last. The worker on its way out would
be no place for this: one that nothing wakes never comes there, one that is done has been there before the drop, and a
sink that blocks would keep a thread for every call.

At exit what was left word of is finished, within a second. A forked child forgets it: the calls are its parent's.
"""

from __future__ import annotations

import _thread
import functools
import logging
import threading
from collections import deque
from collections.abc import Callable

from llmwatch.at_fork import in_child
from llmwatch.records.log import say
from llmwatch.redaction import redact
from llmwatch.watch.machine import Action

__all__ = ["CLOSING", "TELLING", "Backlog", "Dropped", "finish"]

_NEVER = float("inf")
_AT_EXIT = 1.0
"""Seconds that dropped calls may delay the end of the process."""

_PAUSE = 0.001
_MOST_PAUSES = 100

_MOST = 10_000
"""Records that wait for sinks which block; more are lost."""

Job = Callable[[], object]


class Backlog:
    """Does jobs one after the other in a daemon thread that lives as long as there are any. May be used from any
    thread; no lock is held while a job runs.
    """

    def __init__(self, name: str, most: int | None = None) -> None:
        self._name = name
        self._most = most
        self._lock = threading.RLock()  # protects the two fields below; a leaf
        self._jobs: deque[Job] = deque()
        self._busy: threading.Lock | None = None  # held while the thread is there

    def put(self, job: Job) -> bool:
        """Have ``job`` done, and wait for nothing; ``False`` if too many wait already."""
        with self._lock:
            if self._most is not None and len(self._jobs) >= self._most:
                return False
            self._jobs.append(job)
            if self._busy is None:
                self._start()
        return True

    def _start(self) -> None:
        busy = threading.Lock()
        busy.acquire()
        try:
            # Thread.start would wait for the thread to come up, in the supervisor's time.
            _thread.start_new_thread(self._launch, (self._jobs, busy))
        except RuntimeError:
            # No thread can be started: the job waits for the next one, or for the end of the process.
            return
        self._busy = busy

    def _launch(self, jobs: deque[Job], busy: threading.Lock) -> None:
        # A bare thread is unknown to threading, and would stay there for ever as a dummy if a sink asked who it is.
        thread = threading.Thread(target=self._run, args=(jobs, busy), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._run_no_more(busy)

    def _run(self, jobs: deque[Job], busy: threading.Lock) -> None:
        while True:
            with self._lock:
                if jobs is not self._jobs:
                    return  # a job has forked, and this is the child
                if not jobs:
                    self._run_no_more(busy)
                    return
                job = jobs.popleft()
            self._do(job)
            del job

    def _run_no_more(self, busy: threading.Lock) -> None:
        with self._lock:
            if self._busy is busy:
                self._busy = None
        busy.release()

    @staticmethod
    def _do(job: Job) -> None:
        try:
            job()
        except BaseException as error:  # a sink that wants to end its thread must not keep the others from being told
            say(logging.ERROR, "llmwatch: a dropped call could not be told of: %s", redact.described(error))

    def finish(self, seconds: float, lend: Lend) -> None:
        """At exit: wait until the jobs are done, ``seconds`` at most. Where no thread can be started any more (CPython
        3.12) they are done in one that ``lend`` has.
        """
        while True:
            with self._lock:
                if self._jobs and self._busy is None:
                    self._start()
                if self._jobs and self._busy is None:
                    self._busy = threading.Lock()
                    self._busy.acquire()
                    lend(_Lent(functools.partial(self._run, self._jobs, self._busy)))
                busy = self._busy
            # A thread that did not come up, since the interpreter exits, leaves the jobs.
            if busy is None or not busy.acquire(timeout=seconds):
                return

    def after_fork(self) -> None:
        """In a forked child: the jobs, and the thread, are the parent's."""
        self._lock = threading.RLock()
        self._jobs = deque()
        self._busy = None


CLOSING = Backlog("llmwatch-closing")
TELLING = Backlog("llmwatch-telling", _MOST)

# Those that were not handed on, by their ids. No lock: one step of the interpreter puts in, one takes out.
_left: dict[int, Dropped] = {}


class Dropped:
    """Word of one dropped call, for the supervisor's inbox. ``close`` ends the call and says so; it is called once.

    Making one takes no lock and runs no code of the user's.
    """

    __slots__ = ("_close", "armed")

    def __init__(self, close: Job) -> None:
        self.armed = _NEVER
        self._close = [close]
        _left[id(self)] = self

    def examine(self, now: float) -> tuple[Action, float | None]:
        """The call is over. Its attempt was examined before, for it came first."""
        return Action.KILL, None

    def abort(self) -> None:
        """Hand the call on, once the attempts that have to be ended are. Whoever takes ``close`` out does it."""
        try:
            close = self._close.pop()
        except IndexError:
            return
        CLOSING.put(close)
        _left.pop(id(self), None)


class _Lent:
    """A job for the supervisor's own thread."""

    __slots__ = ("_job", "armed")

    def __init__(self, job: Job) -> None:
        self.armed = _NEVER
        self._job = job

    def examine(self, now: float) -> tuple[Action, float | None]:
        return Action.KILL, None

    def abort(self) -> None:
        self._job()


Lend = Callable[["_Lent"], None]


def finish(lend: Lend) -> None:
    """At exit: tell of the calls that were dropped and not told of yet. ``lend`` gives the supervisor something to do,
    which has nothing to watch any more.
    """
    for dropped in list(_left.values()):
        dropped.abort()
    # The supervisor may be about to hand one on.
    for _ in range(_MOST_PAUSES):
        if not _left:
            break
        threading.Event().wait(_PAUSE)
    CLOSING.finish(_AT_EXIT / 2, lend)
    TELLING.finish(_AT_EXIT / 2, lend)


@in_child
def _forget_dropped() -> None:
    _left.clear()
    for backlog in (CLOSING, TELLING):
        backlog.after_fork()
