"""Limits that stand in a hold, and limits on reading that are given another second."""

from __future__ import annotations

import math

import pytest

from llmwatch.watch.machine import GRACE, Action, VerdictKind
from llmwatch.watch.states import EVENT_DRIVEN, READ_DRIVEN, Phase, Seen
from tests.watch.walking import (
    LIMIT,
    RUNNING_LIMITS,
    RUNS_AFTER,
    STRICT_LIMITS,
    at,
    expiry,
)

LATE = 0.25
"""Seconds after an expiry at which it is judged; less than the lateness that a supervisor excuses."""

# -- holding -----------------------------------------------------------------


@pytest.mark.parametrize("limit", RUNNING_LIMITS)
def test_a_limit_keeps_its_remainder_over_a_hold(limit: str) -> None:
    """Held time is added to the expiry: 4 s used, 1,000 s held, 96 s left."""
    phase = {**RUNS_AFTER, "connect": Phase.CONNECTING, "send": Phase.SENDING, "total": Phase.CONTENT}[limit]
    machine = at(phase, 0.0, **{limit: LIMIT})
    machine.hold(4.0)
    assert machine.held
    assert expiry(machine) is None
    assert machine.expire(900.0) is Action.NOTHING
    assert machine.left(limit, 900.0) == LIMIT - 4.0
    machine.resume(1004.0)
    assert not machine.held
    assert expiry(machine) == (limit, LIMIT + 1000.0)
    assert machine.soonest <= LIMIT + 1000.0
    assert machine.left(limit, 1005.0) == LIMIT - 5.0


def test_the_deadline_runs_on_in_a_hold() -> None:
    """Nothing pauses the deadline."""
    machine = at(Phase.CONTENT, 0.0, stale=10.0, deadline_at=50.0)
    machine.hold(1.0)
    assert expiry(machine) == ("deadline", 50.0)
    assert machine.expire(50.0) is Action.NOTHING
    assert machine.expire(50.0 + LATE) is Action.KILL
    assert machine.verdict is not None
    assert (machine.verdict.limit, machine.verdict.lag) == ("deadline", LATE)


def test_holds_add_up_and_do_not_nest() -> None:
    """Several holds are summed; a second hold within one, or a resume without one, does nothing."""
    machine = at(Phase.CONTENT, 0.0, stale=10.0)
    machine.resume(1.0)
    machine.hold(2.0)
    machine.hold(3.0)
    machine.resume(5.0)
    machine.resume(6.0)
    machine.hold(7.0)
    machine.resume(11.0)
    assert expiry(machine) == ("stale", 10.0 + 3.0 + 4.0)


def test_what_is_seen_in_a_hold_starts_its_limit_at_the_hold() -> None:
    """An event decoded in a hold starts a limit that is whole at the resumption.

    The limits stand during the hold.
    """
    machine = at(Phase.EVENTS, 0.0, progress=10.0, stale=8.0)
    machine.seen(Seen.BYTE, 4.0)
    machine.hold(4.0)
    machine.seen(Seen.CONTENT, 6.0)
    machine.resume(100.0)
    assert machine.left("progress", 100.0) == 10.0
    assert machine.left("stale", 100.0) == 8.0


def test_a_hold_across_an_expiry_keeps_the_attempt_alive() -> None:
    """A consumer slower than every limit is not killed.

    This holds as long as the bytes were there before the expiry.
    """
    machine = at(Phase.CONTENT, 0.0, stale=1.0, progress=1.0)
    for now in (1000.0, 2000.0, 3000.0):
        machine.hold(now)
        assert machine.expire(now + 999.0) is Action.NOTHING
        machine.resume(now + 999.0)
        machine.seen(Seen.BYTE, now + 999.5)
        machine.seen(Seen.CONTENT, now + 999.5)
    assert machine.verdict is None


# -- look before you kill ----------------------------------------------------


def over(limit: str) -> Action:
    """The outcome of the expiry of a limit on reading: after a finish mark a success."""
    return Action.HANG_UP if limit == "finish" else Action.KILL


@pytest.mark.parametrize("limit", sorted(READ_DRIVEN))
def test_bytes_that_wait_give_one_grace(limit: str) -> None:
    """With bytes in the kernel a limit on reading gets a second from then, once."""
    machine = at(RUNS_AFTER[limit], 0.0, **{limit: 10.0})
    now = 10.0 + LATE
    due = machine.due(now)
    assert due is not None
    assert machine.may_look(due)
    assert machine.expire(now, waiting=True) is Action.NOTHING
    assert expiry(machine) == (limit, now + GRACE)
    assert not machine.may_look(machine.next_expiry())  # type: ignore[arg-type]
    assert machine.expire(now + GRACE, waiting=True) is Action.NOTHING
    assert machine.expire(now + GRACE + LATE, waiting=True) is over(limit)
    assert machine.verdict is not None
    numbers = (None, None) if limit == "finish" else (now + GRACE + LATE, LATE)
    assert (machine.verdict.limit, machine.verdict.elapsed, machine.verdict.lag) == (limit, *numbers)


