"""Scripts that tests share and the catalogue has not."""

from __future__ import annotations

from collections.abc import Iterator

from llmwatch.faults import Context, Script, steps

__all__ = ["gated", "late"]


def gated(tokens: int = 3) -> Script:
    """A healthy answer that stops after its opening and ``tokens`` tokens until gate "rest" opens."""

    def play(context: Context) -> Iterator[steps.Step]:
        blocks, before = context.whole(), len(context.part(tokens))
        yield from context.answer([*steps.paced(blocks[:before]), steps.WaitFor("rest"), *steps.paced(blocks[before:])])

    return Script(name="gated", description="stops at a gate", play=play)


def late() -> Script:
    """A healthy answer that sends nothing, no header either, until the gate "rest" opens."""

    def play(context: Context) -> Iterator[steps.Step]:
        yield steps.WaitFor("rest")
        yield from context.answer(steps.paced(context.whole()))

    return Script(name="late", description="waits for a gate", play=play)
