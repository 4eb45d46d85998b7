"""One attempt: its worker, its verdict, and the channel to its caller.

* **Threads.** The worker opens, reads and closes. The supervisor, or a caller that gives up, sets the verdict and then
  shuts down duplicates of the sockets, which wakes the worker; neither closes anything that the worker uses. The caller
  never joins the worker. The worker's thread is the attempt's alone until the worker has left the attempt; an idle
  thread of the client may then take another attempt (:mod:`llmwatch.watch.workers`).
* **The lock.** Each attempt has one, ``_lock``. It protects the machine, the verdict, the handles, the statistics and
  the channel. The registry's lock and the supervisor's inbox may be used under it (both are leaves). No other attempt's
  lock, no user code and nothing that blocks may run under it. A thread releases it before it waits
  (:mod:`llmwatch.watch.clock`). Methods marked :func:`lock_held` are called with the lock held.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from llmwatch.at_fork import renew_in_child
from llmwatch.errors import Cancelled, LLMWatchError, StreamCut, TooManyOrphans
from llmwatch.interruption import is_interruption
from llmwatch.watch import supervisor as supervisors
from llmwatch.watch.channel import Bounds, Channel
from llmwatch.watch.clock import Waiter
from llmwatch.watch.dropped import Dropped
from llmwatch.watch.interfaces import Aborted, Handle, Watched
from llmwatch.watch.launch import check_threads
from llmwatch.watch.machine import GRACE, Action, Due, Machine, Phase, Seen, Verdict, VerdictKind
from llmwatch.watch.nested import ChildCallHandle
from llmwatch.watch.states import CONTENT_DRIVEN, EVENT_DRIVEN
from llmwatch.watch.stats import AttemptStats
from llmwatch.watch.supervisor import MOST_ORPHANS, Supervisor
from llmwatch.watch.workers import Job, Workers

T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., Any])

__all__ = ["WHOLE", "Attempt", "BatchMeaning", "lock_held", "serving"]

_NEVER = float("inf")
_WAKE_BOUND = 1.0
"""Seconds that a worker has to wake after the shutdown of its sockets; a later one is an orphan."""
_STAYS = 2.0
"""Seconds that a caller's thread, if not the main one, stays in its call while the interpreter exits."""
_EXIT_BOUND = 0.05
"""Seconds that a worker without any handle has to end: nothing can wake such a worker."""

_BROKEN_OFF = (VerdictKind.KILLED, VerdictKind.CANCELLED)

_STARVED = 0.5
"""A supervisor that is later than this many seconds looks a second time before it kills."""
_SECOND_LOOK = 0.02
"""Seconds until the second look. A worker that is free to run reports what it has read much sooner."""

# The code for each read uses these: an enum member costs as much as a call on Python 3.10 and 3.11.
_BYTE, _EVENT, _CONTENT = Seen.BYTE, Seen.EVENT, Seen.CONTENT

_serving = threading.local()


def lock_held(method: M) -> M:
    """Mark a method that is called with the attempt's lock held.
    The tests assert it; a call costs nothing more.
    """
    method.lock_held = True  # type: ignore[attr-defined]
    return method


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMeaning:
    """The meaning of a batch of items for the answer.

    * ``content``: the batch moves generation forward. ``progress``: a count in the batch shows that generation moves
      on.
    * ``finish``: the batch is a finish mark that is believed, or news after such a mark.
    * ``end``: an end mark came without a finish mark, so the end of the body decides. ``terminal``: the answer is
      whole.
    * ``event``: the batch holds a whole event.
    * ``visible``: the caller sees the batch at once. The channel holds a batch with none of ``content``, ``finish``,
      ``end``, ``terminal`` and ``visible`` back until a batch with one of them comes.
    * ``unread``: no dialect reads the body, so no limit on content applies from now on.
    """

    content: bool
    progress: bool = False
    finish: bool = False
    end: bool = False
    terminal: bool = False
    event: bool = True
    visible: bool = False
    unread: bool = False


WHOLE = BatchMeaning(content=True, terminal=True)
"""The meaning of a batch that holds the whole answer."""


def serving() -> Attempt[object] | None:
    """The attempt whose worker this thread is, or ``None``."""
    return getattr(_serving, "attempt", None)


