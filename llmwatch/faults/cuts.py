"""Scripts in which the connection or the body ends before the answer."""

from __future__ import annotations

from collections.abc import Iterator

from llmwatch.faults.script import Context, Script
from llmwatch.faults.steps import Chunk, Close, HalfClose, Hang, Head, Reset, Send, Step, Wait, paced

__all__ = ["SCRIPTS"]


def eof_without_terminal(context: Context, *, tokens: int = 3, delay: float = 0.0) -> Iterator[Step]:
    yield from context.answer(paced(context.part(tokens), delay))


def reset_mid_stream(context: Context, *, tokens: int = 3, after: float = 0.0) -> Iterator[Step]:
    """``tokens=0`` resets before any content; ``after`` seconds pass before the reset."""
    yield from context.answer([*paced(context.part(tokens)), Wait(after), Reset()], ends=False)


def reset_before_response(context: Context, *, after: float = 0.0) -> Iterator[Step]:
    yield Wait(after)
    yield Reset()


def fin_before_response(context: Context, *, after: float = 0.0, half: bool = False) -> Iterator[Step]:
    """``half=true`` sends the FIN only and keeps the other direction open."""
    yield Wait(after)
    if half:
        yield HalfClose()
        yield Hang()
    yield Close()


def cut_chunk(context: Context, *, tokens: int = 3, missing: int = 100, terminal: bool = False) -> Iterator[Step]:
    *blocks, last = _before_end(context, tokens, terminal)
    yield from context.answer(paced(blocks), framing="chunked", ends=False)
    yield Send(b"%x\r\n%b" % (len(last) + missing, last))
    yield Close()


def missing_last_chunk(context: Context, *, tokens: int = 3, terminal: bool = False) -> Iterator[Step]:
    yield from context.answer(paced(_before_end(context, tokens, terminal)), framing="chunked", ends=False)
    yield Close()


def short_length(context: Context, *, tokens: int = 3, missing: int = 100, terminal: bool = False) -> Iterator[Step]:
    for step in context.answer(paced(_before_end(context, tokens, terminal)), framing="length"):
        yield Head(step.status, step.headers, "length", step.length + missing) if isinstance(step, Head) else step
    yield Close()


def tls_cut(context: Context, *, tokens: int = 3) -> Iterator[Step]:
    yield from context.answer(paced(context.part(tokens)), ends=False)
    yield Close(notify=False)


def tls_cut_unframed(context: Context, *, tokens: int = 3) -> Iterator[Step]:
    yield from context.answer(paced(context.part(tokens)), framing="close", ends=False)
    yield Close(notify=False)


def empty_stream(context: Context, *, comment: bool = False) -> Iterator[Step]:
    """A body without events; ``comment=true`` sends a keep-alive, which is not an event."""
    yield from context.answer([Chunk(block) for block in context.shape.keepalive()] if comment else [])


def _before_end(context: Context, tokens: int, terminal: bool) -> list[bytes]:
    return context.whole() if terminal else context.part(max(tokens, 1))


SCRIPTS = (
    Script(
        name="eof-without-terminal",
        description="some tokens, then the body ends in good order",
        play=eof_without_terminal,
        phases=("body",),
    ),
    Script(name="reset-mid-stream", description="some tokens, then a RST", play=reset_mid_stream, phases=("body",)),
    Script(
        name="reset-before-response",
        description="reads the request, then a RST",
        play=reset_before_response,
        phases=("headers",),
    ),
    Script(
        name="fin-before-response",
        description="reads the request, then a FIN",
        play=fin_before_response,
        phases=("headers",),
    ),
    Script(name="cut-chunk", description="the connection ends inside a chunk", play=cut_chunk, phases=("body",)),
    Script(
        name="missing-last-chunk",
        description="the connection ends between chunks",
        play=missing_last_chunk,
        phases=("body",),
    ),
    Script(
        name="short-length",
        description="the connection ends before the Content-Length is reached",
        play=short_length,
        phases=("body",),
    ),
    Script(
        name="tls-cut",
        description="some tokens, then a FIN without close_notify in a framed body",
        play=tls_cut,
        phases=("body",),
    ),
    Script(
        name="tls-cut-unframed",
        description="some tokens, then a FIN without close_notify in a body that ends with its connection",
        play=tls_cut_unframed,
        phases=("body",),
    ),
    Script(name="empty-stream", description="200 and a body without an event", play=empty_stream, phases=("body",)),
)
