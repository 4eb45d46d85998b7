"""Connections that are kept.

They are reused while they are young, replaced when they were dead, and kept awake.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

import llmwatch
from llmwatch import CallRecord, Client, Retry
from llmwatch.faults import FaultServer, ProxyServer
from llmwatch.faults.catalogue import ANSWER
from llmwatch.transport.connections import WatchedMixin
from tests.end_to_end.calls import QUICK, asking
from tests.session.entry_points import WAYS, Way, record_of, text_of
from tests.session.scripts import reply
from tests.session.times import LONG, PATIENCE, SOON

Ask = Callable[..., CallRecord]


@contextlib.contextmanager
def _asking(name: str, **settings: Any) -> Iterator[Ask]:
    """A function that makes one model call through an entry point, or a client, and returns its record."""
    if name == "Client":
        with Client(**{"retry": QUICK, **settings}) as client:

            def collect(url: str, **more: Any) -> CallRecord:
                answer = client.collect("POST", url, json=asking(), **more)
                assert answer.text == ANSWER
                return answer.record

            yield collect
    else:
        with Way(name).session(**settings) as session:

            def post(url: str, **more: Any) -> CallRecord:
                response = session.post(url, json=asking(), **more)
                assert text_of(response) == ANSWER
                return record_of(response)

            yield post


everywhere = pytest.mark.parametrize("entry_point", [*WAYS, "Client"])


@everywhere
def test_a_connection_idle_beyond_keepalive_is_not_reused(entry_point: str) -> None:
    """Younger connections are reused and older ones are closed, whatever the server advertises.

    The record tells of the reuse, and the server sees the closing.
    """
    with FaultServer() as server, _asking(entry_point, keepalive=SOON) as ask:
        ask(server.chat_url)
        young = ask(server.chat_url).attempts[0]
        threading.Event().wait(1.1 * SOON)
        old = ask(server.chat_url).attempts[0]
        assert [one.connection for one in server.requests] == [1, 1, 2]
        assert (young.socket_reused, old.socket_reused, old.socket_idle) == (True, False, None)
        assert young.socket_idle is not None
        assert 0 <= young.socket_idle < SOON
        server.wait_for_closed(1, PATIENCE)


@everywhere
def test_keepalive_comes_from_the_environment(entry_point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``LLMWATCH_KEEPALIVE_SECONDS`` is looked at for each call; 0 never reuses a connection."""
    with FaultServer() as server, _asking(entry_point) as ask:
        ask(server.chat_url)
        ask(server.chat_url)
        monkeypatch.setenv("LLMWATCH_KEEPALIVE_SECONDS", "0")
        ask(server.chat_url)
        ask(server.chat_url)
        assert [one.connection for one in server.requests] == [1, 1, 2, 3]


@everywhere
@pytest.mark.parametrize("script", ["reset-before-response", "fin-before-response"])
def test_a_reset_of_a_reused_connection_costs_nothing(entry_point: str, script: str) -> None:
    """Two requests at the server, one answer, no wait and no attempt of those that are allowed."""
    once = Retry(max_attempts=1, backoff=LONG, max_backoff=LONG)
    with FaultServer(["healthy", script, "healthy"]) as server, _asking(entry_point, retry=once) as ask:
        ask(server.chat_url)
        record = ask(server.chat_url)
    assert [one.socket_reused for one in record.attempts] == [True, False]
    assert (record.decisions[0].reason, record.decisions[0].wait) == ("dead_connection", 0)
    assert [one.connection for one in server.requests] == [1, 1, 2]


@everywhere
def test_a_connection_that_was_dropped_while_idle_is_not_used(entry_point: str) -> None:
    """A connection that the server has closed meanwhile is noticed before anything is sent on it."""
    with FaultServer(["healthy:leave=fin", "healthy"]) as server, _asking(entry_point) as ask:
        ask(server.chat_url)
        server.wait_for_closed(1, PATIENCE)
        assert [one.socket_reused for one in ask(server.chat_url).attempts] == [False]
        assert len(server.requests) == 2


def _options(sock: socket.socket) -> dict[str, int]:
    tcp = {
        name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
        for name in ("TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        if hasattr(socket, name)
    }
    return {**tcp, "SO_KEEPALIVE": sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)}


