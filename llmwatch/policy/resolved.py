"""The limits that a call uses, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmwatch.records.frozen import FrozenMap, freeze_map
from llmwatch.records.json_text import JsonText

__all__ = ["TIMEOUT_SOURCE", "EffectiveLimit", "EffectiveLimits"]

TIMEOUT_SOURCE = "timeout of the request"
"""The source of a limit that a request's own time-out sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveLimit(JsonText):
    """One limit in force: ``value`` in seconds, ``None`` for off.

    ``source`` is text for a reader: ``"argument of the call"``, ``"LLMWATCH_STALE_TIMEOUT_SECONDS"``,
    ``"profile hosted, scaled for 32,000 prompt tokens"``. ``explicit`` is true for a value from an argument, the
    environment or a time-out, which is used as given. ``timeout`` is the request's own time-out for this limit, in
    force or not. If it is in force, ``instead_of`` is the limit that it replaces: seconds, ``None`` for off.
    """

    name: str
    value: float | None
    source: str
    explicit: bool
    timeout: float | None = None
    instead_of: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text; ``timeout`` and ``instead_of`` only if a time-out says something."""
        said: dict[str, Any] = {"value": self.value, "source": self.source, "explicit": self.explicit}
        if self.timeout is not None:
            said["timeout"] = self.timeout
        if self.source == TIMEOUT_SOURCE:
            said["instead_of"] = self.instead_of
        return said


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveLimits(JsonText):
    """Every limit of one attempt with its source, and warnings about the combination.

    ``profile_source`` says how the ``profile`` was chosen: ``"argument"``, ``"LLMWATCH_PROFILE"`` or ``"detected"``.
    ``limits`` maps each name to an :class:`EffectiveLimit`, in the order in which a call meets them. ``warnings`` are
    sentences for a person. The value holds no secret and can be pickled.
    """

    profile: str
    profile_source: str
    limits: Mapping[str, EffectiveLimit]
    warnings: tuple[str, ...] = ()
    _seconds: dict[str, float | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    _recorded: FrozenMap | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def recorded(self) -> Mapping[str, Any]:
        """Each limit by name as a record keeps it, see :meth:`EffectiveLimit.to_dict`. Computed once."""
        if self._recorded is None:
            made = freeze_map({name: limit.to_dict() for name, limit in self.limits.items()})
            object.__setattr__(self, "_recorded", made)
            return made
        return self._recorded

    def value(self, name: str) -> float | None:
        """The limit ``name`` in seconds, ``None`` for off. Raises :class:`KeyError` for an unknown name."""
        return self.limits[name].value

    @property
    def seconds(self) -> dict[str, float | None]:
        """All limits, by name, in seconds, ``None`` for off."""
        if not self._seconds:
            self._seconds.update({name: limit.value for name, limit in self.limits.items()})
        return self._seconds.copy()

    def lowered(self, caps: Mapping[str, float], source: str) -> EffectiveLimits:
        """A copy in which each limit is at most its cap in ``caps`` (seconds); a limit that is off takes the cap."""
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
        """A copy with the request's own ``timeouts`` applied: seconds by limit, ``None`` for no time-out.

        An explicit limit is lowered to its time-out, never raised; one that is off takes it. A default is replaced by
        it, up or down, if the time-outs ``stand`` for the limit, else lowered. Time-outs that are not ``heeded`` are
        only recorded.
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
        """Plain dictionaries, lists, numbers and text."""
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
