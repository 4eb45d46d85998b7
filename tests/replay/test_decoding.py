"""Whole streams of many providers and servers, cut at every byte: the same events, and what they say."""

from __future__ import annotations

import pytest

from llmwatch.wire import Decoder, Event
from tests.replay.failures import FAILURES
from tests.replay.reading import expected, of_bytes, of_events
from tests.replay.streams import STREAMS, Stream

HOST = "https://provider.example"


def decode(stream: Stream, *reads: bytes) -> list[Event]:
    """The events of a body that came in these reads and was whole."""
    decoder = Decoder(url=HOST + stream.path, content_type=stream.content_type)
    events = [event for data in reads for event in decoder.feed(data)]
    events += decoder.end()
    assert decoder.verdict_at_end() is None
    return events


def test_the_table_is_wide() -> None:
    """Forty healthy streams of twenty-five providers and servers or more, each with its source, and forty failures."""
    assert len(STREAMS) >= 40
    assert len({stream.provider for stream in STREAMS.values()}) >= 25
    assert all(stream.source for stream in STREAMS.values())
    assert len(FAILURES) >= 40


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_says_what_is_written_down(name: str) -> None:
    """Text, reasoning, calls, usage and the reason, whole and read by hand."""
    stream = STREAMS[name]
    assert of_events(decode(stream, stream.body)) == expected(stream)
    assert of_bytes(stream, stream.body) == (stream.usage, stream.finish)


@pytest.mark.parametrize("name", STREAMS)
def test_every_split_gives_the_same_events(name: str) -> None:
    """Cut in two at each of its bytes a body gives the events that it gives whole, and so it does byte by byte."""
    stream = STREAMS[name]
    body = stream.body
    whole = decode(stream, body)
    for cut in range(1, len(body)):
        assert decode(stream, body[:cut], body[cut:]) == whole, f"cut at {cut}"
    assert decode(stream, *[body[at : at + 1] for at in range(len(body))]) == whole
