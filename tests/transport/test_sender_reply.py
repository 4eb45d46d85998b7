"""A reply: its body as it comes, undecoded, and the whole response of a plain call."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.faults.steps import Framing
from llmwatch.transport.sender import READ_SIZE, Reply, Sender
from llmwatch.watch.machine import VerdictKind
from tests.transport.drive import GONE, Call
from tests.transport.scenes import Network

_DOCUMENT = json.dumps({"answer": "forty-two " * 200}).encode()


def _sized(body: bytes, *headers: tuple[str, str], framing: Framing = "length") -> Script:
    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(body)], headers=headers, framing=framing)

    return Script(name="sized", description="a whole body", play=play)


class _Loading:
    """Reads a body to its end and makes a response of it."""

    def __init__(self) -> None:
        self.response: requests.Response | None = None

    def __call__(self, call: Call, reply: Reply) -> None:
        call.read_blindly(reply)
        self.response = reply.load(bytes(call.seen), 1 << 30)

    @property
    def loaded(self) -> requests.Response:
        assert self.response is not None
        return self.response


# -- reading ----------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_read_returns_what_is_there(framing: Framing, tls: bool, sender: Sender, network: Network) -> None:
    """Each piece is returned before the server has written the next, in every framing."""
    pieces = [b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"]

    def play(context: Context) -> Iterator[steps.Step]:
        body: list[steps.Step] = []
        for number, piece in enumerate(pieces):
            body += [steps.Chunk(piece), steps.WaitFor(f"read {number}")]
        yield from context.answer(body, framing=framing)

    script = Script(name="steps", description="piece by piece", play=play)
    with FaultServer(script, tls=network.tls if tls else None) as server:
        call = Call(sender, server.chat_url, verify=network.bundle).start()
        for number, piece in enumerate(pieces):
            assert call.attempt.take() == [piece]
            server.gate(f"read {number}").set()
        assert call.take() == b""
        assert call.verdict.kind is VerdictKind.DONE
        assert call.attempt.join(GONE)


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_read_is_bounded(framing: Framing, sender: Sender) -> None:
    """However much is there, one read returns 64 KiB at most."""
    sizes: list[int] = []

    def read(call: Call, reply: Reply) -> None:
        while data := call.read_once(reply):
            sizes.append(len(data))

    body = bytes(range(256)) * 4096
    with FaultServer(_sized(body, framing=framing)) as server:
        call = Call(sender, server.chat_url, reading=read)
        call.run()
    assert bytes(call.seen) == body
    assert max(sizes) <= READ_SIZE


def test_a_read_does_not_decode(sender: Sender) -> None:
    """A compressed body is returned compressed: the limits count bytes of the wire."""
    packed = gzip.compress(_DOCUMENT)
    with FaultServer(_sized(packed, ("Content-Encoding", "gzip"))) as server:
        call = Call(sender, server.chat_url)
        call.run()
    assert bytes(call.seen) == packed
    assert call.attempt.stats.response_bytes == len(packed)


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_ends_at_once(status: int, sender: Sender) -> None:
    """204 and 304 have no body, and their connection is used again."""
    with FaultServer([Script.of("bare", steps.Head(status, (), None), steps.End()), "healthy"]) as server:
        call = Call(sender, server.chat_url)
        assert call.run() == b""
        assert (call.status, call.verdict.kind) == (status, VerdictKind.DONE)
        assert Call(sender, server.chat_url).run()
        assert server.connections == 1


def test_informational_heads_are_passed_over(sender: Sender) -> None:
    """A 100 Continue before the answer is not taken for it."""
    early = steps.Send(b"HTTP/1.1 100 Continue\r\n\r\n")
    with FaultServer(
        Script.of("early", early, steps.Head(200, (), "length", 2), steps.Chunk(b"ok"), steps.End())
    ) as server:
        call = Call(sender, server.chat_url)
        assert call.run() == b"ok"
        assert call.status == 200


# -- what is asked for ------------------------------------------------------


def test_a_stream_asks_for_no_compression(sender: Sender) -> None:
    """A streamed call asks for ``identity``; a plain call for what requests asks for.

    A caller's own header wins.
    """
    with FaultServer() as server:
        Call(sender, server.chat_url).run()
        Call(sender, server.chat_url, streaming=False).run()
        Call(sender, server.chat_url, headers={"accept-encoding": "gzip"}).run()
        asked = [request.header("accept-encoding") for request in server.requests]
    assert asked[0] == "identity"
    assert "gzip" in (asked[1] or "")
    assert asked[2] == "gzip"


@pytest.mark.parametrize("name", ["x-request-id", "request-id", "apim-request-id", "cf-ray"])
def test_the_providers_name_for_the_request_is_noted(name: str, sender: Sender) -> None:
    """The identity that a provider gives to the request is in the statistics.

    The identity is found under any of its usual headers.
    """
    script = Script.of("named", steps.Head(200, [(name, "req-7")], "length", 0), steps.End())
    with FaultServer(script) as server:
        call = Call(sender, server.chat_url)
        call.run()
    assert call.attempt.stats.request_id == "req-7"


def test_the_bytes_of_the_request_are_counted(sender: Sender) -> None:
    """Head and body of the request count, and nothing of a CONNECT does."""
    with FaultServer() as server:
        call = Call(sender, server.chat_url, data=bytes(100_000))
        call.run()
        (request,) = server.requests
    assert request.body_bytes == 100_000
    assert 100_000 < call.attempt.stats.request_bytes < 101_000
    assert call.attempt.stats.sent == "yes"


@pytest.mark.parametrize("kind", ["file", "generator", "form", "text", "empty"])
def test_every_kind_of_body_is_sent_whole(kind: str, sender: Sender) -> None:
    """Files, generators, forms and text reach the server as requests would send them.

    Their bytes are counted.
    """
    data: Any = {
        "file": io.BytesIO(b"x" * 100_000),
        "generator": iter([b"x" * 50_000, b"", b"x" * 50_000]),
        "form": {"key": "x" * 99_996},
        "text": "x" * 100_000,
        "empty": b"",
    }[kind]
    with FaultServer() as server:
        call = Call(sender, server.chat_url, data=data)
        call.run()
        assert call.error is None
        (request,) = server.requests
    size = 0 if kind == "empty" else 100_000
    assert (request.body_bytes, request.complete) == (size, True)
    assert size < call.attempt.stats.request_bytes < size + 1_000


# -- plain calls ------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_plain_response_is_whole(encoding: str, pack: Any, framing: Framing, sender: Sender) -> None:
    """Content, text, JSON and headers of a plain call are those of requests, the encoding undone."""
    loading = _Loading()
    with FaultServer(_sized(pack(_DOCUMENT), ("Content-Encoding", encoding), framing=framing)) as server:
        call = Call(sender, server.chat_url, reading=loading, streaming=False)
        call.run()
        assert call.error is None
    response = loading.loaded
    assert response.content == _DOCUMENT
    assert response.json() == json.loads(_DOCUMENT)
    assert (response.status_code, response.ok, response.headers["content-encoding"]) == (200, True, encoding)
    assert b"".join(response.iter_content(100)) == _DOCUMENT


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_plain_response_that_cannot_be_decoded_keeps_its_bytes(encoding: str, sender: Sender) -> None:
    """A body that is not what its encoding says is kept as it came.

    A page of an error is better than none.
    """
    loading = _Loading()
    with FaultServer(_sized(_DOCUMENT, ("Content-Encoding", encoding))) as server:
        Call(sender, server.chat_url, reading=loading, streaming=False).run()
    assert loading.loaded.content == _DOCUMENT


def test_a_loaded_response_holds_no_connection(sender: Sender) -> None:
    """A response that the caller keeps has given its connection back."""
    loading = _Loading()
    with FaultServer() as server:
        for _ in range(2):
            call = Call(sender, server.chat_url, reading=loading, streaming=False)
            call.run()
            assert loading.loaded.raw.connection is None
            assert loading.loaded.raw.closed
        assert server.connections == 1
