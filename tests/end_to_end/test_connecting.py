"""Ways in which no connection comes about.

Each is a clear error of its own class, and none hangs.
"""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Any

import pytest

import llmwatch
from llmwatch import ConnectFailed, Decision, Limits, Retry
from llmwatch.faults import FaultServer, ProxyServer, blackhole, refused_port
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import asking, collect, eventually, in_thread, request, stream, timed_out
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import FREE, LIMIT, LONG, PATIENCE


def test_a_refused_connection_is_tried_again_and_says_so(connect: Connect) -> None:
    """A port that refuses is ``ConnectFailed`` with cause ``refused``, and retryable.

    The error comes after three attempts, and nothing was sent.
    """
    with refused_port() as port:
        outcome = stream(connect(), f"http://127.0.0.1:{port}/v1/chat/completions")
    error = outcome.failed(ConnectFailed)
    assert isinstance(error, ConnectionError)
    assert (error.cause, error.retryable) == ("refused", True)
    assert f"127.0.0.1:{port}" in str(error)
    assert error.record is not None
    assert [one.facts["sent"] for one in error.record.attempts] == ["no"] * 3
    assert error.record.cause == "connect_failed"
    assert outcome.elapsed < PATIENCE


def test_a_call_recovers_when_the_provider_comes_up(connect: Connect) -> None:
    """A refused connection and then a server on the same port is one recovered call with one request."""
    with FaultServer() as before:
        port = before.port
    server = FaultServer(port=port)

    def come_up(notice: Any) -> None:
        if isinstance(notice, llmwatch.RetryNotice):
            server.start()

    try:
        outcome = stream(connect(on_notice=come_up), server.chat_url)
        record = outcome.done("recovered")
        assert outcome.text == ANSWER
        assert record.attempts[0].error == "ConnectFailed"
        assert len(server.requests) == 1
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("number", "cause", "attempts"), [(socket.EAI_NONAME, "dns", 1), (socket.EAI_AGAIN, "dns_temporary", 3)]
)
def test_an_unknown_host_is_final_and_a_stumbling_resolver_is_not(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, number: int, cause: str, attempts: int
) -> None:
    """A host that does not exist is not looked up again; a temporary failure of the resolver is."""
    asked: list[str] = []

    def look_up(host: str, *rest: Any) -> Any:
        asked.append(host)
        raise socket.gaierror(number, "by the test")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    outcome = stream(connect(), "https://provider.invalid/v1/chat/completions")
    error = outcome.failed(ConnectFailed)
    assert (error.cause, error.retryable) == (cause, attempts > 1)
    assert asked == ["provider.invalid"] * attempts
    assert "provider.invalid" in str(error)
    assert error.record is not None
    assert len(error.record.attempts) == attempts


