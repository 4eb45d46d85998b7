"""Snowflake's events, beside the whole answers in ``test_providers.py``."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch.errors import ProviderError, StreamTruncated
from llmwatch.wire import Collector, Decoder, Event, Kind
from tests.wire.providers import SNOWFLAKE, SNOWFLAKE_TOOLS, data, snowflake

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def read(*parts: bytes) -> tuple[list[Event], Decoder, Collector]:
    """The events of these parts, at their clean end."""
    decoder = Decoder("snowflake")
    events = [*decoder.feed(b"".join(parts)), *decoder.end()]
    collector = Collector()
    for event in events:
        collector.add(event)
    if decoder.verdict_at_end() is None:
        collector.end()
    return events, decoder, collector


def use(**piece: Any) -> dict[str, Any]:
    return {"type": "tool_use", **piece}


def test_kinds_of_a_whole_answer() -> None:
    """Text is text, a call is content, and the last event has the usage."""
    assert [event.kind for event in read(SNOWFLAKE.body)[0]] == [Kind.TEXT] * 3
    events, _, _ = read(SNOWFLAKE_TOOLS.body)
    assert [event.kind for event in events] == [
        *(Kind.TEXT, Kind.TOOL_INPUT, Kind.TOOL_INPUT, Kind.TOOL_CALL),
        Kind.USAGE,
    ]
    assert events[-1].finish


def test_the_event_that_fills_an_empty_usage_is_a_finish_mark() -> None:
    """The event that fills the usage which the others left empty is the last, whatever it says itself."""
    decoder = Decoder("snowflake")
    assert [event.finish for part in SNOWFLAKE.parts for event in decoder.feed(part)] == [False, False, True]
    assert decoder.finishing
    # Where each event has one, none of them is the last.
    decoder = Decoder("snowflake")
    decoder.feed(data({"choices": [{"delta": {"content": "Hel"}}], "usage": USAGE}))
    assert not decoder.finishing


def test_the_older_form_has_usage_everywhere() -> None:
    """Events with nothing but ``content``, and a usage each, end with the body."""
    events = [data({"choices": [{"delta": {"content": word}}], "usage": USAGE}) for word in ("Hel", "lo")]
    _, decoder, collector = read(*events)
    assert collector.text == "Hello"
    assert decoder.verdict_at_end() is None


def test_a_usage_that_stays_empty_marks_a_cut() -> None:
    """If events have an empty usage, a body that ends before the usage is filled in is truncated."""
    _, decoder, _ = read(*SNOWFLAKE.parts[:-1])
    assert isinstance(decoder.verdict_at_end(), StreamTruncated)


@pytest.mark.parametrize("name", ["message", "error"])
def test_an_error_in_mid_stream_is_raised_with_its_words(name: str) -> None:
    """An error in the middle comes out with its words, whatever its event is called."""
    error = data({"error": {"code": "390142", "message": "Incoming request does not contain a valid payload"}}, name)
    _, decoder, _ = read(SNOWFLAKE.parts[0], error)
    assert isinstance(decoder.error, ProviderError)
    assert decoder.error.code == "390142"


def test_thinking_is_reasoning() -> None:
    """Both forms of thinking that Snowflake passes on are reasoning."""
    anthropic, openai = {"thinking": {"thinking": "Let me "}}, {"reasoning": {"summary": "see."}}
    events, _, collector = read(snowflake(anthropic), snowflake(openai), snowflake({"content": "Hi"}, USAGE))
    assert [event.kind for event in events[:2]] == [Kind.REASONING, Kind.REASONING]
    assert collector.reasoning == "Let me see."


def test_calls_without_arguments_come_out_with_the_usage() -> None:
    """No event closes a call: one without arguments is whole once the usage ends the answer."""
    begun = snowflake(use(tool_use_id="t1", name="now"))
    last = snowflake({"type": "text", "content": ""}, USAGE)
    assert [call.json() for call in read(begun, last)[2].tool_calls] == [{}]
    assert read(begun)[2].tool_calls == ()


def test_a_call_with_cut_arguments_is_none() -> None:
    """Arguments that are not whole are no call, whatever follows them."""
    begun, half = snowflake(use(tool_use_id="t1", name="now")), snowflake(use(input='{"a":'))
    for last in (snowflake({"type": "text", "content": ""}, USAGE), snowflake(use(tool_use_id="t2", name="x"), USAGE)):
        _, _, collector = read(begun, half, last)
        assert collector.tool_calls == ()
        assert collector.verdict_at_end() is not None


def test_a_repeated_id_is_one_call() -> None:
    """A server that names the call with each piece means one; another id means another."""
    pieces = [use(tool_use_id="t1", name="w", input=piece) for piece in ('{"a"', ":1}")]
    other = use(tool_use_id="t2", name="w", input="{}")
    _, _, collector = read(*[snowflake(piece) for piece in (*pieces, other)], snowflake({}, USAGE))
    assert [(call.id, call.json()) for call in collector.tool_calls] == [("t1", {"a": 1}), ("t2", {})]
