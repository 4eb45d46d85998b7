"""Signs of progress in an event: text in unknown fields, and counts of output tokens.

A provider that sends text in an unknown field is at work, and the text may be part of the answer. So text that is not
blank counts as news in any field, except in fields that only describe an event. Numbers, booleans and empty containers
never count, because keep-alives carry them.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any

__all__ = ["is_notice", "is_thinking", "output_tokens", "says_something", "thoughts", "unknown_news", "words_of"]

# Fields that only describe an event. Sources: OpenAI's reference of chunks and stream events, OpenRouter, Groq, vLLM.
_DESCRIBES = frozenset(
    (
        "role",
        "id",
        "index",
        "name",
        "type",
        "object",
        "model",
        "obfuscation",
        "provider",
        "service_tier",
        "fingerprint",
        "system_fingerprint",
        "created",
        "created_at",
        "timestamp",
        "date",
    )
)
# Fields in which a gateway or a queue reports its progress.
_STATES = frozenset(("status", "state", "event", "event_type"))
_THINKING = ("reason", "think", "thought")
# Deep enough for every known wire format, and bounded.
_DEEPEST = 8

_OUTPUT = (
    "completion_tokens",
    "output_tokens",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "eval_count",
    "tokens_predicted",
)


def says_something(value: object, depth: int = 0) -> bool:
    """Whether ``value`` is, or holds outside the descriptive fields, a text that is not blank."""
    if isinstance(value, str):
        return bool(value.strip())
    if depth > _DEEPEST:
        return False
    if isinstance(value, dict):
        return any(name not in _DESCRIBES and says_something(inner, depth + 1) for name, inner in value.items())
    return isinstance(value, list) and any(says_something(inner, depth + 1) for inner in value)


def is_notice(value: object, depth: int = 0) -> bool:
    """Whether ``value`` is an object without any text beyond identities, names and states."""
    return isinstance(value, dict) and not _says_more(value, depth)


def _says_more(value: object, depth: int) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    if depth > _DEEPEST:
        return False
    if isinstance(value, dict):
        return any(
            name not in _DESCRIBES
            and name not in _STATES
            and not name.endswith(("_id", "Id"))
            and _says_more(inner, depth + 1)
            for name, inner in value.items()
        )
    return isinstance(value, list) and any(_says_more(inner, depth + 1) for inner in value)


def is_thinking(name: str) -> bool:
    """Whether a field called ``name`` holds reasoning, readable or not."""
    name = name.lower()
    return any(part in name for part in _THINKING)


def unknown_news(source: Mapping[str, Any], known: Container[str]) -> str | None:
    """The name of an unknown field with text, preferably not reasoning; ``None`` without one."""
    names = [
        name
        for name, value in source.items()
        if value and name not in known and name not in _DESCRIBES and says_something(value)
    ]
    return min(names, key=is_thinking, default=None)


def words_of(value: object) -> str:
    """The model's text in a field; empty for null or an unknown shape.

    Workers AI sends a token that looks like a number as a JSON number (2026); its digits are the text.
    """
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


def thoughts(value: object, depth: int = 0) -> str:
    """The readable reasoning in a field: text, or the texts of parts."""
    if isinstance(value, (str, int, float)):
        return words_of(value)
    if isinstance(value, list) and depth < _DEEPEST:
        return "".join(thoughts(part, depth + 1) for part in value)
    if isinstance(value, dict):
        texts = (words_of(value.get(name)) for name in ("thinking", "text", "summary"))
        return next(filter(None, texts), "")
    return ""


def output_tokens(usage: Mapping[str, Any]) -> int:
    """The number of output tokens in a provider's usage; 0 without a count."""
    return sum(count for name in _OUTPUT if type(count := usage.get(name)) is int and count > 0)
