"""Processes that fork while attempts live.

The test of forking runs them as ``python -m tests.watch.forking``.

Each scenario runs in a process of its own, forked from one that has imported everything and watched nothing: a fork of
the test process would take pytest's threads and files along. A child that does not end in time is ended by an alarm.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from llmwatch import at_fork
from llmwatch.watch import supervisor as supervisors
from llmwatch.watch.attempt import Attempt, BatchMeaning, serving
from llmwatch.watch.channel import Bounds
from llmwatch.watch.interfaces import Aborted
from llmwatch.watch.machine import VerdictKind
from tests.watch.scripted import PATIENCE, SCALE, Caller, Puppet, Socket, held

SHORT = 0.05
"""Seconds of a real limit that nothing has to meet."""
LONG_ENOUGH = 1.0 * SCALE
"""Seconds of one that leaves time for a first item on a busy machine."""


class Stream:
    """A live attempt of this process.

    A request is sent, one item has come, and the worker is free for orders.
    """

    def __init__(self, **settings: Any) -> None:
        bounds = settings.pop("bounds", None)
        self.attempt: Attempt[str] = Attempt({"stale": 1e6, "drain": 1e6, **settings}, bounds=bounds)
        self.worker = Puppet(self.attempt)
        self.attempt.start(self.worker)
        self.socket = Socket(self.attempt)
        self.worker.do(lambda attempt: attempt.adopt(self.socket))
        self.worker.do(lambda attempt: attempt.sent())
        self.deliver("first")

    def deliver(self, item: str, **meaning: bool) -> None:
        self.worker.do(lambda attempt: attempt._received(5))
        self.worker.do(lambda attempt: attempt.deliver([item], 5, BatchMeaning(content=True, **meaning)))

    def goes_on(self) -> None:
        """Check in the parent that nothing has happened to it, and end it."""
        assert self.attempt.verdict is None
        self.deliver("more")
        assert self.attempt.take() == ["first"]
        assert self.attempt.take() == ["more"]
        self.deliver("end", terminal=True)
        assert self.attempt.take() == ["end"]
        assert self.attempt.take() is None
        verdict = self.attempt.verdict
        assert verdict is not None
        assert verdict.kind is VerdictKind.DONE
        assert self.worker.do(lambda attempt: attempt.disown(self.socket)) is True
        assert self.socket.log == ["release"]
        self.end()

    def end(self) -> None:
        self.worker.end()
        assert self.attempt.join(PATIENCE)

    def is_inert(self) -> None:
        """Check in a child that it is over and that its sockets were given up without a shutdown."""
        assert self.attempt.take() is None
        verdict = self.attempt.verdict
        assert verdict is not None
        assert (verdict.kind, verdict.by) == (VerdictKind.CANCELLED, "lifecycle")
        assert self.socket.log == ["detach_in_child"]
        assert not self.attempt.cancel("user")
        self.attempt.abandon()
        self.attempt.close()
        assert self.attempt.counting() is None
        assert threading.current_thread() is self.attempt._thread or self.attempt.join(0)
        assert self.socket.log == ["detach_in_child"]


def in_a_child(check: Callable[[], object]) -> None:
    """Run ``check`` in a forked child, and fail unless it returns in time."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(int(PATIENCE))
        code = 1
        try:
            check()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with status {status}"


def a_fresh_watch_works() -> None:
    """Check that this process can watch attempts of its own: one is killed, one is done."""
    assert supervisors.current().registry.counts()["workers"] == 0
    attempt: Attempt[str] = Attempt({"ttfb": SHORT})
    socket = Socket(attempt)

    def work(attempt: Attempt[str]) -> None:
        attempt.adopt(socket)
        attempt.sent()
        socket.read()

    attempt.start(work)
    assert attempt.take() is None
    verdict = attempt.verdict
    assert verdict is not None
    assert (verdict.kind, verdict.limit) == (VerdictKind.KILLED, "ttfb")
    assert attempt.join(PATIENCE)
    assert socket.broken == []
    Stream().goes_on()


def live_stream() -> None:
    stream, parents = Stream(), supervisors.current()

    def check() -> None:
        stream.is_inert()
        assert supervisors.current() is not parents
        a_fresh_watch_works()

    in_a_child(check)
    in_a_child(check)
    assert supervisors.current() is parents
    stream.goes_on()


def _with_a_held_lock(lock_of: Callable[[Stream], Any]) -> None:
    stream = Stream()

    def check() -> None:
        stream.is_inert()
        a_fresh_watch_works()

    with held(lock_of(stream)):
        in_a_child(check)
    stream.goes_on()


def attempt_lock_held() -> None:
    _with_a_held_lock(lambda stream: stream.attempt._lock)


def registry_lock_held() -> None:
    _with_a_held_lock(lambda stream: stream.attempt._supervisor.registry._lock)


def start_lock_held() -> None:
    _with_a_held_lock(lambda stream: stream.attempt._supervisor._start_lock)


