"""The end of an answer, by finish marks, end marks, and the end of the body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from llmwatch.errors import EmptyStream, StreamTruncated
from llmwatch.wire import Decoder, Kind
from tests.wire.dialects.test_openai_chat import chunk
from tests.wire.streams import lines, sse

USAGE = {"prompt_tokens": 1, "completion_tokens": 2}


def named(kind: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return kind, {"type": kind, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One dialect's way to say a piece of an answer, why it ended, and that nothing follows."""

    dialect: str
    said: bytes
    more: bytes
    finish: bytes = b""
    end: bytes = b""


def said(text: str) -> bytes:
    return sse(named("content_block_delta", index=0, delta={"type": "text_delta", "text": text}))


def part(text: str, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": text}]}, **more}]}


WIRES = (
    Wire(
        dialect="openai-chat",
        said=sse(chunk({"content": "a"})),
        more=sse(chunk({"content": "b"})),
        finish=sse(chunk(None, "stop")),
        end=sse("[DONE]"),
    ),
    Wire(
        dialect="anthropic",
        said=sse(named("content_block_start", index=0, content_block={"type": "text", "text": ""})) + said("a"),
        more=said("b"),
        finish=sse(
            named("content_block_stop", index=0), named("message_delta", delta={"stop_reason": "end_turn"}, usage={})
        ),
        end=sse(named("message_stop")),
    ),
    Wire(
        dialect="openai-responses",
        said=sse(named("response.output_text.delta", output_index=0, delta="a")),
        more=sse(named("response.output_text.delta", output_index=0, delta="b")),
        end=sse("[DONE]"),
    ),
    Wire(dialect="gemini", said=sse(part("a")), more=sse(part("b")), finish=sse(part("", finishReason="STOP"))),
    Wire(
        dialect="ndjson",
        said=lines({"message": {"content": "a"}, "done": False}),
        more=lines({"message": {"content": "b"}, "done": False}),
        finish=lines({"message": {"content": ""}, "done_reason": "stop"}),
        end=lines({"done": True}),
    ),
    Wire(dialect="generic", said=sse("a"), more=sse("b"), end=sse("[DONE]")),
)
MARKED = [wire for wire in WIRES if wire.finish]
ENDED = [wire for wire in WIRES if wire.end]


def named_by(wires: list[Wire] | tuple[Wire, ...]) -> Any:
    return pytest.mark.parametrize("wire", wires, ids=[wire.dialect for wire in wires])


def fed(wire: Wire, *pieces: bytes) -> Decoder:
    decoder = Decoder(wire.dialect)
    for piece in pieces:
        decoder.feed(piece)
    return decoder


def text_of(wire: Wire, body: bytes) -> str:
    return "".join(event.text for event in Decoder(wire.dialect).feed(body))


def at_clean_end(decoder: Decoder) -> object:
    decoder.end()
    return type(decoder.verdict_at_end())


@named_by([wire for wire in WIRES if wire.finish and wire.end])
def test_both_marks_settle_the_answer(wire: Wire) -> None:
    """With a finish mark and an end mark the answer is whole, however its body ends."""
    decoder = fed(wire, wire.said, wire.finish, wire.end)
    assert (decoder.terminal, decoder.settled, decoder.error) == (True, True, None)


@named_by(MARKED)
def test_a_finish_mark_is_enough_for_a_clean_end(wire: Wire) -> None:
    """A body that ends cleanly after its finish mark is whole, and its timer may run before."""
    decoder = fed(wire, wire.said, wire.finish)
    assert (decoder.finished, decoder.finishing, decoder.terminal) == (True, True, False)
    assert at_clean_end(decoder) is type(None)


@named_by(MARKED)
def test_content_after_a_finish_mark_takes_it_back(wire: Wire) -> None:
    """Content after the mark is delivered; without another mark the clean end is a truncation."""
    decoder = Decoder(wire.dialect)
    events = decoder.feed(wire.said + wire.finish + wire.more)
    assert "".join(event.text for event in events) == "ab"
    assert (decoder.finished, decoder.finishing) == (False, False)
    assert at_clean_end(decoder) is StreamTruncated


@named_by(MARKED)
def test_a_second_finish_mark_starts_no_timer(wire: Wire) -> None:
    """A mark that was early once may be early again: the table still holds, the timer is not started."""
    decoder = fed(wire, wire.said, wire.finish, wire.more, wire.finish)
    assert (decoder.finished, decoder.finishing) == (True, False)
    assert at_clean_end(decoder) is type(None)


@named_by([wire for wire in MARKED if wire.dialect not in ("anthropic", "gemini")])
def test_a_finish_mark_before_any_content_is_none(wire: Wire) -> None:
    """The mark ends nothing and starts no limit, and the content after it counts as the first."""
    decoder = fed(wire, wire.finish)
    assert (decoder.finished, decoder.finishing, decoder.accepts_eof) == (False, False, False)
    decoder.feed(wire.said)
    assert at_clean_end(decoder) is StreamTruncated
    decoder = fed(wire, wire.finish, wire.said, wire.finish)
    assert (decoder.finished, decoder.finishing) == (True, True)


@named_by(ENDED)
def test_an_end_mark_alone_waits_for_the_end_of_the_body(wire: Wire) -> None:
    """The answer is whole with a clean end of the body.

    It is not settled before, because a cut can still come.
    """
    decoder = fed(wire, wire.said, wire.end)
    assert (decoder.terminal, decoder.settled, decoder.error) == (True, False, None)
    assert at_clean_end(decoder) is type(None)


@named_by(ENDED)
def test_an_end_mark_with_nothing_in_front_of_it_is_empty(wire: Wire) -> None:
    """An end mark without content and without a reason before it is no answer."""
    decoder = fed(wire, wire.end)
    assert (decoder.terminal, decoder.settled, type(decoder.error)) == (True, False, EmptyStream)


def test_both_marks_with_nothing_in_front_are_an_empty_answer() -> None:
    """The provider says why there is nothing."""
    decoder = Decoder("openai-chat")
    decoder.feed(sse(chunk(None, "stop"), "[DONE]"))
    assert (decoder.settled, decoder.error, decoder.verdict_at_end()) == (True, None, None)


@pytest.mark.parametrize(("reason", "end"), [("content_filter", type(None)), ("stop", StreamTruncated)])
def test_a_filter_reason_explains_an_empty_answer(reason: str, end: object) -> None:
    """A reason that says why there is nothing is believed at a clean end; one that does not is not."""
    decoder = Decoder("openai-chat")
    decoder.feed(sse(chunk(None, reason)))
    assert decoder.finishing is False
    assert at_clean_end(decoder) is end


@named_by([wire for wire in WIRES if wire.dialect != "generic"])
def test_neither_mark_is_a_truncation(wire: Wire) -> None:
    """A body that just ends is cut."""
    assert at_clean_end(fed(wire, wire.said)) is StreamTruncated


@named_by([wire for wire in ENDED if wire.dialect != "ndjson"])
@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("line_ends", [b"", b"\n", b"\r"])
def test_an_end_mark_needs_no_empty_line(wire: Wire, clean: bool, line_ends: bytes) -> None:
    """A whole end mark that carries no content counts at the end of the body, clean or cut."""
    decoder = fed(wire, wire.said, wire.finish, wire.end.rstrip(b"\n") + line_ends)
    assert not decoder.terminal
    assert [event.kind for event in decoder.end(clean=clean)] == [Kind.TERMINAL]
    assert (decoder.terminal, decoder.settled, decoder.pending) == (True, bool(wire.finish), 0)
    assert decoder.verdict_at_end() is None


@named_by([wire for wire in ENDED if wire.dialect != "ndjson"])
def test_a_cut_end_mark_is_evidence_of_a_cut(wire: Wire) -> None:
    """One byte less, and it is evidence of a cut."""
    decoder = fed(wire, wire.said, wire.end.rstrip(b"\n")[:-1])
    assert decoder.end() == []
    assert (decoder.terminal, decoder.pending > 0) == (False, True)
    assert type(decoder.verdict_at_end()) is StreamTruncated


@pytest.mark.parametrize(
    ("dialect", "before", "last"),
    [
        ("openai-chat", sse(chunk({"content": "a"})), sse(chunk({"content": "b"}))),
        ("openai-chat", sse(chunk({"content": "a"})), sse(chunk(None, "stop"))),
        ("openai-chat", sse(chunk({"content": "a"}), chunk(None, "stop")), sse({"choices": [], "usage": USAGE})),
        ("anthropic", b"", sse(named("message_delta", delta={"stop_reason": "end_turn"}))),
        ("gemini", sse(part("a")), sse(part("b", finishReason="STOP"))),
        (
            "openai-responses",
            b"",
            sse(
                named(
                    "response.completed",
                    response={"output": [{"type": "message", "content": [{"type": "output_text", "text": "a"}]}]},
                )
            ),
        ),
    ],
)
def test_other_events_without_their_empty_line_are_evidence_of_a_cut(dialect: str, before: bytes, last: bytes) -> None:
    """Content, finish marks and usage that nothing has ended are not taken, and the end is no good one."""
    decoder = Decoder(dialect)
    decoder.feed(before + last.rstrip(b"\n"))
    assert decoder.end() == []
    assert decoder.pending > 0
    assert isinstance(decoder.verdict_at_end(), (StreamTruncated, EmptyStream))


@pytest.mark.parametrize("clean", [True, False])
def test_a_last_line_without_its_end_counts_where_the_body_ends_cleanly(clean: bool) -> None:
    """A line of JSON is whole by itself, but after a cut only an end mark is taken."""
    decoder = Decoder("ndjson")
    decoder.feed(lines({"message": {"content": "a"}}) + b'{"message": {"content": "b"}, "done_reason": "stop"}')
    assert len(decoder.end(clean=clean)) == clean
    assert decoder.finished is clean


def test_all_choices_that_were_asked_for_need_their_mark() -> None:
    """One of two that has ended ends nothing; with its end mark the answer waits for the end of the body."""
    decoder = Decoder("openai-chat", choices=2)
    decoder.feed(sse(chunk({"content": "a"}), chunk({"content": "b"}, index=1), chunk(None, "stop")))
    assert (decoder.finished, decoder.accepts_eof) == (False, False)
    decoder.feed(sse(chunk(None, "stop", 1)))
    assert (decoder.finished, decoder.accepts_eof) == (True, True)


@named_by(MARKED)
def test_the_marks_do_not_depend_on_the_reads(wire: Wire) -> None:
    """Byte by byte and at once, the same marks are believed and the same timer may run."""
    body = wire.said + wire.finish + wire.more + wire.finish
    whole, bytewise = Decoder(wire.dialect), Decoder(wire.dialect)
    whole.feed(body)
    for at in range(len(body)):
        bytewise.feed(body[at : at + 1])
    assert (whole.finished, whole.finishing) == (bytewise.finished, bytewise.finishing) == (True, False)


BEGUN = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'
MARK = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'


@pytest.mark.parametrize(
    "body",
    [
        BEGUN + MARK + b"event: close\ndata: bye\n\n",
        BEGUN + MARK + b"event: end\ndata: end\n\ndata: [DONE]\n\n",
        BEGUN + MARK + b'data: "[DONE]"\n\n',
        b"data: null\n\n" + BEGUN + b"data: null\n\n" + MARK,
    ],
)
@pytest.mark.parametrize("url", ["http://provider.test/v1/chat/completions", "http://provider.test/x"])
def test_words_behind_the_finish_mark_are_no_damage(body: bytes, url: str) -> None:
    """A farewell behind the finish mark is no damaged event.

    Nor is an end mark that was made JSON of, or null.
    """
    decoder = Decoder(url=url, content_type="text/event-stream")
    events = [*decoder.feed(body), *decoder.end()]
    assert decoder.verdict_at_end() is None
    assert (decoder.dialect, "".join(event.text for event in events)) == ("openai-chat", "a")


@pytest.mark.parametrize(
    "body",
    [
        BEGUN + b"event: close\ndata: bye\n\n",
        BEGUN + MARK + b"event: failure\ndata: upstream died\n\n",
        BEGUN + MARK + b'event: close\ndata: {"x\n\n',
        BEGUN + MARK + b"data: bye\n\n",
        BEGUN + MARK + b'data: "bye"\n\n',
        b"data: null\n\n",
        BEGUN + b"data: null\n\n",
    ],
)
def test_words_before_the_finish_mark_are_malformed(body: bytes) -> None:
    """In front of the mark, without a name that says that it is the end, or where JSON was begun."""
    decoder = Decoder("openai-chat")
    decoder.feed(body)
    decoder.end()
    assert decoder.verdict_at_end() is not None
