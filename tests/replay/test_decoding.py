"""Whole streams of many providers and servers, cut at every byte: the same events, and what they say."""

from __future__ import annotations

import itertools

from llmwatch.errors import LLMWatchError
from llmwatch.wire import Collector, Decoder, Event
from tests.replay.failures import FAILURES
from tests.replay.reading import expected, of_bytes, of_events
from tests.replay.streams import STREAMS, Stream
from tests.rows import each

HOST = "https://provider.example"


def decode(stream: Stream, *reads: bytes) -> list[Event]:
    """The events of a body that came in these reads and was whole."""
    decoder = Decoder(url=HOST + stream.path, content_type=stream.content_type)
    events = [event for data in reads for event in decoder.feed(data)]
    events += decoder.end()
    assert decoder.verdict_at_end() is None
    return events


def test_the_table_is_wide() -> None:
    """Forty healthy streams of twenty-five providers and servers or more, and forty failures.

    Each healthy stream has its source.
    """
    assert len(STREAMS) >= 40
    assert len({stream.provider for stream in STREAMS.values()}) >= 25
    assert all(stream.source for stream in STREAMS.values())
    assert len(FAILURES) >= 40


@each("name", STREAMS)
def test_a_stream_says_what_is_written_down(name: str) -> None:
    """Text, reasoning, calls, usage and the reason, whole and read by hand."""
    stream = STREAMS[name]
    assert of_events(decode(stream, stream.body)) == expected(stream)
    assert of_bytes(stream, stream.body) == (stream.usage, stream.finish)


_APART = 64
"""Bytes between two cuts of one body.

What is carried over a cut is the beginning of one line or frame, and each body that is cut so has its cuts at other
bytes: together they have one at every byte.
"""


@each("name", STREAMS)
def test_every_split_gives_the_same_events(name: str) -> None:
    """Cut at each of its bytes a body gives the events that it gives whole, and so it does byte by byte."""
    stream = STREAMS[name]
    body = stream.body
    whole = decode(stream, body)
    for first in range(1, _APART + 1):
        cuts = [0, *range(first, len(body), _APART), len(body)]
        assert decode(stream, *[body[start:end] for start, end in itertools.pairwise(cuts)]) == whole, f"cut at {cuts}"
    assert decode(stream, *[body[at : at + 1] for at in range(len(body))]) == whole


@each("name", [name for name in STREAMS if not STREAMS[name].unread])
def test_the_first_parts_of_an_answer_are_no_answer(name: str) -> None:
    """A body that ends in good order before its reason is an error.

    It ends after any of the parts before its reason, or before its usage where it has no reason. However it ends then,
    no call comes out of it.
    """
    stream = STREAMS[name]
    read = b""
    for part in stream.parts[:-1]:
        read += part
        usage, finish = of_bytes(stream, read)
        if (stream.finish and finish == stream.finish) or (not stream.finish and usage and usage == stream.usage):
            return
        decoder = Decoder(url=HOST + stream.path, content_type=stream.content_type)
        collector = Collector()
        for event in [*decoder.feed(read), *decoder.end()]:
            collector.add(event)
        assert isinstance(decoder.verdict_at_end(), LLMWatchError), read
        assert not decoder.settled
        assert collector.tool_calls == ()


@each("name", FAILURES)
def test_a_failure_is_one_in_whatever_pieces_it_comes(name: str) -> None:
    """An error where the body ended in good order, and never settled where it was cut.

    The body comes whole and byte by byte.
    """
    failure = FAILURES[name]
    for size in (len(failure.body) or 1, 1):
        decoder = Decoder(url=HOST + failure.path, content_type=failure.content_type)
        for start in range(0, len(failure.body), size):
            decoder.feed(failure.body[start : start + size])
        decoder.end(clean=failure.ends == "clean")
        if failure.ends == "clean":
            assert type(decoder.verdict_at_end()) is failure.error
        else:
            assert not decoder.settled
