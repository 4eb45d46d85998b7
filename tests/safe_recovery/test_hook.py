"""``on_retry``: another endpoint, new credentials, another body for the next attempt."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from collections.abc import Mapping
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Decision, Limits, LLMWatchError, Resend, Retry
from llmwatch.faults import FaultServer, Script, steps
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import asking, collect, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT

ENTRY_POINTS = [stream, collect, request]


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize("script", ["silent", "reset-before-response", "status:status=503"])
def test_a_call_fails_over_to_another_server(serve: Serve, connect: Connect, script: str, entry_point: Any) -> None:
    """The next attempt goes to the hook's URL, body and all.

    The record says where each attempt went.
    """
    down, up = serve(script), serve()
    retry = Retry(backoff=0, slow_but_alive=True, on_retry=lambda resend: {"url": up.chat_url + "?key=s3cret"})
    outcome = entry_point(connect(limits=Limits(ttfb=LIMIT), retry=retry), down.chat_url)
    record = outcome.done("recovered")
    assert [one.url.partition("?")[0] for one in record.attempts] == [down.chat_url, up.chat_url]
    assert [one.origin for one in record.attempts] == [down.url, up.url]
    assert "s3cret" not in str(record.to_dict())
    assert (len(down.requests), len(up.requests)) == (1, 1)
    assert up.requests[0].body == down.requests[0].body
    assert "key=s3cret" in up.requests[0].target


def test_headers_are_changed_added_and_removed(serve: Serve, connect: Connect) -> None:
    """New credentials replace the old ones, a header of ``None`` is gone, the others stay."""
    server = serve("status:status=503", "healthy")
    changes = {"headers": {"Authorization": "Bearer new", "X-Old": None, "X-New": "1"}}
    client = connect(retry=Retry(backoff=0, on_retry=lambda resend: changes))
    headers = {"Authorization": "Bearer old", "X-Old": "1", "X-Same": "1"}
    stream(client, server.chat_url, headers=headers).done("recovered")
    first, second = server.requests
    assert [first.header(name) for name in ("Authorization", "X-Old", "X-New", "X-Same")] == [
        "Bearer old",
        "1",
        None,
        "1",
    ]
    assert [second.header(name) for name in ("Authorization", "X-Old", "X-New", "X-Same")] == [
        "Bearer new",
        None,
        "1",
        "1",
    ]
    assert second.json() == first.json()
    assert headers["X-Old"] == "1"


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
@pytest.mark.parametrize("owner", ["call", "client"])
def test_a_fail_over_leaves_the_old_key_behind(serve: Serve, connect: Connect, name: str, owner: str) -> None:
    """``None`` takes a header out whatever the case of its name, so the key stays behind.

    The call or its client's session has set the header. Another provider does not get to see the key of the first.
    """
    down, up = serve("status:status=503"), serve()
    retry = Retry(backoff=0, on_retry=lambda resend: {"url": up.chat_url, "headers": {name: None}})
    headers = {"Authorization": "Bearer sk-first"}
    with requests.Session() as lender:
        lender.trust_env = False
        lender.headers.update(headers if owner == "client" else {})
        client = connect(retry=retry, session=lender)
        stream(client, down.chat_url, **({"headers": headers} if owner == "call" else {})).done("recovered")
    assert down.requests[0].header("Authorization") == "Bearer sk-first"
    assert up.requests[0].header("Authorization") is None


@pytest.mark.parametrize("given", ["json", "data"])
def test_a_new_body_is_what_is_sent_and_counted(serve: Serve, connect: Connect, given: str) -> None:
    """The tool exposure of an attempt is that of the very body it sent.

    A hook that adds MCP ends the resends.
    """
    server = serve("status:status=503", "reset-before-response", "healthy")
    body = asking(tools=[{"type": "mcp", "server_label": "files"}], model="smaller")
    changes: dict[str, Any] = {"json": body} if given == "json" else {"data": json.dumps(body)}
    client = connect(retry=Retry(backoff=0, on_retry=lambda resend: changes))
    outcome = stream(client, server.responses_url, json=asking(tools=[{"type": "function", "name": "mine"}]))
    assert isinstance(outcome.error, LLMWatchError)
    assert outcome.error.recovery is not None
    assert (outcome.error.recovery.decision, outcome.error.recovery.reason) == (Decision.CONFIRM, "provider_tools")
    record = outcome.record
    assert record is not None
    exposures = [one.tool_exposure for one in record.attempts]
    assert [one["caller"] for one in exposures if one is not None] == [1, 0]
    assert [one["provider_other"] for one in exposures if one is not None] == [0, 1]
    assert server.requests[1].json() == body
    assert len(server.requests) == 2


def test_the_hook_is_not_asked_where_the_body_forbade_a_resend(serve: Serve, connect: Connect) -> None:
    """No hook can take back what the tools of a request may have done: it is not even asked."""
    asked: list[Resend] = []
    server = serve("reset-before-response", "healthy")
    retry = Retry(backoff=0, on_retry=asked.append)
    tools = [{"type": "mcp", "server_label": "files"}]
    outcome = stream(connect(retry=retry), server.responses_url, json=asking(tools=tools))
    outcome.failed(llmwatch.StreamCut)
    assert asked == []
    assert len(server.requests) == 1


def test_the_hook_is_told_what_happened(serve: Serve, connect: Connect) -> None:
    """The hook is called before each resend.

    The hook gets the next attempt's number, the last error, and the next request.
    """
    server, asked = serve("status:status=503", "reset-before-response", "healthy"), []

    def hook(resend: Resend) -> Mapping[str, Any] | None:
        asked.append(resend)
        assert len(server.requests) == resend.attempt - 1
        return None

    client = connect(retry=Retry(backoff=0, on_retry=hook), keepalive=0)
    stream(client, server.chat_url).done("recovered")
    assert [one.attempt for one in asked] == [2, 3]
    assert [type(one.error) for one in asked] == [llmwatch.ProviderError, llmwatch.StreamCut]
    assert [one.url for one in asked] == [server.chat_url] * 2


def test_the_hooks_error_says_whether_a_resend_could_work(serve: Serve, connect: Connect) -> None:
    """The error that a hook is given answers the same questions as one that is raised."""
    server, asked = serve("status:status=503", "healthy"), []
    stream(connect(retry=Retry(backoff=0, on_retry=asked.append)), server.chat_url).done("recovered")
    assert asked[0].error.retryable
    assert asked[0].error.recovery is not None
    assert asked[0].error.recovery.decision is Decision.RETRY


@pytest.mark.parametrize(
    "changes",
    [{"timeout": 3}, {"url": "ftp://127.0.0.1/"}, {"url": "http://u:hunter2@127.0.0.1:port/"}, 7, {"json": object()}],
    ids=["unknown", "scheme", "port", "number", "no JSON"],
)
def test_a_hook_that_returns_nonsense_changes_nothing(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, changes: Any
) -> None:
    """An invalid return value is logged, and the request is sent again unchanged."""
    server = serve("status:status=503", "healthy")
    client = connect(retry=Retry(backoff=0, on_retry=lambda resend: changes))
    with caplog.at_level(logging.WARNING, "llmwatch"):
        outcome = stream(client, server.chat_url)
    outcome.done("recovered")
    assert outcome.text == ANSWER
    assert any("on_retry" in one.getMessage() for one in caplog.records)
    assert "hunter2" not in caplog.text
    assert [one.body for one in server.requests] == [server.requests[0].body] * 2


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_a_hook_that_raises_is_logged_and_the_request_resent(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, entry_point: Any
) -> None:
    """An exception of the hook ends no call."""
    server = serve("status:status=503", "healthy")

    def hook(resend: Resend) -> None:
        raise RuntimeError("no credentials today")

    with caplog.at_level(logging.WARNING, "llmwatch"):
        entry_point(connect(retry=Retry(backoff=0, on_retry=hook)), server.chat_url).done("recovered")
    assert any("on_retry" in one.getMessage() for one in caplog.records)
    assert len(server.requests) == 2


@pytest.mark.parametrize("where", ["on_retry", "on_notice"])
def test_the_words_of_a_callback_that_raises_are_scrubbed(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """A callback's exception may print an address with a key in it; the log does not."""
    server, key = serve("status:status=503", "healthy"), "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY"

    def broken(what: Any) -> None:
        raise RuntimeError(f"Max retries exceeded with url: /token?key={key}")

    hooks = {"retry": Retry(backoff=0, on_retry=broken)} if where == "on_retry" else {"on_notice": broken}
    with caplog.at_level(logging.WARNING, "llmwatch"):
        stream(connect(**hooks), server.chat_url).done("recovered")
    assert caplog.records
    said = caplog.text + "".join(
        "".join(traceback.format_exception(*one.exc_info)) for one in caplog.records if one.exc_info
    )
    assert key not in said


