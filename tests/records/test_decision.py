"""The record of a decision."""

from __future__ import annotations

import dataclasses
import json
import pickle

import pytest
from hypothesis import given, settings

from llmwatch.records import Decision, DecisionRecord, Recovery
from tests.records.making import decisions


@given(decisions)
@settings(deadline=None)
def test_a_decision_round_trips_through_json_and_pickle(record: DecisionRecord) -> None:
    """A decision comes back equal from JSON and from pickle."""
    assert DecisionRecord.from_json(record.to_json()) == record
    assert pickle.loads(pickle.dumps(record)) == record


def test_every_field_of_a_decision_is_in_the_json() -> None:
    """No field is forgotten on the way out."""
    record = DecisionRecord(attempt=1, decision=Decision.STOP, reason="deadline", could_work=False, safe=True)
    assert list(record.to_dict()) == [field.name for field in dataclasses.fields(DecisionRecord)]


@pytest.mark.parametrize("changed", [{"decision": "perhaps"}, {"outcome": "so so"}, {"safe": None}, {"attempt": "1"}])
def test_a_damaged_decision_is_a_value_error(changed: dict[str, object]) -> None:
    """Values outside the closed lists and of the wrong kind are refused."""
    good = DecisionRecord(attempt=1, decision=Decision.STOP, reason="deadline", could_work=False, safe=True).to_dict()
    with pytest.raises(ValueError):  # noqa: PT011 (which field it names is the reader's business)
        DecisionRecord.from_dict({**good, **changed})


def test_a_decision_reads_as_its_word() -> None:
    """In text, in JSON and in comparison a decision is the plain word, on every version of Python."""
    assert f"{Decision.RETRY} {Decision.CONFIRM!s}" == "retry confirm"
    assert json.dumps(Decision.STOP) == '"stop"'
    assert Decision.CONTINUE == "continue"


def test_a_recovery_is_frozen_and_pickles() -> None:
    """A recovery is pickled together with its error."""
    recovery = Recovery(safe=True, decision=Decision.STOP, reason="deadline", message="m", action="a")
    assert pickle.loads(pickle.dumps(recovery)) == recovery
    with pytest.raises(dataclasses.FrozenInstanceError):
        recovery.reason = "silence"  # type: ignore[misc]
