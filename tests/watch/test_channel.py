"""The channel, in one thread, which is what an attempt's lock makes of several."""

from __future__ import annotations

import pytest

from llmwatch.watch.channel import Bounds, Channel


@pytest.fixture
def channel() -> Channel[int]:
    """A channel with room for five items or 100 bytes."""
    return Channel(Bounds(items=5, size=100))


def test_bounds_have_defaults() -> None:
    """About a thousand items or four megabytes wait at most."""
    assert (Bounds().items, Bounds().size) == (1024, 4 * 1024 * 1024)


def test_nothing_is_visible_before_it_is_opened(channel: Channel[int]) -> None:
    """Batches are held back until the channel opens, then taken in order, each once."""
    channel.put([1, 2], 10)
    channel.put([3], 10)
    assert channel.take() is None
    channel.open()
    channel.put([4], 10)
    assert [channel.take() for _ in range(4)] == [[1, 2], [3], [4], None]


def test_opening_twice_changes_nothing(channel: Channel[int]) -> None:
    """A second opening gives nothing a second time."""
    channel.put([1], 10)
    channel.open()
    channel.open()
    assert [channel.take(), channel.take()] == [[1], None]


def test_held_back_items_can_be_dropped(channel: Channel[int]) -> None:
    """After a failure no held-back item is delivered, whatever opens later, and its room is free."""
    channel.put([1, 2, 3], 90)
    channel.drop_held()
    channel.open()
    assert channel.take() is None
    assert not channel.full
    channel.put([4, 5, 6, 7], 99)
    assert not channel.full
    assert channel.take() == [4, 5, 6, 7]


def test_visible_items_are_not_dropped(channel: Channel[int]) -> None:
    """Dropping concerns held-back items alone."""
    channel.open()
    channel.put([1], 10)
    channel.drop_held()
    assert channel.take() == [1]


@pytest.mark.parametrize(
    ("batches", "full"), [([(4, 99)], False), ([(5, 0)], True), ([(1, 100)], True), ([(3, 1), (2, 1)], True)]
)
def test_a_channel_is_full_by_items_or_bytes(channel: Channel[int], batches: list[tuple[int, int]], full: bool) -> None:
    """Either bound alone makes it full."""
    channel.open()
    for items, size in batches:
        channel.put([0] * items, size)
    assert channel.full is full


def test_an_item_larger_than_the_bounds_passes_alone(channel: Channel[int]) -> None:
    """The item fills the channel until it is taken, and no longer."""
    channel.open()
    channel.put([1], 1_000_000)
    assert channel.full
    assert channel.take() == [1]
    assert not channel.full


def test_held_back_items_that_outgrow_the_bounds_are_let_through(channel: Channel[int]) -> None:
    """Waiting for room would be waiting for ever, so the overflow opens; nothing is lost."""
    for number in range(4):
        channel.put([number], 1)
    assert not channel.opened
    channel.put([4], 1)
    assert channel.opened
    assert [channel.take() for _ in range(6)] == [[0], [1], [2], [3], [4], None]


def test_a_waiting_worker_is_woken_when_there_is_room(channel: Channel[int]) -> None:
    """The worker that waits for room is woken by the batch that makes room, and by none before."""
    channel.open()
    for number in range(7):
        channel.put([number], 1)
    waiter = channel.room.enter(None)
    assert channel.take() == [0]
    assert channel.take() == [1]
    assert channel.full
    assert waiter in channel.room
    assert channel.take() == [2]
    assert not channel.full
    assert waiter not in channel.room
    assert waiter.woken


@pytest.mark.parametrize("what", ["put", "open", "close", "wake"])
def test_a_waiting_caller_is_woken_by_an_item_the_end_or_a_call(channel: Channel[int], what: str) -> None:
    """A visible item, the end, or a call to look again wakes the caller."""
    channel.put([1], 1)
    if what == "put":
        channel.open()
    waiter = channel.changed.enter(None)
    if what == "put":
        channel.put([2], 1)
    else:
        getattr(channel, what)()
    assert waiter.woken
    assert waiter not in channel.changed


def test_close_discards_everything(channel: Channel[int]) -> None:
    """After the end nothing comes out, and nothing is full.

    This holds for what was visible, held back or put later.
    """
    channel.put([1], 99)
    channel.open()
    channel.put([2], 99)
    channel.close()
    assert channel.closed
    assert channel.take() is None
    assert not channel.full
    channel.put([3], 1000)
    assert channel.take() is None
    assert not channel.full
    channel.close()


def test_an_empty_batch_passes(channel: Channel[int]) -> None:
    """A batch of nothing is still a batch."""
    channel.open()
    channel.put([], 0)
    assert channel.take() == []
    assert channel.take() is None


def test_a_channel_carries_every_item_once_in_order(channel: Channel[int]) -> None:
    """Hundreds of batches in and out, never more than the bounds inside, in order and complete."""
    channel.open()
    out: list[int] = []
    for number in range(500):
        while channel.full:
            batch = channel.take()
            assert batch is not None
            out += batch
        channel.put([number], number % 60)
    while (batch := channel.take()) is not None:
        out += batch
    assert out == list(range(500))
