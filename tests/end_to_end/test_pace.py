"""Callers that are slower than the provider: no call is killed for that, and memory stays bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psutil

from llmwatch import Decision, Limits
from llmwatch.faults import Context, Script, steps
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import asking, run_stream, timed_out
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.scripts import gated
from tests.end_to_end.times import LIMIT, PATIENCE

_MIB = 1 << 20
PAUSED = 2 * LIMIT
"""Limits that a caller outsleeps, and within which thousands of events are read."""


class Away:
    """A caller that goes away for longer than every limit of its test at some of its events."""

    def __init__(self, *at: int) -> None:
        self._at = at
        self._seen = 0

    def __call__(self, event: Any) -> None:
        self._seen += bool(event.text)
        if event.text and self._seen in self._at:
            threading.Event().wait(1.25 * PAUSED)


def test_a_slow_caller_is_never_killed(serve: Serve, connect: Connect) -> None:
    """A caller that sleeps longer than every limit between events gets the whole answer."""
    server = serve(_many(3000))
    # What counts before the first event is over when the caller sleeps.
    before = {"ttfb": 2 * PAUSED, "first_event": 2 * PAUSED, "first_content": 2 * PAUSED}
    limits = Limits(**before, stale=PAUSED, progress=PAUSED, total=3 * PAUSED)
    made = connect(limits=limits).stream("POST", server.messages_url, json=asking())
    outcome = run_stream(made, Away(1, 2, 1500))
    record = outcome.done()
    assert outcome.kinds.count("text") == 3000
    assert outcome.elapsed > 3.5 * PAUSED
    assert record.attempts[0].limit is None
    assert len(server.requests) == 1


def _many(count: int) -> Script:
    def play(context: Context) -> Iterator[steps.Step]:
        words = [block for word in context.tokens(count) for block in context.shape.text(word)]
        yield from context.answer(steps.paced([*context.opening(), *words, *context.ending()]))

    return Script(name="many", description="an answer of many events", play=play)


def test_only_the_time_with_the_caller_is_subtracted(serve: Serve, connect: Connect) -> None:
    """A provider that goes silent while the caller is away is killed.

    Only time in which no thread waited is subtracted.
    """
    server = serve("stall-after-content:tokens=4")
    made = connect(limits=Limits(stale=LIMIT)).stream("POST", server.chat_url, json=asking())
    outcome = run_stream(made, Away(2))
    timed_out(outcome, "stale", LIMIT, attempts=1, decision=Decision.CONTINUE)
    # All four were read at once and fit into the channel, so the limit ran while the caller was away.
    assert outcome.elapsed < PATIENCE
    assert outcome.kinds.count("text") == 4


def test_only_the_deadline_runs_while_the_caller_is_away(serve: Serve, connect: Connect) -> None:
    """A deadline counts the caller's time too; what was delivered before it comes out first."""
    server = serve(_many(5000))
    made = connect(limits=Limits(deadline=LIMIT)).stream("POST", server.chat_url, json=asking())
    outcome = run_stream(made, Away(2))
    error = timed_out(outcome, "deadline", LIMIT, attempts=1, decision=Decision.CONTINUE)
    assert error.partial == outcome.text
    assert 2 < outcome.kinds.count("text") < 5000
    assert len(server.requests) == 1


def _saturating(context: Context) -> Iterator[steps.Step]:
    words = [block for word in context.tokens() for block in context.shape.text(word)]
    yield from context.answer([*steps.paced(context.opening()), steps.Repeat([steps.Chunk(b"".join(words))])])


def test_memory_stays_bounded_behind_a_slow_caller(serve: Serve, connect: Connect) -> None:
    """A provider that sends without end fills the channel and no more: the rest waits with the provider."""
    server = serve(Script(name="saturating", description="content as fast as it is taken", play=_saturating))
    process = psutil.Process()
    with connect(limits=Limits(stale=LIMIT)).stream("POST", server.chat_url, json=asking()) as events:
        assert next(events) is not None
        before = process.memory_info().rss
        threading.Event().wait(2 * LIMIT)
        assert process.memory_info().rss - before < 32 * _MIB
    assert events.record is not None
    (attempt,) = events.record.attempts
    # 1,024 events and what one read brings.
    assert attempt.response_bytes < 2 * _MIB
    assert sum(attempt.events.values()) < 2048
    assert attempt.close_reason == "user_cancel"


def test_large_events_count_by_their_size(serve: Serve, connect: Connect) -> None:
    """Events of a MiB each fill the channel after a few."""

    def play(context: Context) -> Iterator[steps.Step]:
        big = b"".join(context.shape.text("x" * _MIB))
        yield from context.answer([*steps.paced(context.opening()), steps.Repeat([steps.Chunk(big)])])

    server = serve(Script(name="big", description="large events without end", play=play))
    with connect(limits=Limits(stale=LIMIT)).stream("POST", server.chat_url, json=asking()) as events:
        assert next(events) is not None
        threading.Event().wait(2 * LIMIT)
    assert events.record is not None
    assert events.record.attempts[0].response_bytes < 10 * _MIB


def test_a_caller_that_comes_back_finds_the_limits_where_they_were(serve: Serve, connect: Connect) -> None:
    """After a pause of the caller with a full channel the stream goes on to its end, gap and all."""
    server = serve(_many(2500))
    made = connect(limits=Limits(stale=PAUSED, progress=PAUSED)).stream("POST", server.chat_url, json=asking())
    outcome = run_stream(made, Away(1))
    record = outcome.done()
    # The pause is no gap of the provider's.
    assert record.attempts[0].longest_gap < PAUSED
    assert outcome.kinds.count("text") == 2500


def test_a_caller_that_takes_nothing_delays_no_other(serve: Serve, connect: Connect) -> None:
    """One caller that never takes an item delays no other caller."""
    server = serve(Script(name="saturating", description="content as fast as it is taken", play=_saturating), gated(3))
    client = connect()
    with client.stream("POST", server.chat_url, json=asking()) as asleep:
        next(asleep)
        server.gate("rest").set()
        outcome = run_stream(client.stream("POST", server.chat_url, json=asking()))
        outcome.done()
        assert outcome.text == ANSWER
