"""Blocks to fields."""

from __future__ import annotations

import pytest
from sseclient import SSEClient

from llmwatch.wire import fields
from llmwatch.wire.fields import Fields
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
    ("three", "", "7", "20"),
    ("message", "\u2028\x0b\x85 in its line", None, None),
    ("message", LONG, None, None),
    ("message", "\n".join(["line"] * 600), None, None),
]


def fields_of(body: bytes) -> list[tuple[str, str, str | None, str | None]]:
    """What each event of a body says."""
    return [(raw.event, raw.data, raw.id, raw.retry) for raw in Fields().parse(Framer().feed(body))]


def test_blocks_that_are_not_searched_again_give_the_events_that_a_search_finds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """sseclient-py gets the same out of whole blocks with its own reading and without."""
    assert fields_of(BODY) == EVENTS
    monkeypatch.delattr(fields._Client, "_read")
    assert fields._Client._read is SSEClient._read
    assert fields_of(BODY) == EVENTS
