"""The watch over the supervisor: turns that fail, threads that die, beats that are missed."""

from __future__ import annotations

import logging
import queue
from typing import Any

import pytest

import llmwatch
from llmwatch.errors import TooManyThreads
from llmwatch.watch import supervisor as supervisors
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.clock import ManualClock
from llmwatch.watch.machine import Action, VerdictKind
from llmwatch.watch.supervisor import Supervisor
from tests.end_to_end.calls import eventually
from tests.watch.scripted import PATIENCE, Caller, HandDriven, Puppet, Scripted, Socket, SteppedClock

Log = list[tuple[str, str, float | None]]
START = 1_000.0
LATE = 0.25
DEADLY = [MemoryError(), RuntimeError("this operation would block forever"), SystemExit(1), KeyboardInterrupt()]
"""What may come up in a thread at any moment; gevent's LoopExit is such an exception."""


class Failing(ManualClock):
    """A clock whose ``get`` raises as often as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException = MemoryError()
        self.times = 0
        self.failed: queue.SimpleQueue[None] = queue.SimpleQueue()

    def fail(self, error: BaseException, times: int) -> None:
        self.error, self.times = error, times
        self.advance(0.0)  # wakes the supervisor

    def get(self, inbox: Any, until: float | None) -> Any:
        if self.times:
            self.times -= 1
            self.failed.put(None)
            raise self.error
        return super().get(inbox, until)


class Watched:
    """A silent attempt whose ``ttfb`` is ten seconds."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.attempt: Attempt[str] = Attempt({"ttfb": 10.0}, supervisor=supervisor)
        self.worker = Puppet(self.attempt)
        self.attempt.start(self.worker)
        self.socket = Socket(self.attempt)
        self.worker.do(lambda attempt: attempt.adopt(self.socket))
        self.worker.do(lambda attempt: attempt.sent())

    def is_killed(self, clock: ManualClock) -> None:
        """Its limit expires, and the caller is told at once."""
        caller = Caller(self.attempt.take)
        clock.advance(10.0 + LATE)
        assert caller.result() is None
        verdict = self.attempt.verdict
        assert verdict is not None
        assert (verdict.kind, verdict.limit) == (VerdictKind.KILLED, "ttfb")
        assert self.socket.shut_down.wait(PATIENCE)

    def end(self) -> None:
        self.worker.end()
        assert self.attempt.join(PATIENCE)


@pytest.fixture
def clock() -> Failing:
    return Failing()


@pytest.fixture
def supervisor(clock: Failing) -> Supervisor:
    """With a thread that waits in its inbox until the process ends."""
    return Supervisor(clock)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause is made between two turns that fail."""
    monkeypatch.setattr(supervisors, "_PAUSES", (0.0,) * len(supervisors._PAUSES))


@pytest.mark.parametrize("error", DEADLY, ids=repr)
def test_one_exception_in_a_turn_does_not_end_the_watch(
    supervisor: Supervisor, clock: Failing, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """Any exception is logged and counted, and the same thread continues; the attempt's limit fires."""
    one = Watched(supervisor)
    shift = supervisor._shift
    with caplog.at_level(logging.ERROR, logger="llmwatch"):
        clock.fail(error, 1)
        clock.failed.get(timeout=PATIENCE)
        one.is_killed(clock)
    assert supervisor._shift is shift
    assert supervisor.counts() == {"missed_beats": 0, "failed_turns": 1, "supervisors_replaced": 0}
    assert [record.message for record in caplog.records] == [
        "llmwatch: a turn of the watch over the limits failed; it goes on"
    ]
    one.end()


