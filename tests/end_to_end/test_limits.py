"""Limits as users set them: off with 0, one after the other, for the call as a whole."""

from __future__ import annotations

import threading
from functools import partial

import pytest

import llmwatch
from llmwatch import Decision, Limits, Retry, WatchTimeout
from llmwatch.faults import blackhole
from llmwatch.faults.catalogue import answer
from tests.end_to_end.calls import collect, in_thread, request, stream, timed_out, together
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import BEAT, LIMIT, LIVELY, LONG, PULSE


@pytest.mark.parametrize("off", [0, None, "environment"])
def test_zero_turns_ttfb_off_and_the_next_limit_counts(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, off: object
) -> None:
    """``0`` disables ``ttfb``, and a silent call falls to ``first_content``."""
    server = serve("silent")
    if off == "environment":
        monkeypatch.setenv("LLMWATCH_TTFB_TIMEOUT_SECONDS", "0")
        monkeypatch.setenv("LLMWATCH_FIRST_CONTENT_TIMEOUT_SECONDS", str(LIMIT))
        client = connect(retry=Retry.none())
    else:
        client = connect(limits=Limits(ttfb=off, first_content=LIMIT), retry=Retry.none())
    outcome = stream(client, server.chat_url)
    timed_out(outcome, "first_content", LIMIT, attempts=1, decision=Decision.STOP)
    assert len(server.requests) == 1


def test_silence_falls_to_whichever_limit_is_left(serve: Serve, connect: Connect) -> None:
    """A silent call with ``ttfb`` off ends at the next limit that is on.

    ``total`` and ``deadline`` are among these limits.
    """
    server = serve("silent")
    left: dict[str, dict[str, float]] = {
        "total": {"ttfb": 0, "first_content": 0, "total": LIMIT},
        "deadline": {"ttfb": 0, "first_content": 0, "deadline": LIMIT},
        "first_event": {"ttfb": 0, "first_event": LIMIT},
        "headers": {"ttfb": 0, "headers": LIMIT},
    }
    clients = [connect(limits=Limits(**limits), retry=Retry.none()) for limits in left.values()]
    outcomes = together(partial(stream, client, server.chat_url) for client in clients)
    for limit, outcome in zip(left, outcomes, strict=True):
        timed_out(outcome, limit, LIMIT, attempts=1, decision=Decision.STOP)
    assert len(server.requests) == len(left)


def test_with_every_limit_off_a_call_waits(serve: Serve, connect: Connect) -> None:
    """With all limits off nothing ends a silent call but its caller."""
    server, token = serve("silent"), llmwatch.CancelToken()
    names = ("connect", "send", "ttfb", "first_content", "stale", "progress", "drain")
    client = connect(limits=Limits(**dict.fromkeys(names, 0)))
    calling = in_thread(stream, client, server.chat_url, cancel=token)
    server.wait_for_requests(1)
    threading.Event().wait(2 * LIMIT)
    assert calling.thread.is_alive()
    token.cancel()
    assert calling.result().failed(llmwatch.Cancelled).by == "user"


def test_the_deadline_spans_attempts_and_waits(serve: Serve, connect: Connect) -> None:
    """``deadline`` is for the call: attempts and back-offs before it leave the last attempt what remains."""
    # The last attempt is left nine tenths of a limit, less what the others came late.
    deadline = 5.8 * LIMIT
    limits = Limits(ttfb=2 * LIMIT, deadline=deadline)
    retry = Retry(max_attempts=9, backoff=0.01, slow_but_alive=True)
    servers, entry_points = [serve("silent") for _ in range(3)], (stream, collect, request)
    outcomes = together(
        partial(entry_point, connect(limits=limits, retry=retry), server.chat_url)
        for entry_point, server in zip(entry_points, servers, strict=True)
    )
    for outcome, server in zip(outcomes, servers, strict=True):
        error = outcome.failed(WatchTimeout)
        assert (error.limit, error.limit_seconds, error.retryable) == ("deadline", deadline, False)
        assert error.elapsed >= deadline
        assert outcome.elapsed >= deadline
        assert error.recovery is not None
        assert error.recovery.decision is Decision.STOP
        assert [one.limit for one in error.record.attempts] == ["ttfb", "ttfb", "deadline"]
        server.wait_for_requests(3)
        assert len(server.requests) == 3


