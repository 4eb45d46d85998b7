"""How an answer ends: the terminal event, a soft finish, or an empty answer.

Its connection lingers or is kept.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator

import pytest

import llmwatch
from llmwatch import Decision, Event, Kind, Limits
from llmwatch.client import shortcuts
from llmwatch.faults import Context, Script, steps
from llmwatch.faults.catalogue import ANSWER, answer
from tests.end_to_end.calls import SHAPES, asking, collect, endpoint, in_thread, run_stream, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import BEAT, FREE, LIMIT, LONG, PATIENCE


@pytest.mark.parametrize("shape", SHAPES)
def test_a_body_that_lingers_after_the_end_is_a_success_at_once(serve: Serve, connect: Connect, shape: str) -> None:
    """The terminal event ends the iteration at once, while the body stays open.

    The body is dropped after ``drain``.
    """
    server = serve("linger-after-done")
    patient, brief = connect(limits=Limits(drain=LONG)), connect(limits=Limits(drain=LIMIT))
    outcome = stream(patient, endpoint(server, shape))
    outcome.done()
    assert outcome.text == ANSWER
    assert outcome.elapsed < LONG
    assert server.open_connections == 1
    stream(brief, endpoint(server, shape)).done()
    server.wait_for_closed(1)
    assert server.open_connections == 1
    assert len(server.requests) == 2


def test_without_drain_the_connection_is_dropped_at_the_end(serve: Serve, connect: Connect) -> None:
    """``drain=0`` closes the connection with the terminal event, and the answer is whole all the same."""
    server = serve("linger-after-done")
    outcome = stream(connect(limits=Limits(drain=0)), server.chat_url)
    outcome.done()
    assert outcome.text == ANSWER
    server.wait_for_closed(1)


@pytest.mark.parametrize("finish", [LIMIT, 2 * LIMIT])
def test_a_finish_without_done_is_a_success_after_its_limit(serve: Serve, connect: Connect, finish: float) -> None:
    """``finish_reason`` without ``[DONE]`` makes the caller wait for ``finish`` and no longer.

    Pings do not prolong the wait.
    """
    server = serve(f"finish-without-done:every={BEAT}")
    outcome = stream(connect(limits=Limits(finish=finish, stale=LONG)), server.chat_url)
    assert outcome.done().end == "finish"
    assert outcome.text == ANSWER
    assert finish <= outcome.elapsed < finish + FREE
    server.wait_for_closed(1)
    assert len(server.requests) == 1


@pytest.mark.parametrize("shape", ["openai-chat", "anthropic"])
def test_usage_after_the_finish_is_delivered(serve: Serve, connect: Connect, shape: str) -> None:
    """Usage that follows the reason for finishing is delivered before the stream ends."""
    server = serve("usage-tail")
    outcome = stream(connect(), endpoint(server, shape))
    outcome.done()
    assert outcome.text == ANSWER
    assert outcome.kinds[-1] == "terminal"
    if shape == "openai-chat":
        assert outcome.kinds[-2] == "usage"
        assert outcome.events[-2].json()["usage"]["prompt_tokens"] > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_an_empty_answer_is_recorded_as_empty(serve: Serve, connect: Connect, shape: str) -> None:
    """A stream without content that ends properly is a success whose record says it is empty, sent once."""
    server = serve("lifecycle-then-terminal")
    outcome = stream(connect(), endpoint(server, shape))
    record = outcome.done()
    assert record.empty
    assert outcome.text == ""
    assert outcome.kinds[-1] == "terminal"
    assert len(server.requests) == 1


def test_collect_makes_an_error_of_an_empty_answer(serve: Serve, connect: Connect) -> None:
    """``collect`` has nothing to return for an empty answer, so it raises ``EmptyStream``.

    The request is not sent again.
    """
    server = serve("lifecycle-then-terminal")
    error = collect(connect(), server.chat_url).failed(llmwatch.EmptyStream)
    assert not error.retryable
    assert error.recovery is not None
    assert error.recovery.decision is Decision.STOP
    assert error.record is not None
    assert error.record.empty
    assert len(server.requests) == 1


def test_a_body_that_comes_at_once_and_late_is_parsed_whole(serve: Serve, connect: Connect) -> None:
    """A proxy that holds the whole answer back and sends it in one piece costs nothing but time."""
    server = serve(f"buffered:delay={LIMIT}")
    outcome = stream(connect(limits=Limits(ttfb=5 * LIMIT)), server.chat_url)
    outcome.done()
    assert outcome.text == ANSWER
    assert outcome.elapsed >= LIMIT
    assert len(server.requests) == 1


def _gated(framing: steps.Framing, together: bool) -> Script:
    """Three tokens, a gate, the rest; ``together`` cuts the writes off from the events."""

    def play(context: Context) -> Iterator[steps.Step]:
        before, whole = b"".join(context.part(3)), b"".join(context.whole())
        # The beginning of the next event goes with the first write, so that no write ends with an event.
        cut = len(before) + 7 if together else len(before)
        pieces = [steps.Chunk(whole[:cut]), steps.WaitFor("rest"), steps.Chunk(whole[cut:])]
        yield from context.answer(pieces, framing=framing)

    return Script(name="gated", description="a gate in the middle of the answer", play=play)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("together", [False, True], ids=["apart", "coalesced"])
def test_events_come_as_soon_as_they_are_sent(
    serve: Serve, connect: Connect, framing: steps.Framing, together: bool, shape: str
) -> None:
    """Events are delivered while the body is still open.

    This holds for every framing, and however writes cut the body up.
    """
    server = serve(_gated(framing, together))
    seen = ""

    def take(event: Event) -> None:
        nonlocal seen
        seen += event.text
        if seen == answer(3):
            # Nothing of the rest has left the server yet, so what came was not held back.
            server.gate("rest").set()

    outcome = run_stream(
        connect(limits=Limits(stale=PATIENCE)).stream("POST", endpoint(server, shape), json=asking()), take
    )
    outcome.done()
    assert outcome.text == ANSWER


@pytest.mark.parametrize(
    "script", ["unframed", "coalesced", "gzip", "gzip:encoding=deflate", "utf8-split", "newlines-split"]
)
@pytest.mark.parametrize("shape", ["openai-responses", "anthropic"])
def test_an_answer_survives_every_way_of_writing_it(serve: Serve, connect: Connect, script: str, shape: str) -> None:
    """The answer is the same for all pieces, encodings and ends of the body."""
    server = serve(script)
    outcome = stream(connect(), endpoint(server, shape))
    outcome.done()
    assert outcome.text == ANSWER
    assert outcome.kinds[-1] == "terminal"
    assert len(server.requests) == 1


def _compressed(context: Context) -> Iterator[steps.Step]:
    packer = zlib.compressobj(wbits=31)
    *blocks, last = context.whole()
    packed = [packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH) for block in blocks]
    end = packer.compress(last) + packer.flush()
    pieces = [*steps.paced(packed), steps.WaitFor("end"), steps.Chunk(end)]
    yield from context.answer(pieces, headers=[("Content-Encoding", "gzip")])


def test_compressed_events_come_promptly(serve: Serve, connect: Connect) -> None:
    """Events of a compressed body are delivered as they come, not when the compression ends."""
    server = serve(Script(name="gated-gzip", description="gzip whose end waits for a gate", play=_compressed))
    outcome = run_stream(
        connect(limits=Limits(stale=PATIENCE)).stream("POST", server.chat_url, json=asking()),
        lambda event: server.gate("end").set() if event.kind is Kind.TEXT else None,
    )
    outcome.done()
    assert outcome.text == ANSWER


def test_a_terminal_event_read_before_the_expiry_wins(serve: Serve, connect: Connect) -> None:
    """A terminal event that comes within the limit is a success.

    The caller may take it long afterwards.
    """
    server = serve("late-terminal")

    def take(event: Event) -> None:
        if event.event == "message_delta":
            server.gate("terminal").set()
            threading.Event().wait(2 * LIMIT)

    limits = Limits(stale=LIMIT, progress=LIMIT, drain=LIMIT)
    outcome = run_stream(connect(limits=limits).stream("POST", server.messages_url, json=asking()), take)
    outcome.done()
    assert outcome.kinds[-1] == "terminal"


def test_a_terminal_event_that_races_the_kill_gives_success_or_time_out(serve: Serve, connect: Connect) -> None:
    """A call whose terminal event meets the expiry is a whole success or a plain time-out.

    It is never a mixture.
    """

    def play(context: Context) -> Iterator[steps.Step]:
        *blocks, last = context.whole()
        # Some come before the limit, some with it, some after it.
        moment = LIMIT + (context.request.number - 10) * 0.0005
        yield from context.answer([*steps.paced(blocks), steps.Wait(moment), steps.Chunk(last)])

    server = serve(Script(name="meeting", description="ends with the limit", play=play))
    client = connect(limits=Limits(drain=LIMIT, stale=LIMIT, progress=LIMIT))
    running = [in_thread(stream, client, server.responses_url) for _ in range(20)]
    for outcome in [one.result() for one in running]:
        if outcome.error is None:
            assert outcome.done().attempts[0].close_reason == "done"
            assert outcome.text == ANSWER
        else:
            error = outcome.failed(llmwatch.WatchTimeout)
            assert error.limit in ("stale", "progress")
            assert error.partial == ANSWER
    assert len(server.requests) == 20


def test_closing_after_the_terminal_event_is_a_success(serve: Serve, connect: Connect) -> None:
    """A caller that leaves the block with the terminal event in hand has a complete answer.

    The record says so.
    """
    server = serve()
    records = []
    client = connect(sinks=[records.append])
    with client.stream("POST", server.chat_url, json=asking()) as events:
        for event in events:
            if event.kind is Kind.TERMINAL:
                break
    assert events.record is not None
    assert events.record.outcome == "done"
    assert events.record.attempts[0].close_reason == "done"
    assert records == [events.record]


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("how", ["to the end", "at the terminal event"])
def test_a_connection_is_reused_right_after_the_terminal_event(
    serve: Serve, connect: Connect, framing: steps.Framing, how: str
) -> None:
    """A call that follows at once takes over the connection of the one before.

    The end of the earlier body was unread.
    """
    server = serve(framing=framing)
    client = connect()
    for _ in range(10):
        with client.stream("POST", server.chat_url, json=asking()) as events:
            for event in events:
                if how != "to the end" and event.kind is Kind.TERMINAL:
                    break
    assert len(server.requests) == 10
    assert server.connections == 1
    outcome = stream(client, server.chat_url)
    record = outcome.done()
    assert record.attempts[0].socket_reused
    assert record.attempts[0].socket_idle is not None
    assert record.attempts[0].socket_idle >= 0


def test_closing_in_the_middle_shuts_the_connection(serve: Serve, connect: Connect) -> None:
    """A caller that closes before the end has cancelled: the server sees the connection go."""
    server = serve(f"endless-content:every={BEAT}")
    client = connect()
    with client.stream("POST", server.chat_url, json=asking()) as events:
        assert next(events).text == ""
    assert events.record is not None
    assert events.record.outcome == "cancelled"
    server.wait_for_closed(1)
    assert list(events) == []
    assert len(server.requests) == 1


def test_the_shortcuts_use_one_default_client(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module's own ``stream``, ``collect`` and ``request`` answer as a client's do.

    They use one connection.
    """
    server = serve()
    # The real one lives as long as the process, and its idle connection with it.
    monkeypatch.setattr(shortcuts, "Client", connect)
    monkeypatch.setattr(shortcuts, "_default", None)
    with llmwatch.stream("POST", server.chat_url, json=asking()) as events:
        assert "".join(event.text for event in events) == ANSWER
    assert llmwatch.collect("POST", server.chat_url, json=asking()).text == ANSWER
    assert llmwatch.request("POST", server.chat_url, json=asking(stream=False)).status_code == 200
    assert len(server.requests) == 3
    assert server.connections == 1
