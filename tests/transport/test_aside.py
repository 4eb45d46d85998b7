"""Work that the main thread has done by another thread, so that no signal interrupts it."""

from __future__ import annotations

import _thread
import queue
import signal
import threading
from typing import Any

import pytest

from llmwatch.faults import FaultServer
from llmwatch.transport.adapter import WatchedAdapter
from llmwatch.transport.aside import aside
from llmwatch.transport.sender import Sender
from llmwatch.watch.clock import SystemClock, Waiter
from tests.transport.drive import Call
from tests.watch.scripted import PATIENCE, Caller

in_main = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_kill"),
    reason="the main thread gets the signals",
)


class Alarm(Exception):
    """The exception of a signal handler."""


@in_main
def test_another_thread_runs_the_work_of_the_main_thread() -> None:
    """The work is done when the call returns, by a thread that gets no signals.

    Any thread but the main thread does its own work.
    """
    threads: list[int] = []
    aside(lambda: threads.append(threading.get_ident()))
    caller = Caller(lambda: aside(lambda: threads.append(threading.get_ident())))
    caller.result()
    assert threads[0] != threading.main_thread().ident
    assert threads[1] == caller.thread.ident


def test_an_exception_of_the_work_is_raised() -> None:
    """The exception is raised unchanged, from any thread."""

    def fail() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        aside(fail)
    with pytest.raises(KeyError, match="gone"):
        Caller(lambda: aside(fail)).result()


@in_main
def test_without_a_thread_the_caller_runs_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the process, or of the system's threads, the calling thread does it."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    threads: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", refuse)
        aside(lambda: threads.append(threading.get_ident()))
    assert threads == [threading.get_ident()]


@in_main
def test_an_interrupt_ends_the_wait_and_not_the_work() -> None:
    """The handler's exception is raised at once, unchanged; the work runs to its end."""
    free, over = threading.Event(), threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def handle(number: int, frame: object) -> None:
        raise Alarm

    def work() -> None:
        signal.pthread_kill(main, signal.SIGALRM)
        free.wait(PATIENCE)
        over.set()

    before = signal.signal(signal.SIGALRM, handle)
    try:
        with pytest.raises(Alarm):
            aside(work)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not over.is_set()
    free.set()
    assert over.wait(PATIENCE)


@in_main
def test_the_wait_looks_for_signals_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes just before the main thread sleeps is not slept over until the end of the work."""
    free = threading.Event()
    looks: list[None] = []

    class Counting(SystemClock):
        def wait(self, waiter: Waiter, until: float | None) -> None:
            super().wait(waiter, until)
            looks.append(None)
            if len(looks) == 3:
                free.set()

    monkeypatch.setattr("llmwatch.transport.aside.SYSTEM", Counting())
    aside(lambda: free.wait(PATIENCE))
    assert len(looks) >= 3


class Noted(queue.LifoQueue[Any]):
    """The queue of a pool, which notes the threads that take from it with its lock held."""

    def __init__(self, queue: Any, threads: list[int]) -> None:
        super().__init__(queue.maxsize)
        self.queue = queue.queue
        self._threads = threads

    def _get(self) -> Any:
        self._threads.append(threading.get_ident())
        return super()._get()


@in_main
def test_a_client_is_closed_without_a_lock_of_its_queues(sender: Sender) -> None:
    """A handler that closes it may come at any instant of that: no such lock is ever the main thread's."""
    threads: list[int] = []
    with FaultServer() as server:
        assert Call(sender, server.chat_url).run()
        adapter: WatchedAdapter = sender._adapter
        (key,) = adapter.poolmanager.pools.keys()
        pool: Any = adapter.poolmanager.pools.get(key)
        pool.pool = Noted(pool.pool, threads)
        sender.close()
        server.wait_for_closed(1)
    assert threads
    assert threading.main_thread().ident not in threads
