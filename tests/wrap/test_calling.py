"""``llmwatch.call``: the result of a function, and the moment at which its caller is free."""

from __future__ import annotations

import contextvars
import functools
import signal
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import CancelToken, Decision, Limits, LLMWatchError, ProviderError, Retry, StreamCut, WatchTimeout
from llmwatch.wrap import beat, call, on_abort
from tests.end_to_end.calls import eventually, in_thread
from tests.end_to_end.times import LIMIT, LONG, PATIENCE
from tests.wrap.conftest import Hang, Time
from tests.wrap.functions import QUICK, killed, record_of

NAME = contextvars.ContextVar("name", default="nobody")


# -- what comes out ----------------------------------------------------------


def test_a_call_returns_the_functions_value() -> None:
    """The function gets its arguments and runs in another thread."""
    seen: list[threading.Thread] = []

    def add(one: int, *, other: int) -> int:
        seen.append(threading.current_thread())
        return one + other

    assert call(add, 1, other=2) == 3
    assert seen != [threading.current_thread()]


@pytest.mark.parametrize("value", [None, [], [1, 2], "text", StopIteration, NotImplemented])
def test_a_call_returns_the_very_object(value: object) -> None:
    """The very object, whatever it is."""
    assert call(lambda: value) is value


class Strange(BaseException):
    """No ``Exception``."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("mine"),
        requests.ConnectionError("mine"),
        TimeoutError("mine"),
        StopIteration("mine"),
        GeneratorExit(),
        SystemExit(3),
        KeyboardInterrupt(),
        Strange(),
        StreamCut("an inner call's"),
        WatchTimeout("an inner call's", limit="ttfb", limit_seconds=1.0, phase="waiting", elapsed=1.0),
        ProviderError("an inner call's", status=503, retry_after=0.0),
        llmwatch.Cancelled("an inner call's", by="user"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_comes_out_as_it_is(error: BaseException) -> None:
    """The same object with the function's frames in its traceback.

    It is never raised by a second run, and what an inner call has said about it stays.
    """
    calls: list[int] = []

    def innermost() -> None:
        calls.append(1)
        raise error

    def function() -> None:
        innermost()

    with pytest.raises(type(error)) as caught:
        call(function, retry=QUICK)
    assert caught.value is error
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-2:] == ["function", "innermost"]
    assert names[0] == "test_an_exception_comes_out_as_it_is"
    assert calls == [1]
    assert error.__cause__ is None
    assert error.__context__ is None
    if isinstance(error, LLMWatchError):
        assert error.recovery is None
        assert error.record is None


def test_an_exception_keeps_its_chain() -> None:
    """Cause and context stay what the function made them."""

    def function() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    with pytest.raises(ValueError, match="second") as caught:
        call(function)
    assert type(caught.value.__cause__) is KeyError


def test_the_function_sees_the_callers_context_variables() -> None:
    """A variable that the function sets stays in the function's own context."""
    NAME.set("caller")

    def function() -> str:
        before = NAME.get()
        NAME.set("function")
        return before

    assert call(function) == "caller"
    assert NAME.get() == "caller"


def test_each_run_has_a_context_of_its_own(hang: Hang) -> None:
    """A second attempt sees the caller's context again, not what the first left."""
    seen: list[str] = []

    def look() -> None:
        seen.append(NAME.get())
        NAME.set("first attempt")

    function = hang(look, times=1)
    assert call(function, limits=Limits(ttfb=LIMIT), abort=function.abort, retry=QUICK) == "done"
    assert seen == [NAME.get()] * 2


# -- limits ------------------------------------------------------------------


def test_a_hanging_function_frees_the_caller_at_the_limit(hang: Hang) -> None:
    """On real time: not before the limit, not long after it, while the function still hangs."""
    function = hang()
    with pytest.raises(WatchTimeout) as caught:
        call(function, limits=Limits(ttfb=LIMIT))
    assert isinstance(caught.value, TimeoutError)
    assert LIMIT <= caught.value.elapsed < LONG
    assert function.started().is_alive()


