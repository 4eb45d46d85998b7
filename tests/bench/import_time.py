"""How long do ``import llmwatch`` and its ``Client`` take on top of ``import requests``?

Fresh interpreters import either, in turn; processor time, in units of ``import requests``. ``python -m
tests.bench.import_time [RUNS]`` prints the medians in milliseconds, and the part of the libraries that llmwatch stands
on.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from functools import partial

from tests.bench.measure import Figure, Result, Sample, pairs

FIGURES = (
    Figure(name="import_time.llmwatch", what="import llmwatch, where requests is imported / import requests", goal=0.3),
    Figure(name="import_time.client", what="the same and the first use of its Client / import requests", goal=0.3),
)
CODE = """
import sys, time
{before}
wall, processor = time.perf_counter(), time.process_time()
{code}
print(time.process_time() - processor, time.perf_counter() - wall)
"""
LIBRARIES = "sseclient, dataclasses, contextvars, zlib, heapq"

# As installed: with its bytecode cached.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def imported(module: str, before: str = "import requests") -> Sample:
    """The time of one import in a fresh interpreter."""
    code = f"from llmwatch import {module}" if module[0].isupper() else f"import {module}"
    command = [sys.executable, "-c", CODE.format(code=code, before=before)]
    output = subprocess.run(command, capture_output=True, env=ENVIRONMENT, text=True, check=True).stdout
    return Sample(*map(float, output.split()), 1)


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """A name is loaded when it is first used."""
    rounds = 7 if quick else 31
    return [
        Result.of(figure, pairs(partial(imported, what), partial(imported, "requests", ""), rounds), 1e3, "ms")
        for figure, what in zip(FIGURES, ("llmwatch", "Client"), strict=True)
        if figure.name in names
    ]


def main(runs: int = 15) -> None:
    """Measure and print."""
    found = pairs(lambda: imported("Client").wall, lambda: imported(LIBRARIES).wall, runs)
    ours, parts = (statistics.median(column) * 1e3 for column in zip(*found, strict=True))
    print(f"from llmwatch import Client over import requests: {ours:.1f} ms (median of {runs})")
    print(f"of that, the libraries it stands on: {parts:.1f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