@everywhere
@pytest.mark.parametrize("kind", ["plain", "tls", "proxy"])
def test_keep_alive_and_nodelay_are_both_set(
    entry_point: str, kind: str, server_tls: ssl.SSLContext, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TCP keep-alive is added to urllib3's options, and replaces none.

    The options are read back from the socket that a call went over.
    """
    seen: list[dict[str, int]] = []
    getresponse = WatchedMixin.getresponse

    def look(self: Any) -> Any:
        seen.append(_options(self.sock))
        return getresponse(self)

    monkeypatch.setattr(WatchedMixin, "getresponse", look)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(FaultServer(tls=None if kind == "plain" else server_tls))
        more: dict[str, Any] = {"verify": bundle}
        if kind == "proxy":
            more["proxies"] = {"https": stack.enter_context(ProxyServer()).url}
        ask = stack.enter_context(_asking(entry_point))
        ask(server.chat_url, **more)
    expected = {"TCP_NODELAY": 1, "TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4, "SO_KEEPALIVE": 1}
    assert len(seen) == 1
    assert seen[0].pop("TCP_NODELAY") != 0
    assert seen[0].pop("SO_KEEPALIVE") != 0
    assert seen[0].items() <= expected.items()


def test_a_users_own_socket_options_stay(way: Way) -> None:
    """An adapter that was made with socket options of its own keeps exactly those."""
    own = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)]

    class Own(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
            return super().init_poolmanager(*args, socket_options=own, **kwargs)

    adapter = Own()
    session = requests.Session()
    session.mount("http://", adapter)
    with FaultServer(reply()) as server, way.session(session) as watched:
        assert watched.get(server.url).content
    assert adapter.poolmanager.connection_pool_kw["socket_options"] == own


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_healthy_connection_returns_to_the_pool(way: Way, framing: str) -> None:
    """The next call reuses the connection of a call that was read to its end.

    The calls are a stream read to its terminal event, a plain call, an error status of an ordinary GET and a download.
    """
    scripts = ["healthy", "healthy", reply(b"none", status=404), reply(b"x" * 300_000, framing="length"), "healthy"]
    with FaultServer(scripts, framing=framing) as server, way.session() as session:
        with session.post(server.chat_url, json=asking(), stream=True) as stream:
            for line in stream.iter_lines():
                if line == b"data: [DONE]":
                    break
        assert session.post(server.chat_url, json=asking(stream=False)).json()
        assert session.get(server.url).status_code == 404
        assert session.get(server.url, stream=True).raw.read(300_000) == b"x" * 300_000
        assert record_of(session.post(server.chat_url, json=asking())).attempts[0].socket_reused
        assert (len(server.requests), server.connections) == (5, 1)


def test_an_error_status_of_a_model_call_closes_its_connection(way: Way) -> None:
    """A resend uses a fresh connection: the one that answered with an error is not used again."""
    with FaultServer(["status:status=503", "healthy"]) as server, way.session() as session:
        record = record_of(session.post(server.chat_url, json=asking()))
        assert [one.socket_reused for one in record.attempts] == [False, False]
        assert [one.connection for one in server.requests] == [1, 2]


def test_a_stream_closed_early_closes_its_connection(way: Way) -> None:
    """A stream that was closed in its middle takes its connection along, at once."""
    with FaultServer(["late-terminal", "healthy"]) as server, way.session() as session:
        with session.post(server.chat_url, json=asking(), stream=True) as stream:
            assert next(stream.iter_lines())
        server.wait_for_closed(1, PATIENCE)
        assert record_of(session.post(server.chat_url, json=asking())).attempts[0].socket_reused is False


def test_a_body_of_known_length_ends_with_its_last_byte(way: Way) -> None:
    """A caller that reads exactly the announced length and closes has made a whole call.

    The record says done, and the connection is reused.
    """
    records: list[CallRecord] = []
    script = reply(b"y" * 100_000, framing="length")
    with FaultServer(script) as server, way.session(sinks=[records.append]) as session:
        for _ in range(30):
            with session.get(server.url, stream=True) as response:
                assert len(response.raw.read(100_000)) == 100_000
        assert [one.outcome for one in records] == ["done"] * 30
        assert server.connections == 1


def test_the_time_since_the_previous_call_is_in_the_record(way: Way) -> None:
    """Start to start, per origin, after a previous call of any kind."""
    with FaultServer() as server, way.session() as session:
        assert record_of(session.get(server.url)).attempts[0].idle_since_previous is None
        second = record_of(session.post(server.chat_url, json=asking()))
        assert second.attempts[0].idle_since_previous is not None
        assert second.attempts[0].idle_since_previous > 0


def test_idle_connections_from_before_the_mount_are_closed(way: Way) -> None:
    """Idle connections of a mounted adapter are closed, since a limit could not shut them down.

    Pools that are in use at that moment go on.
    """
    if way.name == "Session":
        pytest.skip("its adapters are its own from the start")
    with FaultServer([reply(), "late-terminal", reply()]) as server, requests.Session() as session:
        session.get(server.url)
        open_stream = session.post(server.chat_url, json=asking(), stream=True)
        with way.session(session):
            assert record_of(session.get(server.url)).attempts[0].socket_reused is False
            server.gate("terminal").set()
            assert open_stream.content.rstrip().endswith(b"[DONE]")
            assert not isinstance(open_stream, type(session.get(server.url)))


def test_an_adapter_works_after_it_is_no_longer_watched(way: Way) -> None:
    """An adapter that was watched serves a plain session afterwards, without a watch."""
    adapter = HTTPAdapter()
    session = requests.Session()
    session.mount("http://", adapter)
    with FaultServer([reply(b"1"), reply(b"2")]) as server:
        with way.session(session) as watched:
            assert watched.get(server.url).content == b"1"
            before = llmwatch.stats()["workers"]
            with requests.Session() as again:
                again.mount("http://", adapter)
                if way.name == "install":
                    llmwatch.uninstall()
                response = again.get(server.url)
                assert response.content == b"2"
                assert type(response) is requests.Response
            assert llmwatch.stats()["workers"] == before
        assert server.connections == 1
