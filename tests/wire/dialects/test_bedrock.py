"""Bedrock's frames, beside the whole answers in ``test_providers.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch.errors import EventTooLarge, MalformedEvent, NotAStream, ProviderError, StreamTruncated
from llmwatch.wire import Collector, Decoder, Event, Kind
from tests.wire.frames import chunk_frame, error_frame, event_frame, exception_frame, frame_of
from tests.wire.providers import (
    BEDROCK,
    BEDROCK_MESSAGES,
    CONVERSE_METADATA,
    CONVERSE_START,
    FRAMES,
    converse,
    converse_end,
    converse_start,
    converse_stop,
)

METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 3}}


def read(*parts: bytes, dialect: str = "auto") -> tuple[list[Event], Decoder, Collector]:
    """The events of these frames, at their clean end."""
    decoder = Decoder(dialect, content_type=FRAMES)
    events = [*decoder.feed(b"".join(parts)), *decoder.end()]
    collector = Collector()
    for event in events:
        collector.add(event)
    if decoder.verdict_at_end() is None:
        collector.end()
    return events, decoder, collector


def test_kinds_of_a_whole_answer() -> None:
    """Each frame counts as what it is.

    The reason is the finish mark, and the usage behind it the end mark.
    """
    events, decoder, _ = read(BEDROCK.body)
    assert [event.kind for event in events] == [
        Kind.LIFECYCLE,
        *(Kind.REASONING, Kind.REASONING, Kind.REASONING, Kind.LIFECYCLE),
        *(Kind.TEXT, Kind.TEXT, Kind.TEXT, Kind.LIFECYCLE),
        Kind.LIFECYCLE,
        Kind.TERMINAL,
    ]
    assert [event.finish for event in events].index(True) == len(events) - 2
    assert decoder.settled
    assert events[-1].usage == BEDROCK.usage


def test_a_clean_end_behind_the_reason_is_the_end() -> None:
    """The answer is whole without the usage too, and never without the reason."""
    _, decoder, collector = read(CONVERSE_START, converse({"text": "Hi"}), converse_stop(), converse_end("end_turn"))
    assert decoder.verdict_at_end() is None
    assert collector.text == "Hi"
    _, decoder, _ = read(CONVERSE_START, converse({"text": "Hi"}), converse_stop(), CONVERSE_METADATA)
    assert isinstance(decoder.verdict_at_end(), StreamTruncated)


@pytest.mark.parametrize("reason", ["max_tokens", "guardrail_intervened", "content_filtered", "malformed_tool_use"])
def test_a_limit_or_a_filter_cuts_an_answer(reason: str) -> None:
    """Limits and filters end an answer before it is whole, and a call without input is then none."""
    call = converse_start({"toolUse": {"toolUseId": "t", "name": "now"}}, 0)
    events, _, collector = read(CONVERSE_START, call, converse_stop(), converse_end(reason))
    assert events[-1].cut
    assert collector.tool_calls == ()


def test_a_call_needs_its_stop_and_whole_input() -> None:
    """A call that was cut is never delivered, with any reason."""
    call = converse_start({"toolUse": {"toolUseId": "t", "name": "now"}}, 0)
    half = converse({"toolUse": {"input": '{"a":'}})
    for parts in ((call, half), (call, half, converse_stop()), (call,)):
        _, _, collector = read(CONVERSE_START, *parts, converse_end("tool_use"))
        assert collector.tool_calls == ()
        assert collector.discarded_calls == 1
    _, _, collector = read(CONVERSE_START, call, converse_stop(), converse_end("tool_use"))
    assert [call.json() for call in collector.tool_calls] == [{}]


@pytest.mark.parametrize(
    ("delta", "kind"),
    [
        ({"text": ""}, Kind.KEEPALIVE),
        ({"toolUse": {"input": ""}}, Kind.KEEPALIVE),
        ({"reasoningContent": {"redactedContent": "AAAA"}}, Kind.REASONING),
        ({"reasoningContent": {"text": ""}}, Kind.KEEPALIVE),
        ({"citation": {"title": "A page"}}, Kind.TEXT),
        ({"image": {"source": {"bytes": "AAAA"}}}, Kind.TEXT),
        ({}, Kind.KEEPALIVE),
        ({"novel": "said"}, Kind.TEXT),
        ({"novel": [{"deep": "said"}]}, Kind.TEXT),
        ({"novel": 7, "other": True, "more": {"deep": " "}, "none": None}, Kind.KEEPALIVE),
    ],
)
def test_only_deltas_with_content_are_progress(delta: dict[str, Any], kind: Kind) -> None:
    """Empty deltas are keep-alives however much padding they have.

    What is not text is content all the same.
    """
    events, _, _ = read(CONVERSE_START, converse(delta))
    assert events[-1].kind is kind


@pytest.mark.parametrize("given", [("", ""), ('{"x":1}', ""), ("", '{"x":1}'), ('{"x":1}', '{"x":1}')])
def test_blocks_that_are_all_numbered_alike_are_calls_apart(given: tuple[str, str]) -> None:
    """Each has its own id, name and input, in the order in which they were begun.

    One that is cut is none.
    """
    parts = []
    for name, text in zip("wv", given, strict=True):
        parts += [converse_start({"toolUse": {"toolUseId": name, "name": name}}, 0)]
        parts += [converse({"toolUse": {"input": text}}), converse_stop()]
    _, _, collector = read(*parts, converse_end("tool_use"), CONVERSE_METADATA)
    assert [(call.id, call.name, call.arguments) for call in collector.tool_calls] == [
        (name, name, text or "{}") for name, text in zip("wv", given, strict=True)
    ]
    assert collector.discarded_calls == 0
    _, _, collector = read(*parts[:-1], converse_end("max_tokens"), CONVERSE_METADATA)
    assert not [call for call in collector.tool_calls if call.name == "v"]


def test_a_tool_of_the_providers_is_no_call() -> None:
    """A tool that Bedrock runs is noted where it may have side effects, and never handed out as a call."""
    use = {"toolUse": {"toolUseId": "t", "name": "nova_grounding", "type": "server_tool_use"}}
    result = converse({"toolUse": {"input": "{}"}})
    _, decoder, collector = read(CONVERSE_START, converse_start(use, 0), result, converse_stop(), converse_end("x"))
    assert collector.tool_calls == ()
    assert collector.discarded_calls == 0
    assert decoder.provider_acted


@pytest.mark.parametrize(
    ("frame", "kind", "code", "words"),
    [
        (exception_frame("throttlingException", "Too many tokens"), "throttlingException", None, "Too many tokens"),
        (
            exception_frame("modelStreamErrorException", "It broke", originalStatusCode=424),
            *("modelStreamErrorException", "424", "It broke"),
        ),
        (error_frame("InternalError", "Something went wrong"), "InternalError", None, "Something went wrong"),
    ],
)
@pytest.mark.parametrize("before", [(), (CONVERSE_START, converse({"text": "Hi"})), BEDROCK_MESSAGES.parts[:4]])
def test_a_frame_that_reports_a_failure_is_an_error(
    frame: bytes, kind: str, code: str | None, words: str, before: tuple[bytes, ...]
) -> None:
    """Exceptions and errors end the stream with the provider's words, at its beginning and in the middle."""
    _, decoder, collector = read(*before, frame, converse_end("end_turn"))
    assert isinstance(decoder.error, ProviderError)
    assert (decoder.error.type, decoder.error.code) == (kind, code)
    assert words in str(decoder.error)
    assert not collector.ended


