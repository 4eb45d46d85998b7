"""The limits of one attempt: what starts, resets and ends them, and exactly when they expire."""

from __future__ import annotations

import copy

import pytest

from llmwatch.records import PHASES
from llmwatch.watch.machine import ERROR_BODY, Action, Machine, VerdictKind
from llmwatch.watch.states import ATTEMPT_LIMITS, STEPS, TABLE, Phase, Seen
from tests.rows import each
from tests.watch.walking import (
    FIRST_LIMITS,
    IMPLIED,
    LIMIT,
    PATHS,
    RUNNING_LIMITS,
    at,
    expiry,
    walk,
)

ORDER = list(Phase)
LATE = 0.25
"""Seconds after an expiry at which it is judged; less than the lateness that a supervisor excuses."""

# -- the table ---------------------------------------------------------------


@each("phase", Phase)
@each("what", Seen)
def test_every_observation_is_defined_in_every_phase(phase: Phase, what: Seen) -> None:
    """No cell is missing, and each names only limits that exist."""
    cell = TABLE[phase][what]
    assert cell.next in Phase
    assert (cell.ends | cell.starts | cell.resets | cell.replaces) <= set(ATTEMPT_LIMITS)
    assert not cell.ends & cell.starts - {"drain"}
    assert not cell.ends & cell.resets


def test_every_phase_has_a_row_and_can_be_reached() -> None:
    """The table of steps has a row for each phase, and each phase is the target of some step."""
    assert set(STEPS) == set(Phase) == set(PATHS)
    assert {cell.next for row in STEPS.values() for cell in row.values()} | {Phase.IDLE} == set(Phase)


def test_every_phase_has_a_name_for_people() -> None:
    """Errors, notices and records name the public phases, and the back-off."""
    assert {phase.public for phase in Phase} | {"backing_off"} == set(PHASES)
    assert Phase.ENDING.public == "finishing"


@each("phase", Phase)
@each("what", Seen)
def test_promotion_is_one_way(phase: Phase, what: Seen) -> None:
    """An observation never takes an attempt back, but for content after a finish."""
    target = TABLE[phase][what].next
    if (phase, what) == (Phase.FINISHING, Seen.CONTENT):
        assert target is Phase.CONTENT
    else:
        assert ORDER.index(target) >= ORDER.index(phase)


@pytest.mark.parametrize("limit", [*FIRST_LIMITS, "total"])
def test_a_first_something_limit_starts_in_one_phase_only(limit: str) -> None:
    """No later event brings a first-something limit or the total back."""
    starting = {phase for phase, row in STEPS.items() for cell in row.values() if limit in cell.starts}
    assert starting == {{"connect": Phase.IDLE, "send": Phase.CONNECTING}.get(limit, Phase.SENDING)}


@each("phase", Phase)
@each("what", [Seen.BYTE, Seen.EVENT])
def test_keep_alives_reset_no_content_limit(phase: Phase, what: Seen) -> None:
    """Bytes and keep-alives reset the silence limit at most, and neither progress nor finish."""
    assert TABLE[phase][what].resets <= {"stale"}


SKIPS = [
    (phase, what)
    for phase, path in PATHS.items()
    for what, implied in IMPLIED.items()
    if implied[: len(path)] == path and len(implied) > len(path) + 1
]


@each(("phase", "what"), SKIPS)
def test_skipped_observations_are_implied(phase: Phase, what: Seen) -> None:
    """An observation that skips others leaves the limits as if each had been seen at that instant."""
    limits = dict.fromkeys(RUNNING_LIMITS, LIMIT) | {"finish": 7.0, "drain": 7.0}
    jumped, stepped = at(phase, 0.0, **limits), at(phase, 0.0, **limits)
    jumped.seen(what, 5.0)
    for step in IMPLIED[what][len(PATHS[phase]) :]:
        stepped.seen(step, 5.0)
    assert jumped.phase is stepped.phase
    assert expiry(jumped) == expiry(stepped)
    assert {limit: jumped.left(limit, 6.0) for limit in ATTEMPT_LIMITS} == {
        limit: stepped.left(limit, 6.0) for limit in ATTEMPT_LIMITS
    }


