"""A body that is not what the request asked for.

The body has broken events or errors inside the stream, or is a document, a page or a giant.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

import llmwatch
from llmwatch import Decision, Limits, Retry
from llmwatch.faults import Context, Script, steps
from llmwatch.faults.catalogue import ANSWER, answer
from tests.end_to_end.calls import SHAPES, collect, endpoint, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT


@pytest.mark.parametrize("shape", SHAPES)
def test_a_malformed_event_is_never_skipped(serve: Serve, connect: Connect, shape: str) -> None:
    """Broken JSON among good events ends the stream with ``MalformedEvent``.

    Nothing behind it is delivered.
    """
    server = serve("malformed-event:tokens=4")
    outcome = stream(connect(), endpoint(server, shape))
    error = outcome.failed(llmwatch.MalformedEvent)
    assert error.retryable
    assert error.partial == outcome.text == answer(4)
    assert error.recovery is not None
    assert error.recovery.decision is Decision.CONTINUE
    assert len(server.requests) == 1


@pytest.mark.parametrize("shape", ["openai-responses", "anthropic"])
def test_a_malformed_event_before_content_is_resent(serve: Serve, connect: Connect, shape: str) -> None:
    """A malformed event before any delivery costs exactly one more request."""
    server = serve("malformed-event:tokens=0", "healthy")
    outcome = stream(connect(), endpoint(server, shape))
    record = outcome.done("recovered")
    assert outcome.text == ANSWER
    assert record.attempts[0].error == "MalformedEvent"
    assert len(server.requests) == 2


@pytest.mark.parametrize("shape", SHAPES)
def test_an_error_inside_the_stream_is_the_providers_own(serve: Serve, connect: Connect, shape: str) -> None:
    """An error event comes out as ``ProviderError``, not as an event.

    The error has the provider's type, code and message.
    """
    server = serve("error-event:tokens=2,kind=content_policy,code=refused,message=This fault is meant.")
    outcome = stream(connect(), endpoint(server, shape))
    error = outcome.failed(llmwatch.ProviderError)
    assert "This fault is meant." in str(error)
    assert error.status == 200
    assert "error" not in outcome.kinds
    assert error.partial == outcome.text == answer(2)
    said = {"openai-chat": ("content_policy", "refused"), "openai-responses": (None, "refused")}
    assert (error.type, error.code) == said.get(shape, ("content_policy", None))
    assert len(server.requests) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_an_overload_before_content_is_resent(serve: Serve, connect: Connect, shape: str) -> None:
    """An in-stream error that may pass is resent where nothing was delivered, and is retryable."""
    server = serve("error-event", "healthy")
    outcome = stream(connect(), endpoint(server, shape))
    record = outcome.done("recovered")
    assert outcome.text == ANSWER
    assert record.attempts[0].error == "ProviderError"
    assert record.attempts[0].cause == "provider_error"
    assert len(server.requests) == 2
    server = serve("error-event")
    assert stream(connect(), endpoint(server, shape)).failed(llmwatch.ProviderError).retryable
    assert len(server.requests) == 3


def test_an_error_that_stays_is_not_resent(serve: Serve, connect: Connect) -> None:
    """An in-stream error about the request itself is not retryable and costs one request."""
    server = serve("error-event:kind=invalid_request_error,code=context_length_exceeded")
    error = stream(connect(), server.chat_url).failed(llmwatch.ProviderError)
    assert not error.retryable
    assert error.recovery is not None
    assert error.recovery.decision is Decision.STOP
    assert len(server.requests) == 1


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_error_document_in_place_of_a_stream(serve: Serve, connect: Connect, content_type: str, shape: str) -> None:
    """200 with a JSON error is ``ProviderError`` with the provider's words, for any content type."""
    server = serve(f"json-instead:content_type={content_type}")
    error = stream(connect(retry=Retry.none()), endpoint(server, shape)).failed(llmwatch.ProviderError)
    assert error.status == 200
    assert error.type is not None
    assert "The fault server answers 500." in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_whole_answer_in_place_of_a_stream_is_not_a_stream(serve: Serve, connect: Connect, shape: str) -> None:
    """200 with a JSON document is ``NotAStream``, never an empty success, and says what to change."""
    server = serve("json-instead:what=answer")
    error = stream(connect(), endpoint(server, shape)).failed(llmwatch.NotAStream)
    assert "request()" in str(error)
    assert not error.retryable
    assert len(server.requests) == 1


