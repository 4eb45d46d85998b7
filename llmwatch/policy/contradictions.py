"""The check that the limits of one source do not contradict each other.

Only the specific values of one source can contradict each other, such as ``ttfb=90`` beside ``total=60``. Between
sources the shorter limit simply expires first, and :mod:`llmwatch.policy.effective` reports it.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmwatch.errors import ConfigError
from llmwatch.policy.limit_table import LIMITS
from llmwatch.policy.values import UNSET, Seconds, shown

__all__ = ["BOUNDED_BY", "check"]

BOUNDED_BY: Mapping[str, tuple[str, ...]] = {
    name: tuple(row.bounded_by.split()) for name, row in LIMITS.items() if row.bounded_by
}
"""Each limit with the limits that may not be shorter."""


def check(values: Mapping[str, Seconds], spelled: Mapping[str, str] | None = None) -> None:
    """Raise :class:`ConfigError` if two of the ``values`` of one source contradict each other.

    ``values`` maps names of limits to seconds, ``None`` (off) or UNSET. ``spelled`` maps them to the user's spelling,
    such as an environment variable. A limit that is off contradicts nothing.
    """
    for inner, outers in BOUNDED_BY.items():
        longer = values.get(inner, UNSET)
        if not longer:
            continue
        for outer in outers:
            shorter = values.get(outer, UNSET)
            if shorter and longer > shorter:
                first, second = (inner, outer) if spelled is None else (spelled[inner], spelled[outer])
                raise ConfigError(
                    f"{first}={longer:g} and {second}={shorter:g} contradict each other: {first} may not be longer than"
                    f" {second}. Lower {first} to {shown(shorter)} or less, or raise {second} (0 turns it off).",
                    field=first,
                    value=longer,
                )
