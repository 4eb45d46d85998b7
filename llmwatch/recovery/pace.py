"""Pacing: when a provider names a wait to one call, the others need not be refused to learn of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Hold", "Pace", "release"]

SPREAD = 1.0
"""Seconds over which the calls that were held are spread behind the end of the wait."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Calls are held until ``until``, as a call was told at ``since`` that went out at ``sent_at``; all on a monotonic
    clock.
    """

    sent_at: float
    since: float
    until: float


class Pace:
    """The holds of one origin, by model and credential. Not for use from several threads: its owner has the lock."""

    def __init__(self) -> None:
        self._holds: dict[str, Hold] = {}

    def hold(self, key: str, wait: float, now: float, sent_at: float) -> None:
        """The 429 of an attempt that went out at ``sent_at`` has named a wait of ``wait`` seconds. A hold never ends
        earlier by another 429.
        """
        before = self.held(key, now)
        until = now + wait
        if before is not None:
            until, sent_at = max(until, before.until), max(sent_at, before.sent_at)
        # Those that are over are forgotten when another comes.
        self._holds = {one: hold for one, hold in tuple(self._holds.items()) if hold.until > now}
        self._holds[key] = Hold(sent_at, now, until)

    def held(self, key: str | None, now: float) -> Hold | None:
        """The hold that is on at ``now``, which may be yet to come."""
        found = None if key is None else self._holds.get(key)
        return None if found is None or found.until <= now else found

    def success(self, key: str | None, sent_at: float) -> bool:
        """An attempt that went out at ``sent_at`` is answered well. Ends a hold that began before; whether one did."""
        found = None if key is None else self._holds.get(key)
        if found is None or sent_at < found.since:
            return False
        self._holds.pop(str(key), None)
        return True


def release(hold: Hold, random: Callable[[], float]) -> float:
    """When one of the calls that wait for the end of ``hold`` goes out."""
    return hold.until + random() * SPREAD
