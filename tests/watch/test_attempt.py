"""How an attempt begins and ends: one verdict, whatever sets it, and a caller that is free at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from llmwatch.watch.attempt import Attempt
from llmwatch.watch.interfaces import Aborted
from llmwatch.watch.machine import ERROR_BODY, Phase, VerdictKind
from tests.watch.scripted import PATIENCE, Caller, HandDriven, Socket, Stage

MakeStage = Callable[..., Stage]
LATE = 0.25
"""Seconds after an expiry at which the supervisor looks."""


class Broken(BaseException):
    """An exception that ``except Exception`` does not catch."""


# -- the ways to end ---------------------------------------------------------


def test_done_by_a_terminal_event(stage: MakeStage) -> None:
    """The caller has every item and then the end, while the worker still drains."""
    one = stage(stale=10.0, drain=1.0)
    socket = one.open()
    one.receive("a", "b")
    one.receive("c", terminal=True)
    assert [one.attempt.take() for _ in range(3)] == [["a", "b"], ["c"], None]
    assert (one.verdict.kind, one.verdict.phase, one.verdict.limit) == (VerdictKind.DONE, Phase.DRAINING, None)
    assert not socket.shut_down.is_set()


def test_done_by_the_end_of_the_body(stage: MakeStage) -> None:
    """When the work function returns the attempt is done, and what was held back comes out."""
    one = stage(stale=10.0)
    socket = one.open()
    one.receive("lifecycle", content=False)
    assert one.taken() == []
    one.leave()
    assert one.verdict.kind is VerdictKind.DONE
    assert [one.attempt.take() for _ in range(2)] == [["lifecycle"], None]
    assert socket.log == ["release"]


@pytest.mark.parametrize(
    "error", [OSError("reset"), ValueError("a mistake"), Broken(), SystemExit(3), KeyboardInterrupt()]
)
def test_any_exception_of_the_worker_is_the_verdict(stage: MakeStage, error: BaseException) -> None:
    """The caller gets the items that came before, then the exception; the worker's thread ends quietly."""
    one = stage(stale=10.0)
    socket = one.open()
    one.receive("a")
    caller = Caller(lambda: [one.attempt.take(), one.attempt.take()])
    one.worker.crash(error)
    assert caller.result() == [["a"], None]
    assert one.verdict.kind is VerdictKind.FAILED
    assert one.verdict.error is error
    assert socket.log == ["release"]


def test_an_expired_limit_frees_the_caller_and_shuts_the_socket(stage: MakeStage) -> None:
    """A waiting caller gets the verdict, the socket is shut, and the worker ends at its next step."""
    one = stage(ttfb=10.0)
    socket = one.open()
    one.worker.begin(lambda attempt: socket.read())
    caller = Caller(one.attempt.take)
    one.pass_time(10.0)
    assert one.attempt.verdict is None
    one.pass_time(LATE)
    assert caller.result() is None
    assert (one.verdict.kind, one.verdict.limit, one.verdict.elapsed) == (VerdictKind.KILLED, "ttfb", 10.0 + LATE)
    one.worker.result()
    with pytest.raises(Aborted):
        one.worker.do(lambda attempt: attempt._received(0))
    assert one.attempt.join(PATIENCE)
    assert socket.released
    assert socket.broken == []


def test_a_clean_end_after_a_kill_stays_a_kill(stage: MakeStage) -> None:
    """An abort of a close-delimited body looks like its end; the verdict that was stored before stands."""
    one = stage(stale=10.0)
    socket = one.open()
    one.receive("a")
    one.worker.begin(lambda attempt: socket.read())
    one.pass_time(10.0 + LATE)
    one.worker.result()
    one.leave()
    assert (one.verdict.kind, one.verdict.limit) == (VerdictKind.KILLED, "stale")
    assert [one.attempt.take() for _ in range(2)] == [["a"], None]


