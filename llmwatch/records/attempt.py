"""What is remembered of one attempt: one HTTP request and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

from llmwatch.records import evidence as bounds
from llmwatch.records.frozen import FrozenMap, freeze_map, thaw
from llmwatch.records.json_text import JsonRecord
from llmwatch.records.reader import Reader
from llmwatch.redaction import redact

__all__ = ["ATTEMPT_SCHEMA", "BACKING_OFF", "CAUSES", "PHASES", "AttemptRecord", "Cause", "Timings"]

ATTEMPT_SCHEMA = 3
"""Version of the fields below. It rises when a field changes its meaning or goes, not when one is added.

2: other names of phases, see :data:`PHASES`. 3: ``tool_exposure`` was ``tool_boundary``.
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
"""Every value of ``cause``. It names the earliest initiating event; what comes to light later never replaces it."""

BACKING_OFF = "backing_off"
"""The one phase in which a call has no attempt under way."""

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
"""Every value of ``phase``, in errors, notices and records: where a call stood.

* ``idle``: not begun; ``connecting``: on its way to a connection; ``sending``: the request is being written;
* ``waiting``: the request is sent, and nothing of an answer came;
* ``headers``, ``body``, ``events``, ``content``: the last of these that came;
* ``finishing``: a finish or end mark came; ``draining``: the answer is whole, and its body still open;
* ``refused``: the answer is an error, whose body is read;
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
"""The phases of schema 1, and what they are called since. The others have kept their names."""

_CANCELLED: tuple[Cause, ...] = ("user_cancel", "lifecycle_close")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings(JsonRecord):
    """When things happened, in seconds since the attempt was made; ``None`` for what did not happen.

    ``queued``: a worker took it up; ``connected``: the connection stood (TLS included); ``sent``: the kernel had the
    whole request; ``headers``: the response's headers were in; ``first_byte``, ``last_byte``: of the body;
    ``first_event``: the first event of any kind; ``first_content``: the first that carries part of the answer;
    ``end``: the verdict.
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
        """What :meth:`to_dict` gave. Raises :class:`ValueError` for anything else."""
        read = Reader(source, "Timings")
        return cls(**{name: read.maybe_number(name) for name in _TIMINGS})


_TIMINGS = tuple(one.name for one in fields(Timings))


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord(JsonRecord):
    """One attempt (schema version 3). Seconds and bytes throughout; ``None`` where a thing is not known or did not
    happen.

    No prompt, output, header value, body, tool name or argument is kept. Whatever is passed in, the record itself
    strips the URL, scrubs and caps the texts, and freezes the mappings.

    * ``schema``: version of these fields; ``number``: which attempt of its call, from 1.
    * ``started_at``: wall time in seconds since the Unix epoch; ``timings``: the :class:`Timings`, which are monotonic.
    * ``method``; ``url``: without user info, query values and fragment; ``origin``: scheme, host and port.
    * ``dialect``: how the stream was read, e.g. ``anthropic``; ``status``: of HTTP; ``request_id``: the provider's own,
      for its support.
    * ``request_bytes``, ``response_bytes``: of the bodies, as they went over the wire (a compressed body counts
      compressed).
    * ``events``: how many of each kind (``text``, ``reasoning``, ``keepalive``, ...); ``comments``: SSE comments, which
      are no events.
    * ``stray_lines``: lines of a stream of events that are neither a field nor a comment.
    * ``contradictions``: events that restated a part of the answer as it was not said; what was said stands.
    * ``longest_gap``: longest silence between two reads of the body.
    * ``phase``: where it stood when it ended, one of :data:`PHASES`; ``limit``: name of the limit that expired,
      ``limit_seconds`` its length; ``elapsed``: from the attempt's start to its verdict, of which its limits stood
      still for ``paused`` (the caller kept it waiting, or they were paused); ``kill_lag``: from the expiry to the
      verdict.
    * ``socket_reused``: a pooled connection was used, ``socket_idle`` how long it had been idle;
      ``idle_since_previous``: since the previous call of this client to this origin, start to start.
    * ``tool_exposure``: how many tools the request exposed, by who executes them; ``facts``: what the decision was
      based on.
    * ``cause``: one of :data:`CAUSES`, ``None`` if it did not fail; ``close_reason``: ``<limit>_kill``,
      ``user_cancel``, ``lifecycle_close``, ``failed`` or ``done``.
    * ``error``: class of the error; ``message``: its text.
    * ``end``: what ended an answer that is whole: ``terminal`` (its end mark), ``eof`` (a clean end of the body),
      ``finish`` (a finish mark, after which the body stayed open); ``None`` where it failed or is no stream.
    * ``orphaned``: its worker could not be woken; ``late_events``: events that came after the verdict and were dropped.
    * ``evidence``: what else is known, bounded; see :mod:`llmwatch.records.evidence`.
    """

    schema: int = ATTEMPT_SCHEMA
    number: int
    started_at: float
    timings: Timings = field(default_factory=Timings)
    method: str
    url: str
    origin: str
    dialect: str | None = None
    status: int | None = None
    request_id: str | None = None
    request_bytes: int | None = None
    response_bytes: int = 0
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
            "request_id": None if self.request_id is None else redact.identifier(self.request_id),
            "message": None if self.message is None else redact.text(self.message),
            "events": freeze_map(self.events),
            "tool_exposure": None if self.tool_exposure is None else freeze_map(self.tool_exposure),
            "facts": freeze_map(self.facts),
            "evidence": None if self.evidence is None else bounds.bounded(self.evidence),
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    @property
    def failed(self) -> bool:
        """Whether it ended in a failure. Being cancelled is none."""
        return self.cause is not None and self.cause not in _CANCELLED

    @property
    def evidence_complete(self) -> bool:
        """Whether nothing of the evidence was left out."""
        return self.evidence is None or bounds.OMITTED not in self.evidence

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: dicts, lists, text, numbers, true, false, null."""
        plain = {name: thaw(getattr(self, name)) for name in _ATTEMPT}
        plain["timings"] = self.timings.to_dict()
        return plain

    @classmethod
    def from_dict(cls, source: object) -> AttemptRecord:
        """The record that :meth:`to_dict` gave, equal to it. Raises :class:`ValueError` for anything else.

        A record of schema 1 or 2 is translated, and is one of the newest schema then.
        """
        read = Reader(source, "AttemptRecord")
        schema, phase = read.schema(ATTEMPT_SCHEMA), read.text("phase", "")
        cause = read.maybe_text("cause")
        if cause is not None and cause not in CAUSES:
            raise ValueError("AttemptRecord.cause is not one of " + ", ".join(CAUSES))
        events = read.mapping("events")
        if not all(type(count) is int for count in events.values()):
            raise ValueError("AttemptRecord.events: expected a whole number for each kind")
        return cls(
            number=read.whole("number"),
            started_at=read.number("started_at"),
            timings=Timings.from_dict(read.mapping("timings")),
            method=read.text("method"),
            url=read.text("url"),
            origin=read.text("origin"),
            dialect=read.maybe_text("dialect"),
            status=read.maybe_whole("status"),
            request_id=read.maybe_text("request_id"),
            request_bytes=read.maybe_whole("request_bytes"),
            response_bytes=read.whole("response_bytes", 0),
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
