"""Wrapped calls inside wrapped calls: what a kill of the outer one means, and what is known of it."""

from __future__ import annotations

import threading

import pytest

import llmwatch
from llmwatch import Decision, Limits, Retry, WatchTimeout
from llmwatch.wrap import call, iterate, on_abort
from tests.end_to_end.calls import eventually, in_thread
from tests.end_to_end.times import LIMIT, LONG
from tests.wrap.conftest import Hang, Serve, Time
from tests.wrap.functions import QUICK, killed

SHORT = Limits(ttfb=LIMIT)


def test_an_unwakeable_inner_function_forbids_a_second_run(hang: Hang) -> None:
    """The inner function's effect is unknown, so neither function is run again."""
    inner = hang()
    with pytest.raises(WatchTimeout) as caught:
        call(lambda: call(inner, limits=Limits(ttfb=LONG)), limits=SHORT, retry=QUICK)
    killed(caught, "ttfb", attempts=1, decision=Decision.CONFIRM, reason="function_may_run")
    assert inner.calls == 1


def test_an_inner_callback_is_called_when_the_outer_function_is_killed(hang: Hang) -> None:
    """The outer function is run again."""
    inner = hang(times=1)
    value = call(lambda: call(inner, limits=Limits(ttfb=LONG), abort=inner.abort), limits=SHORT, retry=QUICK)
    assert value == "done"
    assert inner.calls == 2
    eventually(lambda: inner.aborts == 1, "the callback was called")


def test_the_socket_of_an_inner_call_is_found_by_the_outer_kill(serve: Serve) -> None:
    """The socket of a call inside a call is found from outside."""
    import requests

    server = serve("silent")
    with pytest.raises(WatchTimeout) as caught:
        call(
            lambda: call(requests.get, server.url, limits=Limits(ttfb=LONG)),
            limits=SHORT,
            retry=Retry(backoff=0, max_attempts=2),
        )
    killed(caught, "ttfb", attempts=2, decision=Decision.STOP, reason="attempts_exhausted")
    assert len(server.requests) == 2
    server.wait_for_closed(2)
    eventually(lambda: llmwatch.stats()["workers"] == 0, "every thread is gone")


def test_an_inner_time_out_is_raised_in_the_outer_function(hang: Hang, manual: Time) -> None:
    """The time-out of an inner call is raised inside the outer function, which may handle it, or not."""
    inner, seen = hang(), []

    def handles() -> str:
        try:
            call(inner, limits=Limits(ttfb=5), retry=Retry.none())
        except WatchTimeout as error:
            seen.append(error)
        return "handled"

    def passes() -> None:
        call(inner, limits=Limits(ttfb=5), retry=Retry.none())

    running = in_thread(call, handles, limits=Limits(ttfb=100), retry=QUICK)
    inner.started()
    manual.expire(5)
    assert running.result() == "handled"
    running = in_thread(call, passes, limits=Limits(ttfb=100), retry=QUICK)
    inner.started()
    manual.expire(5)
    with pytest.raises(WatchTimeout) as caught:
        running.result()
    assert caught.value.limit_seconds == 5
    assert caught.value.recovery is not None
    assert caught.value.recovery.reason == "function_may_run"
    assert [type(error) for error in seen] == [WatchTimeout]
    assert inner.calls == 2


def test_an_inner_iterator_ends_with_the_outer_function(manual: Time) -> None:
    """The inner iterator is cancelled, and closed in its own thread."""
    began, free, closed = threading.Event(), threading.Event(), threading.Event()

    def items() -> object:
        on_abort(free.set)
        try:
            began.set()
            free.wait(LONG)
            yield 1
        finally:
            closed.set()

    running = in_thread(
        call, lambda: list(iterate(items, limits=Limits(ttfb=0))), limits=Limits(ttfb=10), retry=Retry.none()
    )
    assert began.wait(LONG)
    manual.expire(10)
    with pytest.raises(WatchTimeout):
        running.result()
    assert closed.wait(LONG)


def test_twenty_nested_functions_are_each_watched() -> None:
    """Twenty functions inside each other, each watched."""

    def down(depth: int) -> int:
        return 0 if depth == 0 else 1 + call(down, depth - 1)

    assert call(down, 20) == 20


def test_a_cancellation_ends_the_innermost_call(hang: Hang) -> None:
    """A token on the outermost call ends the innermost."""
    inner, token = hang(), llmwatch.CancelToken()
    running = in_thread(call, lambda: call(lambda: call(inner, abort=inner.release)), cancel=token)
    inner.started()
    token.cancel()
    with pytest.raises(llmwatch.Cancelled):
        running.result()
    eventually(lambda: inner.aborts == 1, "the innermost was told")
    eventually(lambda: llmwatch.stats()["workers"] == 0, "every thread is gone")
