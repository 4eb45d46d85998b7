"""The count of the calls that went well, beside the incidents."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmwatch.cli.good_calls import rotated
from llmwatch.records.call_line import line_of
from tests.cli.incident_calls import SEVERAL, attempt, call, document, incidents, lines

_NOT_COUNTED = "Calls that went well were not counted: "


def good(number: int, **fields: object) -> bytes:
    """The line of a call in the call log that its first attempt answered."""
    fine = attempt(1, limit=None, cause=None, close_reason="done", error=None)
    return line_of(call(number, **{"attempts": (fine,), "decisions": (), "outcome": "done", **fields}))


def last_line(*arguments: str, env: dict[str, str] | None = None) -> str:
    done = incidents(*arguments, log=lines(*SEVERAL), env=env)
    assert done.code == 0, done
    return done.out.splitlines()[-1]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A call log with a rotated file: five good calls, of which one is elsewhere, and the incidents."""
    path = tmp_path / "calls"
    path.write_bytes(b"".join(map(line_of, SEVERAL)) + good(11) + good(12) + good(13, origin="http://three.example"))
    (tmp_path / "calls.1").write_bytes(good(9) + good(10) + b'{"half')
    return path


def test_good_calls_are_counted_in_the_log_and_its_rotated_files(log: Path) -> None:
    """Each call that its first attempt answered counts once.

    A call that lost an attempt does not, and half a line is no call.
    """
    line = last_line("--call-log", str(log), "--call-log", f"{log}.1")
    assert line.startswith("5 calls went well, since 2025-06-15 ")
    assert line.endswith(f"({log}, {log}.1).")
    assert document("--call-log", str(log), log=lines(*SEVERAL))["totals"]["good"] == {
        "calls": 5,
        "logs": str(log),
        "since": 1_750_000_009.0,
        "why": None,
    }


def test_good_calls_pass_the_filters_of_time_and_origin(log: Path) -> None:
    """--since and --origin hold for the good calls; a filter of what was lost does not."""
    assert last_line("--call-log", str(log), "--origin", "THREE").startswith("1 call went well")
    assert last_line("--call-log", str(log), "--since", "2025-06-15T15:06:51Z").startswith("3 calls went well")
    assert last_line("--call-log", str(log), "--limit", "stale").startswith("5 calls went well")
    assert last_line("--call-log", str(log), "--origin", "nowhere") == f"0 calls went well ({log})."


def test_the_call_log_is_the_one_of_the_variable(log: Path) -> None:
    """Without --call-log, LLMWATCH_CALL_LOG names the file; without both, the output says what to name.

    A file of the variable that cannot be read is no error: it may be that of another machine.
    """
    assert last_line(env={"LLMWATCH_CALL_LOG": str(log)}).startswith("5 calls went well")
    line = last_line(env={"LLMWATCH_CALL_LOG": f"{log}-elsewhere"})
    assert line == f"{_NOT_COUNTED}The call log {log}-elsewhere cannot be read: No such file or directory."
    assert last_line() == _NOT_COUNTED + "name a call log with --call-log or LLMWATCH_CALL_LOG."
    found = document(log=lines(*SEVERAL))["totals"]["good"]
    assert (found["calls"], found["logs"]) == (None, None)


def test_a_call_log_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that was named and cannot be read is an error that calls it a call log."""
    done = incidents("--call-log", str(tmp_path / "none"), log=lines(*SEVERAL))
    assert done.code == 2
    assert f"The call log {tmp_path / 'none'} cannot be read: No such file or directory." in done.err


def test_rotated_files_come_oldest_first(tmp_path: Path) -> None:
    """The files of a log are read in the order in which they were written."""
    for name in ("calls", "calls.1", "calls.8", "calls.9", "calls.old"):
        (tmp_path / name).touch()
    assert rotated(str(tmp_path / "calls")) == [str(tmp_path / name) for name in ("calls.8", "calls.1", "calls")]
