"""Functions to be wrapped."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import llmwatch
from llmwatch import CallRecord, Decision, Retry, WatchTimeout
from tests.end_to_end.times import PATIENCE

__all__ = ["QUICK", "Hanging", "killed", "record_of"]

QUICK = Retry(backoff=0)
"""Run again without a wait."""


class Hanging:
    """A function that hangs: each time it is called, until :meth:`let_go`.

    ``first`` is called with no arguments before it hangs. ``times``: how often it hangs; after that it returns
    ``"done"`` at once.
    """

    def __init__(self, first: Callable[[], object] | None = None, *, times: int = 1_000) -> None:
        self._first = first
        self._times = times
        self._free = threading.Event()
        self._started: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.calls = 0
        self.aborts = 0
        self.threads: list[threading.Thread] = []

    def __call__(self, *args: object) -> str:
        with self._lock:
            self.calls += 1
            number = self.calls
            self.threads.append(threading.current_thread())
        if self._first is not None:
            self._first()
        self._started.put(threading.current_thread())
        if number <= self._times:
            assert self._free.wait(6 * PATIENCE), "nobody let go"
        return "done"

    def started(self) -> threading.Thread:
        """Return once it was called (once for each call) and hangs; the thread that it runs in."""
        return self._started.get(timeout=PATIENCE)

    def abort(self) -> None:
        """An abort callback that does not help."""
        with self._lock:
            self.aborts += 1

    def release(self) -> None:
        """An abort callback that helps."""
        self.abort()
        self._free.set()

    def let_go(self) -> None:
        """Let every call return, and wait until its thread is gone."""
        self._free.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def record_of(error: llmwatch.LLMWatchError) -> CallRecord:
    """The record of a call that failed."""
    assert error.record is not None
    return error.record


def killed(caught: Any, limit: str, *, attempts: int, decision: Decision, reason: str) -> WatchTimeout:
    """The time-out that a call has to have ended with, caught by ``pytest.raises``."""
    error = caught.value
    assert type(error) is WatchTimeout
    assert error.limit == limit
    assert error.recovery is not None
    assert (error.recovery.decision, error.recovery.reason) == (decision, reason)
    assert error.recovery.safe is record_of(error).decisions[-1].safe
    assert [one.limit for one in record_of(error).attempts] == [limit] * attempts
    assert error.phase == record_of(error).attempts[-1].phase
    return error
