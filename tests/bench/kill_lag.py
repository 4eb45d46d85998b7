"""How late is a kill? From the instant at which a limit expires to the exception in the caller.

A thousand silent streams are held at once, each by a caller in a thread of its own. They expire one after the other, 4
ms apart, or all in one moment; 4,000 expire one after the other. In the same run the same is done by a minimal watchdog
and, for fewer streams, by the common one that polls (:mod:`tests.bench.watchdogs`). ``python -m tests.bench.kill_lag
[STREAMS]`` prints the lags of one run in milliseconds.
"""

from __future__ import annotations

import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import psutil

from llmwatch import Client, Limits, Retry, WatchTimeout
from llmwatch.engine import call
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.states import Phase
from tests.bench.measure import Figure, Result, Spread, descriptors, pairs, quantile
from tests.bench.server import running
from tests.bench.watchdogs import Minimal, minimal, polling

STREAMS, MANY, POLLED = 1000, 4000, 100
STEP = 0.004
"""Seconds between two expiries."""
WINDOW = 8
"""Calls that are made side by side, so that the limit of each begins when it is made."""
FIGURES = (
    Figure(name="kill_lag.p50", what="1,000 silent streams staggered by 4 ms, median / minimal watchdog", goal=3.0),
    Figure(name="kill_lag.p99", what="1,000 silent streams staggered by 4 ms, 99 of 100 / minimal watchdog", goal=4.0),
    Figure(
        name="kill_lag.together",
        what="1,000 silent streams in one moment, the last caller free / minimal watchdog",
        goal=2.0,
        each=True,
    ),
    Figure(name="kill_lag.many", what="4,000 silent streams staggered by 4 ms, 99 of 100 / minimal watchdog", goal=6.0),
    Figure(name="kill_lag.polling", what="staggered streams, median / a watchdog that polls and joins", goal=0.02),
)


class Noted(Attempt[Any]):
    """An attempt that can be found again by the thread that started it."""

    by_thread: ClassVar[dict[int, Noted]] = {}

    def start(self, *args: Any, **kwargs: Any) -> None:
        Noted.by_thread[threading.get_ident()] = self
        super().start(*args, **kwargs)

    @classmethod
    def silent(cls, thread: threading.Thread) -> bool:
        """Whether the attempt of ``thread`` has sent its request."""
        attempt = cls.by_thread.get(thread.ident or 0)
        return attempt is not None and attempt.phase not in (Phase.IDLE, Phase.CONNECTING, Phase.SENDING)


class Lags(NamedTuple):
    """Seconds of lag in a run."""

    p50: float
    p99: float
    most: float

    @classmethod
    def of(cls, lags: list[float]) -> Lags:
        ordered = sorted(lags)
        return cls(statistics.median(ordered), quantile(ordered, 0.99), ordered[-1])


def watched(client: Client, url: str, deadline: float) -> float:
    """One silent call; returns the seconds from its limit's expiry, about ``deadline``, to its exception."""
    limit = deadline - time.monotonic()
    if limit <= 0.2:
        raise RuntimeError("the machine is too slow to have all streams silent before the first expires")
    try:
        with client.stream("POST", url, json={"stream": True}, limits=Limits(ttfb=limit)) as stream:
            list(stream)
    except WatchTimeout:
        now = time.monotonic()
        verdict = Noted.by_thread[threading.get_ident()].verdict
        assert verdict is not None
        assert verdict.lag is not None
        return now - (verdict.at - verdict.lag)
    raise AssertionError("a silent stream has ended")


def hold(
    streams: int,
    one: Callable[[float], float],
    *,
    lead: float,
    step: float,
    ready: Callable[[threading.Thread], bool] = threading.Thread.is_alive,
) -> Lags:
    """Run ``one`` in that many threads at once, and return the lags.

    The first has a deadline in ``lead`` seconds, the others ``step`` apart; ``ready`` says whether the call of a thread
    is made.
    """
    lags: list[float] = []
    first = time.monotonic() + lead
    threads: list[threading.Thread] = []
    for number in range(streams):
        deadline = first + number * step
        thread = threading.Thread(target=lambda deadline=deadline: lags.append(one(deadline)))  # type: ignore[misc]
        threads.append(thread)
        thread.start()
        while number >= WINDOW and not ready(threads[number - WINDOW]) and time.monotonic() < first:
            time.sleep(0.0005)
    for thread in threads:
        thread.join()
    if len(lags) < streams:
        raise RuntimeError(f"{streams - len(lags)} of {streams} calls failed")
    return Lags.of(lags)


