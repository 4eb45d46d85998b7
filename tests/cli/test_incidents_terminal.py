from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.incident_calls import SEVERAL, attempt, call, lines, shown
from tests.cli.running import environment, in_terminal, run
from tests.cli.times import PATIENCE

EVIL = "\x1b]0;title\x07\x1b[2J\r\n\u202e\u0085x\ud800"
"""What a terminal would obey, in one text."""


def evil() -> bytes:
    """A record with an escape sequence in every text that it can hold."""

    def spoilt(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: spoilt(item, name) for name, item in value.items()} | (
                {EVIL: EVIL} if key in ("facts", "evidence", "tool_exposure") else {}
            )
        if isinstance(value, list):
            return [spoilt(item) for item in value]
        return value + EVIL if isinstance(value, str) and key not in ("outcome", "cause", "decision") else value

    lost = attempt(
        1,
        dialect="d",
        request_id="r",
        message="m",
        events={"text": 1},
        evidence={"error_text": "t"},
        facts={"sent": "y"},
        tool_exposure={"caller": 1},
    )
    source: dict[str, Any] = call(1, attempts=(lost,), entry_point="d", profile="p").to_dict()
    source["limits"] = {"ttfb" + EVIL: {"value": 1.0, "source": "s"}}
    source["attempts"][0]["events"][EVIL] = 3
    return json.dumps(spoilt(source)).encode() + b"\n"


@pytest.mark.parametrize("arguments", [(), ("--totals",), ("--call", "0"), ("--json",)])
def test_no_control_sequence_of_a_log_reaches_the_terminal(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Only printable text of a record is written, in a pipe and on a terminal."""
    path = tmp_path / "log"
    path.write_bytes(evil())
    piped = run("incidents", str(path), *arguments)
    assert piped.code == 0
    assert "title" in piped.out or arguments == ("--totals",)
    assert [char for char in piped.out if not (char.isprintable() or char == "\n")] == []
    drawn = in_terminal(["incidents", str(path), *arguments]).out
    plain = re.sub(r"\x1b\[[0-9;]*m", "", drawn)
    assert [char for char in plain if not (char.isprintable() or char in "\r\n")] == []


@pytest.mark.parametrize("columns", [30, 60, 200])
@pytest.mark.parametrize("arguments", [(), ("--totals",), ("--call", "00000001")])
def test_no_line_is_wider_than_the_terminal(columns: int, arguments: tuple[str, ...], tmp_path: Path) -> None:
    """No line is longer than the terminal is wide, and nothing is lost.

    What has no room in a row is below it.
    """
    path = tmp_path / "log"
    path.write_bytes(lines(*SEVERAL))
    drawn = in_terminal(["incidents", str(path), *arguments], columns=columns)
    assert drawn.code == 0
    assert "\x1b[" in drawn.out
    plain = re.sub(r"\x1b\[[0-9;]*m", "", drawn.out).replace("\r", "")
    assert max(map(len, plain.splitlines())) <= columns
    if not arguments:
        assert shown(plain) == list("12345")
        assert all(words in plain for words in ("one.example.com", "stale", "recovered", "2025-06-15"))


def test_a_call_is_readable_at_80_columns(tmp_path: Path) -> None:
    """On a terminal of 80 columns a call has three lines, each of them in one piece."""
    path = tmp_path / "log"
    lost = (attempt(1, model="gpt-4o-mini-2024-07-18"), attempt(2, model="gpt-4o-mini-2024-07-18", status=503))
    path.write_bytes(lines(call(1, process=4194304, label="night/job-17", attempts=lost, outcome="failed")))
    drawn = in_terminal(["incidents", str(path)], columns=80, env={"NO_COLOR": "1"})
    plain = re.sub(r"\x1b\[[0-9;]*m", "", drawn.out).replace("\r", "").splitlines()
    assert re.fullmatch(r"00000001  2025-06-15 \S+  failed  process 4194304  night/job-17", plain[0])
    assert plain[1:4] == [
        "  model gpt-4o-mini-2024-07-18 at http://one.example.com, stream",
        "  waiting: ttfb; status 503, 3.50 s, 2 attempts, retry",
        "",
    ]


def test_no_color_and_pipes_get_no_colours(tmp_path: Path) -> None:
    """NO_COLOR keeps colours from a terminal; a pipe never gets any."""
    path = tmp_path / "log"
    path.write_bytes(lines(*SEVERAL))
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    assert coloured.search(in_terminal(["incidents", str(path)], columns=200).out)
    assert not coloured.search(in_terminal(["incidents", str(path)], columns=200, env={"NO_COLOR": "1"}).out)
    assert "\x1b" not in run("incidents", str(path), env={"FORCE_COLOR": "1"}).out


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_reader_that_leaves_ends_the_command_quietly(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """A reader that takes a few bytes and leaves ends the command quietly, and with success."""
    path = tmp_path / "log"
    path.write_bytes(lines(*(call(number) for number in range(300))))
    process = subprocess.Popen(
        [sys.executable, "-m", "llmwatch", "incidents", str(path), *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(PATIENCE) == 0
    assert said == b""
