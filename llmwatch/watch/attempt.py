"""One attempt: its worker thread, its verdict, and the channel to its caller.

**Who may do what.** The worker opens, reads and closes. The supervisor, and a caller that gives up, set the verdict
and then shut down duplicates of the sockets, which wakes the worker; they close nothing that the worker uses. The
caller never joins the worker.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from llmwatch.errors import Cancelled, LLMWatchError, StreamCut, TooManyOrphans
from llmwatch.watch import patched
from llmwatch.watch import supervisor as supervisors
from llmwatch.watch.channel import Channel
from llmwatch.watch.clock import Waiter
from llmwatch.watch.dropped import Dropped
from llmwatch.watch.interfaces import Aborted
from llmwatch.watch.launch import Launch
from llmwatch.watch.machine import GRACE, Action, Due, Machine, Phase, Seen, Verdict, VerdictKind
from llmwatch.watch.registry import MOST_ORPHANS
from llmwatch.watch.reports import Reports
from llmwatch.watch.states import EVENT_CLOCKS

T = TypeVar("T")

__all__ = ["Attempt", "serving"]

_NEVER = float("inf")
_WAKE_BOUND = 1.0
"""Seconds in which a worker has to wake after its sockets were shut; then it counts as an orphan."""
_STAYS = 2.0
"""Seconds for which a thread that is not the main one is kept from its call's end while the interpreter exits."""
_EXIT_BOUND = 0.05
"""The same for a worker that never had a socket: nothing can wake it, unless it was on its way out anyway."""

_BROKEN_OFF = (VerdictKind.KILLED, VerdictKind.CANCELLED)

_STARVED = 0.5
"""Seconds by which a supervisor has to be late to take a second look before it kills."""
_SECOND_LOOK = 0.02
"""Seconds until then: a worker that is free to run needs far less to report what it has read."""

_serving = threading.local()


def serving() -> Attempt[object] | None:
    """The attempt that this thread is the worker of, if it is one."""
    return getattr(_serving, "attempt", None)


def _stuck_error() -> StreamCut:
    return StreamCut(
        "The body of an error response could not be read to its end, and its connection could not be dropped."
    )


