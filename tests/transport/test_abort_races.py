"""Moments at which an end falls between two steps of the worker."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from llmwatch.faults import FaultServer
from llmwatch.transport.sender import Sender
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.interfaces import Aborted
from llmwatch.watch.machine import VerdictKind
from tests.rows import each
from tests.transport.drive import GONE, LIMIT, PATIENCE, Call, SpyLine, assert_over
from tests.transport.scenes import Network


def _cancelling(report: str, *, times: int = 1) -> Callable[[Attempt[bytes]], SpyLine]:
    """An observer whose attempt is over right after a report of the worker went through.

    The report is the first of its name, or a later one.
    """
    count = 0

    def wrap(attempt: Attempt[bytes]) -> SpyLine:
        def after(name: str) -> None:
            nonlocal count
            if name == report:
                count += 1
                if count == times:
                    attempt.cancel("user")

        return SpyLine(attempt, after=after)

    return wrap


def test_an_end_just_before_connect_still_wakes_the_worker(sender: Sender, network: Network) -> None:
    """A shutdown that comes before the system call which connects is not lost.

    The worker does not wait for a dead address.
    """
    with network.scene("connect") as scene:
        call = Call(sender, scene.url, observer=_cancelling("adopt"), backstop=4 * GONE, **scene.options)
        call.start().take()
        assert_over(call)


def test_an_end_just_before_connect_leaves_no_request(sender: Sender) -> None:
    """An attempt that is over before it connects to a living server sends nothing there."""
    with FaultServer() as server:
        call = Call(sender, server.chat_url, observer=_cancelling("adopt"))
        call.start().take()
        assert_over(call)
    assert server.requests == []


@pytest.mark.parametrize("report", ["connected", "sending"])
def test_an_end_before_the_first_byte_leaves_no_request(report: str, sender: Sender) -> None:
    """An attempt that is over once its connection stands does not write the request."""
    with FaultServer() as server:
        call = Call(sender, server.chat_url, observer=_cancelling(report))
        call.start().take()
        assert_over(call)
        server.wait_for_closed(1)
    assert server.requests == []


def test_an_end_on_the_way_out_of_the_pool_leaves_no_request(sender: Sender) -> None:
    """An attempt that is over when it has just taken a pooled connection does not use it.

    The connection does not go back to the pool either.
    """
    with FaultServer() as server:
        assert Call(sender, server.chat_url).run()
        call = Call(sender, server.chat_url, observer=_cancelling("adopt"))
        call.start().take()
        assert_over(call)
        server.wait_for_closed(1)
        assert Call(sender, server.chat_url).run()
    assert [request.connection for request in server.requests] == [1, 2]


@pytest.mark.parametrize("proxy", ["plain", "tls"])
def test_an_end_before_connect_is_not_overtaken_by_the_tunnel(proxy: str, sender: Sender, network: Network) -> None:
    """An attempt that is over before it connects to a proxy does not get through to the origin."""
    with network.scene("answer", tls=True, proxy=proxy) as scene:
        call = Call(sender, scene.url, observer=_cancelling("adopt"), **scene.options)
        call.start().take()
        assert_over(call)


def test_an_end_at_the_headers_closes_the_response(
    sender: Sender, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response that comes when its attempt is just over is closed by the worker.

    The response is not left to the garbage collector.
    """
    kept = []
    send = HTTPAdapter.send

    def keeping(self: HTTPAdapter, *args: Any, **kwargs: Any) -> requests.Response:
        kept.append(send(self, *args, **kwargs))
        return kept[-1]

    monkeypatch.setattr(HTTPAdapter, "send", keeping)
    with network.scene("head") as scene:
        call = Call(sender, scene.url, observer=_cancelling("headers"), **scene.options)
        call.start().take()
        assert_over(call)
        scene.leaves(1)
    assert len(kept) == 1


def test_an_end_at_the_moment_of_sent_ends_the_attempt(sender: Sender) -> None:
    """An attempt that is over when its request has just gone out ends there.

    Its connection is not used again.
    """
    with FaultServer() as server:
        call = Call(sender, server.chat_url, observer=_cancelling("sent"))
        assert call.start().take() == b""
        assert_over(call)
        server.wait_for_closed(1)
        assert Call(sender, server.chat_url).run()
    assert server.connections == 2


def test_a_kill_that_the_worker_finds_first_is_the_same(sender: Sender, network: Network) -> None:
    """An expiry of ``send`` which the worker meets before the supervisor does has the same verdict.

    The socket is shut.
    """
    entered = []

    def wrap(attempt: Attempt[bytes]) -> SpyLine:
        def after(name: str) -> None:
            if name == "connected":
                entered.append(name)
                # The supervisor cannot look while the lock is held, which is what a busy machine comes to.
                with attempt._lock:
                    until = attempt._clock.now() + LIMIT * 1.5
                    while attempt._clock.now() < until:
                        pass
                    attempt.sent()

        return SpyLine(attempt, after=after)

    with FaultServer() as server:
        call = Call(sender, server.chat_url, limits={"send": LIMIT}, observer=wrap)
        assert call.start().take() == b""
        assert entered
        assert (call.verdict.kind, call.verdict.limit) == (VerdictKind.KILLED, "send")
        assert_over(call)
        server.wait_for_closed(1)
    assert server.requests == []


def test_an_end_in_a_generated_body_stops_its_writing(sender: Sender) -> None:
    """A body that the user's code makes piece by piece is not written on once the attempt is over.

    No limit but the deadline runs while the body is made.
    """
    go = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"one"
        go.wait(PATIENCE)
        yield b"two"

    with FaultServer() as server:
        call = Call(sender, server.chat_url, limits={"send": LIMIT / 2}, deadline=2 * LIMIT, data=body())
        assert call.start().take() == b""
        assert (call.verdict.kind, call.verdict.limit) == (VerdictKind.KILLED, "deadline")
        go.set()
        assert call.attempt.join(GONE)
        server.wait_for_closed(1)
        (request,) = server.requests
    assert (request.complete, request.body) == (False, b"one")
    assert call.attempt.stats.sent == "partly"


@each("report", ["adopt", "connected", "sending", "sent"])
def test_an_end_before_the_answer_leaves_no_garbage(report: str, sender: Sender) -> None:
    """The exception with which an ended attempt leaves the transport is in no circle.

    A circle would keep the pool and its open connections until a garbage collection.
    """
    with FaultServer() as server:
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            Call(sender, server.chat_url, observer=_cancelling(report)).run()
            gc.collect()
            kept = [error for error in gc.garbage if isinstance(error, Aborted)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        assert kept == []