@pytest.mark.parametrize("content_type", ["text/html", "text/event-stream"])
def test_a_web_page_in_place_of_a_stream_is_not_a_stream(serve: Serve, connect: Connect, content_type: str) -> None:
    """A page of HTML with status 200 is ``NotAStream`` with the page's title.

    The request is resent, as after other accidents of a proxy.
    """
    server = serve(f"html-instead:content_type={content_type}")
    error = stream(connect(), server.chat_url).failed(llmwatch.NotAStream)
    assert "Sign in to the network" in str(error)
    assert "<html" not in str(error)
    assert error.retryable
    assert len(server.requests) == 3
    server = serve("html-instead", "healthy")
    outcome = collect(connect(), server.chat_url)
    outcome.done("recovered")
    assert outcome.value.text == ANSWER


@pytest.mark.parametrize(
    "script", ["newlines-cr", "newlines-lf", "newlines-crlf", "newlines-mixed", "newlines-split", "bom", "utf8-split"]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_line_ends_and_splits_do_not_change_the_events(serve: Serve, connect: Connect, script: str, shape: str) -> None:
    """However lines end and writes are split, the events are those of the healthy answer."""
    server = serve("healthy", script)
    client = connect()
    healthy = stream(client, endpoint(server, shape))
    same = stream(client, endpoint(server, shape))
    healthy.done()
    same.done()
    assert same.text == ANSWER
    assert [one.event for one in same.events] == [one.event for one in healthy.events]
    assert [one.data.replace("fault2", "fault1") for one in same.events] == [one.data for one in healthy.events]


@pytest.mark.parametrize(("settings", "size"), [({}, 64 << 20), ({"max_event": 3 << 20}, 3 << 20)])
def test_an_event_without_end_is_too_large(serve: Serve, connect: Connect, settings: dict[str, Any], size: int) -> None:
    """An event that never ends is ``EventTooLarge`` at 64 MiB, or where ``max_event`` says.

    The request is not sent again, and the connection is shut.
    """
    server = serve("endless-event")
    outcome = stream(connect(limits=Limits(total=100 * LIMIT), **settings), server.chat_url)
    error = outcome.failed(llmwatch.EventTooLarge)
    assert not error.retryable
    assert error.record is not None
    assert f"larger than {size:,} bytes" in str(error)
    assert size <= error.record.attempts[0].response_bytes < size + (2 << 20)
    server.wait_for_closed(1)
    assert len(server.requests) == 1


def test_a_plain_call_returns_what_the_server_says(serve: Serve, connect: Connect) -> None:
    """A plain call judges no content: a page with status 200 is a response like any other."""
    server = serve("html-instead")
    outcome = request(connect(), server.chat_url)
    outcome.done()
    assert "Sign in to the network" in outcome.value.text
    assert len(server.requests) == 1


def test_a_response_whose_lengths_contradict_each_other_is_a_cut(serve: Serve, connect: Connect) -> None:
    """Two different lengths make a response that cannot be read.

    The headers of the request are not blamed.
    """
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\n"
    server = serve(Script.of("two-lengths", steps.Send(head + b"data: x\n\n"), steps.Hang()))
    error = stream(connect(retry=Retry.none()), server.chat_url).failed(llmwatch.StreamCut)
    assert "is not HTTP" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain; charset=utf-8", b"Hello world"),
        ("text/plain", b"dates and times: none"),
        ("audio/wav", b"RIFF\0\1\2\3"),
        ("application/octet-stream", b"\x0b\x02\x80"),
        ("application/pdf", b"%PDF-1.7"),
    ],
)
def test_what_nothing_reads_is_not_a_stream(serve: Serve, connect: Connect, content_type: str, body: bytes) -> None:
    """A body that nothing reads is ``NotAStream`` after one request, from ``collect`` too.

    The error says what came and what to use.
    """

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(body)], content_type=content_type)

    server = serve(Script(name="other", description="what nothing reads", play=play), "healthy")
    for ask, made in ((stream, 1), (collect, 1)):
        error = ask(connect(), server.chat_url).failed(llmwatch.NotAStream)
        assert content_type.partition(";")[0] in str(error)
        assert "Session" in str(error)
        assert not error.retryable
        assert len(server.requests) == made
        server = serve(Script(name="other", description="what nothing reads", play=play), "healthy")


