"""Estimating the size of a prompt."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["BYTES_PER_TOKEN", "SMALLEST_GROWTH", "base64_bytes", "growth", "prompt_tokens"]

BYTES_PER_TOKEN = 4
"""The usual rule of thumb for English. Other scripts give higher estimates, and so longer limits."""

GROWTH_PER_THOUSAND = 3.5
"""Seconds that each 1,000 tokens of prompt add to a default limit.

The longest healthy call reported for a hosted model had 130,000 tokens and answered after 564 s; 3 s for each 1,000
tokens on top of 120 s would have killed it at 510 s.
"""

MOST_GROWTH = 1800.0
"""Maximum number of seconds that the size of a prompt adds."""

SMALLEST_GROWTH = 1000 * BYTES_PER_TOKEN
"""Size of a body, in bytes, below which no limit grows."""

# Bounds of the search for base64. Base64 that the search misses counts as text, which makes a limit longer.
_MOST_NODES = 50_000
_SHORTEST = 1024
_SAMPLE = 128

_ALPHABET = re.compile(r"[A-Za-z0-9+/_=\r\n-]+")
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
# Fields beside "data" in an object with a payload: Anthropic, Gemini (two spellings), OpenAI audio.
_BESIDE_DATA = ("media_type", "mimeType", "mime_type", "format")


def prompt_tokens(body: object, body_bytes: int) -> int:
    """The estimated size of a request's prompt in tokens: bytes without base64 payloads, divided by four.

    ``body`` is the parsed JSON, ``None`` if unknown; ``body_bytes`` is the length of the body as sent. Images and
    documents in base64 are left out, because they cost a provider far less than their size suggests. This is not a
    tokenizer.
    """
    if body_bytes >= _SHORTEST:
        body_bytes -= base64_bytes(body)
    return max(0, body_bytes) // BYTES_PER_TOKEN


def growth(tokens: int) -> float:
    """Seconds that ``tokens`` add to a default limit: 3.5 for every full 1,000, at most 1,800."""
    return min(MOST_GROWTH, GROWTH_PER_THOUSAND * (tokens // 1000))


def base64_bytes(body: object) -> int:
    """The total length of the base64 payloads in a parsed JSON ``body``.

    Payloads are data URLs, ``data`` beside a media type, and other long strings that look like base64: only its
    alphabet, with digits and both cases, in samples from the start, the middle and the end (128 characters each). At
    most 50,000 values are examined.
    """
    total = 0
    left = _MOST_NODES
    stack: list[Any] = [body]
    while stack and left:
        left -= 1
        node = stack.pop()
        if isinstance(node, str):
            if len(node) >= _SHORTEST:
                total += _payload(node)
        elif isinstance(node, dict):
            if _is_payload(node):
                total += _length(node["data"])
                stack.extend(value for key, value in node.items() if key != "data")
            else:
                stack.extend(node.values())
        elif isinstance(node, (list, tuple)):
            stack.extend(node)
    return total


def _is_payload(node: dict[str, object]) -> bool:
    data = node.get("data")
    if not isinstance(data, str) or len(data) < _SHORTEST or not any(name in node for name in _BESIDE_DATA):
        return False
    # Checks the alphabet because "data" may also hold a plain-text document (Anthropic).
    return _ALPHABET.fullmatch(_samples(data)) is not None


def _payload(text: str) -> int:
    url = _DATA_URL.match(text)
    if url:
        return len(text) - url.end()
    sample = _samples(text)
    if not _ALPHABET.fullmatch(sample):
        return 0
    # A hex dump, a separator line or a run of one letter is text that a model reads.
    mixed = any(map(str.isdigit, sample)) and any(map(str.isupper, sample)) and any(map(str.islower, sample))
    return _length(text) if mixed else 0


def _length(payload: str) -> int:
    # JSON writes a line break in two bytes.
    return len(payload) + payload.count("\n") + payload.count("\r")


def _samples(text: str) -> str:
    middle = len(text) // 2
    return text[:_SAMPLE] + text[middle : middle + _SAMPLE] + text[-_SAMPLE:]
