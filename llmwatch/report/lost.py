"""Why attempts were lost, in one word for a table and in words for a sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llmwatch.policy.limit_table import LIMITS
from llmwatch.records import AttemptRecord, CallRecord
from llmwatch.records.attempt import CAUSE_VERBS

__all__ = ["Loss", "losses_of", "words_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A lost attempt, or a call that failed before any.

    ``why``: the limit that expired, or else the HTTP status, or else the cause; ``hang``: whether it is a limit.
    ``at``: wall time of its start; ``seconds``: until the next attempt of the call began, or the call ended.
    ``number``: the attempt's index in the call, ``None`` without one.
    """

    origin: str
    model: str | None
    why: str
    hang: bool
    phase: str
    status: int | None
    at: float
    seconds: float
    number: int | None = None
    limit_seconds: float | None = None


def losses_of(record: CallRecord) -> Iterator[Loss]:
    """The lost attempts of a call. A cancelled attempt is not lost."""
    attempts = record.attempts
    for number, attempt in enumerate(attempts):
        if attempt.failed:
            last = number + 1 == len(attempts)
            end = record.started_at + record.elapsed if last else attempts[number + 1].started_at
            yield Loss(
                origin=attempt.origin,
                model=attempt.model,
                why=_why(attempt),
                hang=attempt.limit is not None,
                phase=attempt.phase,
                status=attempt.status,
                at=attempt.started_at,
                seconds=max(attempt.elapsed, end - attempt.started_at),
                number=number,
                limit_seconds=attempt.limit_seconds,
            )
    if record.outcome == "failed" and not any(attempt.failed for attempt in attempts):
        yield Loss(
            origin=record.origin,
            model=record.model,
            why=record.cause or "unknown",
            hang=False,
            phase="",
            status=record.status,
            at=record.started_at,
            seconds=record.elapsed,
        )


def words_of(why: str) -> str:
    """What a model did, as the verb of a sentence, for a limit, a status or a cause."""
    if why.isdigit():
        return f"answered {why}"
    if why in LIMITS:
        return LIMITS[why].verb
    return CAUSE_VERBS.get(why, f"failed by {why}")


def _why(attempt: AttemptRecord) -> str:
    if attempt.limit is not None:
        return attempt.limit
    if attempt.status is not None and attempt.status >= 400:
        return str(attempt.status)
    return attempt.cause or "unknown"
