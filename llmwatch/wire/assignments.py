"""Arguments of a tool call that come as assignments to JSON paths.

Sources: Google's reference of ``FunctionCall`` and ``PartialArg`` (Vertex, ``streamFunctionCallArguments``); RFC 9535
for the paths. Only paths to a single place can be assigned to: ``$.a.b[0]``, ``$['a']["b"]``.

An assignment that is not understood, or that was announced and did not come, makes the call incomplete, as everywhere.
"""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

from llmwatch.lazy_pattern import lazy

__all__ = ["Assignments"]

_STEP = lazy(r"""\.([^.\[\]'"\s]+)|\[(\d{1,6})\]|\['([^'\\]*)'\]|\["([^"\\]*)"\]""")
_MOST_STEPS = 100
_NOTHING = object()


class Assignments:
    """The arguments of one call. ``add`` takes each ``partialArgs``; ``text`` is the JSON text of all."""

    __slots__ = ("_broken", "_open", "_root")

    def __init__(self) -> None:
        self._root: dict[str, Any] = {}
        self._open: set[str] = set()
        self._broken = False

    def add(self, pieces: object) -> None:
        """Apply the next assignments, in order. The pieces of one text may come in several assignments."""
        for piece in pieces if isinstance(pieces, list) else [pieces]:
            steps = _steps(piece.get("jsonPath")) if isinstance(piece, dict) else None
            if not isinstance(piece, dict) or steps is None or not self._assign(piece, steps):
                self._broken = True

    def text(self) -> str:
        """The arguments as JSON text, ``{}`` without any; empty if the arguments are incomplete."""
        return "" if self._broken or self._open else json.dumps(self._root, ensure_ascii=False)

    def _assign(self, piece: dict[str, Any], steps: list[str | int]) -> bool:
        path = json.dumps(steps)
        goes_on = path in self._open
        more = piece.get("willContinue") is True
        value = _value(piece)
        if value is _NOTHING and (goes_on or more):
            value = ""
        if value is _NOTHING or ((goes_on or more) and not isinstance(value, str)):
            return False
        found = _place(self._root, steps)
        if found is None:
            return False
        place, last = found
        if isinstance(place, list):
            if last != len(place) - goes_on:
                return False
            place[last:] = [place[last] + value if goes_on else value]
        else:
            if (last in place) is not goes_on:
                # The place has a value already.
                return False
            place[last] = place[last] + value if goes_on else value
        if more:
            self._open.add(path)
        else:
            self._open.discard(path)
        return True


def _steps(path: object) -> list[str | int] | None:
    if not isinstance(path, str) or not path.startswith("$"):
        return None
    steps: list[str | int] = []
    at = 1
    while at < len(path) and len(steps) < _MOST_STEPS:
        match = _STEP.match(path, at)
        if match is None:
            return None
        name, index, single, double = match.groups()
        steps.append(
            int(index) if index is not None else next(key for key in (name, single, double) if key is not None)
        )
        at = match.end()
    return steps if steps and at == len(path) else None


def _value(piece: dict[str, Any]) -> Any:
    text, number, truth = piece.get("stringValue"), piece.get("numberValue"), piece.get("boolValue")
    if isinstance(text, str):
        return text
    if type(truth) is bool:
        return truth
    if type(number) is int or (type(number) is float and math.isfinite(number)):
        return number
    # The API writes null as a field called nullValue.
    return None if "nullValue" in piece else _NOTHING


def _place(root: dict[str, Any], steps: list[str | int]) -> tuple[Any, Any] | None:
    """The container of the last step, made if missing, and that step; ``None`` if the path does not fit."""
    place: Any = root
    for step, following in itertools.pairwise(steps):
        inner: Any = [] if isinstance(following, int) else {}
        if isinstance(step, str) and isinstance(place, dict):
            place = place.setdefault(step, inner)
        elif isinstance(step, int) and isinstance(place, list) and step <= len(place):
            if step == len(place):
                place.append(inner)
            place = place[step]
        else:
            return None
    last = steps[-1]
    return (place, last) if isinstance(place, list if isinstance(last, int) else dict) else None
