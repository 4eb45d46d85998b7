"""Measure every figure, and say which goals are reached.

``python -m tests.bench [NAME ...] [--quick] [--json FILE]`` runs the figures of the modules that are named, or single
figures (``events``, ``events.session``), or all. All take most of an hour, and some 10 minutes with ``--quick``, which
takes fewer runs. Each module runs in a process of its own. ``--list`` names the figures and their goals.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.measure import Figure, Result, as_json, fresh, table

MODULES = (
    "events",
    "short_streams",
    "plain_calls",
    "import_time",
    "kill_lag",
    "stream_memory",
    "many_streams",
    "curve",
    "hand_over",
    "recovery_time",
    "large_event",
    "long_stream",
    "reporting",
    "call_log",
    "report_page",
    "stages",
    "left_alone",
    "flood_lag",
    "faulted_calls",
)
"""Each has its ``FIGURES``, and ``measure(names, quick)``, which returns their results."""


def figures_of(module: str) -> tuple[Figure, ...]:
    """The figures that ``module`` measures."""
    found: tuple[Figure, ...] = importlib.import_module(f"tests.bench.{module}").FIGURES
    return found


def wanted(names: Sequence[str]) -> dict[str, list[Figure]]:
    """The figures that ``names`` choose, by module; all if there are none.

    Raises ``KeyError`` for an unknown name.
    """
    every = {module: figures_of(module) for module in MODULES}
    known = {figure.name for figures in every.values() for figure in figures} | every.keys()
    for name in names:
        if name not in known:
            raise KeyError(name)
    chosen = {
        module: [figure for figure in figures if not names or figure.name in names or module in names]
        for module, figures in every.items()
    }
    return {module: figures for module, figures in chosen.items() if figures}


def measured(module: str, names: list[str], quick: bool) -> list[Result]:
    """The results of one module, in this process."""
    found: list[Result] = importlib.import_module(f"tests.bench.{module}").measure(names, quick)
    return [result for result in found if result.figure.name in names]


def run(chosen: dict[str, list[Figure]], *, quick: bool) -> list[Result]:
    """Measure, each module in a process of its own; a figure that fails is not measured, and says why."""
    results = []
    for module, figures in chosen.items():
        began = time.monotonic()
        try:
            found = fresh(measured, module, [figure.name for figure in figures], quick)
        except Exception as error:
            found = [Result(figure=figure, value=None, notes=(f"failed: {error!r}",)) for figure in figures]
        results += found
        print(f"{module}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a figure could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure what watching costs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a module or a figure; all unless given")
    parser.add_argument("--quick", action="store_true", help="fewer runs, and less exact")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE as well")
    parser.add_argument("--list", action="store_true", help="name the figures and their goals, and measure nothing")
    options = parser.parse_args(arguments)
    try:
        chosen = wanted(options.names)
    except KeyError as error:
        parser.error(f"no module or figure has the name {error}; --list names them")
    if options.list:
        results = [Result(figure=figure, value=None) for figures in chosen.values() for figure in figures]
        print(table(results))
        return 0
    results = run(chosen, quick=options.quick)
    print(table(results))
    if options.json is not None:
        options.json.write_text(as_json(results, quick=options.quick), encoding="utf-8")
    return int(any(result.value is None for result in results))
