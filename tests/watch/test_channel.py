"""The hand-over, in one thread, which is what an attempt's lock makes of several."""

from __future__ import annotations

import pytest

from llmwatch.watch.channel import Bounds, Handover


@pytest.fixture
def handover() -> Handover[int]:
    """A hand-over with room for five items or 100 bytes."""
    return Handover(Bounds(items=5, size=100))


def test_bounds_have_defaults() -> None:
    """About a thousand items or four megabytes wait at most."""
    assert (Bounds().items, Bounds().size) == (1024, 4 * 1024 * 1024)


def test_nothing_is_visible_before_it_is_opened(handover: Handover[int]) -> None:
    """What was put is held back until the hand-over opens, then comes in order, each batch once."""
    handover.put([1, 2], 10)
    handover.put([3], 10)
    assert handover.take() is None
    handover.open()
    handover.put([4], 10)
    assert [handover.take() for _ in range(4)] == [[1, 2], [3], [4], None]


def test_opening_twice_changes_nothing(handover: Handover[int]) -> None:
    """A second opening gives nothing a second time."""
    handover.put([1], 10)
    handover.open()
    handover.open()
    assert [handover.take(), handover.take()] == [[1], None]


def test_what_is_held_back_can_be_dropped(handover: Handover[int]) -> None:
    """After a failure nothing of it is shown, whatever opens later, and its room is free."""
    handover.put([1, 2, 3], 90)
    handover.drop_held()
    handover.open()
    assert handover.take() is None
    assert not handover.full
    handover.put([4, 5, 6, 7], 99)
    assert not handover.full
    assert handover.take() == [4, 5, 6, 7]


def test_what_is_visible_is_not_dropped(handover: Handover[int]) -> None:
    """Dropping concerns only what is held back."""
    handover.open()
    handover.put([1], 10)
    handover.drop_held()
    assert handover.take() == [1]


@pytest.mark.parametrize(
    ("batches", "full"), [([(4, 99)], False), ([(5, 0)], True), ([(1, 100)], True), ([(3, 1), (2, 1)], True)]
)
def test_it_is_full_by_items_or_bytes(handover: Handover[int], batches: list[tuple[int, int]], full: bool) -> None:
    """Either bound alone makes it full."""
    handover.open()
    for items, size in batches:
        handover.put([0] * items, size)
    assert handover.full is full


def test_an_item_larger_than_the_bounds_passes_alone(handover: Handover[int]) -> None:
    """It fills the hand-over until it is taken, and no longer."""
    handover.open()
    handover.put([1], 1_000_000)
    assert handover.full
    assert handover.take() == [1]
    assert not handover.full


def test_held_back_items_that_outgrow_the_bounds_are_let_through(handover: Handover[int]) -> None:
    """Waiting for room would be waiting for ever, so the overflow opens; nothing is lost."""
    for number in range(4):
        handover.put([number], 1)
    assert not handover.opened
    handover.put([4], 1)
    assert handover.opened
    assert [handover.take() for _ in range(6)] == [[0], [1], [2], [3], [4], None]


def test_room_is_announced_when_there_is_some_again(handover: Handover[int]) -> None:
    """The worker that waits for room is woken by the batch that makes room, and by none before."""
    handover.open()
    for number in range(7):
        handover.put([number], 1)
    waiter = handover.room.enter(None)
    assert handover.take() == [0]
    assert handover.take() == [1]
    assert handover.full
    assert waiter in handover.room
    assert handover.take() == [2]
    assert not handover.full
    assert waiter not in handover.room
    assert waiter.woken


@pytest.mark.parametrize("what", ["put", "open", "close", "wake"])
def test_the_caller_is_woken(handover: Handover[int], what: str) -> None:
    """Something visible, the end, or a call to look again wakes the caller."""
    handover.put([1], 1)
    if what == "put":
        handover.open()
    waiter = handover.changed.enter(None)
    if what == "put":
        handover.put([2], 1)
    else:
        getattr(handover, what)()
    assert waiter.woken
    assert waiter not in handover.changed


def test_close_discards_everything(handover: Handover[int]) -> None:
    """After the end nothing comes out, whether it was visible, held back or put later, and nothing is full."""
    handover.put([1], 99)
    handover.open()
    handover.put([2], 99)
    handover.close()
    assert handover.closed
    assert handover.take() is None
    assert not handover.full
    handover.put([3], 1000)
    assert handover.take() is None
    assert not handover.full
    handover.close()


def test_an_empty_batch_passes(handover: Handover[int]) -> None:
    """A batch of nothing is still a batch."""
    handover.open()
    handover.put([], 0)
    assert handover.take() == []
    assert handover.take() is None


def test_it_carries_what_it_was_given(handover: Handover[int]) -> None:
    """Hundreds of batches in and out, never more than the bounds inside, in order and complete."""
    handover.open()
    out: list[int] = []
    for number in range(500):
        while handover.full:
            batch = handover.take()
            assert batch is not None
            out += batch
        handover.put([number], number % 60)
    while (batch := handover.take()) is not None:
        out += batch
    assert out == list(range(500))
