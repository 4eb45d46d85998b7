"""The values that a single setting may have: seconds, whole numbers, switches, or nothing.

The readers here raise a bare ``ValueError``. The caller, which knows the setting's name, turns it into a
:class:`~llmwatch.errors.ConfigError` with :func:`refused`. No invalid value is replaced by a default.
"""

from __future__ import annotations

import math
from enum import Enum
from numbers import Real
from typing import Final, Literal, TypeAlias

from llmwatch.errors import ConfigError

__all__ = [
    "BYTES_ALLOWED",
    "SECONDS_ALLOWED",
    "UNSET",
    "Seconds",
    "Unset",
    "flag",
    "refused",
    "seconds",
    "shown",
    "whole",
]


class Unset(Enum):
    """The type of :data:`UNSET`. An enumeration, so that it stays one object through pickle and copy."""

    UNSET = "UNSET"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Not given: the next source decides. Falsy. It differs from ``None``, which turns a limit off."""

Seconds: TypeAlias = float | Unset | None
"""A number of seconds, ``None`` for off, :data:`UNSET` for not given."""

BYTES_ALLOWED = "it takes a whole number of bytes, 0 or more; 0 removes the cap"
SECONDS_ALLOWED = "it takes a finite number of seconds, 0 or more"

_LONGEST_SHOWN = 80  # characters of a wrong value in a message: a variable may hold a whole file by mistake


def seconds(value: object) -> float | None:
    """``value`` as seconds, ``None`` if it is ``None`` or 0.

    Raises :class:`ValueError` if it is not a finite number of at least 0 (text and booleans are not), and for a
    positive number that a float rounds to 0.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, Real)):
        raise ValueError
    try:
        number = float(value)
    except OverflowError:
        raise ValueError from None
    if not math.isfinite(number) or number < 0 or (not number and value):
        raise ValueError
    return number or None


def whole(value: object) -> int:
    """``value`` if it is a whole number of at least 0. ``3.0`` and ``True`` raise :class:`ValueError`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError
    return int(value)


def flag(value: object) -> bool:
    """``value`` if it is ``True`` or ``False``. Raises :class:`ValueError`, for ``1`` and ``0`` as well."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def refused(field: str, value: object, spelling: str, allowed: str) -> ConfigError:
    """The error for an invalid setting.

    ``spelling`` is the user's spelling with ``{}`` for the value (``"Limits(ttfb={})"``); ``allowed`` says what the
    setting takes.
    """
    try:
        text = repr(value)
    except Exception:  # repr() of an int with more than 4,300 digits raises, as a foreign object's may
        text = f"<{type(value).__name__}>"
        value = text
    if len(text) > _LONGEST_SHOWN:
        text = f"{text[:_LONGEST_SHOWN]}... ({len(text):,} characters)"
    return ConfigError(f"{spelling.format(text)} is not allowed: {allowed}.", field=field, value=value)


def shown(value: float) -> str:
    """Seconds for a reader: ``90 s``, ``0.25 s``."""
    return f"{int(value):,} s" if value.is_integer() else f"{value:g} s"
