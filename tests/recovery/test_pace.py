"""Pacing."""

from __future__ import annotations

from llmwatch.recovery import Pace, release


def test_a_hold_lasts_as_long_as_the_wait() -> None:
    """For that model and credential alone, and to the instant."""
    pace = Pace()
    pace.hold("one", 7.0, now=100.0, sent_at=99.0)
    hold = pace.held("one", 106.9)
    assert hold is not None
    assert hold.until == 107.0
    assert pace.held("two", 106.9) is None
    assert pace.held(None, 106.9) is None
    assert pace.held("one", 107.0) is None


def test_a_second_wait_shortens_nothing() -> None:
    """The later end counts."""
    pace = Pace()
    pace.hold("one", 7.0, now=100.0, sent_at=99.0)
    pace.hold("one", 1.0, now=101.0, sent_at=99.5)
    hold = pace.held("one", 101.0)
    assert hold is not None
    assert (hold.until, hold.sent_at) == (107.0, 99.5)


def test_a_success_ends_it() -> None:
    """That of an attempt which went out after the provider named the wait; one from before shows nothing."""
    pace = Pace()
    pace.hold("one", 7.0, now=100.0, sent_at=99.0)
    assert not pace.success("one", sent_at=99.9)
    assert not pace.success("two", sent_at=101.0)
    assert pace.held("one", 101.0) is not None
    assert pace.success("one", sent_at=101.0)
    assert pace.held("one", 101.0) is None
    assert not pace.success("one", sent_at=102.0)


def test_those_that_were_held_are_spread_over_a_second() -> None:
    """By the share that is drawn."""
    pace = Pace()
    pace.hold("one", 7.0, now=100.0, sent_at=99.0)
    hold = pace.held("one", 101.0)
    assert hold is not None
    assert [release(hold, lambda share=share: share) for share in (0.0, 0.25, 0.999)] == [107.0, 107.25, 107.999]
