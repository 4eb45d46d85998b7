"""Kills in every phase, ten in each place, from many threads, leave nothing behind."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import psutil

from llmwatch.transport.sender import Sender
from llmwatch.watch import supervisor
from llmwatch.watch.clock import SYSTEM
from llmwatch.watch.machine import VerdictKind
from tests.transport.drive import GONE, LAG, PATIENCE, SCALE, Call
from tests.transport.scenes import Network, Scene

_THREADS = 10
_SHORT_LIMIT = 0.06 * SCALE
_ROUNDS = 10
_PLACES: list[dict[str, Any]] = [
    {"where": "connect"},
    {"where": "connect", "tls": True},
    {"where": "handshake", "tls": True},
    {"where": "proxy-handshake"},
    {"where": "CONNECT", "tls": True, "proxy": "plain"},
    {"where": "CONNECT", "tls": True, "proxy": "tls"},
    {"where": "handshake", "tls": True, "proxy": "plain"},
    {"where": "handshake", "tls": True, "proxy": "tls"},
    {"where": "send"},
    {"where": "send", "tls": True},
    {"where": "answer"},
    {"where": "answer", "tls": True},
    {"where": "answer", "tls": True, "proxy": "tls"},
    {"where": "head"},
    {"where": "body", "framing": "chunked"},
    {"where": "body", "framing": "length"},
    {"where": "body", "framing": "close"},
    {"where": "body", "framing": "chunked", "tls": True},
    {"where": "body", "framing": "length", "tls": True},
    {"where": "body", "framing": "close", "tls": True},
    {"where": "body", "framing": "chunked", "tls": True, "proxy": "plain"},
    {"where": "body", "framing": "close", "tls": True, "proxy": "tls"},
]


def _kill(sender: Sender, scenes: Iterator[Scene], ended: list[Call], errors: list[BaseException]) -> None:
    try:
        while (scene := next(scenes, None)) is not None:
            # One clock for all the places: several threads at a time make a handshake take longer than its limit.
            call = Call(sender, scene.url, deadline=_SHORT_LIMIT, **scene.options)
            call.start().take()
            assert call.verdict.kind is VerdictKind.KILLED
            assert call.attempt.join(GONE)
            ended.append(call)
    except BaseException as error:
        errors.append(error)


def test_hundreds_of_kills_leave_nothing_behind(network: Network) -> None:
    """Threads, descriptors and orphans are at the baseline after ten kills in each of those places.

    No connection waits to be closed. Half of the callers are free long before a time-out of their sockets could have
    woken them.
    """
    process, sender = psutil.Process(), Sender()
    ended: list[Call] = []
    errors: list[BaseException] = []
    with contextlib.ExitStack() as stack:
        scenes = [stack.enter_context(network.scene(**place)) for place in _PLACES]
        threads, descriptors = threading.active_count(), process.num_fds()
        numbers = iter(itertools.islice(itertools.cycle(scenes), _ROUNDS * len(scenes)))
        lock = threading.Lock()

        class Shared(Iterator[Scene]):
            def __next__(self) -> Scene:
                with lock:
                    return next(numbers)

        killers = [threading.Thread(target=_kill, args=(sender, Shared(), ended, errors)) for _ in range(_THREADS)]
        for killer in killers:
            killer.start()
        for killer in killers:
            killer.join(6 * PATIENCE)
        assert errors == []
        assert len(ended) == _ROUNDS * len(scenes)
        # The last of the servers' own connections end a moment after ours.
        until, pause = SYSTEM.now() + PATIENCE / 5, threading.Event()
        while process.num_fds() > descriptors and SYSTEM.now() < until:
            pause.wait(0.005)
        # A supervisor, and those servers' threads that have ended are still joined later.
        assert process.num_fds() <= descriptors
        assert threading.active_count() <= threads + 1
        states = {conn.status for conn in process.net_connections("tcp") if conn.raddr}
        assert psutil.CONN_CLOSE_WAIT not in states
    sender.close()
    counts = supervisor.current().registry.counts()
    assert (counts["live_attempts"], counts["workers"], counts["orphans"]) == (0, 0, 0)
    free = sorted(call.freed_at - (call.verdict.at - (call.verdict.lag or 0.0)) for call in ended)
    assert free[len(free) // 2] < LAG
