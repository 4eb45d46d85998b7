"""Does whatever a signal handler raises come out of a call as it is, and is nothing left behind?

``python -m tests.bench.interrupts [COUNT] [SEED]`` sends ``COUNT`` signals (4,000 unless given) to calls of every entry
point, each at a random instant of a call that is measured before: while it is made, while its worker and the supervisor
start, in the wait for an answer, in a back-off, between two events, in its close. A handler raises in turn
``KeyboardInterrupt``, a ``TimeoutError`` and an exception of its own. It prints, for each entry point, how many were
raised, and what became of them:

* *replaced*: another exception came out, ``RuntimeError: cannot release un-acquired lock``, say;
* *lost*: nothing came out, though the handler had raised (but for finalizers, whose exceptions Python itself prints,
  or, of files, swallows);
* *stuck*: another thread could not make a call of the same client within :data:`PATIENCE` afterwards;
* *left*: a worker, a thread or an attempt was still there after :data:`PATIENCE`.

It ends with 1 if there is any. A call that never comes back ends the process with the traces of all threads.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import requests

import llmwatch
from llmwatch import Client, Limits, Retry
from llmwatch.watch.supervisor import current

BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
PATIENCE = 10.0
"""Seconds after which something that should be over is taken for stuck."""
HANGS = 60.0
"""Seconds after which a call that does not come back ends the process."""
BUSY = "status:status=503"
TRIES = 5
"""Calls by which the duration of one is measured."""

# The fault server is in another process, or its threads would take the time that is interrupted.
SERVER = """
import contextlib, sys
from llmwatch.faults import FaultServer
with contextlib.ExitStack() as stack:
    for scripts in sys.argv[1:]:
        names = scripts.split("+")
        server = stack.enter_context(FaultServer(names * (20000 if len(names) > 1 else 1)))
        print(server.url, flush=True)
    sys.stdin.read()
