"""Bytes of a body in, events and a verdict out."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmwatch.errors import (
    EmptyStream,
    EventTooLarge,
    LLMWatchError,
    MalformedEvent,
    NotAStream,
    ProviderError,
    StreamTruncated,
)
from llmwatch.wire import Collector, Decoder, Event, Kind, names
from tests.rows import each
from tests.wire.dialects.test_openai_chat import chunk
from tests.wire.streams import decode, lines, pieces, sse
from tests.wire.test_framing import BODIES, CUTS

JSON_DIALECTS = ("openai-chat", "openai-responses", "anthropic", "gemini", "ndjson")
DONE = chunk(None, "stop")

# The words of all dialects, put together in every wrong way.
WORDS = st.sampled_from(
    [
        "type",
        "choices",
        "delta",
        "content",
        "tool_calls",
        "function",
        "arguments",
        "index",
        "finish_reason",
        "error",
        "id",
        "name",
        "item",
        "response",
        "status",
        "output_index",
        "content_block",
        "partial_json",
        "usage",
        "message",
        "candidates",
        "parts",
        "functionCall",
        "args",
        "promptFeedback",
        "blockReason",
        "done",
        "thinking",
        "text",
        "code",
        "response.output_item.done",
        "response.output_text.delta",
        "response.failed",
        "response.completed",
        "function_call",
        "mcp_call",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "tool_use",
        "input_json_delta",
        "input",
        "stop",
        "reasoning_content",
        "reasoning",
        "audio",
        "images",
        "refusal",
        "custom",
        "object",
        "finishReason",
    ]
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.floats(allow_nan=False), st.text(max_size=3), WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)


def seen(events: list[Event]) -> list[Any]:
    """All that an event says, apart from its position."""
    return [
        (one.event, one.data, one.kind, one.text, one.reasoning, one.tools, one.finish, one.error) for one in events
    ]


def verdict(dialect: str, body: bytes, **options: Any) -> LLMWatchError | None:
    """The decoder's verdict on a whole body."""
    decoder = Decoder(dialect, **options)
    decoder.feed(body)
    decoder.end()
    return decoder.verdict_at_end()


@settings(deadline=None, max_examples=300)
@example("ndjson", [[], {"type": None, "error": []}], [3])
@given(st.sampled_from(names()), st.lists(JSON, max_size=6), CUTS)
def test_no_shape_of_json_breaks_a_dialect(dialect: str, values: list[Any], cuts: list[int]) -> None:
    """Objects of every wrong shape give events or one of llmwatch's errors.

    The result is the same however they are split.
    """
    body = lines(*values) if dialect == "ndjson" else sse(*values)
    whole, split, collector = Decoder(dialect), Decoder(dialect), Collector()
    events = [*whole.feed(body), *whole.end()]
    for event in events:
        collector.add(event)
    again = [event for data in pieces(body, cuts) for event in split.feed(data)] + split.end()
    assert seen(again) == seen(events)
    ends = [decoder.verdict_at_end() for decoder in (whole, split)]
    assert str(ends[0]) == str(ends[1])
    assert all(end is None or isinstance(end, LLMWatchError) for end in ends)
    assert all(call.name and call.json() is not None for call in collector.tool_calls)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(names()), BODIES | st.binary(max_size=200), CUTS)
def test_no_bytes_break_a_decoder(dialect: str, body: bytes, cuts: list[int]) -> None:
    """Arbitrary bytes give events or one of llmwatch's errors, the same however they are split."""
    whole, split = Decoder(dialect, max_event=64), Decoder(dialect, max_event=64)
    events = [*whole.feed(body), *whole.end()]
    again = [event for data in pieces(body, cuts) for event in split.feed(data)] + split.end()
    assert seen(again) == seen(events)
    assert type(whole.error) is type(split.error)
    assert (whole.dialect, whole.pending) == (split.dialect, split.pending)
    # Behind the end of the answer, or a failure, only what came in the same read is counted.
    assert whole.comments == split.comments or whole.terminal or whole.error is not None