@pytest.mark.parametrize(
    ("phase", "what"),
    [
        (Phase.SENDING, Seen.BEGUN),
        (Phase.HEADERS, Seen.SENT),
        (Phase.BODY, Seen.HEADERS),
        (Phase.EVENTS, Seen.REFUSED),
        (Phase.CONTENT, Seen.SENT),
        (Phase.FINISHING, Seen.HEADERS),
        (Phase.REFUSED, Seen.CONTENT),
        (Phase.DRAINING, Seen.CONTENT),
    ],
)
def test_an_observation_of_a_passed_phase_moves_no_limit(phase: Phase, what: Seen) -> None:
    """An observation of something that the attempt has passed moves no limit."""
    cell = TABLE[phase][what]
    assert cell.next is phase
    assert not cell.ends | cell.starts | cell.resets


# -- each limit --------------------------------------------------------------

LIFE = (
    (Seen.BEGUN, 0.0),
    (Seen.CONNECTED, 1.0),
    (Seen.SENT, 2.0),
    (Seen.HEADERS, 3.0),
    (Seen.BYTE, 4.0),
    (Seen.EVENT, 5.0),
    (Seen.CONTENT, 6.0),
    (Seen.BYTE, 7.0),
    (Seen.EVENT, 8.0),
    (Seen.CONTENT, 9.0),
)
# When a limit of 100 s expires, after each line of LIFE.
EXPIRIES: dict[str, tuple[float | None, ...]] = {
    "connect": (100.0, None, None, None, None, None, None, None, None, None),
    "send": (None, 101.0, None, None, None, None, None, None, None, None),
    "headers": (None, None, 102.0, None, None, None, None, None, None, None),
    "ttfb": (None, None, 102.0, 102.0, None, None, None, None, None, None),
    "first_event": (None, None, 102.0, 102.0, 102.0, None, None, None, None, None),
    "first_content": (None, None, 102.0, 102.0, 102.0, 102.0, None, None, None, None),
    "stale": (None, None, None, None, 104.0, 104.0, 104.0, 107.0, 107.0, 107.0),
    "progress": (None, None, None, None, None, None, 106.0, 106.0, 106.0, 109.0),
    "total": (None, None, 102.0, 102.0, 102.0, 102.0, 102.0, 102.0, 102.0, 102.0),
}


@pytest.mark.parametrize("limit", RUNNING_LIMITS)
def test_a_limit_runs_from_its_start_to_its_end(limit: str) -> None:
    """Each limit alone expires exactly its limit after what started or last reset it.

    It does not expire at all before its start and after its end.
    """
    machine = Machine({limit: LIMIT})
    assert expiry(machine) is None
    for (what, now), expected in zip(LIFE, EXPIRIES[limit], strict=True):
        assert machine.seen(what, now)
        assert expiry(machine) == (None if expected is None else (limit, expected)), what
        assert machine.left(limit, now + 0.5) == (None if expected is None else expected - now - 0.5)


@pytest.mark.parametrize(("what", "limit"), [(Seen.FINISH, "finish"), (Seen.END, "drain"), (Seen.TERMINAL, "drain")])
def test_one_limit_beside_total_runs_after_a_mark(what: Seen, limit: str) -> None:
    """A finish mark, an end mark and both leave one limit beside the total, which counts from there."""
    machine = at(Phase.CONTENT, **dict.fromkeys(RUNNING_LIMITS, LIMIT), finish=7.0, drain=7.0)
    assert machine.seen(what, 20.0)
    assert expiry(machine) == (limit, 27.0)
    assert machine.left(limit, 22.0) == 5.0
    assert [machine.left(other, 22.0) for other in ("stale", "progress")] == [None, None]


