"""The count of attempts, workers and orphans."""

from __future__ import annotations

import threading
from typing import Any

from llmwatch.watch.supervisor import MOST_ORPHANS, Registry
from tests.watch.scripted import Caller, held


class Entry:
    """The part of an attempt that a registry uses."""

    def __init__(self, *, late: int = 0, over: bool = False) -> None:
        self.late = late
        self.verdict: Any = object() if over else None


NOTHING = {"live_attempts": 0, "workers": 0, "orphans": 0, "unabortable": 0, "late_events": 0}


def test_a_new_registry_is_empty() -> None:
    """Everything starts at zero."""
    registry = Registry()
    assert registry.counts() == NOTHING
    assert registry.orphans == 0
    assert registry.live() == registry.inherited() == []


def test_an_attempt_counts_until_its_worker_is_gone() -> None:
    """An attempt is live until it has a verdict, and its worker counts until it leaves."""
    registry, entry = Registry(), Entry()
    registry.add(entry)  # type: ignore[arg-type]
    assert registry.counts() == {**NOTHING, "live_attempts": 1, "workers": 1}
    assert registry.live() == [entry]
    entry.verdict = object()
    assert registry.counts() == {**NOTHING, "workers": 1}
    registry.remove(entry, 0)  # type: ignore[arg-type]
    assert registry.counts() == NOTHING
    assert registry.live() == []


def test_removing_a_worker_twice_counts_once() -> None:
    """An interrupted start and the worker that it started after all may both say that the worker is gone."""
    registry, entry = Registry(), Entry()
    registry.add(entry)  # type: ignore[arg-type]
    registry.remove(entry, 1)  # type: ignore[arg-type]
    registry.remove(entry, 1)  # type: ignore[arg-type]
    assert registry.counts() == {**NOTHING, "late_events": 1}


def test_an_orphan_is_counted_until_it_ends_and_remembered_after() -> None:
    """``orphans`` counts those that are stuck now, ``unabortable`` those that ever were."""
    registry, entry = Registry(), Entry(over=True)
    registry.add(entry)  # type: ignore[arg-type]
    registry.orphan(entry)  # type: ignore[arg-type]
    registry.orphan(entry)  # type: ignore[arg-type]
    assert registry.orphans == 1
    assert registry.counts() == {**NOTHING, "workers": 1, "orphans": 1, "unabortable": 1}
    registry.remove(entry, 0)  # type: ignore[arg-type]
    assert registry.orphans == 0
    assert registry.counts() == {**NOTHING, "unabortable": 1}


def test_a_worker_that_is_gone_makes_no_orphan() -> None:
    """An attempt whose worker left before it was given up on is not counted."""
    registry, entry = Registry(), Entry(over=True)
    registry.add(entry)  # type: ignore[arg-type]
    registry.remove(entry, 0)  # type: ignore[arg-type]
    registry.orphan(entry)  # type: ignore[arg-type]
    assert registry.counts() == NOTHING


def test_late_events_are_counted_during_and_after_an_attempt() -> None:
    """Late events are counted while the worker lives, and the count is kept when it ends."""
    registry, one, other = Registry(), Entry(late=2), Entry(late=5)
    for entry in (one, other):
        registry.add(entry)  # type: ignore[arg-type]
    assert registry.counts()["late_events"] == 7
    one.late = 3
    registry.remove(one, one.late)  # type: ignore[arg-type]
    assert registry.counts()["late_events"] == 8


def test_counting_does_not_take_the_lock_of_an_attempt() -> None:
    """Verdicts are read outside the registry's own lock, since attempts' locks come before it."""
    registry = Registry()

    class Jealous(Entry):
        @property
        def verdict(self) -> Any:
            assert not registry._lock._is_owned()  # type: ignore[attr-defined]
            return None

        @verdict.setter
        def verdict(self, value: object) -> None:
            pass

    registry.add(Jealous())  # type: ignore[arg-type]
    assert registry.counts()["live_attempts"] == 1


def test_a_child_reads_the_registry_without_its_lock() -> None:
    """After a fork the lock may be held by a thread that does not exist."""
    registry, entry = Registry(), Entry()
    registry.add(entry)  # type: ignore[arg-type]
    with held(registry._lock):
        assert Caller(registry.inherited).result() == [entry]


def test_many_threads_leave_the_registry_at_zero() -> None:
    """In any interleaving of entries, orphans and exits nothing is counted twice or lost."""
    registry, rounds, threads = Registry(), 300, 8
    barrier = threading.Barrier(threads)

    def live() -> None:
        barrier.wait()
        for number in range(rounds):
            entry = Entry(late=1)
            registry.add(entry)  # type: ignore[arg-type]
            if number % 3 == 0:
                registry.orphan(entry)  # type: ignore[arg-type]
            registry.remove(entry, entry.late)  # type: ignore[arg-type]

    for caller in [Caller(live) for _ in range(threads)]:
        caller.result()
    assert registry.counts() == {**NOTHING, "unabortable": threads * rounds // 3, "late_events": threads * rounds}


def test_the_most_orphans_are_sixty_four() -> None:
    """The bound is the documented one."""
    assert MOST_ORPHANS == 64
