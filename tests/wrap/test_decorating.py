"""``@llmwatch.watched``."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from llmwatch import Cancelled, CancelToken, Limits, Retry, WatchTimeout
from llmwatch.wrap import Iterating, watched
from tests.end_to_end.times import LIMIT
from tests.wrap.conftest import Hang
from tests.wrap.functions import QUICK


@watched
def bare(one: int, *, other: str = "x") -> str:
    """Adds things up."""
    return f"{one}{other}{threading.current_thread().name}"


@watched(limits=Limits(ttfb=LIMIT))
def with_options(one: int) -> int:
    return one + 1


@watched
def generator(count: int) -> Iterator[int]:
    """Counts."""
    yield from range(count)


@watched(limits=Limits(ttfb=LIMIT), retry=QUICK)
def generator_with_options(count: int) -> Iterator[int]:
    yield from range(count)


def test_watched_works_with_and_without_parentheses() -> None:
    """Both decorate, and the calls run in a worker."""
    assert bare(1, other="y") == "1yllmwatch-worker"
    assert with_options(1) == 2
    assert watched()(lambda: 3)() == 3


def test_watched_keeps_name_and_signature() -> None:
    """Everything that a function says of itself, and the function."""
    assert (bare.__name__, bare.__doc__, bare.__module__) == ("bare", "Adds things up.", __name__)
    assert str(inspect.signature(bare)) == "(one: 'int', *, other: 'str' = 'x') -> 'str'"
    assert inspect.unwrap(bare) is bare.__wrapped__  # type: ignore[attr-defined]
    assert (generator.__name__, generator.__doc__) == ("generator", "Counts.")


def test_the_limits_of_watched_hold(hang: Hang) -> None:
    """The time-out names the function."""
    function = hang()

    @watched(limits=Limits(ttfb=LIMIT), retry=Retry.none())
    def my_function() -> None:
        function()

    with pytest.raises(WatchTimeout, match=r"test_decorating\.test_the_limits_of_watched_hold\.my_function"):
        my_function()


def test_watched_passes_every_option_on(hang: Hang) -> None:
    """Retry, abort and cancel too."""
    function, token = hang(times=1), CancelToken()
    wrapped = watched(limits=Limits(ttfb=LIMIT), retry=QUICK, abort=function.abort, cancel=token)(function)
    assert wrapped() == "done"
    assert function.calls == 2
    token.cancel()
    with pytest.raises(Cancelled):
        wrapped()
    assert function.calls == 2


@pytest.mark.parametrize("function", [generator, generator_with_options])
def test_watched_makes_a_generator_function_a_watched_iterator(function: Any) -> None:
    """A call returns an iterator, another one each time.

    Nothing runs before the first item is asked for.
    """
    items, others = function(3), function(2)
    assert isinstance(items, Iterating)
    assert items.record is None
    assert [next(items), next(others), *items, *others] == [0, 0, 1, 2, 1]
    assert items.record is not None
    assert items.record.url.endswith(f"test_decorating.{function.__name__}")


def test_wrong_arguments_raise_at_the_call() -> None:
    """Wrong arguments of a generator function raise before the iteration too."""
    for call in (bare, generator):
        with pytest.raises(TypeError, match="argument"):
            call()  # type: ignore[call-arg]


class Agent:
    """Methods of every kind."""

    name = "agent"

    @watched
    def method(self, more: str = "") -> str:
        return self.name + more

    @classmethod
    @watched
    def of_the_class(cls) -> str:
        return cls.name

    @staticmethod
    @watched
    def static(word: str) -> str:
        return word

    @watched
    def items(self) -> Iterator[str]:
        yield from self.name


def test_watched_methods_are_bound() -> None:
    """Watched methods are bound like any method."""
    agent = Agent()
    assert agent.method("!") == "agent!"
    assert Agent.of_the_class() == "agent"
    assert Agent.static("word") == "word"
    assert list(agent.items()) == list("agent")


def test_watched_refuses_coroutine_functions_and_non_callables() -> None:
    """A coroutine function, or nothing that can be called."""

    async def coroutine() -> None: ...

    async def asynchronous() -> Any:
        yield 1

    for wrong in (coroutine, asynchronous, functools.partial(coroutine), 3):
        with pytest.raises(TypeError):
            watched(wrong)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="limits"):
        watched(limits=3)  # type: ignore[call-overload]


def test_a_recursive_watched_function_is_watched_at_every_level() -> None:
    """A watched function that calls itself is watched at every level."""

    @watched
    def factorial(number: int) -> int:
        return 1 if number < 2 else number * factorial(number - 1)

    assert factorial(10) == 3628800
