"""The time-outs that a request carries, in the words of limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmwatch.errors import ConfigError
from llmwatch.policy import LIMITS, UNSET, EffectiveLimits, Limits

__all__ = ["NO_TIMEOUTS", "Timeouts", "of_requests"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """What a request's own time-outs say: seconds by limit, ``None`` for none at all.

    They lower a limit and never raise one; those that ``stand`` for limits take the place of one that nobody set. Those
    that are not ``heeded`` are noted in the record, and change nothing.
    """

    seconds: Mapping[str, float | None] = field(default_factory=dict)
    stand: bool = False
    heeded: bool = True

    def on(self, limits: EffectiveLimits) -> EffectiveLimits:
        """``limits`` as they are with these."""
        return limits.with_timeouts(self.seconds, stand=self.stand, heeded=self.heeded)


NO_TIMEOUTS = Timeouts()
"""Those of a request that carries none."""


def of_requests(timeout: object, *, heeded: bool = True) -> Timeouts:
    """What requests' ``timeout=`` says.

    A number, a pair (connect, read), or urllib3's Timeout, in seconds: the first is ``connect``, the second ``ttfb``
    and ``stale``, which is what a read time-out is: silence. ``None`` says nothing, and neither does ``None`` inside a
    pair; 0 is no time-out at all. Raises :class:`~llmwatch.ConfigError` for invalid values.
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
    said = {name: value for name in given if (value := checked.get(name)) is not UNSET}
    return Timeouts(seconds=said, stand=True, heeded=heeded)


def _refused(timeout: object, number: str) -> ConfigError:
    """In the words that its user wrote, who has set no limit."""
    text = f"timeout={timeout!r} must be {number}, a pair (connect, read) of such, or None."
    return ConfigError(text, field="timeout", value=timeout)


def _pair(timeout: object) -> tuple[object, object]:
    if isinstance(timeout, tuple) and len(timeout) == 2:
        return timeout
    if hasattr(timeout, "connect_timeout"):
        # urllib3's own kind, whose defaults are marker objects. Its read_timeout can be asked only once its clock runs.
        total, read = timeout.total, timeout._read  # type: ignore[attr-defined]
        return _least(timeout.connect_timeout, total), _least(read, total)
    return timeout, timeout


def _least(*values: object) -> float | None:
    return min((value for value in values if isinstance(value, (int, float))), default=None)
