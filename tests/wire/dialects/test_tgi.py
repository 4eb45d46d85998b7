"""TGI's events, beside the whole answer in ``test_providers.py``."""

from __future__ import annotations

import pytest

from llmwatch.errors import ProviderError, StreamTruncated
from llmwatch.wire import Collector, Decoder, Event, Kind
from tests.wire.providers import TGI, data, tgi


def read(*parts: bytes) -> tuple[list[Event], Decoder, Collector]:
    """The events of these parts, at their clean end."""
    decoder = Decoder("tgi")
    events = [*decoder.feed(b"".join(parts)), *decoder.end()]
    collector = Collector()
    for event in events:
        collector.add(event)
    return events, decoder, collector


def test_kinds_of_a_whole_answer() -> None:
    """Tokens are text, special ones are not, and the last event marks the end."""
    events, decoder, _ = read(tgi(0, "<s>", special=True), TGI.body)
    assert [event.kind for event in events] == [Kind.LIFECYCLE, Kind.TEXT, Kind.TEXT, Kind.TEXT, Kind.TERMINAL]
    assert decoder.settled


def test_the_last_event_adds_only_missing_text() -> None:
    """The restated text of the last event comes once; a text that contradicts the tokens adds nothing."""
    for whole, text in (("Hello", "Hello"), ("Hel", "Hel"), ("Question? Hel", "Hel"), ("", "Hel")):
        _, decoder, collector = read(tgi(1, "Hel"), tgi(2, "</s>", special=True, whole=whole))
        assert collector.text == text
        assert decoder.contradictions == (whole.startswith("Q"))


def test_a_last_token_that_is_text_is_text() -> None:
    """If a limit ends the answer its last token is part of the text, and the answer is cut."""
    details = {"finish_reason": "length", "generated_tokens": 2, "seed": None}
    events, _, collector = read(tgi(1, "Hel"), tgi(2, "lo", whole="Hello", details=details))
    assert collector.text == "Hello"
    assert events[-1].cut


@pytest.mark.parametrize("before", [(), TGI.parts[:2]])
def test_an_error_is_raised_with_its_words_and_type(before: tuple[bytes, ...]) -> None:
    """Words and type come out, at the beginning and in the middle."""
    _, decoder, _ = read(*before, data({"error": "Request failed during generation", "error_type": "generation"}))
    assert isinstance(decoder.error, ProviderError)
    assert decoder.error.type == "generation"
    assert "Request failed" in str(decoder.error)


def test_tokens_without_the_last_event_are_cut() -> None:
    """A body that ends among the tokens is truncated, the token that ends a sequence or not."""
    _, decoder, _ = read(tgi(1, "Hel"), tgi(2, "</s>", special=True))
    assert isinstance(decoder.verdict_at_end(), StreamTruncated)
