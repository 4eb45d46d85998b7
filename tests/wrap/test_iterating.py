"""``llmwatch.iterate``: items in order, each once, and an iterator that is closed where it ran."""

from __future__ import annotations

import contextlib
import gc
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llmwatch
from llmwatch import CancelToken, Decision, Limits, Retry, WatchTimeout
from llmwatch.wrap import beat, iterate, on_abort
from tests.end_to_end.calls import eventually, in_thread
from tests.end_to_end.times import LIMIT, LONG, PATIENCE
from tests.wrap.conftest import Hang, Time
from tests.wrap.functions import QUICK, killed, record_of


class Source:
    """An iterator that yields what it is given; ``None`` ends it, an exception is raised by it."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._asked: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()
        self.made = 0
        self.closed: list[threading.Thread] = []

    def __call__(self) -> Iterator[Any]:
        self.made += 1
        return self

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self._asked.put(threading.current_thread())
        item = self._items.get()
        if item is None:
            raise StopIteration
        if isinstance(item, BaseException):
            raise item
        return item

    def give(self, *items: object) -> None:
        for item in items:
            self._items.put(item)

    def asked(self) -> threading.Thread:
        """Return once it was asked for an item; by which thread."""
        return self._asked.get(timeout=PATIENCE)

    def close(self) -> None:
        self.closed.append(threading.current_thread())


# -- what comes out ----------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3, 5000])
def test_items_arrive_in_order(count: int) -> None:
    """Every item of a generator, once, in its order."""
    assert list(iterate(lambda: (number for number in range(count)))) == list(range(count))


@contextlib.contextmanager
def _managed() -> Iterator[list[int]]:
    yield [1, 2, 3]


@pytest.mark.parametrize(
    "make",
    [lambda: [1, 2, 3], lambda: iter([1, 2, 3]), lambda: {1: 0, 2: 0, 3: 0}, lambda: map(int, "123"), _managed],
    ids=["iterable", "iterator", "mapping", "map", "manager"],
)
def test_an_iterable_iterator_or_context_manager_is_iterated(make: Callable[[], Any]) -> None:
    """An iterable, an iterator, a context manager that yields one."""
    assert list(iterate(make)) == [1, 2, 3]


def test_a_watched_iterator_supports_next_for_and_with() -> None:
    """``next``, ``for`` and ``with``; nothing is called before the first of them."""
    source = Source()
    source.give(*"abc", None)
    items = iterate(source)
    assert source.made == 0
    with items as entered:
        assert entered is items
        assert source.made == 1
        assert iter(items) is items
        assert next(items) == "a"
        assert list(items) == ["b", "c"]
        assert next(items, "the end") == "the end"
    assert items.record is not None
    assert items.record.outcome == "done"
    assert (items.record.entry_point, items.record.method) == ("wrap", "ITERATE")
    assert [one.events for one in items.record.attempts] == [{"item": 3}]
    assert list(items) == []


def test_the_manager_is_entered_and_left_in_the_worker() -> None:
    """All of it runs in one thread, which is not the caller's."""
    threads: list[threading.Thread] = []

    @contextlib.contextmanager
    def manager() -> Iterator[Iterator[int]]:
        threads.append(threading.current_thread())
        yield generator()
        threads.append(threading.current_thread())

    def generator() -> Iterator[int]:
        try:
            threads.append(threading.current_thread())
            yield 1
        finally:
            threads.append(threading.current_thread())

    assert list(iterate(manager)) == [1]
    assert len(threads) == 4
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()


@pytest.mark.parametrize("where", ["make", "enter", "iter", "next", "exit"])
def test_an_exception_comes_out_after_the_items_before_it(where: str) -> None:
    """The same object, wherever it was raised, once."""
    error = LookupError(where)

    class Made:
        def __enter__(self) -> Any:
            if where == "enter":
                raise error
            return self

        def __exit__(self, *details: object) -> None:
            if where == "exit":
                raise error

        def __iter__(self) -> Iterator[int]:
            if where == "iter":
                raise error
            return self.items()

        def items(self) -> Iterator[int]:
            yield 1
            if where == "next":
                raise error
            yield 2

    calls: list[int] = []

    def make() -> Any:
        calls.append(1)
        if where == "make":
            raise error
        return Made()

    items, seen = iterate(make, retry=QUICK), []
    with pytest.raises(LookupError) as caught:
        for item in items:
            seen.append(item)
    assert caught.value is error
    assert seen == {"next": [1], "exit": [1, 2]}.get(where, [])
    assert calls == [1]
    assert next(items, "the end") == "the end"


@pytest.mark.parametrize(
    "error",
    [llmwatch.ProviderError("inner", status=503), llmwatch.StreamCut("inner"), KeyboardInterrupt(), SystemExit(1)],
    ids=lambda error: type(error).__name__,
)
def test_llmwatch_errors_and_base_exceptions_come_out_as_they_are(error: BaseException) -> None:
    """An inner call's error and an exception that ends programs are raised unchanged."""
    source = Source()
    source.give("a", error)
    items = iterate(source, retry=QUICK)
    assert next(items) == "a"
    with pytest.raises(type(error)) as caught:
        next(items)
    assert caught.value is error
    assert source.made == 1