def test_an_error_after_a_kill_is_not_the_verdict(stage: MakeStage) -> None:
    """A reset that the shutdown itself caused does not replace the kill."""
    one = stage(stale=10.0)
    one.open()
    one.receive("a")
    one.pass_time(10.0 + LATE)
    verdict = one.verdict
    one.worker.crash(OSError("bad file descriptor"))
    assert one.verdict is verdict


@pytest.mark.parametrize("by", ["user", "lifecycle"])
def test_a_cancellation_frees_the_caller_and_shuts_the_socket(stage: MakeStage, by: str) -> None:
    """A cancellation frees the caller, shuts the socket, and discards what was handed over."""
    one = stage(stale=10.0)
    socket = one.open()
    one.receive("a")
    one.receive("b")
    assert one.attempt.cancel(by)
    assert one.attempt.take() is None
    assert (one.verdict.kind, one.verdict.by) == (VerdictKind.CANCELLED, by)
    assert socket.shut_down.is_set()
    with pytest.raises(Aborted):
        one.worker.do(lambda attempt: attempt.check())
    assert not one.attempt.cancel("somebody else")
    assert one.verdict.by == by


def test_a_cancellation_wakes_a_waiting_caller(stage: MakeStage) -> None:
    """A caller that waits in ``take()`` returns at the cancellation, without any limit expiring."""
    one = stage()
    one.open()
    caller = Caller(one.attempt.take)
    one.clock.next_waiter()  # type: ignore[attr-defined]
    one.attempt.cancel("user")
    assert caller.result() is None


def test_an_attempt_cancelled_before_its_start_runs_no_work(stage: MakeStage) -> None:
    """An attempt that was cancelled before it started never calls its work function."""
    supervisor = HandDriven()
    attempt: Attempt[str] = Attempt({}, supervisor=supervisor)
    ran = threading.Event()
    assert attempt.cancel("user")
    attempt.start(lambda attempt: ran.set())
    assert attempt.join(PATIENCE)
    assert not ran.is_set()
    assert attempt.take() is None
    assert supervisor.registry.counts()["workers"] == 0


def test_a_finish_mark_alone_is_done_after_the_finish_limit(stage: MakeStage) -> None:
    """Without an end mark the caller waits for the finish limit and no longer, pings or not."""
    one = stage(stale=10.0, finish=1.0)
    socket = one.open()
    one.receive("a", finish=True)
    assert one.attempt.take() == ["a"]
    caller = Caller(one.attempt.take)
    one.clock.next_waiter()  # type: ignore[attr-defined]
    one.receive("ping", content=False)
    assert caller.result() == ["ping"]
    caller = Caller(one.attempt.take)
    one.clock.next_waiter()  # type: ignore[attr-defined]
    one.pass_time(1.0 + LATE)
    assert caller.result() is None
    assert one.verdict.kind is VerdictKind.DONE
    assert socket.shut_down.is_set()
    with pytest.raises(Aborted):
        one.worker.do(lambda attempt: attempt.check())


def test_a_usage_event_after_the_finish_is_delivered(stage: MakeStage) -> None:
    """An event between the finish mark and the terminal event reaches the caller."""
    one = stage(finish=1.0)
    one.open()
    one.receive("a", finish=True)
    one.receive("usage", content=False)
    one.receive("end", content=False, terminal=True)
    assert one.taken() == ["a", "usage", "end"]
    assert one.verdict.kind is VerdictKind.DONE


@pytest.mark.parametrize("limit", ["drain", "deadline"])
def test_a_worker_that_finds_its_drain_expired_shuts_its_socket(stage: MakeStage, limit: str) -> None:
    """A ping after the drain and before the supervisor does not leave the worker in its read.

    That read would be unwatched.
    """
    one = stage(drain=1.0) if limit == "drain" else stage(drain=100.0, deadline=1.0)
    socket = one.open()
    one.receive("a", end=True)
    one.clock.advance(1.0 + LATE)  # type: ignore[attr-defined]
    with pytest.raises(Aborted):
        one.worker.do(lambda attempt: (attempt._received(1), attempt._read_on()))
    assert one.verdict.kind is VerdictKind.DONE
    assert one.taken() == ["a"]
    assert one.attempt.join(PATIENCE)
    assert socket.released