def test_usage_after_a_finish_mark_resets_finish_and_a_keep_alive_does_not() -> None:
    """A later report of a finish is news, such as usage, and resets the limit.

    Other bytes and events do not.
    """
    machine = at(Phase.FINISHING, 0.0, finish=7.0)
    machine.seen(Seen.BYTE, 2.0)
    machine.seen(Seen.EVENT, 2.0)
    assert expiry(machine) == ("finish", 7.0)
    machine.seen(Seen.FINISH, 3.0)
    assert expiry(machine) == ("finish", 10.0)


def test_nothing_lengthens_the_wait_after_an_end_mark() -> None:
    """The end of the body is all that is waited for, and only for the drain."""
    machine = at(Phase.ENDING, 0.0, drain=7.0, finish=1.0, stale=1.0)
    for what in (Seen.BYTE, Seen.EVENT, Seen.CONTENT, Seen.FINISH, Seen.END):
        assert machine.seen(what, 3.0)
        assert expiry(machine) == ("drain", 7.0)
    assert machine.seen(Seen.TERMINAL, 3.0)
    assert machine.verdict is not None
    assert machine.verdict.kind is VerdictKind.DONE


@pytest.mark.parametrize("off", [None, 0])
def test_without_finish_silence_and_progress_run_on_and_make_a_success(off: float | None) -> None:
    """With ``finish`` off the real end is waited for, but not for ever."""
    machine = at(Phase.FINISHING, 0.0, finish=off, stale=5.0, progress=30.0)
    machine.seen(Seen.BYTE, 3.0)
    assert expiry(machine) == ("stale", 8.0)
    assert machine.left("progress", 3.0) == 27.0
    assert machine.expire(8.0 + LATE) is Action.HANG_UP
    assert machine.verdict is not None
    assert (machine.verdict.kind, machine.verdict.limit) == (VerdictKind.DONE, "stale")


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DRAINING])
def test_the_deadline_runs_in_every_phase(phase: Phase) -> None:
    """Only the end of the attempt ends the deadline; no observation starts or resets it."""
    machine = at(phase, deadline_at=50.0, drain=LIMIT)
    machine._limits["error_body"] = LIMIT  # it would come first
    assert expiry(machine) == ("deadline", 50.0)


def test_the_deadline_does_not_cut_a_drain() -> None:
    """Once the answer is complete the deadline is met."""
    machine = at(Phase.DRAINING, deadline_at=50.0, drain=LIMIT)
    assert expiry(machine) == ("drain", LIMIT)


def test_headers_do_not_stop_the_limit_for_the_first_byte() -> None:
    """Silence after the headers is the same silence as before them."""
    machine = at(Phase.HEADERS, 3.0, ttfb=10.0)
    assert machine.expire(13.0 + LATE) is Action.KILL
    assert machine.verdict is not None
    assert (machine.verdict.limit, machine.verdict.phase) == ("ttfb", Phase.HEADERS)


def test_comments_do_not_stop_the_limit_for_the_first_event() -> None:
    """Any number of bytes leaves the first-event limit as it was."""
    machine = at(Phase.WAITING, first_event=10.0)
    for now in (1.0, 4.0, 9.0):
        machine.seen(Seen.BYTE, now)
    assert expiry(machine) == ("first_event", 10.0)


def test_headers_before_the_request_is_sent_start_the_answer_limits() -> None:
    """Headers while the request is still written end the send limit and start those of the answer."""
    machine = at(Phase.SENDING, 1.0, send=10.0, ttfb=20.0)
    assert machine.seen(Seen.HEADERS, 5.0)
    assert machine.phase is Phase.HEADERS
    assert expiry(machine) == ("ttfb", 25.0)


