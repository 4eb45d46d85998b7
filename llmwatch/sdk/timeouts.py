"""The library's time-outs as limits. They may lower a limit and never raise one.

``connect`` bounds ``connect``; ``read`` bounds ``ttfb`` and ``stale``, since a read time-out measures silence;
``write`` bounds ``send``. ``pool`` bounds nothing: waiting for a connection is part of the limit ``connect``.

Every request carries time-outs, set by the user or not: 5 s from a bare client of httpx, 600 s and 5 s to connect from
an SDK. The defaults of known libraries are no user's choice and change no limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmwatch.engine.timeouts import Timeouts
from llmwatch.policy import LIMITS

__all__ = ["timeouts_of"]

_DEFAULTS = {
    (5.0, 5.0): "httpx, httpx2",
    (5.0, 600.0): "openai, anthropic",
    (5.0, 60.0): "groq, cerebras, together",
    (300.0, 300.0): "mistralai, cohere",
    (8.0, 300.0): "zai-sdk",
    (600.0, 600.0): "litellm",
    (None, None): "langchain-openai, langchain-anthropic, google-genai, ollama, huggingface_hub",
}
"""Each library's default time-outs: seconds to connect, and seconds for everything else."""

# A time-out of 0 means "at once"; a limit of 0 would mean "never".
_LEAST = 0.001


def timeouts_of(extension: Mapping[str, Any], *, heeded: bool = True) -> Timeouts:
    """A request's time-outs, in httpx's form, as limits. A library's default is noted and not heeded."""
    seconds = {
        name: max(float(extension[row.timeout]), _LEAST)
        for name, row in LIMITS.items()
        if row.timeout is not None and extension.get(row.timeout) is not None
    }
    return Timeouts(seconds=seconds, heeded=heeded and not _is_default(extension))


def _is_default(extension: Mapping[str, Any]) -> bool:
    connect, *others = (extension.get(key) for key in ("connect", "read", "write", "pool"))
    return len(set(others)) == 1 and (connect, others[0]) in _DEFAULTS
