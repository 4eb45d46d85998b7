"""Answers that no dialect reads, and faults of an answer, reach the program as the server sent them."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Limits, LLMWatchError
from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.payload import modelcalls
from tests.end_to_end.calls import asking
from tests.session.entry_points import Way, caught, plain, record_of
from tests.session.times import LONG, PATIENCE, SOON
from tests.wire.frames import event_frame

EVENTS = "text/event-stream"
FRAMES = "application/vnd.amazon.eventstream"
TURNS = [{"role": "user", "content": "hi"}]
CHAT = {"model": "m", "stream": True, "messages": TURNS}
WORDS = ("Hel", "lo ", "world")


def _line(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def _data(**fields: Any) -> bytes:
    return b"data: " + _line(**fields) + b"\n\n"


def _chunk(text: str = "", end: str | None = None) -> bytes:
    return _data(choices=[{"index": 0, "delta": {"content": text} if text else {}, "finish_reason": end}])


DONE = b"data: [DONE]\n\n"
ANSWER = [*map(_chunk, WORDS), _chunk(end="stop"), DONE]
OPENING = b': hello\n\ndata: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n'


@dataclass(frozen=True)
class Wire:
    """Pieces of a body that is no dialect's, where they are sent, and what is asked there."""

    path: str
    pieces: list[bytes]
    content_type: str = EVENTS
    body: dict[str, Any] = field(default_factory=lambda: dict(CHAT))
    headers: dict[str, str] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)


WIRES = {
    "events of another make": Wire("/v1/chat/completions", [_data(piece=word, last=False) for word in WORDS]),
    "and at another path": Wire("/v1/messages", [_data(piece=word) for word in WORDS]),
    "events without empty lines": Wire(
        "/v1/chat/completions", [b"".join(ANSWER[:2]).replace(b"\n\n", b"\n"), ANSWER[2][:-1], b"data: [DONE]\n"]
    ),
    "a document where Ollama's answers are": Wire(
        "/api/chat", [_line(response="hello", ok=True) + b"\n", b"\n"], "application/json"
    ),
    "a message in one": Wire("/api/chat", [_line(message={"role": "assistant", "content": "hi"})], "application/json"),
    "events with words": Wire("/v1/responses", [f"data: {word}\n\n".encode() for word in WORDS]),
    "behind comments and pings": Wire(
        "/v1/chat/completions", [b": hi\n\nevent: ping\ndata: {}\n\n" + _data(piece="a"), _data(piece="b")]
    ),
    "lines of another make": Wire(
        "/v1/generate",
        [_line(piece=word) + b"\n" for word in WORDS],
        "application/json",
        {"model": "m", "prompt": "hi", "stream": True},
    ),
    "such lines where Ollama's are": Wire(
        "/api/chat", [_line(reply=word) + b"\n" for word in WORDS], "application/x-ndjson"
    ),
    "objects without line ends": Wire("/api/chat", [_line(reply=word) for word in WORDS], "application/json"),
    "objects with a NUL between": Wire(
        "/generate",
        [_line(text=[word]) + b"\0" for word in WORDS],
        "text/plain",
        {"model": "m", "prompt": "hi", "stream": True},
    ),
    "a list of objects": Wire(
        "/v1beta/models/g:streamGenerateContent",
        [b"[" + _line(candidates=[]), b"\n," + _line(candidates=[{"finishReason": "STOP"}]), b"\n]\n"],
        "application/json",
        {"contents": [{"parts": [{"text": "hi"}]}]},
    ),
    "text": Wire("/v1/chat/completions", [word.encode() for word in WORDS], "text/plain; charset=utf-8"),
    "text without a type": Wire("/v1/chat/completions", [word.encode() for word in WORDS], ""),
    "a page": Wire("/v1/chat/completions", [b"<p>", b"hello", b"</p>"], "text/html"),
    "one line of words": Wire("/v1/messages", [b"data: hello"]),
    "an event of another make without its end": Wire("/v1/chat/completions", [b'data: {"foo": 1}\n']),
    "a line end too few behind such an event": Wire("/v1/responses", [b'event: x\ndata: {"foo": 1}\n']),
    "words in place of frames": Wire("/model/m/converse-stream", [b"garbage"], FRAMES),
    "and more of them": Wire("/model/m/converse-stream", [b"garbage" * 9], FRAMES),
    "a document of OpenAI's": Wire("/api/chat", [_line(choices=[{"message": {"content": "hi"}}])], "application/json"),
    "and without a type": Wire("/api/chat", [_line(choices=[{"message": {"content": "hi"}}]) + b"\n"], ""),
    "a document of Gemini's": Wire(
        "/api/generate",
        [_line(candidates=[{"content": {"parts": [{"text": "hi"}]}}])],
        "application/json",
        {"model": "m", "prompt": "hi", "stream": True},
    ),
    "a document of DashScope's": Wire("/api/chat", [_line(output={"text": "hi"}, request_id="q")], "application/json"),
    "sound": Wire("/v1/chat/completions", [b"RIFF\0\1\2\3", b"\xff\xfe\n\n\0", b"data"], "audio/wav"),
    "an encoding of the program's own": Wire(
        "/v1/chat/completions",
        [b"\x0b\x02\x80Hel", b"lo\x03"],
        headers={"Content-Encoding": "x-own"},
        sent={"Accept-Encoding": "x-own"},
    ),
    "brotli that nobody asked for": Wire(
        "/v1/chat/completions", [b"\x1b\x0b", b"\x00\xf8"], headers={"Content-Encoding": "br"}
    ),
    "zstd over gzip": Wire("/v1/messages", [b"\x28\xb5", b"\x2f\xfd"], headers={"Content-Encoding": "gzip, zstd"}),
    "no word of a stream in the body": Wire(
        "/v1/completions", ANSWER, body={"model": "m", "prompt": "hi", "stream_tokens": True}
    ),
    "a stream by a header": Wire(
        "/v1/completions", ANSWER, body={"model": "m", "prompt": "hi"}, sent={"Accept": EVENTS}
    ),
}


