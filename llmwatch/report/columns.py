"""The calls of a log in typed arrays, a row for each call and one for each attempt. Pure.

Times within a call are whole tenths of a millisecond, and texts are numbers in tables, so that 100,000 calls take
about three megabytes.
"""

from __future__ import annotations

import base64
import gzip
import heapq
import itertools
import sys
from array import array
from collections.abc import Iterable
from typing import Any

from llmwatch.records import AttemptRecord, CallRecord
from llmwatch.records.call import CALL_OUTCOMES
from llmwatch.report.lost import losses_of, words_of
from llmwatch.report.tuning import MEASURED, observed

__all__ = ["NONE", "SLOWEST", "TICKS", "Columns"]

TICKS = 10_000
"""Units of a time in a second."""

NONE = 0xFFFF_FFFF
"""The time that is not known."""

SLOWEST = 300
"""Number of the slowest calls whose ids are kept, beside those of the first incidents."""

_MOST_IDS = 5_000
_MOST_TEXTS = 0xFFFF
_OTHERS = "(others)"

_CALL = {
    "start": "d",
    "elapsed": "I",
    "prompt": "I",
    "first": "I",
    **{f"limit_{name}": "I" for name in MEASURED},
    "origin": "H",
    "model": "H",
    "label": "H",
    "process": "H",
    "entry": "H",
    "status": "H",
    "outcome": "B",
}
_ATTEMPT = {
    "offset": "I",
    "took": "I",
    "lasted": "I",
    "sent": "I",
    "byte": "I",
    "content": "I",
    "gap": "I",
    "limit_seconds": "I",
    "why": "H",
    "a_status": "H",
    "a_model": "H",
    "a_origin": "H",
    "a_phase": "H",
    "a_error": "H",
    "measured": "B",
}
_TABLES = ("origin", "model", "label", "process", "entry", "why", "phase", "error")


class _Table:
    """Texts by number; number 0 is no text."""

    def __init__(self) -> None:
        self.texts: list[str] = [""]
        self._numbers: dict[str, int] = {"": 0}

    def number(self, text: object) -> int:
        """The number of a text, new or known."""
        key = "" if text is None else str(text)
        found = self._numbers.get(key)
        if found is None:
            if len(self.texts) >= _MOST_TEXTS:
                key = _OTHERS
            found = self._numbers.setdefault(key, len(self.texts))
            if found == len(self.texts):
                self.texts.append(key)
        return found


