"""What does a watched silent stream cost in memory?

A thousand silent streams are held in a new process, each by a caller in a thread of its own; what the process holds
more, for each, by a client and by bare requests, in turn. The figure is the difference: the share of watching. Memory
is the process's own (USS); buffers of the kernel are not in it.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Sequence

import psutil
import requests

from llmwatch import Client
from tests.bench.entry_points import BODY
from tests.bench.measure import Figure, Result, Spread, descriptors, fresh, pairs
from tests.bench.server import running

STREAMS = 1000
STILL = 5
"""Looks in a row, a tenth of a second apart, at which neither memory nor threads have changed."""
FIGURES = (
    Figure(
        name="stream_memory.stream",
        what="memory of a watched silent stream, what bare requests in a thread holds deducted",
        goal=40.0,
        unit="KiB",
    ),
)


def settled() -> int:
    """The bytes of this process, once they no longer change."""
    process = psutil.Process()
    same, before = 0, (0, 0)
    until = time.monotonic() + 120
    while same < STILL:
        if time.monotonic() > until:
            raise TimeoutError("memory goes on changing")
        time.sleep(0.1)
        now = (process.memory_info().rss, process.num_threads())
        same, before = (same + 1 if now == before else 0), now
    gc.collect()
    return int(process.memory_full_info().uss)


def held(watched: bool, url: str, streams: int) -> float:
    """KiB that each of so many silent streams holds in this process."""
    descriptors(3 * streams + 500)
    client, session = Client(), requests.Session()

    def warm(request: Callable[[str], object]) -> None:
        # One stream that fails at once loads what is loaded by the first call.
        try:
            request("http://127.0.0.1:1/v1/chat/completions")
        except OSError:
            pass
        else:
            raise AssertionError("a port that nothing listens on has answered")

    def watch(target: str) -> None:
        with client.stream("POST", target, json=BODY) as stream:
            list(stream)

    def bare(target: str) -> None:
        with requests.Session() as own:
            own.post(target, json=BODY, stream=True)

    request = watch if watched else bare
    request_once = (lambda target: list(client.request("POST", target, json=BODY))) if watched else session.post
    warm(request_once)  # type: ignore[arg-type]
    begin = settled()
    for _ in range(streams):
        threading.Thread(target=request, args=(url,), daemon=True).start()
    return (settled() - begin) / streams / 1024


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """Each run in a process of its own."""
    with running("silent") as url:
        found = pairs(
            lambda: fresh(held, True, url, STREAMS),
            lambda: fresh(held, False, url, STREAMS),
            1 if quick else 5,
            warm=False,
        )
    return [
        Result(
            figure=FIGURES[0],
            value=Spread.of([one - other for one, other in found]),
            ours=Spread.of([one for one, _ in found]),
            theirs=Spread.of([other for _, other in found]),
            unit="KiB",
        )
    ]