def test_a_hanging_resolver_frees_the_caller_at_connect(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller whose look-up hangs is free at the limit, although the look-up cannot be woken.

    One orphan is counted, and nothing is sent when the resolver answers.
    """
    server = serve()
    real, release, entered = socket.getaddrinfo, threading.Event(), threading.Event()

    def look_up(host: Any, *rest: Any, **more: Any) -> Any:
        if host == "slow.invalid":
            entered.set()
            assert release.wait(PATIENCE * 2)
            host = "127.0.0.1"
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    client = connect(limits=Limits(connect=LIMIT), retry=Retry.none())
    before = llmwatch.stats()
    outcome = stream(client, f"http://slow.invalid:{server.port}/v1/chat/completions")
    timed_out(outcome, "connect", LIMIT, attempts=1, decision=Decision.STOP)
    assert outcome.elapsed < LIMIT + FREE
    assert entered.is_set()
    eventually(lambda: llmwatch.stats()["orphans"] == before["orphans"] + 1, "the orphan is counted")
    assert llmwatch.stats()["unabortable"] == before["unabortable"] + 1
    release.set()
    eventually(lambda: llmwatch.stats()["workers"] == before["workers"], "the orphan leaves")
    assert llmwatch.stats()["orphans"] == before["orphans"]
    assert server.requests == []
    assert server.connections == 0


def test_an_address_that_drops_everything_ends_at_connect(connect: Connect) -> None:
    """An attempt to connect that is never answered ends at ``connect``.

    The error is retryable, and nothing was sent.
    """
    with blackhole() as (host, port):
        outcome = stream(connect(limits=Limits(connect=LIMIT)), f"http://{host}:{port}/v1/chat/completions")
    error = timed_out(outcome, "connect", LIMIT, attempts=3, decision=Decision.STOP)
    assert error.record is not None
    assert [one.facts["sent"] for one in error.record.attempts] == ["no"] * 3
    assert outcome.elapsed < 3 * (LIMIT + FREE)


@pytest.mark.parametrize("entry_point", [stream, collect, request])
def test_a_bad_certificate_is_final(
    serve: Serve, connect: Connect, server_tls: ssl.SSLContext, entry_point: Any
) -> None:
    """A certificate that does not verify is ``ConnectFailed`` with cause ``tls``, once, and no request."""
    server = serve(tls=server_tls)
    error = entry_point(connect(), server.chat_url).failed(ConnectFailed)
    assert (error.cause, error.retryable) == ("tls", False)
    assert "certificate" in str(error)
    assert "verify=" in str(error)
    assert server.connections == 1
    assert server.requests == []


def test_a_certificate_for_another_name_is_final(
    serve: Serve, connect: Connect, server_tls: ssl.SSLContext, bundle: str
) -> None:
    """A certificate of a trusted authority for another name does not verify either."""
    server = serve(tls=server_tls, host="127.0.0.2")
    error = stream(connect(), server.chat_url, verify=bundle).failed(ConnectFailed)
    assert error.cause == "tls"
    assert server.requests == []


def test_https_to_a_plain_http_port_fails_as_tls(connect: Connect) -> None:
    """https to a port that speaks plain HTTP is ``ConnectFailed`` with cause ``tls``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.recv(65536)
                accepted.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        answering = in_thread(answer)
        port = listener.getsockname()[1]
        client = connect(limits=Limits(connect=LONG), retry=Retry.none())
        outcome = stream(client, f"https://127.0.0.1:{port}/v1/chat/completions")
        answering.result()
    assert outcome.failed(ConnectFailed).cause == "tls"
    assert outcome.elapsed < PATIENCE


def test_a_handshake_that_is_never_answered_ends_at_connect(serve: Serve, connect: Connect) -> None:
    """A TLS handshake belongs to ``connect``."""
    server = serve(tls_silent=True)
    outcome = stream(connect(limits=Limits(connect=LIMIT), retry=Retry.none()), server.chat_url)
    timed_out(outcome, "connect", LIMIT, attempts=1, decision=Decision.STOP)
    server.wait_for_closed(1)


def test_a_proxy_that_refuses_is_named(serve: Serve, connect: Connect, server_tls: ssl.SSLContext, bundle: str) -> None:
    """A proxy that does not let a CONNECT through is ``ConnectFailed`` with cause ``proxy``.

    Nothing reaches the server.
    """
    server = serve(tls=server_tls)
    with ProxyServer("refuse", status=403) as proxy:
        error = stream(
            connect(), server.chat_url, verify=bundle, proxies={"https": proxy.url.replace("://", "://user:s3cret@")}
        ).failed(ConnectFailed)
        assert proxy.connects >= 1
    assert error.cause == "proxy"
    assert "s3cret" not in f"{error!s}{error.__cause__!s}"
    assert server.connections == 0


@pytest.mark.parametrize("outer", ["plain", "tls"])
def test_an_answer_comes_through_a_proxy(
    serve: Serve, connect: Connect, server_tls: ssl.SSLContext, bundle: str, outer: str
) -> None:
    """Behind a CONNECT proxy, TLS inside TLS included, silence is recovered as without one."""
    server = serve("silent", "healthy", tls=server_tls)
    with ProxyServer(tls=server_tls if outer == "tls" else None) as proxy:
        client = connect(limits=Limits(ttfb=2 * LIMIT))
        outcome = stream(client, server.chat_url, verify=bundle, proxies={"https": proxy.url})
        outcome.done("recovered")
        assert outcome.text == ANSWER
        assert proxy.connects == len(server.requests) == 2
        client.close()


def test_a_dead_first_address_leaves_time_for_the_next(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with a dead address and a working one is connected within ``connect``."""
    server = serve()
    with blackhole() as (host, port):
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (server.host, server.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **more: addresses)
        limit = 4 * LIMIT
        outcome = stream(connect(limits=Limits(connect=limit)), "http://two.invalid/v1/chat/completions")
    record = outcome.done()
    assert outcome.text == ANSWER
    assert limit / 2 <= record.attempts[0].timings.connected < limit
    assert len(server.requests) == 1


def test_a_dead_resolver_ends_in_too_many_orphans(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every caller is freed while the resolver is dead.

    Beyond 64 stuck workers a call is refused with ``TooManyOrphans``, and sends nothing.
    """
    release = threading.Event()

    def look_up(*given: Any, **more: Any) -> Any:
        assert release.wait(PATIENCE * 4)
        raise socket.gaierror(socket.EAI_NONAME, "by the test")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    retry = Retry(max_attempts=1, breaker=0)
    # Long enough for each of 64 workers to begin its look-up: one that is ended before is no orphan.
    client = connect(limits=Limits(connect=5 * LIMIT), retry=retry)
    before = llmwatch.stats()["workers"]
    try:
        callers = [in_thread(stream, client, "http://dead.invalid/") for _ in range(64)]
        for caller in callers:
            caller.result(PATIENCE * 2).failed(llmwatch.WatchTimeout)
        eventually(lambda: llmwatch.stats()["orphans"] >= 64, "all of them are counted")
        error = stream(client, "http://dead.invalid/", json=asking()).failed(llmwatch.TooManyOrphans)
        assert error.retryable
        assert error.recovery is not None
        assert error.recovery.decision is Decision.STOP
        assert "stats()" in str(error)
    finally:
        release.set()
    eventually(lambda: llmwatch.stats()["workers"] == before, "all of them leave")
