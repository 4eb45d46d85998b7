"""The reader of a call, which takes batches and gives out their items one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Generic, NoReturn, TypeVar

from llmwatch.engine.call import Call
from llmwatch.records import CallRecord

T = TypeVar("T")
R = TypeVar("R", bound="CallReader[Any]")

__all__ = ["CallReader"]


class CallReader(Generic[T]):
    """The items of one call, in order, each exactly once: an iterator and a context manager.

    One thread iterates; :meth:`cancel` may be called from any. No lock is taken here: :meth:`cancel` sets its flag
    first and looks at the call second, :meth:`_start` makes the call first and looks at the flag second.
    """

    def __init__(self, make: Callable[[], Call[T]]) -> None:
        self._make = make
        self._call: Call[T] | None = None
        self._ready: deque[T] = deque()
        self._closed = False
        self._cancelled = False

    def __enter__(self: R) -> R:
        try:
            if self._call is not None or not self._closed:
                self._start()
            return self
        except BaseException:
            # If __enter__ raises, __exit__ never runs.
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
            if self._fill():
                call = self._start()
                if call.cancelled_by is not None:
                    self._discard(call)
                return self._ready.popleft()
        except BaseException:
            # A signal handler may have raised between an item and its delivery: no item may follow a gap.
            self.close()
            raise
        raise StopIteration

    def _fill(self) -> bool:
        """Have at least one item ready; ``False`` at the end."""
        if self._ready:
            return True
        if self._closed:
            return False
        batch = self._next_batch(self._call or self._start())
        if batch is None:
            self._closed = True
            return False
        # The batch is queued in one step, before anything can raise.
        self._ready.extend(batch)
        return True

    def _next_batch(self, call: Call[T]) -> list[T] | None:
        return call.next_batch()

    def _discard(self, call: Call[T]) -> NoReturn:
        """Drop the items that are queued but not delivered, and raise the cancellation."""
        self._ready.clear()
        self._closed = True
        call.raise_cancelled()

    def _start(self) -> Call[T]:
        if self._call is None:
            call = self._call = self._make()
            if self._cancelled:
                call.cancel("user")
            call.begin()
        return self._call

    @property
    def record(self) -> CallRecord | None:
        """The call's record: attempts, timings, decisions. ``None`` until the call is over."""
        return None if self._call is None else self._call.record

    def cancel(self) -> None:
        """Cancel the call, from any thread: the iterating thread gets :class:`~llmwatch.Cancelled` at once.

        Nothing more is sent. Before the start, the request is never sent. After the last item it does nothing.
        """
        self._cancelled = True
        if self._call is not None:
            self._call.cancel("user")

    def close(self) -> None:
        """End the call without an error. Does nothing to an answer that is complete."""
        try:
            self._end()
        except BaseException:
            # An exception from a signal handler may have cut the first run short.
            self._end()
            raise

    def _end(self) -> None:
        self._closed = True
        self._ready.clear()
        if self._call is not None:
            self._call.close()

    def __del__(self) -> None:
        # A finalizer may run in any thread at any bytecode: abandon() takes no lock.
        call = getattr(self, "_call", None)
        if call is not None:
            call.abandon()
