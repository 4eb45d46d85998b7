"""What a test run overrides in every call: waits, the number of attempts, the length of limits.

:mod:`llmwatch.testing` adds overrides and takes them away; a call looks at them when it resolves its settings. There is
no lock that a forked child could find held: each access to ``ACTIVE`` is one step of the interpreter.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ACTIVE", "Override"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Override:
    """One override.

    * ``without_waits``: an attempt follows the one before at once. ``most_attempts``: no call has more, ``None`` for no
      bound. ``factor``: each limit is multiplied by it, ``None`` for none.
    """

    without_waits: bool = False
    most_attempts: int | None = None
    factor: float | None = None


ACTIVE: dict[Override, None] = {}
"""The overrides in force, in the order in which they began.

Of two that set the same, the later one counts.
"""
