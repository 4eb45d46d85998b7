"""``llmwatch.client.client``: the iterator that a caller holds."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch import Cancelled, Client, Event, Stream, StreamTruncated
from tests.engine.fakes import CHUNK, DONE, URL, Answer, Studio, chunk, whole


def made(studio: Studio, *answers: Answer, **more: Any) -> tuple[Stream, list[Any]]:
    """A stream, and the senders of the calls that it has started."""
    started: list[Any] = []

    def make() -> Any:
        call, sender = studio.call(*answers, **more)
        started.append(sender)
        return call

    return Stream(make), started


def test_a_stream_starts_when_it_is_entered_or_iterated(studio: Studio) -> None:
    """A stream that is not used makes no call.

    Entering it starts a call, and iterating does not start another.
    """
    stream, started = made(studio, whole())
    assert started == []
    assert stream.record is None
    with stream as entered:
        assert entered is stream
        assert len(started) == 1
        assert "".join(event.text for event in stream) == "Yes."
    assert len(started) == 1


def test_iterating_starts_a_stream(studio: Studio) -> None:
    """No block is needed; ``next`` and ``for`` may be mixed."""
    stream, started = made(studio, whole())
    assert next(stream).text == "Yes."
    assert [type(event) for event in stream] == [Event, Event]
    assert len(started) == 1
    assert list(stream) == []
    assert stream.record is not None
    assert stream.record.outcome == "done"


def test_leaving_a_loop_and_coming_back_goes_on(studio: Studio) -> None:
    """A ``break`` out of the loop loses nothing: a second loop goes on with the next event."""
    pieces = [chunk("a"), chunk("b"), chunk("c"), chunk(finish_reason="stop"), DONE]
    stream, _ = made(studio, Answer(pieces=pieces))
    texts = []
    with stream:
        for event in stream:
            texts.append(event.text)
            break
        texts += [event.text for event in stream]
    assert texts == ["a", "b", "c", "", ""]


def test_partial_is_what_was_handed_over(studio: Studio) -> None:
    """``.partial`` of an error is the text of the events that came before it, each once."""
    stream, _ = made(studio, Answer(pieces=[chunk("a") + chunk("b"), chunk("c")]))
    with pytest.raises(StreamTruncated) as caught:
        list(stream)
    assert caught.value.partial == "abc"


def test_cancelling_discards_what_lies_ready(studio: Studio) -> None:
    """Events of a batch behind the one at which the call was cancelled do not come out.

    They are not in ``.partial`` either.
    """
    stream, _ = made(studio, Answer(pieces=[chunk("a") + chunk("b") + chunk("c")], silent=True))
    assert next(stream).text == "a"
    stream.cancel()
    with pytest.raises(Cancelled) as caught:
        next(stream)
    assert caught.value.partial == "a"
    with pytest.raises(StopIteration):
        next(stream)


@pytest.mark.parametrize("way", ["for", "next", "with"])
def test_a_stream_cancelled_before_its_start_raises(studio: Studio, way: str) -> None:
    """The first use of the stream raises ``Cancelled``, and nothing is sent."""
    stream, started = made(studio, whole())
    stream.cancel()
    with pytest.raises(Cancelled):
        {"for": lambda: list(stream), "next": lambda: next(stream), "with": stream.__enter__}[way]()
    assert all(sender.asked == [] for sender in started)


def test_a_closed_stream_is_at_its_end(studio: Studio) -> None:
    """``close()`` is no error: iteration ends, before the start as after it, and nothing more is sent."""
    stream, started = made(studio, whole())
    stream.close()
    assert list(stream) == []
    with stream:
        pass
    assert started == []
    stream, _ = made(studio, Answer(pieces=[CHUNK], silent=True))
    assert next(stream).text == "one "
    stream.close()
    assert list(stream) == []
    assert stream.record is not None
    assert stream.record.outcome == "cancelled"


def test_an_exception_in_the_block_closes_the_stream(studio: Studio) -> None:
    """The block's own exception is not replaced."""
    stream, _ = made(studio, Answer(pieces=[CHUNK], silent=True))

    def fail(event: Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), stream:
        fail(next(stream))
    assert stream.record is not None
    assert stream.record.cause == "user_cancel"


def test_dropping_a_stream_abandons_its_call(studio: Studio) -> None:
    """The finalizer takes no lock and ends the attempt."""
    stream, started = made(studio, Answer(pieces=[CHUNK], silent=True))
    assert next(stream).text == "one "
    (sender,) = started
    del stream
    assert sender.handles[0].shut_down.wait(10)


def test_a_stream_that_was_never_started_is_dropped_quietly() -> None:
    """A finalizer of a half-made object, or of one that never began, raises nothing."""
    with Client() as client:
        client.stream("POST", URL)
    Stream.__new__(Stream).__del__()
