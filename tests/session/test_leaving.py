"""Responses that are not read to their end: closed, dropped, interrupted. No work of theirs goes on."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import CallRecord, Limits, Retry
from llmwatch.engine.notices import Notifier
from llmwatch.faults import Context, FaultServer, Script, steps
from tests.end_to_end.calls import asking, eventually, in_thread
from tests.session.entry_points import Way, caught, record_of
from tests.session.scripts import reply
from tests.session.times import BEAT, LIMIT, LONG, PATIENCE, SOON


@pytest.fixture(scope="module", autouse=True)
def what_others_have_left() -> None:
    """Exempt the objects of earlier tests from garbage collection.

    Collecting them would take longer than these tests.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_garbage_collection() -> Iterator[None]:
    """Objects are freed at once, without a garbage collection, and no garbage is made."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _workers_leave() -> None:
    eventually(lambda: llmwatch.stats()["workers"] == 0, "the workers leave")


ENDLESS = [f"endless-content:every={BEAT}", "stall-after-content", "late-terminal"]


@pytest.mark.parametrize("script", ENDLESS)
def test_dropping_a_streaming_response_ends_its_worker_and_connection(way: Way, script: str) -> None:
    """No reference to the response is left."""
    with FaultServer(script) as server, way.session() as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        lines = response.iter_lines()
        assert next(lines)
        assert llmwatch.stats()["workers"] == 1
        del response, lines
        server.wait_for_closed(1, PATIENCE)
        _workers_leave()


def test_an_unread_response_ends_when_it_is_dropped(way: Way) -> None:
    """An unread response ends when it is dropped, whether or not its headers were looked at.

    The responses are a model's and a download larger than the read-ahead.
    """
    scripts = ["late-terminal", reply(bytes(64 << 20), pieces=64)]
    with FaultServer(scripts) as server, way.session() as session:
        session.post(server.chat_url, json=asking(), stream=True)
        assert session.get(server.url, stream=True).status_code == 200
        server.wait_for_closed(2, PATIENCE)
        _workers_leave()


@pytest.mark.parametrize("how", ["close", "with", "raw.close", "with raw", "generator"])
def test_closing_a_stream_early_closes_the_connection(way: Way, how: str) -> None:
    """The connection is closed, however existing code leaves a stream in its middle.

    The record says that the caller left.
    """
    records: list[CallRecord] = []
    with FaultServer("late-terminal") as server, way.session(sinks=[records.append]) as session:
        response = session.post(server.chat_url, json=asking(), stream=True)
        if how == "close":
            response.close()
        elif how == "raw.close":
            response.raw.close()
        elif how == "with":
            with response:
                assert next(response.iter_lines())
        elif how == "with raw":
            with response.raw:
                assert response.raw.read1(10)
        else:
            lines = response.iter_lines()
            assert next(lines)
            lines.close()  # type: ignore[attr-defined]
            assert records == []
            response.close()
        server.wait_for_closed(1, PATIENCE)
        _workers_leave()
    assert [(one.outcome, one.cause) for one in records] == [("cancelled", "user_cancel")]
    assert list(response.iter_lines()) == []


def test_a_finalizer_takes_no_lock(way: Way) -> None:
    """The finalizer only leaves a mark, and the supervisor does the rest.

    A garbage collection may drop a response at any moment, in a thread that holds any lock.
    """
    with FaultServer("late-terminal") as server, way.session() as session:
        response: Any = session.post(server.chat_url, json=asking(), stream=True)
        call = response.raw.call
        done, locks = threading.Event(), [call._lock, call._attempt._lock, call._attempt._supervisor.registry._lock]
        held_now = threading.Event()

        def hold() -> None:
            with locks[0], locks[1], locks[2]:
                held_now.set()
                done.wait(PATIENCE)

        holding = in_thread(hold)
        assert held_now.wait(PATIENCE)
        held = [response]
        del response, call
        in_thread(held.clear).result(PATIENCE / 2)
        done.set()
        holding.result()
        server.wait_for_closed(1, PATIENCE)
        _workers_leave()


def test_an_answer_dropped_after_its_last_event_is_a_success(way: Way) -> None:
    """A loop that breaks at the last event and closes nothing is a success.

    The call is recorded, its success counts, and its connection is reused.
    """
    records: list[CallRecord] = []

    def ask() -> None:
        response = session.post(server.chat_url, json=asking(), stream=True)
        for line in response.iter_lines():
            if line == b"data: [DONE]":
                return

    with (
        FaultServer(["silent", "healthy"]) as server,
        way.session(sinks=[records.append], limits=Limits(ttfb=SOON)) as session,
    ):
        for _ in range(3):
            ask()
        _workers_leave()
        assert [record.outcome for record in records] == ["recovered", "done", "done"]
        assert len(server.requests) == 4


def test_closing_after_the_terminal_event_is_no_cancellation(way: Way) -> None:
    """The call is done, and its connection is reused."""
    records: list[CallRecord] = []
    with FaultServer() as server, way.session(sinks=[records.append]) as session:
        for _ in range(10):
            with session.post(server.chat_url, json=asking(), stream=True) as response:
                for line in response.iter_lines():
                    if line == b"data: [DONE]":
                        break
        assert [one.outcome for one in records] == ["done"] * 10
        assert server.connections == 1


@pytest.mark.parametrize("moment", ["before the answer", "in the body", "between attempts"])
def test_ctrl_c_ends_a_call(way: Way, moment: str) -> None:
    """An interrupt comes out at once, nothing is sent after it, and nothing of the call goes on."""
    script = {"before the answer": "silent", "in the body": "stall-after-content", "between attempts": "silent"}[moment]
    limits = Limits(ttfb=LIMIT if moment == "between attempts" else LONG)
    notices: list[Any] = []
    settings = {"limits": limits, "retry": Retry(backoff=LONG, max_backoff=LONG), "on_notice": notices.append}
    with FaultServer(script) as server, way.session(**settings) as session:

        def interrupt() -> None:
            server.wait_for_requests(1, PATIENCE)
            if moment == "in the body":
                eventually(lambda: reading, "the body is read")
            if moment == "between attempts":
                eventually(lambda: any(isinstance(one, llmwatch.RetryNotice) for one in notices), "it waits")
            signal.pthread_kill(main, signal.SIGINT)

        main, reading = threading.get_ident(), list[bytes]()
        interrupting = in_thread(interrupt)

        def call() -> None:
            with session.post(server.chat_url, json=asking(), stream=True) as response:
                for line in response.iter_lines():
                    reading.append(line)

        caught(KeyboardInterrupt, call)
        interrupting.result()
        server.wait_for_closed(1, PATIENCE)
        _workers_leave()
        assert len(server.requests) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_interrupt_drops_an_answer_that_lies_ready(way: Way, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is interrupted when its whole answer lies ready drops the answer.

    Its connection is closed with the session.
    """

    def interrupted(_: Notifier, attempt: Any, number: int) -> Any:
        eventually(lambda: attempt.verdict is not None, "the answer is here")
        assert attempt.join(PATIENCE)
        raise KeyboardInterrupt

    monkeypatch.setattr(Notifier, "take", interrupted)
    hour = 3600.0
    limits = Limits(connect=hour, send=hour, headers=hour, ttfb=hour, first_content=hour, stale=hour, progress=hour)
    with FaultServer("healthy") as server:
        with way.session(limits=limits) as session:
            caught(KeyboardInterrupt, session.post, server.chat_url, json=asking(), stream=stream)
            _workers_leave()
        server.wait_for_closed(1, PATIENCE)


