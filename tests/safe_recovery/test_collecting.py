"""A whole answer in spite of a cut in the middle.

The record says what was thrown away.
"""

from __future__ import annotations

from functools import partial

import pytest

import llmwatch
from llmwatch import Decision, Limits, LLMWatchError, Retry
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import SHAPES, collect, endpoint, together
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT
from tests.safe_recovery.scripts import REASONING, broken_off

WAYS = {"eof": "StreamTruncated", "cut": "StreamCut", "error": "ProviderError", "malformed": "MalformedEvent"}
STAGES = {
    "text": ("text",),
    "reasoning": ("reasoning",),
    "half a tool call": ("reasoning", "tool_input"),
    "a whole tool call": ("tool_call",),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_cut_in_the_middle_is_recovered(serve: Serve, connect: Connect, shape: str, stage: str) -> None:
    """The part that was cut off is discarded, and one whole answer comes with nothing of the part in it.

    The part is text, reasoning, half of a tool call or a whole one. The record shows what was thrown away. This
    holds in whatever way the answer breaks off.
    """
    client = connect(limits=Limits(stale=LIMIT))
    servers = {how: serve(broken_off(stage, how), "healthy") for how in (*WAYS, "silent")}
    outcomes = together(partial(collect, client, endpoint(server, shape)) for server in servers.values())
    for (how, server), outcome in zip(servers.items(), outcomes, strict=True):
        record = outcome.done("recovered")
        value = outcome.value
        assert (value.text, value.reasoning, value.tool_calls) == (ANSWER, "", ()), how
        assert value.record is record
        assert not any("fault1" in event.data or REASONING in event.data for event in value.events)
        discarded, good = record.attempts
        assert discarded.error == WAYS.get(how, "WatchTimeout")
        assert set(STAGES[stage]) <= set(discarded.events)
        assert not discarded.facts["delivered"]
        assert discarded.response_bytes > 0
        assert (good.cause, good.facts["terminal"]) == (None, True)
        (decision,) = record.decisions
        assert (decision.decision, decision.reason) == (Decision.RETRY, "partial_discarded")
        assert (decision.could_work, decision.safe, decision.carried_out) == (True, True, True)
        assert decision.outcome == "recovered"
        assert record.incident
        assert len(server.requests) == 2


@pytest.mark.parametrize("stage", STAGES)
def test_a_part_is_discarded_once(serve: Serve, connect: Connect, stage: str) -> None:
    """A second cut is not resent: two requests, and the error has none of the text as delivered."""
    for how in WAYS:
        server = serve(broken_off(stage, how))
        outcome = collect(connect(retry=Retry(max_attempts=9, backoff=0)), server.messages_url)
        error = outcome.error
        assert isinstance(error, LLMWatchError)
        assert type(error).__name__ == WAYS[how]
        assert error.recovery is not None
        assert (error.recovery.decision, error.recovery.reason) == (Decision.STOP, "partial_resend_used"), how
        assert error.retryable
        assert error.partial == ""
        assert error.record is not None
        assert len(error.record.attempts) == len(server.requests) == 2


def test_failures_before_output_do_not_use_up_the_partial_resend(serve: Serve, connect: Connect) -> None:
    """Attempts that failed before any output leave the one resend after partial output to be had."""
    server = serve("status:status=503", broken_off("lifecycle", "eof"), broken_off("text", "eof"), "healthy")
    outcome = collect(connect(retry=Retry(max_attempts=4, backoff=0)), server.messages_url)
    record = outcome.done("recovered")
    assert outcome.value.text == ANSWER
    assert [one.reason for one in record.decisions] == ["http_status", "truncated", "partial_discarded"]
    assert len(server.requests) == 4


def test_silence_after_a_discarded_part_is_resent(serve: Serve, connect: Connect) -> None:
    """Output is thrown away at most once; a clean failure after that is resent like any other."""
    server = serve(broken_off("text", "cut"), "silent", "healthy")
    record = collect(connect(limits=Limits(ttfb=LIMIT)), server.chat_url).done("recovered")
    assert [one.reason for one in record.decisions] == ["partial_discarded", "silence"]
    assert len(server.requests) == 3


def test_a_part_is_not_discarded_where_mcp_was_exposed(serve: Serve, connect: Connect) -> None:
    """If MCP was exposed, a person decides after a cut in the middle, at this entry point too."""
    server = serve(broken_off("text", "eof"), "healthy")
    body = {"model": "m", "stream": True, "input": "x", "tools": [{"type": "mcp", "server_label": "files"}]}
    error = collect(connect(), server.responses_url, json=body).failed(llmwatch.StreamTruncated)
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (Decision.CONFIRM, "provider_tools")
    assert len(server.requests) == 1
