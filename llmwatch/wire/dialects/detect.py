"""Which dialect a stream speaks, from its URL and content type, or else from its first event."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from llmwatch.wire.dialects.base import DONE, KEEPALIVE_NAMES
from llmwatch.wire.event import Event
from llmwatch.wire.refusal import LINE_TYPES, media_type

__all__ = ["by_event", "by_url", "is_line"]

_ENDINGS = (
    ("/chat/completions", "openai-chat"),
    ("/completions", "openai-chat"),
    ("/responses", "openai-responses"),
    ("/messages", "anthropic"),
    (":streamgeneratecontent", "gemini"),
)
_ANTHROPIC = frozenset(
    (
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
    )
)


def by_url(url: str, content_type: str = "") -> str | None:
    """The dialect that the address and the ``Content-Type`` name, ``None`` where they leave it open."""
    kind = media_type(content_type)
    if kind in LINE_TYPES:
        return "ndjson"
    try:
        path = urlsplit(url).path.rstrip("/").lower()
    except ValueError:
        return None
    if path.endswith(("/api/chat", "/api/generate")):
        # Others than Ollama use these paths too, but send server-sent events.
        return None if kind == "text/event-stream" else "ndjson"
    for ending, name in _ENDINGS:
        if path.endswith(ending):
            return name
    if "/responses/" in path:
        # A stored response that is streamed again: /v1/responses/resp_123
        return "openai-responses"
    if path.endswith(":streamrawpredict") and "/publishers/anthropic/" in path:
        return "anthropic"
    return None


def by_event(event: Event) -> str | None:
    """The dialect of a first event: ``generic`` where it is of none, ``None`` where it tells nothing (a keep-alive)."""
    data = event.data.strip()
    if event.event in _ANTHROPIC:
        return "anthropic"
    if event.event.startswith("response."):
        return "openai-responses"
    if data == DONE:
        return "openai-chat"
    try:
        value = event.json() if data else {}
    except (ValueError, RecursionError):
        return None if event.event in KEEPALIVE_NAMES else "generic"
    return _by_shape(event, value) if isinstance(value, dict) else "generic"


def _by_shape(event: Event, value: dict[str, Any]) -> str | None:
    kind = value.get("type")
    kind = kind if isinstance(kind, str) else ""
    if not value or (event.event in KEEPALIVE_NAMES and not kind):
        return None
    if kind in _ANTHROPIC:
        return "anthropic"
    if kind in KEEPALIVE_NAMES:
        # Anthropic's ping, the Responses API's keepalive: what follows will tell.
        return None
    if kind.startswith("response."):
        return "openai-responses"
    if kind == "error":
        return "anthropic" if isinstance(value.get("error"), dict) else "openai-responses"
    if "choices" in value or str(value.get("object", "")).startswith(("chat.completion", "text_completion")):
        return "openai-chat"
    if "candidates" in value or "promptFeedback" in value or "usageMetadata" in value:
        return "gemini"
    if value.get("error") or value.get("object") == "error":
        # Errors look alike in the dialects that are left; the code that reads them is the same.
        return "openai-chat"
    return "generic"


def is_line(value: object) -> bool:
    """Whether a JSON value is a line of Ollama's."""
    return isinstance(value, dict) and isinstance(value.get("done"), bool)
