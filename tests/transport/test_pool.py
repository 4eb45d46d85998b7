"""Connections are used again after a healthy answer, and only then."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from urllib3.connectionpool import HTTPConnectionPool

from llmwatch.faults import FaultServer, ProxyServer, Script, steps
from llmwatch.faults.steps import Framing
from llmwatch.transport.sender import Reply, Sender
from llmwatch.transport.sockets import SocketHandle
from llmwatch.watch.attempt import Attempt
from tests.transport.drive import LIMIT, Call, SpyLine, assert_over
from tests.transport.scenes import Network

_WAYS = ["plain", "tls", "tunnel", "tls-in-tls"]


def _open_socket(call: Call) -> Any:
    """The socket that an attempt owns at this moment; an ``SSLTransport`` stands for the one inside."""
    (handle,) = call.attempt._handles
    assert isinstance(handle, SocketHandle)
    return getattr(handle.owner, "socket", handle.owner)


@pytest.mark.parametrize("way", _WAYS)
def test_a_connection_is_reused_over_every_way(way: str, sender: Sender, network: Network) -> None:
    """Three calls one after the other share one connection, over every kind of way.

    The statistics say so.
    """
    tls = None if way == "plain" else network.tls
    with FaultServer(tls=tls) as server, ProxyServer(tls=tls if way == "tls-in-tls" else None) as proxy:
        proxies = {"https": proxy.url} if way in ("tunnel", "tls-in-tls") else {}
        reused = []
        for _ in range(3):
            call = Call(sender, server.chat_url, verify=network.bundle, proxies=proxies)
            assert call.run()
            assert call.error is None
            reused.append(call.attempt.stats.reused)
        assert (server.connections, len(server.requests)) == (1, 3)
        assert proxy.connections == (1 if proxies else 0)
    assert reused == [False, True, True]


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_connection_is_used_again_after_each_framing(framing: Framing, sender: Sender) -> None:
    """Both framings that leave the connection open let it be used again."""
    with FaultServer(framing=framing) as server:
        assert Call(sender, server.chat_url).run()
        assert Call(sender, server.chat_url).run()
        assert server.connections == 1


def test_a_body_that_ends_with_its_connection_gives_nothing_back(sender: Sender) -> None:
    """After a close-delimited body the next call connects anew.

    No descriptor of the first connection stays open.
    """
    with FaultServer(framing="close") as server:
        assert Call(sender, server.chat_url).run()
        server.wait_for_closed(1)
        assert Call(sender, server.chat_url).run()
        assert server.connections == 2


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_connection_close_closes_our_side(framing: Framing, sender: Sender) -> None:
    """After an answer with ``Connection: close`` the client's side closes and connects anew.

    The client's side closes also if the server waits for that.
    """

    def play(context: Any) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(b"one")], headers=[("Connection", "close")], framing=framing)

    with FaultServer(Script(name="last", description="the last answer of a connection", play=play)) as server:
        for count in (1, 2):
            call = Call(sender, server.chat_url)
            assert call.run() == b"one"
            assert call.error is None
            server.wait_for_closed(count)
        assert server.connections == 2


def test_a_keepalive_of_zero_never_reuses_a_connection(sender: Sender) -> None:
    """With a keep-alive of 0 every call opens a connection of its own, and the old one is closed."""
    with FaultServer() as server:
        for _ in range(3):
            call = Call(sender, server.chat_url, keepalive=0)
            assert call.run()
            assert (call.attempt.stats.reused, call.attempt.stats.idle) == (False, None)
        assert server.connections == 3
        server.wait_for_closed(2)


def test_a_connection_idle_beyond_keepalive_is_closed(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was idle for longer than the keep-alive is closed and not used.

    Below the keep-alive the connection is used, and the statistics tell the idle time.
    """
    with FaultServer() as server:
        assert Call(sender, server.chat_url).run()
        _age(sender, 9.0)
        young = Call(sender, server.chat_url, keepalive=10.0)
        assert young.run()
        _age(sender, 11.0)
        old = Call(sender, server.chat_url, keepalive=10.0)
        assert old.run()
        assert server.connections == 2
        server.wait_for_closed(1)
    assert young.attempt.stats.reused is True
    assert young.attempt.stats.idle == pytest.approx(9.0, abs=1.0)
    assert old.attempt.stats.reused is False


def _age(sender: Sender, seconds: float) -> None:
    """Let the one idle connection have come back earlier."""
    (pool,) = _pools(sender)
    (conn,) = [conn for conn in list(pool.pool.queue) if conn is not None]
    conn.idle_since -= seconds


def _pools(sender: Sender) -> Sequence[Any]:
    manager = sender._adapter.poolmanager
    return [manager.pools[key] for key in manager.pools.keys()]  # noqa: SIM118 - it is no mapping


def test_a_connection_that_the_server_dropped_is_not_used(sender: Sender) -> None:
    """A pooled connection whose server has hung up meanwhile is noticed and replaced.

    Nothing is written to the connection before.
    """
    with FaultServer("healthy:leave=fin") as server:
        assert Call(sender, server.chat_url).run()
        server.wait_for_closed(1)
        assert Call(sender, server.chat_url).run()
        assert [request.connection for request in server.requests] == [1, 2]


