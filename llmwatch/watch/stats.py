"""What is counted of an attempt while it runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from llmwatch.errors import LLMWatchError
from llmwatch.redaction.sent import Asked

__all__ = ["AttemptStats"]


@dataclass(slots=True)
class AttemptStats:
    """What was counted and noted while an attempt ran; it is frozen with the verdict."""

    request_bytes: int = 0
    response_bytes: int = 0
    sent: str = "no"
    status: int | None = None
    request_id: str | None = None
    sockets: int = 0
    reused: bool | None = None
    answering: bool = False
    idle: float | None = None
    comments: int = 0
    stray_lines: int = 0
    contradictions: int = 0
    """Events that restated something as it was not said."""
    dialect: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    proxy: str | None = None
    """Host and port of a proxy that took the request as a server does."""
    pending_bytes: int = 0
    end: str | None = None
    """How a streamed answer that is whole ended: ``terminal`` by its end mark, ``eof`` by the end of its body."""
    fault: LLMWatchError | None = field(default=None, repr=False)
    """What is wrong with an answer that was handed on as it came."""
    unread: bool = False
    """The answer is nothing that a dialect reads."""
    function: bool = False
    """The work is a wrapped function, of which only signs are seen."""
    provider_acted: bool = False
    """The answer shows that the provider ran, or may run, a tool of its own with side effects."""
    beaten: bool = False
    """A wrapped function has shown that it has begun to do something: a beat, an item, an answer that it got."""
    opaque: bool = False
    """A wrapped function in which nothing is found that could be shut: no socket, no abort callback."""
    asked: list[Asked] = field(default_factory=list, repr=False)
    """Every request that was made, or was about to be, and the proxies: what is secret in them may be repeated."""
    events: Counter[str] = field(default_factory=Counter)