def test_a_manager_may_swallow_an_exception() -> None:
    """As in a ``with`` statement: the iteration is over."""

    @contextlib.contextmanager
    def manager() -> Iterator[Iterator[int]]:
        with contextlib.suppress(LookupError):
            yield generator()

    def generator() -> Iterator[int]:
        yield 1
        raise LookupError

    assert list(iterate(manager)) == [1]


def test_a_stop_iteration_of_the_function_is_a_runtime_error() -> None:
    """``StopIteration`` would look like the end, so it is a ``RuntimeError``, as for generators."""

    def make() -> Any:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(iterate(make))


# -- limits ------------------------------------------------------------------


def test_items_reset_the_limits(manual: Time) -> None:
    """The iteration lives for as long as items come within the limit, and not longer."""
    source = Source()
    items = iterate(source, limits=Limits(ttfb=10, stale=10, progress=10), abort=lambda: source.give(None))
    with items:
        for number in range(1, 5):
            source.asked()
            manual.advance(9)
            source.give(number)
            assert next(items) == number
        source.asked()
        manual.expire(10)
        with pytest.raises(WatchTimeout) as caught:
            next(items)
    assert caught.value.limit in ("stale", "progress")


@pytest.mark.parametrize(
    ("limits", "limit", "seconds"),
    [
        ({}, "ttfb", 120),
        ({"ttfb": 0}, "first_content", 300),
        ({"ttfb": 0, "first_event": 7}, "first_event", 7),
        ({"ttfb": 3}, "ttfb", 3),
    ],
)
def test_an_iterators_default_limits_are_those_of_a_stream(
    manual: Time, limits: dict[str, float], limit: str, seconds: float
) -> None:
    """The defaults are those of a hosted model's stream."""
    source = Source()
    items = iterate(source, limits=Limits(**limits), retry=Retry.none())
    with items:
        source.asked()
        manual.advance(seconds)
        assert manual.live == 1
        manual.expire(0)
        with pytest.raises(WatchTimeout) as caught:
            next(items)
        assert (caught.value.limit, caught.value.limit_seconds) == (limit, seconds)
        source.give(None)


def test_a_slow_caller_is_never_killed(manual: Time) -> None:
    """While 64 items wait for the caller, the limits are held and no more items are made."""
    source = Source()
    source.give(*range(200), None)
    items = iterate(source, limits=Limits(ttfb=10, stale=10, progress=10, total=10))
    with items:
        for _ in range(64):
            source.asked()
        assert source._items.qsize() == 200 + 1 - 64
        manual.advance(1e6)
        assert manual.live == 1
        assert [next(items)] == [0]
        source.asked()
        manual.advance(1e6)
        assert list(items) == list(range(1, 200))


def test_items_before_a_kill_are_delivered_first(manual: Time) -> None:
    """The error follows; the iterator is not made anew, whatever is allowed."""
    source = Source()
    everything = Retry(backoff=0, resend_with_tools=True, slow_but_alive=True)
    items = iterate(source, limits=Limits(stale=10), abort=lambda: source.give(None), retry=everything)
    with items:
        source.give(*"abc")
        for _ in range(4):
            source.asked()
        manual.expire(10)
        assert manual.live == 0
        assert [next(items) for _ in range(3)] == ["a", "b", "c"]
        with pytest.raises(WatchTimeout) as caught:
            next(items)
    killed(caught, "stale", attempts=1, decision=Decision.CONFIRM, reason="function_has_beaten")
    assert source.made == 1


def test_an_iterator_is_made_anew_before_its_first_item(manual: Time) -> None:
    """A kill before any item was delivered is recovered from."""
    sources = [Source(), Source()]
    made = iter(sources)
    items = iterate(lambda: next(made), limits=Limits(ttfb=10), abort=lambda: sources[0].give(None), retry=QUICK)
    running = in_thread(list, items)
    sources[0].asked()
    manual.expire(10)
    sources[1].asked()
    sources[1].give("a", None)
    assert running.result() == ["a"]
    assert items.record is not None
    assert (items.record.outcome, len(items.record.attempts)) == ("recovered", 2)


def test_an_iterator_is_not_made_anew_after_a_beat(manual: Time) -> None:
    """A beat shows that it has done something before its first item."""
    source = Source()

    def make() -> Any:
        beat("event")
        return source

    items = iterate(make, limits=Limits(stale=10), abort=lambda: source.give(None), retry=QUICK)
    with items:
        source.asked()
        manual.expire(10)
        with pytest.raises(WatchTimeout) as caught:
            next(items)
    killed(caught, "stale", attempts=1, decision=Decision.CONFIRM, reason="function_has_beaten")


def test_an_unwakeable_iterator_is_not_made_anew(hang: Hang) -> None:
    """The iterator's effect is unknown, and it may still run."""
    function = hang()
    with pytest.raises(WatchTimeout) as caught:
        next(iterate(function, limits=Limits(ttfb=LIMIT), retry=QUICK))
    error = killed(caught, "ttfb", attempts=1, decision=Decision.CONFIRM, reason="function_may_run")
    assert record_of(error).attempts[0].orphaned


