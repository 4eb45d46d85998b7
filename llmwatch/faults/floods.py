"""Scripts that send forever, as fast as the client reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmwatch.faults.script import Context, Script
from llmwatch.faults.steps import Chunk, Repeat, Step, paced

__all__ = ["SCRIPTS"]

_PIECE = 32 * 1024
"""Bytes of one write: many events, so that the server is faster than the reader."""


def flood_comments(context: Context, *, tokens: int = 0) -> Iterator[Step]:
    yield from _flood(context, tokens, context.shape.keepalive("comment"))


def flood_pings(context: Context, *, tokens: int = 0) -> Iterator[Step]:
    yield from _flood(context, tokens, context.shape.keepalive("ping"))


def flood_empty(context: Context, *, tokens: int = 0) -> Iterator[Step]:
    yield from _flood(context, tokens, context.shape.keepalive("empty"))


def flood_cr(context: Context, *, tokens: int = 0) -> Iterator[Step]:
    # A CR between frames would damage the stream.
    framed = context.shape.content_type not in ("text/event-stream", "application/x-ndjson")
    yield from _flood(context, tokens, context.shape.keepalive() if framed else [b"\r"])


def flood_content(context: Context, *, tokens: int = 0) -> Iterator[Step]:
    yield from _flood(context, tokens, context.content())


def _flood(context: Context, tokens: int, blocks: Sequence[bytes]) -> Iterator[Step]:
    pieces = context.part(tokens) if tokens else context.opening()
    block = b"".join(blocks)
    yield from context.answer([*paced(pieces), Repeat([Chunk(block * max(1, _PIECE // len(block)))])])


SCRIPTS = tuple(
    Script(name=name, description=f"{what}, as fast as is read, for ever", play=play, phases=("body",))
    for name, what, play in (
        ("flood-comments", "comments", flood_comments),
        ("flood-pings", "pings", flood_pings),
        ("flood-empty", "deltas without content", flood_empty),
        ("flood-cr", "carriage returns", flood_cr),
        ("flood-content", "content", flood_content),
    )
)
