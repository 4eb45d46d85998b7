"""What a wrapped function reports while it runs, from any thread, and which attempts get it."""

from __future__ import annotations

import contextvars
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import llmwatch
from llmwatch import CancelToken, ConfigError, Limits, Retry, WatchTimeout
from llmwatch.wrap import beat, call, iterate, on_abort, paused
from tests.end_to_end.calls import Running, eventually, in_thread
from tests.end_to_end.times import LIMIT, PATIENCE
from tests.wrap.conftest import Hang, Time
from tests.wrap.functions import QUICK

AGES = 1_000_000.0
"""Seconds; longer than every limit here."""


class Orders:
    """A function that does, in its own thread, what a test tells it to do."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[object, BaseException | None]] = queue.SimpleQueue()

    def __call__(self) -> str:
        self._done.put((None, None))
        while (order := self._orders.get()) is not None:
            try:
                self._done.put((order(), None))
            except BaseException as error:
                self._done.put((None, error))
        return "done"

    def there(self) -> Orders:
        """Return once it was called."""
        self._done.get(timeout=PATIENCE)
        return self

    def do(self, order: Callable[[], object]) -> Any:
        self._orders.put(order)
        value, error = self._done.get(timeout=PATIENCE)
        if error is not None:
            raise error
        return value

    def end(self) -> None:
        self._orders.put(None)


def begin(orders: Orders, **options: Any) -> Running:
    running = in_thread(call, orders, **options)
    orders.there()
    return running


def dead(running: Running) -> WatchTimeout:
    with pytest.raises(WatchTimeout) as caught:
        running.result()
    return caught.value


# -- beats -------------------------------------------------------------------


def test_beat_pause_and_on_abort_do_nothing_outside_a_function() -> None:
    """Outside of a wrapped function all three do nothing."""
    beat()
    beat("keepalive")
    on_abort(lambda: None)
    with paused(), paused():
        pass


@pytest.mark.parametrize("kind", ["bytes", "", None, 3, ["content"]])
def test_an_unknown_kind_of_beat_is_a_config_error(kind: Any) -> None:
    """The error lists the kinds, inside a function as well as outside."""
    with pytest.raises(ConfigError, match="'content', 'event', 'keepalive'"):
        beat(kind)
    with pytest.raises(ConfigError) as caught:
        call(beat, kind)
    assert caught.value.field == "kind"


@pytest.mark.parametrize(
    ("kind", "limit"), [("keepalive", "first_event"), ("event", "first_content"), ("content", "stale")]
)
def test_each_kind_of_beat_ends_its_limits(manual: Time, kind: str, limit: str) -> None:
    """A beat ends the first-something limits that it answers, and no other."""
    function = Orders()
    limits = Limits(ttfb=10, first_event=20, first_content=30, stale=40, progress=50)
    running = begin(function, limits=limits, retry=Retry.none())
    function.do(lambda: beat(kind))
    manual.expire({"first_event": 20, "first_content": 30, "stale": 40}[limit])
    assert dead(running).limit == limit
    function.end()


def test_a_thread_with_the_context_beats_for_the_function(manual: Time) -> None:
    """A thread that was started with a copy of the context counts."""
    function = Orders()
    running = begin(function, limits=Limits(ttfb=10, stale=10))

    def in_a_copy() -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(beat,))
        thread.start()
        thread.join()

    for _ in range(3):
        manual.advance(9)
        function.do(in_a_copy)
    function.end()
    assert running.result() == "done"


def test_a_beat_in_a_thread_pool_counts_only_with_the_context(manual: Time) -> None:
    """A beat in a pool's thread counts as outside, unless the work is submitted with the context."""
    function = Orders()
    running = begin(function, limits=Limits(ttfb=10, stale=10))
    with ThreadPoolExecutor(1) as pool:
        manual.advance(9)
        function.do(lambda: pool.submit(contextvars.copy_context().run, beat).result())
        manual.advance(9)
        function.do(lambda: pool.submit(beat).result())
        manual.expire(1)
        assert dead(running).limit == "stale"
    function.end()


def test_an_inner_beat_resets_the_limits_of_enclosing_functions(manual: Time) -> None:
    """An inner call's beats are signs of life of the outer ones; so are the items of an inner iterator."""
    innermost, result = Orders(), []

    def inner() -> Any:
        return call(innermost, limits=Limits(ttfb=10, stale=10))

    def outer() -> None:
        result.append(call(inner, limits=Limits(ttfb=10, stale=10)))

    running = in_thread(call, outer, limits=Limits(ttfb=10, stale=10))
    innermost.there()
    for _ in range(3):
        manual.advance(9)
        innermost.do(beat)
    for _ in range(3):
        manual.advance(9)
        innermost.do(lambda: list(iterate(lambda: [1])))
    assert manual.live == 3
    innermost.end()
    running.result()
    assert result == ["done"]


