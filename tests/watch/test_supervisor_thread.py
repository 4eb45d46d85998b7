"""The supervisor with its thread and with real attempts.

The tests are about what it costs, what it survives and what a finalizer may do.
"""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

import pytest

from llmwatch.errors import TooManyThreads
from llmwatch.watch import supervisor as supervisors
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.clock import SYSTEM, ManualClock
from llmwatch.watch.machine import Action, VerdictKind
from llmwatch.watch.supervisor import Supervisor
from tests.end_to_end.calls import eventually
from tests.watch.scripted import (
    PATIENCE,
    Caller,
    HandDriven,
    Puppet,
    Scripted,
    Socket,
    Stage,
    SteppedClock,
    held,
)

T = TypeVar("T")
Log = list[tuple[str, str, float | None]]
MakeStage = Callable[..., Stage]
START = 1_000.0
"""Where a manual clock begins."""
LATE = 0.25


@pytest.fixture
def log() -> Log:
    """The actions on scripted attempts, in order."""
    return []


@pytest.fixture
def supervisor() -> HandDriven:
    """A supervisor without a thread."""
    return HandDriven(SteppedClock())


@pytest.fixture
def manual() -> tuple[Supervisor, ManualClock]:
    """A supervisor with a thread, on a clock that the test moves.

    Its thread waits in its inbox until the process ends.
    """
    clock = ManualClock()
    return Supervisor(clock), clock


# -- lazy re-arming ----------------------------------------------------------


def test_reset_costs_the_supervisor_nothing(stage: MakeStage) -> None:
    """A thousand events reset the limits without one message to the supervisor."""
    one = stage(stale=10.0, progress=20.0, ttfb=5.0, first_content=5.0, total=1e6, deadline=1e6)
    one.open()
    one.receive("first")
    one.supervisor.look()
    before = one.supervisor.messages
    for number in range(1_000):
        one.clock.advance(1.0)
        one.receive(number)
        one.supervisor.look(1)
    assert one.supervisor.messages == before
    assert one.attempt.verdict is None
    assert one.supervisor.scheduled < 10
    one.pass_time(10.0)
    assert one.attempt.verdict is None
    one.pass_time(LATE)
    assert (one.verdict.limit, one.verdict.lag) == ("stale", LATE)


def test_an_attempt_sends_the_supervisor_few_messages(stage: MakeStage) -> None:
    """From connect to done only a limit that expires sooner than all before it sends a message."""
    one = stage(connect=10.0, send=60.0, ttfb=120.0, first_content=300.0, stale=360.0, progress=600.0, drain=1.0)
    one.open()
    for number in range(10):
        one.receive(number)
    one.receive("end", terminal=True)
    # The watch itself, connect, drain; one more to tell that nothing runs.
    assert one.supervisor.messages <= 4


def test_a_shorter_limit_that_starts_later_is_kept_to(stage: MakeStage) -> None:
    """The supervisor sleeps for the first byte's 100 s, then a silence of 5 s comes first."""
    one = stage(ttfb=100.0, stale=5.0)
    one.open()
    one.receive("first")
    one.supervisor.look()
    one.pass_time(5.0 + LATE)
    assert (one.verdict.limit, one.verdict.elapsed) == ("stale", 5.0 + LATE)


class CountingClock(ManualClock):
    """A manual clock that counts how often the supervisor wakes."""

    def __init__(self) -> None:
        super().__init__()
        self.woken = 0

    def get(self, inbox: queue.SimpleQueue[T | None], until: float | None) -> T | None:
        item = super().get(inbox, until)
        self.woken += 1
        return item


class Expiring(Scripted):
    """A scripted attempt that is killed at the first look after ``at``."""

    def __init__(self, name: str, log: Log, at: float) -> None:
        super().__init__(name, log)
        self.armed = self.at = at

    def examine(self, now: float) -> tuple[Action, float | None]:
        super().examine(now)
        self.armed = self.at if now <= self.at else float("inf")
        return (Action.NOTHING, self.at) if now <= self.at else (Action.KILL, None)


