"""What is left behind after a thousand streams that were dropped in mid-answer.

It shows also which records the sinks get.

``python -m tests.bench.dropped_calls [CALLS] [THREADS]`` makes that many calls (1,000 in 8 threads unless given) to a
fault server in a process of its own, reads the first event of each and drops the stream; it prints how many records the
sinks got and how they ended, how long after the last drop the last of them came, and threads, file descriptors,
connections in CLOSE_WAIT and memory before and after. As many calls warm up what is kept for good, and are not counted.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

from llmwatch import Client
from tests.bench.faulted_calls import BODY, SERVER, Left

PATIENCE = 10.0
"""Seconds for which the last records are waited for."""


def batch(url: str, count: int, threads: int) -> tuple[list[Any], float]:
    """``count`` dropped calls in ``threads`` threads.

    The result is their records, and how long after the last drop the last record came.
    """
    records: list[Any] = []
    with Client(sinks=[records.append]) as client:

        def drop() -> None:
            for _ in range(count // threads):
                next(client.stream("POST", url, json=BODY))

        running = [threading.Thread(target=drop) for _ in range(threads)]
        for one in running:
            one.start()
        for one in running:
            one.join()
        dropped_at = time.monotonic()
        while len(records) < count // threads * threads and time.monotonic() < dropped_at + PATIENCE:
            time.sleep(0.001)
        return records, time.monotonic() - dropped_at


def main(count: int = 1_000, threads: int = 8) -> None:
    """Measure and print."""
    command = [sys.executable, "-c", SERVER, "stall-after-content", str(4 * count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        batch(url, count, threads)
        before = Left()
        records, after_the_last = batch(url, count, threads)
        ends = Counter((record.outcome, record.cause) for record in records)
        made, ids = len(records), len({record.call_id for record in records})
        del records
        after = Left()
        assert server.stdin is not None
        server.stdin.close()
    print(f"{count} calls dropped in {threads} threads: {made} records of {ids} calls, {dict(ends)}")
    print(f"the last record came {after_the_last * 1e3:.0f} ms after the last drop")
    print(f"before: {before}")
    print(f"after:  {after}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
