"""The duplicate of a socket: what it wakes, what it sees, and that it is closed."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.transport.sender import Reply, Sender
from llmwatch.transport.sockets import KEEPALIVE_OPTIONS, SocketHandle
from llmwatch.watch import machine
from llmwatch.watch.machine import GRACE, VerdictKind
from tests.conftest import SCALE
from tests.transport.drive import FREE, GONE, LIMIT, PATIENCE, Call, assert_prompt
from tests.transport.scenes import Network


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_a_shutdown_wakes_the_reader_and_closes_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    """A thread that is blocked on the owner's socket gets an end of file.

    The owner's descriptor stays its own.
    """
    one, _ = pair
    handle = SocketHandle(one)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(one.recv(1)))
    reader.start()
    handle.shutdown()
    reader.join(PATIENCE)
    handle.release()
    assert got == [b""]
    assert os.fstat(one.fileno())


def test_a_shutdown_never_raises(pair: tuple[socket.socket, socket.socket]) -> None:
    """Shutting down twice, after the peer has left, or before there is a connection, is silent."""
    one, other = pair
    other.close()
    handle = SocketHandle(one)
    handle.shutdown()
    handle.shutdown()
    handle.release()
    with socket.socket() as fresh:
        unconnected = SocketHandle(fresh)
        unconnected.shutdown()
        unconnected.release()


def test_a_released_handle_shuts_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    """After the release the owner's socket cannot be shut through the handle.

    Nothing seems to wait, and a second release is fine.
    """
    one, other = pair
    handle = SocketHandle(one)
    handle.release()
    handle.shutdown()
    assert handle.waiting() is False
    handle.release()
    other.send(b"x")
    assert one.recv(1) == b"x"


def test_a_handle_sees_bytes_that_wait_in_the_kernel(pair: tuple[socket.socket, socket.socket]) -> None:
    """Nothing waits at first; bytes do; after they were read nothing does; an end of file does."""
    one, other = pair
    handle = SocketHandle(one)
    assert handle.waiting() is False
    other.send(b"x")
    assert handle.waiting() is True
    one.recv(1)
    assert handle.waiting() is False
    other.close()
    assert handle.waiting() is True
    handle.release()


@pytest.mark.parametrize("timeout", [None, 5.0, 0.0])
def test_a_duplicate_leaves_the_owner_blocking_as_it_was(
    timeout: float | None, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Making a duplicate changes neither the owner's time-out nor whether its descriptor blocks."""
    one, _ = pair
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(1.0)
    try:
        one.settimeout(timeout)
        blocking = os.get_blocking(one.fileno())
        handle = SocketHandle(one)
        assert (one.gettimeout(), os.get_blocking(one.fileno())) == (timeout, blocking)
        handle.release()
    finally:
        socket.setdefaulttimeout(before)


def test_options_are_added_to_the_usual_ones() -> None:
    """Keep-alive probes are asked for on every system that can, with their times where it can."""
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in KEEPALIVE_OPTIONS


# -- looking before the kill ------------------------------------------------


class _Starved:
    """A reader that has had its first read and is then not scheduled, as far as the supervisor can tell."""

    def __init__(self) -> None:
        self.parked = threading.Event()
        self.go = threading.Event()

    def read(self, call: Call, reply: Reply) -> None:
        call.attempt._received(len(call.read_once(reply)))
        call.attempt._read_on()
        self.parked.set()
        self.go.wait(PATIENCE)


def _one_and(*then: steps.Step) -> Script:
    def play(context: Context) -> Iterator[Any]:
        yield from context.answer([steps.Chunk(b"one"), steps.WaitFor("more"), *then, steps.Hang()], ends=False)

    return Script(name="one", description="one word, and then what the test wants", play=play)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("waits", [False, True], ids=["nothing", "bytes"])
def test_bytes_that_wait_in_the_kernel_give_one_grace(waits: bool, tls: bool, sender: Sender, network: Network) -> None:
    """A reader that does not come to its waiting bytes has one second more.

    A reader without waiting bytes does not have it.
    """
    starved = _Starved()
    with FaultServer(_one_and(*([steps.Chunk(b"two")] if waits else [])), tls=network.tls if tls else None) as server:
        call = Call(
            sender, server.chat_url, limits={"stale": 2 * LIMIT}, reading=starved.read, verify=network.bundle
        ).start()
        assert starved.parked.wait(PATIENCE)
        server.gate("more").set()
        call.take()
        starved.go.set()
        assert call.verdict.kind is VerdictKind.KILLED
        assert call.verdict.elapsed is not None
        over = call.verdict.elapsed - 2 * LIMIT - (GRACE if waits else 0.0)
        assert 0 < over < FREE
        assert_prompt(call.verdict)
        assert call.attempt.join(GONE)


def test_a_starved_reader_that_comes_back_in_time_is_not_killed(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that waited are read within the grace, and the attempt goes on."""
    grace, resumed = 2.0 * SCALE, threading.Event()
    monkeypatch.setattr(machine, "GRACE", grace)

    def read(call: Call, reply: Reply) -> None:
        call.attempt._received(len(call.read_once(reply)))
        call.attempt._read_on()
        resumed.wait(LIMIT + grace / 8)
        call.read(reply)

    script = Script(
        name="two",
        description="two words, one at a time",
        play=lambda context: context.answer([steps.Chunk(b"one"), steps.Wait(LIMIT / 10), steps.Chunk(b"two")]),
    )
    with FaultServer(script) as server:
        call = Call(sender, server.chat_url, limits={"stale": LIMIT}, reading=read)
        assert call.run() == b"two"
        assert call.verdict.kind is VerdictKind.DONE
