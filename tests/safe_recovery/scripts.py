"""Scripts of these tests: where an answer breaks off, and what it had said by then."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llmwatch.faults import Context, Script, steps

__all__ = ["REASONING", "STAGES", "broken_off", "headed", "one_event"]

REASONING = "first-attempt-reasoning "

Said = Callable[[Context], list[bytes]]


def _reasoning(context: Context) -> list[bytes]:
    return [*context.opening(), *context.shape.reasoning(REASONING)]


def _half_tool(context: Context) -> list[bytes]:
    shape = context.shape
    return [*_reasoning(context), *shape.tool_begin("call_first", "first_tool"), *shape.tool_arguments('{"city": "Ma')]


def _whole_tool(context: Context) -> list[bytes]:
    shape = context.shape
    begun = [*context.opening(), *shape.tool_begin("call_first", "first_tool"), *shape.tool_arguments('{"city": 1}')]
    # Where no event ends a tool call, the beginning of the next does.
    return [*begun, *(shape.tool_end() or shape.tool_begin("call_second", "second_tool"))]


STAGES: dict[str, Said] = {
    "nothing": lambda context: [],
    "lifecycle": lambda context: context.opening(),
    "text": lambda context: context.part(4),
    "reasoning": _reasoning,
    "half a tool call": _half_tool,
    "a whole tool call": _whole_tool,
}
"""What an answer has said when it breaks off."""


def broken_off(stage: str, how: str) -> Script:
    """An answer that says what ``stage`` names and then ends in the way of ``how``.

    It ends in good order (``eof``), between two chunks (``cut``), with an error event (``error``) or with broken JSON
    (``malformed``), or falls ``silent``.
    """

    def play(context: Context) -> Iterator[steps.Step]:
        blocks = STAGES[stage](context)
        if how == "error":
            blocks = [*blocks, *context.shape.error("overloaded_error", "overloaded", "Come back later.")]
        elif how == "malformed":
            blocks = [*blocks, *context.shape.malformed()]
        last: list[steps.Step] = {"cut": [steps.Close()], "silent": [steps.Hang()]}.get(how, [])
        yield from context.answer([*steps.paced(blocks), *last], framing="chunked", ends=not last)

    return Script(name=f"{stage}, {how}", description="breaks off", play=play)


def headed(headers: Callable[[], list[tuple[str, str]]], status: int = 429) -> Script:
    """An error status with headers that are made when the request comes."""

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer(
            [steps.Chunk(context.error_document(status))],
            status=status,
            headers=headers(),
            content_type="application/json",
            framing="length",
        )

    return Script(name="headed", description="a status with headers", play=play)


def one_event(*blocks: bytes, content_type: str = "text/event-stream") -> Script:
    """These bytes as the body of an answer with status 200."""

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer(steps.paced(blocks), content_type=content_type)

    return Script(name="bytes", description="bytes as they are", play=play)
