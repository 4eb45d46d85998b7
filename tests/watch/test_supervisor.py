"""The supervisor: when it looks, at which attempts, and what it does when several expire."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest

from llmwatch.watch.clock import ManualClock
from llmwatch.watch.machine import Action
from llmwatch.watch.supervisor import Supervisor
from tests.watch.scripted import (
    Caller,
    HandDriven,
    Scripted,
    Socket,
    Stage,
    SteppedClock,
)

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


# -- the schedule ------------------------------------------------------------


def test_the_earliest_expiry_is_looked_at_first(supervisor: HandDriven, log: Log) -> None:
    """Attempts that were armed in any order are each examined at their own time."""
    for name, seconds in (("c", 3.0), ("a", 1.0), ("d", 4.0), ("b", 2.0)):
        supervisor.watch(Scripted(name, log, (Action.NOTHING, START + seconds)))
    supervisor.look()
    log.clear()
    for _ in range(5):
        supervisor.pass_time(1.0)
    assert log == [("examine", name, START + at) for name, at in (("a", 2.0), ("b", 3.0), ("c", 4.0), ("d", 5.0))]


def test_no_attempt_is_looked_at_at_the_very_instant(supervisor: HandDriven, log: Log) -> None:
    """An expiry is over only after its instant."""
    supervisor.watch(Scripted("a", log, (Action.NOTHING, START + 5.0)))
    supervisor.look()
    log.clear()
    supervisor.pass_time(5.0)
    assert log == []
    supervisor.pass_time(LATE)
    assert log == [("examine", "a", START + 5.0 + LATE)]


def test_the_supervisor_sleeps_through_the_instant_of_an_expiry(log: Log) -> None:
    """At the instant itself the supervisor sleeps until time moves on; it does not spin."""
    clock = ManualClock()
    supervisor = HandDriven(clock)
    attempt = Scripted("a", log, (Action.NOTHING, START + 5.0))
    supervisor.look_at(attempt)
    supervisor.turn()
    clock.advance(5.0)  # puts a wake-up into the inbox
    supervisor.turn()
    log.clear()
    turn = Caller(supervisor.turn)
    clock.advance(LATE)
    turn.result()
    assert log == [("examine", "a", START + 5.0 + LATE)]


def test_one_turn_looks_at_all_that_is_due(supervisor: HandDriven, log: Log) -> None:
    """Everything whose time is over is looked at in one go, at one instant."""
    for number in range(10):
        supervisor.watch(Scripted(str(number), log, (Action.NOTHING, START + number)))
    supervisor.look()
    log.clear()
    supervisor.clock.advance(20.0)  # type: ignore[attr-defined]
    supervisor.turn()
    assert log == [("examine", str(number), START + 20.0) for number in range(10)]


def test_all_verdicts_come_before_any_shutdown(supervisor: HandDriven, log: Log) -> None:
    """When many expire at once no caller is freed and no socket shut before every verdict is in."""
    for number in range(10):
        answers = (Action.NOTHING, START + number), (Action.HANG_UP if number % 2 else Action.KILL, None)
        supervisor.watch(Scripted(str(number), log, *answers))
    supervisor.look()
    log.clear()
    supervisor.pass_time(20.0)
    assert [what for what, _, _ in log] == ["examine"] * 10 + ["abort"] * 10
    assert [name for _, name, _ in log] == [str(number) for number in range(10)] * 2


def test_real_attempts_have_their_verdicts_before_any_shutdown(stage: MakeStage) -> None:
    """The same with attempts: at the first shutdown each has been killed."""
    supervisor = HandDriven()
    stages = [stage(supervisor, ttfb=10.0) for _ in range(5)]
    seen: list[list[bool]] = []

    class Observer(Socket):
        def shutdown(self) -> None:
            seen.append([one.attempt.verdict is not None for one in stages])
            super().shutdown()

    sockets = []
    for one in stages:
        one.open()
        sockets.append(Observer(one.attempt))
        one.worker.do(lambda attempt, socket=sockets[-1]: attempt.adopt(socket))
    supervisor.pass_time(10.0 + LATE)
    assert len(seen) >= 5
    assert all(all(verdicts) for verdicts in seen)
    assert not any(socket.broken for socket in sockets)


def test_an_attempt_that_asks_for_a_look_gets_it_at_once(supervisor: HandDriven, log: Log) -> None:
    """An attempt that asks any number of times, long before its time, is examined at once, and once."""
    attempt = Scripted("a", log, *[(Action.NOTHING, START + 100.0)] * 5)
    supervisor.watch(attempt)
    supervisor.look()
    for _ in range(3):
        supervisor.look_at(attempt)
    supervisor.look()
    assert log == [("examine", "a", START)] * 2


def test_an_earlier_expiry_replaces_a_later_one(supervisor: HandDriven, log: Log) -> None:
    """An attempt armed for later and then for earlier is looked at at the earlier time.

    It is not looked at again at the later time.
    """
    attempt = Scripted("a", log, (Action.NOTHING, START + 100.0), (Action.NOTHING, START + 10.0))
    supervisor.watch(attempt)
    supervisor.look()
    supervisor.look_at(attempt)
    supervisor.look()
    log.clear()
    supervisor.pass_time(10.0 + LATE)
    supervisor.pass_time(100.0)
    assert log == [("examine", "a", START + 10.0 + LATE)]


def test_an_expiry_that_moved_back_is_armed_again(supervisor: HandDriven, log: Log) -> None:
    """When the time of an old entry comes nothing happens but a new look and a new entry."""
    answers = [(Action.NOTHING, START + 10.0), (Action.NOTHING, START + 15.0), (Action.KILL, None)]
    supervisor.watch(Scripted("a", log, *answers))
    supervisor.look()
    for _ in range(20):
        supervisor.pass_time(1.0)
    assert log == [
        ("examine", "a", START),
        ("examine", "a", START + 11.0),
        ("examine", "a", START + 16.0),
        ("abort", "a", None),
    ]


def test_the_schedule_is_compacted(supervisor: HandDriven, log: Log) -> None:
    """Entries that were overtaken do not pile up, however often an attempt is armed anew."""
    rounds = 5_000
    attempt = Scripted("a", log, *[(Action.NOTHING, START + 1e6 - number) for number in range(rounds)])
    lasting = [Scripted(f"lasting {number}", log, (Action.NOTHING, START + 2e6)) for number in range(20)]
    for one in lasting:
        supervisor.watch(one)
    for _ in range(rounds):
        supervisor.look_at(attempt)
        supervisor.turn()
        assert supervisor.scheduled <= 64
    log.clear()
    supervisor.pass_time(3e6)
    assert {name for _, name, _ in log} == {"a", *(one.name for one in lasting)}


def test_compaction_keeps_every_armed_entry(supervisor: HandDriven, log: Log) -> None:
    """Compaction drops nothing that is still armed."""
    attempts = [Scripted(str(number), log, (Action.NOTHING, START + 1.0 + number)) for number in range(1_000)]
    for attempt in attempts:
        supervisor.watch(attempt)
    supervisor.look()
    assert supervisor.scheduled == 1_000
    log.clear()
    supervisor.pass_time(2_000.0)
    assert [name for _, name, _ in log] == [attempt.name for attempt in attempts]
    assert supervisor.scheduled == 0


def test_the_schedule_keeps_no_ended_attempt_alive(supervisor: HandDriven, log: Log) -> None:
    """Two thousand attempts that ended long before their limits are not kept alive by the schedule."""
    left = []
    for number in range(2_000):
        attempt = Scripted("a", log, (Action.NOTHING, START + 900.0 + number))
        supervisor.watch(attempt)
        supervisor.turn()
        attempt.armed = float("inf")
        left.append(weakref.ref(attempt))
    del attempt
    log.clear()
    gc.collect()
    assert sum(one() is not None for one in left) <= 65


# -- the lag -----------------------------------------------------------------


def test_the_lag_is_measured(supervisor: HandDriven, log: Log) -> None:
    """Median and largest lateness of the wake-ups for a deadline."""
    assert supervisor.lag() == {"median": 0.0, "max": 0.0}
    for late in (0.25, 4.0, 0.5):
        now = supervisor.clock.now()
        supervisor.watch(Scripted("a", log, (Action.NOTHING, now + 1.0)))
        supervisor.look()
        supervisor.pass_time(1.0 + late)
    assert supervisor.lag() == {"median": 0.5, "max": 4.0}


def test_a_wake_up_before_the_deadline_has_no_lag(supervisor: HandDriven, log: Log) -> None:
    """A wake-up before the deadline says nothing about lateness."""
    supervisor.watch(Scripted("a", log, (Action.NOTHING, START + 100.0)))
    supervisor.look()
    supervisor.watch(Scripted("b", log))
    supervisor.look()
    assert supervisor.lag() == {"median": 0.0, "max": 0.0}


def test_the_last_thousand_lags_are_kept(supervisor: HandDriven, log: Log) -> None:
    """Old lags are forgotten."""
    for late in [9.0] + [0.5] * 1_024:
        supervisor.watch(Scripted("a", log, (Action.NOTHING, supervisor.clock.now() + 1.0)))
        supervisor.turn()
        supervisor.clock.advance(1.0 + late)  # type: ignore[attr-defined]
        supervisor.turn()
    assert supervisor.lag() == {"median": 0.5, "max": 0.5}
