"""SGLang's own events."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch.errors import ProviderError, StreamTruncated
from llmwatch.wire import Decoder, Event, Kind
from tests.wire.streams import sse

STOP = {"type": "stop", "matched": 2}


def said(text: str, tokens: int = 1, reason: Any = None, **more: Any) -> dict[str, Any]:
    info = {"id": "q", "finish_reason": reason, "prompt_tokens": 5, "completion_tokens": tokens}
    return {"text": text, "meta_info": info, **more}


def read(*items: Any, choices: int = 1) -> tuple[str, list[Event], Decoder]:
    """The text and the events at their clean end."""
    decoder = Decoder(choices=choices, content_type="text/event-stream")
    events = [*decoder.feed(sse(*items)), *decoder.end()]
    return "".join(event.text for event in events), events, decoder


def test_kinds_of_a_whole_answer() -> None:
    """New text is text, and an event without growth a keep-alive.

    The reason is the finish mark, ``[DONE]`` the end.
    """
    text, events, decoder = read(said("a"), said("a", 2), said("ab", 3), said("ab", 4, STOP), "[DONE]")
    assert [event.kind for event in events[:3]] == [Kind.TEXT, Kind.KEEPALIVE, Kind.TEXT]
    assert [event.finish for event in events] == [False, False, False, True, False]
    assert (text, decoder.dialect, decoder.settled, decoder.output_tokens) == ("ab", "sglang", True, 4)


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ((said("a"), said("ab", 2), said("ab", 3, STOP)), "ab"),
        ((said("a"), said("b", 2), said("a", 3), said("", 4, STOP)), "aba"),
        # Fewer tokens than there are by now.
        ((said("ha", 1, output_ids=[1]), said("ha", 2, output_ids=[1]), said("", 3, STOP, output_ids=[2])), "haha"),
        ((said("ha", 1, output_ids=[1]), said("haha", 2, output_ids=[1, 1]), said("haha", 3, STOP)), "haha"),
        # A character of several tokens.
        ((said("a\ufffd"), said("a語", 3), said("a語", 4, STOP)), "a語"),
        ((said("a"), said("a\ufffd", 2, STOP)), "a\ufffd"),
    ],
)
def test_pieces_and_restatements_are_told_apart(items: tuple[Any, ...], text: str) -> None:
    """Whether events say more or everything again, the text comes once."""
    found, _, decoder = read(*items, "[DONE]")
    assert (found, decoder.contradictions, decoder.settled) == (text, 0, True)


def test_a_contradicting_restatement_is_counted() -> None:
    """The text that came first stays."""
    found, _, decoder = read(said("a"), said("ab", 2), said("xy", 3), said("abc", 4, STOP), "[DONE]")
    assert (found, decoder.contradictions) == ("abc", 1)


@pytest.mark.parametrize("items", [(said("a"),), (said("a"), said("ab", 2)), (said("a", 1, STOP), said("ab", 2))])
def test_an_answer_without_its_reason_is_cut(items: tuple[Any, ...]) -> None:
    """An answer without a reason is cut, even if events follow."""
    assert isinstance(read(*items)[2].verdict_at_end(), StreamTruncated)


@pytest.mark.parametrize(("kind", "cut"), [("stop", False), ("length", True), ("abort", True)])
def test_a_limit_cuts_an_answer(kind: str, cut: bool) -> None:
    """An abort without a reason cuts it too."""
    _, events, decoder = read(said("a"), said("a", 2, {"type": kind}))
    assert (events[-1].cut, decoder.verdict_at_end()) == (cut, None)


def test_an_abort_with_a_message_is_an_error() -> None:
    """The error has the provider's words and its code."""
    reason = {"type": "abort", "message": "the input is too long", "status_code": 400, "err_type": "BadRequestError"}
    error = read(said("a"), said("a", 2, reason), "[DONE]")[2].error
    assert isinstance(error, ProviderError)
    assert ("too long" in str(error), error.code, error.type) == (True, "400", "BadRequestError")


def test_each_requested_answer_has_to_end() -> None:
    """Each restates its own."""
    items = [said("a", 1, index=0), said("x", 1, index=1), said("ab", 2, STOP, index=0)]
    text, _, decoder = read(*items, choices=2)
    assert (text, type(decoder.verdict_at_end())) == ("axb", StreamTruncated)
    text, _, decoder = read(*items, said("xy", 2, STOP, index=1), choices=2)
    assert (text, decoder.verdict_at_end()) == ("axby", None)


@pytest.mark.parametrize("item", [{"text": "a"}, {"text": "a", "meta_info": 3}, {"meta_info": {}}])
def test_a_wire_without_text_and_meta_info_is_not_sglang(item: dict[str, Any]) -> None:
    """Text beside its information shows it, and nothing less."""
    assert read(item)[2].dialect == "generic"
