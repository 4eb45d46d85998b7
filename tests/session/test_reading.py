"""Every documented way to read a response: through each entry point the same as with plain requests."""

from __future__ import annotations

import gzip
import io
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import requests
from urllib3.exceptions import HTTPError, ProtocolError

from llmwatch.faults import FaultServer
from llmwatch.faults.steps import Framing
from tests.rows import each
from tests.session.entry_points import Action, Way, caught
from tests.session.scripts import FRAMINGS, LINES, TEXT, encoded, headless, numbered, reply

Read = Callable[[requests.Response], Any]


def _lines(**options: Any) -> Read:
    return lambda response: list(response.iter_lines(**options))


def _content(size: int | None) -> Read:
    # How a body is cut into pieces is up to its framing and to the network.
    return lambda response: b"".join(response.iter_content(size))


def _characters(size: int | None) -> Read:
    return lambda response: "".join(response.iter_content(size, decode_unicode=True))


def _raw_reads(size: int) -> Read:
    def read(response: requests.Response) -> Any:
        pieces = list(iter(lambda: response.raw.read(size), b""))
        return b"".join(pieces), [len(piece) for piece in pieces], response.raw.closed

    return read


def _raw_read1(response: requests.Response) -> Any:
    return b"".join(iter(lambda: response.raw.read1(100), b"")), response.raw.read1(100)


def _copied(response: requests.Response) -> bytes:
    target = io.BytesIO()
    shutil.copyfileobj(response.raw, target)
    return target.getvalue()


def _into(response: requests.Response) -> Any:
    room = bytearray(64)
    return response.raw.readinto(room), bytes(room)


READS: dict[str, Read] = {
    "content": lambda response: response.content,
    "text": lambda response: (response.text, response.encoding, response.apparent_encoding),
    "iteration": lambda response: b"".join(response),
    "iter_lines": _lines(),
    "iter_lines, decoded": _lines(decode_unicode=True),
    "iter_lines, delimiter": _lines(delimiter=b" "),
    "iter_lines, small chunks": _lines(chunk_size=7),
    "iter_content of 1": _content(1),
    "iter_content of 10": _content(10),
    "iter_content of 100000": _content(100_000),
    "iter_content of None": _content(None),
    "iter_content of 3, decoded": _characters(3),
    "iter_content of None, decoded": _characters(None),
    "raw.read": lambda response: (response.raw.read(), response.raw.read(), response.raw.closed),
    "raw.read of 0": lambda response: (response.raw.read(0), response.raw.read()),
    "raw.read of 10": _raw_reads(10),
    "raw.read of 100000": _raw_reads(100_000),
    "raw.read1": _raw_read1,
    "raw.readinto": _into,
    "raw.readline": lambda response: [response.raw.readline() for _ in range(4)],
    "raw.stream": lambda response: b"".join(response.raw.stream()),
    "raw.stream of 16": lambda response: b"".join(response.raw.stream(16)),
    "raw.stream, decoded": lambda response: b"".join(response.raw.stream(1024, decode_content=True)),
    "raw iterated": lambda response: list(response.raw),
    "raw.tell": lambda response: (response.raw.tell(), response.raw.read(20), response.raw.tell()),
    "raw.data": lambda response: (response.raw.data, response.raw.data),
    "raw in a text file": lambda response: io.TextIOWrapper(response.raw, "utf-8").read(),
    "raw in a buffer": lambda response: io.BufferedReader(response.raw).read(),
    "raw copied": _copied,
    "content twice": lambda response: (response.content, response.content, list(response.iter_content(100))),
    "iter_content after content": lambda response: (response.content, list(response.iter_lines())),
}


def _all(*names: str, stream: bool = True) -> Action:
    def act(session: requests.Session, server: FaultServer) -> dict[str, Any]:
        found = {}
        for name in names:
            with session.get(server.url + "/file", stream=stream) as response:
                found[name] = READS[name](response)
        return found

    return act


# What plain requests has no answer to itself, once the body is loaded or where it is chunked.
_NOT_LOADED = ("raw in a text file", "raw in a buffer", "raw.tell")


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_body_reads_the_same(way: Way, framing: Framing) -> None:
    """With ``stream=True``, every way to read a body gives what it gives with plain requests."""
    way.alike(_all(*READS), reply(TEXT.encode() * 9), framing=framing)


@pytest.mark.parametrize("framing", ["length", "close"])
def test_content_after_raw_has_the_rest(way: Way, framing: Framing) -> None:
    """``content`` after reads of ``raw`` has only the rest."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        response = session.get(server.url, stream=True)
        return response.raw.read(5) + response.content

    assert way.alike(act, reply(LINES), framing=framing) == LINES


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_loaded_body_reads_the_same(way: Way, framing: Framing) -> None:
    """Without ``stream``, ``raw`` is empty where it is empty in plain requests."""
    names = [name for name in READS if name not in _NOT_LOADED]
    way.alike(_all(*names, stream=False), reply(TEXT.encode() * 9), framing=framing)


_COMPRESSED = ("content", "iter_lines", "iter_content of 10", "iter_content of None", "raw.stream", "raw.read")


@each("encoding", ["gzip", "deflate", "raw"])
@each("stream", [True, False])
@each("framing", FRAMINGS)
def test_compressed_bodies_are_decoded_where_requests_decodes(
    way: Way, stream: bool, encoding: str, framing: Framing
) -> None:
    """A gzip or deflate body comes decoded out of the response, and as it was sent out of ``raw``."""
    body = LINES * 10
    seen = way.alike(_all(*_COMPRESSED, stream=stream), encoded(body, encoding), framing=framing)
    assert seen["content"] == body
    if stream and encoding == "gzip":
        assert gzip.decompress(seen["raw.stream"]) == body


def test_a_compressed_body_can_be_decoded_by_raw(way: Way) -> None:
    """``raw.read(decode_content=True)`` and ``raw.decode_content`` work as they do in plain requests."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        first = session.get(server.url, stream=True).raw.read(decode_content=True)
        response = session.get(server.url, stream=True)
        response.raw.decode_content = True
        return first, b"".join(iter(lambda: response.raw.read(33), b""))

    first, second = way.alike(act, encoded(LINES, "gzip"))
    assert first == second == LINES