DOCUMENTS = ("a document of OpenAI's", "and without a type", "a document of Gemini's", "a document of DashScope's")
"""What is read as the dialect that it has its fields of."""


def _gated(wire: Wire, *, after: list[steps.Step] | None = None, ends: bool = True) -> Script:
    """Each piece once the one before it was seen."""

    def play(context: Context) -> Iterator[steps.Step]:
        played: list[steps.Step] = []
        for at, piece in enumerate(wire.pieces):
            played += [steps.WaitFor(f"{at} seen"), steps.Chunk(piece)] if at else [steps.Chunk(piece)]
        yield from context.answer(
            [*played, *(after or [])],
            content_type=wire.content_type,
            headers=list(wire.headers.items()),
            framing="chunked",
            ends=ends,
        )

    return Script(name="wire", description="a wire of its own", play=play)


def _said(
    pieces: list[bytes], *, content_type: str = EVENTS, waits: float = 0.0, ends: bool = True, then: Any = ()
) -> Script:
    """These pieces, with a wait in front of each but the first."""

    def play(context: Context) -> Iterator[steps.Step]:
        played: list[steps.Step] = []
        for at, piece in enumerate(pieces):
            played += [steps.Wait(waits), steps.Chunk(piece)] if at and waits else [steps.Chunk(piece)]
        yield from context.answer([*played, *then], content_type=content_type, framing="chunked", ends=ends)

    return Script(name="said", description="some pieces", play=play)


def _read(session: requests.Session, server: FaultServer, wire: Wire) -> tuple[requests.Response, bytes]:
    response = session.post(server.url + wire.path, json=wire.body, headers=wire.sent, stream=True)
    found, whole = b"", b"".join(wire.pieces)
    while piece := response.raw.read1(65536, decode_content=False):
        found += piece
        assert whole.startswith(found)
        for at in range(1, len(wire.pieces)):
            if len(found) >= len(b"".join(wire.pieces[:at])):
                server.gate(f"{at} seen").set()
    return response, found


@pytest.mark.parametrize("name", WIRES)
def test_an_unknown_wire_is_handed_on_as_it_comes(way: Way, name: str) -> None:
    """An unknown wire's bytes are handed on after one request, each piece before the next is sent.

    They are the same with a session of requests' own, and without ``stream=True``.
    """
    wire = WIRES[name]
    with FaultServer(_gated(wire)) as server, plain() as session:
        assert _read(session, server, wire)[1] == b"".join(wire.pieces)
    with FaultServer(_gated(wire)) as server, way.session(limits=Limits(ttfb=LONG, stale=LONG)) as session:
        response, found = _read(session, server, wire)
        assert (response.status_code, found) == (200, b"".join(wire.pieces))
        record = record_of(response)
        assert (record.outcome, record.empty, len(server.requests)) == ("done", False, 1)
        read = ("openai-chat", "gemini", "dashscope") if name in DOCUMENTS else (None,)
        assert record.attempts[0].dialect in (("openai-chat",) if wire.pieces is ANSWER else read)
    with FaultServer(_said(wire.pieces, content_type=wire.content_type)) as server, way.session() as session:
        response = session.post(server.url + wire.path, json=wire.body)
        assert (response.content, len(server.requests)) == (b"".join(wire.pieces), 1)


