"""The way to an origin: every attempt of a client asks here before it goes out.

Three things can make it wait, and none of them ends it: a 429 of another call that named a wait (pacing), an origin
that answers nobody (the circuit breaker), and an empty retry budget. Each is a state without threads of its own
(:mod:`llmwatch.recovery`); the gate keeps the line of those that wait and lets them out.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from llmwatch.policy import EffectiveRetry
from llmwatch.recovery import NEWS, Breaker, BreakerState, Outcome, Pace, Permit, RetryBudget, release

__all__ = ["Barrier", "Delay", "Gate", "Turn"]


class Barrier(str, Enum):
    """What an attempt waits for before it goes out."""

    PACE = "pace"
    BREAKER = "breaker"
    BUDGET = "budget"

    def __str__(self) -> str:
        return str(self._value_)


@dataclass(frozen=True, slots=True)
class Delay:
    """An attempt may not go out yet. ``until``: when it is worth asking again, if nobody wakes it before; ``spread``
    seconds of that are only there to keep those that wait apart. ``at_latest``: an attempt that is out may end the wait
    at any moment before that. ``optional``: it goes out all the same if its call may not wait. ``look_at``: when to ask
    again, since something may happen in the line then.
    """

    barrier: Barrier
    until: float
    spread: float = 0.0
    at_latest: bool = False
    optional: bool = False
    look_at: float = field(default=0.0, compare=False)


def _nobody() -> None:
    """Nobody sleeps."""


_NEVER = float("inf")

_BRIEFLY = 0.1
"""Seconds that a worker waits for the lock, which nobody holds as long unless a signal handler came in between."""

_BESIDE = Permit(serial=-1)
"""Of an attempt that the breaker has no say in."""


class Turn:
    """One attempt on its way out: in line, let out (``permit``), or settled.

    * ``attempts_left`` counts this one. ``costs``: it is a resend that takes a token.
    * ``account``: model and credential, for pacing; ``None`` is never paced. ``told_at``: when its own call was told to
      wait, which it has done to the instant; it then heeds only what calls were told that went out later.
    * ``heeds_breaker``: whether the circuit breaker may hold it back and learns of it.
    * ``cautious``: it is the last of its call, and the one before was lost or refused. Where there are other calls it
      lets them find out first: for a second, and as long as others with its account are out or have more attempts left.
    * ``outer``: the attempts, or their turns, that wait for this one to be over. It never waits for them.
    * ``wake`` is called from another thread, without any lock of the gate, once the attempt may go out.
    """

    __slots__ = (
        "_order",
        "_release",
        "_told_at",
        "account",
        "attempt",
        "attempts_left",
        "cautious",
        "costs",
        "gate",
        "heeds_breaker",
        "looks_at",
        "outer",
        "permit",
        "sent_at",
        "since",
        "stirred",
        "told_at",
        "wake",
    )

    def __init__(
        self,
        gate: Gate,
        *,
        attempts_left: int = 1,
        costs: bool = False,
        account: str | None = None,
        told_at: float | None = None,
        heeds_breaker: bool = True,
        cautious: bool = False,
        outer: Sequence[object] = (),
        wake: Callable[[], None] = _nobody,
    ) -> None:
        self.gate = gate
        self.attempts_left = attempts_left
        self.costs = costs
        self.account = account
        self.told_at = told_at
        self.heeds_breaker = heeds_breaker
        self.cautious = cautious
        self.outer = outer
        self.wake = wake
        self.attempt: object = None  # once it is made
        self.permit: Permit | None = None
        self.since = 0.0  # when it asked first
        self.looks_at = _NEVER  # when it asks again
        self.stirred = False  # it is to ask again now
        self.sent_at = 0.0
        self._order = 0  # its place in line, 0 outside of it
        self._release: tuple[float, float] | None = None  # the end of a hold, and when it goes out behind that
        self._told_at = 0.0  # when that hold began

    def is_out(self) -> None:
        """Its call has seen that it may go: what it refers to so far is kept no longer."""
        self.outer, self.wake = (), _nobody

    # Only the gate calls these, with its lock held.

    def barred_until(self, pace: Pace, now: float, random: Callable[[], float]) -> float:
        """The instant until which a hold keeps it back, ``now`` or earlier if none does."""
        hold = pace.held(self.account, now)
        if hold is not None and self.told_at is not None and hold.sent_at <= self.told_at:
            hold = None
        if hold is not None and (self._release is None or self._release[0] < hold.until):
            self._release, self._told_at = (hold.until, release(hold, random)), hold.since
        return now if self._release is None else self._release[1]

    @property
    def spread(self) -> float:
        """Seconds by which it goes out behind the end of a hold."""
        return 0.0 if self._release is None else self._release[1] - self._release[0]

    def heard_of(self, other: Turn) -> None:
        """Another attempt with this account is answered. Ends a hold that was told before that one went out."""
        if self.told_at is not None and self.told_at <= other.sent_at:
            self.cautious = False
        if self._release is not None and self._told_at <= other.sent_at:
            self._release = None


class Gate:
    """What a client remembers of one origin, and the line before it. May be used from any thread.

    ``random`` gives a number in [0, 1), for the spread of calls that were held.
    """

    def __init__(self, retry: EffectiveRetry, random: Callable[[], float]) -> None:
        self._breaker = Breaker(retry.breaker, retry.breaker_wait)
        self._budget = RetryBudget(retry.budget)
        self._pace = Pace()
        self._random = random
        self._calls: set[object] = set()  # in flight
        self._line: list[Turn] = []
        self._out: set[Turn] = set()  # have a permit and are not settled
        self._arrivals = 0
        # Protects everything above, and the turns of this gate. A leaf: nothing is called and no other lock taken while
        # it is held; those that are let out are woken after it was given back. A signal handler of the thread that
        # holds it may make a call, which comes here between any two steps of what it interrupts: each step is made so
        # that it stands that, and what workers have to say lies in ``_answers``, where they need not wait to put it.
        self._lock = threading.RLock()
        self._answers: deque[tuple[Turn, float]] = deque()  # what was answered, and when

    def after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.RLock()

    # -- calls ----------------------------------------------------------------

    def enter(self, call: object, now: float) -> None:
        """A call begins, and brings tokens with it."""
        with self._lock:
            self._calls.add(call)
            self._budget.calls = len(self._calls)
            woken = self._let_out(now)
        _wake(woken)

    def leave(self, call: object) -> None:
        """A call is over. May be said again."""
        with self._lock:
            self._calls.discard(call)
            self._budget.calls = len(self._calls)

    def succeeded(self, now: float) -> None:
        """A call has succeeded."""
        with self._lock:
            self._budget.success(now)
            woken = self._let_out(now)
        _wake(woken)

    # -- the way out ------------------------------------------------------------

    def ask(self, turn: Turn, now: float) -> Delay | None:
        """Let ``turn`` out, or put it in line and say what it waits for. Ask again when that is over."""
        with self._lock:
            if turn.permit is not None:
                return None
            if not turn._order:
                turn.since = now
                self._arrivals += 1
                turn._order = self._arrivals
                self._line.append(turn)
            woken = self._let_out(now)
            delay = None if turn.permit is not None else self._delay(turn, now)
            if delay is not None:
                delay = replace(delay, look_at=self._looks_at(turn, delay, now))
                turn.looks_at, turn.stirred = delay.look_at, False
        _wake([one for one in woken if one is not turn])
        return delay

    def outlook(self, turn: Turn, now: float) -> Delay | None:
        """What ``turn`` would have to wait for from ``now`` on, without standing in line for it."""
        with self._lock:
            return self._delay(turn, now)

    def withdraw(self, turn: Turn, now: float) -> None:
        """The attempt does not go out, or is over and has shown nothing of the origin."""
        with self._lock:
            turn._order = 0
            self._take_from_line(turn)
            woken = self._settle(turn, Outcome.ABANDONED, now)
        _wake(woken)

    def settle(self, turn: Turn, outcome: Outcome, now: float) -> None:
        """Say what an attempt has shown of the origin: with the first byte of its answer, else with its end. The first
        word counts.
        """
        with self._lock:
            woken = self._settle(turn, outcome, now)
        _wake(woken)

    def answered(self, turn: Turn, now: float) -> None:
        """The first byte of an answer that is no error has come. For workers: a call that waits for one may have been
        made by a signal handler of the thread which holds the lock, so that it never comes to give it back. Then the
        next that comes here hears of it.
        """
        self._answers.append((turn, now))
        if not self._lock.acquire(timeout=_BRIEFLY):
            return
        try:
            woken = self._let_out(now)
        finally:
            self._lock.release()
        _wake(woken)

    def hold(self, turn: Turn, wait: float, now: float) -> None:
        """The attempt of ``turn`` was answered 429 and told to come back in ``wait`` seconds."""
        if turn.account is not None:
            with self._lock:
                self._pace.hold(turn.account, wait, now, turn.sent_at)

    # -- inside: the lock is held -------------------------------------------------

    def _settle(self, turn: Turn, outcome: Outcome, now: float) -> list[Turn]:
        self._hear()
        self._note(turn, outcome, now)
        return self._let_out(now)

    def _hear(self) -> None:
        """Take in what workers have said."""
        while self._answers:
            try:
                turn, now = self._answers.popleft()
            except IndexError:  # a signal handler has heard it
                return
            self._pace.success(turn.account, turn.sent_at)
            for one in self._line:
                if one.account is not None and one.account == turn.account:
                    one.heard_of(turn)
            self._note(turn, Outcome.ANSWERED, now)

    def _note(self, turn: Turn, outcome: Outcome, now: float) -> None:
        permit, turn.permit, turn.attempt = turn.permit, None, None
        self._out.discard(turn)
        if permit is not None and permit is not _BESIDE:
            self._breaker.settle(permit, outcome, now)

    def _take_from_line(self, turn: Turn) -> bool:
        """Whether it was in there."""
        try:
            self._line.remove(turn)
        except ValueError:
            return False
        return True

    def _let_out(self, now: float) -> list[Turn]:
        """Let out whoever may go, and return them."""
        self._hear()
        out: list[Turn] = []
        while (turn := self._next(now)) is not None:
            if not self._take_from_line(turn):
                continue  # a signal handler has let it out meanwhile
            turn._order = 0
            ready = turn.heeds_breaker and self._breaker.ready_at(now) <= now
            turn.permit = self._breaker.admit(now) if ready else _BESIDE
            turn.sent_at = now
            self._out.add(turn)
            out.append(turn)
        sleeper = min(self._line, key=lambda one: one.looks_at, default=None)
        if sleeper is None:
            self._breaker.calm()
            return out
        if self._next_look(now) < sleeper.looks_at < _NEVER:
            # What they sleep for has changed, and one that looks in time is enough.
            sleeper.stirred, sleeper.looks_at = True, now
            out.append(sleeper)
        return out

    def _looks_at(self, turn: Turn, delay: Delay, now: float) -> float:
        """When ``turn`` asks again: earlier than its own delay ends if nobody else looks when the next may go out."""
        first = self._next_look(now)
        watched = any(one.looks_at <= first for one in self._line if one is not turn)
        return delay.until if watched else min(delay.until, first)

    def _next_look(self, now: float) -> float:
        """When the next in line may go out, if nothing else happens."""
        ready, token, busy = self._breaker.ready_at(now), self._budget.ready_at(now), self._busy()
        return min((self._may_go_at(one, now, ready, token, busy) for one in self._line), default=_NEVER)

    def _busy(self) -> set[str | None]:
        """The accounts whose cautious attempts let others go first: those that are out or have more attempts left."""
        if not any(one.cautious for one in self._line):
            return set()
        return {one.account for one in tuple(self._out)} | {one.account for one in self._line if one.attempts_left > 1}

    def _may_go_at(self, turn: Turn, now: float, ready: float, token: float, busy: set[str | None]) -> float:
        barred = turn.barred_until(self._pace, now, self._random)
        if barred > now:
            return barred
        if ready > now and self._heeds(turn):
            return ready
        if self._awaits_news(turn, now, busy):
            return max(now, turn.since) + NEWS
        return token if turn.costs else now

    def _next(self, now: float) -> Turn | None:
        if not self._line:
            return None
        ready = self._breaker.ready_at(now) <= now
        busy = self._busy()
        free = [
            turn
            for turn in self._line
            if turn.barred_until(self._pace, now, self._random) <= now and not self._awaits_news(turn, now, busy)
        ]
        if not ready:
            free = [turn for turn in free if not self._heeds(turn)]
        elif self._breaker.state is not BreakerState.CLOSED:
            # The one with most attempts left loses least.
            free.sort(key=lambda turn: (-turn.attempts_left, turn._order))
        return next((turn for turn in free if not turn.costs or self._budget.take(now)), None)

    def _heeds(self, turn: Turn) -> bool:
        """Whether the breaker may hold ``turn`` back: not if that is what an attempt waits for that is out."""
        outer = turn.outer
        return turn.heeds_breaker and not (
            outer and any(one in outer or one.attempt in outer for one in tuple(self._out))
        )

    def _awaits_news(self, turn: Turn, now: float, busy: set[str | None]) -> bool:
        """Whether a cautious one lets others go first."""
        if not turn.cautious or self._budget.calls < 2:
            return False
        recent = now < turn.since + NEWS
        if turn.told_at is None:
            return recent and self._breaker.doubtful
        return recent or turn.account in busy

    def _delay(self, turn: Turn, now: float) -> Delay | None:
        barred = turn.barred_until(self._pace, now, self._random)
        if barred > now:
            return Delay(Barrier.PACE, barred, turn.spread)
        ready = self._breaker.ready_at(now)
        if ready > now and self._heeds(turn):
            return Delay(Barrier.BREAKER, ready, at_latest=self._breaker.state is not BreakerState.OPEN)
        if self._awaits_news(turn, now, self._busy()):
            barrier = Barrier.BREAKER if turn.told_at is None else Barrier.PACE
            return Delay(barrier, max(now, turn.since) + NEWS, optional=True)
        if not turn.costs:
            return None
        before = sum(one.costs for one in self._line if 0 < one._order < (turn._order or self._arrivals + 1))
        token = self._budget.ready_at(now, before)
        return Delay(Barrier.BUDGET, token) if token > now else None


def _wake(turns: list[Turn]) -> None:
    for turn in turns:
        turn.wake()
