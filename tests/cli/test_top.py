"""``llmwatch top`` on call logs and status files."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from llmwatch.cli.top_frame import Flight, Recent, first_byte_of, summary
from llmwatch.records import Timings
from llmwatch.records.call_line import line_of
from llmwatch.watch.clock import SYSTEM
from tests.cli.incident_calls import attempt, call
from tests.cli.running import in_terminal, interrupt, invoke, run, started

FINE = {"limit": None, "cause": None, "close_reason": "done", "error": None, "kill_lag": None}


def good(number: int, first_byte: float, **fields: Any) -> bytes:
    """A call that was answered after so many seconds, and ended now."""
    timings = Timings(sent=1.0, first_byte=1.0 + first_byte, end=9.0)
    one = attempt(1, model=fields.pop("model", "m"), status=200, timings=timings, **FINE)
    return line_of(
        call(number, **{"attempts": (one,), "decisions": (), "outcome": "done", "started_at": now() - 5.0, **fields})
    )


def now() -> float:
    return SYSTEM.wall()


def recovered(number: int) -> bytes:
    """A call that was killed at ttfb, then refused, then answered."""
    tries = (
        attempt(1, model="m"),
        attempt(2, model="m", limit=None, status=503, cause="provider_error", close_reason="failed"),
        attempt(3, model="m", status=200, timings=Timings(sent=0.0, first_byte=0.25, end=1.0), **FINE),
    )
    return line_of(call(number, started_at=now() - 5.0, attempts=tries))


def failed(number: int, model: str) -> bytes:
    lost = attempt(1, model=model, phase="content", limit="stale", close_reason="stale_kill")
    return line_of(
        call(number, started_at=now() - 5.0, attempts=(lost,), decisions=(), outcome="failed", cause="watchdog_timeout")
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Twenty good calls of a model, one recovered; of another one failed; one is of an hour ago."""
    path = tmp_path / "calls"
    path.write_bytes(
        good(99, 7.0, started_at=now() - 3600)
        + b"".join(good(number, number / 10) for number in range(1, 21))
        + recovered(21)
        + failed(22, "other")
    )
    return path


def status(path: Path, process: int, *, age: float = 0.0, calls: int = 1, **fields: Any) -> None:
    """A status file of a process."""
    one = {
        "elapsed": 12.34,
        "model": "m",
        "label": "job-7",
        "attempt": 2,
        "max_attempts": 3,
        "phase": "content",
        "limit": "stale",
        "expires_in": 3.21,
        **fields,
    }
    document = {"llmwatch": "status", "process": process, "written_at": now() - age, "in_flight": calls, "calls": [one]}
    path.write_text(json.dumps(document))


def rows(out: str) -> dict[str, list[str]]:
    """The cells of each line, by the first of them."""
    cells = [re.split("  +", line.strip()) for line in out.splitlines() if line.strip()]
    return {line[0]: line[1:] for line in cells}


def test_a_frame_counts_outcomes_times_kills_and_resends(log: Path) -> None:
    """One frame has a row for each model, and the kills and resends by their reasons."""
    done = invoke("top", "--log", str(log), "--once")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert re.fullmatch(r"llmwatch top, \d\d:\d\d:\d\d: calls that ended in the last 600 s \(calls\)", lines[0])
    assert lines[1] == (
        "22 calls, 22 in the last minute: 20 good, 1 recovered, 1 failed, 0 cancelled; 2 kills, 2 resends"
    )
    # 21 times, 0.25 among them: the 11th is the median, and the 20th has 95 % at or below.
    assert rows(done.out)["m"] == ["21", "20", "1", "0", "0", "1.00 s", "1.90 s", "1"]
    assert rows(done.out)["other"] == ["1", "0", "0", "1", "0", "-", "-", "1"]
    assert "kills by limit: ttfb 1, stale 1" in lines
    assert "resends by cause: ttfb 1, provider_error 1" in lines


def test_the_window(log: Path) -> None:
    """Calls that ended before the window are not counted; 0 counts the whole file."""
    assert "23 calls, 22 in the last minute" in invoke("top", "--log", str(log), "--once", "--window", "0").out
    assert "0 calls, 0 in the last minute" in invoke("top", "--log", str(log), "--once", "--window", "0.001").out


def test_what_is_in_flight_comes_from_the_status_files(log: Path, tmp_path: Path) -> None:
    """The calls of fresh files are shown, longest first; an old one is that of a silent process."""
    status(tmp_path / "st-1", 1)
    status(tmp_path / "st-2", 2, elapsed=99.5, calls=5, limit=None, model=None, label=None)
    status(tmp_path / "st-3", 3, age=60.0)
    (tmp_path / "st-4").write_text("no json")
    (tmp_path / "st-5").write_text('{"llmwatch": "else"}')
    for arguments, env in (
        (("--status", str(tmp_path / "st-{pid}")), {}),
        (("--status", str(tmp_path / "st-1"), "--status", str(tmp_path / "st-[23]")), {}),
        ((), {"LLMWATCH_STATUS_FILE": str(tmp_path / "st-{pid}")}),
    ):
        out = invoke("top", "--once", *arguments, env={"LLMWATCH_CALL_LOG": str(log), **env}).out
        assert "; 6 in flight in 2 processes" in out
        found = rows(out)
        assert found["1"] == ["m", "job-7", "2/3", "content", "12.3 s", "stale 3.21 s"]
        assert found["2"] == ["unknown", "-", "2/3", "content", "99.5 s", "-"]
        assert out.index("\n      2  unknown") < out.index("\n      1  m")
        assert "and 4 more" in out
        assert "silent for over 5 s, killed perhaps: process 3" in out


