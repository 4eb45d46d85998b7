"""An iterator whose work is done by a watched worker."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from llmwatch.engine.call import Call
from llmwatch.engine.call_reader import CallReader
from llmwatch.policy import Limits, Retry
from llmwatch.watch.cancel import CancelToken
from llmwatch.wrap.calling import refuse_coroutines
from llmwatch.wrap.running import FunctionRaised, Made, run_iterator
from llmwatch.wrap.starting import Options, make_call

T = TypeVar("T")

__all__ = ["Iterating", "iterate", "iterate_with"]


class Iterating(CallReader[T]):
    """The items of a watched iterator, in order, each exactly once. Also a context manager.

    The work begins when the caller enters the block or asks for the first item. Items that were there before a limit
    expired, or before the iterator raised, come out first, then the error. Leaving the block, :meth:`close` and
    dropping the object end the work. The iterator is closed in the worker, in whose thread it ran.

    One thread iterates; any thread may call :meth:`cancel`.
    """

    def _next_batch(self, call: Call[T]) -> list[T] | None:
        try:
            return call.next_batch()
        except FunctionRaised as raised:
            error = raised.error
        try:
            raise error
        finally:
            del error  # else the traceback would hold itself


def iterate(
    make_iterator: Callable[[], Iterable[T] | AbstractContextManager[Iterable[T]]],
    *,
    limits: Limits | None = None,
    retry: Retry | None = None,
    abort: Callable[[], object] | None = None,
    cancel: CancelToken | None = None,
) -> Iterating[T]:
    """The items of ``make_iterator()``, taken by a watched worker: an iterator and a context manager.

    ``make_iterator`` is called in the worker, once an attempt. It returns an iterable, an iterator, or a context
    manager that yields one and that the worker enters and leaves; a generator is closed in the worker. The limits are
    those of a stream (``limits`` and the environment over the defaults), and each item counts as content: until the
    first item ``ttfb`` and ``first_content`` run, between two items ``stale`` and ``progress``. The limits stand still
    while items wait for a slow caller; at most 64 items wait.

    When a limit expires the iterator is woken as in :func:`~llmwatch.call`; the connection of an SDK's stream (its
    ``response``, as httpx makes it) is found, too. Before the first item the iterator is made again where the rules of
    :func:`~llmwatch.call` allow it, after the first item never. A stream that shows its ``response`` was answered, so
    it needs ``Retry(resend_with_tools=True)``. Exceptions of the iterator are raised unchanged.

    Nothing is called before the caller asks for the first item or enters the block. Raises ``TypeError`` for an
    iterator in place of a function that makes one: another attempt needs another iterator.
    """
    if not callable(make_iterator):
        raise TypeError(f"make_iterator must be a function that makes the iterator anew, not {make_iterator!r}")
    refuse_coroutines(make_iterator)
    options = Options(limits=limits, retry=retry, abort=abort, cancel=cancel)
    return iterate_with(make_iterator, make_iterator, options)


def iterate_with(function: object, bound: Callable[[], Made[T]], options: Options) -> Iterating[T]:
    """The items of the iterator that ``bound()`` makes; ``function`` gives the call its name."""
    run: Any = functools.partial(run_iterator, bound)
    return Iterating(functools.partial(make_call, "ITERATE", function, run, options))
