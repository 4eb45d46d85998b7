"""How an attempt starts, what it takes down on its way, and that it takes no step once it is over."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from llmwatch.errors import TooManyThreads
from llmwatch.watch.attempt import Attempt, BatchMeaning, serving
from llmwatch.watch.interfaces import Aborted
from llmwatch.watch.machine import Seen, VerdictKind
from tests.watch.scripted import PATIENCE, HandDriven, Puppet, Socket, Stage

MakeStage = Callable[..., Stage]
LATE = 0.25
"""Seconds after an expiry at which the supervisor looks."""
KINDS = {"text": 1, "usage": 2}


# -- the start ---------------------------------------------------------------


def test_context_variables_are_visible_in_the_worker(stage: MakeStage) -> None:
    """The worker sees a copy of what the caller had set at the start.

    The worker changes nothing of the caller's.
    """
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    variable.set("of the caller")
    one = stage().start()
    variable.set("changed later")
    assert one.worker.do(lambda attempt: variable.get()) == "of the caller"
    one.worker.do(lambda attempt: variable.set("of the worker"))
    assert variable.get() == "changed later"


def test_a_worker_knows_its_attempt(stage: MakeStage) -> None:
    """``serving`` tells the worker's thread its attempt, and every other thread nothing."""
    one = stage().start()
    assert serving() is None
    assert one.worker.do(lambda attempt: serving()) is one.attempt


def test_a_worker_is_a_daemon(stage: MakeStage) -> None:
    """A worker does not keep the process alive."""
    one = stage().start()
    assert one.worker.do(lambda attempt: threading.current_thread().daemon)


