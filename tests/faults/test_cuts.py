"""Scripts in which the connection or the body ends before the answer does."""

from __future__ import annotations

import socket
import ssl
import time

import pytest

from llmwatch.faults import FaultServer, catalogue
from tests.faults import reading
from tests.faults.client import FRAMINGS, PATHS, PATIENCE, SHAPES, WireClient, asking


@pytest.mark.parametrize("framing", FRAMINGS)
def test_eof_without_terminal_ends_in_good_order(framing: str):
    """The body ends as its framing wants it, the answer does not."""
    for shape in SHAPES:
        with FaultServer("eof-without-terminal", framing=framing) as server, asking(server, shape) as client:
            assert client.read().ended == "end"
            assert reading.text(shape, client.body) == catalogue.answer(3)
            assert not reading.is_terminated(shape, client.body)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_reset_mid_stream_comes_after_the_tokens(framing: str):
    """The tokens arrive before the reset does."""
    for shape in SHAPES:
        with FaultServer("reset-mid-stream:tokens=2", framing=framing) as server, asking(server, shape) as client:
            assert client.read().ended == "reset"
            assert reading.text(shape, client.body) == catalogue.answer(2)


def test_reset_can_come_before_content_and_after_a_while():
    """With no tokens only the opening comes; the reset waits as long as it was told to."""
    with FaultServer("reset-mid-stream:tokens=0,after=0.05") as server, WireClient(server.url) as client:
        began = time.monotonic()
        assert client.ask("anthropic").read().ended == "reset"
        assert time.monotonic() - began >= 0.05
        assert [name for name, _ in reading.events(client.body)] == ["message_start"]


@pytest.mark.parametrize(
    ("name", "ended"),
    [("reset-before-response", "reset"), ("fin-before-response", "eof"), ("fin-before-response:half=yes", "eof")],
)
def test_cut_before_the_response_sends_nothing(name: str, ended: str):
    """The connection ends without a byte, after the request was read."""
    with FaultServer(name) as server, WireClient(server.url) as client:
        client.send(PATHS["openai-chat"])
        assert client.end_of_connection() == ended
        assert client.buffer == b""
        assert server.requests[0].complete


def test_reset_of_a_reused_connection():
    """A second request on the same connection can meet the reset."""
    with FaultServer(["healthy", "reset-before-response"]) as server, WireClient(server.url) as client:
        assert client.ask().read().ended == "end"
        client.send(PATHS["openai-chat"])
        assert client.end_of_connection() == "reset"
        assert [request.connection for request in server.requests] == [1, 1]


@pytest.mark.parametrize("name", ["missing-last-chunk", "short-length"])
def test_broken_framing_says_what_came(name: str):
    """The tokens before the cut are readable.

    The terminal event is not among them unless it was asked for.
    """
    for shape in SHAPES:
        with FaultServer([name, f"{name}:terminal=yes"]) as server:
            with asking(server, shape) as client:
                assert client.read().ended == "eof"
                assert reading.text(shape, client.body) == catalogue.answer(3)
            with asking(server, shape) as client:
                assert client.read().ended == "eof"
                assert reading.is_terminated(shape, client.body)


def test_cut_chunk_promises_more_than_it_sends():
    """The last chunk is shorter than its size says."""
    with FaultServer("cut-chunk:missing=7") as server, asking(server) as client:
        client.read()
        size, rest = client.buffer.split(b"\r\n", 1)
        assert int(size, 16) == len(rest) + 7
        assert rest.startswith(b"data: ")


def test_short_length_promises_more_than_it_sends():
    """Content-Length is beyond the body by so many bytes."""
    with FaultServer("short-length:missing=5") as server, asking(server) as client:
        client.read()
        assert int(client.headers["content-length"]) == len(client.body) + 5


@pytest.mark.parametrize("name", ["tls-cut", "tls-cut-unframed"])
def test_tls_cut_sends_no_close_notify(name: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext):
    """Over TLS the FIN comes without close_notify, after the tokens."""
    with FaultServer(name, tls=server_tls) as server, asking(server, tls=client_tls) as client:
        assert client.read().ended == "ragged"
        assert reading.text("openai-chat", client.body) == catalogue.answer(3)
        assert client.framing == ("close" if name == "tls-cut-unframed" else "chunked")


def test_clean_close_sends_close_notify(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext):
    """A body that ends with its connection ends with close_notify over TLS."""
    with FaultServer("unframed", tls=server_tls) as server, asking(server, tls=client_tls) as client:
        assert client.read().ended == "end"
        assert client.gone == "eof"


def test_reset_over_tls_is_a_reset(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext):
    """A reset over TLS is one of the connection, not of the protocol on it."""
    with FaultServer("reset-mid-stream", tls=server_tls) as server, asking(server, tls=client_tls) as client:
        # Below TLS, because CPython reports a reset and a missing close_notify in the same way.
        client.sock = socket.socket(fileno=client.sock.detach())
        client.sock.settimeout(PATIENCE)
        assert client.end_of_connection() == "reset"


@pytest.mark.parametrize("framing", FRAMINGS)
def test_empty_stream_has_no_event(framing: str):
    """The body is empty, or holds a comment alone, and ends in good order."""
    with FaultServer(["empty-stream", "empty-stream:comment=yes"], framing=framing) as server:
        for expected in (b"", b": keep-alive\n\n"):
            with asking(server) as client:
                assert client.read().ended == "end"
                assert client.body == expected
