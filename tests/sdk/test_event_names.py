"""Events without a name, for an SDK that goes by names."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from llmwatch.faults import Context, Script, steps
from llmwatch.faults.catalogue import ANSWER
from llmwatch.sdk import event_names
from llmwatch.sdk.event_names import with_event_names
from tests.sdk.blanks import Counting
from tests.sdk.clients import ASKS, STREAMS, ask

NAMELESS = b'data: {"type": "message_stop"}\n\n'
NAMED = b"event: message_stop\n" + NAMELESS


def _named(body: bytes, size: int) -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(with_event_names(pieces))


@pytest.mark.parametrize(
    ("came", "goes"),
    [
        (NAMELESS, NAMED),
        (NAMED, NAMED),
        (b'data: {"type": "a"}\nevent: b\n\n', b'data: {"type": "a"}\nevent: b\n\n'),
        (b": hi\n\n" + NAMELESS, b": hi\n\n" + NAMED),
        (b": hi\n" + NAMELESS, b": hi\n" + NAMED),
        (b'data: {"type":\ndata: "ping"}\n\n', b'event: ping\ndata: {"type":\ndata: "ping"}\n\n'),
        (NAMELESS.replace(b"\n", b"\r\n"), b"event: message_stop\n" + NAMELESS.replace(b"\n", b"\r\n")),
        (NAMELESS.replace(b"\n", b"\r"), b"event: message_stop\n" + NAMELESS.replace(b"\n", b"\r")),
        (b"data: [DONE]\n\n", b"data: [DONE]\n\n"),
        (b"data: {broken\n\n", b"data: {broken\n\n"),
        (b'data: {"type": 3}\n\ndata: [1]\n\n', b'data: {"type": 3}\n\ndata: [1]\n\n'),
        (b'data: {"type": "a\\nb"}\n\n', b'data: {"type": "a\\nb"}\n\n'),
        (NAMELESS + b"data: {", NAMED + b"data: {"),
    ],
)
def test_an_unnamed_event_gets_its_type_as_name(came: bytes, goes: bytes) -> None:
    """Only one that has no name and says its type, however the bytes are split.

    All others are as they came.
    """
    assert {_named(came, size) for size in range(1, len(came) + 1)} == {goes}


def test_whole_events_are_handed_on_at_once() -> None:
    """A complete event goes out with the piece that completes it."""
    pieces = with_event_names(iter([NAMED + NAMELESS, NAMELESS[:9], NAMELESS[9:]]))
    assert list(itertools.islice(pieces, 1)) == [NAMED + NAMED]
    assert list(pieces) == [NAMED]


def test_a_large_event_is_scanned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page or a picture in one event, which comes in thousands of pieces, costs what its bytes cost."""
    counting = Counting(event_names.BLANK_LINE)
    monkeypatch.setattr(event_names, "BLANK_LINE", counting)
    event = b'data: {"type": "content_block_start", "data": "' + b"a" * 200_000 + b'"}\n\n'
    assert _named(event, 100) == b"event: content_block_start\n" + event
    assert counting.looked_at < 2 * len(event)


@pytest.mark.parametrize("how", [name for name in STREAMS if ASKS[name].sdk == "anthropic"])
@pytest.mark.parametrize("ends", [True, False])
def test_an_sdk_reads_an_answer_without_event_names(serve: Any, make: Any, how: str, ends: bool) -> None:
    """The SDK's own client reads what a gateway left of it; one without its end is still an error."""

    def play(context: Context) -> Any:
        shape = context.shape
        text = [block for token in context.tokens() for block in shape.text(token)]
        blocks = [*shape.opening(), *text, *shape.finish(), *shape.terminal()]
        nameless = [b"".join(block.splitlines(keepends=True)[1:]) for block in blocks]
        sent = nameless if ends else nameless[: len(shape.opening() + text)]
        yield from context.answer([steps.Chunk(block) for block in sent])

    server = serve(Script(name="nameless", description="no event lines", play=play))
    outcome = ask(make("helper", "anthropic", server), how)
    assert outcome.said == ANSWER
    assert (outcome.error is None) is ends
    assert len(server.requests) == 1
