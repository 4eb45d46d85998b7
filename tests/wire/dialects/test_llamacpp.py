"""llama.cpp's own events."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch.errors import StreamTruncated
from llmwatch.wire import Decoder, Event, Kind
from tests.wire.streams import sse


def piece(text: str, *, stop: bool = False, **more: Any) -> dict[str, Any]:
    return {"content": text, "stop": stop, **more}


def read(*items: Any, choices: int = 1) -> tuple[list[Event], Decoder]:
    """The events at their clean end."""
    decoder = Decoder(choices=choices, content_type="text/event-stream")
    return [*decoder.feed(sse(*items)), *decoder.end()], decoder


def test_kinds_of_a_whole_answer() -> None:
    """Pieces are text, and one without any is a keep-alive.

    The last event marks the end and has the counts.
    """
    last = piece("", stop=True, stop_type="word", tokens_predicted=2, tokens_evaluated=5)
    events, decoder = read(piece("a"), piece(""), piece("b"), last)
    assert [event.kind for event in events] == [Kind.TEXT, Kind.KEEPALIVE, Kind.TEXT, Kind.TERMINAL]
    assert (decoder.dialect, decoder.settled, decoder.output_tokens) == ("llamacpp", True, 2)
    assert not events[-1].cut


def test_a_last_event_with_text_adds_it() -> None:
    """The last piece may come with the mark."""
    events, decoder = read(piece("a"), piece("b", stop=True, stop_type="eos"))
    assert ("".join(event.text for event in events), decoder.settled) == ("ab", True)


@pytest.mark.parametrize("last", [{"stop_type": "limit"}, {"stopped_limit": True, "stopped_eos": False}])
def test_a_limit_cuts_an_answer(last: dict[str, Any]) -> None:
    """In the newer form and in the older one."""
    events, _ = read(piece("a"), piece("", stop=True, **last))
    assert events[-1].cut


@pytest.mark.parametrize("items", [(piece("a"),), (piece("a"), piece(""))])
def test_an_answer_without_its_last_event_is_truncated(items: tuple[Any, ...]) -> None:
    """A body that just ends is truncated."""
    assert isinstance(read(*items)[1].verdict_at_end(), StreamTruncated)


def test_each_requested_prompt_has_to_end() -> None:
    """The end of one of two is not the end, whether the other has begun or not."""
    first = (piece("a", index=0), piece("", stop=True, index=0))
    for items in (first, (piece("b", index=1), *first)):
        assert isinstance(read(*items, choices=2)[1].verdict_at_end(), StreamTruncated)
    events, decoder = read(*first, piece("b", index=1), piece("", stop=True, index=1), choices=2)
    assert ("".join(event.text for event in events), decoder.settled) == ("ab", True)


@pytest.mark.parametrize("item", [{"content": "a"}, {"content": "a", "stop": "no"}, {"stop": False}])
def test_a_wire_without_both_fields_is_not_llamacpp(item: dict[str, Any]) -> None:
    """Only both fields with values of their types show llama.cpp."""
    _, decoder = read(item)
    assert (decoder.dialect, decoder.verdict_at_end()) == ("generic", None)
