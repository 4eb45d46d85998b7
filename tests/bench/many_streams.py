"""Does the cost of an event stay what it is when many streams are read at once?

A thousand streams of 20 events a second each are read in a thread of its own each, by one client and by bare requests;
processor time of this process for each event, once all streams have begun and until all have had their events. Then
4,000 streams of 5 events a second, as many events in all, against the 1,000.

The notes give the same with a longer switch interval. CPython wakes each thread that waits for the interpreter once in
every interval (5 ms); where hundreds of threads wait at once, that takes more time than their work, and they fall
further behind.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import requests

from llmwatch import Client
from tests.bench.entry_points import read_bare, read_client
from tests.bench.measure import Figure, Result, Sample, descriptors, fresh, pairs, sample
from tests.bench.server import running

STREAMS, MANY, RATE = 1000, 4000, 20.0
LONGER = 0.05
"""Seconds of the longer switch interval."""
FIGURES = (
    Figure(
        name="many_streams.bare", what="an event of 1,000 streams of 20 a second: Client.stream / requests", goal=1.5
    ),
    Figure(name="many_streams.flat", what="an event: of 4,000 streams of 5 a second / of 1,000 of 20", goal=1.2),
)


def read_all(read: Callable[[], Iterator[str]], streams: int, events: int) -> Sample:
    """Read that many events of each stream, in a thread each."""
    begun, done, over = threading.Semaphore(0), threading.Semaphore(0), threading.Event()
    go = threading.Event()

    def one() -> None:
        texts = read()
        next(texts)
        begun.release()
        go.wait()
        if sum(1 for _ in itertools.islice(texts, events)) == events:
            done.release()
        over.wait()

    def work() -> int:
        go.set()
        for _ in range(streams):
            if not done.acquire(timeout=120):
                raise RuntimeError("a stream ended before its last event")
        return streams * events

    threads = [threading.Thread(target=one, daemon=True) for _ in range(streams)]
    for thread in threads:
        thread.start()
    for _ in threads:
        if not begun.acquire(timeout=120):
            raise RuntimeError("a stream has not begun")
    try:
        return sample(work)
    finally:
        over.set()
        for thread in threads:
            thread.join()


def bare(url: str) -> Iterator[str]:
    """One stream in a session of its own, since a session is for one thread."""
    with requests.Session() as session:
        yield from read_bare(session, url)


def taken(watched: bool, streams: int, seconds: float, interval: float | None = None) -> Sample:
    """The cost of an event, of so many streams with 20,000 events a second in all."""
    if interval is not None:
        sys.setswitchinterval(interval)
    descriptors(5 * streams + 500)
    rate = RATE * STREAMS / streams
    events = int(rate * seconds)
    with running("ticking", streams, events, rate) as url, Client() as client:
        return read_all((lambda: read_client(client, url)) if watched else (lambda: bare(url)), streams, events)


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """Each run in a process of its own."""
    seconds, runs, results = (1.0 if quick else 2.0), (1 if quick else 3), []
    sides = {FIGURES[0]: ((True, STREAMS), (False, STREAMS)), FIGURES[1]: ((True, MANY), (True, STREAMS))}
    for figure, ((by_us, ours), (also, theirs)) in sides.items():
        if figure.name not in names:
            continue
        found = pairs(
            lambda by_us=by_us, ours=ours: fresh(taken, by_us, ours, seconds),  # type: ignore[misc]
            lambda also=also, theirs=theirs: fresh(taken, also, theirs, seconds),  # type: ignore[misc]
            runs,
            warm=False,
        )
        one, other = (fresh(taken, *side, seconds, LONGER).processor * 1e6 for side in ((by_us, ours), (also, theirs)))
        note = f"with a switch interval of {LONGER * 1e3:g} ms: {one:.0f} and {other:.0f} us, {one / other:.2f}"
        results.append(replace(Result.of(figure, found), notes=(note,)))
    return results
