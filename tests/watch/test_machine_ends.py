"""How the machine comes to its verdict: success, ties, kills, and what comes too late."""

from __future__ import annotations

import math

import pytest

from llmwatch.watch.machine import GRACE, Action, VerdictKind
from llmwatch.watch.states import Phase, Seen
from tests.watch.walking import (
    LIMIT,
    RUNNING_LIMITS,
    RUNS_AFTER,
    at,
    expiry,
)

LATE = 0.25
"""Seconds after an expiry at which it is judged; less than the lateness that a supervisor excuses."""

# -- success -----------------------------------------------------------------


def test_a_terminal_event_is_the_verdict_and_its_drain_a_close() -> None:
    """The verdict is done at the terminal event itself; the drain that follows leaves it as it is."""
    machine = at(Phase.CONTENT, drain=1.0, total=LIMIT)
    machine.seen(Seen.TERMINAL, 5.0)
    verdict = machine.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.at, verdict.phase, verdict.limit) == (VerdictKind.DONE, 5.0, Phase.DRAINING, None)
    assert machine.expire(6.0) is Action.NOTHING
    assert machine.expire(6.0 + LATE) is Action.HANG_UP
    assert machine.verdict is verdict
    assert expiry(machine) is None
    assert machine.expire(1e9) is Action.NOTHING


@pytest.mark.parametrize(("what", "limit"), [(Seen.FINISH, "finish"), (Seen.END, "drain")])
def test_one_mark_alone_is_a_success_after_its_limit(what: Seen, limit: str) -> None:
    """Pings after a finish mark or an end mark do not lengthen the wait, and its expiry is success."""
    machine = at(Phase.CONTENT, **{limit: 1.0}, stale=0.5, total=LIMIT)
    machine.seen(what, 5.0)
    for now in (5.5, 5.75, 6.0):
        assert machine.seen(Seen.BYTE, now)
        assert machine.seen(Seen.EVENT, now)
    assert machine.verdict is None
    assert machine.expire(6.0 + LATE) is Action.HANG_UP
    assert machine.verdict is not None
    assert (machine.verdict.kind, machine.verdict.limit) == (VerdictKind.DONE, limit)


def test_a_cut_after_an_end_mark_is_a_failure() -> None:
    """While the end of the body is waited for the worker may still find a cut."""
    machine = at(Phase.ENDING, drain=1.0)
    assert machine.fail(OSError("reset"), 0.5)
    assert machine.verdict is not None
    assert machine.verdict.kind is VerdictKind.FAILED


def test_content_after_a_finish_goes_on() -> None:
    """Content after a finish ends the finish limit and starts stale and progress anew.

    It starts no limit on a first observation.
    """
    machine = at(Phase.FINISHING, 0.0, stale=30.0, progress=20.0, finish=1.0, first_content=3.0, ttfb=3.0)
    machine.seen(Seen.CONTENT, 0.5)
    assert machine.phase is Phase.CONTENT
    assert machine.left("finish", 0.5) is None
    assert [machine.left(limit, 0.5) for limit in ("stale", "progress", "first_content", "ttfb")] == [
        30,
        20,
        None,
        None,
    ]


def test_total_goes_on_after_a_finish_that_was_not_the_end() -> None:
    """When the answer goes on after a finish, the total still counts from sent."""
    machine = at(Phase.FINISHING, 0.0, finish=1.0, total=10.0)
    machine.seen(Seen.CONTENT, 0.5)
    assert expiry(machine) == ("total", 10.0)
    assert machine.expire(10.0 + LATE) is Action.KILL


def test_total_does_not_kill_an_answer_that_is_complete() -> None:
    """The total cannot make a failure of an answer that has finished.

    After a finish nothing but an end mark is waited for.
    """
    machine = at(Phase.FINISHING, 9.5, finish=1.0, total=10.0)
    assert machine.expire(10.5 + LATE) is Action.HANG_UP
    assert machine.verdict is not None
    assert machine.verdict.kind is VerdictKind.DONE


