"""A client's memory of its hosts: the gate that each attempt passes, and the start of the last call.

Three barriers make an attempt wait, and none ends it: pacing (the provider named a wait to another call, or refuses
calls that come too fast), the circuit breaker (the origin answers no call), and an empty retry budget. Each is a state
without threads of its own (:mod:`llmwatch.recovery`). The gate keeps the waiting attempts in line and lets them out.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeVar

from llmwatch import at_fork
from llmwatch.policy import EffectiveRetry
from llmwatch.recovery import NEWS, SPREAD, Breaker, BreakerState, Outcome, Pace, Permit, RetryBudget, release

__all__ = ["MOST_HOSTS", "Barrier", "Delay", "Gate", "Hosts", "Turn"]

K = TypeVar("K")
V = TypeVar("V")

MOST_HOSTS = 1024
"""The most origins that are remembered. A crawler sees more and returns to few of them."""


def _remember(known: dict[K, V], key: K, value: V) -> None:
    """Add a missing entry; if there are too many, forget the one that was not used for the longest time."""
    if len(known) >= MOST_HOSTS:
        del known[next(iter(known))]
    known[key] = value


class Hosts:
    """The recently used origins of a client, or of a process whose every session is watched. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # protects both dictionaries; a leaf
        self._known: dict[tuple[str, int, float, int], Gate] = {}
        self._starts: dict[str, float] = {}
        self.salt = os.urandom(16)
        """Mixed into the hashes of credentials, so that a guess cannot be tested against them."""
        at_fork.follow(self)

    def after_fork(self) -> None:
        """In a forked child: forget the parent's gates, whose locks may be held."""
        self._lock = threading.RLock()
        for gate in self._known.values():
            # Calls of the parent, which may be closed in this process, still refer to the gate.
            gate.after_fork()
        self._known = {}
        self._starts = {}

    def get(self, origin: str, retry: EffectiveRetry, random: Callable[[], float]) -> Gate:
        """The gate of ``origin``. Calls with other breaker or budget settings have another one."""
        key = (origin, retry.breaker, retry.breaker_wait, retry.budget)
        with self._lock:
            gate = self._known.pop(key, None)
            if gate is None:
                gate = Gate(retry, random)
            _remember(self._known, key, gate)
            return gate

    def started(self, origin: str, now: float) -> float | None:
        """Note that a call to ``origin`` begins. Returns the seconds since the previous one began, if any."""
        with self._lock:
            before = self._starts.pop(origin, None)
            _remember(self._starts, origin, now)
        return None if before is None else now - before


class Barrier(str, Enum):
    """The reason for which an attempt waits before it goes out."""

    PACE = "pace"
    BREAKER = "breaker"
    BUDGET = "budget"

    def __str__(self) -> str:
        return str(self._value_)


@dataclass(frozen=True, slots=True)
class Delay:
    """An attempt may not be sent yet.

    ``until``: when to ask again, if nothing wakes the attempt before; ``spread`` seconds of that only keep the waiting
    attempts apart. ``at_latest``: an attempt under way may end the delay at any moment. ``optional``: if its call may
    not wait, the attempt is sent all the same. ``rate``: attempts a second, if it waits for a rate. ``look_at``: when
    to ask again, since the line may have changed.
    """

    barrier: Barrier
    until: float
    spread: float = 0.0
    at_latest: bool = False
    optional: bool = False
    rate: float | None = None
    look_at: float = field(default=0.0, compare=False)


def _wake_no_thread() -> None:
    """Wake no thread: the default."""


_NEVER = float("inf")
_NONE: frozenset[str | None] = frozenset()

_BRIEFLY = 0.1
"""Seconds that a worker waits for the lock. Only a signal handler within its holder keeps it so long."""

_BESIDE = Permit(serial=-1)
"""The permit of an attempt to which the breaker does not apply."""


@dataclass(frozen=True, slots=True)
class _View:
    """The state of the whole line at one instant.

    ``ready``, ``token``: when breaker and budget let the next attempt out. ``busy``: accounts with attempts under way,
    or with attempts in line that are not their call's last; cautious attempts let those go first. ``slots``: by
    account, when its rate lets the next attempt out. ``searched``: accounts whose rate is unknown and is found out by
    attempts that are not their call's last.
    """

    ready: float
    token: float
    busy: frozenset[str | None]
    slots: dict[str | None, float]
    searched: frozenset[str | None]


