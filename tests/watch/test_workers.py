"""Idle threads that take the next work of their client."""

from __future__ import annotations

import contextvars
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import pytest

from llmwatch.errors import TooManyThreads
from llmwatch.watch import workers as module
from llmwatch.watch.attempt import Attempt, serving
from llmwatch.watch.clock import SYSTEM
from llmwatch.watch.workers import Job, Workers
from tests.end_to_end.calls import eventually
from tests.watch.scripted import PATIENCE, Caller, HandDriven, Socket
from tests.watch.tracing import interrupted, lines_of, names

STEPS = lines_of(Job.__init__, Job.start, Workers.take, Workers.give)


class Pool:
    """Workers, and the threads in which they have done something."""

    def __init__(self) -> None:
        self.workers = Workers()
        self.threads: list[threading.Thread] = []

    def do(self, what: Callable[[], object] = lambda: None, *, idle: bool = True) -> threading.Thread:
        """Have ``what`` done; its thread, which is idle again unless it is told not to wait for that."""
        done = threading.Event()

        def work() -> None:
            self.threads.append(threading.current_thread())
            what()
            done.set()

        Job(work, self.workers).start()
        assert done.wait(PATIENCE)
        thread = self.threads[-1]
        if idle:
            eventually(lambda: self.idles(thread), "the thread is idle")
        return thread

    def idles(self, thread: threading.Thread) -> bool:
        return any(seat.thread is thread for seat in self.workers._idle)

    def occupied(self, count: int) -> list[threading.Event]:
        """``count`` pieces of work that are done at the same time, each until its event is set."""
        free = [threading.Event() for _ in range(count)]
        begun = threading.Barrier(count + 1)

        def wait(event: threading.Event) -> None:
            begun.wait(PATIENCE)
            event.wait(PATIENCE)

        for event in free:
            Job(lambda event=event: wait(event), self.workers).start()
        begun.wait(PATIENCE)
        return free


@pytest.fixture
def pool() -> Iterator[Pool]:
    one = Pool()
    yield one
    one.workers.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle thread does not leave by itself."""
    monkeypatch.setattr(module, "IDLE", PATIENCE)


def refuse(*_: object) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.usefixtures("patient")
def test_an_idle_thread_does_the_next_work(pool: Pool) -> None:
    """One thread does all work that comes after another, and is a daemon with the name of a worker."""
    threads = {pool.do() for _ in range(20)}
    assert len(threads) == 1
    (thread,) = threads
    assert (thread.name, thread.daemon) == ("llmwatch-worker", True)


@pytest.mark.usefixtures("patient")
def test_work_at_the_same_time_has_threads_of_its_own(pool: Pool) -> None:
    """No thread does two things at once; the one that was at work last is taken first."""
    for event in pool.occupied(3):
        event.set()
    eventually(lambda: len(pool.workers._idle) == 3, "all are idle")
    last = pool.workers._idle[-1].thread
    assert pool.do() is last


@pytest.mark.usefixtures("patient")
def test_idle_threads_belong_to_one_client(pool: Pool) -> None:
    """The thread of one client takes no work of another, and none without workers."""
    first, other = pool.do(), Pool()
    try:
        assert other.do() is not first
        threads: list[threading.Thread] = []
        job = Job(lambda: threads.append(threading.current_thread()), None)
        job.start()
        job.thread.join(PATIENCE)
        assert not job.thread.is_alive()
        assert threads == [job.thread]
        assert first not in threads
    finally:
        other.workers.close()


def test_an_idle_thread_ends_after_a_while(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a second at most, and the next work has a new one."""
    assert module.IDLE <= 1.0
    monkeypatch.setattr(module, "IDLE", 0.01)
    thread = pool.do(idle=False)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert pool.workers._idle == []
    assert pool.do(idle=False) is not thread


@pytest.mark.usefixtures("patient")
def test_closing_ends_idle_and_busy_threads(pool: Pool) -> None:
    """An idle thread ends at once and a busy one after its work. Work that comes later is done."""
    (busy,) = pool.occupied(1)
    idle = pool.do()
    pool.workers.close()
    idle.join(PATIENCE)
    assert not idle.is_alive()
    busy.set()
    eventually(lambda: not any(one.name == "llmwatch-worker" for one in threading.enumerate()), "the other ends")
    assert pool.workers._idle == []
    again = pool.do()
    assert pool.do() is again