@pytest.mark.parametrize("later", ["fail", "content", "finish", "terminal"])
def test_a_drain_that_ran_out_wins_over_what_comes_later(later: str) -> None:
    """After the drain's expiry the attempt is done, whether or not the supervisor has woken yet."""
    machine = at(Phase.ENDING, drain=1.0)
    if later == "fail":
        machine.fail(OSError("reset"), 1.0 + LATE)
    elif later == "finish":
        machine.finish(1.0 + LATE)
    else:
        machine.seen(Seen(later), 1.0 + LATE)
    machine.expire(1.0 + LATE)
    assert machine.verdict is not None
    assert machine.verdict.kind is VerdictKind.DONE


def test_the_end_of_the_body_is_done() -> None:
    """A body read to its end without a terminal event is done when the worker says so.

    Its end stops every limit.
    """
    machine = at(Phase.CONTENT, stale=10.0, total=10.0, deadline_at=50.0)
    assert machine.finish(5.0)
    assert machine.verdict is not None
    assert (machine.verdict.kind, machine.verdict.at) == (VerdictKind.DONE, 5.0)
    assert expiry(machine) is None
    assert not machine.finish(6.0)
    assert not machine.fail(OSError(), 6.0)
    assert not machine.cancel("user", 6.0)


# -- ties --------------------------------------------------------------------


@pytest.mark.parametrize("limit", RUNNING_LIMITS)
def test_a_limit_expires_only_after_its_instant(limit: str) -> None:
    """At the very instant of the expiry an observation is in time; right after it is not."""
    phase = {**RUNS_AFTER, "connect": Phase.CONNECTING, "send": Phase.SENDING, "total": Phase.CONTENT}[limit]
    machine = at(phase, 0.0, **{limit: 10.0})
    assert machine.due(10.0) is None
    assert machine.expire(10.0) is Action.NOTHING
    after = math.nextafter(10.0, math.inf)
    due = machine.due(after)
    assert due is not None
    assert (due.limit, due.at) == (limit, 10.0)
    assert machine.expire(after) is Action.KILL


@pytest.mark.parametrize("limits", [{"total": 10.0}, {"stale": 10.0}, {"progress": 10.0}])
@pytest.mark.parametrize("first", ["expire", "seen"])
def test_a_terminal_event_wins_a_tie_with_an_expiry(limits: dict[str, float], first: str) -> None:
    """A terminal event at the instant of the expiry is a success, whichever thread comes first."""
    machine = at(Phase.CONTENT, 0.0, **limits)
    if first == "expire":
        assert machine.expire(10.0) is Action.NOTHING
    assert machine.seen(Seen.TERMINAL, 10.0)
    assert machine.expire(10.0) is Action.NOTHING
    assert machine.verdict is not None
    assert machine.verdict.kind is VerdictKind.DONE


def test_a_terminal_event_wins_a_tie_with_the_deadline() -> None:
    """A terminal event at the instant of the deadline of the whole call is a success."""
    machine = at(Phase.CONTENT, 0.0, deadline_at=10.0)
    assert machine.seen(Seen.TERMINAL, 10.0)
    assert machine.verdict is not None
    assert machine.verdict.kind is VerdictKind.DONE


def test_a_tie_is_settled_alike_by_the_supervisor_and_the_worker() -> None:
    """A limit on reading whose grace ends together with the total gives the same limit's name.

    The supervisor and the worker agree on it.
    """
    verdicts = []
    for supervisor_first in (True, False):
        for limit in ("stale", "first_content"):
            machine = at(Phase.BODY, 0.0, **{limit: 10.0, "total": 10.0 + 0.5 + GRACE})
            assert machine.expire(10.5, waiting=True) is Action.NOTHING
            now = 11.5 + LATE
            if supervisor_first:
                machine.expire(now)
            else:
                machine.seen(Seen.EVENT, now)
            assert machine.verdict is not None
            verdicts.append((limit, machine.verdict.limit, machine.verdict.seconds, machine.verdict.lag))
    assert verdicts == [("stale", "stale", 10.0, LATE), ("first_content", "first_content", 10.0, LATE)] * 2