def test_a_worker_that_finds_a_strict_limit_expired_is_killed_alike(stage: MakeStage) -> None:
    """A worker that reports after a strict expiry ends itself.

    The verdict, the shutdown and the freed caller are the same as with the supervisor.
    """
    one = stage(total=10.0)
    socket = one.open()
    one.receive("held back", content=False)
    caller = Caller(one.attempt.take)
    one.clock.next_waiter()  # type: ignore[attr-defined]
    # Waking the waiters is the clock's doing; the supervisor does not look.
    one.clock.advance(10.0 + LATE)  # type: ignore[attr-defined]
    with pytest.raises(Aborted):
        one.worker.do(lambda attempt: attempt._received(5))
    assert caller.result() is None
    assert (one.verdict.kind, one.verdict.limit, one.verdict.lag) == (VerdictKind.KILLED, "total", LATE)
    assert socket.shut_down.is_set()
    assert one.attempt.late == 1


def test_a_worker_that_raises_aborted_without_a_verdict_has_failed(stage: MakeStage) -> None:
    """A work function that raises ``Aborted`` by itself makes the attempt a failure."""
    one = stage()
    one.open()
    one.worker.crash(Aborted())
    assert one.verdict.kind is VerdictKind.FAILED


def test_an_endless_error_body_is_cut_and_the_error_stays(stage: MakeStage) -> None:
    """An error body that never ends is cut after its seconds; the exception of the worker is the verdict."""
    one = stage(ttfb=100.0)
    one.open()
    one.worker.do(lambda attempt: attempt.headers(500, refused=True))
    second = Socket(one.attempt)
    one.worker.do(lambda attempt: attempt.adopt(second))
    one.pass_time(ERROR_BODY + LATE)
    assert second.shut_down.is_set()
    assert one.attempt.verdict is None
    error = OSError("HTTP 500")
    one.worker.crash(error)
    assert (one.verdict.kind, one.verdict.error) == (VerdictKind.FAILED, error)
    assert second.broken == []


# -- taking ------------------------------------------------------------------


def test_events_handed_over_before_a_kill_are_returned_first(stage: MakeStage) -> None:
    """Everything handed over before the kill is returned, in order, then the end."""
    one = stage(stale=10.0)
    one.open()
    for number in range(5):
        one.receive(number)
    one.pass_time(10.0 + LATE)
    assert one.verdict.kind is VerdictKind.KILLED
    assert [one.attempt.take() for _ in range(6)] == [[0], [1], [2], [3], [4], None]


def test_take_with_a_time_returns_nothing_at_that_time(stage: MakeStage) -> None:
    """``take(until=)`` returns nothing at that time, and the attempt goes on."""
    one = stage()
    one.open()
    now = one.clock.now()
    assert one.attempt.take(now) is None
    caller = Caller(lambda: one.attempt.take(now + 5.0))
    one.clock.next_waiter()  # type: ignore[attr-defined]
    one.pass_time(4.0)
    one.clock.next_waiter()  # type: ignore[attr-defined]
    one.pass_time(1.0)
    assert caller.result() is None
    assert one.attempt.verdict is None
    one.receive("a")
    assert one.attempt.take(now) == ["a"]


def test_an_item_wakes_a_waiting_caller(stage: MakeStage) -> None:
    """A caller that waits in ``take()`` returns with the item."""
    one = stage()
    one.open()
    for item in "abc":
        caller = Caller(one.attempt.take)
        one.clock.next_waiter()  # type: ignore[attr-defined]
        one.receive(item)
        assert caller.result() == [item]


def test_take_returns_nothing_after_the_end(stage: MakeStage) -> None:
    """Every ``take()`` after the end returns nothing."""
    one = stage()
    one.open()
    one.leave()
    assert [one.attempt.take() for _ in range(3)] == [None] * 3