def test_a_thread_that_died_is_replaced_by_the_next_watch(
    supervisor: Supervisor, clock: Failing, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread ends after turn after turn has failed, and the next start of an attempt finds that.

    The new thread kills the old attempt at its limit as well as the new one.
    """
    old = Watched(supervisor)
    shift = supervisor._shift
    assert shift is not None
    fatal = len(supervisors._PAUSES) + 1
    clock.fail(MemoryError(), fatal)
    shift.thread.join(PATIENCE)
    assert shift.over
    clock.advance(5.0)
    with caplog.at_level(logging.ERROR, logger="llmwatch"):
        new = Watched(supervisor)
    assert supervisor._shift is not shift
    assert supervisor.counts()["supervisors_replaced"] == 1
    assert supervisor.counts()["failed_turns"] == fatal
    assert "had died" in caplog.text
    caller = Caller(new.attempt.take)
    clock.advance(5.0 + LATE)
    assert old.attempt.take() is None
    assert old.attempt.verdict is not None
    assert (old.attempt.verdict.kind, old.attempt.verdict.limit) == (VerdictKind.KILLED, "ttfb")
    assert old.socket.shut_down.wait(PATIENCE)
    assert new.attempt.verdict is None
    clock.advance(5.0)
    assert caller.result() is None
    for one in (old, new):
        one.end()


def test_what_expired_while_nobody_watched_is_killed_all_the_same(supervisor: Supervisor, clock: Failing) -> None:
    """The new thread finds a limit that expired long ago, gives a late supervisor's grace, and kills.

    The beat that was missed is counted.
    """
    old = Watched(supervisor)
    assert supervisor._shift is not None
    clock.fail(MemoryError(), len(supervisors._PAUSES) + 1)
    supervisor._shift.thread.join(PATIENCE)
    caller = Caller(old.attempt.take)
    clock.advance(60.0)
    assert not caller.returned
    new = Watched(supervisor)
    eventually(lambda: supervisor.counts()["missed_beats"] == 1, "the look at what is overdue")
    assert not caller.returned
    clock.advance(1.0 + LATE)
    assert caller.result() is None
    new.attempt.cancel("user")
    for one in (old, new):
        one.end()


def test_what_a_broken_turn_had_in_hand_is_not_lost() -> None:
    """The next turn examines or aborts what a broken turn left unfinished.

    An attempt that was taken off the schedule is examined then, and one that was examined is aborted then.
    """
    log: Log = []

    class Breaking(HandDriven):
        broken = 0

        def _examine(self, attempt: Any, now: float) -> bool:
            if self.broken:
                self.broken -= 1
                raise MemoryError
            return super()._examine(attempt, now)

    supervisor = Breaking(SteppedClock())
    for name in "abc":
        supervisor.watch(Scripted(name, log, (Action.KILL, None)))
    supervisor.broken = 1
    with pytest.raises(MemoryError):
        supervisor.turn()
    assert log == []
    supervisor.turn()
    assert log == [*(("examine", name, START) for name in "abc"), *(("abort", name, None) for name in "abc")]


def test_a_beat_that_was_missed_is_counted() -> None:
    """A wake-up more than a second late is one; one that is a little late, or comes with news, is none."""
    supervisor = HandDriven(SteppedClock())
    log: Log = []
    for late in (LATE, 1.0, 1.5, 30.0):
        supervisor.watch(Scripted("a", log, (Action.NOTHING, supervisor.clock.now() + 1.0)))
        supervisor.look()
        supervisor.pass_time(1.0 + late)
    assert supervisor.counts()["missed_beats"] == 2


def test_a_watch_without_a_thread_is_refused_and_tried_again(
    supervisor: Supervisor, clock: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt is not started, and nothing is sent, if a dead thread cannot be replaced.

    The next one is started.
    """
    old = Watched(supervisor)
    assert supervisor._shift is not None
    clock.fail(MemoryError(), len(supervisors._PAUSES) + 1)
    supervisor._shift.thread.join(PATIENCE)

    def refuse(thread: object) -> None:
        raise RuntimeError("can't start new thread")

    sent: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", refuse)
        attempt: Attempt[str] = Attempt({}, supervisor=supervisor)
        with pytest.raises(TooManyThreads):
            attempt.start(lambda attempt: sent.append("sent"))
    assert sent == []
    new = Watched(supervisor)
    old.is_killed(clock)
    assert new.attempt.take() is None
    for one in (old, new):
        one.end()


def test_stats_has_the_counts_of_the_supervisor() -> None:
    """``stats()`` has the counts of the process's supervisor."""
    found = llmwatch.stats()
    assert {name: found[name] for name in ("missed_beats", "failed_turns", "supervisors_replaced")} == (
        supervisors.current().counts()
    )
