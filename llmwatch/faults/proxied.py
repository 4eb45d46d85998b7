"""Scripts of a reverse proxy between the client and a provider."""

from __future__ import annotations

from collections.abc import Iterator

from llmwatch.faults.script import Context, Script
from llmwatch.faults.statuses import html_52x
from llmwatch.faults.steps import Chunk, Close, Reset, Step, Wait, paced

__all__ = ["SCRIPTS"]


def proxy_buffered(context: Context, *, delay: float = 0.2, size: int = 4096) -> Iterator[Step]:
    """The headers at once, and every ``delay`` seconds ``size`` bytes of the body.

    nginx with ``proxy_buffering on`` hands a body on once a buffer (4 or 8 KiB) is full or the answer is whole.
    """
    if size < 1:
        raise ValueError(f"proxy-buffered: size is {size!r}, but must be 1 or more")
    body = b"".join(context.whole())
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    yield from context.answer(step for piece in pieces for step in (Wait(delay), Chunk(piece)))


def proxy_cut(context: Context, *, tokens: int = 3, after: float = 0.2, how: str = "fin") -> Iterator[Step]:
    """The provider stops after ``tokens`` tokens, and the proxy gives it up ``after`` seconds later.

    ``how`` is ``fin`` (no last chunk), ``reset``, or ``end`` (in good order, as if the answer were whole). With
    ``tokens=0`` nothing has come from the provider, and the proxy answers 504 with a page.
    """
    if how not in ("fin", "reset", "end"):
        raise ValueError(f"proxy-cut: how is {how!r}, not one of fin, reset, end")
    if not tokens:
        yield Wait(after)
        yield from html_52x(context, status=504)
        return
    # A body that ends with its connection cannot be cut.
    framing = "chunked" if context.framing == "close" and how == "fin" else context.framing
    yield from context.answer([*paced(context.part(tokens)), Wait(after)], framing=framing, ends=how == "end")
    if how != "end":
        yield Reset() if how == "reset" else Close()


SCRIPTS = (
    Script(
        name="proxy-buffered",
        description="a proxy that hands the body on late, in pieces of the size of its buffer",
        play=proxy_buffered,
    ),
    Script(
        name="proxy-cut",
        description="a proxy that ends an answer which its provider has left off",
        play=proxy_cut,
        phases=("body",),
    ),
)
