"""A watched function without a socket.

The function says when it is alive, when a person is asked, and how it is stopped.
Run it: ``python examples/watched_function.py``.
"""

from __future__ import annotations

import threading

import llmwatch
from llmwatch import Limits, WatchTimeout

PAUSE = 0.15
"""Seconds; each step takes half of the limit that it has."""


@llmwatch.watched(limits=Limits(ttfb=2 * PAUSE, stale=2 * PAUSE))
def count_sheep(sheep: int, stuck_at: int | None = None) -> str:
    """Any work that blocks: a device, a local model, a queue. Here it waits on an event."""
    stop = threading.Event()
    llmwatch.on_abort(stop.set)  # called when a limit expires, from another thread
    for number in range(1, sheep + 1):
        stop.wait(None if number == stuck_at else PAUSE)
        if stop.is_set():
            return "told to stop"
        llmwatch.beat()  # alive: the limits are reset
    return f"{sheep} sheep"


@llmwatch.watched(limits=Limits(ttfb=2 * PAUSE))
def ask_a_person() -> str:
    """While a person is asked no limit runs but the deadline."""
    with llmwatch.paused():
        threading.Event().wait(4 * PAUSE)  # the person thinks
    return "the person said yes"


def main() -> None:
    print(f"Longer than its limit, but it beats: {count_sheep(6)}")
    print(f"Longer than its limit, but it is paused: {ask_a_person()}")
    try:
        count_sheep(6, stuck_at=3)
    except WatchTimeout as error:
        recovery = error.recovery
        print(f"Stuck at the third: WatchTimeout {error.limit}, {recovery.decision if recovery else None}")
        print(f"  {error}")
        print(f"  {recovery.message if recovery else None}")


if __name__ == "__main__":
    main()