@pytest.mark.parametrize("dialect", JSON_DIALECTS)
@pytest.mark.parametrize(
    ("broken", "what"), [('{"a": ', "not valid JSON"), ("[1]", "not an object"), ("7", "not an object")]
)
def test_malformed_event(dialect: str, broken: str, what: str) -> None:
    """Broken JSON, or JSON that is no object, ends the stream after the events before it.

    It is not quoted.
    """
    good = json.dumps({"hello": "world"})
    body = "".join((text + "\n") if dialect == "ndjson" else f"data: {text}\n\n" for text in (good, broken, good))
    events, decoder = decode(dialect, body=body.encode())
    assert len(events) == 1
    assert isinstance(decoder.error, MalformedEvent)
    assert str(decoder.error).startswith("Event 2 of the stream ")
    assert what in str(decoder.error)
    assert decoder.feed(sse("[DONE]")) == []
    assert decoder.verdict_at_end() is decoder.error


def test_malformed_event_tells_the_place() -> None:
    """The position inside the event is given, and its content is not.

    Not even the error's attributes give it.
    """
    broken = '{"secret": "words", }'
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads(broken)
    _, decoder = decode("openai-chat", broken)
    # Python 3.13 points to the comma, earlier ones behind it.
    assert f"at character {caught.value.pos} of 21" in str(decoder.error)
    assert b"secret" not in pickle.dumps(decoder.error)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"a":' + "9" * 5000 + "}"])
def test_json_that_python_refuses(text: str) -> None:
    """Nesting without end, and a number with too many digits, are malformed events and no crash."""
    assert isinstance(decode("openai-chat", text)[1].error, MalformedEvent)


@pytest.mark.parametrize(
    ("dialect", "item"),
    [
        ("openai-chat", {"error": {"type": "server_error", "code": "x1", "message": "boom"}}),
        ("anthropic", ("error", {"type": "error", "error": {"type": "server_error", "code": "x1", "message": "boom"}})),
        ("ndjson", {"error": {"type": "server_error", "code": "x1", "message": "boom"}}),
    ],
)
def test_error_event(dialect: str, item: Any) -> None:
    """An error inside the stream is returned as an event.

    It is the provider's error with its own type and code.
    """
    events, decoder = decode(dialect, item, {"after": 1})
    assert [event.kind for event in events] == [Kind.ERROR]
    error = decoder.error
    assert isinstance(error, ProviderError)
    assert (error.status, error.type, error.code) == (200, "server_error", "x1")
    assert str(error) == "The provider reported an error inside the stream (server_error, x1): boom"


def test_nothing_after_the_terminal_event_counts() -> None:
    """Events after the terminal event, in the same read or later, are not read and change no verdict."""
    decoder = Decoder("openai-chat", max_event=100)
    events = decoder.feed(sse(chunk({"content": "a"}), "[DONE]", "garbage") + b"data: half")
    assert [event.kind for event in events] == [Kind.TEXT, Kind.TERMINAL]
    assert decoder.feed(b"x" * 1000) == []
    assert (decoder.end(), decoder.pending, decoder.error, decoder.verdict_at_end()) == ([], 0, None, None)


@pytest.mark.parametrize(
    ("dialect", "body", "complete"),
    [
        ("openai-chat", sse(chunk({"content": "a"})), False),
        ("openai-chat", sse(chunk({"content": "a"}), DONE), True),
        ("openai-chat", sse(chunk({"content": "a"}), DONE) + b"data: [DONE]", True),
        ("openai-chat", sse(chunk({"content": "a"})) + b"data: [DONE]", True),
        ("openai-responses", sse({"type": "response.created"}), False),
        ("anthropic", sse({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}), False),
        ("gemini", sse({"candidates": [{"finishReason": "STOP"}]}), True),
        ("ndjson", lines({"response": "a", "done": False}), False),
        ("generic", sse("a"), True),
        ("auto", sse(("ping", "{}")), False),
    ],
)
def test_end_of_the_body(dialect: str, body: bytes, complete: bool) -> None:
    """The end of the body is the end of the answer only where something said so before."""
    end = verdict(dialect, body)
    assert end is None if complete else type(end) is StreamTruncated


def test_truncation_names_its_evidence() -> None:
    """The message counts the events and the bytes of the one that was cut."""
    end = str(verdict("openai-chat", sse(chunk({"content": "a"})) + b"data: half"))
    assert end.startswith("The stream ended after 1 events ")
    assert "last 10 bytes" in end
    assert "half" not in end


def test_empty_stream() -> None:
    """A body without an event is empty, whatever else was in it."""
    assert type(verdict("openai-chat", b"")) is EmptyStream
    assert type(verdict("auto", b"")) is EmptyStream
    assert type(verdict("generic", b"\r\n\r\n")) is EmptyStream
    assert "2 comments" in str(verdict("openai-chat", b": a\n\n: b\n\n"))
    assert "last 7 bytes" in str(verdict("openai-chat", b"data: a"))


