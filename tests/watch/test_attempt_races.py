"""Threads that meet at one attempt.

Whatever the order, there is one verdict, nothing happens twice, and nothing that was given back is shut.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from llmwatch.watch.attempt import Attempt, BatchMeaning
from llmwatch.watch.channel import Bounds
from llmwatch.watch.clock import SystemClock
from llmwatch.watch.machine import Verdict, VerdictKind
from llmwatch.watch.supervisor import Registry, Supervisor
from tests.watch.scripted import PATIENCE, Caller, HandDriven, Socket

ROUNDS = 150
CROWD = 60
SHORT = 0.02
"""Seconds; a real limit that expires while many attempts are at every point of their lives."""
ENDS = ["user", "lifecycle", "hang up", "abandon", "expiry"]


class Met:
    """One attempt whose worker ends it properly while other threads end it at the same moment.

    Each of these threads ends it in its own way.
    """

    def __init__(self, enders: list[str]) -> None:
        self.supervisor = HandDriven()
        self.attempt: Attempt[int] = Attempt({"total": 10.0, "drain": 1.0}, supervisor=self.supervisor)
        self.socket = Socket(self.attempt)
        self.ready = threading.Barrier(len(enders) + 2)
        self.fit: bool | None = None
        self.verdicts: list[Verdict | None] = []
        self.attempt.start(self.work)
        self.supervisor.look()
        self.enders = [Caller(lambda how=how: self.end(how)) for how in enders]

    def work(self, attempt: Attempt[int]) -> None:
        attempt.adopt(self.socket)
        attempt.sent()
        attempt._received(1)
        attempt.deliver([0], 1, BatchMeaning(content=True))
        self.ready.wait(PATIENCE)
        try:
            attempt._received(1)
            attempt.deliver([1], 1, BatchMeaning(content=True, terminal=True))
        finally:
            self.fit = attempt.disown(self.socket)

    def end(self, how: str) -> None:
        self.ready.wait(PATIENCE)
        if how == "hang up":
            self.attempt.close()
        elif how == "abandon":
            self.attempt.abandon()
            self.supervisor.look()
        elif how == "expiry":
            self.supervisor.pass_time(10.5)
        else:
            self.attempt.cancel(how)
        self.verdicts.append(self.attempt.verdict)

    def finish(self) -> list[int]:
        self.ready.wait(PATIENCE)
        for ender in self.enders:
            ender.result()
        assert self.attempt.join(PATIENCE)
        items: list[int] = []
        while (batch := self.attempt.take()) is not None:
            items += batch
        return items


@pytest.mark.parametrize("enders", [[end] for end in ENDS] + [["user", "lifecycle", "expiry"]], ids="-".join)
def test_the_first_of_two_racing_ends_is_the_verdict(enders: list[str]) -> None:
    """The first of two racing ends stands for every thread.

    A terminal event races with a cancellation, a shutdown, a dropped iterator or an expiry.
    """
    for _ in range(ROUNDS):
        one = Met(enders)
        items = one.finish()
        verdict = one.attempt.verdict
        assert verdict is not None
        assert all(seen is verdict for seen in one.verdicts if seen is not None)
        assert one.socket.broken in ([], ["shut without a verdict"] if "hang up" in enders else [])
        # Fit to be used again only if the attempt is done and no thread has shut it or shuts it later.
        shut = "shutdown" in one.socket.log
        assert one.fit == (verdict.kind is VerdictKind.DONE and not shut)
        assert one.socket.log.count("release") == 1
        assert one.socket.log[-1] == "release"
        expected = {
            VerdictKind.DONE: [[0, 1]],
            VerdictKind.KILLED: [[0]],
            VerdictKind.CANCELLED: [[]],
        }[verdict.kind]
        assert items in expected


def test_exactly_one_of_many_cancelling_threads_succeeds() -> None:
    """``cancel`` returns true to exactly one of many threads that cancel at once."""
    for _ in range(ROUNDS // 3):
        attempt: Attempt[int] = Attempt({}, supervisor=HandDriven())
        attempt.start(lambda attempt: None)
        barrier = threading.Barrier(4)

        def cancel(by: str, attempt: Attempt[int] = attempt, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait(PATIENCE)
            return attempt.cancel(by)

        callers = [Caller(lambda number=number: cancel(str(number))) for number in range(4)]
        told = [caller.result() for caller in callers]
        assert attempt.join(PATIENCE)
        verdict = attempt.verdict
        assert verdict is not None
        if verdict.kind is VerdictKind.CANCELLED:
            assert told.count(True) == 1
            assert verdict.by == str(told.index(True))
        else:
            assert told == [False] * 4


def test_many_attempts_on_real_time_keep_verdicts_items_and_sockets() -> None:
    """Each of many attempts has one verdict of the right kind, however it ends.

    Its items come in order without gap or repetition, and its socket is released once and never shut afterwards. No
    worker is left.
    """
    supervisor = Supervisor(SystemClock(), Registry())
    chance = random.Random(7)
    barrier = threading.Barrier(CROWD)

    def live(fate: str, count: int) -> None:
        attempt: Attempt[int] = Attempt(
            {"ttfb": PATIENCE, "stale": SHORT, "progress": SHORT, "drain": SHORT},
            bounds=Bounds(items=3),
            supervisor=supervisor,
        )
        socket = Socket(attempt)

        def work(attempt: Attempt[int]) -> None:
            attempt.adopt(socket)
            try:
                attempt.sent()
                for number in range(count):
                    attempt._received(1)
                    attempt.deliver([number], 1, BatchMeaning(content=number > 2))
                attempt._received(1)
                attempt.deliver([count], 1, BatchMeaning(content=True))
                if fate == "done":
                    attempt.deliver([count + 1], 1, BatchMeaning(content=True, terminal=True))
                elif fate == "error":
                    raise OSError("reset")
                else:
                    socket.read()
                    attempt._received(0)
            finally:
                fit = attempt.disown(socket)
                assert not (fit and "shutdown" in socket.log)

        barrier.wait(PATIENCE)
        attempt.start(work)
        items: list[int] = []
        while True:
            batch = attempt.take()
            if batch is None:
                break
            items += batch
            if fate in ("cancel", "drop") and len(items) > count // 2:
                attempt.cancel("user") if fate == "cancel" else attempt.abandon()
        verdict = attempt.verdict
        assert verdict is not None
        assert items == list(range(len(items)))
        assert attempt.join(PATIENCE)
        assert socket.broken == []
        assert socket.log.count("release") == 1
        # A busy machine may let a short silence expire in an attempt that was to end otherwise.
        kinds = {
            "done": (VerdictKind.DONE, VerdictKind.KILLED),
            "error": (VerdictKind.FAILED, VerdictKind.KILLED),
            "silent": (VerdictKind.KILLED,),
            "cancel": (VerdictKind.CANCELLED, VerdictKind.KILLED),
            "drop": (VerdictKind.CANCELLED, VerdictKind.KILLED),
        }[fate]
        assert verdict.kind in kinds
        if verdict.kind is VerdictKind.DONE:
            assert items == list(range(count + 2))
        if verdict.kind is VerdictKind.KILLED:
            assert verdict.limit in ("stale", "progress")
            assert verdict.elapsed is not None
            assert verdict.elapsed >= SHORT

    fates = ["done", "error", "silent", "cancel", "drop"]
    lives = [(fates[number % len(fates)], chance.randrange(4, 40)) for number in range(CROWD)]
    callers = [Caller(lambda fate=fate, count=count: live(fate, count)) for fate, count in lives]
    for caller in callers:
        caller.result()
    counts = supervisor.registry.counts()
    assert (counts["live_attempts"], counts["workers"], counts["orphans"]) == (0, 0, 0)


def test_a_small_channel_at_full_speed_loses_no_item() -> None:
    """Two threads on a real clock: every item once, in order."""
    supervisor = Supervisor()
    attempt: Attempt[int] = Attempt({"stale": PATIENCE}, bounds=Bounds(items=2), supervisor=supervisor)
    total = 5_000

    def work(attempt: Attempt[int]) -> None:
        attempt.sent()
        for number in range(total):
            attempt._received(1)
            attempt.deliver([number], 1, BatchMeaning(content=number % 2 == 0))
        attempt.deliver([total], 1, BatchMeaning(content=True, terminal=True))

    attempt.start(work)
    items: list[int] = []
    while (batch := attempt.take()) is not None:
        items += batch
    assert items == list(range(total + 1))
    assert attempt.join(PATIENCE)


def test_starts_and_stops_leave_the_registry_empty() -> None:
    """Hundreds of short attempts from several threads leave every count at zero."""
    supervisor = Supervisor()

    def live(ends: list[Callable[[Attempt[Any]], object]]) -> None:
        for end in ends:
            attempt: Attempt[Any] = Attempt({"ttfb": PATIENCE}, supervisor=supervisor)
            attempt.start(lambda attempt: attempt.sent())
            end(attempt)
            assert attempt.join(PATIENCE)
            assert attempt.verdict is not None

    ends: list[Callable[[Attempt[Any]], object]] = [
        lambda attempt: attempt.cancel("user"),
        lambda attempt: attempt.abandon(),
        lambda attempt: attempt.take(),
        lambda attempt: supervisor.registry.counts(),
    ]
    for caller in [Caller(lambda: live(ends * 25)) for _ in range(4)]:
        caller.result()
    counts = supervisor.registry.counts()
    assert (counts["live_attempts"], counts["workers"], counts["orphans"]) == (0, 0, 0)
