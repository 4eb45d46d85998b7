"""The time-outs that a request carries, as limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmwatch.errors import ConfigError
from llmwatch.policy import LIMITS, UNSET, EffectiveLimits, Limits

__all__ = ["NO_TIMEOUTS", "Timeouts", "of_requests"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """A request's own time-outs: seconds by limit, ``None`` for no time-out.

    They lower an explicit limit and never raise it. If they ``stand`` for limits they replace a default, else they only
    lower it. If they are not ``heeded`` they are recorded and change nothing.
    """

    seconds: Mapping[str, float | None] = field(default_factory=dict)
    stand: bool = False
    heeded: bool = True

    def on(self, limits: EffectiveLimits) -> EffectiveLimits:
        """``limits`` with these time-outs applied."""
        return limits.with_timeouts(self.seconds, stand=self.stand, heeded=self.heeded)


NO_TIMEOUTS = Timeouts()
"""Those of a request that carries none."""


def of_requests(timeout: object, *, heeded: bool = True) -> Timeouts:
    """The meaning of requests' ``timeout=``, in seconds.

    A number, a pair (connect, read), or urllib3's Timeout. The first sets ``connect``; the second sets ``ttfb`` and
    ``stale``, since a read time-out bounds silence. ``None``, also inside a pair, sets nothing; 0 means no time-out.
    Raises :class:`~llmwatch.ConfigError` for invalid values.
    """
    if timeout is None:
        return NO_TIMEOUTS
    connect, read = _pair(timeout)
    for value in (connect, read):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise _refused(timeout, "a number of seconds")
    told = {"connect": connect, "read": read}
    given: dict[str, Any] = {name: told[row.timeout] for name, row in LIMITS.items() if row.timeout in told}
    try:
        checked = Limits(**{name: value for name, value in given.items() if value is not None})
    except ConfigError:
        raise _refused(timeout, "a finite number of seconds, 0 or more") from None
    seconds = {name: value for name in given if (value := checked.get(name)) is not UNSET}
    return Timeouts(seconds=seconds, stand=True, heeded=heeded)


def _refused(timeout: object, number: str) -> ConfigError:
    """The error names ``timeout``, which the user wrote, and not a limit."""
    text = f"timeout={timeout!r} must be {number}, a pair (connect, read) of such, or None."
    return ConfigError(text, field="timeout", value=timeout)


def _pair(timeout: object) -> tuple[object, object]:
    if isinstance(timeout, tuple) and len(timeout) == 2:
        return timeout
    if hasattr(timeout, "connect_timeout"):
        # urllib3's Timeout has marker objects as defaults. Its read_timeout can be read only once its clock runs.
        total, read = timeout.total, timeout._read  # type: ignore[attr-defined]
        return _least(timeout.connect_timeout, total), _least(read, total)
    return timeout, timeout


def _least(*values: object) -> float | None:
    return min((value for value in values if isinstance(value, (int, float))), default=None)