@pytest.mark.parametrize("stream", [True, False])
def test_a_body_that_is_no_gzip_is_refused_alike(way: Way, stream: bool) -> None:
    """A body that cannot be decoded raises requests' ``ContentDecodingError``."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        caught(requests.exceptions.ContentDecodingError, lambda: session.get(server.url, stream=stream).content)
        return len(server.requests)

    assert way.alike(act, reply(b"plain", headers=[("Content-Encoding", "gzip")])) == 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", [204, 304, 205])
def test_answers_without_a_body_keep_their_connection(way: Way, status: int, stream: bool) -> None:
    """204 and 304 have no body, and their connection is used again."""
    script = headless(status) if status != 205 else reply(b"", status=205, framing="length")

    def act(session: requests.Session, server: FaultServer) -> Any:
        answers = []
        for _ in range(3):
            response = session.get(server.url, stream=stream)
            answers.append((response.status_code, response.content, response.raw.closed))
        return answers, server.connections

    answers, connections = way.alike(act, script)
    assert connections == 1
    assert answers == [(status, b"", True)] * 3


def test_a_head_request_has_the_headers_alone(way: Way) -> None:
    """HEAD is answered with a length and no body.

    Redirects are not followed, and the connection is used again.
    """
    script = headless(200, [("Content-Length", "12345"), ("Content-Type", "text/plain")])

    def act(session: requests.Session, server: FaultServer) -> Any:
        answers = []
        for stream in (True, False):
            response = session.head(server.url, stream=stream)
            answers.append((response.status_code, response.headers["Content-Length"], response.content))
        return answers, server.connections

    assert way.alike(act, script)[1] == 1


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_large_download_is_exact(way: Way, framing: Framing, stream: bool) -> None:
    """Some megabytes come out byte for byte."""
    body = numbered(4 << 20)

    def act(session: requests.Session, server: FaultServer) -> Any:
        response = session.get(server.url, stream=stream)
        return b"".join(response.iter_content(50_000)) == body

    assert way.alike(act, reply(body, pieces=40), framing=framing)


def test_json_parses_or_raises_requests_own_error(way: Way) -> None:
    """``json()`` parses a document, and raises requests' own error for an invalid one."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        good = session.get(server.url).json()
        caught(requests.exceptions.JSONDecodeError, session.get(server.url).json)
        return good

    assert way.alike(act, reply(b'{"a": [1, "\xc3\xa9"]}'), reply(b"{no")) == {"a": [1, "é"]}


def test_a_response_closed_early_says_so(way: Way) -> None:
    """A response that is closed early, by ``close`` or its block, says so.

    The next call has its own answer.
    """

    def act(session: requests.Session, server: FaultServer) -> Any:
        first = session.get(server.url, stream=True)
        begun = next(first.iter_content(10))
        first.close()
        with session.get(server.url, stream=True) as second:
            line = next(second.iter_lines())
        return (
            begun,
            line,
            first.raw.closed,
            second.raw.closed,
            list(first.iter_content(10)),
            session.get(server.url).content,
        )

    seen = way.alike(act, reply(LINES * 3000, pieces=100))
    assert seen[2:4] == (True, True)


_AFTER: dict[str, Callable[[requests.Response], bytes]] = {
    "content": lambda response: response.content,
    "iter_content": lambda response: b"".join(response.iter_content(100)),
    "iter_content(None)": lambda response: b"".join(response.iter_content(None)),
    "iter_lines": lambda response: b"".join(response.iter_lines()),
    "stream": lambda response: b"".join(response.raw.stream(50, decode_content=True)),
}


@each("framing", FRAMINGS)
@each("encoding", ["gzip", None])
@each("after", _AFTER)
def test_a_closed_body_hands_out_nothing_more(way: Way, framing: Framing, encoding: str | None, after: str) -> None:
    """A body that was closed before its end hands out nothing more, whatever was decoded of it.

    A compressed body whose length was announced raises an error, as with plain requests.
    """
    body = numbered(40_000)

    def act(session: requests.Session, server: FaultServer) -> Any:
        response = session.get(server.url, stream=True)
        first = next(response.iter_content(10))
        response.close()
        try:
            rest: Any = _AFTER[after](response)
        except (requests.RequestException, HTTPError) as error:
            rest = type(error)
        return first, rest

    data, headers = (gzip.compress(body), [("Content-Encoding", "gzip")]) if encoding else (body, [])
    script = reply(data, headers=headers, framing=framing)
    if encoding and (framing == "close" or (framing, after) == ("length", "iter_content(None)")):
        # Plain requests takes the part for the whole here.
        with FaultServer(script) as server, way.session() as session:
            first, rest = act(session, server)
    else:
        first, rest = way.alike(act, script)
    assert first == body[:10]
    if encoding and framing == "length":
        assert issubclass(rest, (requests.exceptions.ChunkedEncodingError, ProtocolError))
    else:
        assert rest == b""