def test_a_response_in_a_cycle_is_found_by_the_collector(way: Way) -> None:
    """Code that keeps its response in a cycle gets rid of it with the next garbage collection."""
    with FaultServer("late-terminal") as server, way.session() as session:
        response: Any = session.post(server.chat_url, json=asking(), stream=True)
        response.itself = response
        del response
        assert server.open_connections == 1
        gc.collect()
        server.wait_for_closed(1, PATIENCE)
        _workers_leave()


@pytest.mark.parametrize(
    "script",
    ["healthy", "silent", "reset-before-response", "stall-after-content", "eof-without-terminal", "status:status=400"],
)
def test_a_call_leaves_no_reference_cycle(way: Way, script: str) -> None:
    """No cycle of a call, failed or not, keeps its connection, its body or its response alive."""
    limits = Limits(ttfb=LIMIT) if script == "silent" else Limits(ttfb=LONG, stale=LIMIT)
    # A server that never answers would open the circuit, and calls would wait for their turn.
    retry = Retry(backoff=0.01, breaker=0)
    with FaultServer(script) as server, way.session(limits=limits, retry=retry) as session:

        def calls() -> None:
            for stream in (True, False):
                for body in (asking(), asking(stream=False)):
                    try:
                        assert session.post(server.chat_url, json=body, stream=stream).status_code
                        _ = session.get(server.url + "/stream", stream=stream).content
                    except requests.RequestException:
                        pass

        calls()
        _workers_leave()
        gc.collect()
        # Objects of other tests that are freed only now are not counted.
        gc.freeze()
        calls()
        _workers_leave()
        session.close()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            gc.collect()
            found = [one for one in gc.garbage if type(one).__module__.partition(".")[0] in ("llmwatch", "requests")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        assert [repr(one) for one in found] == []


def test_a_caller_that_stops_reading_stops_the_sender(way: Way) -> None:
    """The read-ahead is bounded: a caller that does not read holds back a server that sends without end."""
    sent: list[int] = []

    def play(context: Context) -> Iterator[steps.Step]:
        def pieces() -> Iterator[steps.Step]:
            for number in range(10_000):
                sent.append(number)
                yield steps.Chunk(bytes(64 << 10))

        yield steps.Head(200, [("Content-Type", "application/octet-stream")], "close")
        yield from pieces()

    script = Script(name="without end", description="sends on and on", play=play)
    with FaultServer(script, receive_buffer=65536) as server, way.session() as session:
        response = session.get(server.url, stream=True)
        assert len(response.raw.read(10)) == 10
        before = -1
        while before != len(sent):
            before = len(sent)
            threading.Event().wait(LIMIT)
        assert before < 400
        response.close()
        server.wait_for_closed(1, PATIENCE)
        assert record_of(response).outcome == "cancelled"
