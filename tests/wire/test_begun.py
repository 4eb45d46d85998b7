"""A body that ends in its first event.

It is cut where the event is one of a dialect, and whole where it is no wire of ours.
"""

from __future__ import annotations

import pytest

from llmwatch.errors import EmptyStream, LLMWatchError, StreamTruncated
from llmwatch.faults.shapes.choice import SHAPES
from llmwatch.wire import Decoder
from tests.rows import each
from tests.wire.providers import ANSWERS

FIRST = {
    **{
        name: (made().path, made().content_type, [*made().opening(), *made().text("word")][0])
        for name, made in SHAPES.items()
    },
    **{name: (answer.path, answer.content_type, answer.parts[0]) for name, answer in ANSWERS.items()},
}
"""Path, content type and first event of an answer. What has no dialect has no first event of one."""
del FIRST["generic"]

FOREIGN = [
    b"data: hello",
    b"data: hello\n",
    b'data: {"foo": 1}',
    b'event: x\ndata: {"foo": 1}\n',
    b"data: 17\n",
    b'data: "a"',
    b"data: [1, 2]\n",
    b": hi\n\ndata: hello",
]
"""Lines that are whole, as far as anybody can tell, and no dialect's."""
NOTHING = [b": hel", b": hi\n\n: hel", b"\n", b""]


def _ended(body: bytes, path: str, content_type: str) -> tuple[Decoder, LLMWatchError | None]:
    decoder = Decoder(url=f"http://provider.test{path}", content_type=content_type, tolerant=True)
    decoder.feed(body)
    decoder.end()
    return decoder, decoder.verdict_at_end()


@each("name", FIRST)
def test_the_first_event_of_a_dialect_is_cut_at_every_byte(name: str) -> None:
    """Wherever it ends, it is half an event or a truncated answer.

    Its line end and its empty line are included.
    """
    path, content_type, first = FIRST[name]
    for at in range(1, len(first)):
        _, verdict = _ended(first[:at], path, content_type)
        assert isinstance(verdict, StreamTruncated), first[:at]


@each("body", FOREIGN)
@each("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/anything"])
def test_a_line_of_an_unknown_dialect_is_whole(path: str, body: bytes) -> None:
    """The address may suggest any dialect."""
    decoder, verdict = _ended(body, path, "text/event-stream")
    assert isinstance(verdict, EmptyStream)
    assert decoder.begun


@pytest.mark.parametrize("body", NOTHING)
def test_half_a_comment_is_no_event(body: bytes) -> None:
    """Nor is an empty body."""
    decoder, verdict = _ended(body, "/v1/chat/completions", "text/event-stream")
    assert isinstance(verdict, EmptyStream)
    assert not decoder.begun


@pytest.mark.parametrize("body", [b"garbage", b"word\n", b"\x01\0\0"])
def test_bytes_that_do_not_begin_with_zero_are_no_frame(body: bytes) -> None:
    """A frame is never so long that its first byte is another than zero."""
    _, verdict = _ended(body, "/model/m/converse-stream", "application/vnd.amazon.eventstream")
    assert isinstance(verdict, EmptyStream)
