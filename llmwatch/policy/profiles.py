"""The default limits, in three profiles, and how a request's profile is found."""

from __future__ import annotations

from collections.abc import Mapping

from llmwatch.payload.reasoning import asks_for_thinking, is_reasoning_model, model_of
from llmwatch.policy.local_hosts import is_local
from llmwatch.policy.values import refused

__all__ = ["CONTENT_CLOCKS", "PLAIN_TTFB", "PROFILES", "RELAY_FINISH", "check_profile", "detect_profile"]

PROFILES: Mapping[str, Mapping[str, float | None]] = {
    "hosted": {
        "connect": 10.0,
        "send": 60.0,
        "headers": None,
        # Healthy hosted models are reported to answer within 16 s (p95), 53 s at 130,000 tokens; limits of 12 to 60 s
        # are documented to kill healthy calls.
        "ttfb": 120.0,
        "first_event": None,
        "first_content": 300.0,
        # Above the longest gap reported inside a healthy stream (329 s) and the longest idle time of a NAT (350 s).
        "stale": 360.0,
        "progress": 600.0,
        "finish": 5.0,
        "drain": 1.0,
        "total": None,
        "deadline": None,
    },
    "reasoning": {
        "connect": 10.0,
        "send": 60.0,
        "headers": None,
        # Opus-class models are reported silent for 180 to 300 s with 100,000 tokens of prompt.
        "ttfb": 300.0,
        "first_event": None,
        "first_content": 900.0,
        "stale": 600.0,
        "progress": 900.0,
        "finish": 5.0,
        "drain": 1.0,
        "total": None,
        "deadline": None,
    },
    "local": {
        "connect": 10.0,
        "send": 60.0,
        "headers": None,
        # 150,000 tokens of prompt are reported to take 1,180 s on local hardware: this plus 450 s for the size.
        "ttfb": 900.0,
        "first_event": None,
        "first_content": 1800.0,
        "stale": 900.0,
        "progress": 900.0,
        "finish": 5.0,
        "drain": 1.0,
        "total": None,
        "deadline": None,
    },
}
"""Seconds by profile and limit, ``None`` for off. The figures come from public reports of healthy and of dead calls."""

PLAIN_TTFB: Mapping[str, float] = {"hosted": 600.0, "reasoning": 1800.0, "local": 1800.0}
"""The default ``ttfb`` of a plain call, in seconds: it is silent until the answer is finished."""

RELAY_FINISH = 30.0
"""The default ``finish`` in seconds where the bytes are handed on as they come: there it only ends the body, which its
reader judges by marks of its own."""

CONTENT_CLOCKS = ("first_event", "first_content", "progress", "finish")
"""The clocks that have no meaning in a plain call."""


def check_profile(profile: object, field: str = "profile") -> str:
    """``profile`` if there is one of that name. Raises :class:`~llmwatch.errors.ConfigError` that lists them.

    ``field`` is what the user called it.
    """
    if isinstance(profile, str) and profile in PROFILES:
        return profile
    raise refused(field, profile, f"{field}={{}}", f"it takes one of {', '.join(PROFILES)}")


def detect_profile(url: str | None = None, body: object = None) -> str:
    """The profile that fits a request: ``local`` for a loopback or private host, ``reasoning`` where the parsed JSON
    ``body`` asks for thinking or the model is known to think, else ``hosted``.

    The host comes first: no limit of ``local`` is shorter than that of ``reasoning``, and a thinking model on local
    hardware needs the longer ones.
    """
    if is_local(url):
        return "local"
    if asks_for_thinking(body) or is_reasoning_model(model_of(url, body)):
        return "reasoning"
    return "hosted"
