"""How long does an event take from the worker's hands to the caller's?

A stream of 1,000 events a second, each of which says when it was sent (one machine, one monotonic clock), is read by a
client and by bare requests in turn, from sent to seen. The figure is the difference: what bare requests take is no
hand-over. Both sides stand beside it as they are.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence

import requests

from llmwatch import Client
from tests.bench.entry_points import read_bare, read_client
from tests.bench.measure import Figure, Result, Spread, pairs, quantile
from tests.bench.server import running

EVENTS, RATE = 3000, 1000.0
FIGURES = (
    Figure(
        name="hand_over.p50",
        what="hand-over at 1,000 events/s, median",
        goal=0.05,
        unit="ms",
    ),
    Figure(
        name="hand_over.p99",
        what="hand-over at 1,000 events/s, 99 of 100",
        goal=0.3,
        unit="ms",
    ),
)


def lags(texts: Iterator[str]) -> tuple[float, float]:
    """Median and 99th percentile in milliseconds."""
    found = sorted(time.monotonic() - float(text) for text in texts)
    return statistics.median(found) * 1e3, quantile(found, 0.99) * 1e3


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """Both figures from the same runs."""
    with (
        running("paced", EVENTS // (3 if quick else 1), RATE) as url,
        Client() as client,
        requests.Session() as session,
    ):
        found = pairs(lambda: lags(read_client(client, url)), lambda: lags(read_bare(session, url)), 2 if quick else 7)
    results = []
    for which, figure in enumerate(FIGURES):
        ours, theirs = (Spread.of([side[which] for side in sides]) for sides in zip(*found, strict=True))
        added = Spread.of([one[which] - other[which] for one, other in found])
        results.append(Result(figure=figure, value=added, ours=ours, theirs=theirs, unit="ms"))
    return results
