"""Connections that were kept: when they are used again, and what happens when they are dead."""

from __future__ import annotations

import threading

import pytest

import llmwatch
from llmwatch import Client, Decision, Limits, Retry
from llmwatch.faults import Script, steps
from llmwatch.faults.catalogue import ANSWER
from llmwatch.recovery import decision
from tests.end_to_end.calls import collect, eventually, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import BEAT, LIMIT, PATIENCE

ENTRY_POINTS = [stream, collect, request]


@pytest.mark.parametrize("script", ["reset-before-response", "fin-before-response"])
@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_a_dead_pooled_connection_gets_one_free_resend_at_once(
    serve: Serve, connect: Connect, script: str, entry_point: object
) -> None:
    """A pooled connection that is lost at once is replaced at once, without a back-off.

    The resend does not count towards ``max_attempts``.
    """
    server = serve("healthy", script, "healthy")
    client = connect(retry=Retry(max_attempts=1, backoff=30, max_backoff=30))
    entry_point(client, server.chat_url).done()
    outcome = entry_point(client, server.chat_url)
    record = outcome.done("recovered")
    dead, fresh = record.attempts
    assert dead.socket_reused
    assert not fresh.socket_reused
    assert record.decisions[0].reason == "dead_connection"
    assert record.decisions[0].wait == 0
    assert len(server.requests) == 3
    assert [one.connection for one in server.requests] == [1, 1, 2]


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_at_most_one_request_more_than_max_attempts(serve: Serve, connect: Connect, entry_point: object) -> None:
    """A call that began on a pooled connection makes four requests and no more.

    Every attempt of it is reset, and ``max_attempts`` is three.
    """
    server = serve("healthy", "reset-before-response")
    client = connect(retry=Retry(max_attempts=3, backoff=0))
    entry_point(client, server.chat_url).done()
    error = entry_point(client, server.chat_url).failed(llmwatch.StreamCut)
    assert error.retryable
    assert error.record is not None
    assert [one.socket_reused for one in error.record.attempts] == [True, False, False, False]
    assert [one.reason for one in error.record.decisions] == [
        "dead_connection",
        "lost_before_response",
        "lost_before_response",
        "attempts_exhausted",
    ]
    assert len(server.requests) == 5


def test_a_reset_of_a_fresh_connection_is_an_ordinary_retry(serve: Serve, connect: Connect) -> None:
    """A fresh connection that is reset costs an attempt and a back-off."""
    server = serve("reset-before-response", "healthy")
    outcome = stream(connect(), server.chat_url)
    record = outcome.done("recovered")
    assert record.decisions[0].reason == "lost_before_response"
    assert record.decisions[0].budget_left == 2
    assert len(server.requests) == 2
    server = serve("reset-before-response", "healthy")
    error = stream(connect(retry=Retry.none()), server.chat_url).failed(llmwatch.StreamCut)
    assert error.recovery is not None
    assert error.recovery.reason == "attempts_exhausted"
    assert len(server.requests) == 1


