"""The lag of the end of a flood.

It lasts from the instant at which the limit expires to the exception in the caller.

Calls are made one after the other to a server that sends each kind of flood as fast as it is read. The limit is 1 s:
``first_content`` where nothing of an answer comes, else ``total``. ``python -m tests.bench.flood_lag [CALLS]`` makes
that many calls of each kind (10 unless given) and prints the lags in milliseconds.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Sequence

from llmwatch import Client, Limits, Retry, WatchTimeout
from llmwatch.engine import call
from tests.bench.kill_lag import Noted
from tests.bench.measure import Figure, Result, Spread
from tests.bench.server import running

KINDS = ("flood-comments", "flood-pings", "flood-empty", "flood-cr", "flood-content")
LIMIT = 1.0
FIGURES = (
    Figure(
        name="flood_lag.most",
        what="expiry to the exception in the caller, in a flood of any kind",
        goal=100.0,
        unit="ms",
        each=True,
    ),
)


def lag(client: Client, url: str, limits: Limits) -> float:
    """Seconds from the expiry to the exception, of one call."""
    with client.stream("POST", url, json={"stream": True}, limits=limits) as stream:
        try:
            for _ in stream:
                pass
        except WatchTimeout:
            now = time.monotonic()
        else:
            raise AssertionError("the flood ended by itself")
    verdict = Noted.by_thread[threading.get_ident()].verdict
    assert verdict is not None
    assert verdict.lag is not None
    return now - (verdict.at - verdict.lag)


def lags(kind: str, calls: int) -> list[float]:
    """Seconds of lag in that many calls."""
    limits = Limits(total=LIMIT) if kind == "flood-content" else Limits(first_content=LIMIT)
    with running(kind) as url, Client(retry=Retry.none()) as client:
        return [lag(client, url, limits) for _ in range(calls)]


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """All kinds of floods together."""
    call.Attempt = Noted  # type: ignore[misc]
    found = [lag for kind in KINDS for lag in lags(kind, 2 if quick else 10)]
    return [Result(figure=FIGURES[0], value=Spread.of(found).times(1e3))]


def main(calls: int = 10) -> None:
    """Measure and print."""
    call.Attempt = Noted  # type: ignore[misc]
    for kind in KINDS:
        found = lags(kind, calls)
        print(f"{kind:<16} p50 {statistics.median(found) * 1e3:8.2f} ms   max {max(found) * 1e3:8.2f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
