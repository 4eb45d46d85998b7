"""An iterator whose work is done by a watched worker."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar

from llmwatch.engine.call import Call
from llmwatch.policy import Limits, Retry
from llmwatch.records import CallRecord
from llmwatch.watch.cancel import CancelToken
from llmwatch.wrap.calling import refuse_coroutines
from llmwatch.wrap.running import FunctionRaised, Made, run_iterator
from llmwatch.wrap.starting import Options, make_call

T = TypeVar("T")

__all__ = ["Iterating", "iterate", "iterate_with"]


class Iterating(Generic[T]):
    """The items of a watched iterator, in order, each exactly once. Also a context manager.

    The work begins when the block is entered or the first item is asked for. Items that were there before a limit
    expired, or before the iterator raised, come out first, then the error. Leaving the block, :meth:`close` and
    dropping it end the work; the iterator is closed in the worker, in whose thread it has run.

    One thread iterates; :meth:`cancel` may be called from any. No lock is taken here: the two flags are set before the
    call is looked at, and read after it was made.
    """

    def __init__(self, make: Callable[[], Call[T]]) -> None:
        self._make = make
        self._call: Call[T] | None = None
        self._ready: deque[T] = deque()
        self._closed = False
        self._cancelled = False

    def __enter__(self) -> Iterating[T]:
        try:
            if self._call is not None or not self._closed:
                self._start()
            return self
        except BaseException:
            # Whoever is interrupted here has no block that closes it.
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            if not self._ready and not self._closed:
                self._fill()
            call = self._call
            if self._ready and call is not None and call.cancelled_by is not None:
                # What was handed over before a cancellation goes with the rest.
                self._discard()
                call.raise_cancelled()
            if self._ready:
                return self._ready.popleft()
        except BaseException:
            # A signal handler may have come between an item and its reader: nothing comes behind a gap.
            self.close()
            raise
        raise StopIteration

    def _fill(self) -> None:
        call = self._start()
        try:
            batch = call.next_batch()
        except FunctionRaised as raised:
            error = raised.error
        else:
            if batch is None:
                self._closed = True
            else:
                self._ready.extend(batch)
            return
        try:
            raise error
        finally:
            del error  # or the traceback would hold itself

    def _discard(self) -> None:
        self._closed = True
        self._ready.clear()

    def _start(self) -> Call[T]:
        if self._call is None:
            call = self._call = self._make()
            if self._cancelled:
                call.cancel("user")
            call.begin()
        return self._call

    @property
    def record(self) -> CallRecord | None:
        """What happened: attempts, timings, decisions. ``None`` until the call is over."""
        return None if self._call is None else self._call.record

    def cancel(self) -> None:
        """Give the work up, from any thread: the iterating thread gets :class:`~llmwatch.Cancelled` at once. After the
        last item it does nothing.
        """
        self._cancelled = True
        if self._call is not None:
            self._call.cancel("user")

    def close(self) -> None:
        """End the work without an error."""
        try:
            self._end()
        except BaseException:
            # What was interrupted in the middle is done once more.
            self._end()
            raise

    def _end(self) -> None:
        self._discard()
        if self._call is not None:
            self._call.close()

    def __del__(self) -> None:
        # May run in any thread at any bytecode, so it takes no lock: a flag, and a message to the supervisor.
        call = getattr(self, "_call", None)
        if call is not None:
            call.abandon()


def iterate(
    make_iterator: Callable[[], Iterable[T] | AbstractContextManager[Iterable[T]]],
    *,
    limits: Limits | None = None,
    retry: Retry | None = None,
    abort: Callable[[], object] | None = None,
    cancel: CancelToken | None = None,
) -> Iterating[T]:
    """The items of ``make_iterator()``, taken by a watched worker thread: an iterator and a context manager.

    ``make_iterator`` is called in the worker, once an attempt. It returns an iterable, an iterator, or a context
    manager that yields one, which is entered and left in the worker; a generator is closed there. The limits are those
    of a stream (``limits`` and the environment over the defaults), and each item counts as content: until the first
    one ``ttfb`` and ``first_content`` run, between two ``stale`` and ``progress``. They stand while items wait for a
    slow caller; at most 64 do.

    When a limit expires the iterator is woken as in :func:`~llmwatch.call`; besides, the connection of an SDK's stream
    (its ``response``, as httpx makes it) is found. Before the first item it is made anew where the rules of
    :func:`~llmwatch.call` allow it (a stream that shows its ``response`` was answered, so they need
    ``Retry(resend_with_tools=True)``); after the first item never. Exceptions of the iterator come out as they are.

    Nothing is called before the first item is asked for or the block is entered. Raises ``TypeError`` for an iterator
    in place of a function that makes one: another attempt needs another iterator.
    """
    if not callable(make_iterator):
        raise TypeError(f"make_iterator must be a function that makes the iterator anew, not {make_iterator!r}")
    refuse_coroutines(make_iterator)
    options = Options(limits=limits, retry=retry, abort=abort, cancel=cancel)
    return iterate_with(make_iterator, make_iterator, options)


def iterate_with(function: object, bound: Callable[[], Made[T]], options: Options) -> Iterating[T]:
    """The items of what ``bound()`` makes; ``function`` gives the call its name."""
    run: Any = functools.partial(run_iterator, bound)
    return Iterating(functools.partial(make_call, "ITERATE", function, run, options))
