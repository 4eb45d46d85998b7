"""The library's time-outs, in the words of limits. They may lower a limit and never raise one.

``connect`` bounds ``connect``, ``read`` bounds ``ttfb`` and ``stale`` (silence is what a read time-out measures), and
``write`` bounds ``send``. ``pool`` bounds nothing: waiting for a connection is part of our ``connect``.

Every request carries time-outs, whether the user asked for them or not: 5 s from a bare client of httpx, 600 s and 5 s
to connect from an SDK. Those two are nobody's wish, and do not touch a limit that somebody set: they lower defaults.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["caps_of", "is_nobodys"]

_LIMITS = {"connect": ("connect",), "read": ("ttfb", "stale"), "write": ("send",)}

# The defaults of httpx and httpx2, and of both SDKs.
_NOBODYS = (
    {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0},
    {"connect": 5.0, "read": 600.0, "write": 600.0, "pool": 600.0},
)

# A time-out of 0 means "at once"; a limit of 0 would mean "never".
_LEAST = 0.001


def is_nobodys(timeout: Mapping[str, Any]) -> bool:
    """Whether these are the time-outs of a client whose user set none."""
    return dict(timeout) in _NOBODYS


def caps_of(timeout: Mapping[str, Any], *, spared: Iterable[str] = ()) -> dict[str, float]:
    """What the limits may be at most, in seconds, by name; none for those in ``spared``."""
    spared = frozenset(spared)
    return {
        name: max(float(timeout[key]), _LEAST)
        for key, names in _LIMITS.items()
        if timeout.get(key) is not None
        for name in names
        if name not in spared
    }
