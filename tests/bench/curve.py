"""Does a call, or an event, cost the same beside one stream and beside thousands?

1, 10, 100, 1,000 and 4,000 streams are begun, each in a thread of its own, and all of them get :data:`RATE` events a
second in all. Measured are the processor time of a call, from the making of its thread to its first event, and that of
an event. The figures hold 4,000 streams against 100; their notes show the whole curve, of ``Client.stream``, of bare
requests, and of ``Client.stream`` with a longer switch interval (:mod:`tests.bench.many_streams` tells why).
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from llmwatch import Client
from tests.bench.entry_points import read_client
from tests.bench.many_streams import LONGER, bare
from tests.bench.measure import Figure, Result, Spread, descriptors, fresh, sample
from tests.bench.server import running

SIZES = (1, 10, 100, 1000, 4000)
LEAST, MOST = 100, 4000
"""The sizes that are held against each other."""
RATE = 2000.0
"""Events a second, of all streams together."""
FIGURES = (
    Figure(name="curve.call", what="a call beside 4,000 streams / beside 100", goal=1.2),
    Figure(name="curve.event", what="an event beside 4,000 streams / beside 100", goal=1.2),
)


@dataclass(frozen=True, slots=True)
class Point:
    """What a call and an event cost beside so many streams, in seconds of processor time."""

    call: float
    event: float


class Streams:
    """``count`` streams, each in a thread of its own."""

    def __init__(self, read: Callable[[], Iterator[str]], count: int, events: int) -> None:
        self._read = read
        self._count = count
        self._events = events
        self._begun, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self) -> int:
        """Make every call, and wait for the first event of each."""
        for _ in range(self._count):
            thread = threading.Thread(target=self._one, daemon=True)
            self._threads.append(thread)
            thread.start()
        return self._wait(self._begun) * self._count

    def read(self) -> int:
        """Wait for the events of all streams."""
        return self._wait(self._done) * self._count * self._events

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _one(self) -> None:
        texts = self._read()
        next(texts)
        self._begun.release()
        if sum(1 for _ in itertools.islice(texts, self._events)) == self._events:
            self._done.release()
        self._over.wait()

    def _wait(self, each: threading.Semaphore) -> int:
        for _ in range(self._count):
            if not each.acquire(timeout=120):
                raise RuntimeError("a stream is not complete")
        return 1


def taken(watched: bool, count: int, seconds: float, interval: float | None = None) -> Point:
    """The costs beside ``count`` streams that are read for ``seconds``."""
    if interval is not None:
        sys.setswitchinterval(interval)
    descriptors(5 * count + 500)
    events = max(1, int(RATE / count * seconds))
    with running("ticking", count, events, RATE / count) as url, Client() as client:
        streams = Streams((lambda: read_client(client, url)) if watched else (lambda: bare(url)), count, events)
        try:
            return Point(sample(streams.begin).processor, sample(streams.read).processor)
        finally:
            streams.end()


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """Each run in a process of its own."""
    runs, seconds = (1, 2.0) if quick else (3, 4.0)
    found = {
        watched: {size: [fresh(taken, watched, size, seconds) for _ in range(runs)] for size in SIZES}
        for watched in (True, False)
    }
    calm = {size: [fresh(taken, True, size, seconds, LONGER)] for size in SIZES}
    return [_result(figure, found, calm) for figure in FIGURES if figure.name in names]


def _result(figure: Figure, found: dict[bool, dict[int, list[Point]]], calm: dict[int, list[Point]]) -> Result:
    part = figure.name.rpartition(".")[2]
    ours, bare_ones = (
        {size: [getattr(point, part) for point in points] for size, points in found[watched].items()}
        for watched in (True, False)
    )
    calmly = {size: [getattr(point, part) for point in points] for size, points in calm.items()}
    return Result(
        figure=figure,
        value=Spread.of([most / least for most, least in zip(ours[MOST], ours[LEAST], strict=True)]),
        ours=Spread.of(ours[MOST]).times(1e6),
        theirs=Spread.of(ours[LEAST]).times(1e6),
        unit="us",
        notes=(
            f"watched: {_curve(ours)} us",
            f"bare: {_curve(bare_ones)} us",
            f"watched, with a switch interval of {LONGER * 1e3:g} ms: {_curve(calmly)} us",
        ),
    )


def _curve(costs: dict[int, list[float]]) -> str:
    return ", ".join(f"{size:,} {Spread.of(values).median * 1e6:,.0f}" for size, values in costs.items())