def test_the_earliest_of_several_expires_and_a_tie_goes_to_the_more_specific() -> None:
    """The first of several limits to expire gives its name.

    At the same instant the order of ATTEMPT_LIMITS decides.
    """
    assert expiry(at(Phase.WAITING, headers=30.0, ttfb=20.0, total=25.0)) == ("ttfb", 20.0)
    assert expiry(at(Phase.WAITING, headers=20.0, ttfb=20.0, total=20.0)) == ("headers", 20.0)
    assert expiry(at(Phase.WAITING, total=20.0, deadline_at=20.0)) == ("total", 20.0)


def test_an_error_body_has_five_seconds() -> None:
    """After a refusal no limit of the answer runs, and the expiry of the body's own limit is no verdict."""
    machine = at(Phase.REFUSED, 2.0, ttfb=10.0, first_event=10.0, first_content=10.0, stale=3.0)
    assert expiry(machine) == ("error_body", 2.0 + ERROR_BODY) == ("error_body", 7.0)
    assert machine.seen(Seen.BYTE, 6.0)
    assert machine.expire(7.0) is Action.NOTHING
    assert machine.expire(7.0 + LATE) is Action.HANG_UP
    assert machine.verdict is None
    assert expiry(machine) is None
    error = OSError("shutdown")
    assert machine.fail(error, 8.0)
    assert machine.verdict is not None
    assert (machine.verdict.kind, machine.verdict.error) == (VerdictKind.FAILED, error)


@pytest.mark.parametrize("what", [Seen.EVENT, Seen.CONTENT, Seen.FINISH, Seen.TERMINAL])
def test_a_terminal_event_in_an_error_body_is_no_success(what: Seen) -> None:
    """The body of an error makes no verdict: the attempt is refused."""
    machine = at(Phase.REFUSED)
    machine.seen(what, 1.0)
    assert machine.phase is Phase.REFUSED
    assert machine.verdict is None


@pytest.mark.parametrize("limit", ["total", "deadline"])
@pytest.mark.parametrize("end", ["finish", "fail"])
def test_a_limit_does_not_replace_a_known_refusal(limit: str, end: str) -> None:
    """Once an error status is known, an expired limit drops the connection at most.

    The worker's end is the verdict.
    """
    machine = at(
        Phase.REFUSED, deadline_at=3.0 if limit == "deadline" else None, total=3.0 if limit == "total" else None
    )
    looked_at = copy.deepcopy(machine)
    now = 3.0 + LATE
    assert looked_at.expire(now) is Action.HANG_UP
    for one in (machine, looked_at):
        assert one.verdict is None
        assert one.finish(now) if end == "finish" else one.fail(OSError("cut"), now)
        assert one.verdict is not None
        assert one.verdict.kind is (VerdictKind.DONE if end == "finish" else VerdictKind.FAILED)


def test_a_late_byte_of_an_error_body_leaves_the_expiry_to_the_supervisor() -> None:
    """A byte that comes after an expiry and before the supervisor leaves the shutdown to the supervisor."""
    machine = at(Phase.REFUSED, total=3.0)
    assert machine.seen(Seen.BYTE, 3.0 + LATE)
    assert machine.late == 0
    assert machine.expire(3.0 + LATE) is Action.HANG_UP


# -- limits that are off -----------------------------------------------------


@each("off", [None, 0])
@each("limit", RUNNING_LIMITS)
def test_zero_and_none_switch_a_limit_off(limit: str, off: float | None) -> None:
    """A limit of 0 or None never expires, in whatever phase."""
    for phase in Phase:
        if phase not in (Phase.REFUSED, Phase.ENDING, Phase.DRAINING):
            machine = at(phase, **{limit: off})
            assert expiry(machine) is None
            assert machine.left(limit, 1e9) is None
            assert machine.expire(1e9) is Action.NOTHING


def test_a_silent_call_falls_to_the_next_limit() -> None:
    """With ttfb off the same silence ends at first_content."""
    machine = at(Phase.HEADERS, ttfb=None, first_content=30.0)
    assert expiry(machine) == ("first_content", 30.0)


