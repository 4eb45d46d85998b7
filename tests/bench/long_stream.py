"""Does a stream of 10 million events stay as cheap as it begins?

One saturated stream is read through a client, in ten parts; the memory of this process at the end against the end of
the first part, and processor time for each event of the last part against the first. ``max_body`` is off: the stream
has more than its 1 GiB.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import psutil

from llmwatch import Client
from tests.bench.entry_points import read_client
from tests.bench.measure import Figure, Result, Spread
from tests.bench.server import running

EVENTS, PARTS = 10_000_000, 10
FIGURES = (
    Figure(name="long_stream.memory", what="memory that 10 million events leave behind", goal=1.0, unit="MiB"),
    Figure(name="long_stream.time", what="an event of the last tenth of 10 million / of the first tenth", goal=1.1),
)


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """Both figures from one stream; a hundredth of it with ``quick``."""
    events = EVENTS // (100 if quick else 1)
    process = psutil.Process()
    costs, memory = [], []
    with running("burst", events) as url, Client(max_body=0) as client:
        texts = read_client(client, url)
        next(texts)
        for part in range(PARTS):
            size = events // PARTS - (part == 0)
            begin = time.process_time()
            if sum(1 for _ in itertools.islice(texts, size)) != size:
                raise RuntimeError("the stream ended early")
            costs.append((time.process_time() - begin) / size)
            memory.append(process.memory_info().rss / 2**20)
        if list(texts):
            raise RuntimeError("the stream has more events than were asked for")
    first, last = Spread.of(costs[:1]).times(1e6), Spread.of(costs[-1:]).times(1e6)
    begun, ended = Spread.of(memory[:1]), Spread.of(memory[-1:])
    note = f"{events:,} events; all tenths, us an event: {' '.join(f'{cost * 1e6:.2f}' for cost in costs)}"
    return [
        Result(figure=FIGURES[0], value=Spread.of([memory[-1] - memory[0]]), ours=ended, theirs=begun, unit="MiB"),
        Result(
            figure=FIGURES[1],
            value=Spread.of([costs[-1] / costs[0]]),
            ours=last,
            theirs=first,
            unit="us",
            notes=(note,),
        ),
    ]
