"""``llmwatch.engine.planner``: the attempts that a call has used up.

The outcome of each decision is tested too.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from llmwatch.engine.planner import History
from llmwatch.records import AttemptRecord, Decision, Recovery, Timings
from llmwatch.recovery import Facts, Plan, Reason
from llmwatch.watch.machine import VerdictKind


def attempt(number: int) -> AttemptRecord:
    return AttemptRecord(
        number=number,
        started_at=0.0,
        timings=Timings(),
        method="POST",
        url="https://h.test/",
        origin="https://h.test",
        phase="waiting",
        elapsed=1.0,
        close_reason="failed",
    )


def plan(
    decision: Decision = Decision.RETRY, *, free: bool = False, could_work: bool = True, safe: bool = True
) -> Plan:
    told = Recovery(safe=safe, decision=decision, reason="silence", message="m", action="a")
    return Plan(recovery=told, could_work=could_work, safe=safe, free=free, reason=Reason.SILENCE)


def ended(kind: VerdictKind = VerdictKind.KILLED, **facts: bool) -> Any:
    return SimpleNamespace(verdict=SimpleNamespace(kind=kind), facts=Facts(**facts))


def test_attempts_are_numbered_from_one() -> None:
    """The number is that of the attempt that comes next or runs; a free resend is not counted."""
    history = History()
    assert (history.number, history.counted) == (1, 1)
    history.attempts.append(attempt(1))
    history.resent(ended(VerdictKind.FAILED), plan(free=True))
    assert (history.number, history.counted) == (2, 1)
    history.attempts.append(attempt(2))
    history.resent(ended(VerdictKind.FAILED), plan())
    assert (history.number, history.counted, history.free_resends) == (3, 2, 1)


@pytest.mark.parametrize("content", ["text", "reasoning", "tool_input", "tool_call"])
def test_a_resend_after_content_uses_up_the_only_one(content: str) -> None:
    """Partial output of every kind counts, and does not lengthen the next limits."""
    history = History()
    history.resent(ended(**{content: True}), plan())
    assert (history.partial_resends, history.patience) == (1, 0)


@pytest.mark.parametrize(("kind", "patience"), [(VerdictKind.KILLED, 1), (VerdictKind.FAILED, 0)])
def test_patience_grows_with_kills_before_content(kind: VerdictKind, patience: int) -> None:
    """Only an attempt that a limit ended before its first content makes the next one wait longer."""
    history = History()
    history.resent(ended(kind), plan())
    assert (history.partial_resends, history.patience) == (0, patience)


@pytest.mark.parametrize(("made", "free", "left"), [(1, 0, 2), (3, 0, 0), (4, 1, 0), (2, 1, 2), (9, 0, 0)])
def test_the_attempts_left_exclude_the_free_resend(made: int, free: int, left: int) -> None:
    """The attempts left do not count the free resend, and are never negative."""
    history = History(attempts=[attempt(number) for number in range(1, made + 1)], free_resends=free)
    history.decided(plan(), 1.5, most=3, carried_out=True)
    (decision,) = history.decisions
    assert (decision.attempt, decision.budget_left, decision.wait, decision.outcome) == (made, left, 1.5, "")


@pytest.mark.parametrize(
    ("decision", "carried_out", "could_work", "safe", "recovered", "outcome"),
    [
        (Decision.RETRY, True, True, True, True, "recovered"),
        (Decision.RETRY, True, True, True, False, "failed"),
        (Decision.RETRY, False, True, True, False, "stopped"),
        (Decision.CONTINUE, False, True, False, False, "blocked"),
        (Decision.CONFIRM, False, True, False, False, "blocked"),
        (Decision.STOP, False, False, True, False, "stopped"),
        (Decision.STOP, False, False, False, False, "stopped"),
    ],
)
def test_each_decision_has_its_outcome(
    decision: Decision, carried_out: bool, could_work: bool, safe: bool, recovered: bool, outcome: str
) -> None:
    """A decision that was carried out has recovered or failed.

    A decision that was not carried out is blocked where it could have worked and was not safe; else it is stopped.
    """
    history = History(attempts=[attempt(1)])
    history.decided(plan(decision, could_work=could_work, safe=safe), None, most=3, carried_out=carried_out)
    (settled,) = history.settled(recovered=recovered)
    assert settled.outcome == outcome


def test_only_the_last_resend_recovered_the_call() -> None:
    """Earlier resends of a recovered call failed themselves."""
    history = History(attempts=[attempt(1), attempt(2)])
    for _ in range(2):
        history.decided(plan(), 0.1, most=3, carried_out=True)
    assert [one.outcome for one in history.settled(recovered=True)] == ["failed", "recovered"]


def test_a_resend_that_was_not_sent_loses_its_mark() -> None:
    """The last decision loses its mark, earlier decisions keep theirs, and none is added."""
    history = History(attempts=[attempt(1)])
    history.not_carried_out()
    assert history.decisions == []
    for _ in range(2):
        history.decided(plan(), 0.1, most=3, carried_out=True)
    history.not_carried_out()
    assert [one.carried_out for one in history.decisions] == [True, False]
