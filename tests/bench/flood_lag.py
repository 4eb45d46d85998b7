"""How late is the end of a flood? From the instant at which its limit expires to the exception in the caller.

``python -m tests.bench.flood_lag [CALLS]`` makes that many calls (10 unless given), one after the other, to a server in
a process of its own that sends each kind of flood as fast as it is read, and prints the lag in milliseconds. The limit
is 1 s: ``first_content`` where nothing of an answer comes, else ``total``.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time

from llmwatch import Client, Limits, Retry, WatchTimeout
from llmwatch.engine import call
from tests.bench.kill_lag import Noted
from tests.bench.server import running

KINDS = ("flood-comments", "flood-pings", "flood-empty", "flood-cr", "flood-content")
LIMIT = 1.0


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


def main(calls: int = 10) -> None:
    """Measure and print."""
    call.Attempt = Noted  # type: ignore[misc]
    for kind in KINDS:
        limits = Limits(total=LIMIT) if kind == "flood-content" else Limits(first_content=LIMIT)
        with running(kind) as url, Client(retry=Retry.none()) as client:
            lags = sorted(lag(client, url, limits) for _ in range(calls))
        print(f"{kind:<16} p50 {statistics.median(lags) * 1e3:8.2f} ms   max {lags[-1] * 1e3:8.2f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
