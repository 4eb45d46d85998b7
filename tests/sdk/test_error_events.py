"""Bad events wait for what follows them; nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch import ProviderError
from llmwatch.sdk import error_events
from llmwatch.sdk.error_events import without_bad_events
from tests.sdk.blanks import Counting

GOOD = b'data: {"delta": "one"}\n\n'
NULL = b'event: response.created\ndata: {"type": "response.created", "error": null}\n\n'
DONE = b"data: [DONE]\n\n"
COMMENT = b": keep-alive\n\n"
ERROR = b'data: {"error": {"message": "no"}}\n\n'
TYPED = b'event: error\ndata: {"type": "error", "message": "no"}\n\n'
BROKEN = b'event: delta\ndata: {"index": \n\n'
QUOTED = b'data: {"delta": "data: {\\"error\\": 1}\\n\\nevent: error"}\n\n'

bad = pytest.mark.parametrize("event", [ERROR, TYPED, BROKEN])


def coming(*pieces: bytes, error: bool = False) -> Iterator[bytes]:
    """These pieces, and then perhaps what is raised after a bad event."""
    yield from pieces
    if error:
        raise ProviderError("no")


def each(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """All that came in one, and whether an error followed."""
    came = b""
    try:
        for piece in pieces:
            came += piece
    except ProviderError:
        return came, True
    return came, False


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_byte_order_mark_is_left_out(size: int) -> None:
    """The mark before the first event goes, however it is split; one further on is the answer's own."""
    body = b"\xef\xbb\xbf" + GOOD + b"\xef\xbb\xbf" + GOOD
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    assert b"".join(without_bad_events(pieces)) == GOOD + b"\xef\xbb\xbf" + GOOD


@pytest.mark.parametrize("body", [b"", b"\xef", b"\xef\xbb", b"\xefdata: 1\n\n"])
def test_half_a_byte_order_mark_is_handed_on(body: bytes) -> None:
    """Bytes that only begin like the mark are the answer's own."""
    assert b"".join(without_bad_events(body[at : at + 1] for at in range(len(body)))) == body


@pytest.mark.parametrize("piece", [GOOD, NULL, DONE, COMMENT, QUOTED, b"", GOOD + NULL + DONE])
def test_a_good_event_is_handed_on_at_once(piece: bytes) -> None:
    """A good event is handed on before the next read."""
    asked: list[int] = []

    def source() -> Iterator[bytes]:
        yield piece
        asked.append(1)

    assert next(without_bad_events(source())) == piece
    assert asked == []


@bad
def test_a_bad_event_before_an_error_is_dropped(event: bytes) -> None:
    """Only the bad event is dropped: the events before it in the same piece are handed on."""
    assert each(without_bad_events(coming(GOOD, GOOD + event, error=True))) == (GOOD * 2, True)
    assert each(without_bad_events(coming(event, error=True))) == (b"", True)
    assert each(without_bad_events(coming(GOOD, event + GOOD, error=True))) == (GOOD, True)


@bad
def test_a_bad_event_without_an_error_is_handed_on(event: bytes) -> None:
    """The event goes on with the next piece, or with the end."""
    assert each(without_bad_events(coming(GOOD, event, GOOD, GOOD))) == (GOOD + event + GOOD * 2, False)
    assert each(without_bad_events(coming(event))) == (event, False)
    assert each(without_bad_events(coming(event, ERROR, error=True)))[0].startswith(event)


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n", b"\n\r"])
def test_a_bad_event_waits_for_one_piece(blank: bytes) -> None:
    """Any bytes after the end of the event release it, whatever ends the lines."""
    pieces = without_bad_events(coming(b"event: error", blank[:1] + b"data: no" + blank, GOOD, GOOD))
    assert next(pieces) == b"event: error"
    assert next(pieces).endswith(blank + GOOD)
    assert next(pieces) == GOOD


@bad
def test_a_bad_event_in_pieces_is_held_from_where_it_shows(event: bytes) -> None:
    """Its beginning may be through already; without its end no reader acts on it."""
    for cut in range(1, len(event)):
        came, failed = each(without_bad_events(coming(GOOD, event[:cut], event[cut:], error=True)))
        assert failed
        assert came.startswith(GOOD)
        assert event.startswith(came[len(GOOD) :])
        assert not came[len(GOOD) :].endswith(b"\n\n")


@settings(max_examples=500)
@given(data=st.data(), newline=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_split_hands_on_the_same_bytes(data: Any, newline: bytes) -> None:
    """Without an error in the end nothing is lost, doubled or moved, however the bytes are cut."""
    events = data.draw(st.lists(st.sampled_from([GOOD, NULL, COMMENT, QUOTED, ERROR, TYPED, BROKEN, DONE]), max_size=8))
    whole = b"".join(events).replace(b"\n", newline)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert each(without_bad_events(coming(*pieces))) == (whole, False)


@settings(max_examples=500)
@given(data=st.data(), newline=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_split_keeps_good_events_before_a_bad_one(data: Any, newline: bytes) -> None:
    """All events before the bad event are handed on whole, and the bad event is not."""
    good = b"".join(data.draw(st.lists(st.sampled_from([GOOD, NULL, COMMENT, QUOTED]), max_size=5)))
    event = data.draw(st.sampled_from([ERROR, TYPED, BROKEN]))
    good, whole = good.replace(b"\n", newline), (good + event).replace(b"\n", newline)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    came, failed = each(without_bad_events(coming(*pieces, error=True)))
    assert failed
    assert came.startswith(good)
    assert len(came) < len(whole)
    assert not came[len(good) :].endswith(newline * 2)


def test_a_large_event_is_scanned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON over many lines looks bad at its first one; waiting for its end costs what its bytes cost."""
    counting = Counting(error_events.BLANK_LINE)
    monkeypatch.setattr(error_events, "BLANK_LINE", counting)
    stream = b'data: {"list": [\n' + b"data: 1,\n" * 20_000 + b"data: 1]}\n\n" + GOOD
    pieces = [stream[at : at + 100] for at in range(0, len(stream), 100)]
    assert b"".join(without_bad_events(iter(pieces))) == stream
    assert counting.looked_at < 2 * len(stream)