def test_a_start_without_a_thread_raises_and_counts_nothing(stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system has no thread to give, start raises, and no attempt is counted or left."""
    supervisor = HandDriven()
    attempt: Attempt[str] = Attempt({}, supervisor=supervisor)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(TooManyThreads, match="can't start new thread"):
            attempt.start(lambda attempt: None)
    assert supervisor.registry.counts()["workers"] == 0
    assert attempt.verdict is not None
    assert attempt.take() is None


def test_a_start_that_ctrl_c_interrupts_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that came about although start was interrupted ends without doing anything.

    It is counted once.
    """
    supervisor = HandDriven()
    attempt: Attempt[str] = Attempt({}, supervisor=supervisor)
    ran, go = threading.Event(), threading.Event()
    start = threading.Thread.start

    class Delayed(Attempt[str]):
        def _run(self, work: Callable[[Attempt[str]], None]) -> None:
            go.wait(PATIENCE)
            super()._run(work)

    attempt = Delayed({}, supervisor=supervisor)

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            attempt.start(lambda attempt: ran.set())
    go.set()
    assert attempt.join(PATIENCE)
    assert not ran.is_set()
    assert attempt.verdict is not None
    assert attempt.verdict.kind is VerdictKind.CANCELLED
    assert supervisor.registry.counts()["workers"] == 0


def test_no_worker_starts_without_a_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the supervisor cannot watch, no worker is started."""
    supervisor = HandDriven()

    def refuse(attempt: Any) -> None:
        raise TooManyThreads("none left")

    supervisor.watch = refuse  # type: ignore[method-assign]
    attempt: Attempt[str] = Attempt({}, supervisor=supervisor)
    worker = Puppet(attempt)
    with pytest.raises(TooManyThreads):
        attempt.start(worker)
    assert attempt._thread is None
    assert supervisor.registry.counts()["workers"] == 0
    assert attempt.verdict is not None
    assert attempt.verdict.kind is VerdictKind.CANCELLED
    worker.end()
    assert attempt.join(PATIENCE)
    assert supervisor.registry.counts()["workers"] == 0


# -- what is told and counted ------------------------------------------------


def test_an_attempt_tells_its_next_limit_and_what_is_left(stage: MakeStage) -> None:
    """While it runs: the limit that expires next, and the seconds left on a limit."""
    one = stage(ttfb=10.0, first_content=30.0)
    one.open()
    counting = one.attempt.counting()
    assert counting is not None
    assert (counting.limit, counting.at) == ("ttfb", one.clock.now() + 10.0)
    one.clock.advance(4.0)  # type: ignore[attr-defined]
    assert [one.attempt.time_left(clock) for clock in ("ttfb", "first_content", "connect", "stale")] == [
        6.0,
        26.0,
        None,
        None,
    ]
    one.attempt.cancel("user")
    assert one.attempt.counting() is None


def test_stats_count_bytes_status_and_sent(stage: MakeStage) -> None:
    """Bytes, status and how much was sent are counted as it happens."""
    one = stage()
    one.start()
    stats = one.attempt.stats
    assert (stats.sent, stats.request_bytes, stats.sockets, stats.reused, stats.idle) == ("no", 0, 0, None, None)
    one.worker.do(lambda attempt: attempt.adopt(Socket(attempt), reused=True, idle=2.5))
    assert (stats.sockets, stats.reused, stats.idle) == (1, True, 2.5)
    one.worker.do(lambda attempt: attempt.connected())
    for size in (100, 50):
        one.worker.do(lambda attempt, size=size: attempt.sending(size))
    assert (stats.sent, stats.request_bytes) == ("partly", 150)
    one.worker.do(lambda attempt: attempt.sent())
    one.worker.do(lambda attempt: attempt.headers(201, refused=False, request_id="r1"))
    one.receive("a", size=70)
    one.receive("b", size=30)
    assert (stats.sent, stats.status, stats.request_id, stats.response_bytes) == ("yes", 201, "r1", 100)
    marks = one.attempt.machine.marks
    assert set(marks) == {Seen.BEGUN, Seen.CONNECTED, Seen.SENT, Seen.HEADERS, Seen.BYTE, Seen.EVENT, Seen.CONTENT}


def test_stats_count_delivered_events_by_kind(stage: MakeStage) -> None:
    """Delivered events are counted by kind; late events are not."""
    one = stage(total=10.0)
    one.open()
    for item in "ab":
        one.worker.do(
            lambda attempt, item=item: attempt.deliver(
                [item], 1, BatchMeaning(content=True), kinds=("text", "usage", "usage")
            )
        )
    assert one.attempt.stats.events == {"text": 2, "usage": 4}
    one.pass_time(10.0 + LATE)
    with pytest.raises(Aborted):
        one.worker.do(lambda attempt: attempt.deliver(["c"], 1, BatchMeaning(content=True), kinds=("text",)))
    assert one.attempt.stats.events == {"text": 2, "usage": 4}


def test_stats_are_fixed_after_the_verdict(stage: MakeStage) -> None:
    """The stats that a recovery decides on do not change after the verdict."""
    one = stage(send=10.0)
    one.start()
    one.worker.do(lambda attempt: attempt.connected())
    one.worker.do(lambda attempt: attempt.sending(100))
    one.pass_time(10.0 + LATE)
    assert one.verdict.limit == "send"
    with pytest.raises(Aborted):
        one.worker.do(lambda attempt: attempt.sent())
    assert one.attempt.stats.sent == "partly"
    done = stage(drain=10.0)
    done.open()
    done.receive("end", terminal=True, size=10)
    done.worker.do(lambda attempt: attempt._received(1_000))
    assert done.attempt.stats.response_bytes == 10


STEPS: dict[str, Callable[[Attempt[Any]], object]] = {
    "check": lambda attempt: attempt.check(),
    "connected": lambda attempt: attempt.connected(),
    "sending": lambda attempt: attempt.sending(10),
    "sent": lambda attempt: attempt.sent(),
    "headers": lambda attempt: attempt.headers(200, refused=False),
    "refused": lambda attempt: attempt.headers(500, refused=True),
    "refuse": lambda attempt: attempt.refuse(),
    "received": lambda attempt: attempt._received(10),
    "end of body": lambda attempt: attempt._received(0),
    "reading": lambda attempt: attempt._read_on(),
    "deliver": lambda attempt: attempt.deliver(["late"], 4, BatchMeaning(content=True, terminal=True)),
    "adopt": lambda attempt: attempt.adopt(Socket(attempt)),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("end", ["kill", "cancel"])
def test_an_attempt_that_is_over_takes_no_further_step(stage: MakeStage, step: str, end: str) -> None:
    """Any report of a worker after the end stops the worker.

    An attempt that is over never sends its request.
    """
    one = stage(connect=10.0)
    one.start()
    if end == "kill":
        one.pass_time(10.0 + LATE)
    else:
        one.attempt.cancel("user")
    verdict, stats = one.verdict, repr(one.attempt.stats)
    with pytest.raises(Aborted):
        one.worker.do(STEPS[step])
    assert one.attempt.join(PATIENCE)
    assert one.verdict is verdict
    assert repr(one.attempt.stats) == stats
    assert one.taken() == []


def test_late_deliveries_are_dropped_and_counted(stage: MakeStage) -> None:
    """Events of an attempt that is over are dropped.

    The registry counts them, after the worker is gone too.
    """
    one = stage(stale=10.0)
    one.open()
    one.receive("a")
    one.pass_time(10.0 + LATE)
    with pytest.raises(Aborted):
        one.worker.do(lambda attempt: attempt.deliver(["b", "c", "d"], 3, BatchMeaning(content=True)))
    assert one.taken() == ["a"]
    assert one.attempt.late == 3
    assert one.attempt.join(PATIENCE)
    assert one.supervisor.registry.counts()["late_events"] == 3


def test_the_registry_follows_an_attempt(stage: MakeStage) -> None:
    """Live while it has no verdict, a worker until the thread is gone."""
    one = stage()
    counts = one.supervisor.registry.counts
    assert (counts()["live_attempts"], counts()["workers"]) == (0, 0)
    one.open()
    assert (counts()["live_attempts"], counts()["workers"]) == (1, 1)
    one.receive("end", terminal=True)
    assert (counts()["live_attempts"], counts()["workers"]) == (0, 1)
    one.leave()
    assert (counts()["live_attempts"], counts()["workers"]) == (0, 0)