_EMPTY = _View(0.0, 0.0, _NONE, {}, _NONE)
"""The view of an empty line."""


class Turn:
    """One attempt at the gate: in line, let out (with a ``permit``), or settled.

    * ``attempts_left`` includes this attempt. ``costs``: it is a resend that takes a token.
    * ``account``: model and credential, for pacing; ``None`` is never paced. ``told_at``: when the provider told its
      own call to wait. The call has waited so long, so the turn heeds only what later attempts were told.
    * ``heeds_breaker``: the circuit breaker may hold it back, and learns its outcome.
    * ``cautious``: it is the last attempt of its call, and the one before failed. If there are other calls it lets them
      find out first: for a second, for some seconds if many attempts in a row have failed, and as long as attempts with
      its account are under way or have more attempts left.
    * ``paced``: it keeps the distance from others with its account that the provider has taught.
    * ``outer``: the attempts, or their turns, that wait for this attempt to end. It never waits for them.
    * ``wake`` is called from another thread, without a lock of the gate, once the attempt may be sent.
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
        "paced",
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
        wake: Callable[[], None] = _wake_no_thread,
    ) -> None:
        self.gate = gate
        self.attempts_left = attempts_left
        self.costs = costs
        self.account = account
        self.told_at = told_at
        self.heeds_breaker = heeds_breaker
        self.cautious = cautious
        self.paced = account is not None
        self.outer = outer
        self.wake = wake
        self.attempt: object = None  # once it is made
        self.permit: Permit | None = None
        self.since = 0.0  # when it first asked
        self.looks_at = _NEVER  # when it asks again
        self.stirred = False  # it is to ask again now
        self.sent_at = 0.0
        self._order = 0  # its place in line, 0 if it is not in line
        self._release: tuple[float, float] | None = None  # the end of a hold, and when it is released after that
        self._told_at = 0.0  # when that hold began

    def is_out(self) -> None:
        """Its call knows that it may be sent: drop the references that are no longer needed."""
        self.outer, self.wake = (), _wake_no_thread

    def waits_no_longer(self) -> None:
        """Its call may not wait: send it in spite of what is optional."""
        self.cautious = self.paced = False

    # The gate alone calls these, with its lock held.

    @property
    def is_plain(self) -> bool:
        """Whether nothing holds it back but what holds every attempt back."""
        return not (self.costs or self.cautious or self._order or self._release is not None)

    @property
    def is_last(self) -> bool:
        """Whether its call was refused and has no further attempt."""
        return self.told_at is not None and self.attempts_left == 1

    def barred_until(self, pace: Pace, now: float, random: Callable[[], float]) -> float:
        """The instant until which a hold keeps it back; ``now`` or earlier if none does."""
        hold = pace.held(self.account, now)
        if (
            hold is not None
            and self.told_at is not None
            and hold.sent_at <= self.told_at
            and not (hold.longer and self.is_last)
        ):
            hold = None
        if hold is not None and (self._release is None or self._release[0] < hold.until):
            at = hold.until if pace.refusals(self.account) else release(hold, random)
            self._release, self._told_at = (hold.until, at), hold.since
        return now if self._release is None else self._release[1]

    @property
    def spread(self) -> float:
        """Seconds between the end of a hold and its release."""
        return 0.0 if self._release is None else self._release[1] - self._release[0]

    def heard_of(self, other: Turn, now: float, random: Callable[[], float]) -> None:
        """Another attempt with this account was answered. Ends a hold told before that attempt was sent."""
        if self.told_at is not None and self.told_at <= other.sent_at:
            self.cautious = False
        if self._release is not None and self._told_at <= other.sent_at:
            until, at = self._release
            self._release = (min(until, now), min(at, now + random() * SPREAD))


class Gate:
    """A client's memory of one origin, and its line. Thread-safe. ``random``: a number in [0, 1)."""

    def __init__(self, retry: EffectiveRetry, random: Callable[[], float]) -> None:
        self._breaker = Breaker(retry.breaker, retry.breaker_wait)
        self._budget = RetryBudget(retry.budget)
        self._pace = Pace()
        self._random = random
        self._calls: set[object] = set()  # in flight
        self._line: list[Turn] = []
        self._out: set[Turn] = set()  # with a permit, not settled
        self._arrivals = 0
        # Protects everything above and the turns of this gate. A leaf: nothing is called and no other lock is taken
        # while it is held; attempts that are let out are woken after its release. It is reentrant: a signal handler of
        # the holder's thread may make a call, which comes here between any two steps of the code that it interrupts.
        # Each step must bear that. Workers put what they have to say into ``_answers``, without waiting.
        self._lock = threading.RLock()
        self._answers: deque[tuple[Turn, float]] = deque()  # answered turns, with their instants

    def after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.RLock()

    # -- calls ----------------------------------------------------------------

    def enter(self, call: object, now: float) -> None:
        """A call begins, and adds its tokens to the budget."""
        with self._lock:
            self._calls.add(call)
            self._budget.calls = len(self._calls)
            if self._budget.spent:
                self._budget.fit()
            woken = self._let_out(now)
        if woken:
            _wake(woken)

    def leave(self, call: object) -> None:
        """A call is over. May be called again."""
        with self._lock:
            self._calls.discard(call)
            self._budget.calls = len(self._calls)
            if self._budget.spent:
                self._budget.fit()

    def succeeded(self, now: float) -> None:
        """A call has succeeded."""
        with self._lock:
            if self._budget.spent:
                self._budget.success(now)
            woken = self._let_out(now)
        if woken:
            _wake(woken)

    # -- the way out ------------------------------------------------------------

    def ask(self, turn: Turn, now: float) -> Delay | None:
        """Let ``turn`` out, or put it in line and return its delay. Ask again when the delay is over."""
        with self._lock:
            if turn.permit is not None:
                return None
            if self._answers:
                self._hear()
            if not self._line and turn.is_plain and self._is_calm:
                # No attempt waits, and no barrier holds.
                turn.since = now
                self._let_go(turn, now)
                return None
            if not turn._order:
                turn.since = now
                self._arrivals += 1
                turn._order = self._arrivals
                self._line.append(turn)
            woken = self._let_out(now)
            delay = None
            if turn.permit is None:
                view = self._view(now)
                delay = self._delay(turn, now, view)
            if delay is not None:
                delay = replace(delay, look_at=self._looks_at(turn, delay, now, view))
                turn.looks_at, turn.stirred = delay.look_at, False
        if woken:
            _wake([other for other in woken if other is not turn])
        return delay

    def outlook(self, turn: Turn, now: float) -> Delay | None:
        """The delay that ``turn`` would have at ``now``, without putting it in line."""
        with self._lock:
            return self._delay(turn, now, self._view(now, turn.account))

    def withdraw(self, turn: Turn, now: float) -> None:
        """The attempt is not sent, or ended without showing anything of the origin."""
        with self._lock:
            turn._order = 0
            self._take_from_line(turn)
            woken = self._settle(turn, Outcome.ABANDONED, now)
        if woken:
            _wake(woken)

    def settle(self, turn: Turn, outcome: Outcome, now: float) -> None:
        """Report what an attempt shows of the origin: with the answer's first byte, else at its end, once."""
        with self._lock:
            woken = self._settle(turn, outcome, now)
        _wake(woken)

    def answered(self, turn: Turn, now: float) -> None:
        """For workers: the first byte of an answer that is not an error has come.

        The wait for the lock is short: a signal handler may have interrupted its holder to make this call. Then the
        next thread at the gate takes the news in.
        """
        self.note_answer(turn, now)
        if not self._lock.acquire(timeout=_BRIEFLY):
            return
        try:
            woken = self._let_out(now)
        finally:
            self._lock.release()
        if woken:
            _wake(woken)

    def note_answer(self, turn: Turn, now: float) -> None:
        """As :meth:`answered`, for a call's own thread, in which a signal handler may raise. Takes no lock.

        The next thread that takes the lock takes the news in.
        """
        self._answers.append((turn, now))

    def hold(self, turn: Turn, wait: float, now: float) -> float:
        """The provider named ``wait`` seconds to ``turn``. Returns the seconds that the turn's call waits."""
        if turn.account is None:
            return wait
        with self._lock:
            return self._pace.hold(turn.account, wait, now, turn.sent_at, self._budget.calls, self._random)

    # -- private: the lock is held ------------------------------------------------

    def _heard(self, turn: Turn, now: float) -> None:
        mates = [mate for mate in self._line if mate.account is not None and mate.account == turn.account]
        grows = self._pace.searches(turn.account) or not any(mate.is_last for mate in mates)
        self._pace.success(turn.account, turn.sent_at, now, grows=grows)
        for mate in mates:
            mate.heard_of(turn, now, self._random)

    def _settle(self, turn: Turn, outcome: Outcome, now: float) -> list[Turn]:
        if self._answers:
            self._hear()
        if turn.permit is not None or turn in self._out:
            self._note(turn, outcome, now)
        return self._let_out(now)

    def _hear(self) -> None:
        """Take in the answers that workers have reported."""
        while self._answers:
            try:
                turn, now = self._answers.popleft()
            except IndexError:  # a signal handler has taken it in
                return
            if turn.permit is not None and self._pace.accounts:
                self._heard(turn, now)
            self._note(turn, Outcome.ANSWERED, now)

    def _note(self, turn: Turn, outcome: Outcome, now: float) -> None:
        permit, turn.permit, turn.attempt = turn.permit, None, None
        self._out.discard(turn)
        if permit is not None and permit is not _BESIDE:
            self._breaker.settle(permit, outcome, now)

    def _take_from_line(self, turn: Turn) -> bool:
        """Take ``turn`` from the line; return whether it was in line."""
        if not self._line:
            return False
        try:
            self._line.remove(turn)
        except ValueError:
            return False
        return True

    def _let_out(self, now: float) -> list[Turn]:
        """Let out the attempts that may go, and return the turns to wake."""
        if self._answers:
            self._hear()
        out: list[Turn] = []
        if not self._line:
            if self._breaker.state is not BreakerState.CLOSED:
                self._breaker.calm()
            return out
        while (turn := self._next(now, view := self._view(now) if self._line else _EMPTY)) is not None:
            if not self._take_from_line(turn):
                continue  # a signal handler has let it out
            self._let_go(turn, now)
            out.append(turn)
        sleeper = min(self._line, key=lambda waiting: waiting.looks_at, default=None)
        if sleeper is None:
            self._breaker.calm()
            return out
        if self._next_look(now, view) < sleeper.looks_at < _NEVER:
            # Something may go earlier than the waiting attempts look; waking one of them is enough.
            sleeper.stirred, sleeper.looks_at = True, now
            out.append(sleeper)
        return out

    def _let_go(self, turn: Turn, now: float) -> None:
        turn._order = 0
        ready = turn.heeds_breaker and self._breaker.ready_at(now) <= now
        turn.permit = self._breaker.admit(now) if ready else _BESIDE
        turn.sent_at = now
        if self._pace.accounts:
            self._pace.start(turn.account, now)
        self._out.add(turn)

    @property
    def _is_calm(self) -> bool:
        """Whether nothing holds back an attempt that costs nothing and is not cautious."""
        return self._breaker.state is BreakerState.CLOSED and not self._pace.accounts

    def _looks_at(self, turn: Turn, delay: Delay, now: float, view: _View) -> float:
        """When ``turn`` asks again: before its delay ends, if no other turn looks at the next release."""
        first = self._next_look(now, view)
        watched = any(other.looks_at <= first for other in self._line if other is not turn)
        return delay.until if watched else min(delay.until, first)

    def _next_look(self, now: float, view: _View) -> float:
        """When the next turn in line may be let out, if nothing else happens."""
        return min((self._may_go_at(other, now, view) for other in self._line), default=_NEVER)

    def _view(self, now: float, account: str | None = None) -> _View:
        """The view of those in line, and of a turn with ``account`` that is not in line."""
        line, busy, searched = self._line, _NONE, _NONE
        slots = dict[str | None, float]()
        if any(other.cautious for other in line):
            others = (other.account for other in line if other.attempts_left > 1)
            busy = frozenset(other.account for other in tuple(self._out)).union(others)
        if self._pace.accounts:
            accounts = {account, *(other.account for other in line)}
            searching = {account for account in accounts if self._pace.searches(account)}
            if searching:
                searched = frozenset(other.account for other in line if other.attempts_left > 1).intersection(searching)
            last = {other.account for other in line if other.attempts_left == 1 and other.is_last} - searched
            slots = {account: self._slot(account, now, account in last) for account in accounts}
        return _View(self._breaker.ready_at(now), self._budget.ready_at(now), busy, slots, searched)

    def _slot(self, account: str | None, now: float, last: bool) -> float:
        """When the rate lets the next attempt with ``account`` out.

        After refusals in a row, one is under way at a time; with many calls in flight, their square root.
        """
        slot = self._pace.ready_at(account, now, last=last)
        if self._pace.refusals(account):
            out = sorted(other.sent_at for other in tuple(self._out) if other.account == account)
            most = max(1, math.isqrt(self._budget.calls))
            slot = max(slot, out[-most] + NEWS) if len(out) >= most else slot
        return slot

    def _may_go_at(self, turn: Turn, now: float, view: _View) -> float:
        barred = turn.barred_until(self._pace, now, self._random)
        if barred > now:
            return barred
        if view.ready > now and self._heeds(turn):
            return view.ready
        if self._awaits_news(turn, now, view):
            return self._news_at(turn, now)
        slot = self._slot_of(turn, now, view)
        if slot > now:
            return slot
        return view.token if turn.costs else now

    def _slot_of(self, turn: Turn, now: float, view: _View) -> float:
        slot = view.slots.get(turn.account, now) if view.slots and turn.paced else now
        return now if slot > now and self._is_inside(turn) else slot

    def _next(self, now: float, view: _View) -> Turn | None:
        if not self._line:
            return None
        free = [
            turn
            for turn in self._line
            if self._slot_of(turn, now, view) <= now
            and turn.barred_until(self._pace, now, self._random) <= now
            and not self._awaits_news(turn, now, view)
        ]
        if view.ready > now:
            free = [turn for turn in free if not self._heeds(turn)]
        elif self._breaker.state is not BreakerState.CLOSED:
            # The turn with most attempts left loses least.
            free.sort(key=lambda turn: (-turn.attempts_left, turn._order))
        elif self._pace.accounts:
            # The same holds for finding out whether the provider accepts again. After an answer the turn with fewest
            # attempts left goes first, while the rate is low.
            proven = {account: self._pace.proven(account) for account in view.slots}
            free.sort(key=lambda turn: (turn.attempts_left * (1 if proven.get(turn.account) else -1), turn._order))
        return next((turn for turn in free if not turn.costs or self._budget.take(now)), None)

    def _heeds(self, turn: Turn) -> bool:
        """Whether the breaker may hold ``turn`` back: not if an attempt under way waits for it."""
        return turn.heeds_breaker and not self._is_inside(turn)

    def _is_inside(self, turn: Turn) -> bool:
        """Whether an attempt under way waits for ``turn`` to end."""
        outer = turn.outer
        return bool(outer) and any(sent in outer or sent.attempt in outer for sent in tuple(self._out))

    def _awaits_news(self, turn: Turn, now: float, view: _View) -> bool:
        """Whether ``turn`` is cautious and lets others go first."""
        if turn.is_last and turn.paced and turn.account in view.searched:
            return not self._is_inside(turn)
        if not turn.cautious or self._budget.calls < 2 or self._is_inside(turn):
            return False
        if turn.told_at is not None:
            return now < turn.since + NEWS or turn.account in view.busy
        patience = self._breaker.patience
        # After a long patience they go one by one, for as long again.
        one_by_one = patience > NEWS and turn.account in view.busy and now < turn.since + 2 * patience
        return (now < turn.since + patience or one_by_one) and self._breaker.doubtful

    def _news_at(self, turn: Turn, now: float) -> float:
        """When a cautious turn stops waiting if no news comes."""
        patience = NEWS if turn.told_at is not None else self._breaker.patience
        if now < turn.since + patience:
            return turn.since + patience
        return now + NEWS if turn.told_at is not None else min(now + NEWS, turn.since + 2 * patience)

    def _delay(self, turn: Turn, now: float, view: _View) -> Delay | None:
        barred = turn.barred_until(self._pace, now, self._random)
        if barred > now:
            return Delay(Barrier.PACE, barred, turn.spread)
        if view.ready > now and self._heeds(turn):
            return Delay(Barrier.BREAKER, view.ready, at_latest=self._breaker.state is not BreakerState.OPEN)
        if self._awaits_news(turn, now, view):
            barrier = Barrier.BREAKER if turn.told_at is None else Barrier.PACE
            return Delay(barrier, self._news_at(turn, now), optional=True)
        slot = self._slot_of(turn, now, view)
        if slot > now:
            gap = self._pace.gap(turn.account)
            place = turn._order or self._arrivals + 1
            slot += gap * sum(other.account == turn.account and other._order < place for other in self._line)
            return Delay(Barrier.PACE, slot, at_latest=True, optional=True, rate=1 / gap if gap else None)
        if not turn.costs:
            return None
        before = sum(other.costs for other in self._line if 0 < other._order < (turn._order or self._arrivals + 1))
        token = self._budget.ready_at(now, before)
        return Delay(Barrier.BUDGET, token) if token > now else None


def _wake(turns: list[Turn]) -> None:
    for turn in turns:
        turn.wake()