@pytest.mark.parametrize("place", [0, 8, 40, -6, -1])
def test_a_damaged_frame_is_not_skipped(place: int) -> None:
    """A bit that was flipped ends the stream as malformed; what came before it is returned."""
    frame = bytearray(converse({"text": "lo"}))
    frame[place] ^= 1
    events, decoder, _ = read(CONVERSE_START, converse({"text": "Hel"}), bytes(frame), converse_end("end_turn"))
    assert [event.text for event in events] == ["", "Hel"]
    assert isinstance(decoder.error, MalformedEvent)
    assert isinstance(decoder.verdict_at_end(), MalformedEvent)


def test_a_frame_that_is_too_large_ends_the_stream() -> None:
    """The size that an event may have goes for frames as well."""
    decoder = Decoder(content_type=FRAMES, max_event=200)
    decoder.feed(CONVERSE_START + converse({"text": "x" * 300})[:20])
    assert isinstance(decoder.error, EventTooLarge)


@pytest.mark.parametrize("dialect", ["auto", "bedrock"])
def test_a_document_or_a_page_in_place_of_frames_is_named(dialect: str) -> None:
    """The error names the document or page that a proxy sent in place of frames.

    It has the provider's words if there are any.
    """
    decoder = Decoder(dialect, url="https://x.example/model/m/converse-stream")
    decoder.feed(b"<html><title>Sign in</title></html>")
    assert isinstance(decoder.error, NotAStream)
    decoder = Decoder(dialect, url="https://x.example/model/m/converse-stream")
    decoder.feed(b'{"error": {"message": "no such model"}}')
    assert isinstance(decoder.error, ProviderError)
    assert "no such model" in str(decoder.error)


