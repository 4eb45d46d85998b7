"""Scripts whose answer is an AWS event stream, for any path of the request."""

from __future__ import annotations

from collections.abc import Iterator

from llmwatch.faults.script import Context, Script
from llmwatch.faults.steps import Close, Send, Step, paced

__all__ = ["SCRIPTS"]


def aws_frames(context: Context, *, tokens: int = 0, delay: float = 0.0) -> Iterator[Step]:
    yield from context.answer(paced(context.whole(tokens), delay))


def aws_cut(context: Context, *, tokens: int = 3, missing: int = 7, clean: bool = False) -> Iterator[Step]:
    """The frame of the last of ``tokens`` tokens lacks ``missing`` bytes.

    With ``clean=true`` the body ends cleanly, else the connection ends in the middle of a chunk.
    """
    *blocks, last = context.part(max(tokens, 1))
    if clean:
        yield from context.answer(paced([*blocks, last[:-missing]]))
        return
    yield from context.answer(paced(blocks), framing="chunked", ends=False)
    yield Send(b"%x\r\n%b" % (len(last), last[:-missing]))
    yield Close()


def aws_exception(
    context: Context,
    *,
    tokens: int = 0,
    kind: str = "throttlingException",
    code: str = "",
    message: str = "The fault server has too many requests.",
) -> Iterator[Step]:
    yield from context.answer(paced([*context.part(tokens), *context.shape.error(kind, code, message)]))


SCRIPTS = (
    Script(name="aws-frames", description="a whole AWS event stream", play=aws_frames, shape="bedrock"),
    Script(
        name="aws-cut",
        description="an AWS event stream that ends inside a frame",
        play=aws_cut,
        phases=("body",),
        shape="bedrock",
    ),
    Script(
        name="aws-exception",
        description="an AWS event stream with a frame that reports an exception",
        play=aws_exception,
        phases=("body",),
        shape="bedrock",
    ),
)
