"""Silence before the first byte of an answer is killed at ``ttfb``.

The call is recovered where a resend is safe.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import llmwatch
from llmwatch import Decision, Limits, Retry
from llmwatch.engine.worst_case import worst_case
from llmwatch.faults.catalogue import ANSWER
from llmwatch.policy import PROFILES, EffectiveLimits, effective, resolve_limits, resolve_retry
from tests.end_to_end.calls import SHAPES, asking, collect, endpoint, request, stream, timed_out, together
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT, LONG

FUNCTION = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


@pytest.mark.parametrize("script", ["silent", "headers-then-silent"])
def test_silence_is_killed_at_ttfb_and_recovered_on_a_fresh_connection(
    serve: Serve, connect: Connect, script: str
) -> None:
    """Silence before or after the headers costs one limit, and a second request brings the whole answer."""
    client = connect(limits=Limits(ttfb=LIMIT))
    servers = {shape: serve(script, "healthy") for shape in SHAPES}
    outcomes = together(partial(stream, client, endpoint(server, shape)) for shape, server in servers.items())
    for server, outcome in zip(servers.values(), outcomes, strict=True):
        record = outcome.done("recovered")
        assert outcome.text == ANSWER
        assert outcome.elapsed >= LIMIT
        assert len(server.requests) == 2
        assert server.connections == 2
        first, second = record.attempts
        assert (first.limit, first.close_reason, first.cause) == ("ttfb", "ttfb_kill", "watchdog_timeout")
        assert first.status == (None if script == "silent" else 200)
        assert first.phase == ("waiting" if script == "silent" else "headers")
        assert (first.response_bytes, sum(first.events.values())) == (0, 0)
        assert (second.close_reason, second.limit, second.cause) == ("done", None, None)
        (decision,) = record.decisions
        assert (decision.decision, decision.reason, decision.outcome) == (Decision.RETRY, "silence", "recovered")
        assert decision.carried_out
        assert record.incident
        assert record.cause is None


def test_silence_of_every_attempt_is_one_request_an_attempt(serve: Serve, connect: Connect) -> None:
    """A provider that never speaks gets exactly three requests, and the last attempt's error comes out."""
    client = connect(limits=Limits(ttfb=LIMIT))
    servers = [serve("silent"), serve("headers-then-silent")]
    outcomes = together(partial(stream, client, server.chat_url) for server in servers)
    for server, outcome in zip(servers, outcomes, strict=True):
        error = timed_out(outcome, "ttfb", LIMIT, attempts=3, decision=Decision.STOP)
        assert error.recovery is not None
        assert error.recovery.reason == "attempts_exhausted"
        assert error.retryable
        assert outcome.elapsed >= 3 * LIMIT
        assert len(server.requests) == 3
        assert server.connections == 3
        assert [one.decision for one in error.record.decisions] == [Decision.RETRY, Decision.RETRY, Decision.STOP]
        assert [one.budget_left for one in error.record.decisions] == [2, 1, 0]
        assert [one.carried_out for one in error.record.decisions] == [True, True, False]
        assert [one.outcome for one in error.record.decisions] == ["failed", "failed", "stopped"]


def test_max_attempts_is_the_exact_number_of_requests(serve: Serve, connect: Connect) -> None:
    """``max_attempts`` is how many requests reach a provider that never speaks, the first included."""
    cells = [(attempts, serve("silent")) for attempts in (1, 2, 5)]
    clients = [
        connect(limits=Limits(ttfb=LIMIT / 2), retry=Retry(max_attempts=attempts, backoff=0)) for attempts, _ in cells
    ]
    outcomes = together(
        partial(stream, client, server.chat_url) for client, (_, server) in zip(clients, cells, strict=True)
    )
    for (attempts, server), outcome in zip(cells, outcomes, strict=True):
        timed_out(outcome, "ttfb", LIMIT / 2, attempts=attempts, decision=Decision.STOP)
        assert len(server.requests) == attempts


def test_no_retry_hands_the_first_time_out_to_the_users_own_loop(serve: Serve, connect: Connect) -> None:
    """A loop of the user's own catches ``TimeoutError`` with ``Retry.none()``.

    It asks again on the same client.
    """
    server = serve("silent", "healthy")
    client = connect(limits=Limits(ttfb=LIMIT), retry=Retry.none())
    caught = 0
    while True:
        try:
            with client.stream("POST", server.chat_url, json=asking()) as events:
                text = "".join(event.text for event in events)
            break
        except TimeoutError:
            caught += 1
    assert (text, caught, len(server.requests)) == (ANSWER, 1, 2)


