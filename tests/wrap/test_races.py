"""Ends that meet: returns, beats, items and callbacks at the moment of a kill.

They meet many times and on real time.
"""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Iterator

import pytest

import llmwatch
from llmwatch import Decision, Limits, Retry, WatchTimeout
from llmwatch.wrap import beat, call, iterate, on_abort, paused
from tests.conftest import SCALE
from tests.end_to_end.calls import eventually, in_thread
from tests.end_to_end.times import LIMIT, LONG
from tests.wrap.conftest import Hang

ROUNDS = 40
MOMENT = 0.01 * SCALE
"""Seconds of a limit that ends come near to."""


def _quiet() -> None:
    eventually(lambda: llmwatch.stats()["workers"] == 0, "every worker is gone", LONG)
    counts = llmwatch.stats()
    assert (counts["live_attempts"], counts["orphans"]) == (0, 0)


@pytest.fixture
def load() -> Iterator[None]:
    """Other threads that want the interpreter too."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            sum(range(1000))

    crowd = [threading.Thread(target=work, name="test-load") for _ in range(3)]
    for thread in crowd:
        thread.start()
    yield
    over.set()
    for thread in crowd:
        thread.join()


@pytest.mark.usefixtures("load")
def test_a_return_that_races_a_kill_gives_value_or_time_out() -> None:
    """Never both and never neither; the callback is called only with the time-out."""
    chance, outcomes = random.Random(3), {"value": 0, "killed": 0}
    for _ in range(ROUNDS):
        called = threading.Event()
        wait = MOMENT * chance.uniform(0.6, 1.4)

        def function(wait: float = wait) -> str:
            threading.Event().wait(wait)
            return "value"

        try:
            value = call(function, limits=Limits(ttfb=MOMENT), abort=called.set, retry=Retry.none())
        except WatchTimeout:
            outcomes["killed"] += 1
            # Unless the function had come back in between, which no thread can know.
            called.wait(MOMENT)
        else:
            assert value == "value"
            outcomes["value"] += 1
            assert not called.is_set()
    assert sum(outcomes.values()) == ROUNDS
    _quiet()


@pytest.mark.usefixtures("load")
def test_items_that_race_a_kill_come_in_order_without_gap() -> None:
    """The delivered items are the first made items, in order, and then an end or a time-out."""
    chance = random.Random(5)
    for _ in range(ROUNDS):
        pauses = [MOMENT * chance.choice((0, 0, 0, 0.5, 0.95, 1.5)) for _ in range(12)]

        def items(pauses: list[float] = pauses) -> Iterator[int]:
            on_abort(lambda: None)
            for number, wait in enumerate(pauses):
                threading.Event().wait(wait)
                yield number

        seen: list[int] = []
        made = iterate(items, limits=Limits(ttfb=MOMENT, stale=MOMENT, progress=MOMENT), retry=Retry.none())
        error = None
        try:
            for item in made:
                seen.append(item)
        except WatchTimeout as killed:
            error = killed
        assert seen == list(range(len(seen) if error else 12))
        if error is not None and seen:
            assert error.recovery is not None
            assert error.recovery.decision is Decision.CONFIRM
    _quiet()


@pytest.mark.usefixtures("load")
def test_threads_that_do_everything_at_once_all_end() -> None:
    """Threads that call, iterate, nest, beat, pause, give up and drop: all end, and nothing is left."""

    def one(seed: int) -> None:
        chance = random.Random(seed)

        def function() -> int:
            on_abort(lambda: None)
            for _ in range(chance.randrange(5)):
                beat(chance.choice(("content", "event", "keepalive")))
                with paused():
                    threading.Event().wait(MOMENT * chance.random())
            return call(lambda: 1) if chance.random() < 0.5 else sum(iterate(lambda: [1]))

        for _ in range(15):
            token = llmwatch.CancelToken()
            if chance.random() < 0.3:
                threading.Timer(MOMENT * chance.random(), token.cancel).start()
            try:
                if chance.random() < 0.5:
                    assert call(function, limits=Limits(ttfb=MOMENT, stale=MOMENT), cancel=token) == 1
                else:
                    items = iterate(lambda: (function() for _ in range(5)), limits=Limits(stale=MOMENT), cancel=token)
                    for item in items:
                        assert item == 1
                        if chance.random() < 0.2:
                            break
                    del items
            except (WatchTimeout, llmwatch.Cancelled):
                pass

    for running in [in_thread(one, seed) for seed in range(12)]:
        running.result(LONG)
    gc.collect()
    _quiet()


@pytest.mark.usefixtures("load")
def test_the_finalizer_of_a_dropped_iterator_takes_no_lock() -> None:
    """Finalizers that run in any thread at any moment take no lock, so nothing stops."""

    def drop() -> None:
        for _ in range(20):
            items = iterate(lambda: iter(int, 1))
            next(items)
            cycle = [items]
            cycle.append(cycle)  # type: ignore[arg-type]
            del items, cycle
        gc.collect()

    for running in [in_thread(drop) for _ in range(4)]:
        running.result(LONG)
    gc.collect()
    _quiet()


def test_hundreds_of_hanging_functions_are_killed_at_once(hang: Hang) -> None:
    """Their callers are all free, and each has had its callback called, although these block."""
    function, free = hang(), threading.Event()
    called = threading.Semaphore(0)

    def blocking() -> None:
        called.release()
        free.wait(LONG)

    def one() -> bool:
        with pytest.raises(WatchTimeout):
            call(function, limits=Limits(ttfb=LIMIT), abort=blocking, retry=Retry.none())
        return True

    crowd = 60
    running = [in_thread(one) for _ in range(crowd)]
    assert all(each.result(LONG) for each in running)
    assert all(called.acquire(timeout=LONG) for _ in range(crowd))
    free.set()
    function.let_go()
    _quiet()
