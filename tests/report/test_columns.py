"""The typed arrays of the page, unpacked as its script does."""

from __future__ import annotations

import base64
import gzip
from array import array
from typing import Any

import pytest

from llmwatch.records import CallRecord
from llmwatch.report.columns import NONE, SLOWEST, TICKS, Columns
from tests.report.making import ORIGIN, START, answered, hung, refused


def unpacked(*records: CallRecord) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The packed values, and the arrays by name."""
    columns = Columns()
    for record in records:
        columns.add(record)
    packed = columns.packed()
    data, place, arrays = gzip.decompress(base64.b64decode(packed["bytes"])), 0, {}
    for name, kind, length in packed["arrays"]:
        made = array(kind)
        assert place % made.itemsize == 0, "a typed array of the browser begins at a multiple of its size"
        made.frombytes(data[place : place + length * made.itemsize])
        place += length * made.itemsize
        arrays[name] = made.tolist()
    assert place == len(data)
    return packed, arrays


def ticks(seconds: float) -> int:
    return round(seconds * TICKS)


def test_a_call_has_a_row_and_each_attempt_one() -> None:
    """Times are tenths of a millisecond from the start of the call or of the attempt; texts are numbers."""
    packed, arrays = unpacked(answered(1, 5.0, label="job"), hung(2, 9.0, model="other", prompt_bytes=300))
    assert packed["calls"] == 2
    assert arrays["start"] == [START + 5, START + 9]
    assert arrays["elapsed"] == [ticks(1.0), ticks(3.5)]
    assert arrays["first"] == [0, 1]
    assert arrays["outcome"] == [0, 1]
    assert arrays["prompt"] == [0, 300]
    assert [packed["tables"]["model"][number] for number in arrays["model"]] == ["m", "other"]
    assert [packed["tables"]["label"][number] for number in arrays["label"]] == ["job", ""]
    assert [packed["tables"]["origin"][number] for number in arrays["a_origin"]] == [ORIGIN] * 3
    assert arrays["offset"] == [0, 0, ticks(2.5)]
    assert arrays["lasted"] == [ticks(1.0), ticks(2.5), ticks(1.0)]
    assert arrays["took"] == [ticks(1.0), ticks(2.1), ticks(1.0)]
    assert arrays["byte"] == [ticks(0.6), NONE, ticks(0.6)]
    assert arrays["content"] == [ticks(0.7), NONE, ticks(0.7)]
    assert arrays["gap"] == [ticks(0.2), NONE, ticks(0.2)]
    assert [packed["tables"]["why"][number] for number in arrays["why"]] == ["", "ttfb", ""]
    assert packed["hangs"] == [1]
    assert arrays["limit_seconds"] == [NONE, ticks(2.0), NONE]
    assert arrays["measured"] == [1, 1, 1]


def test_limits_in_force_are_those_of_each_call() -> None:
    """A limit that is off has no time."""
    _, arrays = unpacked(answered(1), answered(2, limits={"stale": {"value": 9.5, "source": "s"}}))
    assert arrays["limit_ttfb"] == [ticks(2.0), NONE]
    assert arrays["limit_first_content"] == [ticks(4.0), NONE]
    assert arrays["limit_stale"] == [NONE, ticks(9.5)]


def test_an_error_status_is_not_measured() -> None:
    """It says nothing about how long an answer takes, and stands as the reason."""
    packed, arrays = unpacked(refused(1, status=429))
    assert (arrays["measured"], arrays["a_status"], packed["hangs"]) == ([0], [429], [])
    assert packed["words"][arrays["why"][0]] == "answered 429"


def test_a_call_without_an_attempt_has_a_row_of_its_loss() -> None:
    """So that each loss is the row of an attempt."""
    early = CallRecord(
        call_id="e", started_at=1.0, method="POST", url=ORIGIN, origin=ORIGIN, outcome="failed", cause="connect_failed"
    )
    packed, arrays = unpacked(early, answered(2))
    assert arrays["first"] == [0, 1]
    assert packed["tables"]["why"][arrays["why"][0]] == "connect_failed"
    assert arrays["byte"][0] == NONE


def test_times_that_are_no_times_are_bounded() -> None:
    """A clock that was set back gives no negative time, and a year fits."""
    _, arrays = unpacked(answered(1, elapsed=-3.0), answered(2, elapsed=4e6))
    assert arrays["elapsed"] == [0, NONE - 1]


def test_ids_are_those_of_incidents_and_of_the_slowest() -> None:
    """The ids of all calls would be half of the page."""
    records = [answered(number, elapsed=float(number)) for number in range(1, SLOWEST + 51)]
    packed, _ = unpacked(*records, refused(9_999))
    assert len(packed["ids"]) == SLOWEST + 1
    assert packed["ids"][SLOWEST + 50] == refused(9_999).call_id
    assert packed["ids"][SLOWEST + 49] == records[-1].call_id
    assert 0 not in packed["ids"]


def test_100_000_calls_take_about_three_megabytes() -> None:
    """Measured on a tenth, with times that differ as real ones do."""
    records = [
        answered(number, number * 1.37 + (number * 7919 % 1000) / 997, elapsed=1 + (number * 104_729 % 9973) / 9973)
        for number in range(10_000)
    ]
    packed, _ = unpacked(*records)
    assert len(packed["bytes"]) == pytest.approx(100_000, rel=0.9)
