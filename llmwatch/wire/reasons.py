"""Finish reasons: the providers' words, and one vocabulary for all providers."""

from __future__ import annotations

from typing import Any

from llmwatch.wire.error_objects import shorten
from llmwatch.wire.event import Event, Kind

__all__ = ["REASONS", "is_cut", "is_failure", "normalised", "reason_of", "words_of"]

REASONS = ("stop", "length", "tool_calls", "content_filter", "other")
"""Every reason: finished; length; asks for tools; filter or refusal; any other."""

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
# Fields that lead to a reason, from the outside in. Text of the model is never searched.
_PLACES = (
    "choices",
    "candidates",
    "delta",
    "message",
    "output",
    "outputs",
    "response",
    "details",
    "promptFeedback",
    "messageStop",
    "incomplete_details",
    "stop_details",
    "meta_info",
)
_DEEPEST = 4

# Fields with words beside a reason: Google's; Anthropic's, in stop_details; OpenRouter's, with the upstream's reason.
_MESSAGES = ("finishMessage", "blockReasonMessage", "explanation", "category", "native_finish_reason")

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
# Words for a failure of the provider: OpenRouter, Cohere, watsonx, Zhipu, DeepSeek, TensorRT-LLM and gateways.
_FAILURES = frozenset(
    (
        "error",
        "exception",
        "failed",
        "failure",
        "generation_failed",
        "insufficient_system_resource",
        "internal_error",
        "internal_server_error",
        "model_error",
        "network_error",
        "server_error",
        "timed_out",
        "timeout",
        "upstream_error",
    )
)
# Words for a cancelled answer.
_CALLED_OFF = frozenset(("abort", "aborted", "cancelled", "canceled", "time_limit", "user_cancel"))
_REASON = {word: reason for reason, words in _WORDS.items() for word in words}


def is_failure(reason: object) -> bool:
    """Whether ``reason`` means that the provider failed. A length, a filter or a cancellation does not."""
    return isinstance(reason, str) and reason.lower() in _FAILURES


def is_cut(reason: object) -> bool:
    """Whether ``reason`` means an incomplete answer: length, filter, failure, cancellation."""
    if not isinstance(reason, str):
        return False
    word = reason.lower()
    return _REASON.get(word) in ("length", "content_filter") or word in _CALLED_OFF or word in _FAILURES


def normalised(reason: str, *, calls: bool) -> str:
    """One of :data:`REASONS` for the provider's ``reason``.

    Some providers say ``stop`` for an answer that asks for tools; ``calls`` says whether the answer has calls.
    """
    known = _REASON.get(reason.lower(), "other")
    return "tool_calls" if known == "stop" and calls else known


def reason_of(event: Event) -> str | None:
    """The provider's finish reason in an event; ``None`` without one.

    For an event that ends a response of the Responses API: the reason in its details, else its status, else its type.
    """
    try:
        value = event.json()
    except (ValueError, RecursionError):
        return None
    found = _search(value, _FIELDS)
    ends = event.finish or event.kind is Kind.TERMINAL
    if found is None and ends and isinstance(value, dict) and str(value.get("type", "")).startswith("response."):
        response = value.get("response")
        inner = response if isinstance(response, dict) else {}
        details = inner.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        found = _word(reason) or _word(inner.get("status")) or value["type"].removeprefix("response.")
    return found


def words_of(event: Event) -> str | None:
    """The provider's words beside the reason, scrubbed and on one line; ``None`` without any.

    Google explains a blocked prompt or answer and a malformed call; Anthropic explains a refusal; Azure names the
    filters that stopped an answer.
    """
    try:
        value = event.json()
    except (ValueError, RecursionError):
        return None
    words = _search(value, _MESSAGES) or ", ".join(_filters(value))
    return shorten(words) or None


def _filters(value: Any) -> list[str]:
    choices = value.get("choices") if isinstance(value, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    results = choice.get("content_filter_results") if isinstance(choice, dict) else None
    return [
        name
        for name, result in (results.items() if isinstance(results, dict) else ())
        if isinstance(result, dict) and result.get("filtered") is True
    ]


def _word(value: Any) -> str | None:
    if isinstance(value, dict):
        # SGLang sends an object.
        value = value.get("type")
    return value if isinstance(value, str) and value not in ("", "null", "FINISH_REASON_UNSPECIFIED") else None


def _search(value: Any, fields: tuple[str, ...], depth: int = 0) -> str | None:
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict) or depth > _DEEPEST:
        return None
    for name in fields:
        if (word := _word(value.get(name))) is not None:
            return word
    for name in _PLACES:
        if (word := _search(value.get(name), fields, depth + 1)) is not None:
            return word
    return None
