"""What is left behind after ten thousand calls that failed?

``python -m tests.bench.faulted_calls [CALLS] [THREADS]`` makes that many calls (10,000 in 40 threads unless given) to a
fault server in a process of its own, whose answers fail in turn in every way that needs no wait of its own; it prints
threads, file descriptors, connections in CLOSE_WAIT and memory before and after, and how the calls ended. The first
tenth warms up what is kept for good, and is not counted.
"""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence

import psutil

import llmwatch
from llmwatch import Client, Limits, LLMWatchError, Retry
from tests.bench.measure import Figure, Result, Spread

BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
FAULTS = [
    "silent",
    "headers-then-silent",
    "keepalive-only",
    "stall-after-content",
    "reset-mid-stream",
    "reset-before-response",
    "cut-chunk",
    "missing-last-chunk",
    "short-length",
    "eof-without-terminal",
    "error-event",
    "malformed-event",
    "html-instead",
    "json-instead",
    "empty-stream",
    "gzip-cut",
    "redirect-302",
    "bad-request",
    "comment-then-silent",
    "lifecycle-only",
    "tool-call-cut",
    "healthy",
]
FIGURES = (
    Figure(name="faulted_calls.threads", what="threads left by 10,000 faulted calls", goal=0.0, unit="more"),
    Figure(name="faulted_calls.descriptors", what="descriptors left by 10,000 faulted calls", goal=0.0, unit="more"),
    Figure(name="faulted_calls.memory", what="memory left by 10,000 faulted calls", goal=2.0, unit="MiB"),
)
LIMITS = Limits(ttfb=0.05, first_content=0.08, stale=0.05, progress=0.08, total=1)
# Of the fault server's own; it must be another process, or its descriptors would be counted too.
SERVER = """
import sys
from llmwatch.faults import FaultServer
names = sys.argv[1].split()
with FaultServer([names[number % len(names)] for number in range(int(sys.argv[2]))]) as server:
    print(server.chat_url, flush=True)
    sys.stdin.read()
"""


class Left:
    """What this process holds."""

    def __init__(self) -> None:
        gc.collect()
        me = psutil.Process()
        # Workers that were just told to end need a moment; this is no measurement of how long.
        until = time.monotonic() + 3.0
        while llmwatch.stats()["workers"] and time.monotonic() < until:
            time.sleep(0.01)
        self.threads = threading.active_count()
        self.descriptors = me.num_fds()
        self.close_wait = sum(one.status == psutil.CONN_CLOSE_WAIT for one in me.net_connections("tcp"))
        self.memory = me.memory_info().rss / 2**20

    def __str__(self) -> str:
        return (
            f"{self.threads} threads, {self.descriptors} descriptors, {self.close_wait} in CLOSE_WAIT,"
            f" {self.memory:.1f} MiB"
        )


def calls(client: Client, url: str, numbers: itertools.count[int], most: int, ends: Counter[str]) -> None:
    """Make calls until ``most`` were made by all threads together."""
    while next(numbers) < most:
        try:
            client.collect("POST", url, json=BODY)
            ends["answered"] += 1
        except LLMWatchError as error:
            ends[type(error).__name__] += 1


def batch(url: str, count: int, threads: int) -> Counter[str]:
    """``count`` calls in ``threads`` threads, and how they ended."""
    ends: Counter[str] = Counter()
    numbers = itertools.count()
    with Client(limits=LIMITS, retry=Retry(max_attempts=2, backoff=0, budget=0, breaker=0)) as client:
        running = [threading.Thread(target=calls, args=(client, url, numbers, count, ends)) for _ in range(threads)]
        for one in running:
            one.start()
        for one in running:
            one.join()
    return ends


def left(count: int, threads: int) -> tuple[Left, Left, Counter[str], float]:
    """What the process holds before and after ``count`` calls, how they ended, and their seconds."""
    command = [sys.executable, "-c", SERVER, " ".join(FAULTS), str(4 * count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        batch(url, count // 10, threads)
        before = Left()
        begin = time.monotonic()
        ends = batch(url, count, threads)
        seconds = time.monotonic() - begin
        after = Left()
        assert server.stdin is not None
        server.stdin.close()
    return before, after, ends, seconds


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """All three from one run."""
    before, after, ends, seconds = left(*((1000, 20) if quick else (10_000, 40)))
    note = f"{ends.total():,} calls in {seconds:.0f} s"
    results = []
    for figure in FIGURES:
        kind = figure.name.partition(".")[2]
        one, other = (float(getattr(side, kind)) for side in (after, before))
        ours, theirs, value = Spread.of([one]), Spread.of([other]), Spread.of([one - other])
        results.append(Result(figure=figure, value=value, ours=ours, theirs=theirs, unit=figure.unit, notes=(note,)))
    return results


def main(count: int = 10_000, threads: int = 40) -> None:
    """Measure and print."""
    before, after, ends, seconds = left(count, threads)
    print(f"{count} calls in {threads} threads, {seconds:.0f} s: {dict(ends.most_common())}")
    print(f"before: {before}")
    print(f"after:  {after}")
    print(f"orphans {llmwatch.stats()['orphans']}, unabortable {llmwatch.stats()['unabortable']}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
