"""The count of attempts, workers and orphans."""

from __future__ import annotations

import threading
from typing import Any

from llmwatch.watch.registry import MOST_ORPHANS, Census
from tests.watch.scripted import Caller, held


class Entry:
    """As much of an attempt as a census looks at."""

    def __init__(self, *, late: int = 0, over: bool = False) -> None:
        self.late = late
        self.verdict: Any = object() if over else None


NOTHING = {"live_attempts": 0, "workers": 0, "orphans": 0, "unabortable": 0, "late_events": 0}


def test_a_new_census_is_empty() -> None:
    """Everything starts at zero."""
    census = Census()
    assert census.counts() == NOTHING
    assert census.orphans == 0
    assert census.live() == census.inherited() == []


def test_an_attempt_counts_until_its_worker_is_gone() -> None:
    """It is live until it has a verdict, and its worker counts until it leaves."""
    census, entry = Census(), Entry()
    census.enter(entry)  # type: ignore[arg-type]
    assert census.counts() == {**NOTHING, "live_attempts": 1, "workers": 1}
    assert census.live() == [entry]
    entry.verdict = object()
    assert census.counts() == {**NOTHING, "workers": 1}
    census.leave(entry, 0)  # type: ignore[arg-type]
    assert census.counts() == NOTHING
    assert census.live() == []


def test_leaving_twice_counts_once() -> None:
    """An interrupted start and the worker that it started after all may both say that the worker is gone."""
    census, entry = Census(), Entry()
    census.enter(entry)  # type: ignore[arg-type]
    census.leave(entry, 1)  # type: ignore[arg-type]
    census.leave(entry, 1)  # type: ignore[arg-type]
    assert census.counts() == {**NOTHING, "late_events": 1}


def test_an_orphan_is_counted_until_it_ends_and_remembered_after() -> None:
    """Orphans are those that are stuck now, unabortable those that ever were."""
    census, entry = Census(), Entry(over=True)
    census.enter(entry)  # type: ignore[arg-type]
    census.orphan(entry)  # type: ignore[arg-type]
    census.orphan(entry)  # type: ignore[arg-type]
    assert census.orphans == 1
    assert census.counts() == {**NOTHING, "workers": 1, "orphans": 1, "unabortable": 1}
    census.leave(entry, 0)  # type: ignore[arg-type]
    assert census.orphans == 0
    assert census.counts() == {**NOTHING, "unabortable": 1}


def test_a_worker_that_is_gone_makes_no_orphan() -> None:
    """An attempt whose worker left before it was given up on is not counted."""
    census, entry = Census(), Entry(over=True)
    census.enter(entry)  # type: ignore[arg-type]
    census.leave(entry, 0)  # type: ignore[arg-type]
    census.orphan(entry)  # type: ignore[arg-type]
    assert census.counts() == NOTHING


def test_late_events_of_the_living_and_the_gone_add_up() -> None:
    """What came late is counted while the worker lives, and kept when it goes."""
    census, one, other = Census(), Entry(late=2), Entry(late=5)
    for entry in (one, other):
        census.enter(entry)  # type: ignore[arg-type]
    assert census.counts()["late_events"] == 7
    one.late = 3
    census.leave(one, one.late)  # type: ignore[arg-type]
    assert census.counts()["late_events"] == 8


def test_counting_does_not_take_the_lock_of_an_attempt() -> None:
    """Verdicts are read outside the census' own lock, since attempts' locks come before it."""
    census = Census()

    class Jealous(Entry):
        @property
        def verdict(self) -> Any:
            assert not census._lock._is_owned()  # type: ignore[attr-defined]
            return None

        @verdict.setter
        def verdict(self, value: object) -> None:
            pass

    census.enter(Jealous())  # type: ignore[arg-type]
    assert census.counts()["live_attempts"] == 1


def test_a_child_reads_the_census_without_its_lock() -> None:
    """After a fork the lock may be held by a thread that does not exist."""
    census, entry = Census(), Entry()
    census.enter(entry)  # type: ignore[arg-type]
    with held(census._lock):
        assert Caller(census.inherited).result() == [entry]


def test_many_threads_leave_it_at_zero() -> None:
    """However entries, orphans and exits interleave, nothing is counted twice or lost."""
    census, rounds, threads = Census(), 300, 8
    barrier = threading.Barrier(threads)

    def live() -> None:
        barrier.wait()
        for number in range(rounds):
            entry = Entry(late=1)
            census.enter(entry)  # type: ignore[arg-type]
            if number % 3 == 0:
                census.orphan(entry)  # type: ignore[arg-type]
            census.leave(entry, entry.late)  # type: ignore[arg-type]

    for caller in [Caller(live) for _ in range(threads)]:
        caller.result()
    assert census.counts() == {**NOTHING, "unabortable": threads * rounds // 3, "late_events": threads * rounds}


def test_the_most_orphans_are_sixty_four() -> None:
    """The bound is the documented one."""
    assert MOST_ORPHANS == 64