# -- the kill ----------------------------------------------------------------


@pytest.mark.parametrize("limit", RUNNING_LIMITS)
def test_a_kill_tells_its_numbers(limit: str) -> None:
    """The verdict of a kill names the limit, its seconds, what had passed on it, the phase and the lag."""
    phase = {**RUNS_AFTER, "connect": Phase.CONNECTING, "send": Phase.SENDING, "total": Phase.CONTENT}[limit]
    machine = at(phase, 3.0, **{limit: 10.0})
    assert machine.expire(13.0 + LATE) is Action.KILL
    verdict = machine.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.at, verdict.phase) == (VerdictKind.KILLED, 13.0 + LATE, phase)
    assert (verdict.limit, verdict.seconds, verdict.elapsed, verdict.lag) == (limit, 10.0, 10.0 + LATE, LATE)


def test_a_kill_tells_the_elapsed_and_the_held_time() -> None:
    """The elapsed time counts since the limit began; a hold before that is not part of it."""
    machine = at(Phase.CONTENT, 0.0, stale=10.0)
    machine.hold(4.0)
    machine.resume(504.0)
    assert machine.expire(510.0 + LATE) is Action.KILL
    assert machine.verdict is not None
    assert (machine.verdict.elapsed, machine.verdict.paused, machine.verdict.lag) == (510.0 + LATE, 500.0, LATE)
    machine = at(Phase.CONTENT, 0.0, stale=10.0)
    machine.hold(4.0)
    machine.resume(504.0)
    machine.seen(Seen.BYTE, 505.0)
    machine.hold(506.0)
    machine.resume(508.0)
    assert machine.expire(517.0 + LATE) is Action.KILL
    assert (machine.verdict.elapsed, machine.verdict.paused) == (12.0 + LATE, 2.0)


def test_a_hold_that_began_before_a_limit_counts_from_its_beginning() -> None:
    """A byte in the middle of a hold restarts ``stale``: only the rest of the hold is part of its time."""
    machine = at(Phase.CONTENT, 0.0, stale=10.0)
    machine.hold(4.0)
    machine.seen(Seen.BYTE, 6.0)
    assert machine.held_until(9.0) == 5.0
    machine.resume(14.0)
    assert machine.expire(24.0 + LATE) is Action.KILL
    assert machine.verdict is not None
    assert (machine.verdict.elapsed, machine.verdict.paused) == (18.0 + LATE, 8.0)


def test_an_attempt_is_killed_once() -> None:
    """After the verdict no limit runs, nothing expires, and what comes is late."""
    machine = at(Phase.CONTENT, 0.0, stale=10.0, total=10.5, deadline_at=11.0)
    assert machine.expire(10.0 + LATE) is Action.KILL
    verdict = machine.verdict
    assert expiry(machine) is None
    assert machine.expire(1000.0) is Action.NOTHING
    for count, what in enumerate([Seen.BYTE, Seen.EVENT, Seen.CONTENT, Seen.TERMINAL], start=1):
        assert not machine.seen(what, 20.0)
        assert machine.late == count
    assert machine.verdict is verdict
    assert machine.phase is Phase.CONTENT
    assert Seen.TERMINAL not in machine.marks


def test_bytes_of_a_drain_are_not_late() -> None:
    """Bytes after the terminal event are expected, and discarded; events after it are late."""
    machine = at(Phase.DRAINING, 0.0, drain=1.0)
    assert not machine.seen(Seen.BYTE, 0.5)
    assert machine.late == 0
    assert not machine.seen(Seen.EVENT, 0.5)
    assert machine.late == 1
