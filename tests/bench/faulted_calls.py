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

import psutil

import llmwatch
from llmwatch import Client, Limits, LLMWatchError, Retry

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


def main(count: int = 10_000, threads: int = 40) -> None:
    """Measure and print."""
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
    print(f"{count} calls in {threads} threads, {seconds:.0f} s: {dict(ends.most_common())}")
    print(f"before: {before}")
    print(f"after:  {after}")
    print(f"orphans {llmwatch.stats()['orphans']}, unabortable {llmwatch.stats()['unabortable']}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