@pytest.mark.parametrize("limit", sorted(READ_DRIVEN))
def test_a_supervisor_more_than_a_second_late_gives_a_grace(limit: str) -> None:
    """A supervisor more than a second late gives the grace without waiting bytes.

    Exactly a second late it gives none.
    """
    machine = at(RUNS_AFTER[limit], 0.0, **{limit: 10.0})
    assert machine.expire(10.0 + GRACE) is over(limit)
    machine = at(RUNS_AFTER[limit], 0.0, **{limit: 10.0})
    now = math.nextafter(10.0 + GRACE, math.inf)
    assert machine.expire(now) is Action.NOTHING
    assert expiry(machine) == (limit, now + GRACE)
    assert machine.expire(now + 100.0) is over(limit)


@pytest.mark.parametrize("limit", STRICT_LIMITS)
def test_other_limits_get_no_grace(limit: str) -> None:
    """Connect, send and total are judged by the time alone, with bytes waiting or a supervisor late."""
    phase = {"connect": Phase.CONNECTING, "send": Phase.SENDING, "total": Phase.CONTENT}[limit]
    machine = at(phase, 0.0, **{limit: 10.0})
    assert machine.expire(500.0, waiting=True) is Action.KILL


def test_the_deadline_gets_no_grace() -> None:
    """The deadline is judged by the time alone, with bytes waiting or a supervisor late."""
    machine = at(Phase.HEADERS, 0.0, deadline_at=10.0)
    assert machine.expire(500.0, waiting=True) is Action.KILL


@pytest.mark.parametrize("limit", sorted(EVENT_DRIVEN))
@pytest.mark.parametrize("read_before", [0.5, 1.0, 5.0])
def test_waiting_bytes_excuse_a_content_limit_only_for_a_starved_worker(limit: str, read_before: float) -> None:
    """Waiting bytes are no excuse if something was read within the last second.

    They are then a flood or keep-alives, and excuse neither a limit on content nor ``finish``.
    """
    machine = at(RUNS_AFTER[limit], 0.0, **{limit: 10.0})
    now = 10.0 + LATE
    machine.seen(Seen.BYTE, now - read_before)
    excused = read_before >= GRACE
    assert machine.expire(now, waiting=True) is (Action.NOTHING if excused else over(limit))


@pytest.mark.parametrize("limit", sorted(EVENT_DRIVEN))
def test_a_starved_worker_may_report_content_in_its_grace(limit: str) -> None:
    """After a second without a read any report that moves the answer forward counts.

    A worker that has read all the time is overdue.
    """
    seen = (Seen.BYTE, Seen.EVENT, Seen.CONTENT)
    machine = at(RUNS_AFTER[limit], 0.0, **{limit: 10.0})
    machine.seen(Seen.BYTE, 9.0)
    assert all(machine.seen(what, 10.0 + LATE) for what in seen)
    assert machine.verdict is None
    machine = at(RUNS_AFTER[limit], 0.0, **{limit: 10.0})
    machine.seen(Seen.BYTE, 9.5)
    assert not any(machine.seen(what, 10.0 + LATE) for what in seen)
    assert machine.verdict is not None
    kind = VerdictKind.DONE if limit == "finish" else VerdictKind.KILLED
    assert (machine.verdict.kind, machine.verdict.limit) == (kind, limit)


@pytest.mark.parametrize(("limit", "what"), [("stale", Seen.BYTE), ("progress", Seen.CONTENT)])
def test_a_reset_renews_the_grace(limit: str, what: Seen) -> None:
    """Each new wait has a grace of its own."""
    machine = at(Phase.CONTENT, 0.0, **{limit: 10.0})
    for begin in (0.0, 10.5, 21.0):
        assert expiry(machine) == (limit, begin + 10.0)
        assert machine.expire(begin + 10.0 + LATE, waiting=True) is Action.NOTHING
        assert machine.seen(what, begin + 10.5)
    assert machine.verdict is None


def test_each_limit_has_its_own_grace() -> None:
    """Silence that was excused does not excuse the first content."""
    machine = at(Phase.BODY, 0.0, stale=10.0, first_content=10.5)
    assert machine.expire(10.0 + LATE, waiting=True) is Action.NOTHING
    assert expiry(machine) == ("first_content", 10.5)
    assert machine.expire(10.5 + LATE) is Action.KILL
    assert machine.verdict is not None
    assert machine.verdict.limit == "first_content"


