"""One call whose requests a library resends by itself, and for each of which it calls llmwatch anew.

botocore signs each request anew, so llmwatch makes no resend of its calls. Each request is a
:class:`~llmwatch.engine.call.Call`, whose failure is the library's to judge. The loop makes one call of them: attempts,
decisions and the deadline go on from one request to the next, and there is one record.

Only the thread in which the library makes its requests uses a loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from llmwatch.records import AttemptRecord, Decision, DecisionRecord

__all__ = ["LibraryLoop"]

_CONTENT = ("text", "reasoning", "tool_input", "tool_call")


@dataclass(slots=True)
class LibraryLoop:
    """The requests so far: ``attempts`` and ``decisions`` are added to by each.

    ``patience``: attempts that a limit ended before any content. ``began``: when the first request began, on the
    clock of the limits and in wall time. ``call_id``: the id of the call that the requests are. ``most``: how many
    requests the library allows, as far as it says.
    """

    attempts: list[AttemptRecord] = field(default_factory=list)
    decisions: list[DecisionRecord] = field(default_factory=list)
    patience: int = 0
    began: tuple[float, float] | None = None
    most: int = 1
    call_id: str = field(default_factory=lambda: os.urandom(16).hex())
    _failed_at: float = 0.0
    _tell: Callable[[], object] | None = None

    def resume(self, now: float, wall: float) -> None:
        """A request begins. If it follows a failed one, the library has decided on a resend."""
        if self.began is None:
            self.began = now, wall
        if self._tell is None:
            return
        self._tell = None
        last = self.attempts[-1] if self.attempts else None
        if last is not None and last.limit is not None and not any(map((last.facts or {}).get, _CONTENT)):
            self.patience += 1
        self.decisions[-1:] = [
            replace(decision, decision=Decision.RETRY, wait=now - self._failed_at, carried_out=True)
            for decision in self.decisions[-1:]
        ]

    def failed(self, now: float, tell: Callable[[], object]) -> None:
        """A request failed. ``tell`` tells the call's record, unless the library resends."""
        self._failed_at, self._tell = now, tell

    def over(self) -> None:
        """The library makes no further request: a failure is told."""
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()
