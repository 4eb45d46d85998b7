"""A kill can never come out as success, and yields no byte that the provider did not send as text."""

from __future__ import annotations

import json
import pickle
import ssl
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

import llmwatch
from llmwatch import Decision, Limits, Retry
from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.faults.catalogue import ANSWER, answer
from tests.end_to_end.calls import (
    asking,
    collect,
    eventually,
    in_thread,
    request,
    run_stream,
    stream,
    timed_out,
    together,
)
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.manual import ManualTime
from tests.end_to_end.times import LIMIT, PATIENCE


def _url(server: Any, shape: str) -> str:
    return str(server.url + "/stream") if shape == "generic" else str(server.messages_url)


@pytest.mark.parametrize("shape", ["anthropic", "generic"])
def test_a_kill_is_never_a_success(
    serve: Serve, connect: Connect, server_tls: ssl.SSLContext, bundle: str, shape: str
) -> None:
    """A kill is a time-out in any framing, plain or TLS.

    This holds even if the end of the connection is a proper end.
    """
    client = connect(limits=Limits(stale=LIMIT), dialect=shape)
    servers = _stalling(serve, server_tls)
    outcomes = together(partial(stream, client, _url(server, shape), verify=bundle) for server in servers)
    for server, outcome in zip(servers, outcomes, strict=True):
        error = timed_out(outcome, "stale", LIMIT, attempts=1, decision=Decision.CONTINUE)
        assert error.partial == outcome.text == answer(4)
        assert outcome.kinds[-1] != "terminal"
        assert len(server.requests) == 1


@pytest.mark.parametrize("entry_point", [collect, request])
def test_a_killed_whole_answer_is_never_returned(
    serve: Serve, connect: Connect, server_tls: ssl.SSLContext, bundle: str, entry_point: Any
) -> None:
    """``collect`` and ``request`` return nothing of a killed body, in any framing, plain or TLS."""
    client = connect(limits=Limits(stale=LIMIT), retry=Retry.none(), dialect="generic")
    servers = _stalling(serve, server_tls)
    for outcome in together(partial(entry_point, client, _url(server, "generic"), verify=bundle) for server in servers):
        assert outcome.failed(llmwatch.WatchTimeout).limit == "stale"
        assert outcome.value is None
        assert outcome.record is not None
        assert outcome.record.outcome == "failed"


def _stalling(serve: Serve, server_tls: ssl.SSLContext) -> list[FaultServer]:
    """Servers that stall after content, one for each framing, plain and TLS."""
    return [
        serve("stall-after-content:tokens=4", framing=framing, tls=tls)
        for framing in ("chunked", "length", "close")
        for tls in (None, server_tls)
    ]


def test_a_generic_stream_may_end_with_its_connection(serve: Serve, connect: Connect) -> None:
    """Without a kill, the end of the body is the end of an answer of the generic dialect."""
    server = serve("eof-without-terminal:tokens=4", framing="close")
    outcome = stream(connect(dialect="generic"), _url(server, "generic"))
    outcome.done()
    assert outcome.text == answer(4)


def _fast(context: Context) -> Iterator[steps.Step]:
    """Numbered events as fast as they are read, in writes of many."""
    shape = context.shape
    yield from context.answer(
        [
            *steps.paced(context.opening()),
            steps.Repeat([steps.Chunk(b"".join(block for word in context.tokens() for block in shape.text(word)))]),
        ]
    )


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_kill_of_a_busy_reader_delivers_good_events_alone(
    serve: Serve, connect: Connect, manual: ManualTime, server_tls: ssl.SSLContext, bundle: str, secure: bool
) -> None:
    """A kill in the middle of a saturated stream delivers good events up to the kill.

    Nothing else is delivered, no ciphertext either.
    """
    server = serve(
        Script(name="fast", description="as fast as it goes", play=_fast), tls=server_tls if secure else None
    )
    client = manual.on(connect(retry=Retry.none(), limits=Limits(total=10)))
    for number in range(4):
        made, busy = client.stream("POST", server.chat_url, json=asking(), verify=bundle), threading.Event()
        seen = 0

        def take(event: Any, moment: int = 50 + number * 7, busy: threading.Event = busy) -> None:
            nonlocal seen
            seen += bool(event.text)
            if seen == moment:
                busy.set()

        running = in_thread(run_stream, made, take)
        assert busy.wait(PATIENCE)
        while running.thread.is_alive():
            # The limit stands still while the reader waits for room.
            manual.pass_by(10)
        outcome = running.result()
        error = outcome.failed(llmwatch.WatchTimeout)
        assert error.limit == "total"
        assert error.partial == outcome.text
        # The same words over and over, cut anywhere between two of them.
        whole, rest = divmod(len(outcome.text), len(ANSWER))
        assert whole > 0
        assert outcome.text == ANSWER * whole + ANSWER[:rest]
    assert len(server.requests) == 4


def test_what_was_queued_before_a_kill_is_delivered_first(serve: Serve, connect: Connect) -> None:
    """Events that were handed over before the kill come out first, in order, and then the error."""
    server = serve("stall-after-content:tokens=12")
    client = connect(limits=Limits(stale=LIMIT))
    made = client.stream("POST", server.messages_url, json=asking())
    ended: list[bool] = []

    def take(event: Any) -> None:
        if not ended:
            # The caller is away until the attempt is over; all the events lie ready by then.
            eventually(lambda: llmwatch.stats()["live_attempts"] == 0, "the kill")
            ended.append(True)

    outcome = run_stream(made, take)
    error = timed_out(outcome, "stale", LIMIT, attempts=1, decision=Decision.CONTINUE)
    assert outcome.text == error.partial == answer(12)
    assert [event.event for event in outcome.events].count("content_block_delta") == 12


def test_a_stream_is_exhausted_after_its_error(serve: Serve, connect: Connect) -> None:
    """After the error the iterator is exhausted, as iterators are, and asks for nothing more."""
    server = serve("stall-after-content")
    stalled = connect(limits=Limits(stale=LIMIT)).stream("POST", server.chat_url, json=asking())
    with stalled, pytest.raises(llmwatch.WatchTimeout):
        list(stalled)
    assert list(stalled) == []
    with pytest.raises(StopIteration):
        next(stalled)
    assert len(server.requests) == 1


def test_a_time_out_survives_pickling(serve: Serve, connect: Connect) -> None:
    """An error with its record and recovery crosses to another process whole."""
    server = serve("stall-after-content")
    error = stream(connect(limits=Limits(stale=LIMIT)), server.chat_url).failed(llmwatch.WatchTimeout)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is llmwatch.WatchTimeout
    assert (str(again), again.limit, again.limit_seconds, again.elapsed) == (
        str(error),
        error.limit,
        error.limit_seconds,
        error.elapsed,
    )
    assert (again.partial, again.recovery, again.record) == (error.partial, error.recovery, error.record)
    assert json.loads(json.dumps(error.record.to_dict())) == error.record.to_dict()
