"""How late is a kill? From the instant at which a limit expires to the exception in the caller.

``python -m tests.bench.kill_lag [STREAMS]`` holds that many silent streams at once (1,000 unless given) and prints,
in milliseconds, the lag when they expire one after the other, the spread when all expire together, and the lag of the
common design beside it in the same run: a supervisor that polls every 0.3 s, closes the response, and joins its
worker for up to 2 s.
"""

from __future__ import annotations

import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import psutil
import requests

from llmwatch import Client, Limits, Retry, WatchTimeout
from llmwatch.engine import call
from llmwatch.watch.attempt import Attempt
from tests.bench.server import running

POLL, JOIN = 0.3, 2.0


class Noted(Attempt[Any]):
    """An attempt that can be found again by the thread that started it."""

    by_thread: ClassVar[dict[int, Noted]] = {}

    def start(self, work: Callable[[Any], None]) -> None:
        Noted.by_thread[threading.get_ident()] = self
        super().start(work)


def watched(client: Client, url: str, limit: float, lags: list[float]) -> None:
    """One silent call; appends the lag in seconds."""
    try:
        with client.stream("POST", url, json={"stream": True}, limits=Limits(ttfb=limit)) as stream:
            list(stream)
    except WatchTimeout:
        now = time.monotonic()
        verdict = Noted.by_thread[threading.get_ident()].verdict
        assert verdict is not None
        assert verdict.lag is not None
        lags.append(now - (verdict.at - verdict.lag))


def polled(url: str, limit: float, lags: list[float]) -> None:
    """The common design: a worker, a polling loop, close from outside, a bounded join."""
    answer: list[requests.Response] = []
    heard = [time.monotonic()]

    def work() -> None:
        try:
            response = requests.post(url, json={"stream": True}, stream=True, timeout=60)
            answer.append(response)
            for _ in response.iter_content(1):
                heard[0] = time.monotonic()
        except Exception:
            pass

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    heard[0] = time.monotonic()
    while worker.is_alive():
        time.sleep(POLL)
        if time.monotonic() - heard[0] > limit:
            if answer:
                answer[0].close()
            worker.join(JOIN)
            break
    lags.append(time.monotonic() - (heard[0] + limit))


def hold(streams: int, one: Callable[[int], None]) -> None:
    """Run ``one`` in that many threads at once."""
    threads = [threading.Thread(target=one, args=(number,)) for number in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def show(what: str, lags: list[float]) -> None:
    """One line of the result."""
    ordered = sorted(lags)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(
        f"{what:<34} n={len(ordered):<5} p50 {statistics.median(ordered) * 1e3:9.3f} ms"
        f"   p99 {p99 * 1e3:9.3f} ms   max {ordered[-1] * 1e3:9.3f} ms"
    )


def main(streams: int = 1000) -> None:
    """Measure and print."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 6 * streams + 200)), hard))
    call.Attempt = Noted  # type: ignore[misc]
    process = psutil.Process()
    with running("silent") as url, Client(retry=Retry.none()) as client:
        begin = process.memory_info().rss
        staggered: list[float] = []
        hold(streams, lambda number: watched(client, url, 4.0 + number * 0.004, staggered))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        show("staggered by 4 ms", staggered)

        together: list[float] = []
        gate = threading.Barrier(streams)

        def at_once(number: int) -> None:
            gate.wait()
            watched(client, url, 5.0, together)

        hold(streams, at_once)
        show("all in the same moment", together)

        common: list[float] = []
        hold(min(streams, 100), lambda number: polled(url, 1.0 + number * 0.004, common))
        show("polling supervisor with a join", common)
        print(f"ratio at p50, polling / llmwatch: {statistics.median(common) / statistics.median(staggered):.0f}")
        print(f"memory at {streams} streams: {(peak - begin) / 2**20:.0f} MiB above the bare process")
        supervisors = [thread for thread in threading.enumerate() if thread.name == "llmwatch-supervisor"]
        print(f"supervisor threads: {len(supervisors)}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