"""
SCRIPTS = ("healthy", "silent", f"{BUSY}+healthy")


class Alarm(Exception):
    """What the handler of a ``SIGALRM`` recipe raises."""


RAISED: tuple[type[BaseException], ...] = (KeyboardInterrupt, TimeoutError, Alarm)


@dataclass
class Found:
    """What became of the signals."""

    raised: int = 0
    replaced: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    finalizers: int = 0
    stuck: int = 0
    left: list[str] = field(default_factory=list)
    places: Counter[str] = field(default_factory=Counter)

    @property
    def wrong(self) -> int:
        return len(self.replaced) + len(self.lost) + self.stuck + len(self.left)

    def __str__(self) -> str:
        return (
            f"{self.raised} raised, {len(self.replaced)} replaced, {len(self.lost)} lost, {self.stuck} stuck,"
            f" {len(self.left)} left; {self.finalizers} in finalizers"
        )


@contextlib.contextmanager
def servers() -> Iterator[list[str]]:
    """The URLs of a server for each of :data:`SCRIPTS`."""
    command = [sys.executable, "-c", SERVER, *SCRIPTS]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield [process.stdout.readline().strip() for _ in SCRIPTS]
    finally:
        process.kill()
        process.communicate()


def operations(
    stack: contextlib.ExitStack, client: Client, healthy: str, silent: str, busy: str
) -> dict[str, Callable[[], object]]:
    """A call through each entry point, each with all that it waits for.

    The ``stack`` closes what they use.
    """
    chat = "/v1/chat/completions"
    soon = Limits(ttfb=0.01)
    again = Retry(backoff=0.002, max_backoff=0.002, breaker=0, budget=0)
    session = stack.enter_context(llmwatch.Session(retry=again))
    plain = stack.enter_context(requests.Session())
    auth = llmwatch.refreshing(lambda: "token", token=None)
    body = {"model": "m", "messages": [{"role": "user", "content": "?"}]}

    def stream() -> None:
        with client.stream("POST", healthy + chat, json=BODY) as answer:
            for _ in answer:
                pass

    def left() -> None:
        with client.stream("POST", healthy + chat, json=BODY) as answer:
            next(answer)

    def killed() -> None:
        with contextlib.suppress(llmwatch.WatchTimeout):
            client.collect("POST", silent + chat, json=BODY, limits=soon, retry=Retry.none())

    def resent() -> None:
        client.collect("POST", busy + chat, json=BODY, retry=again)

    def read() -> None:
        with session.post(healthy + chat, json=BODY, stream=True) as response:
            for _ in response.iter_lines():
                pass

    def installed() -> None:
        llmwatch.install(retry=again)
        try:
            assert plain.post(healthy + chat, json=BODY).status_code == 200
        finally:
            llmwatch.uninstall()

    def iterated() -> None:
        with llmwatch.iterate(lambda: iter(range(5))) as items:
            list(items)

    def refreshed() -> None:
        auth.reset()
        session.post(healthy + chat, json=body, auth=auth)

    found: dict[str, Callable[[], object]] = {
        "stream": stream,
        "stream, left early": left,
        "collect, killed": killed,
        "collect, resent": resent,
        "request": lambda: client.request("POST", healthy + chat, json=body),
        "Session": lambda: session.post(healthy + chat, json=BODY),
        "Session, stream": read,
        "Session, resent": lambda: session.post(busy + chat, json=body),
        "install": installed,
        "call": lambda: llmwatch.call(time.sleep, 0.001),
        "iterate": iterated,
        "refreshing": refreshed,
    }
    try:
        import httpx
    except ImportError:
        return found
    over = stack.enter_context(httpx.Client(transport=llmwatch.sdk.Transport(), timeout=30))
    found["sdk.Transport"] = lambda: over.post(healthy + chat, json=BODY)
    return found


class Interrupter:
    """Calls functions and interrupts each once, somewhere."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._number = 0
        self._armed: BaseException | None = None
        self._place = self._stack = ""
        self._raised = False
        self._silenced = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        error, self._armed = self._armed, None
        if error is not None:
            self._raised = True
            self._place, self._stack, self._silenced = _place_of(frame), _stack_of(frame), _is_silenced(frame)
            raise error

    def once(self, operation: Callable[[], object], duration: float, found: Found) -> None:
        """Interrupt ``operation`` at an instant of its ``duration`` in seconds, and note what comes of it."""
        self._number += 1
        error = RAISED[self._number % len(RAISED)]()
        self._raised = False
        came: BaseException | None = None
        unraisable: list[Any] = []
        hook, sys.unraisablehook = sys.unraisablehook, unraisable.append
        before = signal.signal(signal.SIGALRM, self._handle)
        faulthandler.dump_traceback_later(HANGS, exit=True)
        try:
            self._armed = error
            signal.setitimer(signal.ITIMER_REAL, max(1e-6, self._instant() * duration))
            operation()
        except BaseException as raised:
            came = raised
        self._armed = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = hook
        if came is not None and came is not error:
            found.replaced.append(f"{type(came).__name__}: {came} in place of {type(error).__name__}, {self._place}")
        if not self._raised:
            return
        found.raised += 1
        found.places[self._place] += 1
        if came is None:
            if self._silenced or any(one.exc_value is error for one in unraisable):
                found.finalizers += 1
            else:
                found.lost.append(f"{type(error).__name__}, {self._stack}")
        # Or its frames would keep what they hold.
        error.__traceback__ = None

    def _instant(self) -> float:
        """The instant as a share of a call's duration: anywhere, or at its beginning or its end.

        Most of the code runs at the beginning and the end.
        """
        low, high = self._random.choice(((0.0, 1.05), (0.0, 0.2), (0.75, 1.15)))
        return self._random.uniform(low, high)


def _is_silenced(frame: FrameType | None) -> bool:
    """Whether a file is being finalized, of which Python says nothing: ``io.IOBase.__del__`` closes it."""
    while frame is not None:
        file = frame.f_locals.get("self")
        if frame.f_code.co_name in ("close", "closed") and isinstance(file, io.IOBase):
            return type(file).__del__ is io.IOBase.__del__  # type: ignore[attr-defined]
        frame = frame.f_back
    return False


