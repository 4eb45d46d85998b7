"""The places in the bytes of a read at which events end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch.wire import Decoder, beginning, end_of_events

EVENTS = [
    b'data: {"a": 1}\n\n',
    b": note\n\n",
    b"\n",
    b"event: ping\ndata: {}\n\n",
    b"id: 3\n\n",
    b": note\ndata: a\ndata: b\n\n",
    'data: "語"\n\n'.encode(),
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(EVENTS), max_size=8), st.integers(0, 200), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_the_place_is_behind_the_nth_event(events: list[bytes], cut: int, newline: bytes) -> None:
    """For a body in two reads, the second read has its events up to the place, and one fewer before it."""
    body = b"".join(events).replace(b"\n", newline)
    first, second = body[: cut % (len(body) + 1)], body[cut % (len(body) + 1) :]
    decoder = Decoder("generic")
    decoder.feed(first)
    begun = beginning(first)
    for count in range(1, len(decoder.feed(second)) + 1):
        place = end_of_events(second, count, begun=begun)
        for upto, seen in ((place, count), (place - 1, count - 1)):
            again = Decoder("generic")
            again.feed(first)
            found = len(again.feed(second[:upto]))
            # The second half of CR LF may be what is left out.
            assert found == seen or (found == count and second[:place].endswith(b"\r\n")), (first, second, count)


@pytest.mark.parametrize("count", [-1, 0])
def test_no_event_ends_at_the_beginning(count: int) -> None:
    """No event ends before the first byte."""
    assert end_of_events(EVENTS[0], count) == 0


def test_only_the_first_and_last_bytes_of_a_large_event_are_kept() -> None:
    """Its first and its last bytes tell what it is and whether an empty line may follow."""
    begun = beginning(EVENTS[0] + b"data: " + b"x" * 100_000 + b"\n")
    assert len(begun) < 5000
    assert end_of_events(b"\n" + EVENTS[0], 1, begun=begun) == 1


def test_with_fewer_events_the_place_is_the_end() -> None:
    """All of them belong to those that there are."""
    assert end_of_events(EVENTS[0] * 2, 3) == 2 * len(EVENTS[0])