def test_no_wait_goes_beyond_the_deadline(serve: Serve, connect: Connect) -> None:
    """A back-off that would end after the deadline does not begin.

    The attempt's own error is raised at once.
    """
    server = serve("status:status=503")
    client = connect(limits=Limits(deadline=LONG), retry=Retry(backoff=16 * LONG, max_backoff=0), random=lambda: 0.5)
    outcome = stream(client, server.chat_url)
    error = outcome.failed(llmwatch.ProviderError)
    assert error.recovery is not None
    assert error.recovery.reason == "no_time_left"
    assert outcome.elapsed < LONG
    assert len(server.requests) == 1


def test_the_deadline_ends_a_connect_too(connect: Connect) -> None:
    """``deadline`` holds in every phase, the connection included."""
    with blackhole() as (host, port):
        client = connect(limits=Limits(deadline=LIMIT))
        outcome = stream(client, f"http://{host}:{port}/v1/messages")
    timed_out(outcome, "deadline", LIMIT, attempts=1, decision=Decision.STOP)


def test_backing_off_counts_for_the_call_and_not_for_an_attempt(serve: Serve, connect: Connect) -> None:
    """The second attempt's limits begin with it, however long the wait before it was."""
    server = serve(f"retry-after:value={3 * LIMIT:.2f}", f"late-headers:after={LIMIT / 5}")
    outcome = stream(connect(limits=Limits(ttfb=2.5 * LIMIT)), server.chat_url)
    record = outcome.done("recovered")
    assert outcome.elapsed >= 3 * LIMIT
    assert record.attempts[1].elapsed < 3 * LIMIT
    assert record.elapsed >= 3 * LIMIT


def test_requests_own_timeout_is_connect_and_silence(serve: Serve, connect: Connect) -> None:
    """``timeout=`` of requests limits the connection and silence, before the first byte and after it."""
    # A single number limits the connection as well, for which a busy machine needs longer.
    rows: list[tuple[object, str, str, float]] = [
        (LIVELY, "silent", "ttfb", LIVELY),
        (LIVELY, "stall-after-content", "stale", LIVELY),
        ((LONG, LIMIT), "silent", "ttfb", LIMIT),
        ((LONG, LIMIT), "stall-after-content", "stale", LIMIT),
        ((None, LIMIT), "headers-then-silent", "ttfb", LIMIT),
    ]
    client = connect(retry=Retry.none())
    servers = [serve(script) for _, script, _, _ in rows]
    outcomes = together(
        partial(stream, client, server.chat_url, timeout=timeout)
        for server, (timeout, _, _, _) in zip(servers, rows, strict=True)
    )
    for (_, _, name, seconds), outcome in zip(rows, outcomes, strict=True):
        error = outcome.failed(WatchTimeout)
        assert (error.limit, error.limit_seconds) == (name, seconds)
        assert error.record is not None
        limit = error.record.limits[name]
        assert (limit["value"], limit["source"], limit["timeout"]) == (seconds, "timeout of the request", seconds)


def test_requests_own_timeout_is_no_limit_on_a_lively_stream(serve: Serve, connect: Connect) -> None:
    """A stream that goes on for many times ``timeout=`` is whole."""
    server = serve(f"healthy:delay={BEAT},tokens=110")
    outcome = stream(connect(), server.chat_url, timeout=LIVELY)
    outcome.done()
    assert outcome.text == answer(110)
    assert outcome.elapsed > 2 * LIVELY


def test_requests_timeout_raises_no_limit(serve: Serve, connect: Connect) -> None:
    """A longer ``timeout=`` beside ``limits=`` changes nothing; a shorter one lowers the limit."""
    server = serve("silent")
    client = connect(retry=Retry.none())
    outcome = stream(client, server.chat_url, timeout=LONG, limits=Limits(ttfb=LIMIT))
    assert outcome.failed(WatchTimeout).limit_seconds == LIMIT
    outcome = stream(client, server.chat_url, timeout=(LONG, LIMIT), limits=Limits(ttfb=LONG))
    assert outcome.failed(WatchTimeout).limit_seconds == LIMIT