@pytest.mark.parametrize("start", ["call", "environment"])
def test_the_limit_may_come_from_the_environment(
    hang: Hang, manual: Time, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    """The environment sets the limit, and an argument takes precedence."""
    monkeypatch.setenv("LLMWATCH_TTFB_TIMEOUT_SECONDS", "50" if start == "call" else "7")
    function = hang()
    limits = Limits(ttfb=7) if start == "call" else None
    running = in_thread(call, function, limits=limits)
    function.started()
    manual.advance(7)
    assert manual.live == 1
    manual.expire(0)
    with pytest.raises(WatchTimeout) as caught:
        running.result()
    assert (caught.value.limit, caught.value.limit_seconds) == ("ttfb", 7)


def test_the_default_is_ten_minutes(hang: Hang, manual: Time) -> None:
    """A function is silent until it returns, like a plain call to a hosted model.

    Its name makes no difference.
    """

    def local() -> None:
        function()

    local.__qualname__ = "localhost.local"
    function = hang()
    running = in_thread(call, local)
    function.started()
    manual.advance(600)
    assert manual.live == 1
    manual.expire(0)
    with pytest.raises(WatchTimeout) as caught:
        running.result()
    assert (caught.value.limit, caught.value.limit_seconds) == ("ttfb", 600)
    assert record_of(caught.value).profile == "hosted"


@pytest.mark.parametrize("limit", ["headers", "ttfb", "first_event", "first_content", "total", "deadline"])
def test_every_limit_on_a_silent_function(hang: Hang, manual: Time, limit: str) -> None:
    """Each ends it where it is set, with a message that names the function and the limit."""
    function = hang()

    def a_function_that_hangs() -> None:
        function()

    running = in_thread(call, a_function_that_hangs, limits=Limits(**{"ttfb": 0, limit: 9}))
    function.started()
    manual.expire(9)
    with pytest.raises(WatchTimeout) as caught:
        running.result()
    assert (caught.value.limit, caught.value.limit_seconds) == (limit, 9)
    assert "test_calling.test_every_limit_on_a_silent_function.a_function_that_hangs" in str(caught.value)
    assert limit in str(caught.value)


# -- a function in which nothing is found -------------------------------------


def test_an_unwakeable_function_is_an_orphan_and_the_error_says_so(hang: Hang) -> None:
    """The function runs once: the message, the record and ``stats()`` say that it may still be running."""
    function, before = hang(), llmwatch.stats()
    with pytest.raises(WatchTimeout) as caught:
        call(function, limits=Limits(ttfb=LIMIT), retry=QUICK)
    error = killed(caught, "ttfb", attempts=1, decision=Decision.CONFIRM, reason="function_may_run")
    assert function.calls == 1
    assert "orphan" in str(error)
    assert [one.orphaned for one in record_of(error).attempts] == [True]
    stats = llmwatch.stats()
    assert (stats["orphans"], stats["workers"]) == (before["orphans"] + 1, before["workers"] + 1)
    assert stats["unabortable"] == before["unabortable"] + 1
    function.let_go()
    eventually(lambda: llmwatch.stats()["orphans"] == before["orphans"], "the orphan is gone")


def test_resend_with_tools_allows_a_second_run(hang: Hang) -> None:
    """The setting says that running the function twice, even side by side, is harmless."""
    function = hang(times=2)
    allowed = Retry(backoff=0, resend_with_tools=True)
    assert call(function, limits=Limits(ttfb=LIMIT), retry=allowed) == "done"
    assert function.calls == 3


def test_no_function_starts_beyond_64_orphans(hang: Hang) -> None:
    """With 64 stuck functions no further one starts; once they have ended, one does."""
    function = hang()
    for _ in range(64):
        with pytest.raises(WatchTimeout):
            call(function, limits=Limits(ttfb=0.01))
    with pytest.raises(llmwatch.TooManyOrphans):
        call(function)
    assert function.calls == 64
    function.let_go()
    eventually(lambda: llmwatch.stats()["orphans"] == 0, "the orphans are gone")
    assert call(function) == "done"


def test_a_late_beat_of_an_orphan_resets_no_limit(hang: Hang, manual: Time) -> None:
    """The second attempt of the call goes by its own beats."""
    first_began, first_may_beat, beaten = threading.Event(), threading.Event(), threading.Event()
    numbers = iter(range(9))

    def signs() -> None:
        if next(numbers) == 0:
            first_began.set()
            assert first_may_beat.wait(PATIENCE)
            for _ in range(3):
                beat()
            beaten.set()

    function = hang(signs)
    running = in_thread(call, function, limits=Limits(ttfb=10, stale=30), abort=function.abort, retry=QUICK)
    assert first_began.wait(PATIENCE)
    manual.expire(10)
    second = function.started()
    late = llmwatch.stats()["late_events"]
    manual.advance(8)
    first_may_beat.set()
    assert beaten.wait(PATIENCE)
    assert llmwatch.stats()["late_events"] == late + 3
    manual.expire(2)
    while function.started() in (second, function.threads[0]):  # the second was killed in its time: this is the third
        pass
    manual.expire(10)
    with pytest.raises(WatchTimeout) as caught:
        running.result()
    killed(caught, "ttfb", attempts=3, decision=Decision.STOP, reason="attempts_exhausted")


# -- a function that is ended by a callback ----------------------------------


def test_a_function_with_an_abort_callback_is_run_again(hang: Hang) -> None:
    """The callback is called once for each kill; the second run returns."""
    function = hang(times=1)
    assert call(function, limits=Limits(ttfb=LIMIT), abort=function.abort, retry=QUICK) == "done"
    assert function.calls == 2
    eventually(lambda: function.aborts == 1, "the callback was called")


def test_a_callback_that_ends_the_function_leaves_no_orphan(hang: Hang) -> None:
    """The function comes back, so that its thread is gone and nothing is counted."""
    function, before = hang(), llmwatch.stats()
    assert call(function, limits=Limits(ttfb=LIMIT), abort=function.release, retry=QUICK) == "done"
    assert (function.calls, function.aborts) == (2, 1)
    for thread in function.threads:
        thread.join(PATIENCE)
    after = llmwatch.stats()
    assert [after[name] for name in ("orphans", "unabortable")] == [before[name] for name in ("orphans", "unabortable")]


def test_max_attempts_is_the_number_of_runs(hang: Hang) -> None:
    """Exactly so many runs; with none to spare one."""
    for most in (1, 2, 4):
        function = hang()
        with pytest.raises(WatchTimeout) as caught:
            call(
                function,
                limits=Limits(ttfb=LIMIT / 4),
                abort=function.abort,
                retry=Retry(backoff=0, max_attempts=most),
            )
        killed(caught, "ttfb", attempts=most, decision=Decision.STOP, reason="attempts_exhausted")
        assert function.calls == most
        eventually(lambda function=function, most=most: function.aborts == most, "all were called")
        function.let_go()


# -- a function that beats ---------------------------------------------------


def test_a_beating_function_lives_on_past_ttfb(hang: Hang, manual: Time) -> None:
    """From its first beat on ``stale`` counts, and each beat resets it."""
    next_beat: list[threading.Event] = [threading.Event() for _ in range(6)]
    beaten = threading.Semaphore(0)

    def function() -> str:
        for event in next_beat:
            beaten.release()
            assert event.wait(PATIENCE)
            beat()
        return "done"

    running = in_thread(call, function, limits=Limits(ttfb=10, stale=10))
    for event in next_beat:
        assert beaten.acquire(timeout=PATIENCE)
        manual.advance(9)
        event.set()
    assert running.result() == "done"


@pytest.mark.parametrize("kind", ["content", "event", "keepalive"])
def test_stale_ends_a_function_that_has_beaten(hang: Hang, manual: Time, kind: str) -> None:
    """A function that has beaten and went silent is killed by ``stale``, and is not run again."""
    function = hang(lambda: beat(kind))
    running = in_thread(call, function, limits=Limits(ttfb=10, stale=20), abort=function.release, retry=QUICK)
    function.started()
    manual.advance(19)
    assert manual.live == 1
    manual.expire(1)
    with pytest.raises(WatchTimeout) as caught:
        running.result()
    killed(caught, "stale", attempts=1, decision=Decision.CONFIRM, reason="function_has_beaten")
    assert function.calls == 1


def test_progress_counts_for_a_function_only_where_it_is_set(hang: Hang, manual: Time) -> None:
    """Beats that are no content keep ``stale`` away, not ``progress``.

    Without the setting nothing but silence ends it.
    """
    for limits, lives in ((Limits(stale=1000, progress=30), False), (Limits(stale=1000), True)):
        function = hang(beat)
        running = in_thread(call, function, limits=limits, abort=function.release)
        function.started()
        manual.advance(30)
        assert manual.live == 1
        manual.expire(0)
        if lives:
            manual.advance(900)
            assert manual.live == 1
            function.let_go()
            assert running.result() == "done"
        else:
            with pytest.raises(WatchTimeout) as caught:
                running.result()
            assert (caught.value.limit, caught.value.limit_seconds) == ("progress", 30)


def test_a_beaten_function_may_be_allowed_a_second_run(hang: Hang, manual: Time) -> None:
    """``resend_with_tools`` says that it is harmless; then silence is run again."""
    function = hang(beat, times=1)
    allowed = Retry(backoff=0, resend_with_tools=True)
    running = in_thread(call, function, limits=Limits(stale=10), abort=function.abort, retry=allowed)
    function.started()
    manual.expire(10)
    assert running.result() == "done"
    assert function.calls == 2


# -- giving up ---------------------------------------------------------------


def test_a_token_ends_a_function_at_once(hang: Hang) -> None:
    """From any thread; the callbacks are called, and nothing is run again."""
    function, token, asked = hang(lambda: on_abort(function_asked)), CancelToken(), []

    def function_asked() -> None:
        asked.append(1)

    running = in_thread(call, function, cancel=token, abort=function.abort, retry=QUICK)
    function.started()
    token.cancel()
    with pytest.raises(llmwatch.Cancelled) as caught:
        running.result()
    assert caught.value.by == "user"
    eventually(lambda: function.aborts == 1 and asked == [1], "both callbacks were called")
    assert function.calls == 1


def test_a_set_token_starts_no_function(hang: Hang) -> None:
    """The function is never called."""
    function, token = hang(), CancelToken()
    token.cancel()
    with pytest.raises(llmwatch.Cancelled):
        call(function, cancel=token)
    assert function.calls == 0


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT means KeyboardInterrupt.

    This holds also where the tests run in the background of a shell that ignores it.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill") or threading.current_thread() is not threading.main_thread(),
    reason="a signal has to reach the main thread",
)
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_a_function_at_once(hang: Hang) -> None:
    """``KeyboardInterrupt`` is raised in the caller; the function is aborted, and no attempt goes on."""
    main = threading.main_thread().ident
    assert main is not None
    function = hang()

    def press() -> None:
        function.started()
        signal.pthread_kill(main, signal.SIGINT)

    presser = in_thread(press)
    with pytest.raises(KeyboardInterrupt):
        call(function, abort=function.release, retry=QUICK)
    presser.result()
    eventually(lambda: function.aborts == 1, "the callback was called")
    assert function.calls == 1
    assert llmwatch.stats()["live_attempts"] == 0


