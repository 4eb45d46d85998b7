"""Lists of waiting threads, without a lock during the wait."""

from __future__ import annotations

import threading
from types import CodeType

import pytest

from llmwatch.watch.clock import SYSTEM, SystemClock, Waiter, WaitList
from tests.watch.scripted import PATIENCE, Caller, WatchedClock
from tests.watch.tracing import Enough, interrupted, lines_before, lines_of, names

WAKE = lines_of(WaitList.wake)
WAIT = lines_of(WaitList.wait_for)
SOON = 0.02


class Alarm(Exception):
    """Raised in the middle of something."""


def press() -> None:
    raise Alarm


@pytest.fixture
def waiting() -> WaitList:
    return WaitList()


def test_everybody_is_woken_once(waiting: WaitList) -> None:
    """Each waiting thread is woken and leaves the list; the next wake finds none."""
    waiters = [waiting.enter(None) for _ in range(3)]
    assert [waiting.enter(waiter) for waiter in waiters] == waiters
    waiting.wake()
    waiting.wake()
    assert [waiter.woken for waiter in waiters] == [True] * 3
    assert not waiting
    assert waiting.enter(waiters[0]) not in waiters


def test_who_leaves_is_not_woken(waiting: WaitList) -> None:
    """Leaving twice, or without having come, does nothing."""
    waiter = waiting.enter(None)
    waiting.leave(waiter)
    waiting.leave(waiter)
    waiting.leave(None)
    waiting.wake()
    assert not waiter.woken


@pytest.mark.parametrize("where", WAKE, ids=names(WAKE))
def test_an_interrupted_wake_leaves_no_thread_asleep(waiting: WaitList, where: tuple[CodeType, int]) -> None:
    """The next wake after an interrupted one reaches every thread that was not woken.

    The wake may be interrupted at any step.
    """
    waiters = [waiting.enter(None) for _ in range(3)]
    with pytest.raises(Alarm):
        interrupted(waiting.wake, where, press, nth=2 if where != WAKE[0] else 1)
    waiting.wake()
    assert all(waiter.woken for waiter in waiters)


def test_a_wait_ends_when_it_is_ready(waiting: WaitList) -> None:
    """The wait checks with the lock held, sleeps without it, and checks again at each wake."""
    clock, lock, ready = WatchedClock(), threading.RLock(), threading.Event()
    looks: list[bool] = []

    def look() -> bool:
        looks.append(lock._is_owned())  # type: ignore[attr-defined]
        return ready.is_set()

    caller = Caller(lambda: waiting.wait_for(look, lock, clock))
    for _ in range(2):
        clock.next_waiter()
        assert lock.acquire(timeout=PATIENCE)
        waiting.wake()
        lock.release()
    clock.next_waiter()
    with lock:
        ready.set()
        waiting.wake()
    assert caller.result() is True
    assert all(looks)
    assert not waiting


def test_a_wait_ends_with_its_time(waiting: WaitList) -> None:
    """The wait says so then, and no thread is left in the list."""
    lock = threading.RLock()
    assert waiting.wait_for(lambda: False, lock, SYSTEM, SYSTEM.now() + SOON) is False
    assert waiting.wait_for(lambda: True, lock, SYSTEM, SYSTEM.now() - 1.0) is True
    assert not waiting


@pytest.mark.parametrize("where", WAIT, ids=names(WAIT))
def test_an_interrupted_wait_leaves_the_lock_free(waiting: WaitList, where: tuple[CodeType, int]) -> None:
    """An exception at any line is raised unchanged, and another thread gets the lock."""
    lock = threading.RLock()

    def wait() -> None:
        waiting.wait_for(lambda: False, lock, SYSTEM, SYSTEM.now() + SOON)
        waiting.wait_for(lambda: True, lock, SYSTEM)

    def call() -> bool:
        try:
            reached, _ = interrupted(wait, where, press)
        except Alarm:
            return True
        return reached

    Caller(call).result()
    assert Caller(lambda: lock.acquire(timeout=PATIENCE)).result()


def _on_the_way() -> list[tuple[CodeType, int]]:
    """The lines that a wait goes through before it sleeps."""

    class Clock(SystemClock):
        def wait(self, waiter: Waiter, until: float | None) -> None:
            raise Enough

    waiting, lock = WaitList(), threading.RLock()
    return lines_before(
        lambda: waiting.wait_for(lambda: False, lock, Clock()), WaitList.wait_for, WaitList.enter, WaitList.leave
    )


ON_THE_WAY = _on_the_way()


@pytest.mark.parametrize("where", ON_THE_WAY, ids=names(ON_THE_WAY))
def test_a_handler_that_makes_it_ready_is_heard(waiting: WaitList, where: tuple[CodeType, int]) -> None:
    """The wait ends when a signal handler of the waiting thread changes what is waited for.

    The handler may do so at any line before the sleep.
    """
    lock, ready = threading.RLock(), threading.Event()

    def handler() -> None:
        with lock:
            ready.set()
            waiting.wake()

    caller = Caller(lambda: interrupted(lambda: waiting.wait_for(ready.is_set, lock, SYSTEM), where, handler))
    assert caller.result() == (True, True)
