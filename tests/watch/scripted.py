"""The other side of the watchdog, scripted: handles, workers and clocks that a test drives.

Nothing here sleeps. What has to happen is waited for with :data:`PATIENCE`; a test whose wait ends without it fails.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from llmwatch.watch.attempt import Attempt, BatchMeaning
from llmwatch.watch.clock import Clock, ManualClock, SystemClock, Waiter
from llmwatch.watch.interfaces import Aborted
from llmwatch.watch.machine import Action, Verdict
from llmwatch.watch.supervisor import Supervisor
from tests.calibration import scale_of_this_run

T = TypeVar("T")

SCALE = scale_of_this_run()
"""The scale of the tests.

It comes from where the tests take it, because processes that import this module have no need of pytest.
"""
PATIENCE = 20.0 * SCALE
"""Seconds after which something that has to come is taken not to come."""


class SteppedClock(ManualClock):
    """A manual clock on which no thread blocks in an inbox.

    The clock is for a supervisor that is driven by :meth:`HandDriven.look`.
    """

    def get(self, inbox: queue.SimpleQueue[T | None], until: float | None) -> T | None:
        try:
            return inbox.get_nowait()
        except queue.Empty:
            return None


class _Waiters:
    """Tells a test when a thread is about to sleep, by the list of waiting threads."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._seen: queue.SimpleQueue[Waiter] = queue.SimpleQueue()

    def wait(self, waiter: Waiter, until: float | None) -> None:
        self._seen.put(waiter)
        super().wait(waiter, until)  # type: ignore[misc]

    def next_waiter(self) -> Waiter:
        """The next thread that waits. A later step of the test finds it waiting."""
        return self._seen.get(timeout=PATIENCE)

    def forget_waits(self) -> None:
        """From now on only new waits count."""
        while not self._seen.empty():
            self._seen.get_nowait()


class WatchedClock(_Waiters, ManualClock):
    """A manual clock that says when a thread waits."""


class WatchedSteppedClock(_Waiters, SteppedClock):
    """A stepped clock that says when a thread waits."""


class WatchedSystemClock(_Waiters, SystemClock):
    """Real time, and it says when a thread waits."""


class HandDriven(Supervisor):
    """A supervisor without a thread: it looks when a test says so. Counts the messages that it gets."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock or WatchedSteppedClock())
        self.messages = 0

    def watch(self, attempt: Any) -> None:
        self.look_at(attempt)

    def look_at(self, attempt: Any) -> None:
        self.messages += 1
        super().look_at(attempt)

    def arm(self, attempt: Any) -> None:
        self.messages += 1
        super().arm(attempt)

    def look(self, turns: int = 3) -> None:
        """Do all there is to do now. An expiry that got a grace uncovers the next one only in the next turn."""
        for _ in range(turns):
            self.turn()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and look."""
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(seconds)
        self.look()


class Scripted:
    """Something watched without threads or clocks.

    It answers as told, and writes down what is done to it.
    """

    def __init__(
        self, name: str, log: list[tuple[str, str, float | None]], *answers: tuple[Action, float | None]
    ) -> None:
        self.name = name
        self.log = log
        self.answers = list(answers)
        self.armed = float("-inf")  # to be examined at once
        self.examined = threading.Event()
        self.aborted = threading.Event()
        self.raises: BaseException | None = None

    def examine(self, now: float) -> tuple[Action, float | None]:
        self.log.append(("examine", self.name, now))
        self.examined.set()
        if self.raises is not None:
            raise self.raises
        action, at = self.answers.pop(0) if self.answers else (Action.NOTHING, None)
        self.armed = float("inf") if at is None else at
        return action, at

    def abort(self) -> None:
        self.log.append(("abort", self.name, None))
        self.aborted.set()
        if self.raises is not None:
            raise self.raises


class Socket:
    """A handle that checks its rules.

    It is used only under its attempt's lock, and never after it was released.
    """

    def __init__(self, attempt: Attempt[Any], log: list[str] | None = None, *, wakes: bool = True) -> None:
        self._attempt = attempt
        self.log: list[str] = [] if log is None else log
        self.wakes = wakes
        self.readable = False
        self.shut_down = threading.Event()
        self.released = False
        self.broken: list[str] = []

    def _use(self, what: str) -> None:
        self.log.append(what)
        if self.released:
            self.broken.append(f"{what} after the release")
        if not self._attempt._lock._is_owned():  # type: ignore[attr-defined]
            self.broken.append(f"{what} without the lock")

    def shutdown(self) -> None:
        self._use("shutdown")
        if self._attempt.verdict is None and self._attempt.phase.value != "refused":
            self.broken.append("shut without a verdict")
        if self.wakes:
            self.shut_down.set()

    def waiting(self) -> bool:
        self._use("waiting")
        return self.readable

    def release(self) -> None:
        self.log.append("release")
        if self.released:
            self.broken.append("released twice")
        self.released = True

    def detach_in_child(self) -> None:
        self.log.append("detach_in_child")

    def read(self) -> None:
        """Block as in a read that nothing answers, until the socket is shut."""
        assert self.shut_down.wait(PATIENCE), "nobody shut the socket"


