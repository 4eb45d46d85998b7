"""Blocks to fields."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sseclient import SSEClient

from llmwatch.wire import event
from llmwatch.wire.event import Fields, milliseconds
from llmwatch.wire.framing import Framer

LONG = "long" * 2000
BODY = (
    "data: one\n\n"
    "event: two\ndata: a\ndata: b\n\n"
    ": nothing\n\n"
    "event: three\r\nid: 7\r\nretry: 20\r\ndata:\r\n\r\n"
    "data: \u2028\x0b\x85 in its line\n\n"
    f"data: {LONG}\n\n" + "data: line\n" * 600 + "\n"
).encode()
EVENTS = [
    ("message", "one", None, None),
    ("two", "a\nb", None, None),
    ("three", "", "7", 20),
    ("message", "\u2028\x0b\x85 in its line", None, None),
    ("message", LONG, None, None),
    ("message", "\n".join(["line"] * 600), None, None),
]


def fields_of(body: bytes) -> list[tuple[str, str, str | None, int | None]]:
    """The fields of each event of a body."""
    return [(event.event, event.data, event.id, event.retry) for event in Fields().parse(Framer().feed(body))]


def test_sseclient_finds_the_same_with_and_without_its_own_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """sseclient-py gets the same out of whole blocks with its own reading and without."""
    assert fields_of(BODY) == EVENTS
    monkeypatch.delattr(event._Client, "_read")
    assert event._Client._read is SSEClient._read
    assert fields_of(BODY) == EVENTS


_NAMES = st.sampled_from(["data", "event", "id", "retry"])
_VALUES = st.sampled_from(["", " ", "  ", "a", " a", " a: b", "\t", "1500", " [DONE]", "\u2028\x85é", ":", "data: x"])
_LINES = st.tuples(_NAMES, st.sampled_from([":", ""]), _VALUES).map(lambda line: line[0] + (line[1] and ":" + line[2]))


@given(st.lists(st.lists(_LINES, min_size=1, max_size=4), max_size=4))
@example([["event: a", "data: b"], ["event:", "data:"], ["event", "data"], ["data: a", "event: b"]])
@settings(deadline=None)
def test_blocks_read_without_sseclient_have_the_same_fields(blocks: list[list[str]]) -> None:
    """A block gives the fields that sseclient-py finds in it, whichever of its lines there are."""
    body = "".join("\n".join(lines) + "\n\n" for lines in blocks).encode()
    framed = Framer().feed(body)
    expected = [
        (raw.event, raw.data, raw.id, None if raw.retry is None else milliseconds(raw.retry))
        for raw in SSEClient(iter(framed)).events()
    ]
    assert [(event.event, event.data, event.id, event.retry) for event in Fields().parse(framed)] == expected
