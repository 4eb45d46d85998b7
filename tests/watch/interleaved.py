"""One watched call as actors, with the laws that hold in every order.

The actors are a caller, a worker, the supervisor and others. The laws: one verdict; nothing after it; no shutdown of a
released socket; the caller always woken; the owner closes once; no deadlock; no interruption replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmwatch.errors import Cancelled
from llmwatch.watch.attempt import Attempt, BatchMeaning
from llmwatch.watch.channel import Bounds, Channel
from llmwatch.watch.machine import Verdict, VerdictKind
from llmwatch.watch.supervisor import Supervisor
from llmwatch.watch.workers import Workers
from tests.watch.explorer import Interruption, Shared, World, WorldClock

LIMITS = {"ttfb": 10.0, "stale": 10.0, "drain": 1.0}
IN_TIME = 0.25
"""Seconds; a supervisor that is as late as this is not taken to have been starved."""
EXPIRED = 10.0 + IN_TIME
"""Seconds after which each of them has expired."""
MEANINGS = {
    "text": BatchMeaning(content=True),
    "opening": BatchMeaning(content=False),
    "end": BatchMeaning(content=True, terminal=True),
}

__all__ = ["EXPIRED", "LIMITS", "Call", "passing", "supervisor"]


class SharedSupervisor(Supervisor):
    """A supervisor whose use of what it shares without a lock is a point."""

    _wakes_at: Any = Shared()
    _shift: Any = Shared()


class SharedAttempt(Attempt[str]):
    """An attempt whose use of what it shares without a lock is a point."""

    armed: Any = Shared(locked=True)
    _abandoned: Any = Shared()
    _given_up: Any = Shared()
    number = 0

    def __hash__(self) -> int:
        # The registry's order is the same in every run.
        return self.number


class CheckedChannel(Channel[str]):
    """A channel that takes nothing after a verdict, but the rest of an answer that is done."""

    call: Call

    def put(self, batch: list[str], size: int) -> None:
        verdict = self.call.attempt.verdict
        self.call.world.require(
            "nothing after the verdict",
            verdict is None or verdict.kind is VerdictKind.DONE or self.closed,
            f"{batch} came after {verdict}",
        )
        super().put(batch, size)
        if verdict is None:
            self.call.put += batch
        else:
            self.call.behind += batch


class CheckedHandle:
    """A socket's handle that keeps its laws, and the read that blocks on the socket."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.past = call.world.made()
        self.shut = False
        self.releases = 0

    def _law(self, law: str, holds: object, what: str) -> None:
        self._call.world.require(law, holds, what)

    def _use(self, what: str) -> None:
        self._law("no shutdown of a released socket", not self.releases, f"{what} after the release")
        self._law("under the lock", self._call.attempt._lock._is_owned(), what)  # type: ignore[attr-defined]

    def shutdown(self) -> None:
        self._use("shutdown")
        self._call.before_shutdown()
        over = self._call.attempt.verdict is not None
        self._law("the verdict comes before the shutdown", over, "a running attempt was shut down")
        self._call.world.meets(self)
        self.shut = True

    def waiting(self) -> bool:
        self._use("waiting")
        return False

    def release(self) -> None:
        self._use("release")
        self.releases += 1
        self._law("the owner closes", self._call.is_worker(), "another thread closed the socket")

    def detach_in_child(self) -> None:
        raise AssertionError("nothing forks here")