def current_lock_held() -> None:
    _with_a_held_lock(lambda stream: supervisors._current_lock)


def done_but_not_taken() -> None:
    """In the child an answer that was complete in the parent does not end early as if it were."""
    stream = Stream()
    stream.deliver("end", terminal=True)
    in_a_child(stream.is_inert)
    assert [stream.attempt.take() for _ in range(3)] == [["first"], ["end"], None]
    stream.end()


def killed_before() -> None:
    """An attempt whose worker is still there after a kill is inert in the child as well."""
    stream = Stream(total=LONG_ENOUGH)
    assert stream.attempt.take() == ["first"]
    assert stream.attempt.take() is None
    log = list(stream.socket.log)
    assert stream.attempt.cancel("user") is False

    def check() -> None:
        assert stream.attempt.take() is None
        verdict = stream.attempt.verdict
        assert verdict is not None
        assert verdict.kind in (VerdictKind.KILLED, VerdictKind.CANCELLED)
        assert stream.socket.log == [*log, "detach_in_child"]
        a_fresh_watch_works()

    in_a_child(check)
    stream.worker.begin(lambda attempt: attempt.check())
    assert stream.attempt.join(PATIENCE)


def threads_that_wait() -> None:
    """A third thread forks while two threads of the parent wait.

    The caller of one attempt waits for items, and the worker of another waits for room.
    """
    waiting, full = Stream(), Stream(bounds=Bounds(items=2))
    assert waiting.attempt.take() == ["first"]
    caller = Caller(waiting.attempt.take)
    full.worker.begin(lambda attempt: attempt.deliver(["second"], 5, BatchMeaning(content=True)))

    def check() -> None:
        waiting.is_inert()
        full.is_inert()
        a_fresh_watch_works()

    Caller(lambda: in_a_child(check)).result()
    waiting.deliver("more")
    assert caller.result() == ["more"]
    assert full.attempt.take() == ["first"]
    full.worker.result()
    assert full.attempt.take() == ["second"]
    for stream in (waiting, full):
        stream.end()


def worker_forks() -> None:
    """A wrapped function that forks: in the child its own attempt is over, and it can start others."""
    stream = Stream()

    def check() -> None:
        # What is called in the child is no part of the parent's attempt.
        assert serving() is None
        try:
            stream.attempt.check()
        except Aborted:
            pass
        else:
            raise AssertionError("the attempt goes on in the child")
        stream.is_inert()
        a_fresh_watch_works()

    stream.worker.do(lambda attempt: in_a_child(check))
    stream.goes_on()


def many_streams() -> None:
    """Attempts by the dozen, and a child of a child."""
    streams = [Stream() for _ in range(30)]

    def check() -> None:
        for stream in streams:
            stream.is_inert()
        mine = Stream()

        def check_again() -> None:
            mine.is_inert()
            for stream in streams:
                stream.is_inert()
            a_fresh_watch_works()

        in_a_child(check_again)
        mine.goes_on()

    in_a_child(check)
    for stream in streams:
        stream.goes_on()


def before_any_watch() -> None:
    """A fork of a process that has watched nothing yet."""
    in_a_child(a_fresh_watch_works)
    a_fresh_watch_works()


def fork_storm() -> None:
    """Children made while other threads start, feed and end attempts without a pause."""
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            Stream().goes_on()

    callers = [Caller(busy) for _ in range(3)]
    for _ in range(30):
        in_a_child(lambda: Stream().goes_on())
    stop.set()
    for caller in callers:
        caller.result()


def pooled_processes() -> None:
    """multiprocessing's children end through its own exit, and do not disturb the parent."""
    stream = Stream()
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=a_fresh_watch_works) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(PATIENCE)
        assert child.exitcode == 0
    stream.goes_on()


class Follower:
    """Keeps a lock that must not stay held in a child."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def after_fork(self) -> None:
        self.lock = threading.Lock()


def followers() -> None:
    """The objects passed to ``follow`` are called in the child, and only there."""
    follower = Follower()
    at_fork.follow(follower)
    lock = follower.lock

    def check() -> None:
        assert follower.lock is not lock
        assert follower.lock.acquire(blocking=False)

    with held(follower.lock):
        in_a_child(check)
    assert follower.lock is lock


SCENARIOS = (
    followers,
    live_stream,
    attempt_lock_held,
    registry_lock_held,
    start_lock_held,
    current_lock_held,
    done_but_not_taken,
    killed_before,
    threads_that_wait,
    worker_forks,
    many_streams,
    before_any_watch,
    fork_storm,
    pooled_processes,
)


def main() -> None:
    """Run each scenario in a child, which ends as a program does, and print the status of each."""
    for scenario in SCENARIOS:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            signal.alarm(2 * int(PATIENCE))
            scenario()
            return
        _, status = os.waitpid(pid, 0)
        print(scenario.__name__, status)


if __name__ == "__main__":
    main()