def test_events_under_another_name_are_read_all_the_same(serve: Serve, connect: Connect) -> None:
    """A body that begins like server-sent events is read as such, whatever its content type."""

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer(map(steps.Chunk, [b": hi\n\n", *context.whole()]), content_type="text/plain")

    outcome = stream(connect(), serve(Script(name="named", description="text", play=play)).chat_url)
    outcome.done()
    assert outcome.text == ANSWER


def _said(body: bytes, *headers: tuple[str, str], content_type: str = "text/event-stream") -> Script:
    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(body)], content_type=content_type, headers=list(headers))

    return Script(name="said", description="one body", play=play)


EVENTS = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "compress", "gzip,gzip,gzip,gzip,gzip,gzip"])
def test_an_encoding_that_is_not_read_is_told_after_one_request(serve: Serve, connect: Connect, encoding: str) -> None:
    """An encoding that is not read is an error after one request: another would be answered alike.

    The error says what the encoding is, and what to change.
    """
    server = serve(_said(b"\x1b\x0b\x00\xf8", ("Content-Encoding", encoding)))
    for ask in (stream, collect):
        error = ask(connect(), server.chat_url).failed(llmwatch.NotAStream)
        assert repr(encoding) in str(error)
        assert "Accept-Encoding" in str(error)
        assert not error.retryable
    assert len(server.requests) == 2


