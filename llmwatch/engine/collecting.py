"""A call whose outcome is a whole answer, which is judged once more before it is handed out."""

from __future__ import annotations

from llmwatch.engine.call import Call
from llmwatch.engine.scrub import masker
from llmwatch.payload import secrets_in
from llmwatch.redaction import Secrets
from llmwatch.wire import Collector, Event

__all__ = ["CollectingCall"]


class CollectingCall(Call[Event]):
    """A call that hands out nothing before the end of the answer.

    An attempt without an error still fails if its answer asks for a tool call that is not whole. Nothing was delivered,
    so the request may be resent once, as after any failure in the middle of an answer.
    """

    def answer(self) -> Collector:
        """The whole answer. The call is over then."""
        return self._guarded(self._answer)

    def _answer(self) -> Collector:
        while True:
            attempt = self._attempt or self._begin_attempt()
            collector = Collector()
            while (batch := self._notifier.take(attempt, self.number)) is not None:
                for event in batch:
                    collector.add(event)
            ended = self._observe(attempt)
            if ended.error is None:
                collector.end()
                collector.mask(masker(self._request, Secrets.of(attempt.stats.asked, secrets_in(self._request.body))))
                error = collector.verdict_at_end()
                if error is None:
                    self._succeed(ended)
                    return collector
                ended = self._observe(attempt, error)
            self._fail(ended)
