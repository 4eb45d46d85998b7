"""Scripts that are silent, slow, or send only keep-alives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmwatch.faults.script import Context, Script
from llmwatch.faults.steps import (
    Burst,
    Chunk,
    Close,
    DontRead,
    Hang,
    ReadSlowly,
    Repeat,
    Reset,
    Step,
    Trickle,
    Wait,
    WaitFor,
    paced,
)

__all__ = ["SCRIPTS"]


def healthy(
    context: Context, *, tokens: int = 0, delay: float = 0.0, idle: float = 0.0, leave: str = ""
) -> Iterator[Step]:
    """``delay`` seconds after each event; ``leave`` (fin, reset) closes after ``idle`` seconds."""
    yield from context.answer(paced(context.whole(tokens), delay))
    if leave:
        yield Wait(idle)
        yield Reset() if leave == "reset" else Close()


def silent(context: Context) -> Iterator[Step]:
    yield Hang()


def headers_then_silent(context: Context) -> Iterator[Step]:
    yield from context.answer([Hang()], ends=False)


def late_headers(context: Context, *, after: float = 0.3) -> Iterator[Step]:
    yield Wait(after)
    yield from healthy(context)


def comment_then_silent(context: Context, *, what: str = "comment") -> Iterator[Step]:
    event = context.whole()[0]
    comment = b"".join(context.shape.keepalive("comment"))
    yield from context.answer([Chunk(event[: len(event) // 2] if what == "half" else comment), Hang()], ends=False)


def keepalive_only(context: Context, *, every: float = 0.05, kind: str = "") -> Iterator[Step]:
    yield from context.answer([_keepalives(context, every, kind)])


def lifecycle_only(context: Context, *, every: float = 0.05, kind: str = "") -> Iterator[Step]:
    yield from context.answer([*paced(context.opening()), _keepalives(context, every, kind)])


def stall_after_content(context: Context, *, tokens: int = 3, delay: float = 0.0) -> Iterator[Step]:
    yield from context.answer([*paced(context.part(tokens), delay), Hang()], ends=False)


def pings_after_content(context: Context, *, tokens: int = 3, every: float = 0.05, kind: str = "") -> Iterator[Step]:
    yield from context.answer([*paced(context.part(tokens)), _keepalives(context, every, kind)])


def reasoning_only(context: Context, *, count: int = 20, every: float = 0.02, says: bool = True) -> Iterator[Step]:
    """``says=false`` leaves out the text after the reasoning."""
    opening = context.opening()
    thoughts = [block for word in context.tokens(count) for block in context.shape.reasoning(word)]
    spoken = [*(context.content() if says else []), *context.ending()]
    yield from context.answer([*paced(opening), *paced(thoughts, every), *paced(spoken)])


def long_gap(context: Context, *, gap: float = 0.3, tokens: int = 3) -> Iterator[Step]:
    blocks = context.whole()
    before = len(context.part(tokens)) if context.streaming else 0
    yield from context.answer([*paced(blocks[:before]), Wait(gap), *paced(blocks[before:])])


def drip(context: Context, *, every: float = 0.01, size: int = 8) -> Iterator[Step]:
    content = b"".join(context.content())
    forever = Repeat([Trickle(content, size, every)])
    yield from context.answer([*paced(context.opening()), forever])


def endless_content(context: Context, *, every: float = 0.01) -> Iterator[Step]:
    yield from context.answer([*paced(context.opening()), Repeat(list(paced(context.content(), every)))])


def linger_after_done(context: Context, *, tokens: int = 0) -> Iterator[Step]:
    yield from context.answer([*paced(context.whole(tokens)), Hang()], ends=False)


def finish_without_done(context: Context, *, every: float = 0.05, kind: str = "") -> Iterator[Step]:
    blocks = [*context.part(0), *context.content(), *context.shape.finish()]
    yield from context.answer([*paced(blocks), _keepalives(context, every, kind)])


def late_terminal(context: Context, *, gate: str = "terminal") -> Iterator[Step]:
    blocks = context.whole()
    yield from context.answer([*paced(blocks[:-1]), WaitFor(gate), *paced(blocks[-1:])])


def buffered(context: Context, *, delay: float = 0.2, head: bool = False) -> Iterator[Step]:
    """The answer in one write after ``delay`` seconds; ``head=true`` sends the headers at once."""
    whole = b"".join(context.whole())
    if head:
        yield from context.answer([Wait(delay), Chunk(whole)])
    else:
        yield Wait(delay)
        # The end of a close-delimited body closes the connection, and so must follow the write.
        *together, end = context.answer([Chunk(whole)])
        yield Burst(together)
        yield end


def upload_stall(context: Context) -> Iterator[Step]:
    yield Hang()


def dont_read() -> Iterable[Step]:
    return (DontRead(),)


def read_slowly(*, size: int = 1 << 18, every: float = 0.01) -> Iterable[Step]:
    return (ReadSlowly(size, every),)


def slow_upload(context: Context) -> Iterator[Step]:
    yield from healthy(context)


def _keepalives(context: Context, every: float, kind: str) -> Step:
    return Repeat([Chunk(block) for block in context.shape.keepalive(kind)], every=every)


SCRIPTS = (
    Script(name="healthy", description="answers as it should, and keeps the connection", play=healthy),
    Script(name="silent", description="reads the request and says nothing", play=silent, phases=("headers",)),
    Script(
        name="headers-then-silent",
        description="200 and headers, then nothing",
        play=headers_then_silent,
        phases=("body",),
    ),
    Script(name="late-headers", description="headers come late", play=late_headers, phases=("headers",)),
    Script(
        name="comment-then-silent",
        description="one comment (what=comment) or half an event (what=half), then nothing",
        play=comment_then_silent,
        phases=("body",),
    ),
    Script(
        name="keepalive-only",
        description="comments or pings for ever, no event that means anything",
        play=keepalive_only,
        phases=("body",),
    ),
    Script(
        name="lifecycle-only",
        description="the events before the content, then keep-alives for ever",
        play=lifecycle_only,
        phases=("body",),
    ),
    Script(
        name="stall-after-content",
        description="some tokens, then nothing",
        play=stall_after_content,
        phases=("body",),
    ),
    Script(
        name="pings-after-content",
        description="some tokens, then keep-alives for ever",
        play=pings_after_content,
        phases=("body",),
    ),
    Script(name="reasoning-only", description="a long run of reasoning before the answer", play=reasoning_only),
    Script(name="long-gap", description="a long gap in the middle of a whole answer", play=long_gap),
    Script(name="drip", description="content a few bytes at a time, for ever", play=drip, phases=("body",)),
    Script(name="endless-content", description="content for ever", play=endless_content, phases=("body",)),
    Script(
        name="linger-after-done",
        description="a whole answer whose body stays open",
        play=linger_after_done,
        phases=("end",),
    ),
    Script(
        name="finish-without-done",
        description="the reason for finishing, then keep-alives in place of the terminal event",
        play=finish_without_done,
        phases=("end",),
    ),
    Script(
        name="late-terminal",
        description="all but the terminal event, which waits for a gate",
        play=late_terminal,
        phases=("end",),
    ),
    Script(name="buffered", description="the whole answer at once, late", play=buffered),
    Script(
        name="upload-stall",
        description="does not read the request's body",
        play=upload_stall,
        reading=dont_read,
        phases=("send",),
    ),
    Script(
        name="slow-upload",
        description="reads the request's body slowly but steadily, then answers",
        play=slow_upload,
        reading=read_slowly,
    ),
)