def test_a_generator_may_register_its_own_callback(manual: Time) -> None:
    """A generator may say itself how it is ended."""
    free = threading.Event()

    def generator() -> Iterator[int]:
        on_abort(free.set)
        yield 1
        assert free.wait(PATIENCE)

    items = iterate(generator, limits=Limits(stale=10))
    assert next(items) == 1
    eventually(lambda: manual.attempts()[0].counting().limit == "stale", "silence counts")
    manual.expire(10)
    with pytest.raises(WatchTimeout):
        next(items)
    assert free.wait(PATIENCE)


# -- the end -----------------------------------------------------------------


@pytest.mark.parametrize("end", ["leave", "close", "drop", "cancel"])
@pytest.mark.parametrize("taken", [0, 1])
def test_every_way_to_cancel_closes_the_iterator(end: str, taken: int) -> None:
    """The callbacks are called, and the iterator is closed in its own thread."""
    source, aborted = Source(), threading.Event()

    def abort() -> None:
        source.give(None)
        aborted.set()

    items = iterate(source, abort=abort, limits=Limits(ttfb=LONG))
    items.__enter__()
    worker = source.asked()
    if taken:
        source.give("a")
        assert next(items) == "a"
        source.asked()
    if end == "leave":
        items.__exit__(None, None, None)
    elif end == "close":
        items.close()
    elif end == "cancel":
        items.cancel()
        with pytest.raises(llmwatch.Cancelled):
            next(items)
    else:
        del items
        gc.collect()
    assert aborted.wait(PATIENCE)
    worker.join(PATIENCE)
    assert source.closed == [worker]


def test_a_generator_is_closed_where_it_ran() -> None:
    """Its ``finally`` runs in the worker, when the block is left in the middle."""
    closed: list[threading.Thread] = []

    def generator() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.append(threading.current_thread())

    with iterate(generator) as items:
        assert next(items) == 0
    eventually(lambda: closed, "the generator was closed")
    assert closed[0].name == "llmwatch-worker"


def test_a_cancellation_discards_waiting_items() -> None:
    """Items that came before it go with the rest."""
    source = Source()
    source.give(*"abc")
    items = iterate(source, abort=lambda: source.give(None))
    assert next(items) == "a"
    for _ in range(4):
        source.asked()
    items.cancel()
    with pytest.raises(llmwatch.Cancelled):
        next(items)
    assert next(items, "the end") == "the end"


def test_an_iterator_cancelled_before_its_start_makes_nothing() -> None:
    """``make_iterator`` is not called."""
    source, token = Source(), CancelToken()
    token.cancel()
    early = iterate(source)
    early.cancel()
    for items in (early, iterate(source, cancel=token)):
        with pytest.raises(llmwatch.Cancelled):
            next(items)
    assert source.made == 0


def test_a_token_ends_a_waiting_iteration() -> None:
    """From another thread, while the caller waits."""
    source, token = Source(), CancelToken()
    items = iterate(source, cancel=token, abort=lambda: source.give(None))
    running = in_thread(list, items)
    source.asked()
    token.cancel()
    with pytest.raises(llmwatch.Cancelled):
        running.result()


def test_closing_after_the_end_changes_nothing() -> None:
    """The record stays that of a call that went well."""
    items = iterate(lambda: [1])
    assert list(items) == [1]
    record = items.record
    items.close()
    items.cancel()
    assert items.record is record


def test_an_iterator_that_never_started_may_be_closed_or_dropped() -> None:
    """The iterator may be closed, dropped, and left."""
    source = Source()
    items = iterate(source)
    assert items.record is None
    items.close()
    assert list(items) == []
    with iterate(source) as entered:
        pass
    source.give(None)
    assert list(entered) == []
    del items, entered


# -- mistakes ----------------------------------------------------------------


@pytest.mark.parametrize("wrong", [[1, 2], iter([1]), None, (number for number in range(3))])
def test_an_iterator_in_place_of_a_function_is_a_type_error(wrong: Any) -> None:
    """An iterator could not be made anew for a second attempt."""
    with pytest.raises(TypeError, match="anew"):
        iterate(wrong)


def test_a_value_that_is_not_iterable_raises_type_error() -> None:
    """The TypeError of ``iter``."""
    with pytest.raises(TypeError, match="not iterable"):
        list(iterate(lambda: 3))  # type: ignore[arg-type, return-value]


def test_hundreds_of_short_iterators_leave_no_worker() -> None:
    """After iterators that are read, closed and dropped, every worker is gone and no thread is stuck."""
    before = llmwatch.stats()
    for number in range(300):
        items = iterate(lambda: iter(range(1000)))
        assert next(items) == 0
        if number % 3 == 0:
            assert sum(items) == 999 * 500
        elif number % 3 == 1:
            items.close()
        del items
    eventually(lambda: llmwatch.stats()["workers"] == before["workers"], "every worker is gone")
    assert llmwatch.stats()["orphans"] == before["orphans"]
