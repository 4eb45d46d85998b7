from __future__ import annotations

import contextlib
import json
import os
import re
from datetime import datetime
from pathlib import Path

import pytest

from llmwatch import CallRecord, CancelToken, Client, Limits, LLMWatchError, Retry, RetryNotice, label
from llmwatch.faults import FaultServer
from llmwatch.watch.clock import SYSTEM
from tests.cli.incident_calls import SEVERAL, attempt, call, document, incidents, lines, shown
from tests.cli.running import run
from tests.cli.times import LIMIT, LONG
from tests.rows import each

BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "a secret prompt"}]}
_COLUMNS = (
    *("call", "when", "origin", "entry point", "model", "process", "label", "phase"),
    *("limit or cause", "status", "elapsed", "attempts", "decision", "outcome"),
)


def happen(path: Path) -> list[CallRecord]:
    """Make three incidents and a call without one, on a real server.

    The incidents are recovered, failed, and cancelled in a wait.
    """
    token = CancelToken()

    def cancel(one: object) -> None:
        if isinstance(one, RetryNotice):
            token.cancel()

    quick, patient = Retry(max_attempts=2, backoff=0.01), Retry(max_attempts=2, backoff=LONG, max_backoff=LONG)
    for scripts, retry, on_notice in (
        (["silent", "healthy"], quick, None),
        (["stall-after-content:tokens=3"], quick, None),
        (["silent"], patient, cancel),
        (["healthy"], quick, None),
    ):
        limits = Limits(ttfb=LIMIT, stale=LIMIT)
        with FaultServer(scripts) as server, Client(limits=limits, retry=retry, on_notice=on_notice) as client:
            stream = client.stream("POST", server.chat_url, json=BODY, cancel=token if on_notice else None)
            with contextlib.suppress(LLMWatchError), label("night/1"), stream:
                for _ in stream:
                    pass
    return [CallRecord.from_dict(json.loads(line)) for line in path.read_text().splitlines()]


def old_lines(*records: CallRecord) -> bytes:
    """The records as a version wrote them whose schema was 1."""
    names = {"waiting": "sent", "headers": "headed", "body": "talking", "events": "opened", "content": "generating"}
    found = []
    for record in records:
        plain = record.to_dict()
        plain["door"] = plain.pop("entry_point")
        for tried in plain["attempts"]:
            tried.update(schema=1, phase=names.get(tried["phase"], tried["phase"]))
            tried["tool_boundary"] = tried.pop("tool_exposure")
        found.append(json.dumps({**plain, "schema": 1}) + "\n")
    return "".join(found).encode()


def test_a_log_of_an_older_version_and_of_this_one() -> None:
    """The lines of schema 1 are read as those of today are.

    They give the same table, the same filters and the same document.
    """
    old, new = old_lines(*SEVERAL), lines(*SEVERAL)
    assert b'"sent"' in old
    assert b"generating" in old
    assert incidents(log=old) == incidents(log=new)
    for phase in ("waiting", "content", "connecting"):
        assert incidents("--phase", phase, log=old + new).out.count("\n0000000") == 2 * incidents(
            "--phase", phase, log=new
        ).out.count("\n0000000")
    assert document(log=old) == document(log=new)
    assert {one["schema"] for one in document(log=old)["calls"]} == {3}


