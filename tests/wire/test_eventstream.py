"""Frames out of bytes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch.wire.eventstream import Frame, FrameFramer, frame_events
from tests.wire.frames import (
    Header,
    chunk_frame,
    error_frame,
    event_frame,
    exception_frame,
    frame_of,
    header,
    raw_frame,
)

botocore = pytest.importorskip("botocore.eventstream")

_SHORT = st.binary(max_size=40)
_INT64 = st.integers(-(2**63), 2**63 - 1)
_VALUES = {
    0: st.just(None),
    1: st.just(None),
    2: st.integers(-(2**7), 2**7 - 1),
    3: st.integers(-(2**15), 2**15 - 1),
    4: st.integers(-(2**31), 2**31 - 1),
    5: _INT64,
    6: _SHORT,
    7: st.text(max_size=20),
    8: _INT64,
    9: st.binary(min_size=16, max_size=16),
}
_NAMES = st.one_of(
    st.sampled_from([":event-type", ":message-type", ":content-type", ":exception-type"]), st.text(max_size=12)
)
_HEADERS: st.SearchStrategy[list[Header]] = st.lists(
    st.sampled_from(sorted(_VALUES)).flatmap(lambda kind: st.tuples(_NAMES, st.just(kind), _VALUES[kind])),
    max_size=6,
    unique_by=lambda one: one[0],
)
_FRAMES = st.lists(st.tuples(_HEADERS, st.binary(max_size=200)), max_size=5)
CUTS = st.lists(st.integers(min_value=0, max_value=3000), max_size=10)

HEADERS: list[Header] = [(":event-type", 7, "contentBlockDelta"), ("n", 4, -5), ("yes", 0, None), ("id", 9, bytes(16))]
BODY = frame_of(HEADERS, b"one") + frame_of([]) + event_frame("messageStop", {"stopReason": "end_turn"})


def pieces(body: bytes, cuts: list[int]) -> list[bytes]:
    """The body in parts."""
    borders = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[start:end] for start, end in itertools.pairwise(borders)]


def by_botocore(reads: list[bytes]) -> tuple[list[Frame], bool]:
    """The frames that botocore's parser finds, and whether it refused the body."""
    buffer, frames = botocore.EventStreamBuffer(), []
    try:
        for data in reads:
            buffer.add_data(data)
            for message in buffer:
                frames.append(Frame(message.headers, message.payload))
    except botocore.ParserError:
        return frames, True
    return frames, False


def by_us(reads: list[bytes]) -> tuple[list[Frame], bool]:
    """The frames of our framer, and whether it refused the body."""
    framer = FrameFramer()
    frames = [frame for data in reads for frame in framer.feed(data)]
    return frames, bool(framer.damaged)


@settings(deadline=None, max_examples=100)
@given(_FRAMES, CUTS)
def test_any_frames_split_anywhere_are_those_that_botocore_reads(
    frames: list[tuple[list[Header], bytes]], cuts: list[int]
) -> None:
    """Headers of every type and payloads of every kind come out as botocore's parser reads them."""
    body = b"".join(frame_of(*frame) for frame in frames)
    expected = by_botocore([body])
    assert len(expected[0]) == len(frames)
    assert by_us(pieces(body, cuts)) == expected


@settings(deadline=None, max_examples=100)
@given(_FRAMES.filter(bool), st.integers(0, 10_000), st.integers(1, 255), CUTS)
def test_one_changed_byte_is_refused_where_botocore_refuses_it(
    frames: list[tuple[list[Header], bytes]], place: int, change: int, cuts: list[int]
) -> None:
    """A damaged frame ends the stream: the frames before it come out, neither it nor those behind it do."""
    body = bytearray(b"".join(frame_of(*frame) for frame in frames))
    body[place % len(body)] ^= change
    seen, damaged = by_us(pieces(bytes(body), cuts))
    assert (seen, damaged) == by_botocore([bytes(body)])
    assert damaged
    assert len(seen) < len(frames)