def test_the_deadline_ends_the_wait_between_two_runs(hang: Hang, manual: Time) -> None:
    """The deadline belongs to the call: a second run that could not begin before it does not follow."""
    function = hang()
    running = in_thread(
        call,
        function,
        limits=Limits(ttfb=10, deadline=11),
        abort=function.abort,
        retry=Retry(backoff=1_000_000, max_backoff=1_000_000),  # with full jitter never by chance a short one
    )
    function.started()
    manual.expire(10)
    with pytest.raises(WatchTimeout) as caught:
        running.result()
    killed(caught, "ttfb", attempts=1, decision=Decision.STOP, reason="no_time_left")
    assert function.calls == 1


# -- mistakes ----------------------------------------------------------------


async def _coroutine() -> None: ...


async def _asynchronous() -> Any:
    yield 1


def _generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("wrong", [_coroutine, _asynchronous, _generator, functools.partial(_generator), 3, None])
def test_an_argument_mismatch_is_a_type_error_before_the_start(wrong: Any) -> None:
    """A programmer's mistake, seen before anything is started."""
    with pytest.raises(TypeError):
        call(wrong)


@pytest.mark.parametrize("wrong", [{"limits": 3}, {"retry": 3}, {"abort": 3}, {"cancel": 3}])
def test_options_of_the_wrong_type_are_an_error_before_the_start(hang: Hang, wrong: dict[str, Any]) -> None:
    """A mistake of the program is found before a worker is started."""
    function = hang()
    with pytest.raises(TypeError, match=next(iter(wrong))):
        call(function, **wrong)
    assert function.calls == 0