def test_a_keep_alive_does_not_renew_the_grace_of_a_content_limit() -> None:
    """Bytes reset the silence and leave the grace of the first content as it was."""
    machine = at(Phase.BODY, 0.0, first_content=10.0, stale=LIMIT)
    assert machine.expire(10.0 + LATE, waiting=True) is Action.NOTHING
    for now in (10.5, 10.75, 11.0):
        assert machine.seen(Seen.BYTE, now)
        assert machine.seen(Seen.EVENT, now)
    assert expiry(machine) == ("first_content", 10.0 + LATE + GRACE)
    assert machine.expire(11.0 + LATE + LATE, waiting=True) is Action.KILL


def test_a_grace_stands_still_in_a_hold() -> None:
    """Held time is added to a grace as well, be it before or after the grace is given."""
    machine = at(Phase.CONTENT, 0.0, progress=10.0)
    machine.hold(1.0)
    machine.resume(31.0)
    assert machine.expire(40.0 + LATE, waiting=True) is Action.NOTHING
    assert expiry(machine) == ("progress", 40.0 + LATE + GRACE)
    machine = at(Phase.CONTENT, 0.0, progress=10.0)
    assert machine.expire(10.0 + LATE, waiting=True) is Action.NOTHING
    machine.hold(10.5)
    machine.resume(20.5)
    assert expiry(machine) == ("progress", 10.0 + LATE + GRACE + 10.0)


@pytest.mark.parametrize("limit", sorted(READ_DRIVEN))
def test_a_read_that_comes_before_the_supervisor_is_accepted(limit: str) -> None:
    """A process that was stopped with bytes waiting reads on: the reading itself is the excuse."""
    machine = at(RUNS_AFTER[limit], 0.0, **{limit: 10.0})
    assert machine.seen(Seen.BYTE, 500.0)
    assert machine.verdict is None


@pytest.mark.parametrize("limit", sorted(READ_DRIVEN))
def test_once_the_grace_is_used_the_time_decides(limit: str) -> None:
    """After its grace a limit on reading is strict towards the worker too."""
    machine = at(RUNS_AFTER[limit], 0.0, **{limit: 10.0})
    machine.expire(10.0 + LATE, waiting=True)
    assert not machine.seen(Seen.CONTENT, 11.0 + LATE + LATE)
    assert machine.verdict is not None
    assert (machine.verdict.kind is VerdictKind.KILLED, machine.verdict.limit) == (limit != "finish", limit)
    assert machine.late == 1


STRICT = [
    ("connect", Phase.CONNECTING, Seen.CONNECTED),
    ("send", Phase.SENDING, Seen.SENT),
    ("send", Phase.SENDING, Seen.HEADERS),
    ("total", Phase.WAITING, Seen.HEADERS),
    ("total", Phase.CONTENT, Seen.BYTE),
    ("total", Phase.CONTENT, Seen.CONTENT),
    ("total", Phase.CONTENT, Seen.TERMINAL),
    ("deadline", Phase.CONNECTING, Seen.CONNECTED),
    ("deadline", Phase.CONTENT, Seen.TERMINAL),
]


@pytest.mark.parametrize(("limit", "phase", "what"), STRICT)
def test_a_report_after_a_strict_expiry_is_too_late(limit: str, phase: Phase, what: Seen) -> None:
    """The report is too late even when the supervisor has not woken yet."""
    limits = {} if limit == "deadline" else {limit: 10.0}
    machine = at(phase, 0.0, deadline_at=10.0 if limit == "deadline" else None, **limits)
    assert not machine.seen(what, 10.0 + LATE)
    verdict = machine.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.limit, verdict.phase, verdict.lag) == (VerdictKind.KILLED, limit, phase, LATE)
    assert machine.late == 1
    assert machine.expire(10.0 + LATE) is Action.NOTHING


@pytest.mark.parametrize("limit", ["total", "deadline"])
@pytest.mark.parametrize("end", ["finish", "fail"])
def test_an_end_after_a_strict_expiry_is_a_kill(limit: str, end: str) -> None:
    """A clean end or an error that comes after the expiry does not hide it."""
    machine = at(Phase.CONTENT, 0.0, deadline_at=10.0 if limit == "deadline" else None, total=10.0)
    if limit == "deadline":
        machine = at(Phase.CONTENT, 0.0, deadline_at=10.0)
    now = 10.0 + LATE
    assert not (machine.finish(now) if end == "finish" else machine.fail(OSError(), now))
    assert machine.verdict is not None
    assert (machine.verdict.kind, machine.verdict.limit) == (VerdictKind.KILLED, limit)


def test_a_cancellation_wins_over_an_expiry_without_a_verdict() -> None:
    """A cancellation before the supervisor has looked is the verdict, whatever the limits say."""
    machine = at(Phase.CONTENT, 0.0, total=10.0)
    assert machine.cancel("lifecycle", 20.0)
    assert machine.verdict is not None
    assert (machine.verdict.kind, machine.verdict.by, machine.verdict.at) == (VerdictKind.CANCELLED, "lifecycle", 20.0)
