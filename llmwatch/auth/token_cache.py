"""The token that is in use, and the one refresh that may be on its way.

**One refresh for many.** Whoever finds no usable token starts a refresh, or waits for the one that another has started,
and all of them share its outcome. The refresh runs in a thread of its own and belongs to none of those who wait for it:
a call that is killed, cancelled or interrupted leaves at once, and the refresh goes on to its end, which its limit
bounds. Ending it with the call that happened to start it would fail the others too, and where the server gives out a
new refresh token each time, it would lose that one between the server and us, for good. While an attempt waits here
its limits stand, all but its deadline.

**The locks.** The token cache's protects the token, the rejection, the refresh on its way with those who wait for it,
and its outcome. It is held for a few assignments: nothing is called and nothing is waited for under it, so it is a
leaf. Each waiter sleeps on a lock of its own, with no lock held (:mod:`llmwatch.watch.waiting`). The token cache's lock
can be taken again by its thread, since a signal handler may also ask for a token.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from llmwatch import at_fork
from llmwatch.auth.grant import Grant, Raised
from llmwatch.auth.refresh_failure import Failure, timed_out
from llmwatch.errors import Cancelled
from llmwatch.transport import context as contexts
from llmwatch.watch.attempt import serving
from llmwatch.watch.clock import Clock, Waiter
from llmwatch.watch.interfaces import Aborted
from llmwatch.watch.launch import Launch
from llmwatch.wrap.current import paused

__all__ = ["THREAD", "Fetch", "Token", "TokenCache"]

THREAD = "llmwatch-refresh"
"""The name of the threads that wait for a refresh function."""

Fetch = Callable[[float | None], "Grant | Failure | Raised"]
"""Gets a new token within so many seconds (``None``: no limit), and says why not instead of raising."""

# A refresh ends at its limit by itself. Whoever waits for it goes this much later, should that ever fail.
_MARGIN = 5.0

_NOT_STARTED = Failure(
    message="The token could not be refreshed: the refresh could not be started. A later call tries again.",
    retryable=True,
)


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """One token, which is itself and no other even if a server gives out the same text twice.

    ``stale_at``: when it is to be replaced, on the token cache's clock; ``None`` for never.
    """

    text: str = field(repr=False)
    stale_at: float | None = None


class _Waiter:
    """Somebody who waits for a refresh: woken by its end, or as a :class:`~llmwatch.watch.interfaces.Handle` by that of
    the attempt.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._awake = Waiter()
        self.landed = False
        self.over = False

    def land(self) -> None:
        """The refresh has an outcome."""
        self.landed = True
        self._awake.put(None)

    def shutdown(self) -> None:
        """The attempt is over."""
        self.over = True
        self._awake.put(None)

    def wait(self, until: float | None) -> None:
        """Until either has happened, or ``until`` has come."""
        while not (self.landed or self.over) and (until is None or self._clock.now() < until):
            self._clock.wait(self._awake, until)

    def waiting(self) -> bool:
        """Nothing is read here."""
        return False

    def release(self) -> None:
        """It waits no longer."""

    def detach_in_child(self) -> None:
        """In a forked child nobody waits."""


class _Flight:
    """A refresh on its way. Protected by the token cache's lock."""

    __slots__ = ("began_at", "limit", "outcome", "waiters")

    def __init__(self, limit: float | None, began_at: float) -> None:
        self.limit = limit
        self.began_at = began_at
        self.outcome: Token | Failure | Raised | None = None
        self.waiters: list[_Waiter] = []

    @property
    def last_call(self) -> float | None:
        """When nobody waits for it any more."""
        return None if self.limit is None else self.began_at + self.limit + _MARGIN


# Which token caches' refreshes this code is part of. A context variable, since the workers of calls inside get a copy.
_within: contextvars.ContextVar[tuple[TokenCache, ...]] = contextvars.ContextVar("llmwatch_refreshing", default=())


