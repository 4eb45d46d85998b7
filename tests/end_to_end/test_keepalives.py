"""Signs of life without an answer: comments, pings and lifecycle events before the first content."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from llmwatch import Decision, Limits, Retry
from llmwatch.faults import Context, Script, steps
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import SHAPES, collect, endpoint, stream, timed_out, together
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT, LIVELY, LONG, PULSE

WHATS = ("comment", "half")
ANNOUNCED = {"openai-responses": "response.created", "anthropic": "message_start"}
"""The event that announces an answer, in the shapes that have one."""


def test_a_comment_or_half_an_event_turns_silence_into_stale(serve: Serve, connect: Connect) -> None:
    """The silence after one comment or half an event counts as ``stale``.

    Nothing keeps the request from being resent.
    """
    client = connect(limits=Limits(ttfb=LONG, stale=LIMIT))
    cells = [(what, shape, serve(f"comment-then-silent:what={what}", "healthy")) for what in WHATS for shape in SHAPES]
    outcomes = together(partial(stream, client, endpoint(server, shape)) for _, shape, server in cells)
    for (what, shape, server), outcome in zip(cells, outcomes, strict=True):
        record = outcome.done("recovered")
        assert outcome.text == ANSWER
        assert (record.attempts[0].limit, record.attempts[0].phase) == ("stale", "body")
        assert record.attempts[0].response_bytes > 0
        assert record.attempts[0].comments == (what == "comment")
        assert sum(record.attempts[0].events.values()) == 0
        assert len(server.requests) == 2, (what, shape)


def test_with_first_event_set_that_limit_counts(serve: Serve, connect: Connect) -> None:
    """If ``first_event`` is set, a comment or half an event does not stop it, and it names the reason."""
    client = connect(limits=Limits(first_event=LIMIT, stale=LONG))
    servers = [serve(f"comment-then-silent:what={what}") for what in WHATS]
    for outcome in together(partial(stream, client, server.chat_url) for server in servers):
        timed_out(outcome, "first_event", LIMIT, attempts=3, decision=Decision.STOP)
    assert [len(server.requests) for server in servers] == [3, 3]


def test_any_event_ends_first_event(serve: Serve, connect: Connect) -> None:
    """A lifecycle event is an event: ``first_event`` ends with it.

    ``first_content`` goes on counting.
    """
    server = serve(f"lifecycle-only:every={PULSE}")
    limits = Limits(first_event=LIMIT, first_content=2 * LIMIT)
    outcome = stream(connect(limits=limits), server.messages_url)
    timed_out(outcome, "first_content", 2 * LIMIT, attempts=1, decision=Decision.STOP)


def test_keepalives_alone_end_at_first_content(serve: Serve, connect: Connect) -> None:
    """Keep-alives of every kind, for ever, are ended by ``first_content``.

    No limit for silence ends them, and the request is not resent.
    """
    kinds = [
        ("openai-chat", "comment"),
        ("openai-chat", "blank"),
        ("openai-chat", "empty"),
        ("openai-responses", "ping"),
        ("anthropic", "ping"),
    ]
    cells = [(shape, kind, serve(f"keepalive-only:every={PULSE},kind={kind}")) for shape, kind in kinds]
    client = connect(limits=Limits(ttfb=LIVELY, stale=LIVELY, first_content=1.5 * LIVELY))
    outcomes = together(partial(stream, client, endpoint(server, shape)) for shape, _, server in cells)
    for (shape, kind, server), outcome in zip(cells, outcomes, strict=True):
        error = timed_out(outcome, "first_content", 1.5 * LIVELY, attempts=1, decision=Decision.STOP)
        assert error.recovery is not None
        assert error.recovery.reason == "slow_but_alive"
        assert outcome.elapsed >= 1.5 * LIVELY
        assert outcome.events == []
        assert len(server.requests) == 1, (shape, kind)


def test_slow_but_alive_can_be_resent_by_choice(serve: Serve, connect: Connect) -> None:
    """``slow_but_alive=True`` resends a request whose first attempt still showed signs of life."""
    server = serve(f"keepalive-only:every={PULSE}", "healthy")
    client = connect(limits=Limits(first_content=LIMIT), retry=Retry(backoff=0, slow_but_alive=True))
    outcome = stream(client, server.chat_url)
    outcome.done("recovered")
    assert outcome.text == ANSWER
    assert len(server.requests) == 2


def test_lifecycle_events_alone_end_at_first_content(serve: Serve, connect: Connect) -> None:
    """An answer that is announced and never begins is ended by ``first_content``.

    Nothing of it is delivered.
    """
    server = serve(f"lifecycle-only:every={PULSE},kind=ping")
    client = connect(limits=Limits(first_content=LIMIT))
    for outcome in together(partial(stream, client, endpoint(server, shape)) for shape in ANNOUNCED):
        error = timed_out(outcome, "first_content", LIMIT, attempts=1, decision=Decision.STOP)
        assert outcome.events == []
        assert error.partial == ""
        assert error.record is not None
        assert error.record.attempts[0].events["lifecycle"] >= 1
        assert not error.record.attempts[0].facts["delivered"]
    assert len(server.requests) == len(ANNOUNCED)


def test_what_is_held_back_is_delivered_once_and_of_one_attempt(serve: Serve, connect: Connect) -> None:
    """The lifecycle events come once after a resend, in order, before the content.

    None is of the lost attempt.
    """
    client = connect(limits=Limits(first_content=LIMIT), retry=Retry(backoff=0, slow_but_alive=True))
    servers = {shape: serve(f"lifecycle-only:every={PULSE},kind=ping", "healthy") for shape in ANNOUNCED}
    outcomes = together(partial(stream, client, endpoint(server, shape)) for shape, server in servers.items())
    for first, outcome in zip(ANNOUNCED.values(), outcomes, strict=True):
        outcome.done("recovered")
        names = [event.event for event in outcome.events]
        assert names[0] == first
        assert names.count(first) == 1
        assert outcome.text == ANSWER
        said = "".join(event.data for event in outcome.events)
        assert "fault2" in said
        assert "fault1" not in said


@pytest.mark.parametrize("shape", SHAPES)
def test_a_healthy_answer_is_delivered_as_it_was_sent(serve: Serve, connect: Connect, shape: str) -> None:
    """Every event of a healthy stream is delivered, once and in order, the first and the last included."""
    sent: list[bytes] = []

    def play(context: Context) -> Iterator[steps.Step]:
        sent.extend(context.whole())
        yield from context.answer(steps.paced(sent))

    server = serve(Script(name="noted", description="healthy, and noted", play=play))
    outcome = stream(connect(), endpoint(server, shape))
    outcome.done()
    lines = [line for block in sent for line in block.decode().split("\n") if line.startswith("data: ")]
    assert [f"data: {event.data}" for event in outcome.events] == lines
    assert outcome.text == ANSWER
    assert len(server.requests) == 1


def test_collect_discards_keepalives_too(serve: Serve, connect: Connect) -> None:
    """A whole answer that never begins is ended by ``first_content`` as well, with one request."""
    server = serve(f"keepalive-only:every={PULSE}")
    outcome = collect(connect(limits=Limits(first_content=LIMIT)), server.chat_url)
    timed_out(outcome, "first_content", LIMIT, attempts=1, decision=Decision.STOP)
    assert len(server.requests) == 1
