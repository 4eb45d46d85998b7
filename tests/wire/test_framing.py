"""Blocks out of bytes."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch.wire import Decoder, Framer, LineFramer
from llmwatch.wire.event import Fields, milliseconds
from tests.wire.streams import by_the_standard, fields_of, pieces

MIB = 1024 * 1024
BODY = (
    "\ufeff: hello\n\n"
    "data: one\n\n"
    "event: named\ndata: two\ndata:  lines\nid: 7\nretry: 1500\n\n"
    ": ping\n\n\n\n"
    "data: ünï €\U0001f600\n: inside\n\n"
    "event: no data\n\n"
    "data\n\n"
    "data: end\n\n"
).encode()
EXPECTED = [
    ("message", "one", None, None),
    ("named", "two\n lines", "7", 1500),
    ("message", "ünï €\U0001f600", None, None),
    ("message", "", None, None),
    ("message", "end", None, None),
]

NEWLINES = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}

FIELDS = (
    b"data: a|data:|data|data:b|:c|: |event: x|event|id: 1|id: a\0b|id|retry: 10|retry: x|retry|foo: bar| |:|[DONE]|{|}"
)
TOKENS = st.sampled_from(
    [
        *FIELDS.split(b"|"),
        b"retry: 99999999999999999",
        *(b"\r", b"\n", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r"),
        *(b"\xef\xbb\xbf", b"\xef", b"\xbb\xbf", "é".encode(), "€".encode(), b"\xe2\x82", b"\xff", b"\xf0\x9f"),
        *("\u2028".encode(), b"\x0b", b"\x85"),
    ]
)
BODIES = st.lists(TOKENS, max_size=40).map(b"".join)
CUTS = st.lists(st.integers(min_value=0, max_value=10_000), max_size=12)


def read(reads: list[bytes]) -> tuple[list[tuple[object, ...]], int, int]:
    """Fields of the events, comments, and bytes that are pending, of a body in these reads."""
    decoder = Decoder("generic")
    events = [event for data in reads for event in decoder.feed(data)]
    return [tuple(fields_of(event)) for event in events if event.data != "[DONE]"], decoder.comments, decoder.pending


@pytest.mark.parametrize("style", NEWLINES)
def test_newline_styles_give_the_same_events(style: str) -> None:
    """LF, CRLF and CR mean the same.

    The body comes whole, byte by byte, or in two parts cut anywhere.
    """
    body = BODY.replace(b"\n", NEWLINES[style])
    assert read([body]) == (EXPECTED, 3, 0)
    assert read([body[i : i + 1] for i in range(len(body))]) == (EXPECTED, 3, 0)
    for cut in range(len(body)):
        assert read([body[:cut], body[cut:]]) == (EXPECTED, 3, 0), f"cut at {cut}"


def test_mixed_newlines_are_accepted() -> None:
    """A line may end in one way and the next in another, the empty line that ends an event included."""
    body = b"data: a\r\n\ndata: b\n\rdata: c\r\rdata: d\n\r\ndata: e\r\ndata: f\n\n"
    expected = [("message", data, None, None) for data in ("a", "b", "c", "d", "e\nf")]
    for cut in range(len(body)):
        assert read([body[:cut], body[cut:]])[0] == expected, f"cut at {cut}"


@settings(deadline=None, max_examples=400)
@given(BODIES, CUTS)
def test_any_split_gives_what_the_standard_says(body: bytes, cuts: list[int]) -> None:
    """For any bytes in any pieces, the events and the comments are those of the standard."""
    expected, comments = by_the_standard(body)
    events, counted, _ = read(pieces(body, cuts))
    ended = next((place for place, fields in enumerate(expected) if fields.data.strip() == "[DONE]"), None)
    assert events == [tuple(fields) for fields in expected[:ended]]
    assert ended is not None or counted == comments


@settings(deadline=None, max_examples=300)
@given(BODIES, CUTS, st.integers(min_value=1, max_value=40))
def test_any_split_hits_the_size_limit_alike(body: bytes, cuts: list[int], most: int) -> None:
    """Blocks, comments, the rest and the overflow do not depend on how the bytes were split."""
    whole, split = Framer(most), Framer(most)
    blocks = whole.feed(body)
    assert [block for data in pieces(body, cuts) for block in split.feed(data)] == blocks
    assert (split.overflow, split.comments, split.pending) == (whole.overflow, whole.comments, whole.pending)
    # A bad byte takes three as U+FFFD.
    assert all(len(block) - 2 <= 3 * most for block in blocks)


@settings(deadline=None, max_examples=300)
@given(BODIES, CUTS)
def test_every_block_is_utf8_with_lf_and_one_empty_line(body: bytes, cuts: list[int]) -> None:
    """Every block is valid UTF-8 with LF only, and ends with an empty line.

    It has neither another empty line nor a comment.
    """
    framer = Framer()
    for data in pieces(body, cuts):
        for block in framer.feed(data):
            assert block.endswith(b"\n\n")
            assert b"\r" not in block
            assert all(line.startswith((b"data", b"event", b"id", b"retry")) for line in block[:-2].split(b"\n"))
            block.decode()


def test_lone_cr_does_not_hold_an_event_back() -> None:
    """A CR at the end of a read ends the event at once.

    An LF in the next read is the second half of its line end.
    """
    framer = Framer()
    assert framer.feed(b"data: a\r\n\r") == [b"data: a\n\n"]
    assert framer.feed(b"\ndata: b\r\r") == [b"data: b\n\n"]
    assert framer.feed(b"\n") == []
    assert framer.feed(b"data: c\n\n") == [b"data: c\n\n"]
    assert framer.pending == 0


def test_byte_order_mark_only_at_the_start() -> None:
    """A BOM is dropped at the very start of a body, also when it is split, and nowhere else."""
    framer = Framer()
    assert [framer.feed(data) for data in (b"\xef", b"\xbb", b"\xbf")] == [[], [], []]
    assert framer.pending == 0
    assert framer.feed(b"data: a\n\n\xef\xbb\xbfdata: b\n\n") == [b"data: a\n\n"]


def test_part_of_a_byte_order_mark_is_pending() -> None:
    """A possible beginning of a BOM counts as pending, and becomes data if no BOM follows."""
    framer = Framer()
    assert framer.feed(b"\xef\xbb") == []
    assert framer.pending == 2
    assert framer.feed(b"data: a\n\ndata: b\n\n") == [b"data: b\n\n"]


def test_bad_bytes_are_replaced() -> None:
    """Bytes that are no UTF-8 become U+FFFD and cost neither the event nor its neighbours."""
    body = b"data: a\xff\xfeb\n\ndata: \xe2\x82\n\ndata: fine\n\n"
    assert read([body])[0] == [
        ("message", "a\ufffd\ufffdb", None, None),
        ("message", "\ufffd", None, None),
        ("message", "fine", None, None),
    ]


def test_unterminated_block_is_never_dispatched() -> None:
    """Without its empty line an event is never delivered; its bytes count as pending."""
    body = b"event: x\ndata: hello"
    for size in range(1, len(body)):
        framer = Framer()
        assert framer.feed(body[:size]) == []
        assert framer.pending == size


def test_comments_never_pile_up() -> None:
    """Comment lines that no empty line ever ends are dropped as they come: for ever, within any limit."""
    framer = Framer(max_event=32)
    for _ in range(1000):
        assert framer.feed(b": still here\n") == []
    assert framer.feed(b": half") == []
    assert (framer.comments, framer.pending, framer.overflow) == (1000, 6, False)
    assert framer.feed(b"\ndata: a\n\n") == [b"data: a\n\n"]
    assert framer.comments == 1001


def test_empty_lines_and_comments_between_blocks() -> None:
    """Any number of empty lines and comments may stand between blocks.

    This holds also when the last comment goes on.
    """
    framer = Framer()
    assert framer.feed(b"\n\n\ndata: a\n\n\ndata: b\n\n: c\n: d") == [b"data: a\n\n", b"data: b\n\n"]
    assert (framer.comments, framer.pending) == (1, 3)
    assert framer.feed(b"e\ndata: f\n\n\n") == [b"data: f\n\n"]
    assert (framer.comments, framer.pending) == (2, 0)


def test_an_event_beyond_the_size_limit_overflows() -> None:
    """An event of exactly the limit passes.

    One byte more, complete or not, overflows and keeps what came before.
    """
    event = b"data: " + b"x" * 94
    assert Framer(100).feed(event + b"\n\n") == [event + b"\n\n"]
    for tail in (b"x\n\n", b"x"):
        framer = Framer(100)
        assert framer.feed(b"data: a\n\n" + event + tail) == [b"data: a\n\n"]
        assert (framer.overflow, framer.pending) == (True, 0)
        assert framer.feed(b"\n\ndata: b\n\n") == []


def test_size_limit_where_a_read_ends() -> None:
    """The limit holds for a block whose empty line is split between reads.

    It holds for a comment without an end as well.
    """
    framer = Framer(4)
    assert framer.feed(b":a\nid: 1234") + framer.feed(b"\n") + framer.feed(b"\n") == []
    assert framer.overflow
    for reads in ((b": endless",), (b": end\nless",), (b":", b" endless\n")):
        framer = Framer(4)
        assert [framer.feed(data) for data in reads][-1] == []
        assert (framer.overflow, framer.comments) == (True, 0)


@pytest.mark.parametrize(("size", "step"), [(MIB // 4, 1), (MIB, 7), (16 * MIB - 6, 65536)])
def test_work_is_linear(size: int, step: int) -> None:
    """A large event in small pieces is searched once: as many bytes as it has, not their square."""
    framer = Framer()
    body = b"data: " + b"x" * size + b"\n\n"
    blocks = [block for start in range(0, len(body), step) for block in framer.feed(body[start : start + step])]
    assert blocks == [body]
    assert framer.scanned <= 2 * len(body)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_work_is_linear_in_lines(ending: bytes) -> None:
    """An event of very many lines, and as many comments, takes work in proportion to its size."""
    count = 100_000
    decoder = Decoder("generic")
    body = (b"data: abc" + ending + b":" + ending) * count + ending
    events = [event for start in range(0, len(body), 65536) for event in decoder.feed(body[start : start + 65536])]
    assert [event.data for event in events] == ["\n".join(["abc"] * count)]
    assert decoder.comments == count


def test_many_lines_read_like_few() -> None:
    """An event that is handed over in groups of lines has the same fields as one that is not."""
    data = [f"data: {number}" for number in range(1000)]
    others = ["event: a", "id: 1", "retry: 5", "event: b", "retry: x", "id: 2\0", "id: 3"]
    block = "\n".join([*data[:500], *others, *data[500:]]) + "\n\n"
    assert len(block) > 4096
    assert read([block.encode()])[0] == [("b", "\n".join(map(str, range(1000))), "3", 5)]


def test_empty_lines_of_data_survive_in_groups() -> None:
    """Data of nothing but empty lines keeps every one of them."""
    assert read([b"data\n" * 2000 + b"\n"])[0] == [("message", "\n" * 1999, None, None)]


def test_one_parser_reads_batch_after_batch() -> None:
    """The parser can be used again after a batch."""
    fields = Fields()
    assert [event.data for event in fields.parse([b"data: a\nid: 1\n\n", b"data: b\n\n"])] == ["a", "b"]
    assert [event.data for event in fields.parse([b"data: c\n\n"])] == ["c"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("1500", 1500), ("", None), ("-1", None), ("1.5", None), ("١", None), ("9" * 16, None), ("1e3", None)],
)
def test_retry_is_ascii_digits_or_ignored(text: str, expected: int | None) -> None:
    """``retry`` is a number of ASCII digits or nothing."""
    assert milliseconds(text) == expected


def test_no_line_of_a_stream_reaches_a_log(caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at its most talkative, no line of a stream is written to a log.

    llmwatch's logger is silent.
    """
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("sseclient").setLevel(logging.DEBUG)
        read(
            [b"data: secret one\n\nsecret two\nsecret: three\ndata: secret four\n\n" + b"data: secret\n" * 1000 + b"\n"]
        )
    logging.getLogger("sseclient").setLevel(logging.NOTSET)
    assert "secret" not in caplog.text
    assert [record.name for record in caplog.records if record.name.startswith("llmwatch")] == []


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from([b'{"a":1}', b"x", b"\n", b"\r\n", b"\r", b" ", b"\xff", b"\xef\xbb\xbf"])).map(b"".join),
    CUTS,
)
def test_lines_are_the_same_however_they_are_split(body: bytes, cuts: list[int]) -> None:
    """JSON lines, too, do not depend on how the bytes were split, and are valid UTF-8 without line ends."""
    whole, split = LineFramer(), LineFramer()
    found = whole.feed(body)
    assert [line for data in pieces(body, cuts) for line in split.feed(data)] == found
    assert (split.pending, split.rest()) == (whole.pending, whole.rest())
    assert all(line.strip() and not {10, 13} & set(line) for line in found)


def test_a_line_beyond_the_limit_overflows() -> None:
    """A line beyond the limit overflows, complete or not."""
    for tail in (b"x\n", b"x"):
        framer = LineFramer(10)
        assert framer.feed(b"a\n" + b"x" * 10 + tail) == [b"a"]
        assert framer.overflow
        assert framer.feed(b"\nb\n") == []


def test_long_line_is_linear() -> None:
    """A long line in pieces is searched once."""
    framer = LineFramer()
    body = b"x" * (MIB // 4) + b"\n"
    assert [line for start in range(len(body)) for line in framer.feed(body[start : start + 1])] == [body[:-1]]
    assert framer.scanned <= 2 * len(body)