def test_call_after_call_lets_the_supervisor_sleep(log: Log) -> None:
    """The first of many short attempts wakes the thread, then every 64th; none is kept for long."""
    clock = CountingClock()
    supervisor = Supervisor(clock)
    supervisor.watch(Expiring("first", log, START + 10.0))
    left = []
    for _ in range(1_000):
        attempt = Expiring("a", log, START + 20.0)
        supervisor.watch(attempt)
        attempt.armed = float("inf")
        left.append(weakref.ref(attempt))
    del attempt
    eventually(lambda: len(supervisor._unarmed) < 64, "the thread has taken up most of them")
    assert clock.woken <= 1_000 / 64 + 5
    eventually(lambda: sum(one() is not None for one in left) <= 130, "those that are over are forgotten")
    assert log == []


def test_an_expiry_that_comes_before_all_others_wakes_the_supervisor(log: Log) -> None:
    """The thread sleeps for 100 s; attempts that expire sooner, in any order, are killed in time."""
    clock = CountingClock()
    supervisor = Supervisor(clock)
    seconds = (100.0, 50.0, 10.0, 70.0, 10.0, 5.0)
    attempts = [Expiring(f"{one:g}", log, START + one) for one in seconds]
    for attempt in attempts:
        supervisor.watch(attempt)
    for attempt in sorted(attempts, key=lambda one: one.at):
        clock.advance(attempt.at + LATE - clock.now())
        assert attempt.aborted.wait(PATIENCE)
    examined = [name for what, name, _ in log if what == "abort"]
    assert examined == ["5", "10", "10", "50", "70", "100"]


def test_what_is_armed_while_the_supervisor_is_about_to_sleep_is_not_lost(log: Log) -> None:
    """An attempt that is armed between the two steps of going to sleep keeps the thread awake."""

    class Late(SteppedClock):
        def get(self, inbox: queue.SimpleQueue[T | None], until: float | None) -> T | None:
            slept.append(until)
            return super().get(inbox, until)

    slept: list[float | None] = []
    supervisor = Supervisor(Late())
    # The thread has published when it wakes, and has not looked at what is unarmed yet.
    supervisor._wakes_at = float("inf")
    supervisor._unarmed.append(Expiring("a", log, START + 5.0))
    supervisor.turn()
    assert slept == [float("-inf")]
    assert supervisor.scheduled == 1
    supervisor.arm(Expiring("b", log, START + 4.0))
    assert supervisor._inbox.empty()
    supervisor.turn()
    supervisor.turn()
    assert slept == [float("-inf"), float("-inf"), START + 4.0]


