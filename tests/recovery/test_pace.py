"""Pacing."""

from __future__ import annotations

from itertools import pairwise

import pytest

from llmwatch.recovery import Pace, release
from llmwatch.recovery.pace import SPREAD

FAR = 1e9


class Key(Pace):
    """The state of one model and credential, with many calls in flight."""

    def told(self, wait: float, now: float, sent_at: float, calls: int = 1000) -> float:
        """One more is refused."""
        return self.hold("one", wait, now, sent_at, calls, lambda: 0.5)

    def out(self, *instants: float) -> None:
        """Attempts go out."""
        for now in instants:
            self.start("one", now)

    @property
    def rate(self) -> float:
        """Attempts a second, 0 for no bound."""
        gap = self.gap("one")
        return 1 / gap if gap else 0.0


def test_a_hold_lasts_as_long_as_the_named_wait() -> None:
    """The hold concerns one model and credential, to the instant, and teaches no rate."""
    pace = Key()
    assert not pace.accounts
    assert pace.told(7.0, now=100.0, sent_at=99.0) == 7.0
    hold = pace.held("one", 106.9)
    assert hold is not None
    assert hold.until == 107.0
    assert pace.held("two", 106.9) is None
    assert pace.held(None, 106.9) is None
    assert pace.held("one", 107.0) is None
    assert (pace.rate, pace.ready_at("one", 107.0), len(pace.accounts)) == (0.0, 107.0, 1)


def test_a_second_wait_does_not_shorten_a_hold() -> None:
    """The later end counts."""
    pace = Key()
    pace.told(7.0, now=100.0, sent_at=99.0)
    pace.told(1.0, now=101.0, sent_at=99.5)
    hold = pace.held("one", 101.0)
    assert hold is not None
    assert (hold.until, hold.sent_at) == (107.0, 99.5)
    # Neither does that of a call which had waited for less itself.
    pace.out(102.0)
    pace.told(1.0, now=102.1, sent_at=102.0)
    hold = pace.held("one", 103.5)
    assert hold is not None
    assert (hold.until, hold.sent_at) == (107.0, 102.0)


def test_an_old_hold_is_dropped() -> None:
    """A hold is dropped a minute after its end, when another key is refused."""
    pace = Pace()
    for number in range(50):
        now = 100.0 * number
        pace.hold(f"key {number}", 7.0, now, now - 1.0, 1, lambda: 0.5)
        assert len(pace.accounts) == 1
    pace.hold("another", 7.0, 4966.9, 4966.0, 1, lambda: 0.5)
    assert len(pace.accounts) == 2


def test_a_success_after_the_named_wait_ends_the_hold() -> None:
    """The attempt went out after the provider named the wait; a success of one from before shows nothing."""
    pace = Key()
    pace.told(7.0, now=100.0, sent_at=99.0)
    assert not pace.success("one", sent_at=99.9, now=101.0)
    assert not pace.success("two", sent_at=101.0, now=101.0)
    assert pace.held("one", 101.0) is not None
    assert not pace.proven("one")
    assert pace.success("one", sent_at=101.0, now=102.0)
    assert pace.held("one", 102.0) is None
    assert pace.proven("one")
    assert not pace.success("one", sent_at=102.0, now=103.0)


def test_held_attempts_are_spread_over_a_second() -> None:
    """By the share that is drawn."""
    pace = Key()
    pace.told(7.0, now=100.0, sent_at=99.0)
    hold = pace.held("one", 101.0)
    assert hold is not None
    assert [release(hold, lambda share=share: share) for share in (0.0, 0.25, 0.999)] == [107.0, 107.25, 107.999]


def test_refused_attempts_are_spread_over_a_second_too() -> None:
    """Sixteen calls wait exactly as long as was named to them.

    The calls that were refused after them wait up to a second longer.
    """
    pace = Key()
    waits = [pace.told(1.0, now=100.0 + number / 1000, sent_at=99.0) for number in range(20)]
    assert waits == [1.0] * 16 + [1.0 + SPREAD / 2] * 4


def refused_again() -> Key:
    """Ten went out behind a hold, of which the last was refused, and is the only one so far."""
    pace = Key()
    pace.told(1.0, now=100.0, sent_at=99.9)
    pace.out(*(101.0 + number / 100 for number in range(10)))
    pace.told(1.0, now=101.1, sent_at=101.09)
    return pace


def test_a_refusal_behind_a_hold_teaches_a_rate() -> None:
    """The rate counts the requests accepted since the first refusal.

    It is their number over the time until the end of the second wait.
    """
    pace = refused_again()
    assert pace.rate == pytest.approx(9 / 2.1)
    assert pace.ready_at("one", 102.1) == pytest.approx(101.09 + 2.1 / 9)
    # The last attempt of a call keeps more distance.
    assert pace.ready_at("one", 102.1, last=True) == pytest.approx(101.09 + 1.5 * 2.1 / 9)
    # Others that went out with it may be refused yet.
    pace.told(1.0, now=101.12, sent_at=101.08)
    assert pace.rate == pytest.approx(8 / 2.12)
    # What went out before the first of them was not counted.
    pace.told(1.0, now=101.12, sent_at=99.95)
    assert pace.rate == pytest.approx(8 / 2.12)