@pytest.mark.parametrize("off", [None, 0, 0.0])
@pytest.mark.parametrize("what", [Seen.END, Seen.TERMINAL])
def test_without_drain_the_attempt_ends_at_once(off: float | None, what: Seen) -> None:
    """A drain of 0 or None expires right after the end, as success."""
    machine = at(Phase.CONTENT, drain=off)
    machine.seen(what, 5.0)
    assert expiry(machine) == ("drain", 5.0)
    assert machine.expire(5.0) is Action.NOTHING
    assert machine.expire(5.0 + LATE) is Action.HANG_UP
    assert machine.verdict is not None
    assert machine.verdict.kind is VerdictKind.DONE


# -- what is noted -----------------------------------------------------------


def test_marks_keep_the_first_time() -> None:
    """Each observation is marked with when it was made first."""
    machine = at(Phase.CONTENT, 1.0)
    for now in (2.0, 3.0):
        machine.seen(Seen.BYTE, now)
        machine.seen(Seen.CONTENT, now)
    machine.seen(Seen.TERMINAL, 4.0)
    assert machine.marks == dict.fromkeys(PATHS[Phase.CONTENT], 1.0) | {Seen.TERMINAL: 4.0}


def test_the_longest_gap_is_measured_between_bytes_in_active_time() -> None:
    """The wait for the first byte is no gap, and held time does not count."""
    machine = at(Phase.WAITING, 0.0)
    assert machine.longest_gap is None
    machine.seen(Seen.BYTE, 50.0)
    assert machine.longest_gap is None
    for now in (52.0, 59.0, 60.0):
        machine.seen(Seen.BYTE, now)
    assert machine.longest_gap == 7.0
    machine.hold(60.0)
    machine.resume(90.0)
    machine.seen(Seen.BYTE, 98.0)
    assert machine.longest_gap == 8.0


@pytest.mark.parametrize("limit", RUNNING_LIMITS)
def test_soonest_is_never_later_than_the_next_expiry(limit: str) -> None:
    """The cheap bound that spares a look at the limits is safe along a whole life with holds."""
    machine = Machine({limit: 3.0, "drain": 2.0}, deadline_at=1000.0)
    now = 0.0
    for what in (*PATHS[Phase.CONTENT], Seen.BYTE, Seen.FINISH, Seen.CONTENT, Seen.FINISH, Seen.TERMINAL):
        machine.seen(what, now)
        machine.hold(now + 0.5)
        machine.seen(Seen.BYTE, now + 0.5)
        machine.refresh()
        machine.resume(now + 1.0)
        due = machine.next_expiry()
        assert due is None or machine.soonest <= due.at
        now += 1.0


def test_a_walk_of_the_whole_life_ends_done() -> None:
    """A healthy answer with gaps under every limit is done.

    The limits are like the defaults for a hosted model.
    """
    machine = Machine(
        {
            "connect": 10.0,
            "send": 60.0,
            "headers": None,
            "ttfb": 120.0,
            "first_event": None,
            "first_content": 300.0,
            "stale": 360.0,
            "progress": 600.0,
            "drain": 1.0,
            "total": None,
        }
    )
    moments = [0, 9, 60, 100, 179, 200, 359, 700, 700, 950, 1050, 1300]
    life = [*PATHS[Phase.CONTENT], Seen.BYTE, Seen.EVENT, Seen.CONTENT, Seen.BYTE, Seen.TERMINAL]
    for what, now in zip(life, moments, strict=True):
        assert machine.expire(float(now)) is Action.NOTHING, what
        assert machine.seen(what, float(now)), what
    assert machine.verdict is not None
    assert machine.verdict.kind is VerdictKind.DONE


def test_the_walks_of_these_tests_end_in_the_phases_they_name() -> None:
    """The paths that these tests walk end in the phases that they are named for."""
    for phase in Phase:
        assert walk(Machine({}), phase).phase is phase
