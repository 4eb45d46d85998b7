"""The rules that everything else grew from: what is sent again, and what never is."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

import llmwatch
from llmwatch import Cancelled, CancelToken, Decision, Kind, Limits, LLMWatchError, Retry
from llmwatch.faults.catalogue import ANSWER, answer
from tests.end_to_end.calls import (
    SHAPES,
    asking,
    collect,
    endpoint,
    in_thread,
    request,
    run_stream,
    stream,
    timed_out,
    together,
)
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import FREE, LIMIT, PATIENCE
from tests.safe_recovery.scripts import broken_off

FUNCTION = {"type": "function", "function": {"name": "look_up"}}
WAYS = {
    "eof": llmwatch.StreamTruncated,
    "cut": llmwatch.StreamCut,
    "error": llmwatch.ProviderError,
    "malformed": llmwatch.MalformedEvent,
    "silent": llmwatch.WatchTimeout,
}


@pytest.mark.parametrize("shape", ["openai-responses", "anthropic"])
def test_a_clean_failed_attempt_leaves_no_trace(serve: Serve, connect: Connect, shape: str) -> None:
    """After an attempt that fails with lifecycle events alone, the answer is the second's.

    The answer says nothing of the first: no id, no event twice, no ``.partial``. This holds however the first fails.
    """
    client = connect(limits=Limits(stale=LIMIT))
    expected = stream(client, endpoint(serve("healthy"), shape))
    servers = {how: serve(broken_off("lifecycle", how), "healthy") for how in WAYS}
    outcomes = together(partial(stream, client, endpoint(server, shape)) for server in servers.values())
    for (how, server), outcome in zip(servers.items(), outcomes, strict=True):
        record = outcome.done("recovered")
        assert outcome.text == ANSWER
        assert "fault1" not in "".join(event.data for event in outcome.events)
        assert [event.data.replace("fault2", "fault1") for event in outcome.events] == [
            event.data for event in expected.events
        ]
        assert [event.event for event in outcome.events] == [event.event for event in expected.events]
        first, second = record.attempts
        assert (first.error, second.error) == (WAYS[how].__name__, None)
        assert first.events["lifecycle"] > 0
        assert not first.facts["delivered"]
        assert len(server.requests) == 2


def test_an_error_after_a_clean_failure_has_only_its_own_text(serve: Serve, connect: Connect) -> None:
    """``.partial`` and the facts are those of the attempt that delivered.

    The clean one before it is history.
    """
    server = serve(broken_off("lifecycle", "cut"), broken_off("text", "eof"), "healthy")
    outcome = stream(connect(), server.messages_url)
    error = outcome.failed(llmwatch.StreamTruncated)
    assert error.partial == outcome.text == answer(4)
    assert outcome.kinds.count("lifecycle") == len([one for one in outcome.events if one.kind is Kind.LIFECYCLE])
    assert "fault1" not in "".join(event.data for event in outcome.events)
    assert error.record is not None
    assert [one.error for one in error.record.attempts] == ["StreamCut", "StreamTruncated"]
    assert [one.decision for one in error.record.decisions] == [Decision.RETRY, Decision.CONTINUE]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("stage", "decision", "reason"),
    [
        ("text", Decision.CONTINUE, "output_delivered"),
        ("reasoning", Decision.CONTINUE, "output_delivered"),
        ("half a tool call", Decision.CONTINUE, "tool_input_delivered"),
        ("a whole tool call", Decision.CONFIRM, "tool_call_delivered"),
    ],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_delivered_is_never_followed_by_a_resend(
    serve: Serve, connect: Connect, shape: str, stage: str, decision: Decision, reason: str
) -> None:
    """One request is sent once visible text, reasoning, part of a tool call or a whole one was delivered.

    This holds whatever ended the request, and whatever the user opted into.
    """
    retry = Retry(backoff=0, resend_with_tools=True, slow_but_alive=True, max_attempts=9)
    client = connect(limits=Limits(stale=LIMIT), retry=retry)
    servers = {how: serve(broken_off(stage, how), "healthy") for how in WAYS}
    outcomes = together(partial(stream, client, endpoint(server, shape)) for server in servers.values())
    for (how, server), outcome in zip(servers.items(), outcomes, strict=True):
        error = outcome.failed(WAYS[how])
        assert isinstance(error, LLMWatchError)
        assert error.retryable
        assert error.recovery is not None
        assert (error.recovery.decision, error.recovery.reason) == (decision, reason), how
        assert error.record is not None
        (attempt,) = error.record.attempts
        assert attempt.facts["delivered"]
        assert error.record.decisions[0].could_work
        assert not error.record.decisions[0].safe
        assert error.record.decisions[0].outcome == "blocked"
        assert len(server.requests) == 1


MCP = {"tools": [{"type": "mcp", "server_label": "files"}]}
UNKNOWN = {"tools": [{"type": "teleport_20990101"}]}


@pytest.mark.parametrize(("tools", "reason"), [(MCP, "provider_tools"), (UNKNOWN, "unknown_tools")], ids=["MCP", "?"])
@pytest.mark.parametrize("entry_point", [stream, collect])
def test_no_failure_before_output_is_resent_with_such_tools(
    serve: Serve, connect: Connect, entry_point: Any, tools: dict[str, Any], reason: str
) -> None:
    """Whatever ended a request that exposed MCP or unknown tools, nothing is sent again.

    Silence alone is not the only case.
    """
    for script in ("reset-before-response", "empty-stream", "status:status=503", "html-instead"):
        server = serve(script, "healthy")
        outcome = entry_point(connect(), server.responses_url, json=asking(**tools))
        assert isinstance(outcome.error, LLMWatchError)
        assert outcome.error.recovery is not None
        assert (outcome.error.recovery.decision, outcome.error.recovery.reason) == (Decision.CONFIRM, reason), script
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("openai-responses", {**MCP, "tool_choice": "none"}),
        ("openai-responses", {**UNKNOWN, "tool_choice": "none"}),
        ("anthropic", {**UNKNOWN, "tool_choice": {"type": "none"}}),
        ("openai-chat", {"tools": [FUNCTION]}),
        ("openai-responses", {"tools": [{"type": "web_search_preview"}, {"type": "code_interpreter"}]}),
    ],
    ids=["MCP off", "unknown off", "unknown off again", "the caller's", "a search"],
)
def test_tools_that_cannot_do_anything_do_not_count(
    serve: Serve, connect: Connect, shape: str, body: dict[str, Any]
) -> None:
    """Tools that are switched off, the caller's own and a provider's search let a reset be resent."""
    server = serve("reset-before-response", "healthy")
    record = stream(connect(), endpoint(server, shape), json=asking(**body)).done("recovered")
    assert record.attempts[0].tool_exposure is not None
    assert len(server.requests) == 2


@pytest.mark.parametrize("tools", [MCP, UNKNOWN], ids=["MCP", "?"])
def test_the_user_may_allow_resends_with_such_tools(
    serve: Serve, connect: Connect, tools: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``resend_with_tools`` opts in, by argument and by environment.

    The record still shows the tools.
    """
    for settings, call in (({"retry": Retry(backoff=0, resend_with_tools=True)}, {}), ({}, {"retry": None})):
        if not settings:
            monkeypatch.setenv("LLMWATCH_RESEND_WITH_TOOLS", "1")
        server = serve("reset-before-response", "healthy")
        record = stream(connect(**settings), server.responses_url, json=asking(**tools), **call).done("recovered")
        exposure = record.attempts[0].tool_exposure
        assert exposure is not None
        assert exposure["provider_other"] + exposure["unknown"] == 1
        assert len(server.requests) == 2


