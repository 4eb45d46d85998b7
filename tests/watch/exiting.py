"""Processes that exit while attempts live.

The tests of exiting run them as ``python -m tests.watch.exiting NAME``.
"""

from __future__ import annotations

import atexit
import sys
import threading
from typing import Any

# Registered before anything of llmwatch is imported, so it runs after everything that llmwatch does at exit.
_AT_THE_END: list[Any] = []
atexit.register(lambda: [action() for action in _AT_THE_END])

from llmwatch.watch.attempt import BatchMeaning  # noqa: E402
from llmwatch.watch.channel import Bounds  # noqa: E402
from tests.watch.forking import Stream  # noqa: E402
from tests.watch.scripted import PATIENCE, Caller  # noqa: E402


def _tell(stream: Stream) -> None:
    verdict = stream.attempt.verdict
    assert verdict is not None
    print(verdict.kind.value, verdict.by, *stream.socket.log, flush=True)


def live_stream() -> None:
    """The worker is blocked in a read for ever."""
    stream = Stream()
    stream.worker.begin(lambda attempt: stream.socket.read())
    _AT_THE_END.append(lambda: _tell(stream))


def waiting_caller() -> None:
    """A daemon thread waits for an item."""
    stream = Stream()
    assert stream.attempt.take() == ["first"]
    Caller(stream.attempt.take)
    stream.worker.begin(lambda attempt: stream.socket.read())
    _AT_THE_END.append(lambda: _tell(stream))


def full_channel() -> None:
    """A worker waits for room."""
    stream = Stream(bounds=Bounds(items=2))
    stream.worker.begin(lambda attempt: attempt.deliver(["second"], 5, BatchMeaning(content=True)))
    _AT_THE_END.append(lambda: _tell(stream))


def with_a_code() -> None:
    """The program has an exit code of its own."""
    live_stream()
    sys.exit(3)


def with_a_traceback() -> None:
    """The program ends with an exception."""
    live_stream()
    raise RuntimeError("the program's own")


def stuck_worker() -> None:
    """Nothing wakes the worker."""
    stream = Stream()
    stream.socket.wakes = False
    stream.worker.begin(lambda attempt: threading.Event().wait(1_000 * PATIENCE))
    _AT_THE_END.append(lambda: _tell(stream))


def many_streams() -> None:
    """Hundreds of workers and callers."""
    streams = [Stream() for _ in range(100)]
    for stream in streams:
        assert stream.attempt.take() == ["first"]
        stream.worker.begin(lambda attempt, stream=stream: stream.socket.read())
        Caller(stream.attempt.take)
    _AT_THE_END.append(lambda: _tell(streams[0]))


SCENARIOS = {
    live_stream: 0,
    waiting_caller: 0,
    full_channel: 0,
    with_a_code: 3,
    with_a_traceback: 1,
    stuck_worker: 0,
    many_streams: 0,
}

if __name__ == "__main__":
    next(scenario for scenario in SCENARIOS if scenario.__name__ == sys.argv[1])()
