"""Ctrl-C and signal handlers in a caller that waits."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import pytest

from llmwatch.watch.attempt import Attempt, BatchMeaning
from llmwatch.watch.channel import Channel
from llmwatch.watch.clock import SystemClock, WaitList
from llmwatch.watch.supervisor import Supervisor
from tests.rows import each
from tests.watch.scripted import PATIENCE, Caller, HandDriven, Puppet, Socket, WatchedSystemClock
from tests.watch.tracing import Enough, interrupted, lines_before, lines_of, names

needs_signals = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill") or threading.current_thread() is not threading.main_thread(),
    reason="a signal has to reach the main thread",
)
ROUNDS = 50
UNHEARD = PATIENCE / 4
"""Seconds after which a signal is taken to have been lost."""
LINES = lines_of(Attempt.take, SystemClock.wait, Channel.take, WaitList.enter, WaitList.leave)


class Watched:
    """An attempt on a real supervisor whose worker waits in a read for ever."""

    def __init__(self, *, wakes: bool = True) -> None:
        self.clock = WatchedSystemClock()
        self.attempt: Attempt[Any] = Attempt({}, supervisor=Supervisor(self.clock))
        self.worker = Puppet(self.attempt)
        self.attempt.start(self.worker)
        self.socket = Socket(self.attempt, wakes=wakes)
        self.worker.do(lambda attempt: attempt.adopt(self.socket))

    def lock_is_free(self) -> bool:
        """Whether another thread can take the attempt's lock."""

        def take() -> bool:
            taken = self.attempt._lock.acquire(timeout=PATIENCE)
            if taken:
                self.attempt._lock.release()
            return taken

        return bool(Caller(take).result())

    def end(self) -> None:
        self.attempt.cancel("user")
        self.worker.end()
        assert self.attempt.join(PATIENCE)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT means KeyboardInterrupt.

    This holds also where the tests run in the background of a shell that ignores SIGINT.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@needs_signals
@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("end", [None, 1_000.0])
def test_ctrl_c_interrupts_a_caller_that_waits(end: float | None) -> None:
    """A real SIGINT at the moment that a wait begins ends take() with KeyboardInterrupt.

    The lock is free and the attempt usable.

    Ctrl-C is pressed many times, because a signal between a thread's last look for signals and its sleep is easily
    slept over.
    """
    main = threading.main_thread().ident
    assert main is not None
    for _ in range(ROUNDS):
        one, free = Watched(), threading.Event()

        def press(one: Watched = one, free: threading.Event = free) -> bool:
            one.clock.next_waiter()
            signal.pthread_kill(main, signal.SIGINT)
            heard = free.wait(UNHEARD)
            if not heard:
                one.attempt.cancel("user")  # so that this test ends
            return heard

        presser = Caller(press)
        try:
            with pytest.raises(KeyboardInterrupt):
                one.attempt.take(None if end is None else one.clock.now() + end)
            free.set()
            assert presser.result(), "the signal was slept over"
            assert one.lock_is_free()
            assert one.attempt.verdict is None
            one.worker.do(lambda attempt: attempt.deliver(["a"], 1, BatchMeaning(content=True)))
            assert one.attempt.take() == ["a"]
        finally:
            one.end()


@each("where", LINES, ids=names(LINES))
def test_ctrl_c_at_any_line_leaves_the_lock_free(where: tuple[CodeType, int]) -> None:
    """Wherever in our own code it strikes, the attempt can be cancelled afterwards and its worker ends."""
    one = Watched()
    one.worker.do(lambda attempt: attempt.deliver(["a"], 1, BatchMeaning(content=True)))

    def press() -> None:
        raise KeyboardInterrupt

    def take() -> None:
        one.attempt.take()
        one.attempt.take(one.clock.now() + 0.001)

    def call() -> bool:
        try:
            reached, _ = interrupted(take, where, press)
        except KeyboardInterrupt:
            return True
        return reached

    Caller(call).result()
    assert one.lock_is_free()
    one.end()
    assert one.socket.shut_down.is_set()