class TokenCache:
    """Keeps one token, and has it replaced by ``fetch`` when it is stale, or spent.

    A token with a lifetime is stale ``leeway`` seconds before its end, or at half of it if that is later.
    """

    def __init__(self, fetch: Fetch, *, token: str | None, leeway: float, clock: Clock) -> None:
        self._fetch = fetch
        self._leeway = leeway
        self._clock = clock
        self._lock = threading.RLock()  # protects the three fields below; see the module's docstring
        self._token = None if token is None else Token(token)
        self._rejected: Failure | None = None
        self._flight: _Flight | None = None
        at_fork.follow(self)

    def get(self, limit: float | None, spent: Token | None = None) -> Token | Failure | Raised:
        """A token, or why there is none. Blocks for at most ``limit`` seconds.

        ``spent`` is one that the server did not accept: if it is still the one in use it is given up. In the worker of
        an attempt the attempt's limits stand meanwhile; raises what an observer raises when that attempt is over, and
        :class:`~llmwatch.TooManyThreads` where the refresh cannot be started.
        """
        context = contexts.current()
        if context is not None:
            # For an attempt that is over nothing is started.
            context.observer.check()
        mine: _Flight | None = None
        launch: Launch | None = None
        try:
            with self._lock:
                if spent is not None and self._token is spent:
                    self._token = None
                token, now = self._token, self._clock.now()
                if token is not None and (token.stale_at is None or now < token.stale_at):
                    return token
                if self._rejected is not None:
                    return self._rejected
                self._check_outside()
                flight = self._flight
                if flight is None or (flight.last_call is not None and now >= flight.last_call):
                    mine = flight = self._flight = _Flight(limit, now)
                waiter = _Waiter(self._clock)
                flight.waiters.append(waiter)
            if mine is not None:
                if sys.is_finalizing():
                    # A thread that is started now never runs, and whoever starts it waits for it.
                    raise Cancelled("The interpreter exits, so no token can be had any more.", by="lifecycle")
                run = contextvars.copy_context().run
                launch = Launch(threading.Thread(target=run, args=(self._fly, mine), name=THREAD, daemon=True))
                launch.start()
        except BaseException:
            if mine is not None and (launch is None or launch.withdraw()):
                self._land(mine, _NOT_STARTED)
            raise
        return self._await(flight, waiter)

    def spend(self, token: Token) -> None:
        """Give ``token`` up, if it is the one in use."""
        with self._lock:
            if self._token is token:
                self._token = None

    def reset(self, token: str | None) -> None:
        """Begin anew, with ``token`` or with none. A refresh that is on its way still serves those who wait for it,
        and its token is used by nobody else.
        """
        with self._lock:
            self._token = None if token is None else Token(token)
            self._rejected = self._flight = None

    def after_fork(self) -> None:
        """In a forked child: the parent's refresh, and whoever held the lock, are not here."""
        self._lock = threading.RLock()
        self._flight = None

    # -- the refresh --------------------------------------------------------

    def _check_outside(self) -> None:
        if self in _within.get():
            raise RuntimeError(
                "The refresh function sends a request with the very token that it is to get: use a session without"
                " this auth in it."
            )

    def _fly(self, flight: _Flight) -> None:
        _within.set((*_within.get(), self))
        outcome: Grant | Failure | Raised
        try:
            outcome = self._fetch(flight.limit)
        except BaseException as error:  # whoever waits must hear of it
            outcome = Raised(error)
        self._land(flight, outcome)

    def _land(self, flight: _Flight, outcome: Grant | Failure | Raised) -> None:
        landed = self._dated(outcome, flight.began_at) if isinstance(outcome, Grant) else outcome
        with self._lock:
            flight.outcome = landed
            if self._flight is flight:
                self._flight = None
                if isinstance(landed, Token):
                    self._token = landed
                elif isinstance(landed, Failure) and landed.rejected:
                    self._rejected = landed
            waiters = list(flight.waiters)
        for waiter in waiters:
            waiter.land()

    def _dated(self, grant: Grant, began_at: float) -> Token:
        if grant.lifetime is None:
            return Token(grant.token)
        # The server counts from some moment after we began. A token that lives for a shorter time than the leeway is
        # used all the same.
        return Token(grant.token, began_at + grant.lifetime - min(self._leeway, grant.lifetime / 2))

    # -- waiting ------------------------------------------------------------

    def _await(self, flight: _Flight, waiter: _Waiter) -> Token | Failure | Raised:
        with _followed_by(waiter), paused():
            waiter.wait(flight.last_call)
        with self._lock:
            outcome = flight.outcome
        if outcome is not None:
            return outcome
        if waiter.over:
            _raise_over()
        assert flight.limit is not None
        # Another thread's refresh, of which no more is known than that it has not returned.
        return timed_out(flight.limit, self._clock.now() - flight.began_at, "waiting")


@contextlib.contextmanager
def _followed_by(waiter: _Waiter) -> Iterator[None]:
    """In this block ``waiter`` hears of the end of the attempt that this thread is the worker of, if it is one."""
    outer = serving()
    if outer is None:
        yield
        return
    try:
        outer.adopt(waiter)
    except Aborted:
        _raise_over()
    try:
        yield
    finally:
        outer.disown(waiter)


def _raise_over() -> NoReturn:
    # The observer knows how the code in between is left: a wrapped function otherwise than a client's own.
    context = contexts.current()
    if context is not None:
        context.observer.check()
    raise Aborted
