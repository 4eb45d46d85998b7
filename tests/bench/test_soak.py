"""The soak: its table has every fault, it sees what is wrong, and a short one passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmwatch.faults import catalogue
from tests.bench.soak import ALLOWED, RARELY, SILENT, SLOW, Again, Came, Draw, Soak, draws, text_of

ROOT = Path(__file__).parents[2]
ROUND = len(ALLOWED)


def test_every_fault_of_the_catalogue_has_its_allowed_end() -> None:
    assert ALLOWED.keys() == catalogue.SCRIPTS.keys()
    for allowed in ALLOWED.values():
        kind, _, limit = allowed.end.partition(" ")
        assert kind != "WatchTimeout" or limit in (*SILENT, *SLOW)


def test_a_seed_fixes_the_calls_and_a_round_has_every_fault() -> None:
    calls = list(draws(ROUND, 15, 7))
    assert calls == list(draws(ROUND, 15, 7))
    assert {call.first for call in calls} == ALLOWED.keys()
    assert [call.number for call in calls] == list(range(7, 7 + ROUND))
    assert not RARELY & {call.first for call in draws(ROUND, 15, often=True)}


@pytest.mark.parametrize(
    ("first", "entry", "end", "text", "complaint"),
    [
        ("healthy", "stream", "answered", text_of("healthy"), None),
        ("healthy", "stream", "answered", text_of("silent"), "another text"),
        ("bad-utf8", "stream", "answered", text_of("bad-utf8"), "another text"),
        ("bad-request", "collect", "ProviderError 400", None, None),
        ("bad-request", "collect", "answered", "", "answered in place of ProviderError 400"),
        ("silent", "stream", "ProviderError 400", None, "0 attempts"),
        ("stall-after-content", "stream", "WatchTimeout stale", None, None),
        ("stall-after-content", "collect", "WatchTimeout stale", None, "in place of ProviderError 400"),
    ],
)
def test_what_a_fault_does_not_allow_is_wrong(
    first: str, entry: str, end: str, text: str | None, complaint: str | None
) -> None:
    """The second fault of all these calls is ``bad-request``; none of them has a record."""
    soak = Soak({}, "", requests=bytearray(1))
    soak.judge(Draw(0, first, "bad-request", entry, "tcp"), Came(end, text, None))
    wrong = [one for one in soak.wrong if "attempts" not in one or complaint == "0 attempts"]
    assert bool(wrong) == (complaint is not None)
    assert complaint is None or complaint in wrong[0]
    resent = ALLOWED[first].again is Again.ALWAYS or (first, entry) == ("stall-after-content", "collect")
    assert soak.requests[0] == 1 + resent


def test_a_short_soak_ends_as_its_faults_allow() -> None:
    command = [sys.executable, "-m", "tests.bench.soak", str(ROUND + 25)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 are wrong" in ran.stdout
    assert "supervisor lag" in ran.stdout