# -- what may go wrong -------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(1), KeyboardInterrupt()])
def test_an_attempt_that_raises_does_not_end_the_watch(
    manual: tuple[Supervisor, ManualClock], log: Log, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """One that cannot be examined or aborted is logged, and the thread goes on watching the others."""
    supervisor, clock = manual
    broken, sound = Scripted("broken", log), Scripted("sound", log, (Action.NOTHING, START + 1.0), (Action.KILL, None))
    broken.raises = error
    with caplog.at_level(logging.ERROR, logger="llmwatch"):
        supervisor.watch(broken)
        assert broken.aborted.wait(PATIENCE)
        supervisor.watch(sound)
        assert sound.examined.wait(PATIENCE)
        clock.advance(1.0 + LATE)
        assert sound.aborted.wait(PATIENCE)
    assert [record.message for record in caplog.records] == [
        "llmwatch: an attempt could not be examined",
        "llmwatch: an attempt could not be aborted",
    ]
    assert supervisor._shift is not None
    assert not supervisor._shift.over


def test_a_thread_that_could_not_start_is_tried_again(
    log: Log, manual: tuple[Supervisor, ManualClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the system has no thread to give, the next watch asks again; nothing is silently unwatched."""
    supervisor, _ = manual
    attempt = Scripted("a", log)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(TooManyThreads):
            supervisor.watch(attempt)
    supervisor.watch(attempt)
    assert attempt.examined.wait(PATIENCE)


def test_one_thread_serves_all(manual: tuple[Supervisor, ManualClock], log: Log) -> None:
    """The thread starts with the first watch, under a barrier of many, and is one daemon."""
    supervisor, _ = manual
    assert supervisor._shift is None
    attempts = [Scripted(str(number), log) for number in range(16)]
    barrier = threading.Barrier(len(attempts))
    before = sum(thread.name == "llmwatch-supervisor" for thread in threading.enumerate())

    def watch(attempt: Scripted) -> None:
        barrier.wait()
        supervisor.watch(attempt)

    for caller in [Caller(lambda attempt=attempt: watch(attempt)) for attempt in attempts]:
        caller.result()
    for attempt in attempts:
        assert attempt.examined.wait(PATIENCE)
    threads = [thread for thread in threading.enumerate() if thread.name == "llmwatch-supervisor"]
    assert len(threads) == before + 1
    assert all(thread.daemon for thread in threads)


# -- the finalizer's path ----------------------------------------------------


def test_abandoning_takes_no_lock(stage: MakeStage) -> None:
    """A finalizer may run anywhere: it returns while other threads hold every lock of the watchdog."""
    one = stage(stale=100.0)
    socket = one.open()
    one.receive("unread")
    supervisor = one.supervisor
    with held(one.attempt._lock, supervisor.registry._lock, supervisor._start_lock, supervisors._current_lock):
        Caller(one.attempt.abandon).result()
        assert one.attempt.verdict is None
    supervisor.look()
    assert (one.verdict.kind, one.verdict.by) == (VerdictKind.CANCELLED, "user")
    assert one.attempt.take() is None
    assert socket.shut_down.is_set()
    assert socket.broken == []


def test_an_abandoned_attempt_that_is_done_drains_on(stage: MakeStage) -> None:
    """Dropping the iterator after the terminal event does not cut the drain.

    The drain lets the connection be used again.
    """
    one = stage(drain=5.0)
    socket = one.open()
    one.receive("end", terminal=True)
    one.attempt.abandon()
    one.supervisor.look()
    assert one.verdict.kind is VerdictKind.DONE
    assert not socket.shut_down.is_set()
    one.pass_time(5.0 + LATE)
    assert socket.shut_down.is_set()


# -- the whole, with a thread ------------------------------------------------


def test_a_manual_clock_drives_a_kill_through_the_thread(manual: tuple[Supervisor, ManualClock]) -> None:
    """An attempt is killed by the real thread on a hand-moved clock.

    It is in time at the limit and killed after it, and the caller is freed.
    """
    supervisor, clock = manual
    attempt: Attempt[str] = Attempt({"ttfb": 10.0}, supervisor=supervisor)
    worker = Puppet(attempt)
    attempt.start(worker)
    socket = Socket(attempt)
    worker.do(lambda attempt: attempt.adopt(socket))
    worker.do(lambda attempt: attempt.sent())
    worker.begin(lambda attempt: socket.read())
    caller = Caller(attempt.take)
    clock.advance(10.0)
    clock.advance(LATE)
    assert caller.result() is None
    verdict = attempt.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.limit) == (VerdictKind.KILLED, "ttfb")
    worker.result()
    worker.end()
    assert attempt.join(PATIENCE)
    assert socket.broken == []


def test_real_time_kills_too() -> None:
    """With the real clock and thread a silent attempt is killed after its limit.

    Its worker is gone.
    """
    supervisor, limit = Supervisor(), 0.05
    attempt: Attempt[str] = Attempt({"ttfb": limit}, supervisor=supervisor)
    socket = Socket(attempt)

    def work(attempt: Attempt[str]) -> None:
        attempt.adopt(socket)
        attempt.sent()
        attempt.headers(200, refused=False)
        socket.read()
        attempt._received(0)

    began = SYSTEM.now()
    attempt.start(work)
    assert attempt.take() is None
    verdict = attempt.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.limit, verdict.seconds) == (VerdictKind.KILLED, "ttfb", limit)
    assert verdict.at - began >= limit
    assert verdict.elapsed is not None
    assert verdict.lag is not None
    assert verdict.elapsed >= limit
    # On a machine so busy that the supervisor came a second late there was a grace, which the lag does not include.
    assert 0 < verdict.lag <= verdict.elapsed - limit + 1e-6
    assert attempt.join(PATIENCE)
    assert socket.broken == []
    assert supervisor.lag()["max"] > 0


def test_there_is_one_supervisor_a_process() -> None:
    """``current`` makes it on the first call, and gives the same to every thread."""
    assert supervisors.current() is supervisors.current()
    assert Caller(supervisors.current).result() is supervisors.current()
    assert Attempt({})._supervisor is supervisors.current()


def test_nothing_is_started_by_importing() -> None:
    """A process that only imports the watchdog has one thread."""
    script = "import threading, llmwatch.watch.attempt; print(threading.active_count())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True, cwd=os.getcwd()
    )
    assert done.stdout.strip() == "1"