def test_every_split_gives_the_same_frames() -> None:
    """Cut in two anywhere, and byte by byte, the frames are the same and nothing is left."""
    whole = FrameFramer().feed(BODY)
    assert [frame.payload for frame in whole[:2]] == [b"one", b""]
    assert whole[0].headers == {":event-type": "contentBlockDelta", "n": -5, "yes": True, "id": bytes(16)}
    for cut in range(len(BODY)):
        framer = FrameFramer()
        assert framer.feed(BODY[:cut]) + framer.feed(BODY[cut:]) == whole, f"cut at {cut}"
        assert framer.pending == 0
    framer = FrameFramer()
    assert [frame for i in range(len(BODY)) for frame in framer.feed(BODY[i : i + 1])] == whole


def test_an_incomplete_frame_stays_pending() -> None:
    """A frame is handed out with its last byte, and the beginning of one is evidence of a cut."""
    framer = FrameFramer()
    frame = frame_of(HEADERS, b"payload")
    assert framer.feed(frame[:-1]) == []
    assert framer.pending == len(frame) - 1
    assert len(framer.feed(frame[-1:] + b"\0\0")) == 1
    assert framer.pending == 2
    assert not framer.damaged
    assert framer.scanned == len(frame) + 2


def test_a_wrong_length_is_not_waited_for() -> None:
    """A prelude whose checksum is wrong is refused with its twelfth byte, whatever length it claims."""
    framer = FrameFramer()
    assert framer.feed(b"\x7f\xff\xff\xff\0\0\0\0\0\0\0") == []
    assert not framer.damaged
    assert framer.feed(b"\0") == []
    assert "length" in framer.damaged
    assert framer.feed(BODY) == []


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (raw_frame(b"", b"", total=15), "shorter"),
        (raw_frame(b"", b"", headers_length=1), "shorter"),
        (frame_of([("a", 7, "x"), ("a", 7, "y")]), "twice"),
        (raw_frame(b"\x01a\x0a", b""), "type"),
        (raw_frame(header("a", 7, "text")[:-1], b""), "longer"),
        (raw_frame(header("a", 9, bytes(16))[:-1], b""), "longer"),
        (raw_frame(header("a", 5, 1)[:-1], b""), "longer"),
        (raw_frame(b"\x01a\x07\0", b""), "longer"),
        (raw_frame(b"\x05a", b""), "longer"),
        (raw_frame(b"\x01a", b""), "longer"),
        (raw_frame(b"\x01a\x07\0\x01\xff", b""), "UTF-8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_headers_that_do_not_follow_the_format_damage_the_stream(frame: bytes, what: str) -> None:
    """A frame with right checksums that holds no headers of the format is refused.

    Nothing of its content is said.
    """
    framer = FrameFramer()
    assert framer.feed(BODY + frame + BODY) == FrameFramer().feed(BODY)
    assert what in framer.damaged
    assert framer.feed(BODY) == []


def test_a_frame_that_is_too_large_is_not_waited_for() -> None:
    """The announced size is compared before the frame is there; one of just that size is read."""
    frame = frame_of([], bytes(1000))
    assert FrameFramer(len(frame)).feed(frame) != []
    framer = FrameFramer(len(frame) - 1)
    assert framer.feed(frame[:12]) == []
    assert framer.overflow
    assert not framer.damaged
    assert framer.feed(frame[12:]) == []


def test_frames_become_events() -> None:
    """An event's name and payload, what a chunk wraps, and failures under their own names."""
    body = (
        event_frame("messageStart", {"role": "assistant"})
        + chunk_frame({"type": "message_start"})
        + exception_frame("throttlingException", "Too many tokens")
        + error_frame("InternalError", "Something went wrong")
        + frame_of([], b"\xff")
        + event_frame("chunk", {"bytes": "no base64!"})
        + event_frame("chunk", [1])
    )
    assert [(event.event, event.data) for event in frame_events(FrameFramer().feed(body))] == [
        ("messageStart", '{"role": "assistant"}'),
        ("chunk", '{"type": "message_start"}'),
        ("exception:throttlingException", '{"message": "Too many tokens"}'),
        ("error:InternalError", '{"message": "Something went wrong"}'),
        ("message", "\ufffd"),
        ("chunk", '{"bytes": "no base64!"}'),
        ("chunk", "[1]"),
    ]
