"""Exactly how many requests a provider sees.

The cases are exhaustion, an empty budget and an open circuit.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

import llmwatch
from llmwatch import Decision, Limits, LLMWatchError, Retry
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import collect, in_thread, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.scripts import late
from tests.end_to_end.times import LIMIT, LONG, PATIENCE
from tests.safe_recovery.scripts import broken_off

ENTRY_POINTS = [stream, collect, request]
SILENT = Limits(ttfb=LIMIT / 4)
"""For servers that say nothing at all, and no others."""


@pytest.mark.parametrize(
    ("script", "kind", "cause"),
    [
        ("silent", llmwatch.WatchTimeout, "watchdog_timeout"),
        ("reset-before-response", llmwatch.StreamCut, "transport_disconnect"),
        ("fin-before-response", llmwatch.StreamCut, "transport_disconnect"),
        ("empty-stream", llmwatch.EmptyStream, "truncated"),
        ("status:status=529", llmwatch.ProviderError, "provider_error"),
        ("html-52x:status=524", llmwatch.ProviderError, "provider_error"),
        ("html-instead", llmwatch.NotAStream, "provider_error"),
        ("error-event", llmwatch.ProviderError, "provider_error"),
        ("malformed-event:tokens=0", llmwatch.MalformedEvent, "provider_error"),
        ("eof-without-terminal:tokens=0", llmwatch.StreamTruncated, "truncated"),
        ("cut-chunk:tokens=1", llmwatch.StreamCut, "transport_disconnect"),
    ],
)
def test_exhaustion_is_three_requests(
    serve: Serve, connect: Connect, script: str, kind: type[LLMWatchError], cause: str
) -> None:
    """A call whose every attempt fails sends three requests.

    The call raises the last attempt's error, still retryable.
    """
    for entry_point in (stream, collect):
        server = serve(script, shape="anthropic")
        client = connect(limits=SILENT if script == "silent" else None, keepalive=0)
        error = entry_point(client, server.messages_url).failed(kind)
        assert isinstance(error, LLMWatchError)
        assert error.retryable
        assert error.recovery is not None
        assert error.record is not None
        assert (error.record.outcome, error.record.cause) == ("failed", cause)
        requests = 3
        if script == "cut-chunk:tokens=1":
            # Something had come: nothing is resent to a stream, and once what is thrown away.
            requests = 1 if entry_point is stream else 2
        else:
            assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, "attempts_exhausted")
            assert [one.budget_left for one in error.record.decisions] == [2, 1, 0]
        assert len(error.record.attempts) == len(server.requests) == requests
        assert len(error.record.decisions) == requests
        assert [one.outcome for one in error.record.decisions[:-1]] == ["failed"] * (requests - 1)


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_exhaustion_is_four_requests_behind_a_dead_socket(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """If the first request used a dead pooled connection, the other three use fresh ones and are counted."""
    server = serve("healthy", "reset-before-response", "status:status=503")
    client = connect()
    entry_point(client, server.chat_url).done()
    outcome = entry_point(client, server.chat_url)
    record = outcome.record
    assert record is not None
    assert [one.error for one in record.attempts] == ["StreamCut", *["ProviderError"] * 3]
    assert record.decisions[0].reason == "dead_connection"
    assert [one.budget_left for one in record.decisions[1:]] == [2, 1, 0]
    assert record.decisions[-1].reason == "attempts_exhausted"
    assert len(server.requests) == 1 + 4


def test_a_free_resend_leaves_every_attempt(serve: Serve, connect: Connect) -> None:
    """The free resend is outside the number of attempts, so its decision has all three of them left."""
    server = serve("healthy", "reset-before-response", "status:status=503")
    client = connect()
    stream(client, server.chat_url).done()
    record = stream(client, server.chat_url).record
    assert record is not None
    assert [one.budget_left for one in record.decisions] == [3, 2, 1, 0]


NOW = {"max_wait": 0}
"""For calls that wait for no other."""


@pytest.mark.usefixtures("unpaid")
def test_a_clients_calls_share_a_budget(serve: Serve, connect: Connect) -> None:
    """What one call spends of the client's budget is gone for the next.

    The budget is four tokens and three for the call in flight. A first attempt is always sent, and ten successes pay
    for one resend more.
    """
    server = serve(*["status:status=503"] * (8 + 4 + 4), *["healthy"] * 10, "status:status=503")
    client = connect(retry=Retry(backoff=0, max_attempts=99, budget=4, breaker=0, **NOW))
    before = 0
    for resends in (7, 3, 3):
        error = stream(client, server.chat_url).failed(llmwatch.ProviderError)
        assert len(server.requests) - before == 1 + resends
        before = len(server.requests)
        assert error.recovery is not None
        assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, "budget_empty")
        assert error.retryable
        assert error.retry_after is not None
        assert error.retry_after > 0
    for _ in range(9):
        stream(client, server.chat_url).done()
    collect(client, server.chat_url).done()
    before = len(server.requests)
    stream(client, server.chat_url).failed(llmwatch.ProviderError)
    assert len(server.requests) - before == 1 + 4
    other = connect(retry=Retry(backoff=0, budget=4, breaker=0, **NOW))
    error = stream(other, server.chat_url).failed(llmwatch.ProviderError)
    assert error.recovery is not None
    assert error.recovery.reason == "attempts_exhausted"


@pytest.mark.usefixtures("unpaid")
def test_each_origin_has_its_own_budget(serve: Serve, connect: Connect) -> None:
    """The resends to a provider that is down do not use up the budget of another provider."""
    down, up = serve("status:status=503"), serve(*["status:status=503"] * 4, "healthy")
    client = connect(retry=Retry(backoff=0, budget=1, max_attempts=99, breaker=0, **NOW))
    for _ in range(2):
        error = stream(client, down.chat_url).failed(llmwatch.ProviderError)
        assert error.recovery is not None
        assert error.recovery.reason == "budget_empty"
    assert len(down.requests) == 5 + 4
    stream(client, up.chat_url).done("recovered")


def test_the_circuit_opens_after_five_lost_attempts(serve: Serve, connect: Connect) -> None:
    """Five attempts in a row that are lost to silence open the circuit.

    A call that may not wait gets ``CircuitOpen``, which names when to come back, and nothing is sent.
    """
    server = serve(*["silent"] * 5, "healthy")
    client = connect(limits=SILENT, retry=Retry(max_attempts=5, backoff=0, **NOW))
    stream(client, server.chat_url).failed(llmwatch.WatchTimeout)
    for entry_point in ENTRY_POINTS:
        error = entry_point(client, server.chat_url).failed(llmwatch.CircuitOpen)
        assert 0 < error.retry_after <= 1.0
        assert error.retryable
        assert error.recovery is not None
        assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, "circuit_open")
        assert "max_wait" in str(error)
        assert error.record is not None
        assert (error.record.attempts, error.record.outcome) == ((), "failed")
        assert error.record.incident
    assert len(server.requests) == 5
    assert server.connections == 5


def test_behind_an_open_circuit_one_probes_and_all_are_answered(serve: Serve, connect: Connect) -> None:
    """One of many threads probes; the first byte of its answer lets the others out, and all are answered."""
    server = serve(*["silent"] * 5, late(), "healthy")
    client = connect(limits=SILENT, retry=Retry(max_attempts=5, backoff=0, budget=0))
    stream(client, server.chat_url).failed(llmwatch.WatchTimeout)
    together = threading.Barrier(8)

    def call() -> Any:
        together.wait(PATIENCE)
        return stream(client, server.chat_url, limits=Limits(ttfb=LONG))

    calling = [in_thread(call) for _ in range(8)]
    server.wait_for_requests(6)
    # Nothing comes of the probe yet.
    assert all(one.thread.is_alive() for one in calling)
    assert len(server.requests) == 6
    server.gate("rest").set()
    outcomes = [one.result() for one in calling]
    assert [one.text for one in outcomes] == [ANSWER] * 8
    assert [len(one.done().attempts) for one in outcomes] == [1] * 8
    assert len(server.requests) == 13


def test_a_probe_that_is_lost_keeps_the_circuit_open(serve: Serve, connect: Connect) -> None:
    """A probe that is not answered either costs one request, and the next goes out twice as late."""
    server = serve("silent")
    client = connect(limits=SILENT, retry=Retry(max_attempts=9, backoff=0, breaker=2, max_wait=2.5 - 1.0))
    error = stream(client, server.chat_url).failed(llmwatch.WatchTimeout)
    # Two, which open it, and one after a second; it may not wait two more for the next.
    assert len(server.requests) == 3
    assert error.recovery is not None
    assert error.recovery.reason == "circuit_open"
    again = stream(client, server.chat_url).failed(llmwatch.CircuitOpen)
    assert 1.5 < again.retry_after <= 2.0
    assert len(server.requests) == 3


def test_calls_that_are_answered_with_errors_do_not_open_the_circuit(serve: Serve, connect: Connect) -> None:
    """Statuses, errors and stalls after an answer began leave the circuit closed.

    An origin that answers is there.
    """
    server = serve("status:status=500", "bad-request", "stall-after-content", "reset-before-response", "empty-stream")
    limits = Limits(ttfb=PATIENCE, stale=LIMIT)
    client = connect(limits=limits, retry=Retry(max_attempts=1, breaker=2, breaker_wait=60.0))
    for _ in range(7):
        outcome = stream(client, server.chat_url)
        assert outcome.error is not None
        assert not isinstance(outcome.error, llmwatch.CircuitOpen)
    assert len(server.requests) == 7


def test_a_resend_is_not_sent_into_a_circuit_that_has_opened_meanwhile(serve: Serve, connect: Connect) -> None:
    """A call that would resend while others have opened the circuit stops, with that as its reason."""
    server = serve(broken_off("lifecycle", "eof"), "silent")
    client = connect(limits=SILENT, retry=Retry(max_attempts=1, breaker=1, breaker_wait=60.0, **NOW))
    others = threading.Event()

    def lose_another(call: Any) -> None:
        if not others.is_set():
            others.set()
            stream(client, server.chat_url).failed(llmwatch.WatchTimeout)

    # The response hook runs between the headers and the end of the first call.
    outcome = stream(
        client,
        server.messages_url,
        hooks={"response": lambda response, **more: lose_another(response)},
        retry=Retry(max_attempts=3, backoff=0, breaker=1, breaker_wait=60.0, **NOW),
        limits=Limits(ttfb=PATIENCE),
    )
    error = outcome.failed(llmwatch.StreamTruncated)
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, "circuit_open")
    assert len(server.requests) == 2
