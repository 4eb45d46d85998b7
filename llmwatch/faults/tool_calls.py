"""Scripts with tool calls."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from llmwatch.faults.script import Context, Script, to_json
from llmwatch.faults.steps import Reset, Step, paced

__all__ = ["SCRIPTS", "TOOL_ARGUMENTS", "TOOL_ID", "TOOL_NAME", "tool_arguments"]

TOOL_ID = "call_fault"
TOOL_NAME = "look_up"
_FRAGMENTS = 4


def tool_arguments(count: int = _FRAGMENTS) -> str:
    """Arguments as JSON text, long enough for ``count`` fragments."""
    return to_json({"city": "Malmö", "days": list(range(count))}).decode()


TOOL_ARGUMENTS = tool_arguments()
"""The default arguments of the tool calls, as JSON text."""


def tool_arguments_only(context: Context, *, count: int = 20, every: float = 0.02) -> Iterator[Step]:
    """One tool call with the arguments :func:`tool_arguments` of ``count``, in ``count`` fragments."""
    shape = context.shape
    begin = [*context.opening(), *shape.tool_begin(TOOL_ID, TOOL_NAME)]
    fragments = [block for piece in _fragments(tool_arguments(count), count) for block in shape.tool_arguments(piece)]
    end = [*shape.tool_end(), *context.ending("tool_calls")]
    yield from context.answer([*paced(begin), *paced(fragments, every), *paced(end)])


def tool_call_cut(context: Context, *, tokens: int = 0, what: str = "half", cut: str = "eof") -> Iterator[Step]:
    """A cut tool call.

    ``what`` is the part of the arguments that comes: ``half`` or ``none``. ``cut`` is ``eof``, ``reset``, or
    ``terminal`` (a clean end for lack of tokens).
    """
    shape = context.shape
    blocks = [*context.part(tokens), *shape.tool_begin(TOOL_ID, TOOL_NAME)]
    if what == "half":
        blocks += [
            block for piece in _fragments(TOOL_ARGUMENTS)[: _FRAGMENTS // 2] for block in shape.tool_arguments(piece)
        ]
    if cut == "terminal":
        blocks += context.ending("length")
    yield from _cut(context, blocks, cut)


def tool_call_complete_then_cut(
    context: Context, *, tokens: int = 0, cut: str = "reset", shows: str = "finish"
) -> Iterator[Step]:
    """A complete tool call, then a cut.

    In shapes without an event that ends a tool call (chat completions), ``shows`` selects what ends the call:
    ``finish`` (the finish reason) or ``call`` (the start of the next call).
    """
    shape = context.shape
    blocks = [*context.part(tokens), *shape.tool_begin(TOOL_ID, TOOL_NAME)]
    blocks += [block for piece in _fragments(TOOL_ARGUMENTS) for block in shape.tool_arguments(piece)]
    blocks += shape.tool_end() or (
        shape.tool_begin(f"{TOOL_ID}_2", TOOL_NAME) if shows == "call" else shape.finish("tool_calls")
    )
    yield from _cut(context, blocks, cut)


def _cut(context: Context, blocks: list[bytes], cut: str) -> Iterator[Step]:
    if cut == "reset":
        yield from context.answer([*paced(blocks), Reset()], ends=False)
    else:
        yield from context.answer(paced(blocks))


def _fragments(arguments: str, count: int = _FRAGMENTS) -> list[str]:
    borders = [len(arguments) * number // count for number in range(count + 1)]
    return [arguments[start:end] for start, end in itertools.pairwise(borders)]


SCRIPTS = (
    Script(
        name="tool-arguments-only",
        description="a long run of a tool call's arguments, properly ended",
        play=tool_arguments_only,
    ),
    Script(
        name="tool-call-cut",
        description="a tool call's arguments are cut, or none came",
        play=tool_call_cut,
        phases=("body",),
    ),
    Script(
        name="tool-call-complete-then-cut",
        description="a whole tool call, then a RST",
        play=tool_call_complete_then_cut,
        phases=("body",),
    ),
)