def test_without_a_log_there_is_what_is_in_flight(tmp_path: Path) -> None:
    """--status alone is enough; without both the error says what to name."""
    status(tmp_path / "st", 1)
    assert "1 in flight in 1 process\n" in invoke("top", "--once", "--status", str(tmp_path / "st")).out
    done = invoke("top", "--once")
    assert done.code == 2
    assert "LLMWATCH_CALL_LOG" in done.err


def test_a_log_that_is_not_there_yet_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    """The first is waited for; the second is an error."""
    done = invoke("top", "--once", "--log", str(tmp_path / "none"))
    assert done.code == 0
    assert f"there is no {tmp_path / 'none'} yet" in done.out
    done = invoke("top", "--once", "--log", str(tmp_path))
    assert done.code == 2
    assert "cannot be read: Is a directory." in done.err


def test_no_line_is_wider_than_80_columns(log: Path, tmp_path: Path) -> None:
    """On a terminal of 80 columns long names are shortened, and the numbers stay whole."""
    status(tmp_path / "st", 4194304, model="gpt-4o-mini-2024-07-18", label="nightly/job-1234567", limit="first_content")
    with log.open("ab") as file:
        file.write(good(23, 0.5, model="gpt-4o-mini-2024-07-18-and-more"))
    arguments = ["top", "--once", "--log", str(log), "--status", str(tmp_path / "st")]
    drawn = in_terminal(arguments, columns=80, env={"NO_COLOR": "1"}).out
    plain = re.sub(r"\x1b\[[0-9;]*m", "", drawn).replace("\r", "")
    assert max(map(len, plain.splitlines())) <= 80
    assert "first_content 3.21 s" in plain
    assert re.search(r"4194304  gpt-4o\S*…  nightly/job\S*…  2/3", plain)
    assert re.search(r"^gpt-4o-mini-\S*  +1  +1  +0  +0  +0  +0.50 s  0.50 s  +0", plain, re.MULTILINE)


def test_a_terminal_is_redrawn_until_ctrl_c(log: Path) -> None:
    """On a terminal the frame is drawn on a screen of its own, which Ctrl-C leaves; no traceback."""
    done = in_terminal(["top", "--log", str(log), "--every", "0.1"], until="resends by cause", keys=b"\x03")
    assert done.code == 130
    assert "\x1b[?1049h" in done.out
    assert "\x1b[?1049l" in done.out
    assert "Traceback" not in done.out


def test_a_pipe_gets_lines_until_ctrl_c(log: Path) -> None:
    """Without a terminal each look is a line; calls that come later are in a later one."""
    with started("top", "--log", str(log), "--every", "0.1") as process:
        assert process.stdout is not None
        assert b" 22 calls, " in process.stdout.readline()
        with log.open("ab") as file:
            file.write(good(23, 0.5))
        while b" 23 calls, " not in process.stdout.readline():
            pass
        ended = interrupt(process)
    assert (ended.code, ended.err) == (128 + signal.SIGINT, "")
    assert "\x1b" not in ended.out


def test_a_real_program_is_followed(tmp_path: Path) -> None:
    """The log and the status file of a program under ``llmwatch run`` are what the command reads."""
    script = tmp_path / "script.py"
    script.write_text(
        """
import os, requests, subprocess, sys, time
from llmwatch.faults import FaultServer
body = {"model": "m-9", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
with FaultServer(["healthy", "stall-after-content:tokens=2"]) as server:
    requests.post(server.chat_url, json=body)
    with requests.post(server.chat_url, json=body, stream=True) as open_one:
        next(open_one.iter_content(None))
        out, until = "", time.monotonic() + 20
        while "  content  " not in out or "1 good" not in out:
            assert time.monotonic() < until, out
            top = [sys.executable, "-m", "llmwatch", "top", "--once"]
            out = subprocess.run(top, capture_output=True, text=True).stdout
print(out)
"""
    )
    files = {"LLMWATCH_CALL_LOG": str(tmp_path / "calls"), "LLMWATCH_STATUS_FILE": str(tmp_path / "st-{pid}")}
    done = run("run", "--quiet", "--", str(script), env={**files, "LLMWATCH_STALE_TIMEOUT_SECONDS": "300"})
    assert done.code == 0, done.err
    assert "1 call, 1 in the last minute: 1 good" in done.out
    assert re.search(r"^ +\d+  m-9 +- +1/3 +content +", done.out, re.MULTILINE)
    assert sorted(os.listdir(tmp_path)) == ["calls", "script.py"]


def test_a_first_byte_without_an_answer() -> None:
    """Only an answered attempt has a time to its first byte."""
    assert first_byte_of(call(1, attempts=(attempt(1),), outcome="failed")) is None
    assert first_byte_of(call(1, attempts=())) is None


def test_a_summary_of_nothing() -> None:
    """Nothing is counted as nothing."""
    assert summary(Recent(60.0).at(0.0), Flight(), 0.0) == (
        "0 calls, 0 in the last minute: 0 good, 0 recovered, 0 failed, 0 cancelled; 0 kills, 0 resends;"
        " 0 in flight in 0 processes"
    )
