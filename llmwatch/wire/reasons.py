"""Why an answer ended, in the same words for every provider."""

from __future__ import annotations

from typing import Any

from llmwatch.wire.event import Event

__all__ = ["REASONS", "normalised", "reason_of"]

REASONS = ("stop", "length", "tool_calls", "content_filter", "other")
"""Every reason: it was finished; its length; it asks for tools; a filter or a refusal; what is none of these."""

_FIELDS = (
    "finish_reason",
    "finishReason",
    "stop_reason",
    "stopReason",
    "done_reason",
    "completionReason",
    "blockReason",
    "stop_type",
)
# Where the dialects have it, from the outside in. What a model wrote is never looked into.
_PLACES = (
    "choices",
    "candidates",
    "delta",
    "output",
    "response",
    "details",
    "promptFeedback",
    "messageStop",
    "incomplete_details",
    "meta_info",
)
_DEEPEST = 4

_WORDS = {
    "stop": (
        "stop",
        "end_turn",
        "stop_sequence",
        "complete",
        "completed",
        "eos",
        "eos_token",
        "finish",
        "normal",
        "word",
    ),
    "length": (
        "length",
        "max_tokens",
        "max_output_tokens",
        "model_length",
        "model_context_window_exceeded",
        "context_length_exceeded",
        "error_limit",
        "token_limit",
        "limit",
    ),
    "tool_calls": ("tool_calls", "tool_call", "tool_use", "function_call"),
    "content_filter": (
        "content_filter",
        "content_filtered",
        "guardrail_intervened",
        "refusal",
        "safety",
        "recitation",
        "blocklist",
        "prohibited_content",
        "spii",
        "image_safety",
        "language",
        "sensitive",
        "error_toxic",
    ),
}
_REASON = {word: reason for reason, words in _WORDS.items() for word in words}


def normalised(reason: str, *, calls: bool) -> str:
    """One of :data:`REASONS` for the provider's own ``reason``. Some say that they stopped where they ask for tools:
    ``calls`` tells.
    """
    found = _REASON.get(reason.lower(), "other")
    return "tool_calls" if found == "stop" and calls else found


def reason_of(event: Event) -> str | None:
    """The provider's own word in an event that has a finish mark, or ends the answer; ``None`` where it has none."""
    try:
        value = event.json()
    except (ValueError, RecursionError):
        return None
    found = _search(value, 0)
    if found is None and isinstance(value, dict) and str(value.get("type", "")).startswith("response."):
        response = value.get("response")
        inner = response if isinstance(response, dict) else {}
        details = inner.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        found = _word(reason) or _word(inner.get("status")) or value["type"].removeprefix("response.")
    return found


def _word(value: Any) -> str | None:
    if isinstance(value, dict):
        # SGLang has more to say of it.
        value = value.get("type")
    return value if isinstance(value, str) and value not in ("", "null", "FINISH_REASON_UNSPECIFIED") else None


def _search(value: Any, depth: int) -> str | None:
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict) or depth > _DEEPEST:
        return None
    for name in _FIELDS:
        if (word := _word(value.get(name))) is not None:
            return word
    for name in _PLACES:
        if (word := _search(value.get(name), depth + 1)) is not None:
            return word
    return None
