"""Checks that several commands make on their options."""

from __future__ import annotations

import math

import typer

__all__ = ["limit", "one_of"]


def limit(value: float | None) -> float | None:
    """``value`` if it is a limit in seconds (0: off) or ``None``. Else raises ``typer.BadParameter``."""
    if value is not None and (not math.isfinite(value) or value < 0):
        raise typer.BadParameter("it takes a finite number of seconds, 0 or more; 0 turns the limit off.")
    return value


def one_of(value: str, allowed: tuple[str, ...]) -> str:
    """``value`` if it is one of ``allowed``. Raises ``typer.BadParameter``, which lists them."""
    if value not in allowed:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(allowed)}.")
    return value
