"""The threads of the proxy's server, each step driven by a test."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest

from llmwatch.proxy.connection_threads import ConnectionThreads
from tests.end_to_end.calls import PATIENCE, eventually


class Connection:
    """A connection that is served until :attr:`over` is set, or fails."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.served, self.over, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.thread: threading.Thread | None = None

    def communicate(self) -> bool:
        self.thread = threading.current_thread()
        self.served.set()
        assert self.over.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return False

    def close(self) -> None:
        self.closed.set()


def served(threads: ConnectionThreads, error: BaseException | None = None) -> Connection:
    """A connection that was put there and is being served."""
    connection = Connection(error)
    threads.put(connection)
    assert connection.served.wait(PATIENCE)
    return connection


def ended(connection: Connection, threads: ConnectionThreads, idle: int) -> None:
    """Let ``connection`` end, and wait until ``idle`` threads are free or its own is gone."""
    connection.over.set()
    assert connection.closed.wait(PATIENCE)
    assert connection.thread is not None
    if idle:
        eventually(lambda: threads.idle == idle, "the thread is free")
    else:
        connection.thread.join(PATIENCE)


def test_a_free_thread_takes_the_next_connection() -> None:
    threads = ConnectionThreads(server=None)
    first = served(threads)
    ended(first, threads, idle=1)
    second = served(threads)
    assert second.thread is first.thread
    ended(second, threads, idle=1)
    threads.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_fails_is_given_no_further_connection() -> None:
    """The next connection is served by another thread, not left with one that is gone."""
    threads = ConnectionThreads(server=None)
    first = served(threads, RuntimeError("the server's own"))
    ended(first, threads, idle=0)
    second = served(threads)
    assert second.thread is not first.thread
    ended(second, threads, idle=1)
    threads.stop()


def test_nothing_is_taken_once_the_threads_stop() -> None:
    threads = ConnectionThreads(server=None)
    threads.stop()
    refused: Any = Connection()
    with pytest.raises(queue.Full):
        threads.put(refused)
