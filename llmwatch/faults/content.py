"""Scripts whose answer is not the requested one, or comes in an unusual order."""

from __future__ import annotations

from collections.abc import Iterator

from llmwatch.faults.script import Context, Script
from llmwatch.faults.statuses import web_page
from llmwatch.faults.steps import Chunk, Step, Wait, paced

__all__ = ["SCRIPTS"]


def usage_tail(context: Context, *, delay: float = 0.02) -> Iterator[Step]:
    shape = context.shape
    pieces = [*context.opening(), *context.content(), *shape.finish()]
    yield from context.answer([*paced(pieces), Wait(delay), *paced([*shape.usage(), *shape.terminal()])])


def lifecycle_then_terminal(context: Context) -> Iterator[Step]:
    yield from context.answer(paced([*context.opening(), *context.ending()]))


def malformed_event(context: Context, *, tokens: int = 3) -> Iterator[Step]:
    """A malformed event after ``tokens`` tokens; the rest of a complete answer follows."""
    blocks = context.whole()
    before = len(context.part(tokens)) if context.streaming else 0
    yield from context.answer(paced([*blocks[:before], *context.shape.malformed(), *blocks[before:]]))


def error_event(
    context: Context,
    *,
    tokens: int = 0,
    kind: str = "overloaded_error",
    code: str = "overloaded",
    message: str = "The fault server is overloaded.",
) -> Iterator[Step]:
    yield from context.answer(paced([*context.part(tokens), *context.shape.error(kind, code, message)]))


def json_instead(context: Context, *, what: str = "error", content_type: str = "application/json") -> Iterator[Step]:
    """``what`` is ``error`` (an error document) or ``answer`` (the answer of a plain call)."""
    document = context.document() if what == "answer" else context.error_document(500)
    yield from context.answer([Chunk(document)], content_type=content_type)


def html_instead(
    context: Context, *, size: int = 2048, content_type: str = "text/html; charset=utf-8"
) -> Iterator[Step]:
    yield from context.answer([Chunk(web_page("Sign in to the network", size))], content_type=content_type)


SCRIPTS = (
    Script(name="usage-tail", description="usage between the reason for finishing and the end", play=usage_tail),
    Script(
        name="lifecycle-then-terminal",
        description="no content at all, properly ended",
        play=lifecycle_then_terminal,
        phases=("body",),
    ),
    Script(
        name="malformed-event",
        description="broken JSON among good events",
        play=malformed_event,
        phases=("body",),
    ),
    Script(name="error-event", description="200, then an error inside the stream", play=error_event, phases=("body",)),
    Script(
        name="json-instead",
        description="200 with a JSON document in place of a stream",
        play=json_instead,
        phases=("body",),
    ),
    Script(
        name="html-instead",
        description="200 with a web page in place of a stream",
        play=html_instead,
        phases=("body",),
    ),
)
