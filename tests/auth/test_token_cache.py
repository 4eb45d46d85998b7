"""One token for many calls: which call starts a refresh, which wait, and what becomes of it.

Time moves only by hand.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable

import pytest

from llmwatch import at_fork
from llmwatch.auth.grant import Grant, Raised
from llmwatch.auth.refresh_failure import Failure, of_status
from llmwatch.auth.token_cache import THREAD, Token, TokenCache
from llmwatch.errors import TooManyThreads
from llmwatch.watch.clock import ManualClock
from tests.end_to_end.calls import Running, eventually, in_thread
from tests.end_to_end.times import PATIENCE

LIMIT = 30.0
PASSING = Failure(message="busy", retryable=True)
REJECTED = of_status(401, "invalid_grant")


class Source:
    """Plays one outcome a refresh, the last over and over; ``held`` ones wait for the gate."""

    def __init__(self, *outcomes: Grant | Failure | BaseException, held: bool = False) -> None:
        self._outcomes = outcomes
        self._changed = threading.Condition()
        self.gate = threading.Event()
        self.limits: list[float | None] = []
        if not held:
            self.gate.set()

    def __call__(self, limit: float | None) -> Grant | Failure | Raised:
        with self._changed:
            self.limits.append(limit)
            number = len(self.limits)
            self._changed.notify_all()
        assert self.gate.wait(PATIENCE)
        outcome = self._outcomes[min(number, len(self._outcomes)) - 1]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    @property
    def count(self) -> int:
        """The number of refreshes."""
        return len(self.limits)

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.limits) >= count, PATIENCE)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keep(clock: ManualClock) -> Callable[..., TokenCache]:
    def make(source: Source, token: str | None = None, leeway: float = 60.0) -> TokenCache:
        return TokenCache(source, token=token, leeway=leeway, clock=clock)

    return make


def got(outcome: Token | Failure | Raised) -> Token:
    assert isinstance(outcome, Token)
    return outcome


def waiting(token_cache: TokenCache, count: int) -> None:
    """Return once so many callers wait for the refresh that is on its way."""
    eventually(
        lambda: (flight := token_cache._flight) is not None and len(flight.waiters) == count, f"{count} callers wait"
    )


def many(token_cache: TokenCache, count: int, spent: Token | None = None) -> list[Running]:
    """As many threads that want a token, and wait for it by now."""
    running = [in_thread(token_cache.get, LIMIT, spent) for _ in range(count)]
    waiting(token_cache, count)
    return running


def test_the_first_use_gets_a_token(keep: Callable[..., TokenCache]) -> None:
    """Without a token the first use refreshes, and the later ones do not; the limit is handed on."""
    source = Source(Grant(token="one"))
    token_cache = keep(source)
    first = got(token_cache.get(LIMIT))
    assert first.text == "one"
    assert token_cache.get(LIMIT) is first
    assert source.limits == [LIMIT]


def test_a_given_token_is_used(keep: Callable[..., TokenCache]) -> None:
    """A token that was given is used without a refresh, however much time passes."""
    source = Source(Grant(token="one"))
    assert got(keep(source, token="mine").get(LIMIT)).text == "mine"
    assert source.count == 0


def test_a_limit_that_is_off_is_passed_on_as_none(keep: Callable[..., TokenCache]) -> None:
    """A limit that is off is handed on as none."""
    source = Source(Grant(token="one"))
    assert got(keep(source).get(None)).text == "one"
    assert source.limits == [None]


@pytest.mark.parametrize(
    ("lifetime", "leeway", "good_for"),
    [(3600.0, 60.0, 3540.0), (100.0, 60.0, 50.0), (10.0, 60.0, 5.0), (3600.0, 0.0, 3600.0)],
)
def test_a_token_is_replaced_before_it_runs_out(
    keep: Callable[..., TokenCache], clock: ManualClock, lifetime: float, leeway: float, good_for: float
) -> None:
    """A token is used until ``leeway`` seconds before its end.

    If half of its life is over later than that, it is used until then.
    """
    source = Source(Grant(token="one", lifetime=lifetime), Grant(token="two"))
    token_cache = keep(source, leeway=leeway)
    first = got(token_cache.get(LIMIT))
    clock.advance(good_for - 0.001)
    assert token_cache.get(LIMIT) is first
    clock.advance(0.001)
    assert got(token_cache.get(LIMIT)).text == "two"
    clock.advance(1e9)
    assert got(token_cache.get(LIMIT)).text == "two"
    assert source.count == 2


def test_a_tokens_life_begins_with_its_refresh(keep: Callable[..., TokenCache], clock: ManualClock) -> None:
    """The server counts from some moment after we began, so the time that the refresh took is taken off."""
    source = Source(Grant(token="one", lifetime=3600.0), Grant(token="two"), held=True)
    token_cache = keep(source)
    running = in_thread(token_cache.get, LIMIT)
    source.wait_for(1)
    clock.advance(20.0)
    source.gate.set()
    running.result()
    clock.advance(3519.9)
    assert got(token_cache.get(LIMIT)).text == "one"
    clock.advance(0.2)
    assert got(token_cache.get(LIMIT)).text == "two"


def test_a_token_that_is_stale_at_once_is_used_once(keep: Callable[..., TokenCache]) -> None:
    """A token without a life is what the refresh brought, so the waiting calls use it.

    The next use refreshes.
    """
    source = Source(Grant(token="one", lifetime=0.0), Grant(token="two", lifetime=0.0))
    token_cache = keep(source)
    assert [got(token_cache.get(LIMIT)).text for _ in range(2)] == ["one", "two"]


def test_sixteen_threads_share_one_refresh(keep: Callable[..., TokenCache]) -> None:
    """Sixteen threads that need a token cause one refresh and get the same token."""
    source = Source(Grant(token="one"), Grant(token="two"), held=True)
    token_cache = keep(source)
    running = many(token_cache, 16)
    source.gate.set()
    assert len({id(one.result()) for one in running}) == 1
    assert source.count == 1


def test_sixteen_threads_share_one_failure_and_a_later_call_tries_again(keep: Callable[..., TokenCache]) -> None:
    """The waiting calls get the failure without another refresh; the next call starts one."""
    source = Source(PASSING, Grant(token="two"), held=True)
    token_cache = keep(source)
    running = many(token_cache, 16)
    source.gate.set()
    assert [one.result() for one in running] == [PASSING] * 16
    assert source.count == 1
    assert got(token_cache.get(LIMIT)).text == "two"
    assert source.count == 2


def test_a_rejection_is_remembered(keep: Callable[..., TokenCache]) -> None:
    """Neither a waiting nor a later call tries again with rejected credentials, until a reset."""
    source = Source(REJECTED, Grant(token="two"), held=True)
    token_cache = keep(source)
    running = many(token_cache, 16)
    source.gate.set()
    assert [one.result() for one in running] == [REJECTED] * 16
    assert token_cache.get(LIMIT) is REJECTED
    assert source.count == 1
    token_cache.reset(None)
    assert got(token_cache.get(LIMIT)).text == "two"
    assert source.count == 2


def test_an_unforeseen_exception_reaches_every_waiting_call(keep: Callable[..., TokenCache]) -> None:
    """An exception of an unknown class is raised in the waiting calls.

    It does not keep a later call from trying.
    """
    mistake = SystemExit(3)
    source = Source(mistake, Grant(token="two"), held=True)
    token_cache = keep(source)
    running = many(token_cache, 3)
    source.gate.set()
    assert [one.result() for one in running] == [Raised(mistake)] * 3
    assert got(token_cache.get(LIMIT)).text == "two"


def test_a_refused_token_is_replaced_by_one_refresh(keep: Callable[..., TokenCache]) -> None:
    """All calls whose token was refused share one refresh."""
    source = Source(Grant(token="two"), held=True)
    token_cache = keep(source, token="one")
    old = got(token_cache.get(LIMIT))
    running = many(token_cache, 16, spent=old)
    source.gate.set()
    assert {got(one.result()).text for one in running} == {"two"}
    assert source.count == 1


def test_a_newer_token_is_used_instead_of_another_refresh(keep: Callable[..., TokenCache]) -> None:
    """A call that comes late with a replaced token gets the newer one, even if its text is the same."""
    source = Source(Grant(token="one"))
    token_cache = keep(source, token="one")
    old = got(token_cache.get(LIMIT))
    new = got(token_cache.get(LIMIT, old))
    assert new is not old
    assert token_cache.get(LIMIT, old) is new
    token_cache.spend(old)
    assert token_cache.get(LIMIT) is new
    assert source.count == 1
    token_cache.spend(new)
    token_cache.get(LIMIT)
    assert source.count == 2


def test_a_token_from_before_a_reset_goes_to_its_waiters_alone(keep: Callable[..., TokenCache]) -> None:
    """The token of a refresh that began before the reset goes to the calls that waited for it.

    No other call gets it.
    """
    source = Source(Grant(token="old"), Grant(token="new"), held=True)
    token_cache = keep(source)
    (before,) = many(token_cache, 1)
    source.wait_for(1)
    token_cache.reset(None)
    after = in_thread(token_cache.get, LIMIT)
    source.wait_for(2)
    source.gate.set()
    assert got(before.result()).text == "old"
    assert got(after.result()).text == "new"
    assert got(token_cache.get(LIMIT)).text == "new"


def test_a_rejection_that_a_reset_overtook_is_forgotten(keep: Callable[..., TokenCache]) -> None:
    """The old credentials may be rejected as late as they like: the new token stays in use."""
    source = Source(REJECTED, held=True)
    token_cache = keep(source)
    (before,) = many(token_cache, 1)
    source.wait_for(1)
    token_cache.reset("given")
    source.gate.set()
    assert before.result() is REJECTED
    assert got(token_cache.get(LIMIT)).text == "given"


def test_a_refresh_that_does_not_end_is_left_after_its_limit(
    keep: Callable[..., TokenCache], clock: ManualClock
) -> None:
    """If the watch over the refresh fails, the waiting calls go on by themselves.

    The next call starts anew.
    """
    source = Source(Grant(token="late"), Grant(token="two"), held=True)
    token_cache = keep(source)
    (left,) = many(token_cache, 1)
    clock.advance(LIMIT + 4.9)
    waiting(token_cache, 1)
    clock.advance(0.2)
    outcome = left.result()
    assert isinstance(outcome, Failure)
    assert (outcome.retryable, outcome.limit_seconds, outcome.phase) == (True, LIMIT, "waiting")
    another = in_thread(token_cache.get, LIMIT)
    source.wait_for(2)
    source.gate.set()
    assert got(another.result()).text == "two"
    assert got(token_cache.get(LIMIT)).text == "two"


def test_a_refresh_without_a_thread_raises(keep: Callable[..., TokenCache], monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started the caller gets an error.

    The next call does not wait for that refresh.
    """

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    source = Source(Grant(token="one"))
    token_cache = keep(source)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(TooManyThreads, match="can't start new thread"):
            token_cache.get(LIMIT)
    assert got(token_cache.get(LIMIT)).text == "one"
    assert source.count == 1


