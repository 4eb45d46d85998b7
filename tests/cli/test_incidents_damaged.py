from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from llmwatch.cli.incident_log import LONGEST_LINE
from llmwatch.records import JsonLinesSink
from tests.cli.incident_calls import attempt, call, document, incidents, lines, shown
from tests.cli.running import environment, invoke, run
from tests.cli.times import PATIENCE


def damaged(**fields: Any) -> bytes:
    return json.dumps({**call(7).to_dict(), **fields}).encode() + b"\n"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"schema":1,"call_id":"SECRET\n', "it is no JSON from column 23 on"),
        (b"SECRET\n", "it is no JSON from column 1 on"),
        (b"\x00\x00\x00\n", "it is no JSON from column 1 on"),
        (b'"SECRET \xff"\n', "it is not UTF-8 text"),
        (b"[1]\n", "expected a JSON object, got list"),
        (b"{}\n", "is missing"),
        pytest.param(b"[" * 100_000 + b"\n", "it is JSON that no record holds", id="deep"),
        pytest.param(b"1" * 5_000 + b"\n", "it is JSON that no record holds", id="digits"),
        (b"NaN\n", "it is JSON that no record holds"),
        (damaged(schema=4), "a newer llmwatch wrote it: its schema is 4, and this one reads up to 3"),
        (damaged(schema=0), "CallRecord.schema is 0"),
        (damaged(elapsed=10**30), "it is JSON that no record holds"),
        (damaged(call_id=7), "CallRecord.call_id: expected text, got int"),
        (damaged(outcome="SECRET"), "CallRecord.outcome is not one of"),
        (
            damaged(
                decisions=[{"attempt": 1, "decision": "SECRET\x1b", "could_work": True, "safe": True, "reason": ""}]
            ),
            "one of its values is not known to this version of llmwatch",
        ),
        pytest.param(damaged(call_id="SECRET" * (LONGEST_LINE // 6)), "it is longer than 4 MiB", id="long"),
    ],
)
def test_a_damaged_line_is_reported_and_skipped(line: bytes, why: str) -> None:
    """A damaged line is reported with its number and the reason, and skipped.

    What stands in it is never reported.
    """
    log = lines(call(1)) + b"\n" + line + lines(call(2))
    done = incidents(log=log)
    assert done.code == 0
    assert shown(done.out) == ["1", "2"]
    (note,) = done.err.splitlines()
    assert note.startswith("llmwatch: line 3 is skipped: ")
    assert why in note
    assert "SECRET" not in note
    (skipped,) = document(log=log)["skipped"]
    assert skipped["line"] == 3
    assert why in skipped["why"]


def test_half_a_last_line_is_reported() -> None:
    """Half a line at the end of a log is reported.

    A whole record without its line end is not half a line.
    """
    whole = lines(call(1))
    done = incidents(log=whole + whole[:300])
    assert (shown(done.out), done.code) == (["1"], 0)
    assert "line 2 is skipped" in done.err
    assert "half-written" in done.err
    done = incidents(log=whole + lines(call(2)).rstrip())
    assert (shown(done.out), done.err) == (["1", "2"], "")


def test_half_a_line_in_the_middle_is_reported(tmp_path: Path) -> None:
    """The lines after half a line are read, and blank lines are ignored.

    The half line is reported by its number.
    """
    path = tmp_path / "log"
    whole = lines(call(1))
    path.write_bytes(whole + b"\n\n" + whole[:300])
    JsonLinesSink(path, every_call=True)(call(2))
    done = invoke("incidents", str(path))
    assert (shown(done.out), done.code) == (["1", "2"], 0)
    (note,) = done.err.splitlines()
    assert "line 4 is skipped" in note
    found = document(log=path.read_bytes())
    assert [skipped["line"] for skipped in found["skipped"]] == [4]
    assert (found["totals"]["calls"], found["totals"]["skipped"]) == (2, 1)


def test_a_file_that_is_no_log_reports_a_few_lines_and_counts_the_rest() -> None:
    """The first skipped lines of a file that is no log are reported one by one.

    The others are counted.
    """
    done = incidents(log=b"some text\n" * 3000)
    assert (done.code, done.out) == (0, "There is no call in standard input. Is it an incident log?\n")
    assert len(done.err.splitlines()) == 21
    assert done.err.splitlines()[-1] == "llmwatch: 2,980 more lines are skipped."
    found = document(log=b"some text\n" * 3000)
    assert (found["totals"]["skipped"], len(found["skipped"])) == (3000, 1000)


def test_an_empty_log_says_so(tmp_path: Path) -> None:
    """An empty log says so, as a document too, and is no failure."""
    path = tmp_path / "empty.jsonl"
    JsonLinesSink(path)
    done = invoke("incidents", str(path))
    assert (done.code, done.out, done.err) == (0, f"{path} is empty: there are no incidents.\n", "")
    found = document(log=b"\n")
    assert (found["calls"], found["skipped"], found["totals"]["calls"]) == ([], [], 0)


@pytest.mark.parametrize("kind", ["missing", "directory", "forbidden"])
def test_an_unreadable_log_ends_with_exit_code_2(tmp_path: Path, kind: str) -> None:
    """A log that cannot be read ends with 2, names the file, and gives the reason of the system."""
    path = tmp_path / "log\x1b[2J"
    if kind == "directory":
        path.mkdir()
    elif kind == "forbidden":
        path.touch(mode=0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
    done = run("incidents", str(path), "--json")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("llmwatch: The incident log ")
    assert {"missing": "No such file", "directory": "Is a directory", "forbidden": "Permission denied"}[
        kind
    ] in done.err
    assert "\x1b" not in done.err


def test_a_closed_standard_input_is_an_empty_log() -> None:
    """A standard input that is closed is an empty one."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -m llmwatch incidents - <&-', sys.executable],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0
    assert "there are no incidents" in done.stdout


@pytest.mark.parametrize("value", [1e300, -1e300, 10**17, 0])
def test_an_impossible_time_is_shown_as_it_is(value: float) -> None:
    """A time beyond every calendar is shown as what it is, and breaks nothing."""
    record = call(1, started_at=value, elapsed=value, attempts=(attempt(1, elapsed=value, limit_seconds=value),))
    assert shown(incidents(log=lines(record)).out) == ["1"]
    told = incidents("--call", "0", log=lines(record))
    assert told.code == 0
    assert max(map(len, told.out.splitlines())) < 300


def test_memory_is_bounded(tmp_path: Path) -> None:
    """With --last, only as many calls are held, and a line without an end is never held whole."""
    path = tmp_path / "log"
    with path.open("wb") as log:
        log.write(lines(*(call(number) for number in range(2000))))
        log.write(b" " * (8 * LONGEST_LINE) + b"\n")
        log.write(lines(call(3)))
    tracemalloc.start()
    try:
        done = invoke("incidents", str(path), "--last", "3")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert shown(done.out)[-1] == "3"
    assert len(done.out.splitlines()) == 7
    assert "line 2001 is skipped: it is longer than 4 MiB" in done.err
    assert peak < 3 * LONGEST_LINE