def test_an_outer_function_keeps_its_own_limits(manual: Time) -> None:
    """The inner function's longer limits do not lengthen the outer one's, and it ends with the outer one."""
    inner = Orders()
    running = in_thread(call, lambda: call(inner, limits=Limits(ttfb=1000)), limits=Limits(ttfb=10), retry=Retry.none())
    inner.there()
    manual.expire(10)
    assert dead(running).limit_seconds == 10
    eventually(lambda: manual.live == 0, "the inner one is over too")
    inner.end()


# -- callbacks ---------------------------------------------------------------


def test_callbacks_are_called_once_each_on_a_kill(manual: Time) -> None:
    """Each callback runs in a daemon thread of its own, with the function's context variables.

    None waits for another.
    """
    function, called, free = Orders(), queue.SimpleQueue[str](), threading.Event()
    name = contextvars.ContextVar("name", default="nobody")

    def blocking() -> None:
        called.put(f"{name.get()} {threading.current_thread().daemon}")
        assert free.wait(PATIENCE)

    def register() -> None:
        name.set("function")
        for _ in range(3):
            on_abort(blocking)

    running = begin(function, limits=Limits(ttfb=10), retry=Retry.none())
    function.do(register)
    manual.expire(10)
    dead(running)
    assert [called.get(timeout=PATIENCE) for _ in range(3)] == ["function True"] * 3
    manual.expire(10)
    assert called.empty()
    free.set()
    function.end()
    eventually(lambda: not _aborting(), "the threads are gone")


def _aborting() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "llmwatch-abort"]


def test_a_callback_makes_a_second_run_possible(manual: Time) -> None:
    """Something was there to end the function with, and it gave no sign: it is run again."""
    functions = [Orders(), Orders()]
    made = iter(functions)
    running = in_thread(call, lambda: next(made)(), limits=Limits(ttfb=10), retry=QUICK)
    functions[0].there().do(lambda: on_abort(functions[0].end))
    manual.expire(10)
    functions[1].there().end()
    assert running.result() == "done"


def test_a_callback_that_raises_is_logged(manual: Time, caplog: pytest.LogCaptureFixture) -> None:
    """The exception goes no further, and its secrets are not logged."""

    def broken() -> None:
        raise RuntimeError("password=hunter2hunter2")

    function = Orders()
    running = begin(function, limits=Limits(ttfb=10), retry=Retry.none(), abort=broken)
    function.do(lambda: on_abort(function.end))
    with caplog.at_level(logging.ERROR, "llmwatch"):
        manual.expire(10)
        dead(running)
        eventually(lambda: "RuntimeError" in caplog.text, "the error is logged")
    assert "hunter2" not in caplog.text


def test_a_function_that_has_returned_has_no_callbacks(hang: Hang) -> None:
    """Neither a return nor an exception calls them, and later ends do not reach them."""
    called: list[int] = []
    token = CancelToken()

    def function() -> None:
        on_abort(lambda: called.append(1))

    def broken() -> None:
        function()
        raise ValueError

    call(function, cancel=token, abort=lambda: called.append(2))
    with pytest.raises(ValueError):  # noqa: PT011
        call(broken, cancel=token, abort=lambda: called.append(3))
    token.cancel()
    assert called == []
    assert not _aborting()


def test_a_callback_registered_by_an_orphan_is_called_at_once(manual: Time) -> None:
    """A callback that an orphan registers after the kill is called as well.

    After a return no callback is called.
    """
    function, called = Orders(), threading.Event()
    running = begin(function, limits=Limits(ttfb=10), retry=Retry.none())
    manual.expire(10)
    dead(running)
    function.do(lambda: on_abort(called.set))
    assert called.wait(PATIENCE)
    function.end()
    eventually(lambda: not _aborting(), "the thread is gone")


def test_a_callback_registered_after_the_return_is_ignored() -> None:
    """A thread that outlives the function registers nothing."""
    contexts: list[contextvars.Context] = []
    call(lambda: contexts.append(contextvars.copy_context()))
    called: list[int] = []
    contexts[0].run(on_abort, lambda: called.append(1))
    contexts[0].run(beat)
    assert called == []


@pytest.mark.parametrize("wrong", [None, 3])
def test_a_callback_that_is_not_callable_is_a_type_error(wrong: Any) -> None:
    """The error is raised inside a function as well as outside."""
    with pytest.raises(TypeError):
        on_abort(wrong)
    with pytest.raises(TypeError):
        call(on_abort, wrong)


# -- pauses ------------------------------------------------------------------


