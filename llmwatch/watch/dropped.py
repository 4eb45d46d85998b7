"""Calls that the user dropped unclosed: nothing refers to their stream, response or iterator.

The library still makes their records. A finalizer may run in any thread between any two steps, with any lock held, so
it only puts a :class:`Dropped` into the supervisor's inbox. The supervisor ends the attempt and passes the rest on in
two steps, each in a thread of its own that lives while there are jobs:

* ``CLOSING`` ends the call: it makes the record, and frees the call's place at the gate of its origin. This runs only
  library code, takes a fraction of a millisecond, and waits for nothing.
* ``TELLING`` calls the user's sinks. A sink that blocks delays the records of other dropped calls, but neither the
  watch, nor the gate, nor a call that is still in use.

The call's worker cannot do this. A stuck worker never reaches its end, a finished worker reached it before the drop,
and a sink that blocks would keep one thread for every call.

At exit the remaining jobs are done within a second. A forked child forgets them: the calls are its parent's.
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
"""Most records that wait for sinks that block; further records are lost."""

Job = Callable[[], object]


class Backlog:
    """Does jobs one after the other in a daemon thread that lives as long as there are any.
    Any thread may use it. No lock is held while a job runs.
    """

    def __init__(self, name: str, most: int | None = None) -> None:
        self._name = name
        self._most = most
        self._lock = threading.RLock()  # protects the two fields below; a leaf
        self._jobs: deque[Job] = deque()
        self._busy: threading.Lock | None = None  # held while the thread lives

    def put(self, job: Job) -> bool:
        """Queue ``job`` without waiting; ``False`` if too many jobs wait already."""
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
            # Thread.start would make the supervisor wait for the thread to come up.
            _thread.start_new_thread(self._launch, (self._jobs, busy))
        except RuntimeError:
            # The system has no thread left: the job waits for the next one, or for the end of the process.
            return
        self._busy = busy

    def _launch(self, jobs: deque[Job], busy: threading.Lock) -> None:
        # threading does not know a bare thread, and would keep a dummy for it if a sink asked for the current thread.
        thread = threading.Thread(target=self._run, args=(jobs, busy), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._run_no_more(busy)

    def _run(self, jobs: deque[Job], busy: threading.Lock) -> None:
        while True:
            with self._lock:
                if jobs is not self._jobs:
                    return  # a job has forked, and this is the child process
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
        except BaseException as error:  # a sink that ends its thread must not stop the other jobs
            say(logging.ERROR, "llmwatch: a dropped call could not be told of: %s", redact.described(error))

    def finish(self, seconds: float, lend: Lend) -> None:
        """At exit: wait at most ``seconds`` until the jobs are done.
        CPython 3.12 starts no thread at exit; ``lend`` then runs the jobs in the supervisor's thread.
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
            # The jobs stay undone if the thread does not come up while the interpreter exits.
            if busy is None or not busy.acquire(timeout=seconds):
                return

    def after_fork(self) -> None:
        """In a forked child: forget the jobs and the thread, which are the parent's."""
        self._lock = threading.RLock()
        self._jobs = deque()
        self._busy = None


CLOSING = Backlog("llmwatch-closing")
TELLING = Backlog("llmwatch-telling", _MOST)

# Dropped calls that were not passed on, by their ids. No lock: adding and removing are one step each.
_left: dict[int, Dropped] = {}


class Dropped:
    """A dropped call, for the supervisor's inbox. ``close`` ends the call and is called once.
    Making one takes no lock and runs no user code.
    """

    __slots__ = ("_close", "armed")

    def __init__(self, close: Job) -> None:
        self.armed = _NEVER
        self._close = [close]
        _left[id(self)] = self

    def examine(self, now: float) -> tuple[Action, float | None]:
        """The call is over. The supervisor examined its attempt before, since that came first."""
        return Action.KILL, None

    def abort(self) -> None:
        """Pass ``close`` on, once every attempt that has to end has ended.
        The thread that takes it out does it.
        """
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
    """At exit: finish the dropped calls. ``lend`` puts a job into the inbox of the supervisor, now idle."""
    for dropped in list(_left.values()):
        dropped.abort()
    # The supervisor may be about to pass a dropped call on.
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
