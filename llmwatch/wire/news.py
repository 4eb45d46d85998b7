"""What is news: fields that nobody has heard of yet, and counts of output tokens.

A provider that sends something in a field of its own is at work, and what it sends may be a part of the answer. So a
text that is not blank is news wherever it stands, but for the fields that describe an event and say nothing. Numbers,
true, false and empty containers never are: keep-alives carry them.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any

__all__ = ["is_notice", "is_thinking", "output_tokens", "says_something", "thoughts", "unknown_news", "words_of"]

# Fields that describe. Sources: OpenAI's reference of chunks and stream events, OpenRouter, Groq, vLLM.
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
# And those that tell how far a gateway or a queue has come.
_STATES = frozenset(("status", "state", "event", "event_type"))
_THINKING = ("reason", "think", "thought")
# Deep enough for every wire that is known, and bounded.
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
    """Whether it is a text that is not blank, or holds one outside the fields that describe."""
    if isinstance(value, str):
        return bool(value.strip())
    if depth > _DEEPEST:
        return False
    if isinstance(value, dict):
        return any(name not in _DESCRIBES and says_something(inner, depth + 1) for name, inner in value.items())
    return isinstance(value, list) and any(says_something(inner, depth + 1) for inner in value)


def is_notice(value: object, depth: int = 0) -> bool:
    """Whether a value is an object, of a dialect or of none, that holds no text beyond identities, names and states."""
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
    """Whether a field of this name holds reasoning, readable or not."""
    name = name.lower()
    return any(part in name for part in _THINKING)


def unknown_news(source: Mapping[str, Any], known: Container[str]) -> str | None:
    """The name of a field that is not ``known`` and says something, one with reasoning last; ``None`` without one."""
    names = [
        name
        for name, value in source.items()
        if value and name not in known and name not in _DESCRIBES and says_something(value)
    ]
    return min(names, key=is_thinking, default=None)


def words_of(value: object) -> str:
    """What the model wrote in a field: its text; nothing for a null or a shape that is not known.

    Workers AI makes a JSON number of each token that reads as one (2026). Its digits are the text.
    """
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


def thoughts(value: object, depth: int = 0) -> str:
    """The readable reasoning in a field: a text, or the texts of its parts."""
    if isinstance(value, (str, int, float)):
        return words_of(value)
    if isinstance(value, list) and depth < _DEEPEST:
        return "".join(thoughts(part, depth + 1) for part in value)
    if isinstance(value, dict):
        found = (words_of(value.get(name)) for name in ("thinking", "text", "summary"))
        return next(filter(None, found), "")
    return ""


def output_tokens(usage: Mapping[str, Any]) -> int:
    """How many tokens of output a provider's usage counts; 0 where it does not say."""
    return sum(count for name in _OUTPUT if type(count := usage.get(name)) is int and count > 0)