def test_a_late_reset_of_a_pooled_connection_gets_no_free_resend(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooled connection that is lost late gets an ordinary retry.

    Late is more than five seconds (shortened here) after the request.
    """
    assert decision.FREE_RESEND_WITHIN == 5.0
    monkeypatch.setattr(decision, "FREE_RESEND_WITHIN", LIMIT)
    server = serve("healthy", f"reset-before-response:after={1.2 * LIMIT}", "healthy")
    client = connect(retry=Retry(max_attempts=1))
    stream(client, server.chat_url).done()
    error = stream(client, server.chat_url).failed(llmwatch.StreamCut)
    assert error.recovery is not None
    assert error.recovery.reason == "attempts_exhausted"
    assert error.record is not None
    (attempt,) = error.record.attempts
    assert attempt.socket_reused
    assert attempt.facts["since_sent"] >= LIMIT
    assert len(server.requests) == 2


def test_tools_with_side_effects_allow_no_free_resend(serve: Serve, connect: Connect) -> None:
    """A dead pooled connection is no proof that nothing arrived.

    Unknown tools still ask for a person's word.
    """
    server = serve("healthy", "reset-before-response", "healthy")
    client = connect()
    stream(client, server.chat_url).done()
    body = {"stream": True, "tools": [{"type": "teleport"}]}
    error = stream(client, server.chat_url, json=body).failed(llmwatch.StreamCut)
    assert error.recovery is not None
    assert error.recovery.decision is Decision.CONFIRM
    assert len(server.requests) == 2


@pytest.mark.parametrize("keepalive", [0, "environment"])
def test_a_pooled_connection_that_idled_too_long_is_not_reused(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, keepalive: object
) -> None:
    """``keepalive=0`` never reuses a connection, by argument and by the environment.

    The record says that the connection is fresh.
    """
    server = serve()
    if keepalive == "environment":
        monkeypatch.setenv("LLMWATCH_KEEPALIVE_SECONDS", "0")
    client = connect(**({} if keepalive == "environment" else {"keepalive": keepalive}))
    for _ in range(3):
        record = stream(client, server.chat_url).done()
        assert record.attempts[0].socket_reused is False
    assert server.connections == len(server.requests) == 3


def test_the_keep_alive_limit_decides(serve: Serve, connect: Connect) -> None:
    """A connection is reused while it idles for less than ``keepalive``, and replaced after that."""
    server = serve()
    client = connect(keepalive=2 * LIMIT)
    stream(client, server.chat_url).done()
    record = stream(client, server.chat_url).done()
    assert record.attempts[0].socket_reused
    assert 0 <= record.attempts[0].socket_idle < 2 * LIMIT
    threading.Event().wait(2.5 * LIMIT)
    record = stream(client, server.chat_url).done()
    assert not record.attempts[0].socket_reused
    assert [one.connection for one in server.requests] == [1, 1, 2]
    server.wait_for_closed(1)


def test_the_time_between_two_calls_is_in_the_record(serve: Serve, connect: Connect) -> None:
    """The record of a call says how long ago the client's previous call to that origin was.

    The time counts from start to start.
    """
    server, other = serve(f"healthy:delay={BEAT / 4}"), serve()
    client = connect()
    first = stream(client, server.chat_url)
    assert first.done().attempts[0].idle_since_previous is None
    assert stream(client, other.chat_url).done().attempts[0].idle_since_previous is None
    second = stream(client, server.chat_url).done()
    assert second.attempts[0].idle_since_previous >= first.elapsed


def test_a_killed_connection_never_comes_back(serve: Serve, connect: Connect) -> None:
    """After a kill the next call opens a connection of its own, and the killed one is closed."""
    server = serve("healthy", "silent", "healthy")
    client = connect(limits=Limits(ttfb=LIMIT), retry=Retry.none())
    stream(client, server.chat_url).done()
    error = stream(client, server.chat_url).failed(llmwatch.WatchTimeout)
    assert error.record is not None
    assert error.record.attempts[0].socket_reused
    stream(client, server.chat_url).done()
    assert [one.connection for one in server.requests] == [1, 1, 2]
    server.wait_for_closed(1)
    assert server.open_connections == 1


def _ends_with_the_limit() -> Script:
    """Every other answer ends at the expiry of ``total``: earlier, with it or later."""

    def play(context):  # type: ignore[no-untyped-def]
        if context.request.number % 2 == 0:
            yield from context.answer(steps.paced(context.whole()))
            return
        *blocks, last = context.whole()
        moment = LIMIT / 2 + ((context.request.number // 2) - 6) * 0.0005
        yield from context.answer([*steps.paced(blocks), steps.Wait(max(0.0, moment)), steps.Chunk(last)])

    return Script(name="races", description="every other answer ends with the limit", play=play)


def test_a_late_shutdown_never_cuts_the_next_call(serve: Serve, connect: Connect) -> None:
    """When a kill and the return of a connection meet, the call that follows on it is never cut."""
    server = serve(_ends_with_the_limit())
    client: Client = connect(retry=Retry.none())
    ended = {"done": 0, "killed": 0}
    for _ in range(12):
        first = stream(client, server.chat_url, limits=Limits(total=LIMIT / 2, drain=LIMIT))
        ended["done" if first.error is None else "killed"] += 1
        second = stream(client, server.chat_url)
        second.done()
        assert second.text == ANSWER
    assert sum(ended.values()) == 12
    assert len(server.requests) == 24


def test_idle_connections_are_closed_with_their_client(serve: Serve) -> None:
    """``close()`` closes what lies idle in the pool, at once."""
    server = serve()
    with Client() as client:
        stream(client, server.chat_url).done()
        eventually(lambda: llmwatch.stats()["workers"] == 0, "the worker leaves")
        assert server.open_connections == 1
    server.wait_for_closed(1, PATIENCE)
