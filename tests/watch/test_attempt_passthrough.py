"""An answer that is handed on as it comes.

The tests are about what is held, what cannot be read, and what comes behind the answer's end.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llmwatch.watch.channel import Bounds
from llmwatch.watch.interfaces import Aborted
from llmwatch.watch.machine import VerdictKind
from tests.watch.scripted import Caller, Stage

MakeStage = Callable[..., Stage]


@pytest.mark.parametrize("limit", ["first_event", "first_content", "progress"])
def test_an_unreadable_body_has_no_limits_on_content(stage: MakeStage, limit: str) -> None:
    """The limits on content end with the first unreadable bytes and do not begin again.

    The limit on silence runs.
    """
    one = stage(**{limit: 5.0}, stale=100.0)
    one.open()
    one.receive("a", content=False, event=False, visible=True, unread=True)
    one.receive("b")
    one.pass_time(50.0)
    assert one.attempt.verdict is None
    one.pass_time(50.1)
    assert (one.verdict.kind, one.verdict.limit) == (VerdictKind.KILLED, "stale")
    assert one.taken() == ["a", "b"]


@pytest.mark.parametrize("limit", ["total", "ttfb"])
def test_limits_from_the_request_stay_for_an_unreadable_body(stage: MakeStage, limit: str) -> None:
    """Limits that count from the request do not depend on what the body is."""
    one = stage(**{limit: 5.0}, stale=100.0)
    one.open()
    one.receive("a", content=False, event=False, visible=True, unread=True)
    one.pass_time(5.1)
    if limit == "total":
        assert (one.verdict.kind, one.verdict.limit) == (VerdictKind.KILLED, "total")
    else:
        assert one.attempt.verdict is None


def test_bytes_beyond_the_holding_bound_are_delivered(stage: MakeStage) -> None:
    """Beyond the bound all bytes are delivered at once, and those that follow too."""
    one = stage(stale=10.0, bounds=Bounds(held=100))
    one.open()
    one.receive("a", size=100, content=False)
    assert one.taken() == []
    one.receive("b", size=1, content=False)
    assert one.taken() == ["a", "b"]
    one.receive("c", content=False)
    assert one.taken() == ["c"]


def _trail(one: Stage, item: str, size: int = 10) -> None:
    one.worker.do(lambda attempt: attempt._received(size))
    one.worker.do(lambda attempt: attempt.trail(item, size))


def test_bytes_after_the_terminal_event_are_delivered(stage: MakeStage) -> None:
    """The body is read to its end, beyond the terminal event.

    The verdict was set at the terminal event, and no byte after it counts as late.
    """
    one = stage(stale=10.0, drain=5.0)
    one.open()
    one.receive("a", terminal=True)
    assert [one.attempt.take(), one.attempt.take()] == [["a"], None]
    caller = Caller(one.attempt.rest)
    _trail(one, "b")
    assert caller.result() == ["b"]
    caller = Caller(one.attempt.rest)
    one.leave()
    assert caller.result() is None
    assert (one.verdict.kind, one.attempt.late) == (VerdictKind.DONE, 0)


def test_bytes_after_the_terminal_event_are_awaited_for_drain(stage: MakeStage) -> None:
    """After ``drain`` the connection is dropped."""
    one = stage(stale=10.0, drain=5.0)
    socket = one.open()
    one.receive("a", terminal=True)
    assert one.taken() == ["a"]
    caller = Caller(one.attempt.rest)
    one.pass_time(5.1)
    assert caller.result() is None
    assert socket.shut_down.is_set()
    assert one.verdict.kind is VerdictKind.DONE


def test_another_thread_can_end_the_wait_for_trailing_bytes(stage: MakeStage) -> None:
    """The waiting thread is told at once, and later bytes are dropped."""
    one = stage(stale=10.0, drain=5.0)
    one.open()
    one.receive("a", terminal=True)
    assert one.taken() == ["a"]
    caller = Caller(one.attempt.rest)
    one.attempt.forgo()
    assert caller.result() is None
    _trail(one, "b")
    assert one.attempt.rest() is None


def test_trailing_bytes_wait_for_room_in_the_channel(stage: MakeStage) -> None:
    """A caller that reads loses no bytes, and the channel never holds more than its bounds."""
    one = stage(stale=10.0, drain=5.0, bounds=Bounds(size=100))
    one.open()
    one.receive("a", terminal=True)
    for _ in range(9):
        _trail(one, "b")
    one.worker.do(lambda attempt: attempt._received(10))
    one.worker.begin(lambda attempt: attempt.trail("c", 10))
    assert one.clock.next_waiter() in one.attempt._channel.room  # type: ignore[attr-defined]
    assert one.attempt.take() == ["a"]
    one.worker.result()
    one.leave()
    found: list[object] = []
    while (batch := one.attempt.rest()) is not None:
        found += batch
    assert found == [*["b"] * 9, "c"]
    assert one.attempt.late == 0


@pytest.mark.parametrize("ends", ["drain", "forgo"])
def test_a_worker_does_not_wait_for_a_caller_that_does_not_read(stage: MakeStage, ends: str) -> None:
    """After ``drain``, or once the caller has given up the rest, the worker is free."""
    one = stage(stale=10.0, drain=5.0, bounds=Bounds(size=10))
    socket = one.open()
    one.receive("a", terminal=True)
    one.worker.do(lambda attempt: attempt._received(10))
    one.worker.begin(lambda attempt: attempt.trail("b", 10))
    one.clock.next_waiter()  # type: ignore[attr-defined]
    if ends == "drain":
        one.pass_time(5.1)
        assert socket.shut_down.is_set()
        with pytest.raises(Aborted):
            one.worker.result()
    else:
        one.attempt.forgo()
        one.worker.result()
    assert one.verdict.kind is VerdictKind.DONE


def test_a_caller_can_declare_the_answer_whole(stage: MakeStage) -> None:
    """The answer counts as whole and its body drains; it works once, and not after another end."""
    one = stage(stale=10.0, drain=5.0)
    socket = one.open()
    one.receive("a", end=True)
    assert one.attempt.verdict is None
    assert one.attempt.accept()
    assert one.verdict.kind is VerdictKind.DONE
    assert not one.attempt.accept()
    assert not socket.shut_down.is_set()
    killed = stage(stale=10.0)
    killed.open()
    killed.receive("a")
    killed.pass_time(10.1)
    assert not killed.attempt.accept()
    assert killed.verdict.kind is VerdictKind.KILLED
