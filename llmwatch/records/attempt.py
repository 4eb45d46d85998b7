"""The record of one attempt: one HTTP request and its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

from llmwatch.records import evidence as bounds
from llmwatch.records.frozen import FrozenMap, freeze_map, thaw
from llmwatch.records.json_text import JsonRecord
from llmwatch.records.reader import Reader
from llmwatch.redaction import redact

__all__ = ["ATTEMPT_SCHEMA", "BACKING_OFF", "CAUSES", "CAUSE_VERBS", "PHASES", "AttemptRecord", "Cause", "Timings"]

ATTEMPT_SCHEMA = 3
"""Version of the fields below. A removed field or a changed meaning raises it, a new field does not.

2: phases have new names, see :data:`PHASES`. 3: ``tool_exposure`` was ``tool_boundary``.
"""

Cause: TypeAlias = Literal[
    "watchdog_timeout",
    "transport_disconnect",
    "connect_failed",
    "truncated",
    "provider_error",
    "user_cancel",
    "lifecycle_close",
    "setup_failure",
    "unknown",
]
CAUSES: tuple[str, ...] = get_args(Cause)
"""Every value of ``cause``: the earliest initiating event, which later findings never replace."""

CAUSE_VERBS: Mapping[str, str] = {
    "watchdog_timeout": "was ended by a limit",
    "transport_disconnect": "lost the connection",
    "connect_failed": "could not be connected to",
    "truncated": "ended before the end of the answer",
    "provider_error": "sent an error",
    "user_cancel": "was cancelled",
    "lifecycle_close": "was closed",
    "setup_failure": "got calls that could not begin",
    "unknown": "failed for an unknown reason",
}
"""What happened to a provider's attempts, for a sentence whose subject is the provider."""

BACKING_OFF = "backing_off"
"""The only phase of a call without a running attempt."""

PHASES = (
    "idle",
    "connecting",
    "sending",
    "waiting",
    "headers",
    "body",
    "events",
    "content",
    "finishing",
    "draining",
    "refused",
    BACKING_OFF,
)
"""Every value of ``phase`` in errors, notices and records.

* ``idle``: not begun; ``connecting``: a connection is being opened; ``sending``: the request is being written;
* ``waiting``: the request is sent, and no part of an answer has come;
* ``headers``, ``body``, ``events``, ``content``: the last of these that came;
* ``finishing``: a finish or end mark came; ``draining``: the answer is complete, and the body is still open;
* ``refused``: the answer is an error, and its body is being read;
* ``backing_off``: the call waits before an attempt.
"""

_PHASES_OF_1 = {
    "sent": "waiting",
    "headed": "headers",
    "talking": "body",
    "opened": "events",
    "generating": "content",
    "ending": "finishing",
}
"""The renamed phases of schema 1, with their present names."""

_CANCELLED: tuple[Cause, ...] = ("user_cancel", "lifecycle_close")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings(JsonRecord):
    """Times of an attempt's milestones, in seconds since the attempt was made.

    A milestone that did not happen is ``None``. ``queued``: a worker took the attempt; ``connected``: the connection
    was open (TLS included); ``sent``: the kernel had the whole request; ``headers``: the response's headers had come;
    ``first_byte``, ``last_byte``: of the body; ``first_event``: the first event of any kind; ``first_content``: the
    first event with part of the answer; ``end``: the verdict.
    """

    queued: float | None = None
    connected: float | None = None
    sent: float | None = None
    headers: float | None = None
    first_byte: float | None = None
    first_event: float | None = None
    first_content: float | None = None
    last_byte: float | None = None
    end: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """Plain JSON values."""
        return {name: getattr(self, name) for name in _TIMINGS}

    @classmethod
    def from_dict(cls, source: object) -> Timings:
        """The value whose :meth:`to_dict` is ``source``. Raises :class:`ValueError` for anything else."""
        read = Reader(source, "Timings")
        return cls(**{name: read.maybe_number(name) for name in _TIMINGS})