def _stuck_error() -> StreamCut:
    return StreamCut(
        "The body of an error response could not be read to its end, and its connection could not be dropped."
    )


class Attempt(Watched, Generic[T]):
    """Runs ``work`` in another thread and watches it.
    ``limits`` maps limit names to seconds (``None``: off). ``deadline_at`` is the instant at which the call ends, on
    the supervisor's clock. Items of type ``T`` travel from the worker (:meth:`deliver`) to the caller (:meth:`take`).
    """

    def __init__(
        self,
        limits: Mapping[str, float | None],
        *,
        deadline_at: float | None = None,
        bounds: Bounds | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self._supervisor = supervisor or supervisors.current()
        self._clock = self._supervisor.clock
        self._bounds = bounds or Bounds()
        self._lock = threading.RLock()
        self._machine = Machine(limits, deadline_at=deadline_at)
        self._channel: Channel[T] = Channel(self._bounds)
        self._handles: list[Handle] = []
        self._adopted = False  # whether the attempt ever had a handle
        self._own = 0  # number of handles other than inner calls
        self._read_at: float | None = None  # when the worker last read
        self._in_hand = False  # the worker processes what it read
        self._over_at: float | None = None  # when the worker reached the end of the body
        self._wants_room = False  # the worker waits for room in the channel
        self._at_hand = False  # the caller sleeps until the channel has a batch
        self._waits = False  # the worker waits for a busy caller, so the limits stand still
        self._pauses = 0  # number of pauses that were not taken back
        self._thread: threading.Thread | None = None
        self._gone = False  # the worker has left the attempt, and may be at work for another
        self.outer: Attempt[Any] | None = None
        """The attempt whose worker started this attempt."""
        self.unhurried = False
        """Each write resets ``send``; the headers reset ``ttfb``, as a read time-out restarts with each read."""
        self.collected = False
        """The library itself takes the whole answer.
        No user code runs in between, so a full channel stops no limit.
        """
        self.on_answer: Callable[[], None] | None = None
        """Called once, by the worker and without a lock, with the first byte of an answer that is no error."""
        self._abandoned = False  # a finalizer dropped the call
        self._given_up: str | None = None  # who gave up; the supervisor completes an interrupted cancellation
        self._closed = False
        self._shut_down = False  # every handle was shut down
        self._through = False  # the worker hands over nothing more
        self._ended_at: float | None = None  # when the attempt ended; the worker has to wake after it
        self._orphaned = False
        self._second_look: tuple[float, float] | None = None  # the expiry, and when to look again
        self.armed = _NEVER
        self.stats = AttemptStats()
        self.created_at = self._clock.now()
        self.created_wall = self._clock.wall()

    # -- the caller's side --------------------------------------------------

    def start(self, work: Callable[[Attempt[T]], None], workers: Workers | None = None) -> None:
        """Start the watch, then the worker, which calls ``work(attempt)`` in a copy of the caller's context.
        The worker is an idle thread of ``workers``, or a new thread. Raises :class:`~llmwatch.TooManyOrphans` or
        :class:`~llmwatch.TooManyThreads` where no worker may or can start, and :class:`~llmwatch.Cancelled` while the
        interpreter exits. Nothing was sent then.
        """
        if sys.is_finalizing():
            # A thread that starts now never runs, and its starter waits for it for ever.
            raise Cancelled("The interpreter exits, so no call can be made any more; nothing was sent.", by="lifecycle")
        check_threads()
        registry = self._supervisor.registry
        if registry.orphans >= MOST_ORPHANS:
            raise TooManyOrphans(
                f"{registry.orphans} workers of earlier attempts are still stuck where nothing can wake them (mostly"
                f" name look-ups and functions that ignore their abort); {MOST_ORPHANS} are allowed. Nothing was sent."
                " Look at llmwatch.stats(), and at the resolver of this machine."
            )
        self.outer = serving()
        context = contextvars.copy_context()
        job = Job(functools.partial(context.run, self._run, work), workers)
        try:
            with self._lock:
                self._machine.seen(Seen.BEGUN, self._clock.now())
                self.armed = self._machine.soonest
                self._thread = job.thread
                registry.add(self)
            # The watch comes first: nothing is sent without it.
            self._supervisor.watch(self)
            job.start()
        except BaseException:
            # The worker must not run without a supervisor or a caller.
            if job.withdraw():
                self._thread = None
                registry.remove(self, 0)
            self.cancel("user")
            raise

    def take(self, until: float | None = None) -> list[T] | None:
        """The next visible batch; ``None`` if the attempt is over without one, or once ``until`` has come.
        ``until`` is an instant on the attempt's clock; :attr:`verdict` tells the two apart. Blocks; Ctrl-C interrupts
        it. A batch that is there is returned whatever the verdict and ``until``, so what was handed over before a kill
        or a failure still comes out; a cancelled attempt has no batch left. After it returns, the caller counts as busy
        until the next call: a full channel stops the limits meanwhile. Once attempts are ended at exit, threads other
        than the main one get their ``None`` only after :data:`_STAYS` seconds.
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

    @lock_held
    def _stays(self) -> bool:
        """Whether this thread waits :data:`_STAYS` seconds for the end of the process.
        The thread was awake when the attempts were ended at exit. An exit function may wait for it, and a thread that
        goes on would only print a traceback.
        """
        return self._channel.silent and threading.get_ident() != threading.main_thread().ident

    def rest(self) -> list[T] | None:
        """The next batch behind a whole answer; ``None`` once the body is over or drained. Blocks."""
        batch: list[T] | None = None

        def ready() -> bool:
            nonlocal batch
            batch = self._channel.take()
            return batch is not None or self._through or self._closed or self._channel.closed

        self._channel.changed.wait_for(ready, self._lock, self._clock)
        return batch

    def forgo(self) -> None:
        """Discard everything that follows the end of the answer. Any thread may call it."""
        with self._lock:
            self._channel.close()

    def accept(self) -> bool:
        """Accept what has come as the whole answer; its rest drains. ``False`` if the attempt was over."""
        with self._lock:
            now = self._clock.now()
            accepted = self._machine.seen(Seen.TERMINAL, now)
            self._after_observation()
            return accepted

    @property
    def verdict(self) -> Verdict | None:
        """The end of the attempt; ``None`` while it runs."""
        return self._machine.verdict

    @property
    def late(self) -> int:
        """Number of observations that came after the verdict."""
        return self._machine.late

    @property
    def opened(self) -> bool:
        """Whether the caller may have seen any batch."""
        return self._channel.opened

    @property
    def orphaned(self) -> bool:
        """Whether the worker did not wake after the attempt's end."""
        return self._orphaned

    @property
    def paused(self) -> float:
        """Seconds for which the attempt's limits stood still."""
        verdict, over_at = self._machine.verdict, self._over_at
        until = self._clock.now() if verdict is None else verdict.at
        return self._machine.held_until(until if over_at is None else min(over_at, until))

    @property
    def machine(self) -> Machine:
        """The state machine, to be read once there is a verdict: nothing changes after that."""
        return self._machine

    def counting(self) -> Due | None:
        """The limit that expires next, with its instant on the supervisor's clock."""
        with self._lock:
            return None if self._machine.verdict is not None else self._machine.next_expiry()

    def cancel(self, by: str) -> bool:
        """Cancel the attempt: nothing more comes out of it. ``False`` if the attempt was over before."""
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
        """End the attempt as the interpreter exits: nothing more is sent or read.
        The caller stays in its call for a while.
        """
        with self._lock:
            # The caller sleeps again, for a bounded time: a function that runs at exit may wait for its thread.
            self._channel.changed.wake()
            self._channel.silence()
            now = self._clock.now()
            if self._abandoned:
                self._end_abandoned(now)
            self._machine.cancel("lifecycle", now)
            self._shut()

    def abandon(self, close: Callable[[], object] | None = None) -> None:
        """For finalizers: have the supervisor end the attempt, and then call ``close``. Takes no lock."""
        self._abandoned = True
        self._supervisor.look_at(self)
        if close is not None:
            self._supervisor.look_at(Dropped(close))

    @lock_held
    def _end_abandoned(self, now: float) -> bool:
        """End the attempt as a caller does that closes its call. Returns whether it is cancelled now.
        A caller that has the end mark has the whole answer, so that answer is accepted first.
        """
        if self._machine.verdict is None and self._given_up is None and self.stats.end == "terminal":
            self.accept()
        if not self._machine.cancel(self._given_up or "user", now):
            return False
        self._channel.close()
        return True

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the worker's thread, at most ``timeout`` seconds; ``True`` if the worker has left.
        The library never calls this.
        """
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or self._gone

    # -- the worker itself --------------------------------------------------

    def _run(self, work: Callable[[Attempt[T]], None]) -> bool:
        """Do the work and settle the attempt; whether its thread ends with it."""
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
            self._gone = True
        verdict = self._machine.verdict
        return verdict is not None and verdict.kind in _BROKEN_OFF

    def _settle(self, error: BaseException | None) -> None:
        """End the worker's part: set the verdict if there is none yet, and release every handle."""
        if isinstance(error, LLMWatchError):
            # The caller raises this error again. The worker's frames tell the user nothing, and they would keep the
            # attempt, which keeps the error.
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

    # -- the worker's side: the observer of the transport -----------------------

    @lock_held
    def _running(self) -> None:
        verdict = self._machine.verdict
        if verdict is not None and (verdict.kind is not VerdictKind.DONE or self._closed):
            raise Aborted

    @lock_held
    def _observe(self, what: Seen) -> None:
        self._running()
        self._machine.seen(what, self._clock.now())
        self._after_observation()
        self._running()

    @lock_held
    def _after_observation(self) -> None:
        verdict = self._machine.verdict
        if verdict is not None:
            if verdict.kind is VerdictKind.KILLED:
                # The worker found the expiry before the supervisor woke; the consequences are the same.
                self._conclude()
            elif verdict.limit is not None and not self._closed:
                # The same for a limit that expired after the answer was finished.
                self._shut()
            self._channel.wake()
        if self._machine.soonest < self.armed:
            first = self._machine.refresh()
            if first is not None and first.at < self.armed:
                self.armed = first.at
                self._supervisor.arm(self)

    def check(self) -> None:
        """Raise :class:`~llmwatch.watch.interfaces.Aborted` if the attempt is over."""
        with self._lock:
            self._running()

    def adopt(self, handle: Handle, *, reused: bool | None = None, idle: float | None = None) -> None:
        """Own ``handle``. ``reused`` is given for a socket's handle only."""
        with self._lock:
            if self._closed or self._machine.verdict is not None:
                handle.release()
                raise Aborted
            self._handles.append(handle)
            self._adopted = True
            if not isinstance(handle, ChildCallHandle):
                self._own += 1
                self._tell_whether_seen(True)
            if reused is not None:
                self.stats.sockets += 1
                self.stats.reused, self.stats.idle = reused, idle

    def disown(self, handle: Handle) -> bool:
        """End the ownership of ``handle``. Returns whether the socket may be used again."""
        with self._lock:
            if handle in self._handles:
                self._handles.remove(handle)
                handle.release()
                if not isinstance(handle, ChildCallHandle):
                    self._own -= 1
                    if not self._own:
                        self._tell_whether_seen(False)
            verdict = self._machine.verdict
            return not self._closed and (verdict is None or verdict.kind is VerdictKind.DONE)

    def connected(self) -> None:
        """The connection stands: the request can be sent."""
        with self._lock:
            self._observe(Seen.CONNECTED)

    def sending(self, size: int) -> None:
        """``size`` bytes are about to be written. Raises ``Aborted`` if the attempt is over."""
        with self._lock:
            self._running()
            if self.unhurried:
                self._machine.reset("send", self._clock.now())
            self.stats.request_bytes += size
            if self.stats.sent == "no":
                self.stats.sent = "partly"

    def answering(self) -> None:
        """A part of the response's head has arrived."""
        with self._lock:
            self.stats.answering = True

    def sent(self) -> None:
        """The kernel has the last byte of the request."""
        with self._lock:
            self._running()
            self.stats.sent = "yes"
            self._observe(Seen.SENT)

    def headers(self, status: int, *, refused: bool, request_id: str | None = None) -> None:
        """The response's head is here. ``refused``: an error, of which only a short body will be read."""
        with self._lock:
            self._running()
            self.stats.status, self.stats.request_id = status, request_id
            self._tell_functions()
            self._observe(Seen.REFUSED if refused else Seen.HEADERS)
            if self.unhurried:
                self._machine.reset("ttfb", self._clock.now())

    def answered(self, status: int, request_id: str | None) -> None:
        """A request that a wrapped function made itself got the head of its response. No limit is touched."""
        with self._lock:
            self._running()
            self.stats.status, self.stats.request_id = status, request_id
            self.stats.beaten = True
            self._tell_functions()

    @lock_held
    def _tell_whether_seen(self, seen: bool) -> None:
        """Note whether the attempt has a handle that can be shut down.
        The same holds for each function around it that has no handle of its own and is not over. Takes no outer
        attempt's lock.
        """
        attempt: Attempt[Any] | None = self
        while attempt is not None and (attempt is self or not attempt._own):
            if attempt._machine.verdict is None:
                attempt.stats.opaque = attempt.stats.function and not seen
            attempt = attempt.outer

    @lock_held
    def _tell_functions(self) -> None:
        """An answer here is a side effect of every function around it. Takes no outer attempt's lock."""
        outer = self.outer
        while outer is not None:
            outer.stats.beaten = outer.stats.beaten or outer.stats.function
            outer = outer.outer

    def refuse(self) -> None:
        """The body is no answer, whatever the status said; only a short body will be read."""
        with self._lock:
            self._observe(Seen.REFUSED)

    def time_left(self, limit: str) -> float | None:
        """Seconds left on ``limit``; ``None`` if the limit does not run."""
        with self._lock:
            return self._machine.left(limit, self._clock.now())

    # -- the worker's side: the body ----------------------------------------

    def pieces(self, read: Callable[[], bytes]) -> Iterator[bytes]:
        """Yield the pieces that ``read`` returns, until it returns ``b""``.
        Everything found in a piece counts as seen when the piece was read. A reader may stop early and continue with
        another call.
        """
        while True:
            # Only the worker sets the flag, and a delivery clears it.
            if self._in_hand:
                self._read_on()
            data = read()
            self._received(len(data))
            if not data:
                return
            yield data

    def _read_on(self) -> None:
        with self._lock:
            self._running()
            self._in_hand = False

    def _received(self, size: int) -> None:
        with self._lock:
            now = self._clock.now()
            if size:
                self._running()
                if self._machine.verdict is None:
                    self.stats.response_bytes += size
                self._machine.seen(_BYTE, now)
                self._after_observation()
            self._running()
            self._read_at = now
            self._in_hand = True
            if not size:
                # The worker waits for nothing more from the provider.
                self._over_at = now
                self._machine.hold(now)
        if self.on_answer is not None and size:
            tell, self.on_answer = self.on_answer, None
            if self._machine.phase is not Phase.REFUSED:
                tell()

    @lock_held
    def _run_on(self) -> None:
        if self._over_at is not None or self._waits or self._pauses:
            return
        self._machine.resume(self._clock.now())
        if self._machine.soonest < self.armed:
            self._after_observation()

    # -- signs of a wrapped function, from any thread -----------------------

    def beat(self, *, event: bool, content: bool) -> None:
        """A sign of life: a byte, with ``event`` a whole event, with ``content`` one of progress.
        A late sign is counted and changes nothing. A sign does not resume limits that were stopped.
        """
        with self._lock:
            if self._machine.verdict is not None:
                self._machine.late += 1
                return
            self.stats.beaten = True
            now, seen = self._clock.now(), self._machine.seen
            if seen(Seen.BYTE, now) and event and seen(Seen.EVENT, now) and content:
                seen(Seen.CONTENT, now)
            self._after_observation()

    def pause(self) -> None:
        """Stop every limit but the deadline, until :meth:`unpause` was called as often as this."""
        with self._lock:
            self._pauses += 1
            if self._machine.verdict is None:
                self._machine.hold(self._clock.now())

    def unpause(self) -> None:
        """Take back one :meth:`pause`. The limits stay stopped while the worker waits for a busy caller."""
        with self._lock:
            self._pauses -= 1
            self._run_on()

    def deliver(self, batch: list[T], size: int, meaning: BatchMeaning, *, kinds: Iterable[str] = ()) -> None:
        """Hand a batch of ``size`` bytes to the caller, then wait for room in the channel.
        The limits stand still during the wait if the caller is busy. ``kinds``: the kind of each item, for the
        statistics.
        """
        with self._lock:
            machine, channel = self._machine, self._channel
            if machine.verdict is not None:
                machine.late += len(batch)
                self._running()
                return
            now = self._clock.now() if self._read_at is None else self._read_at
            seen = machine.seen
            if (not meaning.event or seen(_EVENT, now)) and (not meaning.content or seen(_CONTENT, now)):
                self.stats.events.update(kinds)
                self._hand_over(batch, size, meaning, now)
            self._after_observation()
            self._in_hand = False
            if not channel.full or machine.verdict is not None:
                self._running()
                return
            self._wants_room = True
            self._look_at_caller()
        self._wait_for_room()

    @lock_held
    def _hand_over(self, batch: list[T], size: int, meaning: BatchMeaning, now: float) -> None:
        machine, channel = self._machine, self._channel
        if meaning.progress:
            machine.reset("progress", now)
        if meaning.unread:
            machine.turn_off(CONTENT_DRIVEN)
        channel.put(batch, size)
        if meaning.content or meaning.finish or meaning.end or meaning.terminal or meaning.visible:
            channel.open()
        if meaning.terminal:
            machine.seen(Seen.TERMINAL, now)
            # A plain call takes an error's body as its answer too.
            machine.finish(now)
        elif meaning.end:
            machine.seen(Seen.END, now)
        elif meaning.finish:
            machine.seen(Seen.FINISH, now)

    @lock_held
    def _look_at_caller(self) -> None:
        """Stop the limits while the worker waits for room and the caller is busy with what it has taken.
        A caller that sleeps, or has made room, only waits for the processor: that stops no limit.
        """
        waits = self._wants_room and self._channel.full and not (self._at_hand or self.collected)
        if waits and not self._waits:
            self._waits = True
            self._machine.hold(self._clock.now())
        elif self._waits and not waits:
            self._waits = False
            self._run_on()

    def _wait_for_room(self) -> None:
        channel, machine = self._channel, self._machine

        def ready() -> bool:
            if channel.full and machine.verdict is None:
                return False
            self._wants_room = False
            self._look_at_caller()
            # The rest of the piece counts as read now: the worker could not process it before.
            self._read_at = self._clock.now()
            return True

        channel.room.wait_for(ready, self._lock, self._clock)
        self.check()

    def trail(self, data: T, size: int) -> None:
        """Hand over what comes behind the end of a whole answer.

        Only ``drain`` counts, and it never stands still. Without room the worker waits for the caller until then.
        """
        channel = self._channel

        def ready() -> bool:
            self._running()
            if channel.full and not channel.closed:
                return False
            channel.put([data], size)
            return True

        channel.room.wait_for(ready, self._lock, self._clock)

    # -- the supervisor's side ----------------------------------------------

    def examine(self, now: float) -> tuple[Action, float | None]:
        """Judge the limits. Only the supervisor calls this."""
        with self._lock:
            action = self._judge(now)
            if action is not Action.NOTHING:
                # The time to wake starts here, although the shutdown waits until every verdict of the moment is in.
                self._ended_at = self._ended_at or now
            if self._machine.verdict is not None and action is Action.NOTHING:
                # The thread that set the verdict has woken the waiters, unless a signal handler interrupted it.
                self._channel.wake()
            at = self._next_look(now)
            self.armed = _NEVER if at is None else at
            return action, at

    @lock_held
    def _judge(self, now: float) -> Action:
        machine = self._machine
        if self._abandoned:
            self._end_abandoned(now)
        elif self._given_up is not None:
            machine.cancel(self._given_up, now)
        verdict = machine.verdict
        if verdict is not None and not self._shut_down and verdict.kind in _BROKEN_OFF:
            # The attempt was just cancelled, or the thread that set the verdict was interrupted before it acted on it.
            if verdict.kind is VerdictKind.CANCELLED:
                self._channel.close()
            return Action.KILL
        due = machine.due(now)
        if due is None:
            return Action.NOTHING
        # A worker that processes what it has read, such as a flood of compressed data, was able to read.
        at_work = due.limit in EVENT_DRIVEN and self._in_hand
        waiting = machine.may_look(due) and not at_work and self._waiting()
        if machine.may_look(due) and self._looks_again(due, now, waiting=waiting):
            return Action.NOTHING
        return machine.expire(now, waiting=waiting)

    @lock_held
    def _looks_again(self, due: Due, now: float, *, waiting: bool) -> bool:
        """Whether to examine the attempt once more in a moment, and not to kill it yet.
        There are two reasons. A supervisor that wakes this late was starved, and so was the worker, which may have read
        without having reported it. Or the worker still processes a piece that it read in time.
        """
        if self._second_look is None or self._second_look[0] != due.at:
            # A supervisor later than GRACE excuses the limit by itself, as waiting bytes do.
            starved = not waiting and _STARVED < now - due.at <= GRACE
            in_hand = due.limit in EVENT_DRIVEN and self._in_hand and (self._read_at or 0.0) <= due.at
            if not starved and not in_hand:
                return False
            self._second_look = due.at, now + _SECOND_LOOK
        return now < self._second_look[1]

    @lock_held
    def _waiting(self) -> bool:
        for handle in self._handles:
            # A handle that fails here excuses no limit.
            with contextlib.suppress(Exception):
                if handle.waiting():
                    return True
        return False

    @lock_held
    def _next_look(self, now: float) -> float | None:
        if self._ended_at is not None:
            if self._thread is None or self._gone or self._orphaned:
                return None
            wake_by = self._ended_at + (_WAKE_BOUND if self._adopted else _EXIT_BOUND)
            if now <= wake_by:
                return wake_by
            # The attempt had no handle, or the shutdown did not wake the worker.
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
        """Shut the sockets down, then free the caller.
        The supervisor calls this once every verdict of the moment is in.
        """
        with self._lock:
            self._shut()
            verdict = self._machine.verdict
            killed = verdict is not None and verdict.kind is VerdictKind.KILLED
            unseen = self.stats.opaque and not self._handles
            if unseen and killed and self._thread is not None and not self._gone:
                # Nothing can wake a function without a handle, so its caller is freed at once.
                self._let_go()
            self._conclude()

    @lock_held
    def _let_go(self) -> None:
        self._orphaned = True
        self._supervisor.registry.orphan(self)

    def detach_in_child(self) -> None:
        """In a forked child: end without touching what the parent still uses."""
        # A thread that does not exist in the child may hold the old lock.
        self._lock = threading.RLock()
        self._channel = Channel(self._bounds)
        with self._lock:
            self._channel.close()
        self._closed = self._shut_down = self._gone = True
        self._machine.detach_in_child(self._clock.now())
        for handle in self._handles:
            with contextlib.suppress(Exception):
                handle.detach_in_child()
        self._handles = []

    @property
    def phase(self) -> Phase:
        """The phase of the attempt."""
        return self._machine.phase

    # -- the end ------------------------------------------------------------

    @lock_held
    def _conclude(self) -> None:
        verdict = self._machine.verdict
        if verdict is not None:
            if verdict.kind is not VerdictKind.DONE:
                self._channel.drop_held()
                if verdict.kind is VerdictKind.KILLED:
                    self._shut()
            else:
                self._channel.open()
            self._channel.wake()

    @lock_held
    def _shut(self) -> None:
        if self._shut_down:
            return
        self._closed = True  # no handle is adopted after this
        if self._ended_at is None:
            self._ended_at = self._clock.now()
        verdict = self._machine.verdict
        if verdict is not None and verdict.kind is VerdictKind.DONE:
            # A caller may wait for the rest of the body.
            self._channel.wake()
        for handle in self._handles:
            try:
                handle.shutdown()
            except Exception as error:
                if is_interruption(error):
                    raise
        self._shut_down = True


# The thread that forked lives on in the child, and may have been a worker of the parent.
renew_in_child(globals(), "_serving", threading.local)

atexit.register(supervisors._end_all)
