"""Events of a model's stream reach legacy code one by one, as they come.

This holds however the body is framed or packed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import requests
import sseclient

from llmwatch import Limits
from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.faults.steps import Framing
from tests.end_to_end.calls import asking
from tests.session.entry_points import Way, plain, record_of
from tests.session.scripts import reply
from tests.session.times import FREE, LONG, SOON

WORDS = ["one ", "two ", "three ", "four "]

Packing = Callable[[list[bytes]], list[bytes]]
Reading = Callable[[requests.Response], Iterable[str]]


def _as_they_are(blocks: list[bytes]) -> list[bytes]:
    return blocks


def _coalesced(blocks: list[bytes]) -> list[bytes]:
    """Each write ends with the beginning of the next event."""
    cut = [(block[:7], block[7:]) for block in blocks]
    return [cut[0][0], *(end + begin for (_, end), (begin, _) in zip(cut, [*cut[1:], (b"", b"")], strict=True))]


def _compressed(blocks: list[bytes]) -> list[bytes]:
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return [packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH) for block in blocks]


def _one_by_one(packing: Packing, framing: Framing) -> Script:
    """A server that sends no word before the test has seen the one before it."""

    def play(context: Context) -> Iterator[steps.Step]:
        blocks = [block for word in WORDS for block in context.shape.text(word)] + context.ending()
        pieces = packing(blocks)
        waits = len(pieces) - len(blocks)

        def paced() -> Iterator[steps.Step]:
            for number, piece in enumerate(pieces):
                yield steps.Chunk(piece)
                word = number - waits
                if 0 <= word < len(WORDS):
                    yield steps.WaitFor(f"{word} seen")

        headers = [("Content-Encoding", "gzip")] if packing is _compressed else []
        yield from context.answer(paced(), framing=framing, headers=headers)

    return Script(name="one by one", description="waits to be read", play=play)


def _words(lines: Iterable[Any]) -> Iterator[str]:
    for line in lines:
        text = line.decode() if isinstance(line, bytes) else line
        for data in text.splitlines():
            if data.startswith("data: {"):
                choices = json.loads(data[6:])["choices"]
                yield choices[0]["delta"].get("content", "") if choices else ""


def _by_events(response: requests.Response) -> Iterator[str]:
    for event in sseclient.SSEClient(response).events():  # type: ignore[arg-type]
        yield from _words([f"data: {event.data}"])


def _by_content(response: requests.Response, size: int | None) -> Iterator[str]:
    buffer = b""
    for piece in response.iter_content(size):
        *whole, buffer = (buffer + piece).split(b"\n\n")
        yield from _words(whole)


READINGS: dict[str, Reading] = {
    "iter_lines": lambda response: _words(response.iter_lines()),
    "iter_lines, decoded": lambda response: _words(response.iter_lines(decode_unicode=True)),
    "iter_lines of 100000": lambda response: _words(response.iter_lines(chunk_size=100_000)),
    "iter_content of 1": lambda response: _by_content(response, 1),
    "iter_content of None": lambda response: _by_content(response, None),
    "raw.stream": lambda response: _words(response.raw.stream(65536, decode_content=True)),
    "raw iterated": lambda response: _words(response.raw),
    "sseclient": _by_events,
}


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("packing", [_as_they_are, _coalesced, _compressed])
def test_each_event_is_delivered_at_once(way: Way, framing: Framing, packing: Packing) -> None:
    """An event is there before the next is sent, whichever way the stream is read.

    No read waits for a chunk to fill.
    """
    scripts = [_one_by_one(packing, framing)]
    for name, reading in READINGS.items():
        if packing is _coalesced and name in ("raw.stream",):
            continue  # it gives pieces of events, as they were sent
        # Held back, it would be stale.
        limits = Limits(stale=FREE, ttfb=LONG, first_content=LONG)
        with FaultServer(scripts) as server, way.session(limits=limits) as session:
            with session.post(server.chat_url, json=asking(), stream=True) as response:
                seen = []
                for word in reading(response):
                    if word:
                        server.gate(f"{len(seen)} seen").set()
                        seen.append(word)
            assert seen == WORDS, name
            assert response.llmwatch_record.outcome == "done", name  # type: ignore[attr-defined]


@pytest.mark.parametrize("script", ["unframed", "coalesced", "gzip", "deflate", "newlines-cr", "newlines-crlf", "bom"])
def test_a_stream_reads_as_with_plain_requests(way: Way, script: str) -> None:
    """The lines of a whole stream are those that plain requests reads."""
    asked = "gzip:encoding=deflate" if script == "deflate" else script

    def act(session: requests.Session, server: FaultServer) -> Any:
        with session.post(server.chat_url, json=asking(), stream=True) as response:
            return b"".join(response.iter_content(512))

    way.alike(act, asked, ignoring=("accept-encoding",))


@pytest.mark.parametrize("script", ["linger-after-done", "newlines-split"])
def test_the_terminal_event_is_the_end(way: Way, script: str) -> None:
    """The answer ends with its last event.

    Later bytes, or an end that the server never sends, are awaited for ``drain`` at most.
    """
    limits = Limits(drain=SOON)
    with FaultServer([script, "healthy"]) as server, way.session(limits=limits) as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        assert response.content.rstrip().endswith(b"data: [DONE]")
        assert record_of(response).outcome == "done"


@pytest.mark.parametrize("shape", ["openai-chat", "openai-responses", "anthropic", "gemini", "ndjson"])
@pytest.mark.parametrize("stream", [True, False])
def test_every_shape_of_stream_reads_as_with_plain_requests(way: Way, shape: str, stream: bool) -> None:
    """The whole text of a streamed answer of any provider is read, terminal event included."""
    paths = {
        "openai-chat": "/v1/chat/completions",
        "openai-responses": "/v1/responses",
        "anthropic": "/v1/messages",
        "gemini": "/v1beta/models/gemini:streamGenerateContent?alt=sse",
        "ndjson": "/api/chat",
    }
    body = asking(input="Say it.", contents=[{"parts": [{"text": "Say it."}]}])

    def act(session: requests.Session, server: FaultServer) -> Any:
        return session.post(server.url + paths[shape], json=body, stream=stream).text

    way.alike(act, ignoring=("accept-encoding",))


def test_a_users_own_accept_encoding_is_left_alone(way: Way) -> None:
    """A stream asks for no compression, since compression holds events back.

    A header that the user has set stays, and so does what everything else asks for. The prepared request is not
    changed.
    """
    with FaultServer() as server, way.session() as session:
        first = session.post(server.chat_url, json=asking())
        session.post(server.chat_url, json=asking(), headers={"Accept-Encoding": "gzip"})
        session.post(server.chat_url, json=asking(stream=False))
        session.headers["Accept-Encoding"] = "br"
        session.post(server.chat_url, json=asking())
        sent = [one.header("accept-encoding") for one in server.requests]
    with plain() as session:
        usual = session.headers["Accept-Encoding"]
    assert sent == ["identity", "gzip", usual, "br"]
    assert first.request.headers["Accept-Encoding"] == usual


def test_a_chunked_download_is_handed_over_as_it_comes(way: Way) -> None:
    """A download in chunks is read chunk by chunk, as with plain requests."""

    def gated(context: Context) -> Iterator[steps.Step]:
        body = [step for n in range(4) for step in (steps.Chunk(b"piece %d" % n), steps.WaitFor(f"{n} seen"))]
        yield from context.answer(body, content_type="text/plain")

    def act(session: requests.Session, server: FaultServer) -> Any:
        found = []
        for piece in session.get(server.url, stream=True, timeout=FREE).iter_content(None):
            server.gate(f"{len(found)} seen").set()
            found.append(piece)
        return found

    script = Script(name="gated", description="waits to be read", play=gated)
    assert way.alike(act, script) == [b"piece 0", b"piece 1", b"piece 2", b"piece 3"]
    assert way.alike(lambda session, server: session.get(server.url).text, reply(b"")) == ""
