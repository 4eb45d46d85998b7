"""The stream of events that a caller iterates."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from llmwatch.engine.call import Call
from llmwatch.engine.call_reader import CallReader
from llmwatch.wire import Event

if TYPE_CHECKING:
    from llmwatch.policy import EffectiveLimits

__all__ = ["Stream"]

_TEXT = operator.attrgetter("text")


class Stream(CallReader[Event]):
    """The events of one streamed answer, in order, each exactly once.

    Use it as a context manager and iterate it. Entering the block, or asking for the first event, sends the request.
    Iteration blocks until the next event and ends when the provider has completed the answer. It raises

    * :class:`~llmwatch.WatchTimeout` (a ``TimeoutError``) when a limit expired and no resend was allowed,
    * another :class:`~llmwatch.LLMWatchError` for every other failure,

    after every event that came before. Nothing of an attempt is delivered before its first content, so the caller does
    not see a stall before that. Leaving the block early aborts the request; leaving it after the last event does not.

    One thread iterates a stream. Any thread may call :meth:`cancel`.
    """

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

    def _next_batch(self, call: Call[Event]) -> list[Event] | None:
        batch = call.next_batch()
        if batch is not None:
            call.partial.extend(filter(None, map(_TEXT, batch)))
        return batch

    def _discard(self, call: Call[Event]) -> NoReturn:
        lost = sum(1 for event in self._ready if event.text)
        if lost:
            del call.partial[-lost:]
        super()._discard(call)

    @property
    def limits(self) -> EffectiveLimits:
        """The limits in force for the current attempt, each with its source. Starts the call if it has not begun."""
        try:
            return self._start().limits
        except BaseException:
            self.close()
            raise