def test_each_logged_incident_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each incident that a client has logged is a row of the table, and can be shown in full."""
    path = tmp_path / "incidents.jsonl"
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", str(path))
    recovered, failed, cancelled = records = happen(path)
    done = run("incidents", str(path))
    assert (done.code, done.err) == (0, "")
    header, *rows = done.out.splitlines()
    assert [cell.strip() for cell in re.split("  +", header)] == list(_COLUMNS)
    cells = [[cell.strip() for cell in re.split("  +", row)] for row in rows[:3]]
    process = str(os.getpid())
    assert [row[0] for row in cells] == [record.call_id[:8] for record in records]
    assert [row[2] for row in cells] == [record.origin for record in records]
    assert [row[3:10] + row[11:] for row in cells] == [
        ["stream", "m", process, "night/1", "waiting", "ttfb", "200", "2", "retry", "recovered"],
        ["stream", "m", process, "night/1", "content", "stale", "200", "1", "continue", "failed"],
        ["stream", "m", process, "night/1", "waiting", "ttfb", "-", "1", "stop", "cancelled"],
    ]
    assert rows[3] == ""
    assert rows[4].startswith("3 calls: 1 recovered, 1 failed, 1 cancelled. By phase and limit: waiting: ttfb (2), ")
    assert document(log=path.read_bytes())["calls"] == [
        {**record.to_dict(), "model": "m", "status": record.status} for record in records
    ]

    told = run("incidents", str(path), "--call", recovered.call_id[:10]).out
    assert in_order(
        told,
        recovered.call_id,
        "entry point  stream",
        "model        m",
        f"process      {os.getpid()}",
        "label        night/1",
        "status       HTTP 200",
        "diagnostics  complete",
        "the call begins",
        "attempt 1\n",
        "connected, on a fresh connection",
        "request sent, ",
        f"killed at ttfb {LIMIT:g} s in phase waiting, ",
        "decision: retry (silence), resend after ",
        " s, carried out; could work: yes, safe: yes, attempts left: 1; outcome: recovered",
        "attempt 2\n",
        "request sent, ",
        "headers: HTTP 200",
        "first byte",
        "first event",
        "first content",
        "done\n",
        "the call ends: recovered\n",
    )
    told = run("incidents", str(path), "--call", failed.call_id).out
    assert in_order(told, "first content", f"killed at stale {LIMIT:g} s", "decision: continue (output_delivered)")
    assert "outcome: blocked" in told
    told = run("incidents", str(path), "--call", cancelled.call_id).out
    assert in_order(told, "resend after ", " s, not carried out", "(cancelled_by_user)", "cancelled (user_cancel)")
    assert "secret prompt" not in told


def in_order(text: str, *words: str) -> bool:
    """Whether all ``words`` are in the text, one after the other."""
    position = 0
    for word in words:
        assert word in text[position:], word
        position = text.index(word, position) + len(word)
    return True


def test_timeline_is_relative_to_the_call() -> None:
    """Each moment stands at its time since the call began.

    An attempt's own times count from its own beginning.
    """
    told = incidents("--call", "00000001", log=lines(call(1))).out
    timeline = re.findall(r"^ *(-?\d+\.\d{3})  ( *\w+)", told, re.MULTILINE)
    assert timeline == [
        ("0.000", "the"),
        ("0.000", "attempt"),
        ("0.100", "  connected"),
        ("0.200", "  request"),
        ("1.200", "  killed"),
        ("1.200", "  decision"),
        ("2.000", "attempt"),
        ("2.100", "  connected"),
        ("2.200", "  request"),
        ("3.200", "  done"),
        ("3.500", "the"),
    ]


def test_everything_known_is_in_the_view() -> None:
    """Nothing is kept back.

    The records have facts, evidence, a cut record, a pooled connection, and a thread that could not be woken.
    """
    lost = attempt(
        1,
        socket_reused=True,
        socket_idle=2.5,
        status=503,
        request_id="req_1",
        facts={"sent": "yes", "events": 0, "text": True, "headers": False, "terminal": None},
        evidence={"error_type": "ConnectionResetError", "causes": [{"class": "OSError", "errno": 104}], "unheard": 1},
        tool_exposure={"caller": 2, "complete": True},
        orphaned=True,
        late_events=3,
        message="It said\nnothing.",
    )
    told = incidents("--call", "00000002", log=lines(call(2, attempts=(lost,), outcome="failed", cause="unknown"))).out
    for words in (
        "on a pooled connection, idle for 2.5 s",
        "request id req_1",
        "yes: text; no: headers; not known: terminal; sent = yes; events = 0",
        "error_type: ConnectionResetError",
        '"errno": 104',
        "1 value(s) left out or cut short",
        "diagnostics not complete",
        "caller 2, complete true",
        "its thread could not be woken",
        "3, dropped",
        "It said nothing.",
        "the call ends: failed (unknown)",
    ):
        assert words in " ".join(told.split()), words


@each(
    ("arguments", "numbers"),
    [
        ((), "12345"),
        (("--origin", "TWO.example"), "2"),
        (("--origin", "example.com"), "12345"),
        (("--phase", "waiting"), "14"),
        (("--phase", "content", "--limit", "stale"), "2"),
        (("--phase", "waiting", "--limit", "stale"), ""),
        (("--limit", "ttfb"), "14"),
        (("--outcome", "failed"), "235"),
        (("--outcome", "recovered"), "1"),
        (("--cause", "watchdog_timeout"), "124"),
        (("--cause", "user_cancel"), "4"),
        (("--cause", "setup_failure"), "5"),
        (("--last", "2"), "45"),
        (("--last", "99"), "12345"),
        (("--outcome", "failed", "--last", "2"), "35"),
        (("--since", "2025-06-15T15:06:43Z"), "345"),
        (("--since", "2025-06-15T16:06:43+01:00"), "345"),
        (("--since", "2h"), ""),
    ],
)
def test_each_filter_leaves_the_matching_calls(arguments: tuple[str, ...], numbers: str) -> None:
    """Each filter leaves the calls that it says, and all of them hold together.

    The document has the same calls.
    """
    log = lines(*SEVERAL)
    done = incidents(*arguments, log=log)
    assert (done.code, done.err) == (0, "")
    assert "".join(shown(done.out)) == numbers
    found = document(*arguments, log=log)
    assert "".join(one["call_id"][7] for one in found["calls"]) == numbers
    assert found["totals"]["calls"] == len(numbers)
    if not numbers:
        assert done.out == "None of the 5 calls in standard input passes the filters.\n"


@pytest.mark.parametrize(("since", "found"), [("30m", 0), ("45s", 0), ("2h", 1), ("1.5 h", 1), ("3d", 2), ("1w", 3)])
def test_since_a_duration_counts_back_from_now(since: str, found: int) -> None:
    """A while counts back from now."""
    hours = (200, 100, 50, 1)
    now = SYSTEM.wall()
    log = lines(*(call(number, started_at=now - hour * 3600) for number, hour in enumerate(hours)))
    assert len(document("--since", since, log=log)["calls"]) == found


def test_since_a_time_without_a_zone_is_local() -> None:
    """A time without a zone, or a date alone, is one of this machine."""
    moment = datetime(2026, 1, 31, 8, 0)
    log = lines(call(1, started_at=moment.timestamp() - 1), call(2, started_at=moment.timestamp()))
    assert [len(document("--since", text, log=log)["calls"]) for text in ("2026-01-31T08:00", "2026-01-31")] == [1, 2]


@each(
    ("arguments", "says"),
    [
        (("--phase", "asleep"), "connecting, sending"),
        (("--limit", "patience"), "ttfb"),
        (("--outcome", "lost"), "done, recovered, failed, cancelled"),
        (("--cause", "weather"), "transport_disconnect"),
        (("--since", "yesterday"), "--since"),
        (("--since", "\x1b[2J"), "--since"),
        (("--last", "0"), "--last"),
        (("--call", ""), "--call"),
        (("--call", "0", "--totals"), "--totals"),
        (("--call", "abc"), "has an id with this beginning"),
        (("--call", "0000000"), "several ids have this beginning"),
    ],
)
def test_an_invalid_option_is_a_usage_error(arguments: tuple[str, ...], says: str) -> None:
    """An invalid option is a usage error that names it, without any control character of its value."""
    done = incidents(*arguments, log=lines(*SEVERAL))
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert "\x1b" not in done.err


def test_a_call_is_found_by_the_beginning_of_its_id() -> None:
    """An id that is the beginning of others is found by itself, however many those are.

    A repeated one is one.
    """
    ids = [f"aa{number}" for number in range(9)] + ["aa", "b1", "b1"]
    log = lines(*(call(number, call_id=one) for number, one in enumerate(ids)))
    assert [one["call_id"] for one in document("--call", "aa", log=log)["calls"]] == ["aa"]
    assert [one["started_at"] for one in document("--call", "b", log=log)["calls"]] == [1_750_000_011.0]
    assert incidents("--call", "a", log=log).code == 2


def test_totals_count_lost_attempts_calls_and_recoveries() -> None:
    """Totals count lost attempts and calls by phase and limit, and calls by outcome.

    They count how many were recovered, too.
    """
    twice = call(6, attempts=(attempt(1), attempt(2), attempt(3, phase="content", limit="stale")))
    log = lines(*SEVERAL, twice)
    totals = document(log=log)["totals"]
    assert (totals["calls"], totals["recovered"], totals["skipped"]) == (6, 2, 0)
    assert totals["by_outcome"] == {"done": 0, "recovered": 2, "failed": 3, "cancelled": 1}
    found = [tuple(place.values()) for place in totals["by_phase_and_limit"]]
    assert found == [
        ("waiting", "ttfb", "watchdog_timeout", 4, 3, 2),
        ("content", "stale", "watchdog_timeout", 2, 2, 1),
        (None, None, "setup_failure", 0, 1, 0),
        ("connecting", None, "connect_failed", 1, 1, 0),
    ]
    closing = (
        "6 calls: 2 recovered, 3 failed, 1 cancelled. By phase and limit: waiting: ttfb (3), content: stale (2),"
        " before any attempt: setup_failure (1), connecting: connect_failed (1)."
    )
    assert incidents(log=log).out.splitlines()[-2] == closing
    out = incidents("--totals", log=log).out
    assert out.splitlines()[-2] == closing
    assert re.search(r"^waiting +ttfb +4 +3 +2$", out, re.MULTILINE)
    assert re.search(r"^recovered +2$", out, re.MULTILINE)
    assert shown(out) == []
    row = next(line for line in incidents(log=log).out.splitlines() if line.startswith("00000006"))
    assert re.split("  +", row)[7:9] == ["waiting, content", "ttfb, stale"]