def test_ctrl_c_in_the_hook_ends_the_call(serve: Serve, connect: Connect) -> None:
    """``KeyboardInterrupt`` is the user's and is raised as it is.

    Nothing is sent, and the record shows no resend.
    """
    server, records = serve("status:status=503", "healthy"), []

    def hook(resend: Resend) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream(connect(retry=Retry(backoff=0, on_retry=hook), sinks=[records.append]), server.chat_url)
    (record,) = records
    assert record.outcome == "cancelled"
    assert not record.decisions[0].carried_out
    assert len(server.requests) == 1


def test_a_free_resend_asks_the_hook_too(serve: Serve, connect: Connect) -> None:
    """Before each resend means each: the one after a dead pooled connection included."""
    server, asked = serve("healthy", "reset-before-response", "healthy"), []
    client = connect(retry=Retry(backoff=0, on_retry=asked.append))
    stream(client, server.chat_url).done()
    stream(client, server.chat_url).done("recovered")
    assert [one.attempt for one in asked] == [2]


def test_the_loss_of_a_fail_over_does_not_count_for_the_first_origin(serve: Serve, connect: Connect) -> None:
    """A provider that answers with an error of its own is not silent.

    The origin that its calls fail over to is silent, and that does not count for the first.
    """
    busy, dead = serve("status:status=500"), serve("silent")
    retry = Retry(max_attempts=2, backoff=0, breaker=2, max_wait=0, on_retry=lambda resend: {"url": dead.chat_url})
    client = connect(limits=Limits(ttfb=LIMIT), retry=retry)
    for _ in range(2):
        stream(client, busy.chat_url).failed(llmwatch.WatchTimeout)
    once = Retry(max_attempts=1, breaker=2, max_wait=0)
    stream(client, busy.chat_url, retry=once).failed(llmwatch.ProviderError)
    stream(client, dead.chat_url, retry=once).failed(llmwatch.CircuitOpen)
    assert len(dead.requests) == 2
    # A fail-over to an address without a server is not sent either.
    error = stream(client, busy.chat_url).failed(llmwatch.ProviderError)
    assert (error.status, error.recovery.reason) == (500, "circuit_open")
    assert (len(busy.requests), len(dead.requests)) == (4, 2)


