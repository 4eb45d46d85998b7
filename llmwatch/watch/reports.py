"""What a worker reports of its attempt, and the state that this changes.

**The lock.** Each attempt has one, ``_lock``. It protects the machine, the verdict, the handles, the statistics and the
channel. Under it the registry's lock and the supervisor's inbox may be used (both leaves); no other attempt's lock,
no user code, and nothing that blocks. It is given up before anybody waits (:mod:`llmwatch.watch.waiting`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from llmwatch.interruption import is_interruption
from llmwatch.watch import supervisor as supervisors
from llmwatch.watch.channel import Bounds, Channel
from llmwatch.watch.interfaces import Aborted, Handle, Watched
from llmwatch.watch.machine import Machine, Phase, Seen, VerdictKind
from llmwatch.watch.nested import ChildCallHandle
from llmwatch.watch.states import CONTENT_CLOCKS
from llmwatch.watch.stats import AttemptStats
from llmwatch.watch.supervisor import Supervisor

T = TypeVar("T")

__all__ = ["Reports"]

_NEVER = float("inf")

# For what runs with every read: a member of an enum costs as much as a call on Python 3.10 and 3.11.
_BYTE, _EVENT, _CONTENT = Seen.BYTE, Seen.EVENT, Seen.CONTENT


class Reports(Watched, Generic[T]):
    """The worker's side of an attempt: a :class:`~llmwatch.watch.interfaces.Observer` for its transport, and the
    channel.

    Each report raises :class:`~llmwatch.watch.interfaces.Aborted` once the attempt is over.
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
        self._adopted = False  # whether there ever was a handle
        self._own = 0  # handles that are no inner calls
        self._read_at: float | None = None  # when the worker read last
        self._in_hand = False  # it is at work on what it read
        self._over_at: float | None = None  # when the body was read to its end
        self._wants_room = False  # the worker waits for it
        self._at_hand = False  # the caller sleeps until there is something to take
        self._waits = False  # the caller keeps the worker waiting, so nobody waits for the provider
        self._pauses = 0  # how often the clocks were stopped from outside
        self._thread: threading.Thread | None = None
        self.outer: Reports[Any] | None = None
        """The attempt in whose worker this one was started."""
        self.unhurried = False
        """``send`` is a limit on standing still, and not on the whole of the writing; ``ttfb`` begins anew with the
        headers, as a read time-out does.
        """
        self.collected = False
        """The library itself takes what comes until it has all of it. No code of the user's runs in between, so the
        clocks stand for no lack of room.
        """
        self.on_answer: Callable[[], None] | None = None
        """Called once, by the worker and without any lock, with the first byte of an answer that is no error."""
        self._abandoned = False  # by a finalizer
        self._given_up: str | None = None  # by whom; the supervisor sees to it if the one who says so is interrupted
        self._closed = False
        self._shut_down = False  # every handle was shut
        self._through = False  # the worker hands nothing over any more
        self._ended_at: float | None = None  # when the sockets were shut, after which the worker has to wake
        self._orphaned = False
        self._second_look: tuple[float, float] | None = None  # of which expiry, and when
        self.armed = _NEVER
        self.stats = AttemptStats()
        self.created_at = self._clock.now()
        self.created_wall = self._clock.wall()

    # -- the worker's side: the observer of the transport -----------------------

    def _running(self) -> None:
        verdict = self._machine.verdict
        if verdict is not None and (verdict.kind is not VerdictKind.DONE or self._closed):
            raise Aborted

    def _observe(self, what: Seen) -> None:
        self._running()
        self._machine.seen(what, self._clock.now())
        self._after_observation()
        self._running()

    def _after_observation(self) -> None:
        verdict = self._machine.verdict
        if verdict is not None:
            if verdict.kind is VerdictKind.KILLED:
                # The worker found the expiry before the supervisor woke: the same verdict, and the same things to do.
                self._conclude()
            elif verdict.limit is not None and not self._closed:
                # The same for what ran out after the answer was finished.
                self._shut()
            self._channel.wake()
        if self._machine.soonest < self.armed:
            first = self._machine.refresh()
            if first is not None and first.at < self.armed:
                self.armed = first.at
                self._supervisor.look_at(self)

    def check(self) -> None:
        """Stop here if the attempt is over."""
        with self._lock:
            self._running()

    def adopt(self, handle: Handle, *, reused: bool | None = None, idle: float | None = None) -> None:
        """The attempt owns this socket from now on (or whatever else has to be shut with it: then without
        ``reused``).
        """
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
        """The attempt's ownership ends; whether the socket is fit to be used again."""
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
        """The request can be sent."""
        with self._lock:
            self._observe(Seen.CONNECTED)

    def sending(self, size: int) -> None:
        """``size`` bytes are about to be written; the attempt must not be over."""
        with self._lock:
            self._running()
            if self.unhurried:
                self._machine.wind("send", self._clock.now())
            self.stats.request_bytes += size
            if self.stats.sent == "no":
                self.stats.sent = "partly"

    def answering(self) -> None:
        """A part of the response's head has come."""
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
                self._machine.wind("ttfb", self._clock.now())

    def answered(self, status: int, request_id: str | None) -> None:
        """A request that a wrapped function makes on its own account got the head of its response. No clock is
        touched.
        """
        with self._lock:
            self._running()
            self.stats.status, self.stats.request_id = status, request_id
            self.stats.beaten = True
            self._tell_functions()

    def _tell_whether_seen(self, seen: bool) -> None:
        """Something was found here that can be shut, or nothing is left of it. The same holds for a function around it
        that has nothing else, until that is over. Takes no lock of theirs.
        """
        one: Reports[Any] | None = self
        while one is not None and (one is self or not one._own):
            if one._machine.verdict is None:
                one.stats.opaque = one.stats.function and not seen
            one = one.outer

    def _tell_functions(self) -> None:
        """What was answered here is a side effect of every function around it. Takes none of their locks."""
        outer = self.outer
        while outer is not None:
            outer.stats.beaten = outer.stats.beaten or outer.stats.function
            outer = outer.outer

    def refuse(self) -> None:
        """What comes is no answer, whatever the status said; only a short body will be read."""
        with self._lock:
            self._observe(Seen.REFUSED)

    def time_left(self, limit: str) -> float | None:
        """Seconds left on a clock that runs."""
        with self._lock:
            return self._machine.left(limit, self._clock.now())

    # -- the worker's side: the body ----------------------------------------

    def received(self, size: int) -> None:
        """A read returned ``size`` bytes (0: the end). What they turn out to hold was seen when they were read."""
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
                # Nothing is waited for any more.
                self._over_at = now
                self._machine.hold(now)
        if self.on_answer is not None and size:
            tell, self.on_answer = self.on_answer, None
            if self._machine.phase is not Phase.REFUSED:
                tell()

    def reading(self) -> None:
        """The worker goes back to its read, with nothing in hand."""
        with self._lock:
            self._running()
            self._in_hand = False

    def pieces(self, read: Callable[[], bytes]) -> Iterator[bytes]:
        """What ``read`` returns, until it returns ``b""``."""
        while True:
            data = read()
            self.received(len(data))
            if not data:
                return
            yield data
            # Only the worker sets it, and a piece that was delivered is in its hands no longer.
            if self._in_hand:
                self.reading()

    def _run_on(self) -> None:
        if self._over_at is not None or self._waits or self._pauses:
            return
        self._machine.resume(self._clock.now())
        if self._machine.soonest < self.armed:
            self._after_observation()

    # -- signs of a wrapped function, from any thread -----------------------

    def beat(self, *, event: bool, content: bool) -> None:
        """A sign of life: a byte, with ``event`` a whole event, with ``content`` one that moves the work forward.

        One that comes late is counted and changes nothing. It does not let clocks run on that were stopped.
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
        """Stop every clock but the deadline until :meth:`unpause` was called as often."""
        with self._lock:
            self._pauses += 1
            if self._machine.verdict is None:
                self._machine.hold(self._clock.now())

    def unpause(self) -> None:
        """Take back one :meth:`pause`. Where the worker waits for a slow caller the clocks go on standing."""
        with self._lock:
            self._pauses -= 1
            self._run_on()

    def deliver(
        self,
        batch: list[T],
        size: int,
        *,
        content: bool,
        progress: bool = False,
        finish: bool = False,
        end: bool = False,
        terminal: bool = False,
        kinds: Iterable[str] = (),
        event: bool = True,
        visible: bool = False,
        unread: bool = False,
    ) -> None:
        """Hand a batch to the caller, and wait for room, with the clocks stopped where the caller is busy.

        ``content``: something in it moves generation forward; ``progress``: a count in it shows that generation moves
        on; ``finish``: a finish mark is believed, and this is it or news after it; ``end``: an end mark came without a
        finish mark, so the end of the body decides; ``terminal``: the answer is whole. A batch with none of these but
        ``progress`` is held back until one comes, unless it is ``visible`` at once. ``event``: there is a whole event
        in it. ``kinds``: of each item, for the statistics.
        ``unread``: what comes is nothing that is read here, so no limit on content applies from now on.
        """
        with self._lock:
            machine, channel = self._machine, self._channel
            if machine.verdict is not None:
                machine.late += len(batch)
                self._running()
                return
            now = self._clock.now() if self._read_at is None else self._read_at
            seen = machine.seen
            ok = (not event or seen(_EVENT, now)) and (not content or seen(_CONTENT, now))
            if ok:
                self.stats.events.update(kinds)
                if progress:
                    machine.wind("progress", now)
                if unread:
                    machine.turn_off(CONTENT_CLOCKS)
                channel.put(batch, size)
                if content or finish or end or terminal or visible:
                    channel.open()
                if terminal:
                    seen(Seen.TERMINAL, now)
                    # An error's body is an answer as well, to a plain call.
                    machine.finish(now)
                elif end:
                    seen(Seen.END, now)
                elif finish:
                    seen(Seen.FINISH, now)
            self._after_observation()
            self._in_hand = False
            if not channel.full or machine.verdict is not None:
                self._running()
                return
            self._wants_room = True
            self._look_at_caller()
        self._wait_for_room()

    def _look_at_caller(self) -> None:
        """The clocks stand as long as the worker waits for room while the caller is busy with what it has taken. One
        that sleeps, or has made room, has to come to run again as the worker has, and that excuses nobody.
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
            # What else is in hand counts as read now: the worker could not come to it before.
            self._read_at = self._clock.now()
            return True

        channel.room.wait_for(ready, self._lock, self._clock)
        self.check()

    def trail(self, data: T, size: int) -> None:
        """Hand over what comes behind the end of an answer that is whole: no clock but ``drain`` looks at it, and none
        stands still. Where there is no room the worker waits for the caller, until ``drain`` has passed.
        """
        channel = self._channel

        def ready() -> bool:
            self._running()
            if channel.full and not channel.closed:
                return False
            channel.put([data], size)
            return True

        channel.room.wait_for(ready, self._lock, self._clock)

    # -- the end ------------------------------------------------------------

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

    def _shut(self) -> None:
        if self._shut_down:
            return
        self._closed = True  # nothing is adopted after it
        if self._ended_at is None:
            self._ended_at = self._clock.now()
        verdict = self._machine.verdict
        if verdict is not None and verdict.kind is VerdictKind.DONE:
            # Somebody may wait for the rest of the body.
            self._channel.wake()
        for handle in self._handles:
            try:
                handle.shutdown()
            except Exception as error:
                if is_interruption(error):
                    raise
        self._shut_down = True
