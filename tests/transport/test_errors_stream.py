"""Failures after the request is sent: one class, for every framing and every layer that notices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from llmwatch.errors import StreamCut
from llmwatch.faults import FaultServer, ProxyServer, Script, steps
from llmwatch.faults.steps import Framing
from llmwatch.transport.sender import Sender
from llmwatch.watch.machine import VerdictKind
from tests.transport.drive import GONE, Call
from tests.transport.scenes import Network


def _cut(call: Call, *, retryable: bool = True) -> StreamCut:
    call.run()
    assert call.verdict.kind is VerdictKind.FAILED
    assert isinstance(call.error, StreamCut)
    assert isinstance(call.error, ConnectionError)
    assert call.error.retryable is retryable
    return call.error


def _once(*last: steps.Step, framing: Framing, headers: bool = True) -> Script:
    """One word of a longer answer, and then the steps that end it, once the test has the word."""

    def play(context: Any) -> Iterator[steps.Step]:
        body = [steps.Chunk(b"one"), steps.WaitFor("read")]
        yield from context.answer([*body, *last] if headers else last, framing=framing, ends=False)

    return Script(name="once", description="one word", play=play)


def _take_the_word(call: Call, server: FaultServer) -> None:
    # A RST discards what the reader's kernel holds, so it may come only when the word is read.
    assert call.start().attempt.take() == [b"one"]
    server.gate("read").set()
    assert call.take() == b""


def _cut_already(call: Call) -> StreamCut:
    assert call.attempt.join(GONE)
    assert call.verdict.kind is VerdictKind.FAILED
    assert isinstance(call.error, StreamCut)
    return call.error


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_reset_in_the_body_is_stream_cut(framing: Framing, sender: Sender) -> None:
    """A RST in the middle of the body is ``StreamCut`` in every framing.

    What came before was handed over.
    """
    with FaultServer(_once(steps.Reset(), framing=framing)) as server:
        call = Call(sender, server.chat_url)
        _take_the_word(call, server)
        assert "reset" in str(_cut_already(call))


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_reset_in_a_tls_body_is_stream_cut(framing: Framing, sender: Sender, network: Network) -> None:
    """Over TLS a RST is ``StreamCut`` as well, also where CPython reports it as an end of file."""
    with FaultServer(_once(steps.Reset(), framing=framing), tls=network.tls) as server:
        call = Call(sender, server.chat_url, verify=network.bundle)
        _take_the_word(call, server)
        _cut_already(call)


@pytest.mark.parametrize("notify", [True, False], ids=["close-notify", "cut"])
@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_tls_end_inside_a_framed_body_is_stream_cut(
    notify: bool, framing: Framing, sender: Sender, network: Network
) -> None:
    """A TLS connection that is closed before the framing's end is ``StreamCut``.

    This holds with a close_notify and without.
    """
    with FaultServer(_once(steps.Close(notify=notify), framing=framing), tls=network.tls) as server:
        call = Call(sender, server.chat_url, verify=network.bundle)
        _take_the_word(call, server)
        _cut_already(call)


@pytest.mark.parametrize("proxy", [None, "plain", "tls"], ids=["direct", "tunnel", "tls-in-tls"])
@pytest.mark.parametrize("notify", [True, False], ids=["close-notify", "cut"])
def test_a_tls_end_without_close_notify_is_stream_cut(
    notify: bool, proxy: str | None, sender: Sender, network: Network
) -> None:
    """The absence of a close_notify is ``StreamCut`` if only the connection's end ends the body.

    A close_notify is a clean end there.
    """
    script = _once(steps.Close(notify=notify), framing="close")
    with (
        FaultServer(script, tls=network.tls) as server,
        ProxyServer(tls=network.tls if proxy == "tls" else None) as between,
    ):
        proxies = {} if proxy is None else {"https": between.url}
        call = Call(sender, server.chat_url, verify=network.bundle, proxies=proxies)
        _take_the_word(call, server)
        if notify:
            assert call.attempt.join(GONE)
            assert call.verdict.kind is VerdictKind.DONE
        else:
            _cut_already(call)


@pytest.mark.parametrize("name", ["cut-chunk", "missing-last-chunk", "short-length"])
@pytest.mark.parametrize("terminal", ["false", "true"])
def test_broken_framing_is_stream_cut(name: str, terminal: str, sender: Sender) -> None:
    """A chunk that is cut, a last chunk that is missing and a length that is not reached are one class."""
    with FaultServer(f"{name}:terminal={terminal}") as server:
        _cut(Call(sender, server.chat_url))


@pytest.mark.parametrize("tail", [b"", b"5", b"5\r", b"5\r\nab", b"3\r\nabc\r"])
def test_a_cut_at_any_byte_of_the_framing_is_stream_cut(tail: bytes, sender: Sender) -> None:
    """A body is not taken for whole wherever its framing is cut.

    The cut is in a size line, in a chunk or after the chunk.
    """
    with FaultServer(_once(steps.Send(tail), steps.Close(), framing="chunked")) as server:
        server.gate("read").set()
        _cut(Call(sender, server.chat_url))


def test_a_close_without_an_answer_is_stream_cut(sender: Sender) -> None:
    """A server that reads the request and closes is ``StreamCut``, since the request was sent."""
    with FaultServer("fin-before-response") as server:
        call = Call(sender, server.chat_url)
        error = _cut(call)
        assert len(server.requests) == 1
    assert call.attempt.stats.sent == "yes"
    assert "without an answer" in str(error)


def test_a_reset_without_an_answer_is_stream_cut(sender: Sender) -> None:
    """A server that reads the request and resets is ``StreamCut``."""
    with FaultServer("reset-before-response") as server:
        call = Call(sender, server.chat_url)
        error = _cut(call)
        assert len(server.requests) == 1
    assert call.attempt.stats.sent == "yes"
    assert "reset" in str(error)


@pytest.mark.parametrize("tail", [b"x", b"nonsense\r\n", b"-5\r\nabcde\r\n", b"\r\n"])
def test_a_chunk_without_a_size_is_not_http(tail: bytes, sender: Sender) -> None:
    """What stands in the place of a size is no size: another attempt would not change that."""
    with FaultServer(_once(steps.Send(tail), steps.Close(), framing="chunked")) as server:
        server.gate("read").set()
        _cut(Call(sender, server.chat_url), retryable=False)


@pytest.mark.parametrize("data", [b"nonsense\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"SSH-2.0", b"\n"])
def test_an_answer_that_is_not_http_is_stream_cut(data: bytes, sender: Sender) -> None:
    """An answer that is not HTTP is ``StreamCut``, and another attempt would not change it."""
    with FaultServer(Script.of("nonsense", steps.Send(data), steps.Close())) as server:
        _cut(Call(sender, server.chat_url), retryable=False)


@pytest.mark.parametrize("data", [b"H", b"HTTP/", b"HTTP/1.1", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nX-A: 1"])
def test_an_answer_that_is_cut_in_its_head_is_lost(data: bytes, sender: Sender) -> None:
    """The part of a status line, or of the headers, may have become HTTP."""
    with FaultServer(Script.of("cut", steps.Send(data), steps.Close())) as server:
        error = _cut(Call(sender, server.chat_url))
    assert "inside the headers" in str(error)


def test_a_reset_in_an_upload_is_stream_cut(sender: Sender) -> None:
    """A server that resets in the middle of a large upload is ``StreamCut``.

    The request was sent in part.
    """

    def reading() -> Iterator[steps.Step]:
        yield steps.WaitFor("reset")
        yield steps.Reset()

    script = Script(name="upload", description="resets", play=lambda context: (), reading=reading)
    with FaultServer(script, receive_buffer=4096) as server:
        call = Call(sender, server.chat_url, data=bytes(32 * 1024 * 1024)).start()
        server.wait_for_connections(1)
        server.gate("reset").set()
        call.take()
        assert call.attempt.join(5)
        assert call.verdict.kind is VerdictKind.FAILED
        assert isinstance(call.error, StreamCut)
        assert call.attempt.stats.sent == "partly"


def test_an_early_refusal_of_an_upload_is_read(sender: Sender) -> None:
    """A refusal that is sent before the body was read is read.

    This holds although the connection breaks while the client writes.
    """

    def reading() -> Iterator[steps.Step]:
        yield steps.Head(413, (), "length", 3)
        yield steps.Chunk(b"big")
        yield steps.HalfClose()
        yield steps.ReadBody()

    script = Script(name="early", description="refuses before it has read", play=lambda context: (), reading=reading)
    with FaultServer(script, receive_buffer=4096) as server:
        call = Call(sender, server.chat_url, data=bytes(1024 * 1024))
        assert call.run() == b"big"
        assert call.status == 413
        assert call.attempt.stats.status == 413


def test_a_reset_of_a_reused_connection_says_so(sender: Sender) -> None:
    """A pooled connection that breaks under the next request says so.

    The statistics say that the connection was reused, the request was sent, and not a byte came.
    """
    with FaultServer(["healthy", "reset-before-response"]) as server:
        assert Call(sender, server.chat_url).run()
        call = Call(sender, server.chat_url)
        _cut(call)
        assert server.connections == 1
    stats = call.attempt.stats
    assert (stats.reused, stats.response_bytes, stats.sent) == (True, 0, "yes")
    assert stats.idle is not None
