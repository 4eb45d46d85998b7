"""``tune`` and ``report`` on the log of a real run, whose truth is the plan of its calls."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from llmwatch import CallRecord
from llmwatch.report.advice import advise, described, variables
from llmwatch.report.totals import Totals
from llmwatch.report.tuning import groups
from tests.cli.traffic import FILE, LENGTH, MINI, ORIGINS, SECRET, SLOW, STEADY, log_of, planned

LARGEST = 300_000
"""Bytes that the packed log may have in the repository."""

REASONS = {
    "silent": "ttfb",
    "stall": "stale",
    "pings": "first_content",
    "reset": "transport_disconnect",
    "cut": "transport_disconnect",
}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[CallRecord]:
    """The calls of the log."""
    lines = log_of(tmp_path_factory.mktemp("log")).read_text(encoding="ascii").splitlines()
    return [CallRecord.from_json(line) for line in lines]


@pytest.fixture(scope="module")
def totals(records: list[CallRecord]) -> Totals:
    """Their totals."""
    made = Totals()
    for record in records:
        made.add(record)
    return made


def test_the_file_is_small_and_keeps_no_secret(tmp_path: Path) -> None:
    """Prompts, keys, URLs and error texts of the run held a secret."""
    assert FILE.stat().st_size < LARGEST
    assert SECRET.encode() not in log_of(tmp_path).read_bytes()


def test_every_planned_call_is_counted(totals: Totals) -> None:
    """By model, and by how each call was meant to end."""
    plan = planned()
    assert totals.calls == len(plan)
    by_model = {value: sum(counts) for value, counts in totals.rows("model")}
    # The last attempt of a call that a limit ended has a model as well.
    assert by_model == Counter(call.model for call in plan)
    good = [call for call in plan if not call.fault]
    failed = [
        call
        for call in plan
        if call.fault in ("pings", "cut", "400") or call.spoilt > 1 or (call.fault == "stall" and not call.collected)
    ]
    assert totals.outcomes["done"] == len(good)
    assert totals.outcomes["failed"] == len(failed)
    assert totals.outcomes["recovered"] == len(plan) - len(good) - len(failed)


def test_every_planned_fault_is_a_loss_of_its_kind(totals: Totals) -> None:
    """Each kind has as many calls as were spoilt, and a call that was silent thrice lost three attempts."""
    expected = Counter((call.model, REASONS.get(call.fault, call.fault)) for call in planned() if call.fault)
    found: Counter[tuple[str | None, str]] = Counter()
    for (_, model, why, _status), one in totals.lost.items():
        found[model, why] += one.calls
    assert found == expected
    silent = totals.lost[ORIGINS[0], MINI, "ttfb", None]
    assert silent.attempts == 13 + 3


def test_the_hangs_are_where_they_were_planned(totals: Totals) -> None:
    """In the part of the run that the plan says, and at the length of their limit."""
    silent = totals.lost[ORIGINS[0], MINI, "ttfb", None]
    assert totals.first + 0.20 * LENGTH - 1 <= silent.first <= silent.last <= totals.first + 0.34 * LENGTH + 4
    assert silent.seconds / silent.attempts == pytest.approx(0.8 + 0.1, abs=0.2)
    slow = totals.lost[ORIGINS[1], SLOW, "first_content", 200]
    assert (slow.attempts, slow.outcomes["failed"]) == (3, 3)
    assert totals.first + 0.85 * LENGTH - 1 <= slow.first


def test_the_steady_model_gets_a_bound_and_the_small_ones_keep_their_limits(records: list[CallRecord]) -> None:
    """The recommendation lies above every healthy call, far below the limit in force; stalls keep theirs."""
    advised = advise(groups(records))
    by_model = {one.group.model: one.made for one in advised}
    waits = [call.wait for call in planned() if call.model == STEADY]
    for limit in ("ttfb", "first_content"):
        steady = by_model[STEADY][limit]
        assert steady.confident, described(steady)
        assert steady.seconds is not None
        assert max(waits) < steady.seconds < max(waits) + 0.3
    # 13 stalls among 3,100 answers: no shorter limit is known to be safe.
    assert by_model[STEADY]["stale"].seconds == 1.2
    assert not by_model[STEADY]["stale"].confident
    assert by_model[MINI]["ttfb"].seconds is None
    set_to = {one.limit: one.seconds for one in variables(advised)}
    assert set_to == {"ttfb": 0.9, "first_content": 1.1, "stale": 1.2}
