"""Answers of ordinary HTTP servers, as scripts."""

from __future__ import annotations

import array
import functools
import gzip
import zlib
from collections.abc import Iterator, Sequence

from llmwatch.faults import Context, Script, steps
from llmwatch.faults.steps import Framing

__all__ = ["FRAMINGS", "LINES", "TEXT", "echo", "encoded", "headless", "numbered", "redirect", "reply"]

FRAMINGS: list[Framing] = ["chunked", "length", "close"]
"""How the end of a body is marked."""

TEXT = "naïve café 語 🐕 — one line\nand another,\r\nand a third without an end"
"""A body whose characters have one to four bytes."""

LINES = b"".join(b"line %d of the body\n" % number for number in range(200))
"""A body of more than one kilobyte."""

Headers = Sequence[tuple[str, str]]


@functools.cache
def numbered(size: int) -> bytes:
    """A body of so many bytes in which every four are others."""
    return array.array("I", range(size // 4)).tobytes()


def reply(
    body: bytes = LINES,
    *,
    status: int = 200,
    headers: Headers = (),
    content_type: str = "text/plain; charset=utf-8",
    framing: Framing | None = None,
    pieces: int = 3,
    after: Sequence[steps.Step] = (),
    ends: bool = True,
) -> Script:
    """A body in some pieces, in the server's framing unless another is named.

    ``after`` is played before its end.
    """

    def play(context: Context) -> Iterator[steps.Step]:
        size = max(1, -(-len(body) // pieces))
        chunks = [steps.Chunk(body[start : start + size]) for start in range(0, len(body), size)]
        yield from context.answer(
            [*chunks, *after], status=status, headers=headers, content_type=content_type, framing=framing, ends=ends
        )

    return Script(name="reply", description="answers with a body", play=play)


def encoded(body: bytes, encoding: str) -> Script:
    """The same in a content encoding: gzip, deflate, or deflate without its wrapper (raw)."""
    if encoding == "gzip":
        data = gzip.compress(body)
    elif encoding == "deflate":
        data = zlib.compress(body)
    else:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = packer.compress(body) + packer.flush()
    name = "deflate" if encoding == "raw" else encoding
    return reply(data, headers=[("Content-Encoding", name)])


def headless(status: int, headers: Headers = ()) -> Script:
    """A status without a body: 204, 304, and any answer to a HEAD."""
    return Script.of(f"status {status}", steps.Head(status, headers, None), steps.End())


def redirect(location: str, status: int = 302, headers: Headers = ()) -> Script:
    """A redirect to a path of the same server, or to a URL."""

    def play(context: Context) -> Iterator[steps.Step]:
        target = context.url + location if location.startswith("/") else location
        yield from context.answer(
            [steps.Chunk(b"elsewhere")],
            status=status,
            headers=[("Location", target), *headers],
            content_type="text/plain",
        )

    return Script(name="redirect", description="sends elsewhere", play=play)


def echo() -> Script:
    """Answers with the request's own body."""

    def play(context: Context) -> Iterator[steps.Step]:
        body = context.request.body
        yield from context.answer([steps.Chunk(body)] if body else [], content_type="application/octet-stream")

    return Script(name="echo", description="answers with the request's body", play=play)
