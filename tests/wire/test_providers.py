"""What the decoder makes of each provider's healthy answer, and of the same answer cut."""

from __future__ import annotations

import pytest

from llmwatch.wire import Collector, Decoder, Event
from tests.rows import each
from tests.wire.providers import ANSWERS, FRAMES, Answer, data

HOST = "https://provider.example"


def decode(answer: Answer, reads: list[bytes], *, url: str = "", content_type: str | None = None) -> Decoded:
    """The events of these reads of a body that ends cleanly."""
    kind = answer.content_type if content_type is None else content_type
    decoder = Decoder(url=url, content_type=kind)
    events = [event for data in reads for event in decoder.feed(data)]
    return Decoded(decoder, [*events, *decoder.end()])


class Decoded:
    """A body, decoded to its end."""

    def __init__(self, decoder: Decoder, events: list[Event]) -> None:
        self.decoder = decoder
        self.events = events
        self.error = decoder.verdict_at_end()
        self.collector = Collector()
        for event in events:
            self.collector.add(event)
        if self.error is None:
            self.collector.end()

    @property
    def summary(self) -> tuple[object, ...]:
        """The compared values: everything that a caller sees."""
        calls = tuple((call.id, call.name, call.json()) for call in self.collector.tool_calls)
        usage = next((event.usage for event in reversed(self.events) if event.usage), None)
        return self.collector.text, self.collector.reasoning, calls, usage, type(self.error)


def expected(answer: Answer) -> tuple[object, ...]:
    """The summary of the whole answer."""
    return answer.text, answer.reasoning, answer.calls, answer.usage, type(None)


@each("name", ANSWERS)
def test_a_healthy_answer_is_read_whole(name: str) -> None:
    """Text, reasoning, calls and usage are the provider's, and the dialect is found without an address."""
    answer = ANSWERS[name]
    decoded = decode(answer, [answer.body])
    assert decoded.decoder.dialect == answer.dialect
    assert decoded.summary == expected(answer)
    assert decoded.collector.discarded_calls == 0


@each("name", ANSWERS)
def test_the_address_gives_the_dialect_of_the_first_event(name: str) -> None:
    """The answer is read alike with and without its URL."""
    answer = ANSWERS[name]
    decoded = decode(answer, [answer.body], url=HOST + answer.path)
    assert decoded.decoder.dialect == answer.dialect
    assert decoded.summary == expected(answer)


@pytest.mark.parametrize("name", [name for name in ANSWERS if ANSWERS[name].content_type != FRAMES])
def test_an_unknown_content_type_is_accepted(name: str) -> None:
    """Events and lines are told apart by their first bytes."""
    answer = ANSWERS[name]
    assert decode(answer, [answer.body], content_type="text/plain").summary == expected(answer)


@each("name", ANSWERS)
def test_a_cut_answer_is_never_whole(name: str) -> None:
    """At every byte before its marks the answer is an error.

    None of its calls that was open comes out.
    """
    answer = ANSWERS[name]
    # What says that the answer is over: the last part, or the last but one where usage follows a finish mark.
    marks = {"cohere": 2, "bedrock": 2, "bedrock-tools": 2, "bedrock-messages": 2, "bedrock-nova": 2}.get(name, 1)
    before = len(b"".join(answer.parts[:-marks]))
    for cut in range(1, before + 1, 1 if before < 1500 else 3):
        decoded = decode(answer, [answer.body[:cut]], url=HOST + answer.path)
        assert decoded.error is not None, f"cut at {cut}"
        assert decoded.collector.tool_calls == (), f"cut at {cut}"
        assert not decoded.decoder.terminal


CHAT = f"{HOST}/llm/lmapi/v1/chat/completions"
OTHERS = [name for name in ANSWERS if ANSWERS[name].content_type == "text/event-stream" and "snowflake" not in name]


@each("name", OTHERS)
@each("before", [b"", b": hello\n\nevent: ping\ndata: {}\n\n"], ids=["", "ping"])
def test_a_first_event_corrects_what_the_address_suggests(name: str, before: bytes) -> None:
    """A provider that answers in its own way at an address of another one is read as what it is."""
    answer = ANSWERS[name]
    decoded = decode(answer, [before, answer.body], url=CHAT)
    assert decoded.decoder.dialect == answer.dialect
    assert decoded.summary == expected(answer)


@each(
    "first",
    [
        {"error": {"message": "no"}},
        {"type": "error", "error": {"type": "t", "message": "no"}},
        {"novel": 1},
        {"usage": {}},
    ],
)
@each("path", ["/v1/messages", "/v1/responses", "/v1/chat/completions", "/v2/chat"])
def test_an_error_or_an_unknown_shape_corrects_nothing(path: str, first: dict[str, object]) -> None:
    """An event that looks alike in several dialects is read in the dialect of the address."""
    decoder, other = Decoder(url=HOST + path), Decoder(url=HOST + path)
    dialect = decoder.dialect
    decoder.feed(data(first))
    other.feed(data(first, "error"))
    assert decoder.dialect == other.dialect == dialect


def test_a_dialect_set_by_the_user_stays() -> None:
    """A dialect that the user has set is never replaced."""
    decoder = Decoder("openai-chat", url=HOST)
    decoder.feed(ANSWERS["baidu"].body)
    assert decoder.dialect == "openai-chat"