class Attempt(Reports[T]):
    """Runs ``work`` in a thread of its own and watches it.

    ``limits`` maps clock names to seconds (``None``: off); ``deadline_at`` is when the call ends, on the supervisor's
    clock. Items of type ``T`` travel from the worker (:meth:`deliver`) to the caller (:meth:`take`).
    """

    # -- the caller's side --------------------------------------------------

    def start(self, work: Callable[[Attempt[T]], None]) -> None:
        """Start the worker, which calls ``work(attempt)`` with the caller's context variables, and the watch over
        it.
        """
        if sys.is_finalizing():
            # A thread that is started now never runs, and whoever starts it waits for it.
            raise Cancelled("The interpreter exits, so no call can be made any more; nothing was sent.", by="lifecycle")
        patched.check()
        registry = self._supervisor.registry
        if registry.orphans >= MOST_ORPHANS:
            raise TooManyOrphans(
                f"{registry.orphans} workers of earlier attempts are still stuck where nothing can wake them (mostly"
                f" name look-ups and functions that ignore their abort); {MOST_ORPHANS} are allowed. Nothing was sent."
                " Look at llmwatch.stats(), and at the resolver of this machine."
            )
        self.outer = serving()
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._run, work), name="llmwatch-worker", daemon=True)
        launch = Launch(thread)
        try:
            with self._lock:
                self._machine.seen(Seen.BEGUN, self._clock.now())
                self._thread = thread
                registry.add(self)
            # The watch first: without it nothing is sent.
            self._supervisor.watch(self)
            launch.start()
        except BaseException:
            # Nobody would watch it, or nobody would listen: it must not go on.
            if launch.withdraw():
                self._thread = None
                registry.remove(self, 0)
            self.cancel("user")
            raise

    def take(self, until: float | None = None) -> list[T] | None:
        """The next batch of items, or ``None`` when the attempt is over or ``until`` has come.

        Blocks; Ctrl-C interrupts it. What was handed over before a kill or failure still comes out; a cancelled
        attempt gives nothing.
        """
        waiter: Waiter | None = None
        while True:
            with self._lock:
                batch = self._channel.take()
                over = batch is not None or self._machine.verdict is not None
                timed_out = not over and until is not None and self._clock.now() >= until
                self._at_hand = not over and not timed_out
                if self._wants_room:
                    self._look_at_caller()
                if timed_out:
                    self._channel.changed.leave(waiter)
                stays = over and batch is None and self._stays()
                if not self._at_hand and not stays:
                    return batch
                before, waiter = waiter, self._channel.changed.enter(waiter)
            if stays:
                self._clock.wait(Waiter(), self._clock.now() + _STAYS)
                return batch
            if waiter is before:
                self._clock.wait(waiter, until)

    def _stays(self) -> bool:
        """Whether this thread waits for the end of the process, for :data:`_STAYS`: a function that runs at exit may
        wait for it. It was awake when the attempts were ended at exit, and would only print a traceback, as one that is
        woken then.
        """
        return self._channel.silent and threading.get_ident() != threading.main_thread().ident

    def rest(self) -> list[T] | None:
        """What came behind the end of an answer that is whole, in batches; ``None`` once the body is over, or was left
        after ``drain``. Blocks until one or the other; Ctrl-C interrupts it.
        """
        batch: list[T] | None = None

        def ready() -> bool:
            nonlocal batch
            batch = self._channel.take()
            return batch is not None or self._through or self._closed or self._channel.closed

        self._channel.changed.wait_for(ready, self._lock, self._clock)
        return batch

    def forgo(self) -> None:
        """The caller wants nothing of that, from any thread."""
        with self._lock:
            self._channel.close()

    def accept(self) -> bool:
        """The caller is content with what has come, the end mark among it: the answer counts as whole, and the rest of
        its body drains. ``False`` if the attempt was over before.
        """
        with self._lock:
            now = self._clock.now()
            accepted = self._machine.seen(Seen.TERMINAL, now)
            self._after_observation()
            return accepted

    @property
    def verdict(self) -> Verdict | None:
        """How the attempt ended; ``None`` while it runs."""
        return self._machine.verdict

    @property
    def late(self) -> int:
        """Observations that came after the verdict."""
        return self._machine.late

    @property
    def opened(self) -> bool:
        """Whether anything was let through to the caller."""
        return self._channel.opened

    @property
    def orphaned(self) -> bool:
        """Whether the worker did not wake after the end."""
        return self._orphaned

    @property
    def paused(self) -> float:
        """Seconds of the attempt in which its clocks stood still, since somebody else kept it waiting."""
        verdict, over_at = self._machine.verdict, self._over_at
        until = self._clock.now() if verdict is None else verdict.at
        return self._machine.held_until(until if over_at is None else min(over_at, until))

    @property
    def machine(self) -> Machine:
        """The clocks. To be read once there is a verdict, when nothing moves any more."""
        return self._machine

    def counting(self) -> Due | None:
        """The limit that expires next, and when on the supervisor's clock."""
        with self._lock:
            return None if self._machine.verdict is not None else self._machine.next_expiry()

    def cancel(self, by: str) -> bool:
        """Give the attempt up: nothing more comes out of it. ``False`` if it was over before.

        If that is interrupted the supervisor brings it to its end.
        """
        self._given_up = self._given_up or by
        try:
            with self._lock:
                if not self._machine.cancel(by, self._clock.now()):
                    return False
                self._channel.close()
                self._shut()
            self._supervisor.look_at(self)
        except BaseException:
            self._supervisor.look_at(self)
            raise
        return True

    def close(self) -> None:
        """Drop the connection of an attempt that is done but still drains."""
        with self._lock:
            self._shut()

    def end_at_exit(self) -> None:
        """The interpreter exits: nothing more is sent or read, and whoever waits is left to it, for a while."""
        with self._lock:
            # Its caller goes to sleep again, for a bounded time: a function that runs at exit may wait for the thread.
            self._channel.changed.wake()
            self._channel.silence()
            now = self._clock.now()
            if self._abandoned:
                self._end_abandoned(now)
            self._machine.cancel("lifecycle", now)
            self._shut()

    def abandon(self, close: Callable[[], object] | None = None) -> None:
        """For finalizers: ask the supervisor to end the attempt, and to have ``close`` called once it is over. Takes
        no lock and calls nothing.
        """
        self._abandoned = True
        self._supervisor.look_at(self)
        if close is not None:
            self._supervisor.look_at(Dropped(close))

    def _end_abandoned(self, now: float) -> bool:
        """As a caller that closes its call: who has the end mark has all of the answer. Whether the attempt is
        cancelled now. The lock is held.
        """
        if self._machine.verdict is None and self._given_up is None and self.stats.end == "terminal":
            self.accept()
        if not self._machine.cancel(self._given_up or "user", now):
            return False
        self._channel.close()
        return True

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the worker; ``True`` once it is gone. The library itself never calls this."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    # -- the worker itself --------------------------------------------------

    def _run(self, work: Callable[[Attempt[T]], None]) -> None:
        _serving.attempt = self
        try:
            self.check()
            work(self)
        except Aborted as aborted:
            self._settle(aborted)
        except BaseException as error:
            self._settle(error)
        else:
            self._settle(None)
        finally:
            _serving.attempt = None
            self._supervisor.registry.remove(self, self._machine.late)

    def _settle(self, error: BaseException | None) -> None:
        """The worker is through: the verdict, if there is none yet, and the end of all ownership."""
        if isinstance(error, LLMWatchError):
            # It is raised anew in the caller. The frames of the worker say nothing to him, and would keep the attempt,
            # which keeps the error.
            error.__traceback__ = None
        with self._lock:
            now = self._clock.now()
            if error is None:
                self._machine.finish(now)
            else:
                self._machine.fail(error, now)
            verdict = self._machine.verdict
            if verdict is not None and verdict.kind is VerdictKind.DONE:
                self._channel.open()
            self._through = True
            self._conclude()
            for handle in self._handles:
                handle.release()
            self._handles.clear()
            if self._own:
                self._own = 0
                self._tell_whether_seen(False)
            self.armed = _NEVER

    # -- the supervisor's side ----------------------------------------------

    def examine(self, now: float) -> tuple[Action, float | None]:
        """Judge the clocks. Called by the supervisor only."""
        with self._lock:
            action = self._judge(now)
            if action is not Action.NOTHING:
                # From now on, although the shutdown waits until every verdict of the moment is in.
                self._ended_at = self._ended_at or now
            if self._machine.verdict is not None and action is Action.NOTHING:
                # Whoever set the verdict has woken the waiters, unless a signal handler came in between.
                self._channel.wake()
            at = self._next_look(now)
            self.armed = _NEVER if at is None else at
            return action, at

    def _judge(self, now: float) -> Action:
        machine = self._machine
        if self._abandoned:
            self._end_abandoned(now)
        elif self._given_up is not None:
            machine.cancel(self._given_up, now)
        verdict = machine.verdict
        if verdict is not None and not self._shut_down and verdict.kind in _BROKEN_OFF:
            # Just given up, or whoever set the verdict was interrupted before it was carried out.
            if verdict.kind is VerdictKind.CANCELLED:
                self._channel.close()
            return Action.KILL
        due = machine.due(now)
        if due is None:
            return Action.NOTHING
        # One who is at work on what it has read, a packed flood say, could read.
        at_work = due.clock in EVENT_CLOCKS and self._in_hand
        waiting = machine.may_look(due) and not at_work and self._waiting()
        if machine.may_look(due) and self._looks_again(due, now, waiting=waiting):
            return Action.NOTHING
        return machine.expire(now, waiting=waiting)

    def _looks_again(self, due: Due, now: float, *, waiting: bool) -> bool:
        """Whether to come back in a moment, once: a supervisor that wakes this late was starved, as the worker was, who
        may have read by now and not come to say so; or the worker has something in hand that it read in time.
        """
        if self._second_look is None or self._second_look[0] != due.at:
            # Beyond GRACE its own lateness is an excuse already, as waiting bytes are.
            starved = not waiting and _STARVED < now - due.at <= GRACE
            in_hand = due.clock in EVENT_CLOCKS and self._in_hand and (self._read_at or 0.0) <= due.at
            if not starved and not in_hand:
                return False
            self._second_look = due.at, now + _SECOND_LOOK
        return now < self._second_look[1]

    def _waiting(self) -> bool:
        for handle in self._handles:
            # A handle that cannot be asked is no excuse.
            with contextlib.suppress(Exception):
                if handle.waiting():
                    return True
        return False

    def _next_look(self, now: float) -> float | None:
        if self._ended_at is not None:
            if self._thread is None or not self._thread.is_alive() or self._orphaned:
                return None
            wake_by = self._ended_at + (_WAKE_BOUND if self._adopted else _EXIT_BOUND)
            if now <= wake_by:
                return wake_by
            # Nothing to shut, or a shutdown that woke nobody.
            self._let_go()
            if self._machine.verdict is None:
                self._machine.fail(_stuck_error(), now)
                self._conclude()
            return None
        first = self._machine.refresh()
        if first is not None and self._second_look is not None and self._second_look[0] == first.at:
            return max(self._second_look)
        return None if first is None else first.at

    def abort(self) -> None:
        """Shut the sockets, then free the caller. Called by the supervisor after every verdict of the moment is in."""
        with self._lock:
            self._shut()
            verdict = self._machine.verdict
            killed = verdict is not None and verdict.kind is VerdictKind.KILLED
            unseen = self.stats.opaque and not self._handles
            if unseen and killed and self._thread is not None and self._thread.is_alive():
                # Nothing can wake a function in which nothing was found, so its caller is told at once.
                self._let_go()
            self._conclude()

    def _let_go(self) -> None:
        self._orphaned = True
        self._supervisor.registry.orphan(self)

    def detach_in_child(self) -> None:
        """In a forked child: be over, without touching what the parent still uses."""
        # The old lock may be held by a thread that does not exist here.
        self._lock = threading.RLock()
        self._channel = Channel(self._bounds)
        with self._lock:
            self._channel.close()
        self._closed = self._shut_down = True
        self._machine.detach_in_child(self._clock.now())
        for handle in self._handles:
            with contextlib.suppress(Exception):
                handle.detach_in_child()
        self._handles = []

    @property
    def phase(self) -> Phase:
        """Where the attempt stands."""
        return self._machine.phase


def _forget_worker() -> None:
    """In a forked child nobody is a worker, although the thread that forked, and lives on there, may have been one."""
    global _serving
    _serving = threading.local()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_worker)

atexit.register(supervisors._end_all)