@pytest.fixture
def registered() -> Iterator[None]:
    """A registered path is a model's."""
    before = modelcalls._registered
    llmwatch.register_model_url(re.escape("/own/thing"))
    yield
    modelcalls._registered = before


@pytest.mark.usefixtures("registered")
def test_a_registered_url_is_handed_on_as_it_comes(way: Way) -> None:
    """For any request to a registered URL, although its answer is of no dialect."""
    wire = Wire("/own/thing", [b"id:1\n:HTTP_STATUS/200\n" + _data(word=word) for word in WORDS], body={"q": 1})
    with FaultServer(_gated(wire)) as server, way.session() as session:
        assert _read(session, server, wire)[1] == b"".join(wire.pieces)
        assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["events of another make", "lines of another make", "sound", "text"])
def test_a_cut_or_silence_in_an_unknown_wire_is_an_error(way: Way, name: str) -> None:
    """The framing and the silence of an unknown wire are judged as in every body.

    The error comes after one request, behind the bytes that came before.
    """
    wire = WIRES[name]
    for script, kind in (
        (_said(wire.pieces, content_type=wire.content_type, ends=False, then=[steps.Close()]), llmwatch.StreamCut),
        (_said(wire.pieces, content_type=wire.content_type, then=[steps.Hang()]), llmwatch.WatchTimeout),
    ):
        with FaultServer([script, "healthy"]) as server, way.session(limits=Limits(stale=SOON)) as session:
            response = session.post(server.url + wire.path, json=wire.body, stream=True)
            seen: list[bytes] = []
            error = caught(kind, lambda: seen.extend(response.iter_content(None)))  # noqa: B023
            assert isinstance(error, requests.RequestException)
            assert (b"".join(seen), len(server.requests)) == (b"".join(wire.pieces), 1)


def test_an_unknown_wire_has_no_limits_on_content(way: Way) -> None:
    """Content that cannot be read has no limit: the call takes as long as bytes come."""
    limits = Limits(first_event=SOON, first_content=SOON, progress=SOON, stale=LONG)
    wire = WIRES["text"]
    script = _said(wire.pieces, content_type=wire.content_type, waits=SOON)
    with FaultServer(script) as server, way.session(limits=limits) as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        assert (response.content, len(server.requests)) == (b"".join(wire.pieces), 1)


@pytest.mark.parametrize("said", [b": hi\n\n", b"event: ping\ndata: {}\n\n", b"\n\n\n", b'data: {"type": "ping"}\n\n'])
def test_silence_after_keep_alives_is_recovered_from(way: Way, said: bytes) -> None:
    """Silence behind keep-alives is recovered from like silence from the start."""
    script = _said([said], then=[steps.Hang()])
    with FaultServer([script, "healthy"]) as server, way.session(limits=Limits(stale=SOON)) as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        assert b"[DONE]" in response.content
        assert not response.content.startswith(said)
        assert len(server.requests) == 2


def test_the_opening_of_a_dialect_is_held_up_to_a_size(way: Way) -> None:
    """Silence behind a short opening is recovered from.

    Behind more than 64 KiB it surfaces, since those bytes are handed out.
    """
    long = b"".join([OPENING, b'data: {"choices": [], "filler": "', b"x" * 70_000, b'"}\n\n'])
    for opening, requests_made in ((OPENING, 2), (long, 1)):
        script = _said([opening], then=[steps.Hang()])
        with FaultServer([script, "healthy"]) as server, way.session(limits=Limits(stale=SOON)) as session:
            response = session.post(server.chat_url, json=asking(), stream=True)
            if requests_made == 2:
                assert response.content.endswith(DONE)
            else:
                caught(requests.ConnectionError, lambda: response.content)  # noqa: B023
            assert len(server.requests) == requests_made


