"""Answers with one damaged byte, in any pieces and cut anywhere.

They give events or llmwatch's own errors, and no false end."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmwatch.engine.collecting import CollectingCall
from llmwatch.errors import LLMWatchError
from llmwatch.policy import Retry
from llmwatch.recovery import EntryPoint
from llmwatch.wire import Collector, Decoder, Event
from tests.engine.fakes import Answer, Studio
from tests.replay.reading import of_bytes
from tests.replay.streams import STREAMS, Stream
from tests.wire.streams import pieces

HOST = "https://provider.example"
READ = [name for name in STREAMS if not STREAMS[name].unread]
"""The streams of which a dialect knows the end."""


@dataclass(frozen=True)
class Damage:
    """One byte that is replaced, left out, or put in before another."""

    place: int
    byte: int
    how: str

    def of(self, body: bytes) -> bytes:
        """The damaged ``body``."""
        if not body:
            return body
        place = self.place % len(body)
        kept = body[place + 1 :] if self.how != "insert" else body[place:]
        return body[:place] + (b"" if self.how == "drop" else bytes([self.byte])) + kept


# Bytes that mean something in a stream, and any other.
BYTES = st.sampled_from(list(b'\n\r:{}[]",\\d 0\x00\xff')) | st.integers(0, 255)
DAMAGES = st.builds(Damage, st.integers(0, 2**16), BYTES, st.sampled_from(["replace", "insert", "drop"]))
# DashScope writes "null".
WORD = re.compile('"finish_reason": ?"(?!null")')
CUTS = st.lists(st.integers(0, 2**16), max_size=6)
law = settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])


@functools.cache
def before_its_end(name: str) -> bytes:
    """The parts of a body before the one that tells its reason, or its usage where it has no reason."""
    stream, read = STREAMS[name], b""
    for part in stream.parts:
        usage, finish = of_bytes(stream, read + part)
        if (stream.finish and finish == stream.finish) or (not stream.finish and usage and usage == stream.usage):
            return read
        read += part
    return read.removesuffix(stream.parts[-1])


@dataclass(frozen=True)
class Cut:
    """Where a body ends before its reason: at any byte, or ``between`` two of its parts, in good order."""

    place: int
    between: bool

    def of(self, name: str) -> bytes:
        """The beginning of the body."""
        whole, ends = before_its_end(name), [0]
        for part in STREAMS[name].parts:
            ends.append(ends[-1] + len(part))
        ends = [end for end in ends if end <= len(whole)]
        return whole[: ends[self.place % len(ends)] if self.between else self.place % (len(whole) + 1)]


ENDS = st.builds(Cut, st.integers(0, 2**16), st.booleans())


class Read:
    """A body, read in these pieces to a clean end."""

    def __init__(self, stream: Stream, body: list[bytes]) -> None:
        self.decoder = Decoder(url=HOST + stream.path, content_type=stream.content_type)
        self.events: list[Event] = []
        for data in body:
            self.events += self.decoder.feed(data)
        self.events += self.decoder.end()
        self.collector = Collector()
        for event in self.events:
            self.collector.add(event)
        self.error = self.decoder.verdict_at_end()
        if self.error is None:
            self.collector.end()


def may_be_whole(read: Read) -> bool:
    """Whether damage has made an end of what was none."""
    return read.decoder.dialect == "generic" or any(WORD.search(event.data) for event in read.events)


@law
@given(st.sampled_from(list(STREAMS)), DAMAGES, CUTS)
def test_one_damaged_byte_gives_events_or_an_error_of_llmwatch(name: str, damage: Damage, cuts: list[int]) -> None:
    """Whatever the byte, and in any pieces: the same events, the same verdict, and whole calls."""
    stream = STREAMS[name]
    body = damage.of(stream.body)
    whole, split = Read(stream, [body]), Read(stream, pieces(body, cuts))
    assert split.events == whole.events
    assert (type(split.error), str(split.error)) == (type(whole.error), str(whole.error))
    assert whole.error is None or isinstance(whole.error, LLMWatchError)
    assert whole.collector.text == split.collector.text
    assert all(call.name and isinstance(call.json(), dict) for call in whole.collector.tool_calls)


@law
@given(st.sampled_from(READ), ENDS, DAMAGES, CUTS)
def test_no_damaged_byte_makes_a_cut_answer_whole(name: str, cut: Cut, damage: Damage, cuts: list[int]) -> None:
    """A body that ends before its reason is an error, with any byte of it damaged.

    There are two exceptions. Damage in the first event may hide the dialect, and a stream of no dialect ends with its
    body. And a provider that writes the missing reason as a word has a reason once a byte of the word is another.
    """
    body = damage.of(cut.of(name))
    read = Read(STREAMS[name], pieces(body, cuts))
    assert isinstance(read.error, LLMWatchError) or may_be_whole(read), body
    assert not read.decoder.settled


@settings(law, max_examples=100)
@given(st.sampled_from(READ), st.none() | ENDS, st.none() | DAMAGES, CUTS, st.booleans())
def test_a_call_ends_whatever_its_body_is(
    monkeypatch: pytest.MonkeyPatch, name: str, cut: Cut | None, damage: Damage | None, cuts: list[int], stream: bool
) -> None:
    """A call returns, or raises an error of llmwatch; it returns only if the body came to its reason.

    The exceptions are those of the test above.
    """
    answer = STREAMS[name]
    body = answer.body if cut is None else cut.of(name)
    body = body if damage is None else damage.of(body)
    reply = Answer(pieces=[data for data in pieces(body, cuts) if data], headers={"content-type": answer.content_type})
    how = EntryPoint.STREAM if stream else EntryPoint.COLLECT
    with monkeypatch.context() as patch:
        studio = Studio(patch)
        call, _ = studio.call(reply, retry=Retry.none(), url=HOST + answer.path, entry_point=how)
        try:
            if isinstance(call, CollectingCall):
                call.begin()
                call.answer()
            else:
                studio.drain(call)
        except LLMWatchError:
            returned = False
        else:
            returned = True
        finally:
            call.close()
            studio.time.end()
    if returned and cut is not None:
        assert may_be_whole(Read(answer, [body])), "an answer without an end was returned"
    assert returned or cut is not None or damage is not None
