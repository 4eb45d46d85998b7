"""Events, kinds and pieces."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from llmwatch.wire import Event, Kind, StreamError, ToolDelta


def test_four_kinds_are_content() -> None:
    """Text, reasoning, tool input and complete tool calls are content, and nothing else is."""
    assert [kind for kind in Kind if kind.is_content] == [Kind.TEXT, Kind.REASONING, Kind.TOOL_INPUT, Kind.TOOL_CALL]


@pytest.mark.parametrize("kind", list(Kind))
def test_kind_is_its_word(kind: Kind) -> None:
    """A kind is a plain word in text, formatting and JSON.

    It comes back from it and from pickling as itself.
    """
    assert kind == kind.value == str(kind) == f"{kind}" == kind.name.lower()
    assert json.loads(json.dumps({kind: kind})) == {kind.value: kind.value}
    assert Kind(kind.value) is kind
    assert pickle.loads(pickle.dumps(kind)) is kind
    assert copy.deepcopy(kind) is kind


def test_json_parses_data_once_on_demand() -> None:
    """``json()`` parses ``data`` once, and says so with a ValueError where it is none."""
    event = Event("message", ' {"a": [1]} ')
    assert event.json() == {"a": [1]}
    assert event.json() is event.json()
    assert Event("message", "null").json() is None
    for data in ("[DONE]", "", "{} {}", '{"a"'):
        with pytest.raises(ValueError, match="char"):
            Event("message", data).json()


def test_events_survive_pickling() -> None:
    """An event, parsed or not, is the same after pickling."""
    event = Event(
        "message", '{"a": 1}', "7", 5, Kind.ERROR, "t", "r", (ToolDelta("0"),), True, StreamError(None, None, "m")
    )
    assert pickle.loads(pickle.dumps(event)) == event
    event.json()
    again = pickle.loads(pickle.dumps(event))
    assert (again, again.json()) == (event, {"a": 1})


def test_tool_is_the_first_piece() -> None:
    """``tool`` is the first of the pieces, if there is one."""
    assert Event("message", "").tool is None
    assert Event("message", "", tools=(ToolDelta("0"), ToolDelta("1"))).tool == ToolDelta("0")


def test_repr_shows_the_kind_and_a_shortened_text() -> None:
    """A printed event names its kind and the beginning of what was said.

    It names nothing of its data and tools.
    """
    event = Event("message", "secret", kind=Kind.TEXT, text="a" * 100, tools=(ToolDelta("k", "secret"),))
    assert repr(event) == f"<Event text '{'a' * 39}…'>"
    assert repr(Event("response.done", "secret", finish=True)) == "<Event lifecycle (response.done) finish>"
    assert repr(Event("message", "", kind=Kind.REASONING, reasoning="hm", cut=True)) == "<Event reasoning 'hm' cut>"