ERROR = {"error": {"message": "overloaded", "type": "overloaded_error"}}
WRONG: dict[str, tuple[list[bytes], str, str]] = {
    "an error first": ([_data(**ERROR)], EVENTS, "ProviderError"),
    "an error later": ([*ANSWER[:2], _data(**ERROR)], EVENTS, "ProviderError"),
    "an error and an end": ([*ANSWER[:2], _data(**ERROR), DONE], EVENTS, "ProviderError"),
    "an error of Anthropic's": ([b'event: error\ndata: {"type": "error", "error": {}}\n\n'], EVENTS, "ProviderError"),
    "broken JSON among events": ([ANSWER[0], b'data: {"choices": [\n\n', *ANSWER[1:]], EVENTS, "MalformedEvent"),
    "nothing at all": ([], EVENTS, "EmptyStream"),
    "comments alone": ([b": hi\n\n", b": hi\n\n"], EVENTS, "EmptyStream"),
    "half a comment": ([b": hel"], EVENTS, "EmptyStream"),
    "an end alone": ([DONE], EVENTS, "EmptyStream"),
    "a document": ([_line(choices=[{"message": {"content": "fine"}}])], "application/json", "NotAStream"),
    "an error in a document": ([_line(**ERROR)], "application/json", "ProviderError"),
    "a page": ([b"<html><title>Log in</title></html>"], "text/html", "NotAStream"),
    "too large an event": ([ANSWER[0], _chunk("x" * 5000), *ANSWER[1:]], EVENTS, "EventTooLarge"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_handed_on_byte_for_byte(way: Way, name: str) -> None:
    """The bytes of a wrong answer come with their status, after one request.

    The record says what was wrong, and that the answer was handed on.
    """
    pieces, content_type, error = WRONG[name]
    for stream in (True, False):
        script = _said(pieces, content_type=content_type)
        with FaultServer([script, "healthy"]) as server, way.session(max_event=2000) as session:
            response = session.post(server.chat_url, json=asking(), stream=stream)
            assert (response.status_code, response.content) == (200, b"".join(pieces))
            record = record_of(response)
            outcome = "failed" if error in ("ProviderError", "MalformedEvent") else "done"
            assert (record.outcome, record.attempts[-1].error, record.incident) == (outcome, error, True)
            assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ([ANSWER[0], b'data: {"choices": [\n\n', ANSWER[1]], llmwatch.StreamTruncated),
        ([ANSWER[0], b": hi\n\n", ANSWER[1]], llmwatch.StreamTruncated),
        ([ANSWER[0], ANSWER[1][:-9]], llmwatch.StreamTruncated),
    ],
)
def test_an_answer_without_its_terminal_event_is_an_error(
    way: Way, pieces: list[bytes], kind: type[LLMWatchError]
) -> None:
    """A dialect that was recognised needs its end, whatever else was wrong before."""
    with FaultServer([_said(pieces), "healthy"]) as server, way.session() as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        error = caught(requests.exceptions.ChunkedEncodingError, lambda: response.content)
        assert isinstance(error, kind)
        assert len(server.requests) == 1


MESSAGES = b'event: message_start\ndata: {"type": "message_start", "message": {"id": "m", "content": []}}\n\n'


@pytest.mark.parametrize(
    "pieces",
    [
        [OPENING],
        [OPENING[:40]],
        [b'data: {"choices": [{"delta": {"content": "h'],
        [_chunk("h")[:-1]],
        [_chunk("h")[:-2]],
        [MESSAGES[:-1]],
        [MESSAGES[:-2]],
        [MESSAGES[:30]],
        [MESSAGES[:21]],
        [MESSAGES[:7]],
        [b": hello\n\nid: 7\n"],
    ],
)
def test_an_answer_cut_in_its_opening_is_resent(way: Way, pieces: list[bytes]) -> None:
    """Nothing of it was handed out, and what was cut is never an answer."""
    with FaultServer([_said(pieces), "healthy"]) as server, way.session() as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        assert response.content.endswith(DONE)
        assert len(server.requests) == 2


@pytest.mark.parametrize("cut", [3, 11, 12, 40])
def test_half_a_frame_is_sent_again(way: Way, cut: int) -> None:
    """A frame says how long it is: less of it is cut, wherever that is."""
    opening = event_frame("messageStart", {"role": "assistant"})
    wire = Wire("/model/m/converse-stream", [opening[:cut]], FRAMES, {"messages": TURNS})
    with FaultServer([_said(wire.pieces, content_type=FRAMES), "healthy"]) as server, way.session() as session:
        response = session.post(server.url + wire.path, json=wire.body, stream=True)
        assert response.content
        assert (record_of(response).outcome, len(server.requests)) == ("recovered", 2)


