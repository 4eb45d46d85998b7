"""Plain calls that go to no model: only their method says whether they may be sent twice."""

from __future__ import annotations

from typing import Any

import pytest

import llmwatch
from llmwatch import Client, Decision, Limits, Retry
from llmwatch.faults import refused_port
from llmwatch.payload import IDEMPOTENT, modelcalls
from tests.end_to_end.calls import QUICK, Outcome, asking
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT

ORDER = {"amount": 5}
BATCH = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the registrations of the test."""
    monkeypatch.setattr(modelcalls, "_registered", ())


def _ask(client: Client, method: str, url: str, **options: Any) -> Outcome:
    outcome = Outcome()
    try:
        outcome.value = client.request(method, url, **{"json": ORDER, **options})
        outcome.record = outcome.value.llmwatch_record
    except llmwatch.LLMWatchError as error:
        outcome.error, outcome.record = error, error.record
    return outcome


def _confirmed(outcome: Outcome) -> None:
    record = outcome.record
    assert record is not None
    (decision,) = record.decisions
    assert (decision.decision, decision.reason) == (Decision.CONFIRM, "unreadable_body")
    assert (decision.could_work, decision.safe, decision.outcome) == (True, False, "blocked")


@pytest.mark.parametrize("script", ["silent", "reset-before-response", "fin-before-response", "cut-chunk"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_sent_order_is_not_resent(serve: Serve, connect: Connect, method: str, script: str) -> None:
    """The order is sent once, whatever its answer is; the recovery asks a person."""
    server = serve(script, "healthy")
    outcome = _ask(connect(limits=Limits(ttfb=LIMIT)), method, server.url + "/api/orders")
    assert isinstance(outcome.error, llmwatch.LLMWatchError)
    assert outcome.error.retryable
    assert outcome.error.recovery is not None
    assert outcome.error.recovery.decision is Decision.CONFIRM
    _confirmed(outcome)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_status_is_returned_as_it_is(serve: Serve, connect: Connect, method: str, status: int) -> None:
    """A status that would be worth another try is the answer."""
    server = serve(f"status:status={status}", "healthy")
    outcome = _ask(connect(), method, server.url + "/v1/batches", json=BATCH)
    assert outcome.value.status_code == status
    _confirmed(outcome)
    assert len(server.requests) == 1


def test_a_dead_pooled_connection_gives_an_order_no_free_resend(serve: Serve, connect: Connect) -> None:
    """A reused connection that was lost at once does not show that nothing was carried out."""
    server, client = serve("healthy", "reset-before-response", "healthy"), connect()
    _ask(client, "GET", server.url)
    _confirmed(_ask(client, "POST", server.url + "/api/orders"))
    assert [one.connection for one in server.requests] == [1, 1]


def test_an_unsent_order_is_resent(serve: Serve, connect: Connect) -> None:
    """A connection that does not come about is tried again, also elsewhere by ``on_retry``.

    There the request is sent once, although the hook has given it another body.
    """
    server = serve("reset-before-response", "healthy")
    changes = {"url": server.url + "/api/orders", "json": {"amount": 6}}
    with refused_port() as port:
        client = connect(retry=Retry(backoff=0, on_retry=lambda resend: changes))
        outcome = _ask(client, "POST", f"http://127.0.0.1:{port}/api/orders")
    outcome.failed(llmwatch.StreamCut)
    assert outcome.record is not None
    assert [one.reason for one in outcome.record.decisions] == ["not_connected", "unreadable_body"]
    assert [one.json() for one in server.requests] == [{"amount": 6}]


@pytest.mark.parametrize("script", ["reset-before-response", "status:status=503"])
def test_resend_with_tools_allows_resending_an_order(serve: Serve, connect: Connect, script: str) -> None:
    """``resend_with_tools=True`` says that the order may be carried out twice."""
    server = serve(script, "healthy")
    retry = Retry(backoff=0, resend_with_tools=True)
    _ask(connect(retry=retry), "POST", server.url + "/api/orders").done("recovered")
    assert len(server.requests) == 2


@pytest.mark.parametrize("method", sorted(IDEMPOTENT - {"HEAD"}))
def test_an_idempotent_method_is_sent_again(serve: Serve, connect: Connect, method: str) -> None:
    """An idempotent method may be repeated by definition."""
    server = serve("reset-before-response", "status:status=503", "healthy")
    _ask(connect(), method, server.url + "/api/orders/1").done("recovered")
    assert len(server.requests) == 3


def test_a_model_call_is_sent_again(serve: Serve, connect: Connect) -> None:
    """A request that names a model and holds a prompt is a model call at any URL.

    Other requests can be registered.
    """
    server = serve("status:status=503", "healthy", "status:status=503", "healthy")
    _ask(connect(), "POST", server.url + "/own", json=asking(stream=False)).done("recovered")
    llmwatch.register_model_url("/api/generate")
    _ask(connect(retry=QUICK), "POST", server.url + "/api/generate").done("recovered")
    assert len(server.requests) == 4