def test_the_refresh_sees_the_context_of_who_started_it(clock: ManualClock) -> None:
    """Context variables of the caller are visible in the refresh, and what it sets stays there."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    def fetch(limit: float | None) -> Grant:
        found = variable.get()
        variable.set("changed")
        return Grant(token=found)

    variable.set("mine")
    token_cache = TokenCache(fetch, token=None, leeway=0.0, clock=clock)
    assert got(token_cache.get(LIMIT)).text == "mine"
    assert variable.get() == "mine"


def test_the_refresh_thread_is_a_named_daemon(keep: Callable[..., TokenCache]) -> None:
    """A refresh on its way is a daemon thread that says what it is."""
    source = Source(Grant(token="one"), held=True)
    (running,) = many(keep(source), 1)
    source.wait_for(1)
    (thread,) = [one for one in threading.enumerate() if one.name == THREAD]
    assert thread.daemon
    source.gate.set()
    running.result()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_refreshes_for_itself(keep: Callable[..., TokenCache]) -> None:
    """The parent's refresh does not go on in the child.

    The child starts one of its own with a lock of its own.
    """
    source = Source(Grant(token="one"), held=True)
    token_cache = keep(source)
    (running,) = many(token_cache, 1)
    source.wait_for(1)
    before = token_cache._lock
    assert token_cache in at_fork._members
    token_cache.after_fork()
    assert token_cache._lock is not before
    another = in_thread(token_cache.get, LIMIT)
    source.wait_for(2)
    source.gate.set()
    assert got(another.result()).text == got(running.result()).text == "one"
