"""The steps, each on its own."""

from __future__ import annotations

import math
import threading
import time

import pytest

from llmwatch.faults import FaultServer, Script
from llmwatch.faults.steps import (
    Burst,
    Chunk,
    Close,
    End,
    HalfClose,
    Hang,
    Head,
    ReadBody,
    Repeat,
    Reset,
    Send,
    Step,
    Trickle,
    Wait,
    WaitFor,
    paced,
)
from tests.faults.client import WireClient


def played(*steps: Step) -> FaultServer:
    return FaultServer(Script.of("steps", *steps))


def test_send_writes_bytes_as_they_are():
    """Raw bytes go out without framing, also in a chunked body."""
    with played(Send(b"HTTP/1.1 200 OK\r\n\r\n"), Send(b"raw"), Close()) as server, WireClient(server.url) as client:
        assert client.send("/").end_of_connection() == "eof"
        assert client.buffer == b"HTTP/1.1 200 OK\r\n\r\nraw"


@pytest.mark.parametrize(
    ("framing", "expected"),
    [
        ("chunked", b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
        ("length", b"Content-Length: 6\r\n\r\nonetwo"),
        ("close", b"Connection: close\r\n\r\nonetwo"),
        (None, b"\r\nonetwo"),
    ],
)
def test_chunks_follow_the_framing(framing: str | None, expected: bytes):
    """The body is written in the framing that the head announced."""
    head = Head(201, [("A", "b")], framing, 6)
    with played(head, Chunk(b"one"), Chunk(b"two"), End(), Close()) as server, WireClient(server.url) as client:
        assert client.send("/").end_of_connection() == "eof"
        assert client.buffer == b"HTTP/1.1 201 Created\r\nA: b\r\n" + expected


def test_empty_chunk_does_not_end_the_body():
    """An empty piece is written as nothing, since an empty chunk would be the end."""
    with played(Head(), Chunk(b""), Chunk(b"x"), End()) as server, WireClient(server.url) as client:
        assert client.send("/").head().read().chunks == [b"x"]


def test_trickle_writes_in_small_pieces():
    """A piece of the body goes out a few bytes at a time, in the time that takes."""
    with played(Head(), Trickle(b"abcdefg", 3, 0.02), End()) as server, WireClient(server.url) as client:
        began = time.monotonic()
        assert client.send("/").head().read().chunks == [b"abc", b"def", b"g"]
        assert time.monotonic() - began >= 0.06


def test_repeat_counts():
    """Steps are played so many times."""
    with played(Head(), Repeat([Chunk(b"a"), Chunk(b"b")], times=3), End()) as server, WireClient(server.url) as client:
        assert client.send("/").head().read().chunks == [b"a", b"b"] * 3


def test_burst_is_one_write():
    """A burst sends the bytes of its steps in one piece, which a client can read at once."""
    steps = [Head(200, (), "length", 3), Chunk(b"a"), Chunk(b"b"), Chunk(b"c")]
    with played(Burst(steps), End()) as server, WireClient(server.url) as client:
        client.send("/")
        assert client.sock.recv(65536).endswith(b"\r\n\r\nabc")


def test_gate_holds_and_releases():
    """A named gate, an event of the test and one that was set before hold a script until they are set."""
    event, done = threading.Event(), threading.Event()
    done.set()
    steps = [Head(), Chunk(b"1"), WaitFor("gate"), Chunk(b"2"), WaitFor(event), WaitFor(done), Chunk(b"3"), End()]
    with played(*steps) as server, WireClient(server.url) as client:
        client.send("/").head()
        for opened, expected in ((server.gate("gate"), b"1"), (event, b"12")):
            client.read(at_least=len(expected))
            assert (client.body, client.is_quiet()) == (expected, True)
            opened.set()
        assert client.read().body == b"123"


def test_gate_can_be_closed_again():
    """A gate that was cleared holds again."""
    steps = [Head(), WaitFor("gate"), Chunk(b"1"), WaitFor("other"), WaitFor("gate"), Chunk(b"2"), End()]
    with played(*steps) as server, WireClient(server.url) as client:
        gate, other = server.gate("gate"), server.gate("other")
        gate.set()
        client.send("/").head().read(at_least=1)
        gate.clear()
        other.set()
        assert client.is_quiet()
        gate.set()
        assert client.read().body == b"12"


@pytest.mark.parametrize("wait", [Wait(60), WaitFor("never"), WaitFor(threading.Event()), Hang()])
@pytest.mark.parametrize("leave", ["close", "reset"])
def test_waits_notice_that_the_client_left(wait: Step, leave: str):
    """A client that leaves ends any wait of a script."""
    with played(wait) as server, WireClient(server.url) as client:
        client.send("/")
        server.wait_for_requests(1)
        client.reset() if leave == "reset" else client.sock.close()
        server.wait_for_closed(1)


def test_half_close_keeps_reading():
    """After a FIN of the server the client's bytes are still taken."""
    reading = Script(
        name="half",
        description="a FIN before the body is read",
        reading=lambda: (Send(b"HTTP/1.1 200 OK\r\n\r\n"), HalfClose(), ReadBody()),
        play=lambda context: (Close(),),
    )
    with FaultServer(reading) as server, WireClient(server.url) as client:
        client.sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
        assert client.end_of_connection() == "eof"
        client.sock.sendall(b"abc")
        server.wait_for_requests(1)
        assert server.requests[0].body == b"abc"


@pytest.mark.parametrize(("step", "ended"), [(Reset(), "reset"), (Close(), "eof")])
def test_cuts_end_the_script(step: Step, ended: str):
    """Nothing is played after the connection was cut."""
    with played(Head(), step, Chunk(b"never")) as server, WireClient(server.url) as client:
        assert client.send("/").head().end_of_connection() == ended
        assert client.buffer == b""


def test_unread_bytes_do_not_turn_a_close_into_a_reset():
    """A close is a FIN even when the client has sent more than was read."""
    unread = Script(name="unread", description="", reading=lambda: (), play=lambda context: (WaitFor("all"), Close()))
    with FaultServer(unread) as server, WireClient(server.url) as client:
        client.sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        server.wait_for_requests(1)
        client.sock.sendall(bytes(1000))
        server.gate("all").set()
        assert client.end_of_connection() == "eof"


def test_steps_know_the_length_of_their_body():
    """The length of a body is the sum of its steps', and endless where one of them is."""
    steps = [
        Chunk(b"abc"),
        Trickle(b"de"),
        Repeat([Chunk(b"f")], times=4),
        Burst([Chunk(b"gh")]),
        Wait(1),
        Send(b"raw"),
    ]
    assert [step.body_length() for step in steps] == [3, 2, 4, 2, 0, 0]
    assert Repeat([Chunk(b"x")]).body_length() == math.inf


def test_paced_puts_a_wait_after_each_block():
    """Blocks become chunks, with waits only where there is a pace."""
    assert list(paced([b"a", b"b"])) == [Chunk(b"a"), Chunk(b"b")]
    assert list(paced([b"a", b"b"], 0.5)) == [Chunk(b"a"), Wait(0.5), Chunk(b"b"), Wait(0.5)]