def test_an_encoding_over_another_is_read(serve: Serve, connect: Connect) -> None:
    """A proxy that compresses a compressed body does no harm; a cut in such a body is a cut."""
    twice = gzip.compress(gzip.compress(EVENTS))
    server = serve(_said(twice, ("Content-Encoding", "gzip, gzip")))
    for ask in (stream, collect):
        ask(connect(), server.chat_url).done()
    assert len(server.requests) == 2
    server = serve(_said(twice[: len(twice) // 2], ("Content-Encoding", "gzip, gzip")))
    stream(connect(retry=Retry.none()), server.chat_url).failed(llmwatch.StreamCut)


@pytest.mark.parametrize("body", [b"hello", b"\0\1\2\3" * 9, b"a,b\n1,2\n", b"foo: bar\n\n", b"RIFF\0\0"])
def test_a_foreign_body_without_a_type_is_told_after_one_request(serve: Serve, connect: Connect, body: bytes) -> None:
    """A body without a type that is no event stream is final after one request."""
    server = serve(_said(body, content_type=""))
    for ask in (stream, collect):
        error = ask(connect(), server.chat_url).failed(llmwatch.NotAStream)
        assert "without a Content-Type" in str(error)
        assert not error.retryable
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [b"", b": hi\n\n", b"dat", b"data: {", b"event: x\n", b"hello\n\n" + EVENTS])
def test_a_stream_without_a_type_is_read_as_one(serve: Serve, connect: Connect, body: bytes) -> None:
    """A body that may be the beginning of a stream is empty or cut, and the request is resent.

    Strange lines before a stream do no harm.
    """
    server = serve(_said(body, content_type=""), _said(EVENTS, content_type=""))
    outcome = stream(connect(), server.chat_url)
    outcome.done("done" if EVENTS in body else "recovered")
    assert outcome.text == "hi"


@pytest.mark.parametrize(
    "document",
    [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "hi"}],
            "stop_reason": "end_turn",
        },
        {"object": "response", "status": "completed", "output": []},
        {"generated_text": "hi"},
        {"text": "hi", "finish_reason": "COMPLETE"},
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_a_document_where_ollama_would_send_lines(
    serve: Serve, connect: Connect, document: dict[str, Any], indent: int | None
) -> None:
    """A whole document of another make, in one line or many, is no cut stream.

    It is an error after one request.
    """
    server = serve(_said(json.dumps(document, indent=indent).encode(), content_type="application/json"))
    for ask in (stream, collect):
        ask(connect(), server.url + "/api/chat").failed(llmwatch.NotAStream)
    assert len(server.requests) == 2


def test_a_line_of_ollamas_alone_is_cut(serve: Serve, connect: Connect) -> None:
    """A line of Ollama without the last line belongs to a cut answer, for any content type."""
    server = serve(_said(b'{"message": {"content": "hi"}, "done": false}\n', content_type="application/json"))
    stream(connect(), server.url + "/api/chat").failed(llmwatch.StreamTruncated)


def _events(*values: object) -> bytes:
    return b"".join(b"data: " + (v if isinstance(v, bytes) else json.dumps(v).encode()) + b"\n\n" for v in values)


def _lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


NDJSON = "application/x-ndjson"
PIECES = ({"reply": "Hi"}, {"reply": " there"})
WRAPPED = ({"response": {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}},) * 2
# An unknown wire: its path, its type, and its body.
UNKNOWN_WIRES = {
    "events": ("/v1/chat/completions", "text/event-stream", _events(*PIECES)),
    "events with an end mark": ("/v1/chat/completions", "text/event-stream", _events(*PIECES, b"[DONE]")),
    "events after a notice": ("/v1/messages", "text/event-stream", _events({"status": "queued"}, *PIECES)),
    "events where Responses were": ("/v1/responses", "text/event-stream", _events(*PIECES)),
    "a wrapped answer": ("/v1internal:streamGenerateContent", "text/event-stream", _events(*WRAPPED)),
    "words": ("/v1/chat/completions", "text/event-stream", _events(b"Hello", b"there", b"[DONE]")),
    "texts": ("/v1/messages", "text/event-stream", _events("Hello", "there")),
    "lists": ("/v1/chat/completions", "text/event-stream", _events(["Hello"], ["there"])),
    "lines": ("/v1/other", NDJSON, _lines(*PIECES)),
    "lines with no last line end": ("/v1/other", "application/jsonl", _lines(*PIECES)[:-1]),
    "lines on a path of chats": ("/v1/chat/completions", NDJSON, _lines(*PIECES, {"final": True})),
}


@pytest.mark.parametrize("wire", UNKNOWN_WIRES)
def test_a_wire_that_is_not_known_is_told_after_one_request(serve: Serve, connect: Connect, wire: str) -> None:
    """A whole body of an unknown wire is final after one request.

    The error names its form and what to use.
    """
    path, kind, body = UNKNOWN_WIRES[wire]
    server = serve(_said(body, content_type=kind))
    for ask in (stream, collect):
        error = ask(connect(), server.url + path).failed(llmwatch.NotAStream)
        assert not error.retryable
        assert "llmwatch.Session" in str(error)
        assert ("generic" in str(error)) == (kind == "text/event-stream")
        assert "Hi" not in str(error)
        assert "Hello" not in str(error)
    assert len(server.requests) == 2


ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant"}}]}
CUT_WIRES = {
    "silence": ("/v1/chat/completions", "text/event-stream", b"", "EmptyStream"),
    "keep-alives": ("/v1/chat/completions", "text/event-stream", _events({"type": "ping"}), "StreamTruncated"),
    "notices": ("/v1/chat/completions", "text/event-stream", _events({"status": "queued"}), "StreamTruncated"),
    "an end after notices": ("/v1/other", "text/event-stream", _events(ROLE, b"[DONE]"), "EmptyStream"),
    "an end alone": ("/v1/chat/completions", "text/event-stream", _events(b"[DONE]"), "EmptyStream"),
    "half an event": ("/v1/chat/completions", "text/event-stream", _events(*PIECES)[:-5], "StreamTruncated"),
    "half a line": ("/v1/other", NDJSON, _lines(*PIECES)[:-5], "StreamTruncated"),
    "a damaged event": ("/v1/chat/completions", "text/event-stream", _events(b'{"choices": [{'), "MalformedEvent"),
    "an event without its start": ("/v1/messages", "text/event-stream", _events(b'lta": {"text'), "MalformedEvent"),
    "bytes": ("/v1/messages", "text/event-stream", _events(b"\xff\xfe\x01"), "MalformedEvent"),
    "an opening": ("/v1/chat/completions", "text/event-stream", _events(ROLE, *PIECES), "StreamTruncated"),
    "a late opening": ("/v1/chat/completions", "text/event-stream", _events(*PIECES, ROLE), "StreamTruncated"),
    "Ollama's": ("/api/chat", NDJSON, _lines({"message": {"content": ""}, "done": False}), "StreamTruncated"),
}


@pytest.mark.parametrize("wire", CUT_WIRES)
def test_what_may_be_cut_is_asked_for_again(serve: Serve, connect: Connect, wire: str) -> None:
    """Silence, half events, damage and what shows a dialect are no wire of another make."""
    path, kind, body, error = CUT_WIRES[wire]
    server = serve(_said(body, content_type=kind), _said(EVENTS))
    outcome = stream(connect(), server.url + path)
    assert outcome.done("recovered").attempts[0].error == error
    assert outcome.text == "hi"
    assert len(server.requests) == 2


def test_a_dialect_after_words_of_none_is_no_answer(serve: Serve, connect: Connect) -> None:
    """Text before the first event of another dialect would be missing from the answer.

    The answer is refused for that reason.
    """
    other = {"candidates": [{"content": {"parts": [{"text": "there"}]}, "finishReason": "STOP"}]}
    server = serve(_said(_events({"reply": "Hi"}, other)))
    for ask in (stream, collect):
        ask(connect(), server.chat_url).failed(llmwatch.NotAStream)
    assert len(server.requests) == 2


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/other"])
def test_events_under_a_type_of_lines_are_read(serve: Serve, connect: Connect, path: str) -> None:
    """The first byte of a body tells events from lines, so a wrong type costs no second request."""
    server = serve(_said(EVENTS, content_type=NDJSON))
    for ask in (stream, collect):
        outcome = ask(connect(), server.url + path)
        outcome.done()
        assert outcome.text == "hi"
    assert len(server.requests) == 2


LOCAL_LINES = (
    {"model": "m", "message": {"role": "assistant", "content": "h"}, "done": False},
    {"model": "m", "message": {"role": "assistant", "content": "i"}, "done": False},
    {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
)


def _split(body: bytes, size: int, content_type: str) -> Script:
    def play(context: Context) -> Iterator[steps.Step]:
        parts = [steps.Chunk(body[at : at + size]) for at in range(0, len(body), size)]
        yield from context.answer(parts, content_type=content_type, headers=[])

    return Script(name="split", description="one body in pieces", play=play)


@pytest.mark.parametrize("size", [1, 30, 10_000])
@pytest.mark.parametrize("kind", ["text/event-stream", "text/plain", ""])
@pytest.mark.parametrize("path", ["/api/chat", "/v1/other"])
def test_lines_under_another_type_are_read(serve: Serve, connect: Connect, path: str, kind: str, size: int) -> None:
    """Ollama's lines are known by the first of them.

    Lines that are cut are a cut answer, and a document is none of these lines.
    """
    server = serve(_split(_lines(*LOCAL_LINES), size, kind))
    for ask in (stream, collect):
        outcome = ask(connect(), server.url + path)
        outcome.done()
        assert outcome.text == "hi"
    assert len(server.requests) == 2
    server = serve(_split(_lines(*LOCAL_LINES[:-1]), size, kind))
    stream(connect(retry=Retry.none()), server.url + path).failed(llmwatch.StreamTruncated)
    for document in ({"text": "hi"}, {"object": "response", "output": []}):
        for body in (json.dumps(document), json.dumps(document) + "\n", json.dumps(document, indent=1)):
            server = serve(_split(body.encode(), size, kind))
            stream(connect(), server.url + path).failed(llmwatch.NotAStream)
            assert len(server.requests) == 1
    server = serve(_split(b'{"error": {"message": "no such model", "type": "invalid_request_error"}}', size, kind))
    stream(connect(retry=Retry.none()), server.url + path).failed(llmwatch.ProviderError)
