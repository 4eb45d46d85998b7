"""The record of one call: its attempts, decisions and outcome."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

from llmwatch.records.attempt import CAUSES, AttemptRecord
from llmwatch.records.decision import DecisionRecord
from llmwatch.records.frozen import FrozenMap, freeze_map, thaw
from llmwatch.records.json_text import JsonRecord
from llmwatch.records.reader import Reader
from llmwatch.redaction import redact

__all__ = ["CALL_OUTCOMES", "CALL_SCHEMA", "CallOutcome", "CallRecord"]

CALL_SCHEMA = 3
"""Version of the fields below. A removed field or a changed meaning raises it, a new field does not.

2: the schema of the attempts rose. 3: ``entry_point`` was ``door``.
"""

CallOutcome: TypeAlias = Literal["done", "recovered", "failed", "cancelled"]
CALL_OUTCOMES: tuple[str, ...] = get_args(CallOutcome)
"""Every ``outcome``: answered by the first attempt, by a later attempt, not answered, cancelled."""

_IS_COMPLETE, _HAS_FAILED = operator.attrgetter("evidence_complete"), operator.attrgetter("failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord(JsonRecord):
    """One call (schema version 3). Times are in seconds. A recovered call did not fail.

    * ``schema``: version of these fields; ``call_id``: random and unique; ``process``: id of the process that made it.
    * ``label``: the program's own name for the call, see :func:`llmwatch.label`; ``None`` without one.
    * ``started_at``: wall time in seconds since the Unix epoch; ``elapsed``: monotonic, from start to end, waits
      included; ``delayed``: part of ``elapsed`` in which the attempts waited for other calls (retry budget, circuit
      breaker, pacing) and not for the provider.
    * ``method``; ``url``: without user info, query values and fragment; ``origin``: scheme, host and port.
    * ``entry_point``: how the call was made (``stream``, ``collect``, ``request``, ``session``, ``wrap``,
      ``sdk.openai``, ``sdk.anthropic``), or the library whose call it is (``httpx``, ``httpx2``, ``botocore``,
      ``urllib3``, ``urllib``; ``requests`` by :func:`llmwatch.install`).
    * ``profile``: name of the defaults; ``limits``: each limit of the last attempt by name, with its ``value`` in
      seconds (``None``: off) and its ``source``.
    * ``prompt_bytes``: size in bytes of the body of the last request, as it was given; ``None`` if unknown.
    * ``max_attempts``: number of attempts that the settings allowed; ``None`` if unknown.
    * ``attempts``, ``decisions``: in chronological order.
    * ``outcome``: one of :data:`CALL_OUTCOMES`; ``cause``: why the call did not succeed, one of :data:`CAUSES`;
      ``None`` after success.
    * ``empty``: the call ended cleanly without any content.
    * ``diagnostics_complete``: whether everything known was kept; ``False`` if evidence was cut.
    """

    schema: int = CALL_SCHEMA
    call_id: str
    started_at: float
    method: str
    url: str
    origin: str
    process: int | None = None
    label: str | None = None
    entry_point: str = "stream"
    profile: str = ""
    limits: Mapping[str, Mapping[str, object]] = field(default_factory=FrozenMap)
    prompt_bytes: int | None = None
    max_attempts: int | None = None
    attempts: tuple[AttemptRecord, ...] = ()
    decisions: tuple[DecisionRecord, ...] = ()
    elapsed: float = 0.0
    delayed: float = 0.0
    outcome: str = "done"
    cause: str | None = None
    empty: bool = False
    diagnostics_complete: bool = True

    def __post_init__(self) -> None:
        attempts = tuple(self.attempts)
        kept: dict[str, object] = {
            "url": redact.url(self.url),
            "origin": redact.origin(self.origin),
            "limits": freeze_map(self.limits),
            "attempts": attempts,
            "decisions": tuple(self.decisions),
            "diagnostics_complete": self.diagnostics_complete and all(map(_IS_COMPLETE, attempts)),
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    @property
    def end(self) -> str | None:
        """The end of the answer: ``terminal``, ``eof`` or ``finish``, as in :class:`AttemptRecord`.

        ``None`` without an answer and for a plain answer.
        """
        answered = self.attempts and self.outcome in ("done", "recovered")
        return self.attempts[-1].end if answered else None

    @property
    def model(self) -> str | None:
        """The name of the model that the last attempt asked for; ``None`` if none is known."""
        return self.attempts[-1].model if self.attempts else None

    @property
    def status(self) -> int | None:
        """The HTTP status of the last attempt; ``None`` without an answer."""
        return self.attempts[-1].status if self.attempts else None

    @property
    def incident(self) -> bool:
        """Whether an attempt failed, recovered or not, or the call failed before any attempt.

        A cancelled call or attempt did not fail.
        """
        return self.outcome == "failed" or any(map(_HAS_FAILED, self.attempts))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: dicts, lists, text, numbers, true, false, null."""
        plain = {name: thaw(getattr(self, name)) for name in _CALL}
        plain["attempts"] = [attempt.to_dict() for attempt in self.attempts]
        plain["decisions"] = [decision.to_dict() for decision in self.decisions]
        return plain

    @classmethod
    def from_dict(cls, source: object) -> CallRecord:
        """The record whose :meth:`to_dict` is ``source``. Raises :class:`ValueError` for anything else.

        Unknown fields are ignored; missing fields take their default, if any. A record of an older schema is translated
        to the newest schema.
        """
        read = Reader(source, "CallRecord")
        schema = read.schema(CALL_SCHEMA)
        outcome, cause = read.text("outcome", "done"), read.maybe_text("cause")
        if outcome not in CALL_OUTCOMES:
            raise ValueError("CallRecord.outcome is not one of " + ", ".join(CALL_OUTCOMES))
        if cause is not None and cause not in CAUSES:
            raise ValueError("CallRecord.cause is not one of " + ", ".join(CAUSES))
        limits = read.mapping("limits")
        if not all(isinstance(limit, Mapping) for limit in limits.values()):
            raise ValueError("CallRecord.limits: expected a JSON object for each limit")
        method, origin = read.text("method"), read.text("origin")
        # A line of the call log has no URL, and names method and origin once.
        url = read.text("url", origin)
        address = {"method": method, "url": url, "origin": origin}
        attempts = [{**address, **one} if isinstance(one, Mapping) else one for one in read.items("attempts")]
        return cls(
            call_id=read.text("call_id"),
            started_at=read.number("started_at"),
            method=method,
            url=url,
            origin=origin,
            process=read.maybe_whole("process"),
            label=read.maybe_text("label"),
            entry_point=read.text("door" if schema < 3 else "entry_point", "stream"),
            profile=read.text("profile", ""),
            limits=limits,
            prompt_bytes=read.maybe_whole("prompt_bytes"),
            max_attempts=read.maybe_whole("max_attempts"),
            attempts=tuple(map(AttemptRecord.from_dict, attempts)),
            decisions=tuple(DecisionRecord.from_dict(one) for one in read.items("decisions")),
            elapsed=read.number("elapsed", 0.0),
            delayed=read.number("delayed", 0.0),
            outcome=outcome,
            cause=cause,
            empty=read.flag("empty", False),
            diagnostics_complete=read.flag("diagnostics_complete", True),
        )


_CALL = tuple(one.name for one in fields(CallRecord))