@pytest.mark.usefixtures("patient")
def test_few_threads_lie_idle(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After many calls at once all threads but some end."""
    monkeypatch.setattr(module, "_MOST", 2)
    before = threading.active_count()
    for event in pool.occupied(6):
        event.set()
    eventually(lambda: threading.active_count() == before + 2, "four have ended")
    assert len(pool.workers._idle) == 2


@pytest.mark.usefixtures("patient")
def test_an_idle_thread_keeps_nothing(pool: Pool) -> None:
    """What was done is forgotten once it is done."""

    class Work:
        def __call__(self) -> None:
            """Nothing."""

    work = Work()
    pool.do(work)
    left = weakref.ref(work)
    del work
    gc.collect()
    assert left() is None


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("started", [True, False])
def test_work_that_is_withdrawn_is_never_done(pool: Pool, started: bool) -> None:
    """Neither in an idle thread, which was taken for it and ends, nor in a new one."""
    done: list[str] = []
    thread = pool.do()
    for _ in range(2):
        job = Job(lambda: done.append("withdrawn"), pool.workers)
        assert job.withdraw()
        assert not job.withdraw()
        if started:
            job.start()
        else:
            pool.workers.give(job._seat, job) if job._seat is not None else None
    eventually(lambda: pool.do(idle=False) is not None, "other work is done")
    assert done == []
    assert thread.ident is not None


@pytest.mark.usefixtures("patient")
def test_work_that_has_begun_cannot_be_withdrawn(pool: Pool) -> None:
    """It is being done, or was done."""
    begun, go = threading.Event(), threading.Event()
    job = Job(lambda: begun.set() or go.wait(PATIENCE), pool.workers)
    job.start()
    assert begun.wait(PATIENCE)
    assert not job.withdraw()
    go.set()


def test_work_for_a_thread_that_has_just_left_has_a_new_one(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread whose time is over between the two steps of a hand-over does not take the work with it."""
    monkeypatch.setattr(module, "IDLE", 0.05)
    thread = pool.do(idle=False)
    eventually(lambda: pool.idles(thread), "the thread is idle")
    done = threading.Event()
    job = Job(done.set, pool.workers)
    assert job.thread is thread
    thread.join(PATIENCE)
    assert not thread.is_alive()
    job.start()
    assert done.wait(PATIENCE)
    assert job.thread is not thread


def test_without_a_thread_to_give_the_idle_one_serves(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's lack of threads fails only work that needs a new one."""
    monkeypatch.setattr(module, "IDLE", PATIENCE)
    thread = pool.do()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert pool.do() is thread
        with pytest.raises(TooManyThreads):
            Job(lambda: None, Workers()).start()


@pytest.mark.parametrize("where", STEPS, ids=names(STEPS))
def test_an_interrupted_hand_over_loses_no_thread_and_no_work(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, where: tuple[CodeType, int]
) -> None:
    """Ctrl-C anywhere: the work is done or can be withdrawn, later work is done, and every thread ends."""
    monkeypatch.setattr(module, "IDLE", 0.2)
    before = set(threading.enumerate())
    pool.do()
    done: list[str] = []
    jobs: list[Job] = []

    class Kept(Job):
        __slots__ = ()

        def __init__(self, *args: Any) -> None:
            jobs.append(self)
            super().__init__(*args)

    def press() -> None:
        raise KeyboardInterrupt

    def hand_over() -> None:
        try:
            interrupted(lambda: Kept(lambda: done.append("done"), pool.workers).start(), where, press)
        except KeyboardInterrupt:
            if hasattr(jobs[0], "_waiting"):
                jobs[0].withdraw()

    Caller(hand_over).result()
    pool.do(idle=False)
    eventually(lambda: set(threading.enumerate()) <= before, "every thread has ended")
    assert pool.workers._idle == []
    assert len(done) <= 1


@pytest.mark.usefixtures("patient")
def test_a_forked_child_has_no_idle_threads(pool: Pool) -> None:
    """In a forked child the parent's threads are not there, and a lock that another thread held is free."""
    thread = pool.do()
    lock, (seat,) = pool.workers._lock, pool.workers._idle
    pool.workers.after_fork()
    assert pool.workers._lock is not lock
    other = pool.do()
    assert other is not thread
    # Here, unlike in a child, the first one is still there.
    assert thread.is_alive()
    seat.waiter.put()
    thread.join(PATIENCE)


# -- attempts ----------------------------------------------------------------


class Calls:
    """Attempts of one client, one after the other."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.supervisor = HandDriven()

    def make(self, work: Callable[[Attempt[Any]], None]) -> Attempt[Any]:
        """An attempt that is over, and whose thread is idle."""
        threads: list[threading.Thread] = []

        def run(attempt: Attempt[Any]) -> None:
            threads.append(threading.current_thread())
            work(attempt)

        attempt: Attempt[Any] = Attempt({"ttfb": 10.0}, supervisor=self.supervisor)
        attempt.start(run, self.pool.workers)
        while attempt.take() is not None:
            pass
        eventually(lambda: bool(threads) and self.pool.idles(threads[0]), "the thread is idle")
        self.pool.threads += threads
        return attempt


@pytest.mark.usefixtures("patient")
def test_each_attempt_has_a_fresh_context_and_its_own_worker(pool: Pool) -> None:
    """No attempt sees a context variable that an earlier one has set, and each is the one that is served."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[tuple[str, bool]] = []

    def work(attempt: Attempt[Any]) -> None:
        seen.append((variable.get(), serving() is attempt))
        variable.set("of the worker")

    calls = Calls(pool)
    calls.make(work)
    variable.set("of the caller")
    calls.make(work)
    assert seen == [("unset", True), ("of the caller", True)]
    assert len(set(pool.threads)) == 1
    assert variable.get() == "of the caller"


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_an_attempt_that_fails_leaves_its_thread_to_the_next(pool: Pool, error: BaseException) -> None:
    """Whatever the work raises is the verdict of its attempt alone."""

    def fail(attempt: Attempt[Any]) -> None:
        raise error

    calls = Calls(pool)
    failed, done = calls.make(fail), calls.make(lambda attempt: None)
    assert failed.verdict is not None
    assert failed.verdict.error is error
    assert done.verdict is not None
    assert done.verdict.error is None
    assert len(set(pool.threads)) == 1


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("ended_by", ["a kill", "a cancellation"])
def test_the_thread_of_an_attempt_that_was_broken_off_ends_with_it(pool: Pool, ended_by: str) -> None:
    """It takes no other work, is no orphan, and is gone at once."""
    supervisor, sent = HandDriven(), threading.Event()

    def read(attempt: Attempt[Any]) -> None:
        socket = Socket(attempt)
        attempt.adopt(socket)
        attempt.sent()
        sent.set()
        socket.read()
        attempt.check()

    idle = pool.do()
    attempt: Attempt[Any] = Attempt({"ttfb": 10.0}, supervisor=supervisor)
    attempt.start(read, pool.workers)
    assert sent.wait(PATIENCE)
    if ended_by == "a kill":
        supervisor.pass_time(10.25)
    else:
        attempt.cancel("user")
    assert attempt.take() is None
    idle.join(PATIENCE)
    assert not idle.is_alive()
    assert attempt.join(0)
    assert attempt.verdict is not None
    assert attempt.verdict.limit == ("ttfb" if ended_by == "a kill" else None)
    supervisor.pass_time(2.0)
    assert not attempt.orphaned
    assert supervisor.registry.counts()["unabortable"] == 0
    assert pool.do() is not idle


def test_waiting_for_work_ends_in_real_time(pool: Pool) -> None:
    """An idle thread leaves about a second after its work, without anything that wakes it."""
    begun = SYSTEM.now()
    thread = pool.do(idle=False)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert SYSTEM.now() - begun >= module.IDLE