class Puppet:
    """A worker that does what the test says, one order at a time.

    An order is a function of the attempt. What it raises comes out of :meth:`do`; an :class:`Aborted` goes on to the
    attempt as well, as in a real worker.
    """

    def __init__(self, attempt: Attempt[Any]) -> None:
        self.attempt = attempt
        self._orders: queue.SimpleQueue[Callable[[Attempt[Any]], object] | BaseException | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[object, BaseException | None]] = queue.SimpleQueue()

    def __call__(self, attempt: Attempt[Any]) -> None:
        while (order := self._orders.get()) is not None:
            if isinstance(order, BaseException):
                raise order
            try:
                result, error = order(attempt), None
            except BaseException as raised:
                result, error = None, raised
            self._answers.put((result, error))
            if isinstance(error, Aborted):
                raise error

    def begin(self, order: Callable[[Attempt[Any]], object]) -> None:
        """Give an order, and do not wait for it."""
        self._orders.put(order)

    def result(self) -> object:
        """What an order that was begun returned or raised."""
        result, error = self._answers.get(timeout=PATIENCE)
        if error is not None:
            raise error
        return result

    def do(self, order: Callable[[Attempt[Any]], object]) -> object:
        """Give an order and wait for its result."""
        self.begin(order)
        return self.result()

    def is_there(self) -> None:
        """Return once the worker waits for orders: one that is over before its first step takes none."""
        self.do(lambda attempt: None)

    def end(self) -> None:
        """Let the work function return."""
        self._orders.put(None)

    def crash(self, error: BaseException) -> None:
        """Let the work function raise ``error``, and wait until the worker is gone."""
        self._orders.put(error)
        assert self.attempt.join(PATIENCE), "the worker is still there"


class Stage:
    """One attempt on a supervisor without a thread.

    Its worker is a puppet, and its clock moves when the test says so.
    """

    def __init__(self, supervisor: HandDriven | None = None, **settings: Any) -> None:
        self.supervisor = supervisor or HandDriven()
        self.clock = self.supervisor.clock
        deadline = settings.pop("deadline", None)
        if deadline is not None:
            settings["deadline_at"] = self.clock.now() + deadline
        bounds = settings.pop("bounds", None)
        deadline_at = settings.pop("deadline_at", None)
        self.attempt: Attempt[Any] = Attempt(
            settings, deadline_at=deadline_at, bounds=bounds, supervisor=self.supervisor
        )
        self.worker = Puppet(self.attempt)
        self.sockets: list[Socket] = []

    def socket(self, **kwargs: Any) -> Socket:
        """A new socket, which the attempt adopts."""
        socket = Socket(self.attempt, **kwargs)
        self.sockets.append(socket)
        self.worker.do(lambda attempt: attempt.adopt(socket))
        return socket

    def start(self) -> Stage:
        self.attempt.start(self.worker)
        self.worker.is_there()
        self.supervisor.look()
        return self

    def open(self, **kwargs: Any) -> Socket:
        """Start, connect, send, and receive the head of an answer; the socket that all this went over."""
        self.start()
        socket = self.socket(**kwargs)
        self.worker.do(lambda attempt: attempt.connected())
        self.worker.do(lambda attempt: attempt.sending(100))
        self.worker.do(lambda attempt: attempt.sent())
        self.worker.do(lambda attempt: attempt.headers(200, refused=False))
        return socket

    def receive(self, *items: object, size: int = 10, read: bool = True, **meaning: bool) -> None:
        """Let the worker read ``size`` bytes, and deliver ``items`` as one batch if there are any."""
        meaning.setdefault("content", True)
        if read:
            self.worker.do(lambda attempt: attempt._received(size))
        if items:
            self.worker.do(lambda attempt: attempt.deliver(list(items), size, BatchMeaning(**meaning)))
        else:
            self.worker.do(lambda attempt: attempt._read_on())

    def pass_time(self, seconds: float) -> None:
        self.supervisor.pass_time(seconds)

    @property
    def verdict(self) -> Verdict:
        verdict = self.attempt.verdict
        assert verdict is not None
        return verdict

    def taken(self) -> list[Any]:
        """All items that the caller can take without waiting."""
        items: list[Any] = []
        while batch := self.attempt.take(self.clock.now()):
            items.extend(batch)
        return items

    def leave(self) -> None:
        """Let the worker go, and wait until it is gone."""
        self.worker.end()
        assert self.attempt.join(PATIENCE), "the worker is still there"


class Caller:
    """A call in a thread of its own, whose result or error comes out of :meth:`result`."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._outcome: queue.SimpleQueue[tuple[object, BaseException | None]] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="test-caller", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._outcome.put((self._function(), None))
        except BaseException as error:
            self._outcome.put((None, error))

    def result(self) -> Any:
        try:
            result, error = self._outcome.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError("the call did not return") from None
        self.thread.join(PATIENCE)
        if error is not None:
            raise error
        return result

    @property
    def returned(self) -> bool:
        return not self._outcome.empty()


@contextmanager
def held(*locks: Any) -> Iterator[None]:
    """Another thread holds ``locks`` until the block ends."""
    taken, free = threading.Event(), threading.Event()

    def hold() -> None:
        for lock in locks:
            lock.acquire()
        taken.set()
        free.wait(PATIENCE)
        for lock in locks:
            lock.release()

    holder = threading.Thread(target=hold, name="test-holder", daemon=True)
    holder.start()
    assert taken.wait(PATIENCE)
    try:
        yield
    finally:
        free.set()
        holder.join(PATIENCE)