def _stack_of(frame: FrameType | None) -> str:
    """The functions that are interrupted, from the inside."""
    names: list[str] = []
    while frame is not None and len(names) < 8:
        names.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(names)


def _place_of(frame: FrameType | None) -> str:
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if "llmwatch" in path.parts and "tests" not in path.parts:
            return f"{'/'.join(path.parts[-2:])}:{frame.f_code.co_name}"
        frame = frame.f_back
    return "elsewhere"


def duration_of(operation: Callable[[], object]) -> float:
    """How long it takes, in seconds: the median of a few."""
    operation()
    taken = []
    for _ in range(TRIES):
        began = time.monotonic()
        operation()
        taken.append(time.monotonic() - began)
    return sorted(taken)[TRIES // 2]


def check(client: Client, url: str, found: Found, threads: set[threading.Thread]) -> None:
    """Whether another thread can use the client, and what was left."""
    user = threading.Thread(target=_use, args=(client, url), name="user", daemon=True)
    user.start()
    user.join(PATIENCE)
    if user.is_alive():
        found.stuck += 1
    registry, until = current().registry, time.monotonic() + PATIENCE
    while (workers := registry.counts()["workers"]) and time.monotonic() < until:
        time.sleep(0.001)
    while (rest := _threads() - threads - {user}) and time.monotonic() < until:
        time.sleep(0.001)
    if workers or rest:
        found.left.append(f"{workers} workers, {[thread.name for thread in rest]}")
        threads |= rest


def _use(client: Client, url: str) -> None:
    answer = client.collect("POST", f"{url}/v1/chat/completions", json=BODY)
    assert answer.text


def _threads() -> set[threading.Thread]:
    """Those that may not stay.

    The supervisor stays, and a worker without an attempt waits a while for the next.
    """
    lasting = ("llmwatch-supervisor", "llmwatch-worker")
    return {thread for thread in threading.enumerate() if thread.name not in lasting}


def workers_left() -> list[str]:
    """The workers that are there :data:`PATIENCE` after the last call."""
    until = time.monotonic() + PATIENCE
    while rest := [thread.name for thread in threading.enumerate() if thread.name == "llmwatch-worker"]:
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    return rest


def interrupt(count: int, seed: int, *, every: int = 10) -> dict[str, Found]:
    """Raise ``count`` times, and look after ``every`` calls at what was left."""
    interrupter = Interrupter(seed)
    with servers() as urls, Client() as client, contextlib.ExitStack() as stack:
        todo = operations(stack, client, *urls)
        durations = {name: duration_of(operation) for name, operation in todo.items()}
        found = {name: Found() for name in todo}
        threads, calls = _threads(), 0
        while sum(one.raised for one in found.values()) < count:
            for name, operation in todo.items():
                interrupter.once(operation, durations[name], found[name])
                calls += 1
                if calls % every == 0:
                    check(client, urls[0], found[name], threads)
    found[next(iter(found))].left += workers_left()
    return found


def main(count: int = 4000, seed: int = 1) -> int:
    """Interrupt, print, and return 1 if anything went wrong."""
    found = interrupt(count, seed)
    print(f"Python {sys.version.split()[0]}, seed {seed}")
    places: Counter[str] = Counter()
    for name, one in found.items():
        print(f"{name:<22} {one}")
        for what in [*one.replaced, *one.lost, *one.left][:8]:
            print(f"    {what}")
        places += one.places
    total = Found(
        raised=sum(one.raised for one in found.values()),
        replaced=[what for one in found.values() for what in one.replaced],
        lost=[what for one in found.values() for what in one.lost],
        finalizers=sum(one.finalizers for one in found.values()),
        stuck=sum(one.stuck for one in found.values()),
        left=[what for one in found.values() for what in one.left],
    )
    print(f"{'all':<22} {total}")
    print("raised in: " + ", ".join(f"{place} {number}" for place, number in places.most_common(12)))
    return int(total.wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