START_LINES = lines_of(Attempt.start)


@each("where", START_LINES, ids=names(START_LINES))
def test_ctrl_c_at_any_line_of_the_start_leaves_nothing_behind(where: tuple[CodeType, int]) -> None:
    """An interrupted start raises and gives up what it has begun.

    No worker goes on, and the registry counts none.
    """
    supervisor = HandDriven()
    attempt: Attempt[Any] = Attempt({}, supervisor=supervisor)

    def press() -> None:
        raise KeyboardInterrupt

    def work(attempt: Attempt[Any]) -> None:
        over = threading.Event()
        while not over.wait(0.001):
            attempt.check()

    def call() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            interrupted(lambda: attempt.start(work), where, press)
            attempt.cancel("user")  # the line was not on the way

    Caller(call).result()
    thread = attempt._thread
    if thread is not None and thread.ident is not None:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    counts = supervisor.registry.counts()
    assert (counts["live_attempts"], counts["workers"]) == (0, 0)


@each("where", LINES, ids=names(LINES))
@each("nth", [1, 2])
def test_a_handler_that_cancels_at_any_line_frees_the_caller(where: tuple[CodeType, int], nth: int) -> None:
    """A signal handler may cancel in the middle of take(), with a worker that nothing wakes.

    The caller is not left waiting.
    """
    one = Watched(wakes=False)
    reached, batch = Caller(
        lambda: interrupted(
            # The last take would wait for ever, were it not for the cancellation at some line before.
            lambda: [
                one.attempt.take(0.0),
                one.attempt.take(0.0),
                None if one.attempt.verdict is None else one.attempt.take(),
            ],
            where,
            lambda: one.attempt.cancel("user"),
            nth=nth,
        )
    ).result()
    if reached:
        assert one.attempt.verdict is not None
        assert batch == [None] * 3
    one.end()


def _on_the_way_to_a_wait() -> list[tuple[CodeType, int]]:
    """The lines that a caller goes through before it waits."""

    class Waiter:
        def get(self, timeout: float) -> None:
            raise Enough

    class Clock(SystemClock):
        def wait(self, waiter: Any, until: float | None) -> None:
            super().wait(Waiter(), until)  # type: ignore[arg-type]

    attempt: Attempt[Any] = Attempt({}, supervisor=Supervisor(Clock()))
    return lines_before(attempt.take, Attempt.take, SystemClock.wait, Channel.take, WaitList.enter)


ON_THE_WAY = _on_the_way_to_a_wait()


@pytest.mark.parametrize("where", ON_THE_WAY, ids=names(ON_THE_WAY))
def test_a_handler_that_cancels_just_before_the_wait_ends_it(where: tuple[CodeType, int]) -> None:
    """The supervisor wakes a caller whose handler cancels between the look at the verdict and the wait.

    At that moment there is no waiter to notify.
    """
    one = Watched(wakes=False)
    caller = Caller(lambda: interrupted(one.attempt.take, where, lambda: one.attempt.cancel("user")))
    assert caller.result() == (True, None)
    one.end()


@needs_signals
def test_a_real_handler_may_cancel() -> None:
    """A handler of a real signal that cancels frees the very thread that it interrupts.

    The signal may come at any moment.
    """
    main = threading.main_thread().ident
    assert main is not None
    current: list[Watched] = []
    handler: Callable[..., object] = lambda number, frame: current[0].attempt.cancel("user")  # noqa: E731
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        for _ in range(ROUNDS):
            current[:] = [Watched(wakes=False)]
            presser = Caller(lambda: signal.pthread_kill(main, signal.SIGUSR1))
            assert current[0].attempt.take() is None
            presser.result()
            current[0].end()
    finally:
        signal.signal(signal.SIGUSR1, before)
