"""Evidence of a failed attempt, scrubbed and bounded.

Evidence helps a person to investigate one incident. It comes from foreign code, so only the keys of
:data:`EVIDENCE_KEYS` are kept, texts are scrubbed, and sizes are bounded. :data:`OMITTED` counts what was left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmwatch.records.frozen import FrozenMap, freeze
from llmwatch.redaction import redact

__all__ = ["EVIDENCE_KEYS", "MOST_ITEMS", "MOST_TEXT", "OMITTED", "bounded"]

EVIDENCE_KEYS: Mapping[str, str] = FrozenMap(
    {
        "error_type": "class of the exception that ended the attempt, as the library below raised it",
        "error_errno": "its errno",
        "error_text": "its text",
        "causes": "class, errno and text of the exceptions behind it, nearest first",
        "content_type": "media type that the response announced",
        "content_encoding": "encoding that the response announced",
        "provider_type": "the provider's own type of error",
        "provider_code": "the provider's own code of the error",
        "location": "where a redirect pointed to",
        "pending_bytes": "bytes of an event that was not finished when the body ended, broke off or was given up",
        "addresses_tried": "how many addresses of the host were tried",
        "late_error": "class of an error that came after the verdict and changed nothing",
    }
)
"""The keys of an attempt's ``evidence``, each with its meaning. Texts are scrubbed, sizes bounded."""

OMITTED = "omitted"
"""Key of the number of values that were left out or cut short."""

MOST_ITEMS = 8
"""Maximum number of items that are kept of a list."""

MOST_TEXT = 300
"""Maximum number of characters that are kept of a text."""


def bounded(evidence: Mapping[str, Any]) -> FrozenMap:
    """The values of ``evidence`` under allowed keys, scrubbed and cut to size. Idempotent."""
    before = evidence.get(OMITTED, 0)
    omitted = before if type(before) is int and before > 0 else 0
    kept: dict[str, object] = {}
    for key, value in evidence.items():
        if key == OMITTED:
            continue
        if key not in EVIDENCE_KEYS:
            omitted += 1
            continue
        kept[key], lost = _bound(freeze(value), depth=0)
        omitted += lost
    if omitted:
        kept[OMITTED] = omitted
    return FrozenMap(kept)


def _bound(value: Any, depth: int) -> tuple[Any, int]:
    if isinstance(value, str):
        short = redact.text(value, cap=MOST_TEXT)
        # A text with the mark was counted in an earlier pass.
        return short, int(redact.is_cut(short) and not redact.is_cut(value))
    if isinstance(value, (tuple, FrozenMap)) and depth >= 2:
        return f"[omitted: {type(value).__name__}]", 1
    if isinstance(value, tuple):
        pairs = [_bound(item, depth + 1) for item in value[:MOST_ITEMS]]
        return tuple(item for item, _ in pairs), sum(lost for _, lost in pairs) + max(0, len(value) - MOST_ITEMS)
    if isinstance(value, FrozenMap):
        items = {redact.text(key, cap=64): _bound(item, depth + 1) for key, item in list(value.items())[:MOST_ITEMS]}
        return (
            FrozenMap({key: item for key, (item, _) in items.items()}),
            sum(lost for _, lost in items.values()) + max(0, len(value) - MOST_ITEMS),
        )
    return value, 0
