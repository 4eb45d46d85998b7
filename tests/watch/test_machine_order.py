"""Single laws of the state machine, among them that the order of threads does not decide."""

from __future__ import annotations

import copy

from hypothesis import assume, given
from hypothesis import strategies as st

from llmwatch.watch.machine import Action, Machine, VerdictKind
from llmwatch.watch.states import ATTEMPT_LIMITS, Phase, Seen
from tests.watch.generated import deadlines, law, limits, plain_law, steps
from tests.watch.walking import at, expiry

moves = st.lists(st.tuples(steps, st.sampled_from([*Seen, "hold", "resume", "expire", "look"])), max_size=25)


def live(machine: Machine, moves: list[tuple[float, object]], now: float = 0.0) -> float:
    """Play ``moves`` and return the time after them."""
    for passed, move in moves:
        now += passed
        if isinstance(move, Seen):
            machine.seen(move, now)
        elif move in ("hold", "resume"):
            getattr(machine, str(move))(now)
        else:
            machine.expire(now, waiting=move == "look")
    return now


def begun(
    limits: dict[str, float | None], deadline_at: float | None, moves: list[tuple[float, object]]
) -> tuple[Machine, float]:
    """A machine in the middle of a generated life."""
    machine = Machine(limits, deadline_at=deadline_at)
    machine.seen(Seen.BEGUN, 0.0)
    return machine, live(machine, moves)


keep_alives = st.sampled_from([Seen.BYTE, Seen.EVENT])
drips = st.sampled_from([Seen.BYTE, Seen.EVENT, Seen.CONTENT, Seen.FINISH])


@plain_law
@given(
    limits,
    st.sampled_from([Phase.BODY, Phase.EVENTS, Phase.CONTENT]),
    st.lists(st.tuples(steps, keep_alives), max_size=20),
)
def test_keep_alives_never_reset_a_content_limit(
    limits: dict[str, float | None], phase: Phase, pings: list[tuple[float, Seen]]
) -> None:
    """The content limits expire at the same instants with any number of bytes and empty events."""
    machine, now = at(phase, **limits), 0.0
    limits = ("first_content", "progress", "total")
    left = {limit: machine.left(limit, now) for limit in limits}
    for passed, ping in pings:
        now += passed
        if not machine.seen(ping, now):
            break
        left = {limit: None if rest is None else max(0.0, rest - passed) for limit, rest in left.items()}
        assert {limit: machine.left(limit, now) for limit in limits} == left


@plain_law
@given(st.integers(4, 20).map(float), st.lists(st.tuples(st.integers(1, 10).map(lambda n: n / 4), drips)), drips)
def test_a_drip_cannot_outlive_total(total: float, drip: list[tuple[float, Seen]], rest: Seen) -> None:
    """With any trickle the attempt is over once total has passed.

    The trickle may have content and finishes of many choices.
    """
    finish, longest = 1.0, 2.5
    machine, now = at(Phase.WAITING, total=total, finish=finish), 0.0
    for gap, what in [*drip, *[(0.5, rest)] * 50]:
        now += gap
        machine.expire(now)
        machine.seen(what, now)
        assert machine.verdict is not None or now <= total + finish + longest


@plain_law
@given(limits, deadlines, moves, st.lists(st.tuples(steps, st.booleans()), min_size=1, max_size=10))
def test_an_attempt_is_killed_once_at_most(
    limits: dict[str, float | None],
    deadline_at: float | None,
    before: list[tuple[float, object]],
    looks: list[tuple[float, bool]],
) -> None:
    """The supervisor may look any number of times: the attempt is killed at most once."""
    machine, now = begun(limits, deadline_at, before)
    killed = int(machine.verdict is not None and machine.verdict.kind is VerdictKind.KILLED)
    for passed, waiting in looks:
        now += passed
        killed += machine.expire(now, waiting=waiting) is Action.KILL
    assert killed <= 1
    assert (machine.verdict is not None and machine.verdict.kind is VerdictKind.KILLED) == bool(killed)


@plain_law
@given(limits, deadlines, moves, st.booleans())
def test_an_end_wins_a_tie_with_an_expiry(
    limits: dict[str, float | None], deadline_at: float | None, before: list[tuple[float, object]], looked: bool
) -> None:
    """A terminal event at the very instant of the next expiry is a success, and so is a clean end."""
    machine, now = begun(limits, deadline_at, before)
    assume(machine.verdict is None)
    assume(machine.phase is not Phase.REFUSED)
    due = machine.next_expiry()
    assume(due is not None and due.at >= now)
    assert due is not None
    ended = copy.deepcopy(machine)
    if looked:
        assert machine.expire(due.at) is Action.NOTHING
    assert machine.seen(Seen.TERMINAL, due.at)
    assert ended.finish(due.at)
    for one in (machine, ended):
        assert one.verdict is not None
        assert one.verdict.kind is VerdictKind.DONE


