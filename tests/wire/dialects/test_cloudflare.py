"""Workers AI's own events."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch.errors import MalformedEvent, ProviderError, StreamTruncated
from llmwatch.wire import Collector, Decoder, Event, Kind
from tests.wire.dialects.test_openai_chat import chunk
from tests.wire.streams import sse

URL = "https://provider.example/client/v4/accounts/1/ai/run/@cf/meta/llama"
USAGE = {"response": "", "usage": {"prompt_tokens": 5, "completion_tokens": 3}}


def piece(text: str | None, **more: Any) -> dict[str, Any]:
    return {"response": text, **more}


def read(*items: Any, url: str = URL) -> tuple[list[Event], Decoder]:
    """The events at their clean end."""
    decoder = Decoder(url=url, content_type="text/event-stream")
    return [*decoder.feed(sse(*items)), *decoder.end()], decoder


def test_kinds_of_a_whole_answer() -> None:
    """Pieces are text, usage alone is the finish mark, and ``[DONE]`` the end mark."""
    events, decoder = read(piece("a", p="x"), piece("", p="x"), piece("b"), USAGE, "[DONE]")
    assert [event.kind for event in events] == [Kind.TEXT, Kind.KEEPALIVE, Kind.TEXT, Kind.USAGE, Kind.TERMINAL]
    assert (decoder.dialect, decoder.settled, decoder.output_tokens) == ("cloudflare", True, 3)


def test_an_end_mark_alone_waits_for_the_end_of_the_body() -> None:
    """Older models send no usage."""
    _, decoder = read(piece("a"), "[DONE]")
    assert (decoder.terminal, decoder.settled, decoder.verdict_at_end()) == (True, False, None)


@pytest.mark.parametrize(
    "items", [(piece("a"),), (piece("a", usage=USAGE["usage"]),), (USAGE, piece("a")), (USAGE,), (piece(""),)]
)
def test_without_marks_an_answer_is_cut(items: tuple[Any, ...]) -> None:
    """Usage beside a piece or in front of it is no finish mark."""
    assert isinstance(read(*items)[1].verdict_at_end(), StreamTruncated)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ({"name": "w", "arguments": {"x": 1}}, {"x": 1}),
        ({"name": "w", "arguments": {}}, {}),
        ({"name": "w", "arguments": ""}, {}),
        ({"id": "c", "type": "function", "function": {"name": "w", "arguments": '{"x": 1}'}}, {"x": 1}),
    ],
)
def test_a_call_is_whole_with_its_event(call: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Flat, or as OpenAI has it."""
    collector = Collector()
    events, decoder = read(piece(None, tool_calls=[call]), USAGE, "[DONE]")
    for event in events:
        collector.add(event)
    assert [(found.name, found.json()) for found in collector.tool_calls] == [("w", arguments)]
    assert decoder.settled


@pytest.mark.parametrize("call", [{"name": "w", "arguments": '{"x"'}, {"arguments": {"x": 1}}, {}])
def test_a_call_without_a_name_or_with_half_its_arguments_is_none(call: dict[str, Any]) -> None:
    """Such a call is not delivered."""
    collector = Collector()
    for event in read(piece(None, tool_calls=[call]), USAGE, "[DONE]")[0]:
        collector.add(event)
    assert (collector.tool_calls, collector.discarded_calls) == ((), 1)


@pytest.mark.parametrize("calls", [{"name": "w"}, ["w"], 3])
def test_a_call_of_unknown_form_is_not_skipped(calls: Any) -> None:
    """An unknown value in place of calls makes the event malformed."""
    assert isinstance(read(piece("a"), piece(None, tool_calls=calls))[1].error, MalformedEvent)


def test_an_error_of_cloudflares_form_is_raised() -> None:
    """In the form that all of Cloudflare's interfaces have."""
    _, decoder = read(piece("a"), {"success": False, "errors": [{"code": 3040, "message": "no capacity"}]})
    assert isinstance(decoder.error, ProviderError)
    assert "no capacity" in str(decoder.error)


def test_the_padding_field_identifies_workers_ai() -> None:
    """A field ``response`` alone identifies no dialect.

    At the address another dialect's first event decides.
    """
    elsewhere = "https://provider.example/answers"
    assert read(piece("a", p="x"), url=elsewhere)[1].dialect == "cloudflare"
    assert read(piece("a"), url=elsewhere)[1].dialect == "generic"
    assert read(chunk({"content": "a"}))[1].dialect == "openai-chat"
