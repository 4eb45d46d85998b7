"""The calls of a call log that went well, for a reader of the incidents."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llmwatch import CallRecord, ConfigError
from llmwatch.cli.incident_log import opened, tame
from llmwatch.cli.incident_table import counted, when
from llmwatch.policy.environment import CALL_LOG_VARIABLE
from llmwatch.records.call_log import MOST_ROTATED

__all__ = ["GoodCalls", "rotated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodCalls:
    """How many calls went well: answered by their first attempt.

    ``number`` is ``None`` where they were not counted, for the reason ``why``. ``logs`` names the files, ``first`` is
    the wall time of the first of the calls.
    """

    number: int | None
    logs: str = ""
    first: float | None = None
    why: str = ""

    @classmethod
    def among(cls, names: Sequence[str] | None, *, origin: str | None, since: float | None) -> GoodCalls:
        """Count in the call logs ``names``, or else in the one of ``LLMWATCH_CALL_LOG``.

        ``origin`` and ``since`` are those of the incidents. Raises :class:`~llmwatch.ConfigError` for a file of
        ``names`` that cannot be read; that of the variable may be the file of another machine.
        """
        variable = os.environ.get(CALL_LOG_VARIABLE, "").strip()
        if not names and not variable:
            return cls(number=None, why=f"name a call log with --call-log or {CALL_LOG_VARIABLE}")
        logs = tame(", ".join(names or [variable]))
        number, first = 0, None
        try:
            for record in _calls(names or [variable]):
                passes = (since is None or record.started_at >= since) and (
                    origin is None or origin.lower() in record.origin.lower()
                )
                if passes and record.outcome == "done":
                    number += 1
                    first = record.started_at if first is None else min(first, record.started_at)
        except ConfigError as error:
            if names:
                raise
            return cls(number=None, logs=logs, why=str(error).rstrip("."))
        return cls(number=number, logs=logs, first=first)

    def __str__(self) -> str:
        if self.number is None:
            return f"Calls that went well were not counted: {self.why}."
        since = "" if self.first is None else f", since {when(self.first)}"
        return f"{counted(self.number, 'call')} went well{since} ({self.logs})."

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"calls": self.number, "logs": self.logs or None, "since": self.first, "why": self.why or None}


def rotated(path: str) -> list[str]:
    """The files of the call log ``path`` that exist, the oldest first, and ``path`` itself."""
    older = [f"{path}.{number}" for number in range(MOST_ROTATED, 0, -1)]
    return [*filter(os.path.isfile, older), path]


def _calls(names: Iterable[str]) -> Iterator[CallRecord]:
    # A file may be named beside the log that it was rotated from. Lines that are half written are no calls.
    for path in dict.fromkeys(path for name in names for path in rotated(name)):
        with opened(path, lambda skipped: None, kind="call log") as log:
            yield from log.calls()
