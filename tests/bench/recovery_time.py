"""How long does a call take whose first connection is dead on arrival, as a multiple of the limit?

The server accepts, reads and is silent, and answers the resend at once. The limit is ``ttfb``; the back-off is off,
since its length is random and the user's choice. Held against the limit itself: no recovery can be shorter.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from llmwatch import Client, Limits, Retry
from tests.bench.entry_points import BODY
from tests.bench.measure import Figure, Result, Spread
from tests.bench.server import running

LIMIT = 0.5
FIGURES = (
    Figure(name="recovery_time.dead", what="a call whose first connection is dead on arrival / the limit", goal=1.1),
)


def recovered(client: Client, url: str) -> float:
    """Seconds of one call, which was made again once."""
    begin = time.monotonic()
    answer = client.collect("POST", url, json=BODY)
    seconds = time.monotonic() - begin
    if len(answer.record.attempts) != 2:
        raise RuntimeError(f"{len(answer.record.attempts)} attempts, not 2")
    return seconds


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """One call after the other."""
    retry = Retry(backoff=0, breaker=0, budget=0)
    with running("silent+healthy") as url, Client(limits=Limits(ttfb=LIMIT), retry=retry) as client:
        seconds = [recovered(client, url) for _ in range(3 if quick else 20)]
    ours = Spread.of(seconds).times(1e3)
    theirs = Spread.of([LIMIT * 1e3])
    return [Result(figure=FIGURES[0], value=ours.times(1 / theirs.median), ours=ours, theirs=theirs, unit="ms")]
