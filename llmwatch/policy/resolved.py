"""The limits that a call really uses, each with where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmwatch.records.frozen import FrozenMap, freeze_map
from llmwatch.records.json_text import JsonText

__all__ = ["TIMEOUT_SOURCE", "EffectiveLimit", "EffectiveLimits"]

TIMEOUT_SOURCE = "timeout of the request"
"""The source of a limit that is what a request's own time-out says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveLimit(JsonText):
    """One limit as it applies: ``value`` in seconds, ``None`` for off.

    ``source`` is words for a reader: ``"argument of the call"``, ``"LLMWATCH_STALE_TIMEOUT_SECONDS"``,
    ``"profile hosted, scaled for 32,000 prompt tokens"``. ``explicit`` is true for a value from an argument or the
    environment, which is used as given. ``timeout`` is what a time-out that the request carries says of it, whether it
    counts or not, and ``instead_of`` the limit that would apply without it, where it counts: seconds, ``None`` for off.
    """

    name: str
    value: float | None
    source: str
    explicit: bool
    timeout: float | None = None
    instead_of: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as a dictionary of numbers and text, with what a time-out says only where there is one."""
        said: dict[str, Any] = {"value": self.value, "source": self.source, "explicit": self.explicit}
        if self.timeout is not None:
            said["timeout"] = self.timeout
        if self.source == TIMEOUT_SOURCE:
            said["instead_of"] = self.instead_of
        return said


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveLimits(JsonText):
    """Every limit of one attempt, its source, and what is odd about the lot.

    ``profile`` is the name of the profile, ``profile_source`` who chose it (``"argument"``, ``"LLMWATCH_PROFILE"`` or
    ``"detected"``), ``limits`` maps each name to an :class:`EffectiveLimit`, in the order in which a call meets them,
    ``warnings`` are sentences for a person. It holds no secret, and can be pickled.
    """

    profile: str
    profile_source: str
    limits: Mapping[str, EffectiveLimit]
    warnings: tuple[str, ...] = ()
    _seconds: dict[str, float | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    _recorded: FrozenMap | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def recorded(self) -> Mapping[str, Any]:
        """Each limit by name as a record keeps it, see :meth:`EffectiveLimit.to_dict`. Made once."""
        if self._recorded is None:
            made = freeze_map({name: limit.to_dict() for name, limit in self.limits.items()})
            object.__setattr__(self, "_recorded", made)
            return made
        return self._recorded

    def value(self, name: str) -> float | None:
        """The limit ``name`` in seconds, ``None`` for off. Raises :class:`KeyError` for a name that is no limit."""
        return self.limits[name].value

    @property
    def seconds(self) -> dict[str, float | None]:
        """All limits, by name, in seconds, ``None`` for off."""
        if not self._seconds:
            self._seconds.update({name: limit.value for name, limit in self.limits.items()})
        return self._seconds.copy()

    def lowered(self, caps: Mapping[str, float], source: str) -> EffectiveLimits:
        """The same with each limit at most what ``caps`` says, in seconds; one that is off is set to it. A limit that
        is shorter stays.
        """
        if not caps:
            return self
        limits = {
            name: EffectiveLimit(name=name, value=caps[name], source=source, explicit=True)
            if name in caps and (limit.value is None or caps[name] < limit.value)
            else limit
            for name, limit in self.limits.items()
        }
        return replace(self, limits=limits)

    def with_timeouts(
        self, timeouts: Mapping[str, float | None], *, stand: bool, heeded: bool = True
    ) -> EffectiveLimits:
        """The same with what a request's own time-outs say: seconds by limit, ``None`` for none at all.

        A limit that somebody set is at most that, and is never raised; one that is off is set to it. A limit that
        nobody set is that, upwards as well as downwards, if the time-outs ``stand`` for it, else at most that. Those
        that are not ``heeded`` are only noted.
        """
        if not timeouts:
            return self
        changed = {
            name: _with_timeout(limit, timeouts[name], stand=stand and not limit.explicit, heeded=heeded)
            for name, limit in self.limits.items()
            if name in timeouts
        }
        return replace(self, limits={**self.limits, **changed}) if changed else self

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dictionaries, lists, numbers and text."""
        return {
            "profile": self.profile,
            "profile_source": self.profile_source,
            "limits": {name: limit.to_dict() for name, limit in self.limits.items()},
            "warnings": list(self.warnings),
        }


def _with_timeout(limit: EffectiveLimit, timeout: float | None, *, stand: bool, heeded: bool) -> EffectiveLimit:
    lower = timeout is not None and (limit.value is None or timeout < limit.value)
    if heeded and (stand or lower):
        return EffectiveLimit(
            name=limit.name,
            value=timeout,
            source=TIMEOUT_SOURCE,
            explicit=True,
            timeout=timeout,
            instead_of=limit.value,
        )
    return replace(limit, timeout=timeout)
