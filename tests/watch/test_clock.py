"""Real and manual time."""

from __future__ import annotations

import queue
import signal
import threading
import time

import pytest

from llmwatch.watch import clock as clocks
from llmwatch.watch.clock import SYSTEM, Clock, ManualClock, SystemClock, Waiter
from tests.watch.scripted import PATIENCE, Caller, WatchedClock

SOON = 0.02
"""Seconds that a real wait of these tests takes."""


def test_now_is_monotonic_and_wall_is_the_wall() -> None:
    """The system's clock reads the monotonic and the wall time of the machine."""
    before, now, after = time.monotonic(), SYSTEM.now(), time.monotonic()
    assert before <= now <= after
    before, now, after = time.time(), SYSTEM.wall(), time.time()
    assert before <= now <= after


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()])
def test_get_returns_what_is_there_even_when_it_is_late(clock: Clock) -> None:
    """An item that waits comes out whether or not the time is over."""
    for until in (None, clock.now() + 100.0, clock.now() - 100.0):
        inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        inbox.put("news")
        assert clock.get(inbox, until) == "news"


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()])
def test_get_does_not_block_once_the_time_is_over(clock: Clock) -> None:
    """``get`` on an empty inbox returns ``None`` at once if the time is over."""
    inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    assert clock.get(inbox, clock.now() - 1.0) is None


def test_a_real_get_waits_until_its_time_and_not_less() -> None:
    """The wait of the system's clock ends after its time has come."""
    inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    until = time.monotonic() + SOON
    assert SYSTEM.get(inbox, until) is None
    # A platform's timer may be coarser than its clock.
    assert time.monotonic() >= until - 0.001


def test_a_real_get_takes_any_time() -> None:
    """A wait of years is no overflow: it is cut, and the caller looks again."""
    inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    caller = Caller(lambda: SYSTEM.get(inbox, SYSTEM.now() + 1e12))
    inbox.put("news")
    assert caller.result() == "news"


def test_a_real_wait_ends_with_its_time_or_when_it_is_woken() -> None:
    """A sleeping thread returns when an item is put in or the time has come."""
    waiter = Waiter()
    until = time.monotonic() + SOON
    while time.monotonic() < until:
        SYSTEM.wait(waiter, until)
    caller = Caller(lambda: SYSTEM.wait(waiter, SYSTEM.now() + 1e12))
    waiter.put(None)
    assert caller.result() is None
    assert not waiter.woken


def test_a_wait_without_an_end_is_cut_into_slices_where_ctrl_c_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a slice set, as on Windows, an endless wait returns early for its caller to look again."""
    monkeypatch.setattr(clocks, "_SLICE", SOON)
    waiter = Waiter()
    SYSTEM.wait(waiter, None)
    SYSTEM.wait(waiter, SYSTEM.now() + 1e12)


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()])
def test_a_wait_that_is_over_returns_at_once(clock: Clock) -> None:
    """A wait until a time in the past returns at once."""
    waiter = Waiter()
    clock.wait(waiter, clock.now() - 1.0)


def test_manual_time_stands_until_it_is_moved() -> None:
    """Both times move by what a test advances, and by nothing else."""
    clock = ManualClock(now=5.0, wall=100.0)
    assert (clock.now(), clock.wall()) == (5.0, 100.0)
    clock.advance(2.5)
    assert (clock.now(), clock.wall()) == (7.5, 102.5)
    clock.set_wall(0.0)
    assert (clock.now(), clock.wall()) == (7.5, 0.0)


def test_advancing_wakes_a_thread_that_waits_for_an_inbox() -> None:
    """A get that blocks returns when time passes, whether or not its time has come."""
    clock = ManualClock()
    inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    assert clock.get(inbox, clock.now() - 1.0) is None  # the clock knows the inbox from now on
    for until in (None, clock.now() + 1.0, clock.now() + 1e6):
        caller = Caller(lambda until=until: clock.get(inbox, until))
        clock.advance(2.0)
        assert caller.result() is None


def test_advancing_wakes_a_sleeping_thread() -> None:
    """A wait returns when time passes, and is forgotten afterwards."""
    clock = WatchedClock()
    waiter = Waiter()

    def wait() -> float:
        while clock.now() < 1_010.0:
            clock.wait(waiter, 1_010.0)
        return clock.now()

    caller = Caller(wait)
    for _ in range(2):
        assert clock.next_waiter() is waiter
        while not clock._waiters:
            time.sleep(0.001)
        clock.advance(5.0)
    assert caller.result() == 1_010.0
    assert clock._waiters == []


def test_a_manual_get_does_not_return_at_its_very_instant() -> None:
    """At the instant itself no limit has expired yet, so ``get`` goes on waiting."""
    clock = ManualClock()
    inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    caller = Caller(lambda: clock.get(inbox, clock.now()))
    inbox.put("news")
    assert caller.result() == "news"


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"),
    reason="the main thread gets the signals",
)
def test_a_real_wait_ends_though_a_signal_handler_outlasts_it() -> None:
    """The remaining time is negative when the handler returns, and a negative time is no endless wait."""
    waiter, rescued, handled = Waiter(), threading.Event(), []

    def handle(number: int, frame: object) -> None:
        SYSTEM.wait(Waiter(), SYSTEM.now() + 4 * SOON)
        handled.append(number)

    def rescue() -> None:
        rescued.set()
        waiter.put(None)

    late = threading.Timer(PATIENCE, rescue)
    late.start()
    before = signal.signal(signal.SIGALRM, handle)
    try:
        until = SYSTEM.now() + 2 * SOON
        signal.setitimer(signal.ITIMER_REAL, SOON)
        while SYSTEM.now() < until:
            SYSTEM.wait(waiter, until)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        late.cancel()
        late.join()
    assert not rescued.is_set()


def test_a_waiter_is_woken_once_however_often_it_is_told() -> None:
    """A ``put`` before the sleep counts, once."""
    waiter = Waiter()
    assert not waiter.woken
    waiter.put()
    waiter.put()
    assert waiter.woken
    waiter.get()
    assert not waiter.woken
    with pytest.raises(queue.Empty):
        waiter.get(timeout=0)