@pytest.mark.parametrize(
    ("pieces", "last"),
    [
        ([{"generation": "Hel"}, {"generation": "lo"}], {"generation": "", "stop_reason": "stop"}),
        (
            [{"outputs": [{"text": "Hel"}]}, {"outputs": [{"text": "lo"}]}],
            {"outputs": [{"text": "", "stop_reason": "stop"}]},
        ),
        ([{"completion": "Hel", "stop_reason": None}, {"completion": "lo"}], {"completion": "", "stop_reason": "stop"}),
        (
            [{"choices": [{"message": {"content": "Hel"}}]}, {"choices": [{"message": {"content": "lo"}}]}],
            {"choices": [{"message": {"content": ""}, "stop_reason": "stop"}]},
        ),
        (
            [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in ("Hel", "lo")],
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        ),
        (
            [{"event_type": "text-generation", "is_finished": False, "text": word} for word in ("Hel", "lo")],
            {
                "event_type": "stream-end",
                "is_finished": True,
                "finish_reason": "COMPLETE",
                "response": {"text": "Hello"},
            },
        ),
    ],
    ids=["llama", "mistral", "claude-2", "mistral-chat", "openai", "cohere"],
)
def test_models_of_other_makers_are_read_by_their_text(pieces: list[dict[str, Any]], last: dict[str, Any]) -> None:
    """The text of models that Bedrock wraps comes out, with the reason.

    Bedrock's count is the end mark, and a cut text is an error.
    """
    frames = [chunk_frame(piece) for piece in pieces]
    _, decoder, collector = read(*frames, chunk_frame({**last, **METRICS}))
    assert collector.text == "Hello"
    assert collector.usage is not None
    assert (collector.usage.input_tokens, collector.usage.output_tokens) == (7, 3)
    assert collector.finish_reason == "stop"
    assert decoder.settled
    assert decoder.verdict_at_end() is None
    _, decoder, _ = read(*frames)
    assert isinstance(decoder.verdict_at_end(), StreamTruncated)


@pytest.mark.parametrize(
    "last",
    [
        {"outputs": [{"text": "", "stop_reason": "length"}]},
        {"generation": "", "stop_reason": "length"},
        {"outputText": "", "completionReason": "LENGTH"},
    ],
)
def test_a_length_cuts_an_answer_of_any_maker(last: dict[str, Any]) -> None:
    """A limit of length is the reason of the answer in any make."""
    _, _, collector = read(chunk_frame({"outputs": [{"text": "Hel"}]}), chunk_frame({**last, **METRICS}))
    assert (collector.finish_reason, collector.cut) == ("length", True)


def test_a_chunk_of_an_unknown_maker_is_text() -> None:
    """The chunk is handed out as it is, and counts as content."""
    events, decoder, _ = read(chunk_frame({"novel": {"piece": "Hi"}}), chunk_frame(METRICS))
    assert events[0].kind is Kind.TEXT
    assert json.loads(events[0].text) == {"novel": {"piece": "Hi"}}
    assert events[1].text == ""
    assert decoder.settled


def test_an_error_inside_a_frame_is_an_error() -> None:
    """An error in the model's own words, inside a frame, is none of the answer."""
    for value in ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, {"error": "busy"}):
        _, decoder, _ = read(chunk_frame(value))
        assert isinstance(decoder.error, ProviderError)
        assert "busy" in str(decoder.error)


def test_broken_json_in_a_frame_is_malformed() -> None:
    """A frame with right checksums and a broken payload is no event."""
    frame = event_frame("contentBlockDelta", {"delta": {"text": "Hi"}})
    broken = frame.replace(b'{"delta"', b'["delta"')
    _, decoder, _ = read(CONVERSE_START, broken)
    assert isinstance(decoder.error, MalformedEvent)
    _, decoder, _ = read(CONVERSE_START, event_frame("contentBlockDelta", [1]))
    assert isinstance(decoder.error, MalformedEvent)


@pytest.mark.parametrize("dialect", ["auto", "generic"])
def test_frames_of_other_services_are_read_generically(dialect: str) -> None:
    """If the first frame is not one of Bedrock's, each payload is text, and the body's end is the end."""
    start = frame_of([(":event-type", 7, "initial-response"), (":message-type", 7, "event")], b"")
    _, decoder, collector = read(start, event_frame("PayloadPart", {"x": 1}), dialect=dialect)
    assert decoder.dialect == "generic"
    assert collector.text == '{"x": 1}'
    assert decoder.verdict_at_end() is None


def test_a_stream_may_begin_with_an_exception_frame() -> None:
    """A stream that begins with an exception is Bedrock's too."""
    _, decoder, _ = read(exception_frame("validationException", "no"))
    assert decoder.dialect == "bedrock"
