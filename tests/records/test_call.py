"""The record of a call."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from llmwatch.records import CallRecord
from llmwatch.records.call import CALL_SCHEMA
from tests.records.making import attempt, call, calls
from tests.rows import each


@given(calls)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_a_call_round_trips_through_json_pickle_and_copy(record: CallRecord) -> None:
    """A call comes back equal from strict JSON, from pickle and from a deep copy."""
    assert CallRecord.from_json(record.to_json()) == record
    assert CallRecord.from_dict(json.loads(record.to_json())) == CallRecord.from_dict(record.to_dict()) == record
    assert pickle.loads(pickle.dumps(record)) == record
    assert copy.deepcopy(record) == record


def test_every_field_is_in_the_json_and_documented() -> None:
    """No field is forgotten, neither on the way out nor in the docstring."""
    names = [field.name for field in dataclasses.fields(CallRecord)]
    assert list(call().to_dict()) == names
    for name in names:
        assert f"``{name}``" in (CallRecord.__doc__ or ""), name


def test_a_call_is_frozen_slotted_and_hashable() -> None:
    """A record that others hold too cannot be changed, and lists that were passed in are tuples."""
    record = call(attempts=[attempt()], decisions=[])
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.outcome = "done"  # type: ignore[misc]
    assert not hasattr(record, "__dict__")
    assert record.attempts == (attempt(),)
    assert record.decisions == ()
    assert hash(record) == hash(call(attempts=(attempt(),), decisions=()))


@pytest.mark.parametrize(
    ("changed", "incident"),
    [
        ({}, True),
        ({"outcome": "failed", "attempts": ()}, True),
        ({"outcome": "failed", "attempts": (attempt(),)}, True),
        ({"outcome": "done", "attempts": (attempt(cause=None),)}, False),
        ({"outcome": "cancelled", "attempts": (attempt(cause="user_cancel"),)}, False),
        ({"outcome": "cancelled", "attempts": (attempt(), attempt(cause="user_cancel"))}, True),
        ({"outcome": "cancelled", "attempts": ()}, False),
    ],
)
def test_a_call_with_a_failed_attempt_is_an_incident(changed: dict[str, Any], incident: bool) -> None:
    """Recovered or not; a failed call without attempts is one too."""
    assert call(**changed).incident is incident


def test_cut_evidence_makes_the_diagnostics_incomplete() -> None:
    """Diagnostics are not complete once evidence of any attempt had to be left out."""
    assert call().diagnostics_complete
    assert not call(diagnostics_complete=False).diagnostics_complete
    assert not call(attempts=(attempt(evidence={"colour": "red"}),)).diagnostics_complete


@pytest.mark.parametrize(
    "changed",
    [
        {"outcome": "so so"},
        {"cause": "bad luck"},
        {"schema": 0},
        {"limits": {"ttfb": 45}},
        {"attempts": [{}]},
        {"attempts": {}},
        {"decisions": [None]},
        {"call_id": None},
    ],
)
def test_a_damaged_call_is_a_value_error(changed: dict[str, Any]) -> None:
    """Reading a damaged line raises ValueError and nothing else."""
    with pytest.raises(ValueError):  # noqa: PT011 (which field it names is the reader's business)
        CallRecord.from_dict({**call().to_dict(), **changed})


@pytest.mark.parametrize("schema", [1, 2])
def test_a_call_of_an_older_schema_is_translated(schema: int) -> None:
    """The old field ``door`` becomes the entry point, and the record has the newest schema."""
    plain = call(entry_point="session").to_dict()
    plain["door"] = plain.pop("entry_point")
    found = CallRecord.from_dict({**plain, "schema": schema})
    assert found == call(entry_point="session")
    assert found.schema == CALL_SCHEMA


def test_the_text_of_a_record_is_one_line_of_ascii() -> None:
    """A record is one line of the log with any content, and bytes are read like text."""
    record = call(entry_point="Tür\n\u2028\ud800")
    text = record.to_json()
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == record.to_dict()
    assert CallRecord.from_json(text.encode()) == record


@each("record", [call(), attempt(), attempt().timings, call().decisions[0]])
def test_attempt_and_call_round_trip_through_text_and_dictionary(record: Any) -> None:
    """Each of the two comes back as it was, and is not taken for the other."""
    kind = type(record)
    assert kind.from_json(record.to_json()) == kind.from_dict(record.to_dict()) == record
    with pytest.raises(TypeError, match="from_dict takes a dictionary"):
        kind.from_json(record.to_dict())
    with pytest.raises(ValueError, match="expected a JSON object, got str"):
        kind.from_dict(record.to_json())


@each("text", ["", "{", "[]", "3", b"\xff", "[" * 100_000, "NaN", '{"schema": 2}'])
def test_text_that_is_no_record_is_a_value_error(text: str | bytes) -> None:
    """Half a line, other JSON and text that is not JSON are refused alike."""
    with pytest.raises(ValueError):  # noqa: PT011 (what it says is the reader's business)
        CallRecord.from_json(text)


@pytest.mark.parametrize("source", [None, [], "line", 3, {}])
def test_json_of_another_shape_is_a_value_error(source: object) -> None:
    """JSON that is something else altogether is refused too."""
    with pytest.raises(ValueError):  # noqa: PT011 (which field it names is the reader's business)
        CallRecord.from_dict(source)


def test_model_and_status_are_those_of_the_last_attempt() -> None:
    """A resend may ask another model; a call without an attempt has neither."""
    record = call(attempts=(attempt(model="one", status=503), attempt(model="two", status=200)))
    assert (record.model, record.status) == ("two", 200)
    assert (call().model, call().status) == (None, None)
    assert (call(attempts=()).model, call(attempts=()).status) == (None, None)
