"""Cancel tokens."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from llmwatch.watch.cancel import CancelToken
from tests.watch.scripted import Caller, held
from tests.watch.tracing import interrupted, lines_of

ROUNDS = 200


def test_a_token_begins_unset_and_stays_set() -> None:
    """Once cancelled a token is cancelled for good."""
    token = CancelToken()
    assert not token.cancelled
    token.cancel()
    assert token.cancelled
    token.cancel()
    assert token.cancelled


def test_every_subscriber_is_called_once() -> None:
    """Cancelling calls each callback once, and a second cancellation none."""
    token, calls = CancelToken(), []
    for number in range(5):
        token.subscribe(lambda number=number: calls.append(number))
    token.cancel()
    token.cancel()
    assert sorted(calls) == [0, 1, 2, 3, 4]


def test_a_late_subscriber_is_called_at_once() -> None:
    """A subscriber to a set token is called before ``subscribe`` returns."""
    token, calls = CancelToken(), []
    token.cancel()
    token.unsubscribe(token.subscribe(lambda: calls.append("late")))
    assert calls == ["late"]


def test_an_unsubscribed_callback_is_not_called() -> None:
    """Unsubscribing ends one subscription, unknown numbers none."""
    token, calls = CancelToken(), []
    first = token.subscribe(lambda: calls.append("first"))
    token.subscribe(lambda: calls.append("second"))
    token.unsubscribe(first)
    token.unsubscribe(first)
    token.unsubscribe(0)
    token.cancel()
    assert calls == ["second"]


def test_one_function_may_subscribe_twice() -> None:
    """Two subscriptions of the same function are two, each with its own number."""
    token, calls = CancelToken(), []

    def callback() -> None:
        calls.append(1)

    first, second = token.subscribe(callback), token.subscribe(callback)
    assert first != second
    token.unsubscribe(first)
    token.cancel()
    assert calls == [1]


def test_callbacks_run_without_the_lock() -> None:
    """A callback may use the token, and so may another thread meanwhile."""
    token, calls = CancelToken(), []

    def callback() -> None:
        assert Caller(lambda: (token.cancel(), token.unsubscribe(1))).result()
        token.subscribe(lambda: calls.append("nested"))

    token.subscribe(callback)
    token.cancel()
    assert calls == ["nested"]


def test_reading_a_token_takes_no_lock() -> None:
    """Reading a token is not blocked by another thread that uses it."""
    token = CancelToken()
    with held(token._lock):
        assert not Caller(lambda: token.cancelled).result()


def test_a_callback_that_raises_does_not_keep_the_others_from_being_called() -> None:
    """Cancelling many calls with one token ends all of them, whatever one of them does."""
    token, calls = CancelToken(), []

    def broken() -> None:
        raise RuntimeError("a callback's own mistake")

    token.subscribe(broken)
    token.subscribe(lambda: calls.append("second"))
    with pytest.raises(RuntimeError):
        token.cancel()
    assert calls == ["second"]


def test_a_race_of_subscribing_and_cancelling_calls_each_once() -> None:
    """Each subscriber is called exactly once, however its subscription meets the cancellation."""
    for _ in range(ROUNDS):
        token, calls = CancelToken(), []
        barrier = threading.Barrier(3)

        def subscribe(
            token: CancelToken = token, calls: list[int] = calls, barrier: threading.Barrier = barrier
        ) -> None:
            barrier.wait()
            token.subscribe(lambda: calls.append(1))

        subscribers = [Caller(subscribe) for _ in range(2)]
        barrier.wait()
        token.cancel()
        for subscriber in subscribers:
            subscriber.result()
        assert calls == [1, 1]


LINES = lines_of(CancelToken.subscribe, CancelToken.cancel, CancelToken.unsubscribe)


def test_a_cancel_that_interrupts_subscribe_is_not_lost() -> None:
    """A signal handler may cancel at any line of a subscription in its own thread: no deadlock, one call."""
    reached = 0
    for line in LINES:
        token, calls = CancelToken(), []

        def subscribe(token: CancelToken = token, calls: list[int] = calls, line: Any = line) -> bool:
            return interrupted(lambda: token.subscribe(lambda: calls.append(1)), line, token.cancel)[0]

        if Caller(subscribe).result():
            reached += 1
            assert calls == [1], f"interrupted at line {line}"
    assert reached >= 5


def test_a_cancel_that_interrupts_a_cancel_calls_once() -> None:
    """The same for a cancellation in the middle of another, and of an unsubscription."""
    reached = 0
    for line in LINES:
        token, calls = CancelToken(), []
        token.subscribe(lambda calls=calls: calls.append(1))
        if Caller(lambda token=token, line=line: interrupted(token.cancel, line, token.cancel)[0]).result():
            reached += 1
            assert calls == [1], f"interrupted at line {line}"
        token, calls = CancelToken(), []
        key = token.subscribe(lambda calls=calls: calls.append(1))
        unsubscribing = Caller(
            lambda token=token, line=line, key=key: interrupted(lambda: token.unsubscribe(key), line, token.cancel)[0]
        )
        if unsubscribing.result():
            assert calls in ([], [1])
    assert reached >= 3