def test_refusals_without_an_answer_teach_no_rate() -> None:
    """Refusals in a row are counted, and an answer ends the row."""
    pace = Key()
    pace.told(1.0, now=100.0, sent_at=99.9)
    for number in range(1, 4):
        pace.out(100.0 + number)
        pace.told(1.0, now=100.1 + number, sent_at=100.0 + number)
        assert (pace.rate, pace.refusals("one")) == (0.0, number)
    pace.success("one", sent_at=104.0, now=104.1)
    assert pace.refusals("one") == 0


def test_the_rate_falls_while_the_provider_refuses_everything() -> None:
    """The longer the provider refuses everything, the lower the rate that it accepts."""
    pace = refused_again()
    pace.out(103.0)
    pace.told(1.0, now=103.1, sent_at=103.0)
    assert (pace.rate, pace.refusals("one")) == (pytest.approx(9 / 4.1), 1)
    pace.out(104.5)
    pace.told(1.0, now=104.6, sent_at=104.5)
    assert (pace.rate, pace.refusals("one")) == (pytest.approx(9 / 5.6), 2)


def refuse_at(pace: Key, rate: float) -> None:
    """The provider refuses attempts that come at that rate, and does for ten seconds."""
    pace.out(*(103.0 + number / rate for number in range(47)))
    pace.told(10.0, now=105.0, sent_at=104.9)


def test_answers_raise_the_rate() -> None:
    """Soon for as long as no level is known, and up to it; slowly above it."""
    pace = refused_again()
    rates = [pace.rate]
    assert pace.searches("one")
    for number in range(3):
        pace.out(102.5 + number / 10)
        pace.success("one", sent_at=102.5 + number / 10, now=103.0)
        rates.append(pace.rate)
    assert [b - a for a, b in pairwise(rates)] == pytest.approx([4.0] * 3)
    # One that was sent before the last refusal shows nothing.
    pace.success("one", sent_at=101.0, now=103.0)
    assert pace.rate == rates[-1]
    # At that rate it is refused: the next level is a little lower.
    refuse_at(pace, rates[-1])
    assert not pace.searches("one")
    for _ in range(9):
        pace.success("one", sent_at=116.0, now=116.1, grows=False)
    half = pace.rate
    for _ in range(9):
        pace.success("one", sent_at=116.0, now=116.1)
    level = 2 * half
    assert level == pytest.approx(0.85 * rates[-1])
    assert level < pace.rate <= level + 9 * 0.02
    now = pace.rate
    pace.success("one", sent_at=116.0, now=116.1)
    pace.success("one", sent_at=116.0, now=116.1, grows=False)
    assert pace.rate == pytest.approx(now + 0.02)


def test_an_unneeded_rate_is_dropped() -> None:
    """After a minute without a refusal every attempt goes out at once again.

    An attempt that had no need to wait must go out as well.
    """
    pace = refused_again()
    pace.out(150.0)
    assert pace.rate
    pace.out(162.2)
    assert not pace.accounts
    # One that holds attempts back all the time is raised soon until it does so no longer.
    pace = refused_again()
    pace.success("one", sent_at=102.5, now=103.0)
    refuse_at(pace, pace.rate)
    now = 115.0
    while pace.rate:
        now = max(now, pace.ready_at("one", now))
        pace.out(now)
        pace.success("one", sent_at=now, now=now)
        assert pace.searches("one") == (pace.rate > 0.0 and now > 175.0)
    assert 175.0 < now < 180.0


def test_the_lowest_rate_is_one_attempt_in_half_a_minute() -> None:
    """One attempt in half a minute goes out at least."""
    pace = Key()
    pace.told(100.0, now=0.0, sent_at=-1.0)
    pace.out(100.0, 100.1)
    pace.told(100.0, now=100.2, sent_at=100.1)
    assert pace.rate == pytest.approx(1 / 30)


def test_holds_grow_after_as_many_refusals_as_calls() -> None:
    """Once as many were refused in a row as there are calls, the attempts left are not used up.

    What is named is never cut short, and one call by itself waits as it is told.
    """
    pace, now, lengths = Key(), 100.0, []
    pace.told(1.0, now=now, sent_at=now - 1, calls=4)
    for _ in range(12):
        now += 50.0
        pace.out(now)
        pace.told(1.0, now=now + 0.5, sent_at=now, calls=4)
        hold = pace.held("one", now + 0.5)
        assert hold is not None
        lengths.append(hold.until - hold.since)
        assert hold.longer == (lengths[-1] > 1.0)
    assert lengths == [1, 1, 1, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    alone, now = Key(), 100.0
    for _ in range(9):
        alone.told(1.0, now=now, sent_at=now - 0.5, calls=1)
        hold = alone.held("one", now)
        assert hold is not None
        assert hold.until - now == 1.0
        now += 10.0
        alone.out(now - 0.5)