def test_one_line_of_an_ndjson_stream_is_a_cut_stream(way: Way) -> None:
    """A piece of an answer, in lines, is of one that was cut; so is Ollama's own line."""
    for line in (
        _line(choices=[{"index": 0, "delta": {"content": "hi"}}]),
        _line(message={"content": "hi"}, done=False),
    ):
        with FaultServer([_said([line + b"\n"], content_type="application/json"), "healthy"]) as server:
            with way.session() as session:
                response = session.post(server.url + "/api/chat", json=CHAT, stream=True)
                error = caught(requests.exceptions.ChunkedEncodingError, lambda: response.content)  # noqa: B023
            assert isinstance(error, llmwatch.StreamTruncated)
            assert len(server.requests) == 1


def test_a_doubly_encoded_stream_is_decoded(way: Way) -> None:
    """Its bytes are handed on as they come, and its events are read: a cut in it is an error."""
    packed = gzip.compress(gzip.compress(b"".join(ANSWER)))

    def coded(data: bytes) -> Script:
        def play(context: Context) -> Iterator[steps.Step]:
            encoding = [("Content-Encoding", "gzip, gzip")]
            yield from context.answer([steps.Chunk(data)], content_type=EVENTS, headers=encoding, framing="chunked")

        return Script(name="coded", description="gzip in gzip", play=play)

    with FaultServer(coded(packed)) as server, way.session() as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        assert response.content == b"".join(ANSWER)
        record = record_of(response)
        assert (record.outcome, record.attempts[0].dialect, record.attempts[0].end) == (
            "done",
            "openai-chat",
            "terminal",
        )
    with FaultServer([coded(packed[: len(packed) // 2]), "healthy"]) as server, way.session() as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        assert response.content.endswith(DONE)
        assert len(server.requests) == 2


def test_a_cut_after_a_too_large_event_is_an_error(way: Way) -> None:
    """A body whose events are no longer read is still framed."""
    script = _said([ANSWER[0], _chunk("x" * 5000)], ends=False, then=[steps.Close()])
    with FaultServer([script, "healthy"]) as server, way.session(max_event=2000) as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        error = caught(requests.exceptions.ChunkedEncodingError, lambda: response.content)
        assert isinstance(error, llmwatch.StreamCut)
        assert len(server.requests) == 1


def _lines(response: requests.Response) -> bytes:
    return b"\n".join(response.iter_lines())


def _content(response: requests.Response) -> bytes:
    return response.content


@pytest.mark.parametrize("read", [_lines, _content])
def test_bytes_after_the_terminal_event_are_handed_on(way: Way, read: Callable[[requests.Response], bytes]) -> None:
    """A second end mark, a comment with the costs: in reads of their own, once the end was handed out."""
    behind = [b"data: [DONE]\n\n", b": cost 7\n\n"]
    limits = Limits(drain=PATIENCE)
    with FaultServer(_said([*ANSWER, *behind], waits=0.01)) as server, way.session(limits=limits) as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        assert read(response).strip().endswith(b"".join(behind).strip())
        assert (record_of(response).outcome, len(server.requests)) == ("done", 1)


@pytest.mark.parametrize("pieces", [ANSWER, [*ANSWER[:3], DONE]])
def test_a_body_left_open_after_the_end_is_closed_after_drain(way: Way, pieces: list[bytes]) -> None:
    """With both marks, and with the end mark alone: success, ``drain`` later."""
    script = _said(pieces, then=[steps.Hang()])
    with FaultServer(script) as server, way.session(limits=Limits(drain=SOON)) as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        assert response.content == b"".join(pieces)
        assert (record_of(response).outcome, len(server.requests)) == ("done", 1)


@pytest.mark.parametrize("pieces", [ANSWER, [*ANSWER[:3], DONE]])
def test_closing_at_the_end_mark_is_a_success(way: Way, pieces: list[bytes]) -> None:
    """Whatever follows in the body, closed or not."""
    script = _said(pieces, then=[steps.Hang()])
    with FaultServer(script) as server, way.session(limits=Limits(drain=SOON)) as session:
        with session.post(server.chat_url, json=asking(), stream=True) as response:
            for line in response.iter_lines():
                if line == b"data: [DONE]":
                    break
        assert (record_of(response).outcome, len(server.requests)) == ("done", 1)
