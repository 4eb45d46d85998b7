"""Starting threads, whole or not at all."""

from __future__ import annotations

import _thread
import gc
import signal
import threading

import pytest

from llmwatch.errors import TooManyThreads
from llmwatch.watch.clock import SYSTEM, Waiter
from llmwatch.watch.launch import Launch
from tests.watch.scripted import PATIENCE, Caller

ROUNDS = 300
in_main = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"),
    reason="the main thread gets the signals",
)


class Alarm(Exception):
    """The exception of a signal handler."""


class Ran:
    """A thread that says that it ran."""

    def __init__(self) -> None:
        self.ran = threading.Event()
        self.names: list[str] = []
        self.thread = threading.Thread(target=self._run, name="launched", daemon=True)
        self.launch = Launch(self.thread)

    def _run(self) -> None:
        self.names.append(threading.current_thread().name)
        self.ran.set()


def refuse(*_: object, **__: object) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("caller", ["main", "another"])
def test_the_thread_is_up_when_start_returns(caller: str) -> None:
    """From the main thread and from any other: it runs as what it is, and cannot be withdrawn."""
    one = Ran()
    if caller == "main":
        one.launch.start()
    else:
        Caller(one.launch.start).result()
    assert one.thread.ident is not None
    assert one.launch.came_up()
    assert not one.launch.withdraw()
    assert one.ran.wait(PATIENCE)
    assert one.names == ["launched"]
    one.thread.join(PATIENCE)
    assert one.launch.came_up()


@pytest.mark.parametrize("caller", ["main", "another"])
@pytest.mark.parametrize("what", ["Thread.start", "start_new_thread"])
def test_a_start_without_a_thread_names_the_system(monkeypatch: pytest.MonkeyPatch, caller: str, what: str) -> None:
    """The error says what the system said, what to change, and that nothing was sent.

    Nothing runs, then or later.
    """
    if what == "start_new_thread" and caller == "another":
        return  # it never calls that itself
    one = Ran()
    with monkeypatch.context() as patch:
        call = None
        if caller == "another":
            go = threading.Event()
            call = Caller(lambda: go.wait(PATIENCE) and one.launch.start())
        if what == "Thread.start":
            patch.setattr(threading.Thread, "start", refuse)
        else:
            patch.setattr(_thread, "start_new_thread", refuse)
        with pytest.raises(TooManyThreads, match=r"can't start new thread.*Nothing was\s+sent.*ulimit -u") as caught:
            if call is None:
                one.launch.start()
            else:
                go.set()
                call.result()
    assert caught.value.retryable
    assert not one.launch.came_up()
    assert not one.ran.is_set()


def test_a_withdrawn_launch_never_runs() -> None:
    """A launch that is withdrawn before its thread has begun starts nothing, and says that this is known."""
    one = Ran()
    assert one.launch.withdraw()
    one.launch.start()
    assert not one.launch.came_up()
    assert one.thread.ident is None


@in_main
def test_an_interrupted_start_starts_whole_or_not_at_all() -> None:
    """An alarm at any instant of a start comes out as it is.

    The thread runs to its end or never begins; no thread is half there.
    """

    armed = False

    def handle(number: int, frame: object) -> None:
        if armed:
            raise Alarm

    # What a handler raises inside a callback of the garbage collector is lost.
    gc.collect()
    gc.disable()
    before, threads = signal.signal(signal.SIGALRM, handle), set(threading.enumerate())
    ones = []
    interrupted = 0
    try:
        for number in range(ROUNDS):
            one = Ran()
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + number % 150))
                one.launch.start()
                armed = False
            except Alarm:
                interrupted += 1
            armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            ones.append(one)
    finally:
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert interrupted > ROUNDS / 10
    for one in ones:
        if one.launch.came_up():
            assert one.ran.wait(PATIENCE)
            one.thread.join(PATIENCE)
        else:
            assert one.thread.ident is None
    until = SYSTEM.now() + PATIENCE
    while set(threading.enumerate()) - threads and SYSTEM.now() < until:
        SYSTEM.wait(Waiter(), SYSTEM.now() + 0.001)
    assert set(threading.enumerate()) - threads == set()


def test_a_signal_handler_may_ask_whether_the_thread_is_up() -> None:
    """The handler interrupts its own thread in the same question, and does not wait for itself."""
    one = Ran()
    one.launch.start()
    with one.launch._known:
        assert Caller(one.launch.came_up).result()
    assert one.ran.wait(PATIENCE)
    one.thread.join(PATIENCE)