def test_a_pause_holds_the_limits_of_all_enclosing_functions(manual: Time) -> None:
    """After a pause of any length each limit has its remaining seconds."""
    innermost = Orders()
    running = in_thread(
        call,
        lambda: call(innermost, limits=Limits(ttfb=20)),
        limits=Limits(ttfb=10, total=15),
        retry=Retry.none(),
    )
    innermost.there()
    manual.advance(9)
    pause = innermost.do(paused)
    innermost.do(pause.__enter__)
    manual.advance(AGES)
    assert manual.live == 2
    innermost.do(lambda: pause.__exit__(None, None, None))
    manual.advance(1)
    assert manual.live == 2
    manual.expire(0)
    assert dead(running).limit_seconds == 10
    innermost.end()


def test_the_deadline_runs_in_a_pause(manual: Time) -> None:
    """A pause holds the limits for a person, and not the deadline of the call."""
    function = Orders()
    running = begin(function, limits=Limits(ttfb=10, deadline=100), retry=Retry.none())
    pause = paused()
    function.do(pause.__enter__)
    manual.advance(100)
    assert manual.live == 1
    manual.expire(0)
    assert dead(running).limit == "deadline"
    function.do(lambda: pause.__exit__(None, None, None))
    function.end()


def test_nested_pauses_are_counted(manual: Time) -> None:
    """Blocks inside blocks, of one object or of several, are counted.

    An exception leaves a block as usual.
    """
    function = Orders()
    running = begin(function, limits=Limits(ttfb=10), retry=Retry.none())

    def nested() -> None:
        same = paused()
        with same, paused(), same:
            manual.advance(AGES)
            with pytest.raises(ValueError), paused():  # noqa: PT011
                raise ValueError
            manual.advance(AGES)

    function.do(nested)
    manual.advance(10)
    assert manual.live == 1
    manual.expire(0)
    dead(running)
    function.end()


def test_a_beat_in_a_pause_does_not_end_it(manual: Time) -> None:
    """The limits stand until the block ends."""
    function = Orders()
    running = begin(function, limits=Limits(ttfb=10, stale=10), retry=Retry.none())

    def pause_and_beat() -> None:
        with paused():
            for kind in ("content", "event", "keepalive"):
                beat(kind)
                manual.advance(AGES)

    function.do(pause_and_beat)
    assert manual.live == 1
    manual.expire(10)
    assert dead(running).limit == "stale"
    function.end()


def test_an_item_in_a_pause_does_not_end_it(manual: Time) -> None:
    """A generator may hand over an item within the block."""
    stepped, step = queue.SimpleQueue[str](), queue.SimpleQueue[None]()

    def generator() -> Any:
        with paused():
            yield "asked"
            stepped.put("in the pause")
            step.get(timeout=PATIENCE)
        stepped.put("after it")
        step.get(timeout=PATIENCE)
        yield "answered"

    items = iterate(generator, limits=Limits(ttfb=10, stale=10, progress=10))
    assert next(items) == "asked"
    assert stepped.get(timeout=PATIENCE) == "in the pause"
    manual.advance(AGES)
    assert manual.live == 1
    step.put(None)
    assert stepped.get(timeout=PATIENCE) == "after it"
    manual.advance(10)
    assert manual.live == 1
    manual.expire(0)
    with pytest.raises(WatchTimeout):
        next(items)
    step.put(None)


def test_a_cancellation_ends_a_call_in_a_pause() -> None:
    """Giving up ends a call whose limits stand."""
    function, token = Orders(), CancelToken()
    running = begin(function, cancel=token)
    pause = paused()
    function.do(pause.__enter__)
    token.cancel()
    with pytest.raises(llmwatch.Cancelled):
        running.result()
    function.do(lambda: pause.__exit__(None, None, None))
    function.end()


def test_a_thread_with_the_context_can_pause_the_function(manual: Time) -> None:
    """Another thread of the function can hold its limits, and those around it."""
    function = Orders()
    running = in_thread(
        call, lambda: call(function, limits=Limits(ttfb=10)), limits=Limits(ttfb=10), retry=Retry.none()
    )
    function.there()

    def elsewhere() -> None:
        context = contextvars.copy_context()
        pause = paused()
        for step in (pause.__enter__, lambda: manual.advance(AGES), lambda: pause.__exit__(None, None, None)):
            thread = threading.Thread(target=context.run, args=(step,))
            thread.start()
            thread.join()

    function.do(elsewhere)
    assert manual.live == 2
    manual.expire(10)
    dead(running)
    function.end()


def test_pauses_and_beats_under_load() -> None:
    """Many threads pause and beat at once, on real time.

    The function lives on, and dies when all have ended.
    """
    function, threads = Orders(), 8
    running = begin(function, limits=Limits(ttfb=LIMIT, stale=LIMIT), retry=Retry.none())

    def storm() -> None:
        def one() -> None:
            for _ in range(300):
                with paused():
                    beat()
                beat("keepalive")

        context = [contextvars.copy_context() for _ in range(threads)]
        crowd = [threading.Thread(target=each.run, args=(one,)) for each in context]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()

    function.do(storm)
    assert dead(running).limit == "stale"
    function.end()
