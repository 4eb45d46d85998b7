"""What does watching cost for a short stream?

A stream of 5 events, which comes in one piece, on a kept connection; processor time of this process for each stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from tests.bench.entry_points import NAMES, Sides, repeated, streams
from tests.bench.measure import Figure, Result, compare
from tests.bench.server import connections, running

EVENTS = 5
CALLS = 200
FIGURES = (
    Figure(
        name="short_streams.client", what="a stream of 5 events: Client.stream / requests and sseclient-py", goal=1.6
    ),
    Figure(name="short_streams.session", what="a stream of 5 events: Session / requests, by iter_lines", goal=1.6),
    Figure(
        name="short_streams.sdk", what="a stream of 5 events: sdk.openai() / openai on its own transport", goal=1.15
    ),
)


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """Each entry point in turn with what it is held against."""
    with running("burst", EVENTS) as url:
        return calls(FIGURES, names, url, streams, quick)


def calls(
    figures: Sequence[Figure],
    names: Sequence[str],
    url: str,
    sides: Callable[[str, str], AbstractContextManager[Sides]],
    quick: bool,
) -> list[Result]:
    """The cost of a call through each entry point.

    It comes with the number of connections that each side opened for all its calls.
    """
    results = []
    for figure, entry_point in zip(figures, NAMES, strict=True):
        if figure.name not in names:
            continue
        with sides(entry_point, url) as (ours, theirs):
            result = compare(figure, repeated(ours, CALLS), repeated(theirs, CALLS), 3 if quick else 15)
            opened = []
            for call in (ours, theirs):
                before = connections(url)
                repeated(call, CALLS)()
                opened.append(connections(url) - before - 1)
        note = f"connections opened in {CALLS} calls more: {opened[0]}, {opened[1]} without llmwatch"
        results.append(replace(result, notes=(note,)))
    return results
