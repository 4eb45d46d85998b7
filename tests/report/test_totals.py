"""The numbers of a log, against calls whose times are known."""

from __future__ import annotations

import pytest

from llmwatch.policy import LIMITS
from llmwatch.records import CAUSES, CallRecord
from llmwatch.records.attempt import CAUSE_VERBS
from llmwatch.report.lost import losses_of, words_of
from llmwatch.report.totals import CLIENT_TIMEOUT, Totals
from tests.report.making import ORIGIN, START, answered, hung, refused


def totals(*records: CallRecord) -> Totals:
    """The totals of these calls."""
    made = Totals()
    for record in records:
        made.add(record)
    return made


def test_calls_are_counted_by_outcome_and_by_name() -> None:
    """Each value has its calls of each outcome, those with most calls first; unknown is a value."""
    made = totals(
        answered(1, label="a"), answered(2, model="other"), hung(3, label="a"), hung(4, answers=False), refused(5)
    )
    assert (made.calls, dict(made.outcomes)) == (5, {"done": 2, "recovered": 1, "failed": 2})
    assert made.rows("model") == [("m", (1, 1, 2, 0)), ("other", (1, 0, 0, 0))]
    assert made.rows("label") == [(None, (1, 0, 2, 0)), ("a", (1, 1, 0, 0))]
    assert made.rows("status") == [(200, (2, 1, 0, 0)), (503, (0, 0, 1, 0)), (None, (0, 0, 1, 0))]
    assert made.rows("process") == [(7, (2, 1, 2, 0))]
    assert made.rows("origin") == [(ORIGIN, (2, 1, 2, 0))]
    assert made.rows("entry point") == [("stream", (2, 1, 2, 0))]


def test_lost_attempts_are_counted_by_kind_with_their_calls() -> None:
    """A call that lost two attempts of a kind counts once; the cost runs to the next attempt or the end."""
    made = totals(hung(1, 10.0), hung(2, 40.0, answers=False), refused(3, 5.0), answered(4))
    assert made.kinds == [(ORIGIN, "m", "ttfb", None), (ORIGIN, "m", "503", 503)]
    silent, error = (made.lost[key] for key in made.kinds)
    assert (silent.attempts, silent.calls, silent.outcomes["recovered"], silent.outcomes["failed"]) == (3, 2, 1, 1)
    assert silent.seconds == pytest.approx(2.5 + 2.5 + 2.1)
    assert (silent.first, silent.last) == (START + 10, START + 42.5)
    assert (dict(silent.phases), silent.hang) == ({"waiting": 3}, True)
    assert (error.attempts, error.calls, error.hang) == (1, 1, False)
    assert error.seconds == pytest.approx(0.3)


def test_what_recovery_saved() -> None:
    """A recovered call waited until its last attempt began; hangs count against a client's wait."""
    made = totals(hung(1), hung(2, answers=False), refused(3), answered(4))
    assert made.waits == pytest.approx([2.5])
    assert made.saved == pytest.approx(3 * (CLIENT_TIMEOUT - 2.1))


def test_the_span_is_that_of_the_calls() -> None:
    """From the first start to the last end."""
    made = totals(answered(1, 50.0), hung(2, 40.0, answers=False, elapsed=30.0), answered(3, 3.0))
    assert (made.first, made.last) == (START + 3, START + 70)


def test_a_call_that_failed_before_any_attempt_is_a_loss() -> None:
    """It has its cause and no attempt; a cancelled call is no loss."""
    early = CallRecord(
        call_id="1", started_at=1.0, method="POST", url=ORIGIN, origin=ORIGIN, outcome="failed", cause="setup_failure"
    )
    (loss,) = losses_of(early)
    assert (loss.why, loss.number, loss.model, loss.hang) == ("setup_failure", None, None, False)
    cancelled = answered(2, outcome="cancelled", cause="user_cancel")
    assert list(losses_of(cancelled)) == []


def test_each_loss_has_words() -> None:
    """A limit, a status and a cause are the verb of a sentence, unknown ones too."""
    assert set(CAUSE_VERBS) == set(CAUSES)
    assert len({words_of(name) for name in LIMITS}) == len(LIMITS)
    assert words_of("ttfb") == "was silent before its first byte"
    assert words_of("429") == "answered 429"
    assert words_of("transport_disconnect") == "lost the connection"
    assert words_of("of_tomorrow") == "failed by of_tomorrow"