class Call:
    """One attempt whose worker reads ``wire``, and then waits until its socket is shut.

    ``end`` in ``wire`` ends the answer. The worker leaves after that, and says whether the socket can be used again.
    """

    def __init__(
        self,
        world: World,
        wire: tuple[str, ...],
        *,
        limits: Mapping[str, float | None] | None = None,
        bounds: Bounds | None = None,
        watcher: Supervisor | None = None,
        workers: Workers | None = None,
        error: BaseException | None = None,
        rest: bool = False,
        wakes: bool = True,
        begun: bool = True,
    ) -> None:
        self.world = world
        self.supervisor = watcher or supervisor()
        self.workers = workers
        self.attempt = SharedAttempt(
            limits if limits is not None else LIMITS,
            bounds=bounds,
            supervisor=self.supervisor,
        )
        channel: CheckedChannel = CheckedChannel(bounds or Bounds())
        channel.call = self
        self.attempt._channel = channel
        self.wire = list(wire)
        self.error = error
        self.put: list[str] = []
        self.behind: list[str] = []  # what the worker put behind the end
        self.items: list[str] = []
        self.handles: list[CheckedHandle] = []
        self.began = self.left = False
        self.reusable: bool | None = None
        self.interrupted: Interruption | None = None
        self._worker: object = None
        self._verdict: Verdict | None = None
        self._facts = ""
        world.at_each_point.append(self._look)
        self.attempt.number = world.made()
        self.rest = rest
        self.wakes = wakes  # whether the worker wakes when its socket is shut
        self.before_sent: Callable[[], object] = _nothing
        self.before_shutdown: Callable[[], object] = _nothing
        self.give_up: Callable[[], object] = lambda: self.attempt.cancel("user")
        if begun:
            # The orders of the first steps are explored by other calls.
            world.prologue("supervisor", "worker")
            self.attempt.start(self.work, workers)

    # -- the actors ---------------------------------------------------------

    def work(self, attempt: Attempt[str]) -> None:
        """The worker."""
        self.began, self._worker = True, self.world.current
        handle = CheckedHandle(self)
        try:
            self.handles.append(handle)
            attempt.adopt(handle)
            attempt.sending(10)
            verdict = attempt.verdict
            self.world.require(
                "nothing after the verdict", verdict is None, "an attempt that was over sent its request"
            )
            self.before_sent()
            attempt.sent()
            self.opened()
            for data in attempt.pieces(lambda: self.read(handle)):
                text = data.decode()
                attempt.deliver([text], 1, MEANINGS[text], kinds=[text])
                if text == "end":
                    break
            if self.rest:
                for data in attempt.pieces(lambda: self.read(handle)):
                    attempt.trail(data.decode(), 1)
            if self.error is not None:
                raise self.error
        finally:
            self.reusable = attempt.disown(handle)
            shut = handle.shut
            verdict = attempt.verdict
            fit = verdict is None or verdict.kind is VerdictKind.DONE
            self.world.require("no reuse of a socket that was shut", not self.reusable or not shut, "it is reused")
            self.world.require("no reuse of a broken call's socket", not self.reusable or fit or shut, str(verdict))
            self.left = True

    def opened(self) -> None:
        """The worker is about to read."""
        self.world.explore_from_here()

    def read(self, handle: CheckedHandle) -> bytes:
        """What the server sent; a read that waits ends with the shutdown, which looks like a clean end."""
        if self.wire:
            return self.wire.pop(0).encode()
        if self.error is None:
            self.world.point(lambda: handle.shut and self.wakes)
            self.world.meets(handle)
        return b""

    def caller(self, *, take: int = 100, then: Callable[[], object] | None = None) -> None:
        """Start, take at most so many batches, do what comes ``then``; an interruption cancels the attempt."""
        try:
            if self.attempt._thread is None:
                self.attempt.start(self.work, self.workers)
            for _ in range(take):
                before = self.attempt.verdict
                batch = self.attempt.take()
                # A call that ends with the process still gives what had come before.
                cancelled = before is not None and before.by == "user"
                self.world.require(
                    "nothing after the verdict", not (batch and cancelled), f"{batch} of a cancelled attempt"
                )
                if batch is None:
                    break
                self.items += batch
            if then is not None:
                then()
        except Interruption as interruption:
            self.interrupted = interruption
            self.give_up()
        except Cancelled:
            pass

    # -- the laws -----------------------------------------------------------

    def is_worker(self) -> bool:
        return self.world.current is self._worker

    def _look(self) -> None:
        verdict = self.attempt._machine.verdict
        if self._verdict is None:
            self._verdict = verdict
        self.world.require("one verdict", verdict is self._verdict, f"{verdict} replaced {self._verdict}")
        if verdict is not None and not self._facts and self.attempt._lock._count == 0:  # type: ignore[attr-defined]
            self._facts = repr(self.attempt.stats)

    def settled(self, *, all_taken: bool = True) -> Verdict:
        """The laws at the end of a run, when every actor has ended or waits for something that never comes."""
        self._look()
        require, attempt = self.world.require, self.attempt
        verdict = attempt.verdict
        require("one verdict", verdict is not None, "there is none")
        assert verdict is not None
        facts = repr(attempt.stats)
        require("nothing after the verdict", facts == self._facts, f"{facts} was {self._facts}")
        require("no deadlock", not attempt._lock._count, "the lock is held")  # type: ignore[attr-defined]
        if self.wakes:
            require("no deadlock", not self.began or self.left, "the worker did not leave")
            released = all(handle.releases == 1 for handle in self.handles)
            require("the owner closes once", released, "not each is closed once")
            counts = self.supervisor.registry.counts()
            require("no worker is left", counts["workers"] == 0 == counts["orphans"], str(counts))
        interrupted = "(interrupted)" in self.world.order
        require("no interruption is replaced", interrupted == (self.interrupted is not None), "it did not come out")
        if verdict.kind is VerdictKind.CANCELLED:
            require("nothing after the verdict", attempt.take() is None, "a cancelled attempt gives items")
            require("nothing is lost", self.items == self.put[: len(self.items)], f"{self.items} of {self.put}")
        elif all_taken and self.interrupted is None:
            opened = attempt.opened
            require("nothing is lost", self.items == (self.put if opened else []), f"{self.items} of {self.put}")
        return verdict


def _nothing() -> None:
    """Nothing."""


def passing(world: World, seconds: float, *calls: Call) -> Callable[[], None]:
    """What an actor does that lets time pass.

    ``seconds`` pass at some moment, and more whenever every actor waits.
    The second ends with the last verdict of ``calls``: what has to come after a verdict needs no time.
    """

    def pass_time() -> None:
        world.point()
        move(seconds)
        while True:
            world.point(last=True)
            wake = world.next_wake()
            if wake is None or (calls and all(call.attempt.verdict is not None for call in calls)):
                return
            move(max(0.0, wake - world.time) + IN_TIME)

    def move(some: float) -> None:
        world.meets(world.timer)
        world.time += some

    return pass_time


def supervisor() -> Supervisor:
    """A supervisor on the time of the run."""
    return SharedSupervisor(WorldClock())  # type: ignore[arg-type]
