"""Workers that nothing wakes: let go, counted, and limited in number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmwatch.errors import TooManyOrphans
from llmwatch.watch import attempt as attempts
from llmwatch.watch.attempt import Attempt, BatchMeaning
from llmwatch.watch.interfaces import Aborted
from llmwatch.watch.machine import ERROR_BODY, VerdictKind
from llmwatch.watch.supervisor import MOST_ORPHANS
from tests.watch.scripted import PATIENCE, Caller, HandDriven, Puppet, Stage

MakeStage = Callable[..., Stage]
LATE = 0.25
WAKE = attempts._WAKE_BOUND
EXIT = attempts._EXIT_BOUND


def _counted(one: Stage) -> tuple[int, int]:
    counts = one.supervisor.registry.counts()
    return counts["orphans"], counts["unabortable"]


@pytest.mark.parametrize("end", ["kill", "cancel", "abandon"])
def test_a_worker_that_no_shutdown_wakes_is_an_orphan(stage: MakeStage, end: str) -> None:
    """A worker that is still there more than a second after its sockets were shut is counted.

    Its caller was free at once.
    """
    one = stage(ttfb=10.0)
    one.open(wakes=False)
    if end == "kill":
        one.pass_time(10.0 + LATE)
    elif end == "cancel":
        one.attempt.cancel("user")
    else:
        one.attempt.abandon()
    one.supervisor.look()
    assert one.attempt.take() is None
    assert not one.attempt.orphaned
    one.pass_time(WAKE)
    assert _counted(one) == (0, 0)
    one.pass_time(LATE)
    assert one.attempt.orphaned
    assert _counted(one) == (1, 1)
    one.pass_time(1_000.0)
    assert _counted(one) == (1, 1)
    one.leave()
    assert _counted(one) == (0, 1)


def test_a_worker_without_a_socket_is_an_orphan_sooner(stage: MakeStage) -> None:
    """Nothing can wake a name look-up, so the second for a shut socket does not apply."""
    one = stage(connect=10.0)
    one.start()
    one.pass_time(10.0 + LATE)
    assert one.verdict.limit == "connect"
    one.pass_time(EXIT)
    assert _counted(one) == (0, 0)
    one.pass_time(EXIT)
    assert _counted(one) == (1, 1)
    assert one.supervisor.scheduled == 0
    with pytest.raises(Aborted):
        one.worker.do(lambda attempt: attempt.check())
    assert one.attempt.join(PATIENCE)
    assert _counted(one) == (0, 1)


def test_a_worker_that_ends_within_a_second_is_no_orphan(stage: MakeStage) -> None:
    """A worker that is gone before the second is over is never counted."""
    one = stage(ttfb=10.0)
    one.open()
    one.pass_time(10.0 + LATE)
    one.leave()
    one.pass_time(100.0)
    assert _counted(one) == (0, 0)
    assert not one.attempt.orphaned


def test_a_failed_or_finished_attempt_makes_no_orphan(stage: MakeStage) -> None:
    """A worker that ends by itself is no orphan while it may drain.

    This holds however late the worker ends after the caller was done with it.
    """
    one = stage(drain=100.0)
    one.open()
    one.receive("end", terminal=True)
    one.pass_time(99.0)
    assert _counted(one) == (0, 0)


def test_a_worker_that_outlives_its_drain_is_an_orphan(stage: MakeStage) -> None:
    """A worker that stays after its drain was cut is counted, although its attempt is done."""
    one = stage(drain=1.0)
    one.open(wakes=False)
    one.receive("end", terminal=True)
    one.pass_time(1.0 + LATE)
    one.pass_time(WAKE + LATE)
    assert one.verdict.kind is VerdictKind.DONE
    assert _counted(one) == (1, 1)


def test_a_stuck_error_body_frees_the_caller_after_its_bound(stage: MakeStage) -> None:
    """A caller waits for an error body no longer than its bound and the second that a worker has to wake."""
    one = stage()
    one.start()
    one.socket(wakes=False)
    one.worker.do(lambda attempt: attempt.sent())
    one.worker.do(lambda attempt: attempt.headers(500, refused=True))
    caller = Caller(one.attempt.take)
    one.clock.next_waiter()  # type: ignore[attr-defined]
    one.pass_time(ERROR_BODY + LATE)
    assert one.attempt.verdict is None
    one.pass_time(WAKE + LATE)
    assert caller.result() is None
    assert one.verdict.kind in (VerdictKind.FAILED, VerdictKind.KILLED)
    assert _counted(one) == (1, 1)


def test_closing_a_client_counts_drains_that_do_not_wake(stage: MakeStage) -> None:
    """A client that closes counts the drains that it could not cut."""
    one = stage(drain=5.0)
    one.open(wakes=False)
    one.receive("end", terminal=True)
    one.attempt.close()
    one.supervisor.look()
    one.pass_time(5.0 + LATE)
    one.pass_time(WAKE + LATE)
    assert _counted(one) == (1, 1)


def test_late_events_of_an_orphan_are_counted_while_it_lives(stage: MakeStage) -> None:
    """The late deliveries of an orphan are dropped and counted."""
    one = stage(ttfb=10.0)
    one.open(wakes=False)
    one.pass_time(10.0 + LATE)
    one.pass_time(WAKE + LATE)

    def deliver(attempt: Attempt[Any]) -> int:
        for _ in range(3):
            with pytest.raises(Aborted):
                attempt.deliver(["late"], 4, BatchMeaning(content=True))
        return attempt.late

    assert one.worker.do(deliver) == 3
    assert one.supervisor.registry.counts()["late_events"] == 3
    one.leave()
    assert one.supervisor.registry.counts()["late_events"] == 3
    assert one.taken() == []


@pytest.fixture
def crowd() -> Iterator[tuple[HandDriven, list[Puppet]]]:
    """A supervisor with one orphan less than it may have, all gone at the end."""
    supervisor = HandDriven()
    workers = [Puppet(Attempt({"connect": 1.0}, supervisor=supervisor)) for _ in range(MOST_ORPHANS - 1)]
    for worker in workers:
        worker.attempt.start(worker)
        worker.is_there()
    supervisor.look()
    supervisor.pass_time(1.0 + LATE)
    supervisor.pass_time(WAKE)
    yield supervisor, workers
    for worker in workers:
        worker.end()
        assert worker.attempt.join(PATIENCE)


def test_no_attempt_starts_beyond_the_bound_of_orphans(crowd: tuple[HandDriven, list[Puppet]]) -> None:
    """With 64 orphans no attempt starts, and the error says why; once one ends an attempt starts again."""
    supervisor, workers = crowd
    assert supervisor.registry.orphans == MOST_ORPHANS - 1
    last = Puppet(Attempt({"connect": 1.0}, supervisor=supervisor))
    last.attempt.start(last)
    last.is_there()
    workers.append(last)
    supervisor.look()
    supervisor.pass_time(1.0 + LATE)
    supervisor.pass_time(WAKE)
    assert supervisor.registry.orphans == MOST_ORPHANS
    refused = Puppet(Attempt({}, supervisor=supervisor))
    with pytest.raises(TooManyOrphans, match="64 workers") as caught:
        refused.attempt.start(refused)
    assert "Nothing was sent" in str(caught.value)
    assert caught.value.retryable
    assert refused.attempt.join(PATIENCE)
    assert supervisor.registry.counts()["workers"] == MOST_ORPHANS
    workers[0].end()
    assert workers[0].attempt.join(PATIENCE)
    assert supervisor.registry.orphans == MOST_ORPHANS - 1
    refused.attempt.start(refused)
    refused.end()
    assert refused.attempt.join(PATIENCE)
