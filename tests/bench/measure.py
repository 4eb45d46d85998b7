"""What all figures share: how two works are compared, what a result holds, and the table of results.

Two works are compared in pairs, one run of each after the other, and the second pair in the other order: what else the
machine does then weighs on both. What counts is processor time, of all threads of this process, which other processes
hardly change; the wall time stands beside it. The server is a process of its own, so its work is not counted.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Figure", "Result", "Sample", "Spread", "as_json", "compare", "fresh", "in_turn", "pairs", "sample", "table"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of one kind: their number, median, least, quartiles and most."""

    count: int
    median: float
    least: float
    lower: float
    upper: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value; the quartiles include the ends, so that two values have some."""
        lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        return cls(len(values), middle, min(values), lower, upper, max(values))

    def times(self, factor: float) -> Spread:
        """The same in another unit."""
        values = (self.median, self.least, self.lower, self.upper, self.most)
        return Spread(self.count, *(value * factor for value in values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table.

    * ``name``: its module, a dot, and its name in there; ``what``: what is measured, and held against what.
    * ``goal``: the most that the value may be. ``unit``: ``x`` for a ratio.
    * ``each``: the goal holds for the worst run, not for the median.
    """

    name: str
    what: str
    goal: float
    unit: str = "x"
    each: bool = False

    def reached(self, value: Spread) -> bool:
        """Whether ``value`` is within the goal."""
        return self.judged(value) <= self.goal

    def judged(self, value: Spread) -> float:
        """The part of ``value`` that is held against the goal."""
        return value.most if self.each else value.median


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A measured figure.

    * ``value``: what is held against the goal, in its unit; ``None``: not measured, for the reason in ``notes``.
    * ``ours`` and ``theirs``: the two sides, in ``unit``. ``wall``: the ratio of wall times.
    """

    figure: Figure
    value: Spread | None
    ours: Spread | None = None
    theirs: Spread | None = None
    unit: str = ""
    wall: Spread | None = None
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls, figure: Figure, found: Sequence[tuple[Sample, Sample]], factor: float = 1e6, unit: str = "us"
    ) -> Result:
        """The ratio of the processor times of pairs of samples.

        Both sides are in ``unit`` (seconds by ``factor``).
        """
        return cls(
            figure=figure,
            value=Spread.of([one.processor / other.processor for one, other in found]),
            ours=Spread.of([one.processor for one, _ in found]).times(factor),
            theirs=Spread.of([other.processor for _, other in found]).times(factor),
            unit=unit,
            wall=Spread.of([one.wall / other.wall for one, other in found]),
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of a work: seconds of processor and of wall time for each of ``count`` things done."""

    processor: float
    wall: float
    count: int


Work = Callable[[], int]
"""Does something, and returns how many times."""


def sample(work: Work) -> Sample:
    """Run ``work`` once. The garbage of what ran before is not counted."""
    gc.collect()
    wall, processor = time.perf_counter(), time.process_time()
    count = work()
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    if count < 1:
        raise ValueError("the work did nothing")
    return Sample(processor / count, wall / count, count)


def in_turn(runs: int) -> Iterator[tuple[int, int]]:
    """The order of the two sides in each pair: ours (0) and theirs (1) come first by turns."""
    for number in range(runs):
        yield (0, 1) if number % 2 == 0 else (1, 0)


def pairs(ours: Callable[[], Any], theirs: Callable[[], Any], runs: int, *, warm: bool = True) -> list[tuple[Any, Any]]:
    """What ``ours`` and ``theirs`` return in ``runs`` runs each, in turn.

    ``warm``: after one run that is dropped.
    """
    sides = (ours, theirs)
    if warm:
        for side in sides:
            side()
    found = []
    for order in in_turn(runs):
        both: list[Any] = [None, None]
        for side in order:
            both[side] = sides[side]()
        found.append((both[0], both[1]))
    return found


def compare(figure: Figure, ours: Work, theirs: Work, runs: int, *, factor: float = 1e6, unit: str = "us") -> Result:
    """The ratio of processor times of two works.

    Each is in ``unit`` (seconds by ``factor``) for one of what they do.
    """
    return Result.of(figure, pairs(lambda: sample(ours), lambda: sample(theirs), runs), factor, unit)


def fresh(function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function`` returns in a new process.

    Nothing of this process has warmed the new one up or left anything in it.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def quantile(ordered: Sequence[float], part: float) -> float:
    """The value of sorted ``ordered`` below which ``part`` of them are."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def descriptors(wanted: int) -> bool:
    """Raise the limit of open descriptors to ``wanted``, if the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = hard if hard != resource.RLIM_INFINITY else wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(allowed, wanted)), hard))
    return max(soft, allowed) >= wanted


def _number(value: float) -> str:
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def _side(side: Spread | None, unit: str) -> str:
    return "" if side is None else f"{_number(side.median)} {unit}"


_COLUMNS = ("figure", "goal", "value", "min, quartiles, max", "ours", "against", "wall", "reached")


def _cells(result: Result) -> tuple[str, ...]:
    figure, value, unit = result.figure, result.value, result.figure.unit
    goal = f"<= {_number(figure.goal)} {unit}"
    if value is None:
        return (figure.name, goal, "", "", "", "", "", "not measured")
    spread = " ".join(map(_number, (value.least, value.lower, value.upper, value.most)))
    wall = "" if result.wall is None else f"{_number(result.wall.median)} x"
    judged = f"{_number(figure.judged(value))} {unit}"
    sides = (_side(result.ours, result.unit), _side(result.theirs, result.unit))
    return (figure.name, goal, judged, spread, *sides, wall, "yes" if figure.reached(value) else "no")


def table(results: Sequence[Result]) -> str:
    """All results, one line each, and below it what each means and its notes."""
    rows = [_COLUMNS, *map(_cells, results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append("")
    for result in results:
        lines.append(f"{result.figure.name}: {result.figure.what}{' (each run)' if result.figure.each else ''}")
        lines += [f"    {note}" for note in result.notes]
    measured = [result for result in results if result.value is not None]
    reached = sum(result.figure.reached(result.value) for result in measured if result.value is not None)
    lines.append(f"{reached} of {len(results)} goals are reached; {len(results) - len(measured)} were not measured.")
    return "\n".join(lines)


def as_json(results: Sequence[Result], *, quick: bool) -> str:
    """All results with the machine that they were measured on."""
    import llmwatch

    figures = []
    for result in results:
        judged = None if result.value is None else result.figure.judged(result.value)
        reached = None if result.value is None else result.figure.reached(result.value)
        figures.append({**asdict(result), "judged": judged, "reached": reached})
    machine = {
        "llmwatch": llmwatch.__version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "quick": quick,
    }
    return json.dumps({**machine, "figures": figures}, indent=1) + "\n"
