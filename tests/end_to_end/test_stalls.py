"""Streams that have begun: which are killed in the middle, and which must live."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from llmwatch import Decision, Limits, WatchTimeout
from llmwatch.faults import Context, Script, steps
from llmwatch.faults.catalogue import ANSWER, TOOL_NAME, answer, tool_arguments
from tests.end_to_end.calls import SHAPES, collect, endpoint, request, stream, timed_out, together
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import BEAT, LIMIT, LIVELY, LONG, PULSE

RUN = 110
"""Pieces of a run that takes longer than twice the limit."""


def test_a_stall_after_content_is_killed_and_not_resent(serve: Serve, connect: Connect) -> None:
    """A stream that has tokens and then silence ends at ``stale``, with ``CONTINUE``.

    What was delivered stays in ``.partial``, and only one request was made.
    """
    client = connect(limits=Limits(stale=LIMIT))
    servers = {shape: serve("stall-after-content:tokens=4", "healthy") for shape in SHAPES}
    outcomes = together(partial(stream, client, endpoint(server, shape)) for shape, server in servers.items())
    for (shape, server), outcome in zip(servers.items(), outcomes, strict=True):
        error = timed_out(outcome, "stale", LIMIT, attempts=1, decision=Decision.CONTINUE)
        assert error.recovery is not None
        assert error.recovery.reason == "output_delivered"
        assert error.partial == outcome.text == answer(4)
        assert outcome.elapsed >= LIMIT
        assert error.record is not None
        assert error.record.attempts[0].phase == "content"
        assert error.record.attempts[0].facts["delivered"]
        assert len(server.requests) == 1, shape


def test_collect_resends_partial_output_only_once(serve: Serve, connect: Connect) -> None:
    """A second stall after partial output ends ``collect``: two requests, since each of them is billed."""
    server = serve("stall-after-content")
    outcome = collect(connect(limits=Limits(stale=LIMIT)), server.chat_url)
    error = timed_out(outcome, "stale", LIMIT, attempts=2, decision=Decision.STOP)
    assert error.recovery is not None
    assert error.recovery.reason == "partial_resend_used"
    assert len(server.requests) == 2


def test_keepalives_after_content_end_at_progress(serve: Serve, connect: Connect) -> None:
    """Tokens and then keep-alives alone are ended by ``progress``, not by ``stale``."""
    server = serve(f"pings-after-content:every={PULSE}")
    client = connect(limits=Limits(stale=1.5 * LIMIT, progress=2 * LIMIT))
    for outcome in together(partial(stream, client, endpoint(server, shape)) for shape in SHAPES):
        error = timed_out(outcome, "progress", 2 * LIMIT, attempts=1, decision=Decision.CONTINUE)
        assert error.partial == answer(3)
    assert len(server.requests) == len(SHAPES)


def test_a_long_run_of_reasoning_is_never_killed(serve: Serve, connect: Connect) -> None:
    """Reasoning is content: a run of it far beyond ``first_content`` and ``progress`` goes through whole."""
    server = serve(f"reasoning-only:count={RUN},every={BEAT}")
    client = connect(limits=Limits(ttfb=LIVELY, first_content=LIVELY, stale=LIVELY, progress=LIVELY))
    for outcome in together(partial(stream, client, endpoint(server, shape)) for shape in SHAPES):
        outcome.done()
        assert outcome.elapsed >= RUN * BEAT > 2 * LIVELY
        assert outcome.text == ANSWER
        assert "".join(event.reasoning for event in outcome.events) == answer(RUN)


def test_a_long_run_of_tool_arguments_is_never_killed(serve: Serve, connect: Connect) -> None:
    """The fragments of a tool call's arguments are content.

    A long run of them comes out as one whole call.
    """
    server = serve(f"tool-arguments-only:count={RUN},every={BEAT}")
    client = connect(limits=Limits(ttfb=LIVELY, first_content=LIVELY, stale=LIVELY, progress=LIVELY))
    for outcome in together(partial(collect, client, endpoint(server, shape)) for shape in SHAPES):
        outcome.done()
        assert outcome.elapsed >= RUN * BEAT > 2 * LIVELY
        (call,) = outcome.value.tool_calls
        assert (call.name, call.arguments) == (TOOL_NAME, tool_arguments(RUN))
    assert len(server.requests) == len(SHAPES)


def test_a_gap_below_the_limits_is_survived_and_remembered(serve: Serve, connect: Connect) -> None:
    """A gap below ``stale`` and ``progress`` ends no call, and is the longest gap in the record."""
    server = serve(f"long-gap:gap={LIMIT}")
    outcome = stream(connect(limits=Limits(stale=LONG, progress=LONG)), server.chat_url)
    record = outcome.done()
    assert outcome.text == ANSWER
    # A gap is counted from when the client came to read; where there is much to do that is late.
    assert record.attempts[0].longest_gap >= LIMIT / 2
    assert len(server.requests) == 1


def test_endless_content_ends_at_total_and_its_socket_is_closed(serve: Serve, connect: Connect) -> None:
    """Content for ever is cut at ``total``, and the server sees the connection go."""
    server = serve(f"endless-content:every={PULSE}")
    outcome = stream(connect(limits=Limits(total=LIMIT)), server.chat_url)
    error = timed_out(outcome, "total", LIMIT, attempts=1, decision=Decision.CONTINUE)
    assert len(error.partial) > 0
    assert (ANSWER * 1000).startswith(error.partial)
    server.wait_for_closed(1)
    assert len(server.requests) == 1


def test_a_stream_that_has_begun_is_never_cut_by_a_limit_on_its_beginning(serve: Serve, connect: Connect) -> None:
    """Limits on the beginning of an answer end with it: a stream of many times their length goes through."""
    server = serve(f"healthy:delay={LIMIT / 5},tokens=10")
    names = ("ttfb", "first_event", "first_content", "headers")
    clients = [connect(limits=Limits(**{name: LIMIT})) for name in names]
    for outcome in together(partial(stream, client, server.chat_url) for client in clients):
        outcome.done()
        assert outcome.text == answer(10)
        assert outcome.elapsed > 2 * LIMIT


def test_silence_after_the_first_byte_of_a_plain_call_is_stale(serve: Serve, connect: Connect) -> None:
    """A plain call whose body stops in the middle ends at ``stale``.

    The server may be at work on it, so it is not resent.
    """
    server = serve("stall-after-content")
    outcome = request(connect(limits=Limits(stale=LIMIT)), server.chat_url)
    timed_out(outcome, "stale", LIMIT, attempts=1, decision=Decision.STOP)
    assert len(server.requests) == 1


def test_content_limits_do_not_count_in_a_plain_call(serve: Serve, connect: Connect) -> None:
    """A plain call is silent until it is finished, so ``first_content`` and ``progress`` do not touch it."""
    server = serve(f"buffered:delay={3 * LIMIT}")
    client = connect(limits=Limits(first_content=LIMIT, progress=LIMIT, first_event=LIMIT))
    request(client, server.chat_url).done()
    assert len(server.requests) == 1


def _reasons_and_stalls(context: Context) -> Iterator[steps.Step]:
    thoughts = [block for word in context.tokens(3) for block in context.shape.reasoning(word)]
    yield from context.answer([*steps.paced([*context.opening(), *thoughts]), steps.Hang()], ends=False)


def test_reasoning_that_was_delivered_forbids_a_resend(serve: Serve, connect: Connect) -> None:
    """A stall after reasoning alone is not resent either, although ``.partial`` holds no text."""
    server = serve(Script(name="thinks", description="reasoning, then nothing", play=_reasons_and_stalls), "healthy")
    outcome = stream(connect(limits=Limits(stale=LIMIT)), server.messages_url)
    error = timed_out(outcome, "stale", LIMIT, attempts=1, decision=Decision.CONTINUE)
    assert error.partial == ""
    assert "".join(event.reasoning for event in outcome.events) == answer(3)
    assert len(server.requests) == 1


def test_a_kill_is_caught_as_timeout_error(serve: Serve, connect: Connect) -> None:
    """``except TimeoutError`` of the language itself catches a kill."""
    server = serve("stall-after-content")
    client = connect(limits=Limits(stale=LIMIT, progress=LONG))
    with pytest.raises(TimeoutError) as caught, client.stream("POST", server.chat_url, json={"stream": True}) as events:
        for _ in events:
            pass
    assert isinstance(caught.value, WatchTimeout)