@pytest.mark.parametrize("entry_point", [stream, collect, request])
def test_a_cancel_in_the_back_off_is_a_cancel(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """A call that is given up between its attempts ends as ``Cancelled`` at every entry point.

    The call does not end as a recovered success. The record has the failed attempt, the resend that did not take place,
    and the end that did.
    """
    server = serve("retry-after:value=60", "healthy")
    backing_off, records, token = threading.Event(), [], CancelToken()
    client = connect(
        on_notice=lambda one: backing_off.set() if isinstance(one, llmwatch.RetryNotice) else None,
        sinks=[records.append],
    )
    calling = in_thread(entry_point, client, server.chat_url, cancel=token)
    assert backing_off.wait(PATIENCE)
    token.cancel()
    error = calling.result().failed(Cancelled)
    (record,) = records
    assert record == error.record
    assert (record.outcome, record.cause) == ("cancelled", "user_cancel")
    assert record.incident
    (attempt,) = record.attempts
    assert (attempt.status, attempt.cause) == (429, "provider_error")
    planned, ended = record.decisions
    assert (planned.decision, planned.wait, planned.carried_out) == (Decision.RETRY, 60.0, False)
    assert (ended.decision, ended.reason, ended.outcome) == (Decision.STOP, "cancelled_by_user", "stopped")
    assert all(one.outcome != "recovered" for one in record.decisions)
    assert len(server.requests) == 1


@pytest.mark.parametrize("by", ["the notice", "the hook"])
def test_a_cancel_is_looked_for_before_and_after_the_wait(serve: Serve, connect: Connect, by: str) -> None:
    """A token that is set around the wait keeps the resend from being sent.

    The token is set just before the wait begins, or by the hook just after its end.
    """
    server, token = serve("status:status=503", "healthy"), CancelToken()

    def give_up(what: Any) -> None:
        token.cancel()

    retry = Retry(backoff=0, on_retry=give_up if by == "the hook" else None)
    client = connect(retry=retry, on_notice=give_up if by == "the notice" else None, notice_every=100.0)
    error = stream(client, server.chat_url, cancel=token).failed(Cancelled)
    assert error.by == "user"
    assert len(server.requests) == 1
    assert server.connections == 1


def test_a_cancel_in_the_hook_shows_no_resend_in_the_record(serve: Serve, connect: Connect) -> None:
    """A resend that the hook's own cancellation kept from being sent is recorded as not carried out.

    The cancellation is the decision that follows it.
    """
    server, token = serve("status:status=503", "healthy"), CancelToken()
    retry = Retry(backoff=0, on_retry=lambda resend: token.cancel())
    error = stream(connect(retry=retry), server.chat_url, cancel=token).failed(Cancelled)
    assert error.record is not None
    planned, ended = error.record.decisions
    assert (planned.decision, planned.carried_out) == (Decision.RETRY, False)
    assert (ended.decision, ended.reason) == (Decision.STOP, "cancelled_by_user")


def test_a_kill_is_recorded_as_a_time_out_of_its_own(serve: Serve, connect: Connect) -> None:
    """A kill is a time-out with phase, limit and lag, in the error and in the record.

    The kill is no transport failure.
    """
    server = serve("silent")
    outcome = stream(connect(limits=Limits(ttfb=LIMIT), retry=Retry.none()), server.chat_url)
    error = timed_out(outcome, "ttfb", LIMIT, attempts=1, decision=Decision.STOP)
    assert error.record is not None
    (attempt,) = error.record.attempts
    assert (attempt.phase, attempt.limit, attempt.limit_seconds) == ("waiting", "ttfb", LIMIT)
    assert (attempt.cause, attempt.close_reason, attempt.error) == ("watchdog_timeout", "ttfb_kill", "WatchTimeout")
    assert attempt.kill_lag is not None
    assert 0 <= attempt.kill_lag < FREE
    assert attempt.timings.sent is not None
    assert attempt.timings.end is not None
    assert attempt.timings.end - attempt.timings.sent >= LIMIT
    assert attempt.message == str(error)
    assert error.record.limits["ttfb"]["value"] == LIMIT


def test_history_survives_success_and_failure(serve: Serve, connect: Connect) -> None:
    """Every attempt and every decision stands in the record, in order.

    That holds whether the call went well in the end or not.
    """
    scripts = ["silent", "status:status=503", "reset-before-response"]
    for last in ("healthy", "silent"):
        server = serve(*scripts, last)
        # Without pooled connections, of which one that is reset is another case.
        client = connect(limits=Limits(ttfb=LIMIT), retry=Retry(max_attempts=4, backoff=0), keepalive=0)
        outcome = stream(client, server.chat_url)
        record = outcome.record
        assert record is not None
        assert (outcome.error is None) == (last == "healthy")
        errors = ["WatchTimeout", "ProviderError", "StreamCut", None if last == "healthy" else "WatchTimeout"]
        assert [one.error for one in record.attempts] == errors
        assert [one.number for one in record.attempts] == [1, 2, 3, 4]
        assert [one.started_at for one in record.attempts] == sorted(one.started_at for one in record.attempts)
        resends = record.decisions[:3]
        assert [one.attempt for one in resends] == [1, 2, 3]
        assert [one.reason for one in resends] == ["silence", "http_status", "lost_before_response"]
        assert all(one.carried_out for one in resends)
        assert [one.budget_left for one in resends] == [3, 2, 1]
        if last == "healthy":
            assert (record.outcome, record.cause) == ("recovered", None)
            assert [one.outcome for one in record.decisions] == ["failed", "failed", "recovered"]
        else:
            assert (record.outcome, record.cause) == ("failed", "watchdog_timeout")
            assert [one.outcome for one in record.decisions] == ["failed", "failed", "failed", "stopped"]
            assert record.decisions[3].reason == "attempts_exhausted"
        assert record.incident
        assert len(server.requests) == 4


def test_a_cancel_that_comes_after_output_keeps_what_was_delivered(serve: Serve, connect: Connect) -> None:
    """A call that is given up in the middle has its text in ``.partial``.

    Its record has one attempt, cancelled.
    """
    server, token = serve(broken_off("text", "silent"), "healthy"), CancelToken()
    said: list[str] = []

    def take(event: llmwatch.Event) -> None:
        said.append(event.text)
        if "".join(said) == answer(4):
            token.cancel()

    outcome = run_stream(connect().stream("POST", server.chat_url, json=asking(), cancel=token), take)
    error = outcome.failed(Cancelled)
    assert error.partial == answer(4)
    assert error.record is not None
    assert [one.close_reason for one in error.record.attempts] == ["user_cancel"]
    assert not error.record.incident
    assert len(server.requests) == 1
