"""Interrupting code at a chosen line, as a signal handler or Ctrl-C would."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any


def lines_of(*functions: Any) -> list[tuple[CodeType, int]]:
    """Every line of these functions at which an interruption may strike."""
    return [
        (function.__code__, line)
        for function in functions
        for line in sorted({line for _, _, line in function.__code__.co_lines() if line is not None})
        if line != function.__code__.co_firstlineno
    ]


def interrupted(
    function: Callable[[], object], where: tuple[CodeType, int], interruption: Callable[[], object], *, nth: int = 1
) -> tuple[bool, object]:
    """Call ``function``, with a call of ``interruption`` before the given line.

    ``interruption`` is called the ``nth`` time that the line is reached.
    Returns whether it was reached, and what ``function`` returned. What the interruption raises comes up at that line.
    """
    code, line = where
    left = nth

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        if event == "line" and frame.f_lineno == line:
            left -= 1
            if left == 0:
                interruption()
        return local

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        return local if frame.f_code is code else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        result = function()
    finally:
        sys.settrace(before)
    return left <= 0, result


class Enough(Exception):
    """Ends a call whose lines are known."""


def lines_before(call: Callable[[], object], *functions: Any) -> list[tuple[CodeType, int]]:
    """The lines of ``functions`` that ``call`` goes through until it raises :class:`Enough`."""
    codes = {function.__code__ for function in functions}
    found: dict[tuple[CodeType, int], None] = {}
    raised = False

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal raised
        raised = raised or event == "exception"
        if event == "line" and not raised:
            found[frame.f_code, frame.f_lineno] = None
        return local

    before = sys.gettrace()
    sys.settrace(lambda frame, event, arg: local if frame.f_code in codes else None)
    try:
        call()
    except Enough:
        return list(found)
    finally:
        sys.settrace(before)
    raise AssertionError("it did not come that far")


def names(wheres: Iterable[tuple[CodeType, int]]) -> list[str]:
    """Readable ids for tests."""
    return [f"{code.co_name}:{line - code.co_firstlineno}" for code, line in wheres]