def _long(context: Any) -> Iterator[steps.Step]:
    yield from context.answer([steps.Chunk(b"one"), steps.WaitFor("on"), steps.Chunk(b"two")])


@pytest.mark.parametrize("end", ["kill", "cancel", "failure"])
@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_the_connection_of_a_failed_attempt_is_closed(end: str, framing: Framing, sender: Sender) -> None:
    """The connection of an attempt that ended in the middle of a body is closed.

    The end is a kill, a cancellation or a failure. The next call has its own connection.
    """

    def read_and_fail(call: Call, reply: Reply) -> None:
        call.read_once(reply)
        raise ValueError("broken content")

    script = Script(name="long", description="two words, a gate between them", play=_long, framing=framing)
    with FaultServer([script, "healthy"]) as server:
        limits = {"total": LIMIT} if end == "kill" else {}
        call = Call(
            sender, server.chat_url, limits=limits, reading=read_and_fail if end == "failure" else Call.read
        ).start()
        if end == "cancel":
            call.attempt.take()
            call.attempt.cancel("user")
        call.take()
        assert_over(call)
        server.wait_for_closed(1)
        assert Call(sender, server.chat_url).run()
        assert server.connections == 2


def test_the_connection_of_a_cut_drain_is_closed(sender: Sender) -> None:
    """A body that stays open beyond the drain is a success, and its connection is closed."""
    with FaultServer(["linger-after-done", "healthy"]) as server:
        call = Call(sender, server.chat_url, limits={"drain": LIMIT}, mark=b"[DONE]")
        assert call.start().take()
        assert call.verdict.kind.value == "done"
        assert_over(call)
        server.wait_for_closed(1)
        assert Call(sender, server.chat_url).run()
        assert server.connections == 2


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_the_duplicate_is_closed_before_the_connection_is_in_the_pool(
    framing: Framing, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a connection enters its pool, its attempt owns nothing of it any more.

    This holds although the attempt is still running.
    """
    found = []
    put = HTTPConnectionPool._put_conn

    def spy(self: HTTPConnectionPool, conn: Any) -> None:
        found.append(
            (conn.sock is not None, conn.context, conn.handle, list(call.attempt._handles), call.attempt.verdict)
        )
        put(self, conn)

    with FaultServer(framing=framing) as server, monkeypatch.context() as patch:
        patch.setattr(HTTPConnectionPool, "_put_conn", spy)
        call = Call(sender, server.chat_url)
        assert call.run()
        assert found == [(True, None, None, [], None)]


@pytest.mark.parametrize("way", _WAYS)
def test_a_socket_has_its_options(way: str, sender: Sender, network: Network) -> None:
    """Every socket has TCP_NODELAY, and keep-alive probes after 60 s, every 15 s, 4 times.

    Sockets towards proxies and sockets that are used again have these options too.
    """
    found = []

    def look(call: Call, reply: Reply) -> None:
        sock = _open_socket(call)
        tcp = socket.IPPROTO_TCP
        # The one inside is asked: TLS passes the question on, but only of its own socket.
        found.append(
            (
                bool(sock.getsockopt(tcp, socket.TCP_NODELAY)),
                bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
                sock.getsockopt(tcp, socket.TCP_KEEPIDLE),
                sock.getsockopt(tcp, socket.TCP_KEEPINTVL),
                sock.getsockopt(tcp, socket.TCP_KEEPCNT),
            )
        )
        call.read(reply)

    tls = None if way == "plain" else network.tls
    with FaultServer(tls=tls) as server, ProxyServer(tls=tls if way == "tls-in-tls" else None) as proxy:
        proxies = {"https": proxy.url} if way in ("tunnel", "tls-in-tls") else {}
        for _ in range(2):
            assert Call(sender, server.chat_url, reading=look, verify=network.bundle, proxies=proxies).run()
        assert server.connections == 1
    assert found == [(True, True, 60, 15, 4)] * 2


@pytest.mark.parametrize("report", ["check", "adopt"])
def test_a_call_that_ends_at_the_pool_gives_one_place_back(
    report: str, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    """Attempts that end at any report before their request leave the pool as many places as it had.

    There is no warning that the pool is full.
    """
    ended = 0

    def wrap(attempt: Attempt[bytes]) -> SpyLine:
        left = [place]

        def before(name: str) -> None:
            nonlocal ended
            if name == report:
                left[0] -= 1
                if left[0] == 0:
                    ended += attempt.cancel("user")

        return SpyLine(attempt, before=before)

    with FaultServer() as server:
        assert Call(sender, server.chat_url).run()
        for place in range(1, 5):  # noqa: B007 - the closure reads it
            Call(sender, server.chat_url, observer=wrap).run()
        assert ended
        (pool,) = sender._adapter.poolmanager.pools._container.values()
        assert pool.pool.qsize() == pool.pool.maxsize
    assert [record.message for record in caplog.records] == []
