"""The limits that a call really uses, each with where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["EffectiveLimit", "EffectiveLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveLimit:
    """One limit as it applies: ``value`` in seconds, ``None`` for off.

    ``source`` is words for a reader: ``"argument of the call"``, ``"LLMWATCH_STALE_TIMEOUT_SECONDS"``,
    ``"profile hosted, scaled for 32,000 prompt tokens"``. ``explicit`` is true for a value from an argument or the
    environment, which is used as given.
    """

    name: str
    value: float | None
    source: str
    explicit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveLimits:
    """Every limit of one attempt, its source, and what is odd about the lot.

    ``profile`` is the name of the profile, ``profile_source`` who chose it (``"argument"``, ``"LLMWATCH_PROFILE"`` or
    ``"detected"``), ``limits`` maps each name to an :class:`EffectiveLimit`, in the order in which a call meets them,
    ``warnings`` are sentences for a person. It holds no secret, and can be pickled.
    """

    profile: str
    profile_source: str
    limits: Mapping[str, EffectiveLimit]
    warnings: tuple[str, ...] = ()

    def value(self, name: str) -> float | None:
        """The limit ``name`` in seconds, ``None`` for off. Raises :class:`KeyError` for a name that is no limit."""
        return self.limits[name].value

    @property
    def seconds(self) -> dict[str, float | None]:
        """All limits, by name, in seconds, ``None`` for off."""
        return {name: limit.value for name, limit in self.limits.items()}

    def lowered(self, caps: Mapping[str, float], source: str) -> EffectiveLimits:
        """The same with each limit at most what ``caps`` says, in seconds; one that is off is set to it. A limit that
        is shorter stays.
        """
        limits = {
            name: EffectiveLimit(name=name, value=caps[name], source=source, explicit=True)
            if name in caps and (limit.value is None or caps[name] < limit.value)
            else limit
            for name, limit in self.limits.items()
        }
        return replace(self, limits=limits)

    def as_json(self) -> dict[str, Any]:
        """The same as plain dictionaries, lists, numbers and text."""
        return {
            "profile": self.profile,
            "profile_source": self.profile_source,
            "limits": {
                name: {"value": limit.value, "source": limit.source, "explicit": limit.explicit}
                for name, limit in self.limits.items()
            },
            "warnings": list(self.warnings),
        }
