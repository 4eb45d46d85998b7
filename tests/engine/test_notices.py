"""``llmwatch.engine.notices``: a waiting caller gets a notice per interval.

Progress takes the notice back.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest

from llmwatch import ProgressNotice, WaitNotice
from llmwatch.engine.notices import Notifier
from llmwatch.watch.clock import ManualClock
from llmwatch.watch.machine import Due, Phase


class FakeAttempt:
    """An attempt that has something to give after so many seconds, or a verdict."""

    phase = Phase.WAITING

    def __init__(self, clock: ManualClock, *, after: float, gives: list[str] | None, due: Due | None = None) -> None:
        self._clock = clock
        self._at = clock.now() + after
        self._gives = gives
        self._due = due
        self.verdict: object = None

    def take(self, until: float | None = None) -> list[str] | None:
        assert until is not None
        if until < self._at:
            self._clock.advance(until - self._clock.now())
            return None
        self._clock.advance(self._at - self._clock.now())
        self.verdict = None if self._gives else "over"
        return self._gives

    def counting(self) -> Due | None:
        return self._due


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_a_long_wait_gives_a_notice_per_interval(clock: ManualClock) -> None:
    """Each notice has the time waited, the limit that counts, and what is left of it."""
    told: list[Any] = []
    attempt = FakeAttempt(clock, after=3.5, gives=["event"], due=Due("ttfb", clock.now() + 10))
    batch = Notifier(told.append, 1.0, clock).take(attempt, 2)  # type: ignore[arg-type]
    assert batch == ["event"]
    assert told == [
        *[
            WaitNotice(attempt=2, waited=float(waited), phase="waiting", limit="ttfb", expires_in=10.0 - waited)
            for waited in (1, 2, 3)
        ],
        ProgressNotice(attempt=2),
    ]


def test_a_wait_shorter_than_the_interval_gives_no_notice(clock: ManualClock) -> None:
    """A wait that is shorter than the interval gives no notice."""
    told: list[Any] = []
    notifier = Notifier(told.append, 1.0, clock)
    for _ in range(3):
        assert notifier.take(FakeAttempt(clock, after=0.9, gives=["event"]), 1) == ["event"]  # type: ignore[arg-type]
    assert told == []


def test_a_wait_without_a_limit_says_so(clock: ManualClock) -> None:
    """If no limit runs the notice names none, and an overdue limit has 0 s left."""
    told: list[Any] = []
    notifier = Notifier(told.append, 1.0, clock)
    notifier.take(FakeAttempt(clock, after=1.5, gives=["event"]), 1)  # type: ignore[arg-type]
    notifier.take(FakeAttempt(clock, after=1.5, gives=["event"], due=Due("stale", 0.0)), 1)  # type: ignore[arg-type]
    waits = [one for one in told if isinstance(one, WaitNotice)]
    assert [(one.limit, one.expires_in) for one in waits] == [(None, None), ("stale", 0.0)]


def test_a_verdict_does_not_take_a_notice_back(clock: ManualClock) -> None:
    """A wait that ends with a verdict is not taken back: no item came."""
    told: list[Any] = []
    assert Notifier(told.append, 1.0, clock).take(FakeAttempt(clock, after=1.5, gives=None), 1) is None  # type: ignore[arg-type]
    assert [type(one) for one in told] == [WaitNotice]


def test_progress_takes_a_notice_back_once(clock: ManualClock) -> None:
    """After a notice was taken back there is nothing more to take back."""
    told: list[Any] = []
    notifier = Notifier(told.append, 1.0, clock)
    for after in (1.5, 0.5, 0.5):
        notifier.take(FakeAttempt(clock, after=after, gives=["event"]), 1)  # type: ignore[arg-type]
    assert [type(one) for one in told] == [WaitNotice, ProgressNotice]


def test_a_callback_that_raises_is_logged(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """An exception of a callback is logged at most once a minute, with its number of occurrences.

    The exception does not reach the call.
    """

    def breaks(notice: Any) -> None:
        raise RuntimeError

    with caplog.at_level(logging.ERROR, "llmwatch"):
        assert Notifier(breaks, 1.0, clock).take(FakeAttempt(clock, after=62.5, gives=["event"]), 1) == ["event"]  # type: ignore[arg-type]
    first, second = (one.getMessage() for one in caplog.records)
    assert second == f"{first} (60 times since the last line about it)"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_callback_is_raised(clock: ManualClock, kind: type[BaseException]) -> None:
    """Ctrl-C in a callback is not logged as the callback's error."""

    def interrupt(notice: Any) -> None:
        raise kind

    with pytest.raises(kind):
        Notifier(interrupt, 1.0, clock).tell(ProgressNotice(attempt=1))


def test_without_a_callback_the_attempt_is_asked_once_without_a_bound(clock: ManualClock) -> None:
    """Without a callback the attempt is asked once, without a bound."""
    bounds: list[object] = []

    class Once:
        def take(self, until: object = None) -> list[str]:
            bounds.append(until)
            return ["event"]

    notifier = Notifier(None, 1.0, clock)
    notifier.tell(ProgressNotice(attempt=1))
    assert notifier.take(Once(), 1) == ["event"]  # type: ignore[arg-type]
    assert bounds == [None]