@each("dialect", names())
@each("step", [1, 100])
def test_a_page_is_no_stream(dialect: str, step: int) -> None:
    """A web page is recognised by its body, whatever its content type says.

    The error has its title and no other text of it.
    """
    body = b"<!DOCTYPE html>\n<html><head>\n\n<title>Sign in</title></head><body>secret</body></html>\n\n"
    decoder = Decoder(dialect, content_type="text/event-stream")
    for start in range(0, len(body), step):
        decoder.feed(body[start : start + step])
    decoder.end()
    end = decoder.verdict_at_end()
    assert type(end) is NotAStream
    assert 'a web page titled "Sign in"' in str(end) or step == 1
    assert "secret" not in str(end)


@pytest.mark.parametrize("dialect", ["auto", "openai-chat", "anthropic", "generic"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_document_is_no_stream(dialect: str, indent: int | None) -> None:
    """A JSON answer is no stream; where it is an error, it is the provider's."""
    document = json.dumps({"object": "chat.completion", "choices": [{"message": {"content": "secret"}}]}, indent=indent)
    end = verdict(dialect, document.encode())
    assert type(end) is NotAStream
    assert "stream: true" in str(end)
    failure = json.dumps({"error": {"type": "bad", "code": 7, "message": "no"}}, indent=indent)
    error = verdict(dialect, failure.encode() + b"\n")
    assert isinstance(error, ProviderError)
    assert (error.status, error.type, error.code) == (200, "bad", "7")


@pytest.mark.parametrize("dialect", ["generic", "ndjson", "auto"])
def test_event_too_large(dialect: str) -> None:
    """An event beyond the limit ends the stream, after the events before it.

    The limit is in the message.
    """
    body = lines({"response": "a", "done": False}) if dialect == "ndjson" else sse("a")
    decoder = Decoder(dialect, max_event=1000)
    assert len(decoder.feed(body + b"data: " + b"x" * 995)) == 1
    assert isinstance(decoder.error, EventTooLarge)
    assert str(decoder.error).startswith("Event 2 of the stream is larger than 1,000 bytes")
    assert decoder.pending == 0


def test_a_document_beyond_the_limit_is_no_stream() -> None:
    """A document that is larger than an event may be is still told from an event."""
    for body in (b'{"a": "' + b"x" * 2000, b"<html>" + b"x" * 2000):
        assert type(verdict("auto", body, max_event=1000)) is NotAStream


@each(
    ("url", "content_type", "dialect"),
    [
        ("https://api.openai.com/v1/chat/completions", "", "openai-chat"),
        ("https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=1", "", "openai-chat"),
        ("http://localhost:8000/v1/completions", "text/event-stream", "openai-chat"),
        ("https://api.openai.com/v1/responses", "", "openai-responses"),
        ("https://api.openai.com/v1/responses/resp_1?stream=true", "", "openai-responses"),
        ("https://api.anthropic.com/v1/messages?beta=true", "", "anthropic"),
        ("https://x/v1/projects/p/locations/l/publishers/anthropic/models/m:streamRawPredict", "", "anthropic"),
        ("https://x/v1/projects/p/locations/l/publishers/mistralai/models/m:streamRawPredict", "", None),
        ("https://x/v1beta/models/m:streamGenerateContent?alt=sse", "text/event-stream", "gemini"),
        ("https://x/v1beta/openai/chat/completions", "", "openai-chat"),
        ("http://localhost:11434/api/chat", "application/x-ndjson", "ndjson"),
        ("http://localhost:11434/api/generate", "", "ndjson"),
        ("https://app.example/api/chat", "text/event-stream; charset=utf-8", None),
        ("https://x.example/stream", "application/jsonl", "ndjson"),
        ("https://x.example/stream", "", None),
        ("https://[broken", "", None),
        ("", "", None),
    ],
)
def test_dialect_by_url(url: str, content_type: str, dialect: str | None) -> None:
    """The address and the content type name the dialect where they can."""
    assert Decoder("auto", url=url, content_type=content_type).dialect == dialect


@each(
    ("body", "dialect", "kinds"),
    [
        (sse(chunk({"content": "a"})), "openai-chat", ["text"]),
        (sse({"object": "chat.completion.chunk"}), "openai-chat", ["lifecycle"]),
        (sse("[DONE]"), "openai-chat", ["terminal"]),
        (sse({"error": {"message": "m"}}), "openai-chat", ["error"]),
        (sse(("response.created", {"type": "response.created"})), "openai-responses", ["lifecycle"]),
        (sse({"type": "response.created"}), "openai-responses", ["lifecycle"]),
        (sse(("error", {"type": "error", "code": "x", "message": "m"})), "openai-responses", ["error"]),
        (sse(("message_start", {"type": "message_start"})), "anthropic", ["lifecycle"]),
        (sse({"type": "message_start"}), "anthropic", ["lifecycle"]),
        (sse(("ping", {"type": "ping"}), {"type": "message_start"}), "anthropic", ["keepalive", "lifecycle"]),
        (sse(("error", {"type": "error", "error": {"type": "x", "message": "m"}})), "anthropic", ["error"]),
        (sse({"candidates": [{"content": {"parts": [{"text": "a"}]}}]}), "gemini", ["text"]),
        (sse({"usageMetadata": {}, "candidates": []}), "gemini", ["lifecycle"]),
        (lines({"response": "a", "done": False}, {"response": "", "done": True}), "ndjson", ["text", "terminal"]),
        (b"\r\n\xef\xbb\xbf"[2:] + lines({"response": "a", "done": False}), "ndjson", ["text"]),
        (json.dumps({"response": "a", "done": True}).encode(), "ndjson", ["terminal"]),
        (sse("plain words"), "generic", ["text"]),
        (sse({"some": "thing"}), "generic", ["text"]),
        (sse([1]), "generic", ["text"]),
        (sse(("keepalive", "x"), {}, "words"), "generic", ["keepalive", "keepalive", "text"]),
        (sse("", ("ping", {})), None, ["keepalive", "keepalive"]),
    ],
)
def test_dialect_by_the_first_event(body: bytes, dialect: str | None, kinds: list[str]) -> None:
    """Without help from the URL the first event that says anything tells the dialect.

    The split of the bytes makes no difference.
    """
    for step in (1, 7, len(body)):
        decoder = Decoder("auto")
        events = [event for start in range(0, len(body), step) for event in decoder.feed(body[start : start + step])]
        events += decoder.end()
        assert (decoder.dialect, [event.kind.value for event in events]) == (dialect, kinds)


def test_events_come_at_once_when_the_dialect_is_not_known() -> None:
    """Finding out about the dialect does not hold the first event back."""
    decoder = Decoder("auto")
    assert decoder.feed(b"\r\n") == []
    assert decoder.pending == 0
    assert len(decoder.feed(sse(chunk({"content": "a"})))) == 1
    held = Decoder("auto")
    assert held.feed(b'{"response": ') == []
    assert held.pending == 13


def test_every_event_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The JSON that the dialect read is the object that the caller gets."""
    calls: list[str] = []
    real = json.loads
    monkeypatch.setattr(
        "llmwatch.wire.event._raw_decode", lambda text: (calls.append(text), (real(text), len(text)))[1]
    )
    events, _ = decode("openai-chat", *[chunk({"content": str(number)}) for number in range(10)])
    assert [event.json()["choices"][0]["delta"]["content"] for event in events] == list("0123456789")
    assert events[0].json() is events[0].json()
    assert len(calls) == 10


def test_white_space_around_json_is_fine() -> None:
    """JSON with white space at either end, and over several lines of data, is read as usual."""
    body = b'data:   {"choices":\ndata: [{"delta":\ndata: {"content": "hi"}}]}  \n\n'
    events, _ = decode("openai-chat", body=body)
    assert [(event.kind, event.text) for event in events] == [(Kind.TEXT, "hi")]


def test_lines_are_the_dialects_that_their_first_shows() -> None:
    """Lines of other makes than Ollama come under the same content type, and are read as what they are."""
    chunks = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in ("Hel", "lo")]
    body = lines(*chunks, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    decoder = Decoder(content_type="application/x-ndjson")
    assert "".join(event.text for event in decoder.feed(body)) == "Hello"
    assert decoder.dialect == "openai-chat"
    assert decoder.verdict_at_end() is None
    decoder = Decoder(content_type="application/x-ndjson")
    decoder.feed(lines({"novel": "line"}))
    assert decoder.dialect == "ndjson"
