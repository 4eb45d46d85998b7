"""The record of an attempt."""

from __future__ import annotations

import dataclasses
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings

from llmwatch.records import PHASES, AttemptRecord, Timings
from llmwatch.records.attempt import ATTEMPT_SCHEMA
from llmwatch.records.frozen import FrozenMap
from tests.records.making import attempt, attempts
from tests.rows import each


@given(attempts)
@settings(deadline=None)
def test_an_attempt_round_trips_through_json_and_pickle(record: AttemptRecord) -> None:
    """An attempt comes back equal from strict JSON and from pickle."""
    assert AttemptRecord.from_json(record.to_json()) == record
    assert pickle.loads(pickle.dumps(record)) == record


def test_every_field_of_an_attempt_is_in_the_json() -> None:
    """No field is forgotten on the way out, timings included."""
    plain = attempt().to_dict()
    assert list(plain) == [field.name for field in dataclasses.fields(AttemptRecord)]
    assert list(plain["timings"]) == [field.name for field in dataclasses.fields(Timings)]
    assert plain["schema"] == 3


@pytest.mark.parametrize("record", [AttemptRecord, Timings])
def test_every_field_of_an_attempt_is_documented(record: type) -> None:
    """Each field stands in its class's docstring by name."""
    for field in dataclasses.fields(record):
        assert f"``{field.name}``" in (record.__doc__ or ""), field.name


def test_an_attempt_is_frozen_slotted_and_hashable() -> None:
    """A record that others hold too cannot be changed, its mappings included."""
    record = attempt(events={"text": 1})
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.number = 2  # type: ignore[misc]
    assert not hasattr(record, "__dict__")
    assert isinstance(record.events, FrozenMap)
    assert hash(record) == hash(attempt(events={"text": 1}))


def test_a_record_strips_its_url_and_scrubs_its_texts() -> None:
    """The constructor does it, whichever code builds the record."""
    key = "sk-ant-" + "a1B2c3D4" * 6
    record = attempt(
        url=f"https://bob:{key}@api.example.com/v1?key={key}#{key}",
        origin=f"https://bob:{key}@api.example.com",
        request_id=key,
        message=f"Incorrect API key provided: {key}",
        evidence={"error_text": f"Authorization: Bearer {key}", "headers": {"x-api-key": key}},
    )
    assert key not in json.dumps(record.to_dict())
    assert record.url == "https://api.example.com/v1?key=***"
    assert record.origin == "https://api.example.com"


@pytest.mark.parametrize(
    ("cause", "failed"),
    [
        (None, False),
        ("user_cancel", False),
        ("lifecycle_close", False),
        ("watchdog_timeout", True),
        ("setup_failure", True),
        ("unknown", True),
    ],
)
def test_an_attempt_with_a_cause_other_than_cancelled_has_failed(cause: str | None, failed: bool) -> None:
    """Being cancelled is no failure, anything else with a cause is one."""
    assert attempt(cause=cause).failed is failed


@pytest.mark.parametrize(
    "changed",
    [
        {"cause": "bad luck"},
        {"events": {"text": "3"}},
        {"schema": 4},
        {"timings": {"sent": "now"}},
        {"timings": None},
        {"url": None},
        {"elapsed": float("inf")},
        {"evidence": []},
    ],
)
def test_a_damaged_attempt_is_a_value_error(changed: dict[str, Any]) -> None:
    """Reading a damaged line raises ValueError and nothing else."""
    with pytest.raises(ValueError):  # noqa: PT011 (which field it names is the reader's business)
        AttemptRecord.from_dict({**attempt().to_dict(), **changed})


OLD_PHASES = {
    "": "",
    "idle": "idle",
    "connecting": "connecting",
    "sending": "sending",
    "sent": "waiting",
    "headed": "headers",
    "talking": "body",
    "opened": "events",
    "generating": "content",
    "finishing": "finishing",
    "ending": "finishing",
    "refused": "refused",
    "draining": "draining",
}


@each(("old", "new"), OLD_PHASES.items())
def test_a_record_of_schema_1_is_translated(old: str, new: str) -> None:
    """Its phase has the name of today, all else is as it was, and it is a record of the newest schema."""
    plain = attempt(tool_exposure={"caller": 2}).to_dict()
    plain["tool_boundary"] = plain.pop("tool_exposure")
    found = AttemptRecord.from_dict({**plain, "schema": 1, "phase": old})
    assert found == attempt(phase=new, tool_exposure={"caller": 2})
    assert found.schema == ATTEMPT_SCHEMA == 3
    assert new in (*PHASES, "")


def test_a_record_of_schema_2_is_translated() -> None:
    """The old field ``tool_boundary`` becomes the tool exposure, and the phase stays."""
    plain = attempt(phase="waiting", tool_exposure={"caller": 2}).to_dict()
    plain["tool_boundary"] = plain.pop("tool_exposure")
    assert AttemptRecord.from_dict({**plain, "schema": 2}) == attempt(phase="waiting", tool_exposure={"caller": 2})


def test_a_record_of_the_newest_schema_is_not_translated() -> None:
    """A phase that the newest schema does not know stays as it was written."""
    assert AttemptRecord.from_dict({**attempt().to_dict(), "phase": "sent"}).phase == "sent"


def test_unknown_fields_are_ignored() -> None:
    """Optional fields may be missing, too."""
    plain = attempt().to_dict()
    assert AttemptRecord.from_dict({**plain, "colour": "red"}) == attempt()
    del plain["comments"], plain["kill_lag"], plain["evidence"]
    assert AttemptRecord.from_dict(plain) == attempt()


def test_a_model_of_another_form_is_dropped() -> None:
    """The constructor does it; a log of before has no model."""
    assert attempt(model="gpt-x").model == "gpt-x"
    assert attempt(model="tell me a secret").model == attempt(model="m" * 65).model is None
    plain = attempt(model="gpt-x").to_dict()
    assert AttemptRecord.from_dict(plain) == attempt(model="gpt-x")
    del plain["model"]
    assert AttemptRecord.from_dict(plain) == attempt()
