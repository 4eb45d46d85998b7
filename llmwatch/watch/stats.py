"""Counters and findings of an attempt while it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmwatch.errors import LLMWatchError
from llmwatch.redaction.sent import Asked

__all__ = ["AttemptStats"]


@dataclass(slots=True)
class AttemptStats:
    """Counters and findings of an attempt while it runs; frozen with the verdict."""

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
    """Events that repeated earlier data with a different value."""
    dialect: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    proxy: str | None = None
    """Host and port of a proxy that received the request in a server's place."""
    content_bytes: int = 0
    """Size in UTF-8 of the text, reasoning and tool arguments in a streamed answer."""
    usage: Mapping[str, Any] | None = field(default=None, repr=False)
    """The provider's counts of tokens, under the provider's names."""
    pending_bytes: int = 0
    end: str | None = None
    """How a whole streamed answer ended: ``terminal`` by its end mark, ``eof`` by the end of its body."""
    fault: LLMWatchError | None = field(default=None, repr=False)
    """The fault of an answer that was passed on unchanged."""
    unread: bool = False
    """Whether no dialect reads the answer."""
    function: bool = False
    """Whether the work is a wrapped function, of which llmwatch sees only signs."""
    provider_acted: bool = False
    """Whether the answer shows that the provider ran, or may run, a tool of its own with side effects."""
    beaten: bool = False
    """Whether a wrapped function has shown that it began: by a beat, an item, or an answer that it got."""
    opaque: bool = False
    """Whether a wrapped function has nothing that can be shut down: no socket, no abort callback."""
    asked: list[Asked] = field(default_factory=list, repr=False)
    """Every request that was made or prepared, and the proxies: an answer may repeat their secrets."""
    events: Counter[str] = field(default_factory=Counter)