_TIMINGS = tuple(one.name for one in fields(Timings))


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord(JsonRecord):
    """One attempt (schema version 3). Times are in seconds, sizes in bytes.

    ``None`` means unknown or not applicable. The record keeps no prompt, output, header value, body, tool name or
    argument. The constructor strips the URL, scrubs and caps the texts, and freezes the mappings.

    * ``schema``: version of these fields; ``number``: number of the attempt in its call, from 1.
    * ``started_at``: wall time in seconds since the Unix epoch; ``timings``: monotonic, see :class:`Timings`.
    * ``method``; ``url``: without user info, query values and fragment; ``origin``: scheme, host and port.
    * ``model``: the name of the model that the request's body or URL asks for; ``None`` without one, for a body that is
      not a JSON object, and for a name of more than 64 characters or with others than letters, digits and ``_.:/@-``.
    * ``dialect``: the stream's dialect, e.g. ``anthropic``; ``status``: the HTTP status; ``request_id``: the provider's
      request id, for the provider's support.
    * ``request_bytes``, ``response_bytes``: sizes of the bodies on the wire (compressed, if the body is compressed).
    * ``content_bytes``: size in UTF-8 of the text, reasoning and tool arguments in a streamed answer.
    * ``usage``: the provider's counts of tokens under the names of :class:`llmwatch.Usage` (``input_tokens``,
      ``output_tokens``, ...), those that are known; ``None`` where a streamed answer has none, and for a plain answer.
    * ``events``: number of events of each kind (``text``, ``reasoning``, ``keepalive``, ...); ``comments``: number of
      SSE comments, which are not events.
    * ``stray_lines``: number of lines of an event stream that are neither a field nor a comment.
    * ``contradictions``: number of events that restated a part of the answer differently; the first version stands.
    * ``longest_gap``: longest silence between two reads of the body.
    * ``phase``: the phase at the end, one of :data:`PHASES`; ``limit``: name of the limit that expired;
      ``limit_seconds``: length of that limit; ``elapsed``: from the attempt's start to the verdict; ``paused``: part of
      ``elapsed`` in which the limits stood still (the caller kept the worker waiting, or paused the limits);
      ``kill_lag``: from the expiry to the verdict.
    * ``socket_reused``: whether a pooled connection was used; ``socket_idle``: how long that connection had been idle;
      ``idle_since_previous``: since the previous call of this client to this origin, start to start.
    * ``tool_exposure``: number of tools in the request, by executor; ``facts``: the basis of the decision.
    * ``cause``: one of :data:`CAUSES`, ``None`` without a failure; ``close_reason``: ``<limit>_kill``,
      ``user_cancel``, ``lifecycle_close``, ``failed`` or ``done``.
    * ``error``: class of the error; ``message``: text of the error.
    * ``end``: what ended a complete answer: ``terminal`` (an end mark), ``eof`` (a clean end of the body) or
      ``finish`` (a finish mark, after which the body stayed open); ``None`` after a failure and for a plain answer.
    * ``orphaned``: the worker could not be woken; ``late_events``: events that came after the verdict and were dropped.
    * ``evidence``: see :data:`EVIDENCE_KEYS`; ``omitted`` is the number of values that were left out or cut short.
    """

    schema: int = ATTEMPT_SCHEMA
    number: int
    started_at: float
    timings: Timings = field(default_factory=Timings)
    method: str
    url: str
    origin: str
    model: str | None = None
    dialect: str | None = None
    status: int | None = None
    request_id: str | None = None
    request_bytes: int | None = None
    response_bytes: int = 0
    content_bytes: int = 0
    usage: Mapping[str, int] | None = None
    events: Mapping[str, int] = field(default_factory=FrozenMap)
    comments: int = 0
    stray_lines: int = 0
    contradictions: int = 0
    longest_gap: float | None = None
    phase: str = ""
    limit: str | None = None
    limit_seconds: float | None = None
    elapsed: float = 0.0
    paused: float = 0.0
    kill_lag: float | None = None
    socket_reused: bool | None = None
    socket_idle: float | None = None
    idle_since_previous: float | None = None
    tool_exposure: Mapping[str, object] | None = None
    facts: Mapping[str, object] = field(default_factory=FrozenMap)
    cause: str | None = None
    close_reason: str = "done"
    error: str | None = None
    message: str | None = None
    end: str | None = None
    orphaned: bool = False
    late_events: int = 0
    evidence: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        kept: dict[str, object] = {
            "url": redact.url(self.url),
            "origin": redact.origin(self.origin),
            "model": None if self.model is None else redact.model(self.model),
            "request_id": None if self.request_id is None else redact.identifier(self.request_id),
            "message": None if self.message is None else redact.text(self.message),
            "usage": None if self.usage is None else freeze_map(self.usage),
            "events": freeze_map(self.events),
            "tool_exposure": None if self.tool_exposure is None else freeze_map(self.tool_exposure),
            "facts": freeze_map(self.facts),
            "evidence": None if self.evidence is None else bounds.bounded(self.evidence),
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    @property
    def failed(self) -> bool:
        """Whether the attempt failed. A cancelled attempt did not fail."""
        return self.cause is not None and self.cause not in _CANCELLED

    @property
    def evidence_complete(self) -> bool:
        """Whether the evidence is complete, with nothing left out or cut short."""
        return self.evidence is None or bounds.OMITTED not in self.evidence

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: dicts, lists, text, numbers, true, false, null."""
        plain = {name: thaw(getattr(self, name)) for name in _ATTEMPT}
        plain["timings"] = self.timings.to_dict()
        return plain

    @classmethod
    def from_dict(cls, source: object) -> AttemptRecord:
        """The record whose :meth:`to_dict` is ``source``. Raises :class:`ValueError` for anything else.

        A record of schema 1 or 2 is translated to the newest schema.
        """
        read = Reader(source, "AttemptRecord")
        schema, phase = read.schema(ATTEMPT_SCHEMA), read.text("phase", "")
        cause = read.maybe_text("cause")
        if cause is not None and cause not in CAUSES:
            raise ValueError("AttemptRecord.cause is not one of " + ", ".join(CAUSES))
        events, usage = read.mapping("events"), read.maybe_mapping("usage")
        for name, counts in (("events", events), ("usage", usage or {})):
            if not all(type(count) is int for count in counts.values()):
                raise ValueError(f"AttemptRecord.{name}: expected a whole number for each kind")
        return cls(
            number=read.whole("number"),
            started_at=read.number("started_at"),
            timings=Timings.from_dict(read.mapping("timings")),
            method=read.text("method"),
            url=read.text("url"),
            origin=read.text("origin"),
            model=read.maybe_text("model"),
            dialect=read.maybe_text("dialect"),
            status=read.maybe_whole("status"),
            request_id=read.maybe_text("request_id"),
            request_bytes=read.maybe_whole("request_bytes"),
            response_bytes=read.whole("response_bytes", 0),
            content_bytes=read.whole("content_bytes", 0),
            usage=usage,
            events=events,
            comments=read.whole("comments", 0),
            stray_lines=read.whole("stray_lines", 0),
            contradictions=read.whole("contradictions", 0),
            longest_gap=read.maybe_number("longest_gap"),
            phase=_PHASES_OF_1.get(phase, phase) if schema == 1 else phase,
            limit=read.maybe_text("limit"),
            limit_seconds=read.maybe_number("limit_seconds"),
            elapsed=read.number("elapsed", 0.0),
            paused=read.number("paused", 0.0),
            kill_lag=read.maybe_number("kill_lag"),
            socket_reused=read.maybe_flag("socket_reused"),
            socket_idle=read.maybe_number("socket_idle"),
            idle_since_previous=read.maybe_number("idle_since_previous"),
            tool_exposure=read.maybe_mapping("tool_boundary" if schema < 3 else "tool_exposure"),
            facts=read.mapping("facts"),
            cause=cause,
            close_reason=read.text("close_reason", "done"),
            error=read.maybe_text("error"),
            message=read.maybe_text("message"),
            end=read.maybe_text("end"),
            orphaned=read.flag("orphaned", False),
            late_events=read.whole("late_events", 0),
            evidence=read.maybe_mapping("evidence"),
        )


_ATTEMPT = tuple(one.name for one in fields(AttemptRecord))
