"""The stream of events that a caller iterates."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from llmwatch.engine.call import Call
from llmwatch.records import CallRecord
from llmwatch.wire import Event

if TYPE_CHECKING:
    from llmwatch.policy import EffectiveLimits

__all__ = ["Stream"]

_TEXT = operator.attrgetter("text")


class Stream:
    """The events of one streamed answer, in order, each exactly once.

    Use it as a context manager and iterate it. Entering the block, or asking for the first event, sends the request.
    Iteration blocks until the next event and ends when the provider has completed the answer. It raises

    * :class:`~llmwatch.WatchTimeout` (a ``TimeoutError``) when a limit expired and no resend was allowed,
    * another :class:`~llmwatch.LLMWatchError` for every other failure,

    after every event that came before. Nothing of an attempt is delivered before its first content, so the caller does
    not see a stall before that. Leaving the block early aborts the request; leaving it after the last event does not.

    One thread iterates a stream. Any thread may call :meth:`cancel`.
    """

    def __init__(self, make: Callable[[], Call[Event]]) -> None:
        self._make = make
        self._call: Call[Event] | None = None
        self._ready: deque[Event] = deque()
        self._closed = False
        self._cancelled = False

    def __enter__(self) -> Stream:
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

    def __iter__(self) -> Iterator[Event]:
        # A generator costs a fraction of a method call for each event. It holds nothing that needs cleaning up.
        ready = self._ready
        try:
            while self._fill():
                call = self._call
                assert call is not None
                while ready:
                    if call.cancelled_by is not None:
                        self._discard(call)
                    yield ready.popleft()
        except GeneratorExit:
            raise
        except BaseException:
            # A signal handler may have raised between an event and its delivery: no event may follow a gap.
            self.close()
            raise

    def __next__(self) -> Event:
        try:
            if self._fill():
                call = self._start()
                if call.cancelled_by is not None:
                    self._discard(call)
                return self._ready.popleft()
        except BaseException:
            self.close()
            raise
        raise StopIteration

    def _fill(self) -> bool:
        """Have at least one event ready; ``False`` at the end of the answer."""
        if self._ready:
            return True
        if self._closed:
            return False
        call = self._call or self._start()
        batch = call.next_batch()
        if batch is None:
            self._closed = True
            return False
        # The batch is queued in one step, before anything can raise.
        call.partial.extend(filter(None, map(_TEXT, batch)))
        self._ready.extend(batch)
        return True

    def _discard(self, call: Call[Event]) -> NoReturn:
        """Drop the events that are queued but not delivered, and raise the cancellation."""
        lost = sum(1 for event in self._ready if event.text)
        if lost:
            del call.partial[-lost:]
        self._ready.clear()
        self._closed = True
        call.raise_cancelled()

    def _start(self) -> Call[Event]:
        if self._call is None:
            call = self._call = self._make()
            if self._cancelled:
                # cancel() sets the flag first and looks at the call second, so one of the two sees the other.
                call.cancel("user")
            call.begin()
        return self._call

    @property
    def record(self) -> CallRecord | None:
        """What happened: attempts, timings, decisions. ``None`` until the call is over."""
        return None if self._call is None else self._call.record

    @property
    def limits(self) -> EffectiveLimits:
        """The limits in force for the current attempt, each with its source. Starts the call if it has not begun."""
        try:
            return self._start().limits
        except BaseException:
            self.close()
            raise

    def cancel(self) -> None:
        """Cancel the call, from any thread: the iterating thread gets :class:`~llmwatch.Cancelled` at once.

        Nothing more is sent. Before the start, the request is never sent. After the last event it does nothing.
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
