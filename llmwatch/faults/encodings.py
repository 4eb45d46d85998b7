"""Scripts that write a complete, valid answer in bytes that are hard to read."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator

from llmwatch.faults.script import ANSWER, Context, Script
from llmwatch.faults.steps import Chunk, Repeat, Step, Trickle, paced

__all__ = ["BAD_UTF8_ANSWER", "SCRIPTS"]

# Stands for invalid bytes, which no text encodes to, until the blocks are written.
_PLACEHOLDER = "\ue000"
_BAD_BYTE = b"\xff"

BAD_UTF8_ANSWER = "\ufffd " + ANSWER
"""The answer of ``bad-utf8``, with U+FFFD for the invalid byte."""


def unframed(context: Context, *, delay: float = 0.0) -> Iterator[Step]:
    yield from context.answer(paced(context.whole(), delay), framing="close")


def coalesced(context: Context, *, pieces: int = 3, delay: float = 0.0) -> Iterator[Step]:
    """``pieces`` writes of many events each, ``delay`` seconds apart, cut within events."""
    body = b"".join(context.whole())
    cuts = [len(body) * number // pieces for number in range(1, pieces)]
    cuts = [cut + 1 if body[:cut].endswith(b"\n") else cut for cut in cuts]
    yield from context.answer(paced(_cut(body, cuts), delay))


def compressed(context: Context, *, encoding: str = "gzip", delay: float = 0.0) -> Iterator[Step]:
    """``encoding`` is gzip or deflate. Every event is flushed, so that no event waits for the next."""
    yield from _compressed(context, context.whole(), encoding, delay, ends=True)


def compressed_and_cut(context: Context, *, tokens: int = 3, encoding: str = "gzip") -> Iterator[Step]:
    yield from _compressed(context, context.part(tokens), encoding, 0.0, ends=False)


def newlines_cr(context: Context) -> Iterator[Step]:
    yield from _newlines(context, b"\r")


def newlines_lf(context: Context) -> Iterator[Step]:
    yield from _newlines(context, b"\n")


def newlines_crlf(context: Context) -> Iterator[Step]:
    yield from _newlines(context, b"\r\n")


def newlines_mixed(context: Context) -> Iterator[Step]:
    # In this order no CR is followed by an empty line with LF, which together would be one line end.
    yield from _newlines(context, b"\r", b"\r\n", b"\n")


def newlines_split(context: Context, *, every: float = 0.0) -> Iterator[Step]:
    body = b"".join(context.whole()).replace(b"\n", b"\r\n")
    yield from context.answer([Trickle(body, 1, every)])


def bom(context: Context) -> Iterator[Step]:
    yield from context.answer(paced(_with_bom(context.whole())))


def utf8_split(context: Context, *, delay: float = 0.0) -> Iterator[Step]:
    body = b"".join(context.whole())
    continuations = [at for at, byte in enumerate(body) if byte & 0xC0 == 0x80]
    yield from context.answer(paced(_cut(body, continuations), delay))


def bad_utf8(context: Context) -> Iterator[Step]:
    shape = context.shape
    words = [_PLACEHOLDER + " ", *context.tokens()]
    content = [block for word in words for block in shape.text(word)]
    blocks = [*context.opening(), *content, *context.ending()]
    bad = [block.replace(_PLACEHOLDER.encode(), _BAD_BYTE) for block in blocks]
    yield from context.answer(paced(bad))


def giant_event(context: Context, *, size: int = 2 << 20) -> Iterator[Step]:
    blocks = [*context.opening(), *context.shape.text("x" * size), *context.ending()]
    yield from context.answer(paced(blocks))


def endless_event(context: Context, *, every: float = 0.0) -> Iterator[Step]:
    start = b"data: " if context.shape.content_type == "text/event-stream" else b'{"'
    yield from context.answer([*paced(context.opening()), Chunk(start), Repeat([Chunk(b"x" * 65536)], every=every)])


def _newlines(context: Context, *ends: bytes) -> Iterator[Step]:
    choice = itertools.cycle(ends)
    blocks = [b"".join(line + next(choice) for line in block.split(b"\n")[:-1]) for block in context.whole()]
    yield from context.answer(paced(blocks))


def _with_bom(blocks: list[bytes]) -> list[bytes]:
    return [b"\xef\xbb\xbf" + blocks[0], *blocks[1:]]


def _cut(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    borders = [0, *cuts, len(body)]
    return [body[start:end] for start, end in itertools.pairwise(borders)]


def _compressed(context: Context, blocks: list[bytes], encoding: str, delay: float, *, ends: bool) -> Iterator[Step]:
    if encoding not in ("gzip", "deflate"):
        raise ValueError(f"encoding is {encoding!r}, not gzip or deflate")
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    packed = [packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH) for block in blocks]
    steps: list[Step] = list(paced(packed, delay))
    if ends:
        steps.append(Chunk(packer.flush()))
    yield from context.answer(steps, headers=[("Content-Encoding", encoding)])


SCRIPTS = (
    Script(name="unframed", description="a whole answer that ends with its connection", play=unframed),
    Script(name="coalesced", description="many events in one write, events across writes", play=coalesced),
    Script(name="gzip", description="a whole answer, compressed", play=compressed),
    Script(
        name="gzip-cut",
        description="compressed, and ends before the compression does",
        play=compressed_and_cut,
        phases=("body",),
    ),
    Script(name="newlines-cr", description="lines end in CR", play=newlines_cr),
    Script(name="newlines-lf", description="lines end in LF", play=newlines_lf),
    Script(name="newlines-crlf", description="lines end in CRLF", play=newlines_crlf),
    Script(name="newlines-mixed", description="lines end in CR, CRLF and LF by turns", play=newlines_mixed),
    Script(name="newlines-split", description="lines end in CRLF, every byte is written alone", play=newlines_split),
    Script(name="bom", description="a byte order mark before the first event", play=bom),
    Script(name="utf8-split", description="writes end inside of characters", play=utf8_split),
    Script(name="bad-utf8", description="a byte that is no UTF-8 before the first word", play=bad_utf8),
    Script(name="giant-event", description="a single event of 2 MiB", play=giant_event),
    Script(name="endless-event", description="an event that never ends", play=endless_event, phases=("body",)),
)
