"""Cohere's events, beside the whole answers in ``test_providers.py``."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch.errors import ProviderError
from llmwatch.wire import Collector, Decoder, Event, Kind
from tests.wire.providers import COHERE, COHERE_V1_TOOLS, line, typed

START = typed("message-start", id="m", delta={"message": {"role": "assistant"}})
URL = "https://api.cohere.example/v2/chat"


def read(*parts: bytes, lines: bool = False) -> tuple[list[Event], Decoder, Collector]:
    """The events of these parts, at their clean end."""
    decoder = Decoder("cohere", content_type="application/stream+json" if lines else "text/event-stream")
    events = [*decoder.feed(b"".join(parts)), *decoder.end()]
    collector = Collector()
    for event in events:
        collector.add(event)
    return events, decoder, collector


def end(reason: str, **more: Any) -> bytes:
    return typed("message-end", id="m", delta={"finish_reason": reason, **more})


def start_of_call(index: int = 0) -> bytes:
    call = {"id": f"c{index}", "type": "function", "function": {"name": "weather", "arguments": ""}}
    return typed("tool-call-start", index=index, delta={"message": {"tool_calls": call}})


def piece_of_call(arguments: Any, index: int = 0) -> bytes:
    delta = {"message": {"tool_calls": {"function": {"arguments": arguments}}}}
    return typed("tool-call-delta", index=index, delta=delta)


def test_kinds_of_a_whole_answer() -> None:
    """Each event counts as what it is.

    Thinking and text are content, beginnings and ends of blocks are not.
    """
    events, decoder, _ = read(COHERE.body)
    assert [event.kind for event in events] == [
        Kind.LIFECYCLE,
        *(Kind.LIFECYCLE, Kind.REASONING, Kind.REASONING, Kind.LIFECYCLE),
        *(Kind.LIFECYCLE, Kind.TEXT, Kind.TEXT, Kind.TEXT, Kind.LIFECYCLE),
        *(Kind.TEXT, Kind.LIFECYCLE),
        Kind.TERMINAL,
    ]
    assert events[-1].finish
    assert decoder.terminal
    assert decoder.settled


def test_content_in_the_start_of_a_block_is_content() -> None:
    """A block may begin with its first words."""
    begun = typed("content-start", index=0, delta={"message": {"content": {"type": "text", "text": "Hel"}}})
    more = typed("content-delta", index=0, delta={"message": {"content": {"text": "lo"}}})
    assert read(START, begun, more, end("COMPLETE"))[2].text == "Hello"


@pytest.mark.parametrize("reason", ["MAX_TOKENS", "ERROR_LIMIT", "ERROR_TOXIC", "USER_CANCEL"])
def test_a_limit_a_filter_or_a_cancellation_cuts_an_answer(reason: str) -> None:
    """Limits, filters and a cancellation end an answer before it is whole."""
    events, decoder, _ = read(START, end(reason))
    assert (events[-1].kind, events[-1].cut, decoder.verdict_at_end()) == (Kind.TERMINAL, True, None)


@pytest.mark.parametrize(
    ("delta", "words"),
    [
        ({"finish_reason": "ERROR", "error": "the model crashed"}, "the model crashed"),
        ({"finish_reason": "ERROR"}, "finish_reason ERROR"),
        ({"finish_reason": "TIMEOUT"}, "finish_reason TIMEOUT"),
    ],
)
def test_a_failure_at_the_end_is_an_error(delta: dict[str, Any], words: str) -> None:
    """An answer that ended with an error is a ``ProviderError`` with the provider's words."""
    _, decoder, collector = read(START, typed("message-end", id="m", delta=delta))
    assert isinstance(decoder.error, ProviderError)
    assert words in str(decoder.error)
    assert not collector.ended


def test_a_message_without_a_type_is_an_error() -> None:
    """The body of an HTTP error, sent as an event, is no answer."""
    _, decoder, _ = read(START, b'data: {"id":"x","message":"internal server error"}\n\n')
    assert isinstance(decoder.error, ProviderError)
    assert "internal server error" in str(decoder.error)


def test_a_call_needs_its_end() -> None:
    """A call whose end did not come is none, with arguments or without; one that was closed takes none."""
    _, _, collector = read(START, start_of_call(), piece_of_call('{"a":1}'), end("MAX_TOKENS"))
    assert collector.tool_calls == ()
    _, _, collector = read(START, start_of_call(), end("TOOL_CALL"))
    assert collector.tool_calls == ()
    closed = typed("tool-call-end", index=0)
    _, _, collector = read(START, start_of_call(), closed, end("TOOL_CALL"))
    assert [call.json() for call in collector.tool_calls] == [{}]
    _, _, collector = read(START, start_of_call(), piece_of_call('{"a":'), closed, end("TOOL_CALL"))
    assert collector.tool_calls == ()
    assert collector.verdict_at_end() is not None


def test_a_call_of_unknown_form_is_not_skipped() -> None:
    """An unknown value in place of a piece of a call makes the event malformed."""
    _, decoder, _ = read(START, typed("tool-call-delta", index=0, delta={"message": {"tool_calls": ["x"]}}))
    assert type(decoder.error).__name__ == "MalformedEvent"


def test_pings_and_unknown_types_carry_nothing() -> None:
    """A ping is a keep-alive, and a type that is not known no content."""
    events, decoder, _ = read(START, typed("ping"), typed("debug", prompt="x"))
    assert [event.kind for event in events[1:]] == [Kind.KEEPALIVE, Kind.LIFECYCLE]
    assert decoder.error is None


def test_the_last_line_adds_only_missing_text() -> None:
    """The whole at the end is said once, however much of it came before; a contradiction adds nothing."""
    said = line({"event_type": "text-generation", "is_finished": False, "text": "Hel"})
    for text, whole in (("Hello", "Hello"), ("Hel", "Hel"), ("Hel", "Bye")):
        response = {"text": whole, "finish_reason": "COMPLETE"}
        last = line({"event_type": "stream-end", "is_finished": True, "response": response})
        _, decoder, collector = read(said, last, lines=True)
        assert collector.text == text
        assert decoder.settled


def test_calls_of_the_last_line_alone_are_whole() -> None:
    """Calls that only the last line has are taken from it; calls that came before come once."""
    calls = [{"name": "weather", "parameters": {"city": "Malmö"}}, {"name": "now", "parameters": {}}]
    last = line({"event_type": "stream-end", "is_finished": True, "response": {"tool_calls": calls}})
    _, _, collector = read(last, lines=True)
    assert [(call.name, call.json()) for call in collector.tool_calls] == [
        ("weather", {"city": "Malmö"}),
        ("now", {}),
    ]
    _, _, collector = read(COHERE_V1_TOOLS.body, lines=True)
    assert len(collector.tool_calls) == 1


def test_a_call_in_pieces_without_its_whole_is_none() -> None:
    """Without the line with the whole calls, the pieces make no call."""
    parts = COHERE_V1_TOOLS.parts
    last = line({"event_type": "stream-end", "is_finished": True, "finish_reason": "MAX_TOKENS"})
    _, _, collector = read(*parts[:5], last, lines=True)
    assert collector.ended
    assert collector.tool_calls == ()


@pytest.mark.parametrize("name", ["cohere", "auto"])
def test_an_error_line_is_an_error(name: str) -> None:
    """An end that names an error is a ``ProviderError``, also in lines."""
    decoder = Decoder(name, content_type="application/stream+json")
    decoder.feed(line({"event_type": "stream-end", "is_finished": True, "finish_reason": "ERROR", "error": "bang"}))
    assert isinstance(decoder.error, ProviderError)
    assert "bang" in str(decoder.error)
