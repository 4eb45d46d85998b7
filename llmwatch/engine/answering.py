"""Calls whose outcome is a response: its status is judged, its head is handed out before its body."""

from __future__ import annotations

from typing import Any

import requests

from llmwatch.engine.call import Call
from llmwatch.engine.exchange import Exchange, Head
from llmwatch.engine.settings import RequestKind
from llmwatch.errors import ProviderError
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.machine import Seen, VerdictKind

__all__ = ["ResponseCall"]


class ResponseCall(Call[Any]):
    """A call whose work delivers a :class:`~llmwatch.engine.exchange.Head`, then the body in pieces.

    A head may hold the whole body. An HTTP status never raises: once its resends are used up, the last response is the
    answer. The status of a request that is not a model call is for the caller to judge.
    """

    def answer(self) -> tuple[Head, list[Any]]:
        """The head of the answer, and the part of the body that came with it.

        If the head holds the body the call is over, else :meth:`next_batch` returns the rest.
        """
        return self._guarded(self._answer)

    def whole(self) -> tuple[Head, list[Any]]:
        """The head and the whole body. Nothing is handed out before the end, so the request may be resent."""
        return self._guarded(self._whole)

    @property
    def streams(self) -> bool:
        """Whether this is a model call that streams its answer."""
        return self._options.request_kind is RequestKind.STREAM

    @property
    def answered(self) -> bool:
        """Whether the whole answer has come, so that :meth:`next_batch` does not wait."""
        attempt = self._attempt
        verdict = None if attempt is None else attempt.verdict
        return verdict is not None and verdict.kind is VerdictKind.DONE

    def rest(self) -> list[Any] | None:
        """The batches that came after the end of the answer; ``None`` at the end of the body."""
        return None if self._answering is None else self._answering.rest()

    def leave(self) -> None:
        """Give up the rest of the answer, while another thread may be waiting for it."""
        self.cancel("user")
        if self._answering is not None:
            self._answering.forgo()

    def headers_after(self) -> float | None:
        """Seconds from the start of the answering attempt to its headers, ``None`` before they came."""
        attempt = self._answering
        at = None if attempt is None else attempt.machine.marks.get(Seen.HEADERS)
        return None if attempt is None or at is None else at - attempt.created_at

    _answering: Attempt[Any] | None = None

    def _answer(self) -> tuple[Head, list[Any]]:
        while True:
            attempt = self._attempt or self._begin_attempt()
            batch = self._notifier.take(attempt, self.number)
            if not batch:
                self._fail(self._observe(attempt))
                continue
            head: Head = batch[0]
            self._answering = attempt
            if self._is_forced(attempt, head):
                continue
            if self._options.request_kind is RequestKind.OTHER or head.response.status_code < 400:
                self._handed_out = not self._options.whole
                if head.body is not None:
                    self._succeed(self._observe(attempt))
            elif self._is_resent(attempt, head):
                continue
            return head, batch[1:] if head.body is None else [head.body]

    def _whole(self) -> tuple[Head, list[Any]]:
        while True:
            head, pieces = self._answer()
            if head.body is not None:
                return head, pieces
            attempt = self._answering
            assert attempt is not None
            while (batch := self._notifier.take(attempt, self.number)) is not None:
                pieces.extend(batch)
            ended = self._observe(attempt)
            if ended.error is None:
                while (batch := attempt.rest()) is not None:
                    pieces.extend(batch)
                self._succeed(ended)
                return head, pieces
            self._fail(ended)

    def _is_forced(self, attempt: Attempt[Any], head: Head) -> bool:
        """Whether the adapter's own retries ask for another attempt after this status. May raise if used up."""
        retries, response = self._options.adapter_retries, head.response
        if retries is None or self._options.request_kind is not RequestKind.OTHER:
            return False
        if head.body is not None:
            refusal = self._refusal(attempt, response)
            ended = self._observe(attempt, refusal)
            resend = self._planner.after_status(refusal, ended.facts, self._request, response)
            if resend is not None:
                self._carry_out(ended, refusal, *resend)
                return True
        retries.note(response.raw)
        return False

    def _refusal(self, attempt: Attempt[Any], response: requests.Response) -> ProviderError:
        return Exchange.provider_failure(
            self._request.host,
            response.status_code,
            response.headers,
            response.content,
            self._clock.wall(),
            proxy=attempt.stats.proxy,
        )

    def _is_resent(self, attempt: Attempt[Any], head: Head) -> bool:
        """Whether an attempt follows this error status, after the wait. If not, the status is the answer."""
        refusal = self._refusal(attempt, head.response)
        try:
            self._fail(self._observe(attempt, refusal))
        except ProviderError as error:
            if error is not refusal:
                raise
            # Its traceback refers to this frame, and the frame to the error.
            error.__traceback__ = None
            return False
        return True