@plain_law
@given(limits, moves, st.integers(1, 10**6).map(float))
def test_a_held_limit_does_not_run(
    limits: dict[str, float | None], before: list[tuple[float, object]], held: float
) -> None:
    """A hold of any length moves every expiry by that length, and nothing expires in it."""
    machine, now = begun(limits, None, before)
    assume(not machine.held)
    due, verdict = machine.next_expiry(), machine.verdict
    left = {limit: machine.left(limit, now) for limit in ATTEMPT_LIMITS}
    machine.hold(now)
    assert machine.expire(now + held) is Action.NOTHING
    machine.resume(now + held)
    assert machine.verdict is verdict
    assert expiry(machine) == (None if due is None else (due.limit, due.at + held))
    assert {limit: machine.left(limit, now + held) for limit in ATTEMPT_LIMITS} == left


@plain_law
@given(limits, deadlines, moves, moves)
def test_late_input_changes_nothing(
    limits: dict[str, float | None],
    deadline_at: float | None,
    before: list[tuple[float, object]],
    after: list[tuple[float, object]],
) -> None:
    """After a verdict no observation moves the phase, a mark or the verdict; each is counted."""
    machine, now = begun(limits, deadline_at, before)
    machine.cancel("user", now)
    verdict, phase, late, marks = machine.verdict, machine.phase, machine.late, dict(machine.marks)
    live(machine, after, now)
    assert (machine.verdict, machine.phase, machine.marks) == (verdict, phase, marks)
    assert verdict is not None
    drained = verdict.kind is VerdictKind.DONE
    assert machine.late == late + sum(
        isinstance(move, Seen) and not (drained and move is Seen.BYTE) for _, move in after
    )


# -- who runs first ----------------------------------------------------------

worker_steps = st.sampled_from([*Seen, "finish", "fail"])
_CUT = OSError("cut")


def work(machine: Machine, step: object, now: float) -> None:
    """The action of a worker at ``now``."""
    if isinstance(step, Seen):
        machine.seen(step, now)
    elif step == "finish":
        machine.finish(now)
    else:
        machine.fail(_CUT, now)


def outcome(machine: Machine) -> tuple[object, ...] | None:
    """The part of a verdict that a user sees."""
    verdict = machine.verdict
    if verdict is None:
        return None
    if verdict.kind is VerdictKind.DONE:
        return (verdict.kind,)
    return (verdict.kind, verdict.limit, verdict.seconds, verdict.elapsed, verdict.lag, verdict.phase, verdict.error)


@law
@given(limits, deadlines, moves, steps, worker_steps)
def test_the_verdict_does_not_depend_on_who_runs_first(
    limits: dict[str, float | None],
    deadline_at: float | None,
    before: list[tuple[float, object]],
    passed: float,
    step: object,
) -> None:
    """At one instant the supervisor may look before or after the worker reports, with the same verdict.

    What the worker has read lay in the kernel, so the supervisor's look finds it where it looks: ``waiting`` is true.
    """
    one, now = begun(limits, deadline_at, before)
    now += passed
    other = copy.deepcopy(one)
    one.expire(now, waiting=True)
    work(one, step, now)
    work(other, step, now)
    other.expire(now, waiting=True)
    # A second look, as the supervisor takes it when something is overdue still.
    for machine in (one, other):
        machine.expire(now, waiting=True)
    assert outcome(one) == outcome(other)


@law
@given(limits, deadlines, moves, steps, worker_steps, st.booleans())
def test_a_strict_verdict_does_not_depend_on_who_runs_first(
    limits: dict[str, float | None],
    deadline_at: float | None,
    before: list[tuple[float, object]],
    passed: float,
    step: object,
    waiting: bool,
) -> None:
    """A strict verdict depends neither on which side runs first nor on what lies in the kernel.

    The kernel counts only where a limit on reading could still be excused.
    """
    one, now = begun(limits, deadline_at, before)
    now += passed
    due = one.due(now)
    assume(due is None or not one.may_look(due))
    other = copy.deepcopy(one)
    one.expire(now, waiting=waiting)
    work(one, step, now)
    work(other, step, now)
    other.expire(now, waiting=waiting)
    assert outcome(one) == outcome(other)