def test_an_argument_named_like_an_option_can_be_bound() -> None:
    """``functools.partial`` binds the argument before the call."""

    def function(*, limits: str) -> str:
        return limits

    assert call(functools.partial(function, limits="mine")) == "mine"


def test_arguments_are_neither_recorded_nor_quoted(hang: Hang) -> None:
    """Neither the record nor the message has an argument."""
    function = hang()
    with pytest.raises(WatchTimeout) as caught:
        call(function, "a question that nobody may see", limits=Limits(ttfb=LIMIT))
    said = f"{caught.value} {record_of(caught.value)}"
    assert "question" not in said


def test_the_record_of_a_function_has_its_name_and_timings(hang: Hang) -> None:
    """Entry point, name and timings are those of a function."""
    function = hang()

    def named() -> None:
        function()

    with pytest.raises(WatchTimeout) as caught:
        call(named, limits=Limits(ttfb=LIMIT), abort=function.release, retry=Retry.none())
    record = record_of(caught.value)
    assert (record.entry_point, record.method, record.outcome) == ("wrap", "CALL", "failed")
    assert (
        record.url == "function://tests.wrap.test_calling.test_the_record_of_a_function_has_its_name_and_timings.named"
    )
    (one,) = record.attempts
    assert one.timings.sent is not None
    assert one.timings.sent < LIMIT
    assert (one.close_reason, one.facts["sent"], one.facts["beaten"]) == ("ttfb_kill", "yes", False)


def test_a_function_without_limits_is_never_killed(hang: Hang, manual: Time) -> None:
    """With every limit off nothing ends it."""
    function = hang()
    running = in_thread(call, function, limits=Limits(connect=0, ttfb=0, stale=0))
    function.started()
    manual.advance(1e6 * LONG)
    assert manual.live == 1
    function.let_go()
    assert running.result() == "done"