def ours(client: Client, url: str, streams: int, step: float) -> Lags:
    """The lags of that many watched streams."""
    Noted.by_thread.clear()
    lead = 2 + 0.006 * streams
    return hold(streams, lambda at: watched(client, url, at), lead=lead, step=step, ready=Noted.silent)


def least(watchdog: Minimal, url: str, streams: int, step: float) -> Lags:
    """The lags of that many streams under the minimal watchdog."""
    return hold(streams, lambda at: minimal(watchdog, url, at), lead=1 + 0.001 * streams, step=step)


def polled(url: str) -> Lags:
    """The lags of a few streams under the watchdog that polls, staggered."""
    return hold(POLLED, lambda at: polling(url, at - time.monotonic()), lead=2, step=STEP)


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """Ours and the minimal watchdog by turns."""
    call.Attempt = Noted  # type: ignore[misc]
    results = []
    enough = descriptors(3 * MANY + 500)
    with running("silent") as url, Client(retry=Retry.none()) as client:
        watchdog = Minimal()

        def taken(streams: int, step: float, runs: int) -> list[tuple[Lags, Lags]]:
            return pairs(
                lambda: ours(client, url, streams, step), lambda: least(watchdog, url, streams, step), runs, warm=False
            )

        if {"kill_lag.p50", "kill_lag.p99", "kill_lag.polling"} & set(names):
            found = taken(STREAMS, STEP, 1 if quick else 5)
            results += [compared(FIGURES[0], found, 0), compared(FIGURES[1], found, 1)]
            common = polled(url)
            results.append(compared(FIGURES[4], [(one, common) for one, _ in found], 0))
        if "kill_lag.together" in names:
            results.append(compared(FIGURES[2], taken(STREAMS, 0.0, 2 if quick else 10), 2))
        if "kill_lag.many" in names and enough:
            results.append(compared(FIGURES[3], taken(MANY, STEP, 1 if quick else 3), 1))
        elif "kill_lag.many" in names:
            note = f"the limit of open descriptors (ulimit -Hn) is below {3 * MANY + 500:,}"
            results.append(Result(figure=FIGURES[3], value=None, notes=(note,)))
        watchdog.close()
    return results


def compared(figure: Figure, found: Sequence[tuple[Lags, Lags]], which: int) -> Result:
    """The ratios of one of the values of :class:`Lags`."""
    return Result(
        figure=figure,
        value=Spread.of([one[which] / other[which] for one, other in found]),
        ours=Spread.of([one[which] for one, _ in found]).times(1e3),
        theirs=Spread.of([other[which] for _, other in found]).times(1e3),
        unit="ms",
    )


def show(what: str, lags: Lags) -> None:
    """One line of the result."""
    p50, p99, most = (value * 1e3 for value in lags)
    print(f"{what:<34} p50 {p50:9.3f} ms   p99 {p99:9.3f} ms   max {most:9.3f} ms")


def main(streams: int = STREAMS) -> None:
    """Measure and print."""
    descriptors(3 * streams + 500)
    call.Attempt = Noted  # type: ignore[misc]
    process = psutil.Process()
    with running("silent") as url, Client(retry=Retry.none()) as client:
        begin = process.memory_info().rss
        staggered = ours(client, url, streams, STEP)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        show("staggered by 4 ms", staggered)
        show("all in the same moment", ours(client, url, streams, 0.0))
        watchdog = Minimal()
        show("minimal watchdog, staggered", least(watchdog, url, streams, STEP))
        show("minimal watchdog, the same moment", least(watchdog, url, streams, 0.0))
        watchdog.close()
        common = polled(url)
        show(f"polling with a join, {POLLED} streams", common)
        print(f"ratio at p50, polling / llmwatch: {common.p50 / staggered.p50:.0f}")
        print(f"memory at {streams} streams: {(peak - begin) / 2**20:.0f} MiB above the bare process")
        supervisors = [thread for thread in threading.enumerate() if thread.name == "llmwatch-supervisor"]
        print(f"supervisor threads: {len(supervisors)}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
