"""Opening a connection: several addresses, a name look-up that hangs, and what is published when."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmwatch.errors import ConnectFailed
from llmwatch.faults import FaultServer, blackhole, refused_port
from llmwatch.transport.sender import Sender
from llmwatch.watch import supervisor
from llmwatch.watch.clock import SYSTEM
from llmwatch.watch.machine import VerdictKind
from tests.transport.drive import FREE, GONE, LIMIT, PATIENCE, Call, assert_killed, assert_over, assert_prompt

_NAME = "provider.invalid"
_Address = tuple[str, int]


def _resolve(monkeypatch: pytest.MonkeyPatch, look_up: Callable[[], list[_Address]]) -> None:
    """Let the name of the provider stand for what ``look_up`` returns; nothing else is changed."""
    system = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != _NAME:
            return system(host, *args, **kwargs)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in look_up()]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@contextlib.contextmanager
def _connects(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The addresses to which sockets connect while the block runs."""
    tried: list[Any] = []
    plain, coded = socket.socket.connect, socket.socket.connect_ex

    def connect(self: socket.socket, address: Any) -> None:
        tried.append(address)
        plain(self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        tried.append(address)
        return coded(self, address)

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        patch.setattr(socket.socket, "connect_ex", connect_ex)
        yield tried


class _Resolver:
    """A resolver that says nothing until it is let go, and then gives an address or an error."""

    def __init__(self, answer: _Address | OSError) -> None:
        self.asked = threading.Event()
        self.go = threading.Event()
        self._answer = answer

    def __call__(self) -> list[_Address]:
        self.asked.set()
        assert self.go.wait(PATIENCE)
        if isinstance(self._answer, OSError):
            raise self._answer
        return [self._answer]


# -- the look-up ------------------------------------------------------------


@pytest.mark.parametrize("found", [True, False], ids=["found", "unknown"])
def test_a_hanging_look_up_frees_its_caller_at_connect(
    found: bool, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is free at ``connect``, and the worker counts as one orphan.

    When the name is found nothing is sent.
    """
    registry = supervisor.current().registry
    with FaultServer() as server:
        answer = ("127.0.0.1", server.port) if found else socket.gaierror(socket.EAI_NONAME, "unknown")
        resolver = _Resolver(answer)
        _resolve(monkeypatch, resolver)
        unabortable = registry.counts()["unabortable"]
        call = Call(sender, f"http://{_NAME}:{server.port}/v1/chat/completions", limits={"connect": LIMIT}).start()
        assert call.take() == b""
        assert resolver.asked.is_set()
        assert (call.verdict.kind, call.verdict.limit) == (VerdictKind.KILLED, "connect")
        assert_prompt(call.verdict)
        assert call.freed_at - call.verdict.at < FREE

        until, pause = SYSTEM.now() + PATIENCE, threading.Event()
        while not call.attempt.orphaned and SYSTEM.now() < until:
            pause.wait(0.005)
        assert call.attempt.orphaned
        counts = registry.counts()
        assert (counts["orphans"], counts["unabortable"]) == (1, unabortable + 1)

        resolver.go.set()
        assert call.attempt.join(GONE)
        assert registry.counts()["orphans"] == 0
        assert (server.connections, server.requests) == (0, [])
        assert call.verdict.kind is VerdictKind.KILLED


def test_a_cancelled_look_up_opens_no_connection(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is cancelled while its name is looked up is over at once.

    The worker connects to nothing afterwards.
    """
    with FaultServer() as server, _connects(monkeypatch) as tried:
        resolver = _Resolver(("127.0.0.1", server.port))
        _resolve(monkeypatch, resolver)
        call = Call(sender, f"http://{_NAME}:{server.port}/").start()
        assert resolver.asked.wait(PATIENCE)
        assert call.attempt.cancel("user")
        assert call.take() == b""
        resolver.go.set()
        assert call.attempt.join(GONE)
        assert tried == []


# -- several addresses ------------------------------------------------------


def test_a_dead_first_address_leaves_time_for_the_second(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of two addresses gets at most half of what is left of ``connect``.

    The second answers.
    """
    limit = 6 * LIMIT
    with FaultServer() as server, blackhole() as dead, _connects(monkeypatch) as tried:
        _resolve(monkeypatch, lambda: [dead, ("127.0.0.1", server.port)])
        began = SYSTEM.now()
        call = Call(sender, f"http://{_NAME}:{server.port}/v1/chat/completions", limits={"connect": limit})
        assert call.run()
        assert call.verdict.kind is VerdictKind.DONE
        assert limit / 2 <= SYSTEM.now() - began
        assert tried == [dead, ("127.0.0.1", server.port)]
        assert (server.connections, len(server.requests)) == (1, 1)


def test_a_refusing_first_address_is_passed_over_at_once(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that refuses costs no time, and the next one is tried."""
    with FaultServer() as server, refused_port() as port:
        _resolve(monkeypatch, lambda: [("127.0.0.1", port), ("127.0.0.1", server.port)])
        began = SYSTEM.now()
        call = Call(sender, f"http://{_NAME}:{server.port}/v1/chat/completions", limits={"connect": PATIENCE})
        assert call.run()
        assert call.verdict.kind is VerdictKind.DONE
        assert SYSTEM.now() - began < PATIENCE / 2


def test_the_last_address_decides_how_it_failed(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no address answers, the call fails with the cause of the last one."""
    with refused_port() as one, refused_port() as other:
        _resolve(monkeypatch, lambda: [("127.0.0.1", one), ("127.0.0.1", other)])
        call = Call(sender, f"http://{_NAME}:80/")
        call.run()
    assert isinstance(call.error, ConnectFailed)
    assert call.error.cause == "refused"
    assert call.attempt.stats.sockets == 2


def test_dead_addresses_together_are_bound_by_the_limit(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three dead addresses take ``connect`` and not three times as long.

    The worker is woken from the last.
    """
    with blackhole() as dead, _connects(monkeypatch) as tried:
        _resolve(monkeypatch, lambda: [dead, dead, dead])
        call = Call(sender, f"http://{_NAME}:80/", limits={"connect": LIMIT})
        assert call.start().take() == b""
        assert_killed(call, limit="connect", phase="connecting")
        assert tried == [dead] * 3


def test_no_further_address_is_tried_after_the_end(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is woken from a dead address does not try the living one behind it.

    Its attempt is over.
    """
    with FaultServer() as server, blackhole() as dead, _connects(monkeypatch) as tried:
        _resolve(monkeypatch, lambda: [dead, ("127.0.0.1", server.port)])
        call = Call(sender, f"http://{_NAME}:{server.port}/", limits={"connect": PATIENCE}).start()
        until = SYSTEM.now() + PATIENCE
        while not tried and SYSTEM.now() < until:
            call.attempt.take(SYSTEM.now() + 0.005)
        call.attempt.cancel("user")
        assert_over(call)
        assert tried == [dead]
        assert server.connections == 0


def test_each_socket_is_published_before_it_connects(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every connect the attempt owns exactly the socket that connects, so that a kill always finds it."""
    owned: list[list[int]] = []
    plain, coded = socket.socket.connect, socket.socket.connect_ex

    def note(sock: socket.socket) -> None:
        if threading.current_thread() is call.attempt._thread:
            handles: list[Any] = list(call.attempt._handles)
            owned.append([handle.owner.fileno() == sock.fileno() for handle in handles])

    def connect(self: socket.socket, address: Any) -> None:
        note(self)
        plain(self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        note(self)
        return coded(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect_ex)
    with FaultServer() as server, refused_port() as port:
        _resolve(monkeypatch, lambda: [("127.0.0.1", port), ("127.0.0.1", server.port)])
        call = Call(sender, f"http://{_NAME}:{server.port}/v1/chat/completions")
        assert call.run()
    assert owned == [[True], [True]]


@pytest.mark.parametrize("limits", [{}, {"connect": LIMIT * 5}], ids=["off", "on"])
def test_a_default_time_out_of_the_process_changes_nothing(limits: dict[str, float], sender: Sender) -> None:
    """``socket.setdefaulttimeout`` of the user's program does not bound a call.

    The call's sockets stay blocking as well.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(LIMIT)
    try:
        with FaultServer("late-headers") as server:
            for _ in range(2):
                call = Call(sender, server.chat_url, limits=limits, backstop=None)
                assert call.run()
                assert call.error is None
            assert server.connections == 1
    finally:
        socket.setdefaulttimeout(before)


def test_a_connection_attempt_that_fails_leaves_no_socket(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the middle of connecting, whatever it is, closes the socket and its duplicate."""

    def fail(*args: Any) -> None:
        raise OSError(errno.ENETUNREACH, "no route")

    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket.socket, "connect_ex", fail)
    call = Call(sender, "http://127.0.0.1:9/")
    call.run()
    assert isinstance(call.error, ConnectFailed)
    assert call.attempt.stats.sockets == 1
    assert_over(call)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 loopback")
@pytest.mark.parametrize("script", ["healthy", "silent"])
def test_an_ipv6_address_is_connected_to_and_can_be_shut(script: str, sender: Sender) -> None:
    """A numeric IPv6 host works, and its socket can be shut down like any other."""
    with FaultServer(script, host="::1") as server:
        call = Call(sender, server.chat_url, limits={"ttfb": LIMIT}).start()
        call.take()
        assert call.verdict.kind is (VerdictKind.DONE if script == "healthy" else VerdictKind.KILLED)
        assert_over(call)
        assert len(server.requests) == 1