class Columns:
    """The arrays, filled call by call.

    Of each call: ``start`` (wall time in seconds), ``elapsed``, ``prompt`` (bytes), ``first`` (row of its first
    attempt), the limits in force, and numbers of ``origin``, ``model``, ``label``, ``process``, ``entry``, ``outcome``.
    Of each attempt: ``offset`` from the call's start, ``took``, ``lasted`` (until the next attempt began or the call
    ended), ``sent``, ``byte`` and ``content`` (from the attempt's start), ``gap``, the number of ``why`` it was lost
    (0: it was not), the length of its limit, and ``measured``: whether it counts for the recommendations. A call that
    failed before any attempt has the row of one with phase and times unknown.
    """

    def __init__(self) -> None:
        self._arrays = {name: array(kind) for name, kind in (*_CALL.items(), *_ATTEMPT.items())}
        self._tables = {name: _Table() for name in _TABLES}
        self._hangs: set[int] = set()
        self._ids: dict[int, str] = {}
        self._slowest: list[tuple[float, int, str]] = []

    def __len__(self) -> int:
        """Number of calls."""
        return len(self._arrays["start"])

    def add(self, record: CallRecord) -> None:
        """Add one call."""
        arrays, tables = self._arrays, self._tables
        number = len(self)
        values: dict[str, Any] = {
            "start": record.started_at,
            "elapsed": _ticks(record.elapsed),
            "prompt": min(record.prompt_bytes or 0, NONE),
            "first": len(arrays["offset"]),
            "origin": tables["origin"].number(record.origin),
            "model": tables["model"].number(record.model),
            "label": tables["label"].number(record.label),
            "process": tables["process"].number(record.process),
            "entry": tables["entry"].number(record.entry_point),
            "status": _status(record.status),
            "outcome": CALL_OUTCOMES.index(record.outcome),
        }
        for name in MEASURED:
            limit = record.limits.get(name, {}).get("value")
            values[f"limit_{name}"] = _ticks(limit if isinstance(limit, (int, float)) else None)
        for name, value in values.items():
            arrays[name].append(value)
        self._add_attempts(record)
        if record.outcome != "done" and len(self._ids) < _MOST_IDS:
            self._ids[number] = record.call_id
        slow = (record.elapsed, -number, record.call_id)
        if len(self._slowest) < SLOWEST:
            heapq.heappush(self._slowest, slow)
        else:
            heapq.heappushpop(self._slowest, slow)

    def _add_attempts(self, record: CallRecord) -> None:
        losses = {loss.number: loss for loss in losses_of(record)}
        attempts: list[AttemptRecord | None] = [*record.attempts]
        if None in losses:
            attempts.append(None)
        for number, attempt in enumerate(attempts):
            loss = losses.get(None if attempt is None else number)
            self._add_attempt(record, attempt, None if loss is None else loss.seconds)
            why = 0 if loss is None else self._tables["why"].number(loss.why)
            self._arrays["why"].append(why)
            if loss is not None and loss.hang:
                self._hangs.add(why)

    def _add_attempt(self, record: CallRecord, attempt: AttemptRecord | None, lasted: float | None) -> None:
        tables = self._tables
        values: dict[str, Any]
        if attempt is None:
            unknown = dict.fromkeys(("sent", "byte", "content", "gap", "limit_seconds"), NONE)
            known = {"offset": 0, "took": _ticks(record.elapsed), "lasted": _ticks(record.elapsed)}
            values = {
                **unknown,
                **known,
                "a_status": _status(record.status),
                "a_model": tables["model"].number(record.model),
                "a_origin": tables["origin"].number(record.origin),
                "a_phase": 0,
                "a_error": 0,
                "measured": 0,
            }
        else:
            times = attempt.timings
            values = {
                "offset": _ticks(attempt.started_at - record.started_at),
                "took": _ticks(attempt.elapsed),
                "lasted": _ticks(attempt.elapsed if lasted is None else lasted),
                "sent": _ticks(times.sent),
                "byte": _ticks(times.first_byte),
                "content": _ticks(times.first_content),
                "gap": _ticks(attempt.longest_gap),
                "limit_seconds": _ticks(attempt.limit_seconds),
                "a_status": _status(attempt.status),
                "a_model": tables["model"].number(attempt.model),
                "a_origin": tables["origin"].number(attempt.origin),
                "a_phase": tables["phase"].number(attempt.phase),
                "a_error": tables["error"].number(attempt.error if attempt.failed else None),
                "measured": 1 if observed(attempt, record) else 0,
            }
        for name, value in values.items():
            self._arrays[name].append(value)

    def packed(self) -> dict[str, Any]:
        """Plain JSON values: the arrays in base64 of compressed bytes, and the tables of texts."""
        names = [*_CALL, *_ATTEMPT]
        # Wide types come first, so that each array begins where its type may.
        names.sort(key=lambda name: -self._arrays[name].itemsize)
        return {
            "calls": len(self),
            "ticks": TICKS,
            "outcomes": list(CALL_OUTCOMES),
            "arrays": [[name, self._arrays[name].typecode, len(self._arrays[name])] for name in names],
            "bytes": _compressed(map(self._bytes_of, names)),
            "tables": {name: table.texts for name, table in self._tables.items()},
            "hangs": sorted(self._hangs),
            "words": [words_of(why) for why in self._tables["why"].texts],
            "ids": {**self._ids, **{-negative: call_id for _, negative, call_id in self._slowest}},
        }

    def _bytes_of(self, name: str) -> bytes:
        values = self._arrays[name]
        if sys.byteorder == "big":
            values = array(values.typecode, values)
            values.byteswap()
        return values.tobytes()


def _compressed(parts: Iterable[bytes]) -> str:
    return base64.b64encode(gzip.compress(b"".join(itertools.chain(parts)), 9, mtime=0)).decode("ascii")


def _ticks(seconds: float | None) -> int:
    if seconds is None:
        return NONE
    return min(max(0, round(seconds * TICKS)), NONE - 1)


def _status(status: int | None) -> int:
    return status if status is not None and 0 < status < 1000 else 0
