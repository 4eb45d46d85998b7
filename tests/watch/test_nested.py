"""``llmwatch.watch.nested``: a call inside an attempt's worker ends with the attempt."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

import llmwatch
from llmwatch import Cancelled, Limits, Retry
from llmwatch.faults import FaultServer
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.nested import ChildCallHandle
from tests.end_to_end.calls import asking, eventually
from tests.watch.scripted import PATIENCE, Stage

MakeStage = Callable[..., Stage]
LATE = 0.25


def test_a_kill_of_the_outer_attempt_ends_the_inner_call(stage: MakeStage) -> None:
    """An inner call is given up once, as lifecycle, with the sockets of the outer attempt."""
    one = stage(ttfb=10.0)
    one.open()
    ended: list[str] = []
    one.worker.do(lambda attempt: attempt.adopt(ChildCallHandle(ended.append)))
    one.pass_time(10.0 + LATE)
    assert ended == ["lifecycle"]


def test_an_inner_call_that_is_over_is_not_ended(stage: MakeStage) -> None:
    """A later kill does not reach a disowned inner call."""
    one = stage(ttfb=10.0)
    one.open()
    ended: list[str] = []
    inner = ChildCallHandle(ended.append)
    one.worker.do(lambda attempt: attempt.adopt(inner))
    assert one.worker.do(lambda attempt: attempt.disown(inner)) is True
    one.pass_time(10.0 + LATE)
    assert ended == []


def test_bytes_of_the_inner_call_do_not_excuse_the_outer_one() -> None:
    """Only the outer attempt's own sockets can show that its worker was starved."""
    assert ChildCallHandle(lambda by: None).waiting() is False


@pytest.mark.parametrize("entry_point", ["stream", "request"])
def test_a_client_inside_a_worker_is_woken_by_a_kill_outside(entry_point: str) -> None:
    """A client's call in another attempt's worker is cancelled when that attempt is.

    It leaves no worker behind.
    """
    before = llmwatch.stats()["workers"]
    found: list[BaseException] = []
    done = threading.Event()

    def work(attempt: Attempt[object]) -> None:
        with llmwatch.Client(limits=Limits.single(0), retry=Retry.none()) as client:
            try:
                if entry_point == "stream":
                    list(client.stream("POST", server.chat_url, json=asking()))
                else:
                    client.request("POST", server.chat_url, json=asking())
            except BaseException as error:
                found.append(error)
            finally:
                done.set()

    with FaultServer("silent") as server:
        outer: Attempt[object] = Attempt({})
        outer.start(work)
        eventually(lambda: server.requests, "the request of the inner call")
        assert outer.cancel("user")
        assert done.wait(PATIENCE)
        assert outer.join(PATIENCE)
        assert len(server.requests) == 1
    (error,) = found
    assert isinstance(error, Cancelled)
    assert error.by == "lifecycle"
    eventually(lambda: llmwatch.stats()["workers"] == before, "the inner worker's end")


def test_a_back_off_of_an_inner_call_ends_with_the_outer_attempt() -> None:
    """An inner call that waits before a resend ends with the outer attempt, and sends no more.

    It has no attempt to abort.
    """
    found: list[BaseException] = []
    waiting = threading.Event()

    def told(notice: object) -> None:
        if isinstance(notice, llmwatch.RetryNotice):
            waiting.set()

    def work(attempt: Attempt[object]) -> None:
        with llmwatch.Client(retry=Retry(backoff=1000, max_backoff=1000), random=lambda: 1.0, on_notice=told) as client:
            try:
                client.request("POST", server.chat_url, json=asking())
            except BaseException as error:
                found.append(error)

    with FaultServer("status:status=500") as server:
        outer: Attempt[object] = Attempt({})
        outer.start(work)
        assert waiting.wait(PATIENCE)
        assert outer.cancel("user")
        assert outer.join(PATIENCE)
        assert len(server.requests) == 1
    assert isinstance(found[0], Cancelled)
