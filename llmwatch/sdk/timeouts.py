"""The library's time-outs, in the words of limits. They may lower a limit and never raise one.

``connect`` bounds ``connect``, ``read`` bounds ``ttfb`` and ``stale`` (silence is what a read time-out measures), and
``write`` bounds ``send``. ``pool`` bounds nothing: waiting for a connection is part of our ``connect``.

Every request carries time-outs, whether the user asked for them or not: 5 s from a bare client of httpx, 600 s and 5 s
to connect from an SDK. The defaults of the libraries that are known are nobody's wish: they change no limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmwatch.engine.timeouts import Timeouts
from llmwatch.policy import LIMITS

__all__ = ["timeouts_of"]

# Seconds to connect, and for everything else.
_DEFAULTS = {
    (5.0, 5.0): "httpx, httpx2",
    (5.0, 600.0): "openai, anthropic",
    (5.0, 60.0): "groq, cerebras, together",
    (300.0, 300.0): "mistralai, cohere",
    (8.0, 300.0): "zai-sdk",
    (600.0, 600.0): "litellm",
    (None, None): "langchain-openai, langchain-anthropic, google-genai, ollama, huggingface_hub",
}
"""What each library sends where its user sets nothing."""

# A time-out of 0 means "at once"; a limit of 0 would mean "never".
_LEAST = 0.001


def timeouts_of(extension: Mapping[str, Any], *, heeded: bool = True) -> Timeouts:
    """What a request's time-outs, in httpx's form, say of limits. A library's default is noted, and not heeded."""
    said = {
        name: max(float(extension[row.timeout]), _LEAST)
        for name, row in LIMITS.items()
        if row.timeout is not None and extension.get(row.timeout) is not None
    }
    return Timeouts(seconds=said, heeded=heeded and not _is_nobodys(extension))


def _is_nobodys(extension: Mapping[str, Any]) -> bool:
    connect, *others = (extension.get(key) for key in ("connect", "read", "write", "pool"))
    return len(set(others)) == 1 and (connect, others[0]) in _DEFAULTS
