"""Scripts whose answer is complete, or wrong in a way that the framing does not show."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llmwatch.faults.script import Context, Script, to_json, tokens_of
from llmwatch.faults.steps import Chunk, Close, Step, Wait, paced
from llmwatch.faults.tool_calls import TOOL_ID, TOOL_NAME

__all__ = ["SCRIPTS"]

_MESSAGE = "The fault server ran out of context."

# Formats of no provider: the Content-Type, and how a word is written.
_WIRES: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "events": ("text/event-stream", lambda word: b"data: " + to_json({"piece": word}) + b"\n\n"),
    "lines": ("application/json", lambda word: to_json({"piece": word}) + b"\n"),
    "nul": ("text/plain", lambda word: to_json({"text": [word]}) + b"\0"),
    "text": ("text/plain; charset=utf-8", str.encode),
    "sound": ("audio/wav", lambda word: b"RIFF\0\xff" + word.encode()),
}


def finish_then_more(context: Context, *, tokens: int = 3, delay: float = 0.1) -> Iterator[Step]:
    """The finish reason after ``tokens`` tokens (0: first of all), the rest ``delay`` seconds later."""
    if not context.streaming:
        yield from context.answer(paced(context.whole()))
        return
    shape, words = context.shape, context.tokens()
    before = [*context.opening(), *(block for token in words[:tokens] for block in shape.text(token)), *shape.finish()]
    after = [*(block for token in words[tokens:] for block in shape.text(token)), *context.ending()]
    yield from context.answer([*paced(before), Wait(delay), *paced(after)])


def restated_whole(context: Context) -> Iterator[Step]:
    """The answer, restated at the end; a plain complete answer if the shape has no restatement."""
    again = context.shape.restated(context.text) if context.streaming else []
    blocks = [*context.opening(), *context.content()]
    yield from context.answer(paced([*blocks, *again, *context.ending()]))


def error_field(context: Context, *, tokens: int = 3, message: str = _MESSAGE) -> Iterator[Step]:
    error = b"error: " + to_json(context.shape.error_body("server_error", "500", message))
    yield from _with_error(context, tokens, error, message)


def error_line(context: Context, *, tokens: int = 3, message: str = _MESSAGE) -> Iterator[Step]:
    error = to_json(context.shape.error_body("server_error", "500", message))
    yield from _with_error(context, tokens, error, message)


def _with_error(context: Context, tokens: int, error: bytes, message: str) -> Iterator[Step]:
    shape = context.shape
    text = shape.content_type in ("text/event-stream", "application/x-ndjson")
    # Frames report a failure in their own form.
    failure = [error + b"\n\n"] if text else shape.error("server_error", "500", message)
    yield from context.answer(paced([*context.part(tokens), *failure, *shape.terminal()]))


def done_then_cut(context: Context, *, tokens: int = 3) -> Iterator[Step]:
    yield from context.answer(paced([*context.part(tokens), *context.shape.terminal()]), framing="chunked", ends=False)
    yield Close()


def unknown_wire(context: Context, *, what: str = "events") -> Iterator[Step]:
    """``what`` is ``events``, ``lines``, ``nul``, ``array`` (a JSON list), ``text`` or ``sound``."""
    words = tokens_of(context.text)
    if what == "array":
        pieces = [(b"," if at else b"[") + to_json({"piece": word}) for at, word in enumerate(words)]
        content_type, blocks = "application/json", [*pieces, b"]"]
    elif what in _WIRES:
        content_type, written = _WIRES[what]
        blocks = [written(word) for word in words]
    else:
        raise ValueError(f"unknown-wire: what is {what!r}, not one of {', '.join((*_WIRES, 'array'))}")
    yield from context.answer(map(Chunk, blocks), content_type=content_type)


def call_without_arguments(context: Context, *, tokens: int = 0) -> Iterator[Step]:
    shape = context.shape
    call = [*shape.tool_begin(TOOL_ID, TOOL_NAME), *shape.tool_end()]
    yield from context.answer(paced([*context.part(tokens), *call, *context.ending("tool_calls")]))


SCRIPTS = (
    Script(
        name="finish-then-more",
        description="the reason for finishing before or within the answer, and the rest after a while",
        play=finish_then_more,
    ),
    Script(name="restated-whole", description="the whole message again after its deltas", play=restated_whole),
    Script(
        name="error-field",
        description="an error in a field of its own, then the end mark",
        play=error_field,
        phases=("body",),
    ),
    Script(
        name="error-line",
        description="an error as a bare line of JSON, then the end mark",
        play=error_line,
        phases=("body",),
    ),
    Script(
        name="done-then-cut",
        description="an end mark without a reason for finishing, then no last chunk",
        play=done_then_cut,
        phases=("body",),
    ),
    Script(name="unknown-wire", description="a healthy body that is no provider's", play=unknown_wire),
    Script(
        name="call-without-arguments",
        description="a tool call that the provider closed without arguments",
        play=call_without_arguments,
    ),
)