def test_requests_timeout_can_be_set_aside(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose ``timeout=`` is too short gets its answer when that time-out is set aside.

    The client's argument or the environment sets it aside.
    """
    server = serve(f"late-headers:after={2 * LIMIT}")
    stream(connect(override_timeouts=True), server.chat_url, timeout=LIMIT).done()
    monkeypatch.setenv("LLMWATCH_OVERRIDE_TIMEOUTS", "1")
    stream(connect(), server.chat_url, timeout=LIMIT).done()
    assert len(server.requests) == 2


def test_precedence_is_call_client_environment_profile(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call's limit beats the client's, the environment's and the profile's, in this order.

    The environment is read at every call.
    """
    server = serve("silent")
    plain, settled = connect(retry=Retry.none()), connect(retry=Retry.none(), limits=Limits(ttfb=1.25 * LIMIT))
    monkeypatch.setenv("LLMWATCH_TTFB_TIMEOUT_SECONDS", str(1.5 * LIMIT))
    ways = ((plain, None), (settled, None), (settled, Limits(ttfb=LIMIT)))
    found = []
    for outcome in together(partial(stream, client, server.chat_url, limits=limits) for client, limits in ways):
        error = outcome.failed(WatchTimeout)
        found.append((error.limit_seconds, error.record.limits["ttfb"]["source"]))
    assert found == [
        (1.5 * LIMIT, "LLMWATCH_TTFB_TIMEOUT_SECONDS"),
        (1.25 * LIMIT, "argument of the client"),
        (LIMIT, "argument of the call"),
    ]
    monkeypatch.setenv("LLMWATCH_TTFB_TIMEOUT_SECONDS", str(LIMIT))
    assert stream(plain, server.chat_url).failed(WatchTimeout).limit_seconds == LIMIT


def test_the_limits_in_force_can_be_asked_for(serve: Serve, connect: Connect) -> None:
    """A stream says which limits hold for it, and the module which would hold for a URL."""
    server = serve()
    with connect(limits=Limits(ttfb=LONG)).stream("POST", server.chat_url, json={"stream": True}) as events:
        assert events.limits.profile == "local"
        assert events.limits.value("ttfb") == LONG
        assert events.limits.value("stale") == 900.0
        list(events)
    effective = llmwatch.effective_limits("https://api.example.test/v1/chat/completions", 400_000)
    assert (effective.profile, effective.value("stale")) == ("hosted", 360.0)
    assert effective.value("ttfb") > 120.0


_LIMITS = {
    "connect": (None, {}),
    "headers": ("silent", {"ttfb": 0}),
    "ttfb": ("silent", {}),
    "first_event": ("comment-then-silent", {}),
    "first_content": (f"keepalive-only:every={PULSE}", {}),
    "stale": ("stall-after-content", {}),
    "progress": (f"pings-after-content:every={PULSE}", {}),
    "total": (f"endless-content:every={PULSE}", {}),
    "deadline": (f"endless-content:every={PULSE}", {}),
}


def test_the_messages_of_the_limits_differ_and_name_what_to_change(serve: Serve, connect: Connect) -> None:
    """Each limit has a message of its own.

    The message names the host, the limit's length, its field and its variable.
    """
    said: dict[str, str] = {}
    with blackhole() as (host, port):
        servers = {limit: serve(script) if script else None for limit, (script, _) in _LIMITS.items()}
        urls = [f"http://{host}:{port}/" if server is None else server.chat_url for server in servers.values()]
        clients = [
            connect(limits=Limits(**{limit: LIMIT / 2}, **more), retry=Retry.none())
            for limit, (_, more) in _LIMITS.items()
        ]
        outcomes = together(partial(stream, client, url) for client, url in zip(clients, urls, strict=True))
    for (limit, server), outcome in zip(servers.items(), outcomes, strict=True):
        error = outcome.failed(WatchTimeout)
        assert error.limit == limit
        netloc = f"{host}:{port}" if server is None else server.netloc
        variable = "LLMWATCH_DEADLINE_SECONDS" if limit == "deadline" else f"LLMWATCH_{limit.upper()}_TIMEOUT_SECONDS"
        text = str(error)
        assert variable in text
        assert f"raise {limit}" in text.lower()
        assert f"{LIMIT / 2:g} s" in text
        if limit not in ("total", "deadline"):
            assert netloc in text
        said[limit] = text.replace(netloc, "HOST")
    firsts = {text.split(".")[0][:40] for text in said.values()}
    assert len(firsts) == len(_LIMITS)
    assert len({text.split("LLMWATCH")[0] for text in said.values()}) == len(_LIMITS)