def _to(server: FaultServer, **more: Any) -> Retry:
    """Fail-over to ``server``, with a budget of one resend an origin."""
    settings: dict[str, Any] = {"max_attempts": 2, "backoff": 0, "budget": 1, "breaker": 0, "max_wait": 0, **more}
    return Retry(**settings, on_retry=lambda resend: {"url": server.chat_url})


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.usefixtures("unpaid")
def test_the_new_origin_pays_for_a_fail_over(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """A resend takes its token from the origin that it goes to.

    Where that origin has none the resend is not sent, and the old origin keeps its tokens.
    """
    down, up = serve("status:status=503"), serve("status:status=503")
    retry = Retry(max_attempts=99, backoff=0, budget=1, breaker=0, max_wait=0)
    client = connect(retry=retry)
    entry_point(client, up.chat_url)
    assert len(up.requests) == 1 + 4
    # It has three for each call in flight now, and no more: the fourth resend there is not sent.
    outcome = entry_point(client, down.chat_url, retry=_to(up, max_attempts=99))
    record = outcome.record
    assert record is not None
    assert [(one.decision, one.reason, one.carried_out) for one in record.decisions] == [
        *[(Decision.RETRY, "http_status", True)] * 3,
        (Decision.RETRY, "http_status", False),
        (Decision.STOP, "budget_empty", False),
    ]
    assert (len(record.attempts), record.outcome, record.cause) == (4, "failed", "provider_error")
    if entry_point is request:
        assert outcome.value.status_code == 503
    else:
        error = outcome.failed(llmwatch.ProviderError)
        assert (error.status, error.retryable) == (503, True)
        assert error.retry_after is not None
    assert (len(down.requests), len(up.requests)) == (1, 5 + 3)
    # The old origin still has its own.
    entry_point(client, down.chat_url)
    assert len(down.requests) == 1 + 5


@pytest.mark.usefixtures("unpaid")
def test_a_fail_over_leaves_an_origin_without_tokens(serve: Serve, connect: Connect) -> None:
    """A resend that stays there needs a token."""
    down, up = serve("status:status=503"), serve()
    once = {"max_attempts": 99, "backoff": 0, "budget": 1, "breaker": 0, "max_wait": 0}
    client = connect(retry=Retry(**once))
    stream(client, down.chat_url).failed(llmwatch.ProviderError)
    assert len(down.requests) == 5
    asked: list[Resend] = []
    error = stream(client, down.chat_url, retry=Retry(**once, on_retry=asked.append)).failed(llmwatch.ProviderError)
    assert error.recovery is not None
    assert error.recovery.reason == "budget_empty"
    assert (len(down.requests), len(asked)) == (5 + 4, 4)
    stream(client, down.chat_url, retry=_to(up)).done("recovered")
    assert (len(down.requests), len(up.requests)) == (10, 1)


def test_an_unsent_fail_over_does_not_count_for_the_new_origin(serve: Serve, connect: Connect) -> None:
    """The breaker of the new origin does not count what the old one lost.

    Nothing was sent to the new origin in that call.
    """
    # None of it takes a while: a second later the new origin is asked again.
    dead, up = serve("status:status=503"), serve("status:status=503", "status:status=503", "healthy")
    once = Retry(max_attempts=1, breaker=2, max_wait=0)
    client = connect(retry=once)
    for _ in range(2):
        stream(client, up.chat_url).failed(llmwatch.ProviderError)
    retry = _to(up, breaker=2, budget=10)
    error = stream(client, dead.chat_url, retry=retry).failed(llmwatch.ProviderError)
    assert error.recovery is not None
    assert error.recovery.reason == "circuit_open"
    assert (len(dead.requests), len(up.requests)) == (1, 2)
    # It is one second until a probe, as after two losses, and not two.
    assert stream(client, up.chat_url).failed(llmwatch.CircuitOpen).retry_after <= 1.0


def test_an_error_of_a_failed_over_call_survives_pickling(serve: Serve, connect: Connect) -> None:
    """The error of a call that the hook sent elsewhere is plain data."""
    echo = Script.of("echo", steps.Send(b"HTTP/1.1 nonsense\r\n\r\n"), steps.Close())
    server, other = serve("status:status=503"), serve(echo)
    retry = Retry(max_attempts=2, backoff=0, on_retry=lambda resend: {"url": other.chat_url, "headers": {"A": "b"}})
    error = stream(connect(retry=retry), server.chat_url).failed(llmwatch.StreamCut)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.record, again.recovery) == (str(error), error.record, error.recovery)
