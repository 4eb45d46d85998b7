"""Connections and bodies that end before the answer does."""

from __future__ import annotations

import pytest

import llmwatch
from llmwatch import Decision, Limits
from llmwatch.faults.catalogue import ANSWER, answer
from tests.end_to_end.calls import SHAPES, collect, endpoint, stream
from tests.end_to_end.conftest import Connect, Serve


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_clean_end_without_the_terminal_event_is_truncated(
    serve: Serve, connect: Connect, framing: str, shape: str
) -> None:
    """A body that ends in good order before its answer does is ``StreamTruncated``.

    The error has the text that came, and only one request was made.
    """
    server = serve("eof-without-terminal:tokens=4", framing=framing)
    outcome = stream(connect(), endpoint(server, shape))
    error = outcome.failed(llmwatch.StreamTruncated)
    assert error.retryable
    assert error.partial == outcome.text == answer(4)
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (Decision.CONTINUE, "output_delivered")
    assert error.record is not None
    assert (error.record.cause, error.record.attempts[0].close_reason) == ("truncated", "failed")
    assert len(server.requests) == 1


@pytest.mark.parametrize("script", ["cut-chunk", "missing-last-chunk", "short-length"])
@pytest.mark.parametrize("shape", ["anthropic"])
def test_broken_framing_is_one_class_for_all(serve: Serve, connect: Connect, script: str, shape: str) -> None:
    """Any broken framing is ``StreamCut`` with the text that came, and is not resent after content."""
    server = serve(f"{script}:tokens=4")
    outcome = stream(connect(), endpoint(server, shape))
    error = outcome.failed(llmwatch.StreamCut)
    assert isinstance(error, ConnectionError)
    assert error.retryable
    # The last event may lie in a chunk that was never finished.
    assert error.partial == outcome.text
    assert answer(4).startswith(error.partial)
    assert len(error.partial) >= len(answer(3))
    assert error.recovery is not None
    assert error.recovery.decision is Decision.CONTINUE
    assert error.record is not None
    assert error.record.cause == "transport_disconnect"
    assert len(server.requests) == 1


@pytest.mark.parametrize("script", ["cut-chunk", "missing-last-chunk", "short-length"])
def test_what_breaks_behind_the_terminal_event_breaks_nothing(serve: Serve, connect: Connect, script: str) -> None:
    """After the terminal event the answer is whole; the end of the connection does not matter."""
    server = serve(f"{script}:terminal=true,missing=0" if script == "short-length" else f"{script}:terminal=true")
    outcome = stream(connect(), server.chat_url)
    if outcome.error is None:
        outcome.done()
        assert outcome.text == ANSWER
        assert outcome.kinds[-1] == "terminal"
    else:
        # A chunk that was announced longer than it came may keep its bytes from being read at all.
        assert script == "cut-chunk"
        outcome.failed(llmwatch.StreamCut)
    assert len(server.requests) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_reset_before_content_is_resent(serve: Serve, connect: Connect, shape: str) -> None:
    """A RST after lifecycle events alone is resent, and the answer has no trace of the first attempt."""
    server = serve("reset-mid-stream:tokens=0", "healthy")
    outcome = stream(connect(), endpoint(server, shape))
    record = outcome.done("recovered")
    assert outcome.text == ANSWER
    assert "fault1" not in "".join(event.data for event in outcome.events)
    assert record.attempts[0].error == "StreamCut"
    assert len(server.requests) == 2
    assert server.connections == 2


@pytest.mark.parametrize("script", ["eof-without-terminal", "reset-mid-stream:after=0.05", "short-length"])
def test_collect_recovers_from_a_cut_in_the_middle(serve: Serve, connect: Connect, script: str) -> None:
    """``collect`` discards the part of a cut answer, asks once more, and returns one whole answer."""
    server = serve(script, "healthy")
    outcome = collect(connect(), server.chat_url)
    record = outcome.done("recovered")
    assert outcome.value.text == ANSWER
    assert len(record.attempts) == 2
    assert record.attempts[0].events["text"] > 0
    assert record.decisions[0].reason == "partial_discarded"
    assert len(server.requests) == 2


@pytest.mark.parametrize("limits", [Limits(), Limits(stale=0, ttfb=0)], ids=["limits", "no limits"])
def test_a_reset_needs_no_limit_to_be_noticed(serve: Serve, connect: Connect, limits: Limits) -> None:
    """Every attempt that is reset before a response is resent.

    The server gets three requests, and the error is the last attempt's.
    """
    server = serve("reset-before-response")
    error = stream(connect(limits=limits), server.chat_url).failed(llmwatch.StreamCut)
    assert error.retryable
    assert error.record is not None
    assert [one.error for one in error.record.attempts] == ["StreamCut"] * 3
    assert len(server.requests) == 3
    assert server.connections == 3
