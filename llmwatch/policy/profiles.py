"""The default limits in three profiles, and the detection of a request's profile."""

from __future__ import annotations

from collections.abc import Mapping

from llmwatch.payload.reasoning import asks_for_thinking, is_reasoning_model, model_of
from llmwatch.policy.limit_table import LIMITS, NAMES
from llmwatch.policy.local_hosts import is_local
from llmwatch.policy.values import refused

__all__ = ["PASSTHROUGH_FINISH", "PLAIN_TTFB", "PROFILES", "check_profile", "detect_profile"]

PROFILES: Mapping[str, Mapping[str, float | None]] = {
    profile: {name: LIMITS[name].defaults[at] for name in NAMES}
    for at, profile in enumerate(("hosted", "reasoning", "local"))
}
"""Seconds by profile and limit, ``None`` for off. The figures come from public reports of healthy and of dead calls."""

PLAIN_TTFB: Mapping[str, float] = {"hosted": 600.0, "reasoning": 1800.0, "local": 1800.0}
"""The default ``ttfb`` of a plain call, in seconds: a plain call is silent until the answer is finished."""

PASSTHROUGH_FINISH = 30.0
"""The default ``finish`` of a passthrough, in seconds. There it only ends the body; the reader judges the answer by
marks of its own."""


def check_profile(profile: object, field: str = "profile") -> str:
    """``profile``, if a profile has that name. Raises :class:`~llmwatch.errors.ConfigError` listing the profiles.

    ``field`` is the user's name for the setting.
    """
    if isinstance(profile, str) and profile in PROFILES:
        return profile
    raise refused(field, profile, f"{field}={{}}", f"it takes one of {', '.join(PROFILES)}")


def detect_profile(url: str | None = None, body: object = None) -> str:
    """The profile that fits a request.

    ``local`` for a loopback or private host; ``reasoning`` if the parsed JSON ``body`` asks for thinking or names a
    reasoning model; else ``hosted``. The host comes first: no limit of ``local`` is shorter than in ``reasoning``, and
    a reasoning model on local hardware needs the longer ones.
    """
    if is_local(url):
        return "local"
    if asks_for_thinking(body) or is_reasoning_model(model_of(url, body)):
        return "reasoning"
    return "hosted"
