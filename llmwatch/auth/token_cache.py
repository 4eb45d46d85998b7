"""The current token and the one refresh that may be under way.

**One refresh for many.** A thread that finds no usable token starts a refresh or waits for the one under way; all share
its outcome. The refresh runs in a thread of its own. A call that is killed, cancelled or interrupted leaves at once;
the refresh continues until it ends or its limit expires. Ending it with the call that started it would fail the other
callers; it would also lose for good the new refresh token that some servers give out with each use. While an attempt
waits here, every limit but its deadline is paused.

**The locks.** The token cache's lock protects the token, the rejection, the refresh under way, its waiters and its
outcome. It is held for a few assignments and is a leaf: nothing is called or waited for under it. It is reentrant,
since a signal handler may also ask for a token. Each waiter sleeps on its own lock and holds no other
(:mod:`llmwatch.watch.clock`).
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
"""Gets a new token within the given seconds (``None``: no limit). A failure is returned, not raised."""

# A refresh ends at its limit. Should that ever fail, its waiters leave this many seconds later.
_MARGIN = 5.0

_NOT_STARTED = Failure(
    message="The token could not be refreshed: the refresh could not be started. A later call tries again.",
    retryable=True,
)


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """One token, equal to itself alone: a server may give out the same text twice.

    ``stale_at``: when to replace the token, on the token cache's clock; ``None``: never.
    """

    text: str = field(repr=False)
    stale_at: float | None = None


class _Waiter:
    """A caller that waits for a refresh.

    The end of the refresh wakes it; so does the end of the attempt, through the methods of
    :class:`~llmwatch.watch.interfaces.Handle`.
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
        """Wait until the refresh or the attempt is over, or until ``until``."""
        while not (self.landed or self.over) and (until is None or self._clock.now() < until):
            self._clock.wait(self._awake, until)

    def waiting(self) -> bool:
        """``False``: a waiter reads no socket."""
        return False

    def release(self) -> None:
        """Nothing to release."""

    def detach_in_child(self) -> None:
        """In a forked child no thread waits."""


class _Flight:
    """A refresh under way. Protected by the token cache's lock."""

    __slots__ = ("began_at", "limit", "outcome", "waiters")

    def __init__(self, limit: float | None, began_at: float) -> None:
        self.limit = limit
        self.began_at = began_at
        self.outcome: Token | Failure | Raised | None = None
        self.waiters: list[_Waiter] = []

    @property
    def last_call(self) -> float | None:
        """When its waiters stop waiting."""
        return None if self.limit is None else self.began_at + self.limit + _MARGIN


# The token caches whose refresh this code is part of. A context variable, since the workers of calls inside get a copy.
_within: contextvars.ContextVar[tuple[TokenCache, ...]] = contextvars.ContextVar("llmwatch_refreshing", default=())


class TokenCache:
    """Keeps one token and has ``fetch`` replace it when it is stale or spent.

    A token with a lifetime is stale ``leeway`` seconds before its end, or at half of the lifetime if that is later.
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
        """A token, or why there is none. Blocks until the refresh ends, at most 5 s beyond its limit.

        ``limit`` (seconds) bounds a refresh that starts here, not one under way. ``spent`` is a token that the server
        did not accept; if it is still the current one, it is dropped. In the worker of an attempt, every limit of the
        attempt but its deadline is paused meanwhile. Raises what the attempt's observer raises once the attempt is
        over, and :class:`~llmwatch.TooManyThreads` if the refresh cannot be started.
        """
        context = contexts.current()
        if context is not None:
            # An attempt that is over starts no refresh.
            context.observer.check()
        own_flight: _Flight | None = None
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
                    own_flight = flight = self._flight = _Flight(limit, now)
                waiter = _Waiter(self._clock)
                flight.waiters.append(waiter)
            if own_flight is not None:
                if sys.is_finalizing():
                    # A thread that starts now never runs, and start() would wait for it for ever.
                    raise Cancelled("The interpreter exits, so no token can be had any more.", by="lifecycle")
                run = contextvars.copy_context().run
                launch = Launch(threading.Thread(target=run, args=(self._fly, own_flight), name=THREAD, daemon=True))
                launch.start()
        except BaseException:
            if own_flight is not None and (launch is None or launch.withdraw()):
                self._land(own_flight, _NOT_STARTED)
            raise
        return self._await(flight, waiter)

    def spend(self, token: Token) -> None:
        """Drop ``token``, if it is the current one."""
        with self._lock:
            if self._token is token:
                self._token = None

    def reset(self, token: str | None) -> None:
        """Take ``token`` and forget any rejection. A refresh under way serves only its waiters."""
        with self._lock:
            self._token = None if token is None else Token(token)
            self._rejected = self._flight = None

    def after_fork(self) -> None:
        """In a forked child: the parent's refresh and the thread that held the lock do not exist here."""
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
        except BaseException as error:  # the waiters must get it
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
        # The server counts from a moment after the start of the refresh. A token whose life is shorter than the leeway
        # is used nevertheless.
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
        # The refresh belongs to another thread; all that is known is that it has not returned.
        return timed_out(flight.limit, self._clock.now() - flight.began_at, "waiting")


@contextlib.contextmanager
def _followed_by(waiter: _Waiter) -> Iterator[None]:
    """In this block, the end of the attempt whose worker is this thread, if it is one, wakes ``waiter``."""
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
    # The observer knows how to leave the code in between: a wrapped function differs from a client's own worker.
    context = contexts.current()
    if context is not None:
        context.observer.check()
    raise Aborted