@pytest.mark.parametrize("entry_point", [collect, request])
def test_collect_and_request_recover_from_silence(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """A second request gives a whole answer or a plain response when the first meets silence."""
    server = serve("silent", "healthy")
    # A plain call that is silent is slow but alive: it may be at work.
    client = connect(limits=Limits(ttfb=LIMIT), retry=Retry(backoff=0.01, slow_but_alive=entry_point is request))
    outcome = entry_point(client, server.chat_url)
    outcome.done("recovered")
    assert len(server.requests) == 2
    said = outcome.value.text if entry_point is collect else outcome.value.json()["choices"][0]["message"]["content"]
    assert said == ANSWER


def test_a_silent_plain_call_is_not_resent(serve: Serve, connect: Connect) -> None:
    """A plain call is silent until it is finished, so its kill counts as slow but alive: one request."""
    server = serve("silent")
    outcome = request(connect(limits=Limits(ttfb=LIMIT)), server.chat_url)
    error = timed_out(outcome, "ttfb", LIMIT, attempts=1, decision=Decision.STOP)
    assert error.recovery is not None
    assert error.recovery.reason == "slow_but_alive"
    assert len(server.requests) == 1


HARMLESS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("openai-chat", {}),
    "the caller's": ("openai-chat", {"tools": [FUNCTION]}),
    "the caller's again": ("anthropic", {"tools": [{"name": "look_up", "input_schema": {"type": "object"}}]}),
    "a search": ("openai-responses", {"tools": [{"type": "web_search"}]}),
    "another search": ("anthropic", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    "switched off": ("openai-responses", {"tools": [{"type": "mcp", "server_label": "files"}], "tool_choice": "none"}),
}
HARMFUL: dict[str, tuple[str, dict[str, Any], str]] = {
    "MCP": ("openai-responses", {"tools": [{"type": "mcp", "server_label": "files"}]}, "provider_tools"),
    "MCP servers": (
        "anthropic",
        {"mcp_servers": [{"type": "url", "url": "http://127.0.0.1:9/", "name": "a"}]},
        "provider_tools",
    ),
    "unknown": ("openai-chat", {"tools": [FUNCTION, {"type": "teleport"}]}, "unknown_tools"),
}


def test_harmless_tools_do_not_keep_silence_from_being_resent(serve: Serve, connect: Connect) -> None:
    """Silence is resent although the caller, or the provider by reading alone, would carry out tools."""
    client = connect(limits=Limits(ttfb=LIMIT))
    cells = [(shape, asking(**tools), serve("silent", "healthy")) for shape, tools in HARMLESS.values()]
    outcomes = together(partial(stream, client, endpoint(server, shape), json=body) for shape, body, server in cells)
    for (_, body, server), outcome in zip(cells, outcomes, strict=True):
        outcome.done("recovered")
        assert outcome.text == ANSWER
        assert [one.json() for one in server.requests] == [body] * 2


def test_tools_with_side_effects_forbid_resending_silence(serve: Serve, connect: Connect) -> None:
    """The recovery asks a person where the provider may have carried out something that cannot be undone."""
    client = connect(limits=Limits(ttfb=LIMIT))
    cells = [(*row, serve("silent", "healthy")) for row in HARMFUL.values()]
    outcomes = together(
        partial(stream, client, endpoint(server, shape), json=asking(**tools)) for shape, tools, _, server in cells
    )
    for (_, _, reason, server), outcome in zip(cells, outcomes, strict=True):
        error = timed_out(outcome, "ttfb", LIMIT, attempts=1, decision=Decision.CONFIRM)
        assert error.recovery is not None
        assert error.recovery.reason == reason
        assert len(server.requests) == 1


def test_the_user_can_opt_in_to_resends_with_tools(serve: Serve, connect: Connect) -> None:
    """``resend_with_tools=True`` resends where unknown tools would otherwise ask for a person's word."""
    server = serve("silent", "healthy")
    client = connect(limits=Limits(ttfb=LIMIT), retry=Retry(backoff=0, resend_with_tools=True))
    outcome = stream(client, server.chat_url, json=asking(tools=[{"type": "teleport"}]))
    outcome.done("recovered")
    assert len(server.requests) == 2


def test_an_unreadable_body_forbids_resending_silence(serve: Serve, connect: Connect) -> None:
    """A body that is no JSON may expose any tool, so silence after it is not resent."""
    server = serve("silent")
    client = connect(limits=Limits(ttfb=LIMIT))
    outcome = stream(client, server.chat_url, json=None, data=b"\x00 not JSON")
    error = timed_out(outcome, "ttfb", LIMIT, attempts=1, decision=Decision.CONFIRM)
    assert error.recovery is not None
    assert error.recovery.reason == "unreadable_body"
    assert len(server.requests) == 1


def test_an_iterator_body_is_not_resent_after_silence(serve: Serve, connect: Connect) -> None:
    """An iterator's bytes are gone after the first attempt, so silence after it is final."""
    server = serve("silent")
    client = connect(limits=Limits(ttfb=LIMIT), retry=Retry(backoff=0, resend_with_tools=True))
    outcome = stream(client, server.chat_url, json=None, data=iter([b"{}"]))
    error = timed_out(outcome, "ttfb", LIMIT, attempts=1, decision=Decision.STOP)
    assert error.recovery is not None
    assert error.recovery.reason == "body_not_replayable"
    assert len(server.requests) == 1


def test_a_file_is_sent_again_from_where_it_stood(serve: Serve, connect: Connect, tmp_path: Any) -> None:
    """A body in a file is rewound before the resend, so both requests carry the same bytes."""
    path = tmp_path / "body.json"
    path.write_bytes(b'skipped{"stream": true}')
    server = serve("silent", "healthy")
    client = connect(limits=Limits(ttfb=LIMIT), retry=Retry(backoff=0, resend_with_tools=True))
    with path.open("rb") as file:
        file.seek(len(b"skipped"))
        outcome = stream(client, server.chat_url, json=None, data=file)
    outcome.done("recovered")
    assert [one.body for one in server.requests] == [b'{"stream": true}'] * 2


def test_late_headers_are_killed_at_the_headers_limit(serve: Serve, connect: Connect) -> None:
    """Headers that come after the ``headers`` limit are too late, and the call is resent."""
    server = serve(f"late-headers:after={LONG}", "healthy")
    outcome = stream(connect(limits=Limits(headers=LIMIT)), server.chat_url)
    record = outcome.done("recovered")
    assert (record.attempts[0].limit, record.attempts[0].phase) == ("headers", "waiting")
    assert outcome.elapsed >= LIMIT
    assert len(server.requests) == 2


def test_headers_within_their_limit_are_in_time(serve: Serve, connect: Connect) -> None:
    """The ``headers`` limit ends with the headers and does not bound the body."""
    server = serve(f"buffered:head=true,delay={2 * LIMIT}")
    outcome = stream(connect(limits=Limits(headers=LIMIT, ttfb=LONG)), server.chat_url)
    outcome.done()
    assert outcome.elapsed >= 2 * LIMIT
    assert len(server.requests) == 1


def test_the_worst_case_is_what_a_silent_provider_costs(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call with defaults to a silent provider takes exactly the computed worst case.

    The back-offs are the longest possible.
    """
    shorter = {**PROFILES, "local": {**PROFILES["local"], "ttfb": LIMIT}}
    monkeypatch.setattr("llmwatch.policy.effective.PROFILES", shorter)
    # What was resolved from other defaults is kept, and what is resolved from these must not be.
    monkeypatch.setattr("llmwatch.policy.effective._resolved", effective._resolved.__wrapped__)
    retry = Retry(backoff=LIMIT / 2)

    def after(kills: int) -> EffectiveLimits:
        return resolve_limits(environ={}, profile="local", patience=kills)

    told = worst_case(after, resolve_retry(client=retry, environ={}))
    assert told.seconds == pytest.approx((1 + 2 + 4) * LIMIT + (0.5 + 1) * LIMIT)
    outcome = stream(connect(retry=retry, random=lambda: 1.0), serve("silent").chat_url)
    error = outcome.failed(llmwatch.WatchTimeout)
    record = error.record
    assert tuple(one.limit_seconds for one in record.attempts) == pytest.approx(told.attempts)
    assert tuple(one.wait for one in record.decisions[:-1]) == pytest.approx(told.waits)
    assert outcome.elapsed >= told.seconds
