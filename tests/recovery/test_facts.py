"""Facts of an attempt."""

from __future__ import annotations

import dataclasses
import json
import pickle

import pytest

from llmwatch.recovery import Facts, Sent
from tests.recovery.making import TEXT


def test_its_json_has_every_field_but_the_tools() -> None:
    """The tool exposure has a field of its own in the record; everything else is there, as plain values."""
    names = [field.name for field in dataclasses.fields(Facts) if field.name != "tools"]
    plain = TEXT.to_dict()
    assert list(plain) == names
    assert json.loads(json.dumps(plain)) == plain
    assert type(plain["sent"]) is str


def test_every_field_is_documented() -> None:
    """Each stands in the docstring by name."""
    for field in dataclasses.fields(Facts):
        assert f"``{field.name}``" in (Facts.__doc__ or ""), field.name


def test_missing_facts_are_unknown() -> None:
    """Facts that are not given count as unknown where that matters."""
    blank = Facts()
    assert blank.sent is Sent.UNKNOWN
    for name in ("terminal", "socket_reused", "since_sent", "tools", "replayable"):
        assert getattr(blank, name) is None


@pytest.mark.parametrize("name", ["text", "reasoning", "tool_input", "tool_call"])
def test_text_reasoning_tools_and_calls_are_content(name: str) -> None:
    """Each of the four is content, and content is an answer."""
    assert Facts(**{name: True}).content
    assert Facts(**{name: True}).answered
    assert not Facts().content


@pytest.mark.parametrize("came", [{"headers": True}, {"first_byte": True}, {"first_event": True}, {"bytes": 1}])
def test_any_byte_of_a_response_is_an_answer(came: dict[str, object]) -> None:
    """Anything of a response counts as an answer, none of this as content."""
    assert Facts(**came).answered  # type: ignore[arg-type]
    assert not Facts(**came).content  # type: ignore[arg-type]
    assert not Facts().answered


def test_facts_are_frozen_and_pickle() -> None:
    """Facts are values."""
    assert pickle.loads(pickle.dumps(TEXT)) == TEXT
    with pytest.raises(dataclasses.FrozenInstanceError):
        TEXT.sent = Sent.NO  # type: ignore[misc]
