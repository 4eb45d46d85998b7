"""``llmwatch tune`` on call logs."""

from __future__ import annotations

import random
import shlex
import subprocess
from pathlib import Path

import pytest

from llmwatch.records import AttemptRecord, CallRecord, Timings
from llmwatch.records.call_line import line_of
from tests.cli.running import invoke

CALLS = 3_100


def line(dice: random.Random, number: int, model: str, slow: float, *, hangs: bool = False) -> bytes:
    """A call of a model whose answers begin within ``slow`` to twice as many seconds."""
    first = slow * dice.uniform(1, 2)
    times = {"sent": 0.0, "end": 60.0} if hangs else {"sent": 0.0, "first_byte": first, "first_content": first + 0.5}
    killed = {"cause": "watchdog_timeout", "close_reason": "ttfb_kill", "limit": "ttfb", "limit_seconds": 60.0}
    attempt = AttemptRecord(
        number=1,
        started_at=float(number),
        timings=Timings(**{"end": first + 2, **times}),
        method="POST",
        url="http://a",
        origin="http://a",
        model=model,
        status=None if hangs else 200,
        events={} if hangs else {"text": 2},
        longest_gap=None if hangs else dice.uniform(0.1, 0.4),
        elapsed=60.0 if hangs else first + 2,
        **(killed if hangs else {}),  # type: ignore[arg-type]
    )
    limits = {name: {"value": 60.0, "source": "s"} for name in ("ttfb", "first_content", "stale")}
    return line_of(
        CallRecord(
            call_id=str(number),
            started_at=float(number),
            method="POST",
            url="http://a",
            origin="http://a",
            limits=limits,
            attempts=(attempt,),
            outcome="failed" if hangs else "done",
        )
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models at one origin, the second ten times as slow and with hangs, and a third with few calls."""
    path, dice = tmp_path_factory.mktemp("logs") / "calls", random.Random(9)
    with path.open("wb") as file:
        for number in range(CALLS):
            file.write(line(dice, number, "quick", 0.5))
            file.write(line(dice, number, "slow", 5.0, hangs=number % 31 == 0))
        for number in range(20):
            file.write(line(dice, number, "rare", 1.0))
    return path


def test_each_model_has_its_own_limits(log: Path) -> None:
    """The quick model gets a short ttfb; the slow one keeps the limit that ended its calls."""
    done = invoke("tune", str(log))
    assert (done.code, done.err) == (0, "")
    assert "# http://a, model quick, prompts up to 4 KiB: 3,100 attempts" in done.out
    assert "#   Limits(ttfb=1, first_content=1.5, stale=0.4)" in done.out
    assert "95 % confidence" in done.out
    assert "ttfb: 60 s: kept: 100 of 3,100 calls were ended after that" in done.out
    assert "the limit ended 100, after 60.0 s each" in done.out
    assert "no recommendation: 20 calls are too few: a bound takes 2,995" in done.out


def test_the_output_can_be_sourced(log: Path) -> None:
    """Every line is a comment or a variable, whose value is long enough for all calls of the log."""
    done = invoke("tune", str(log))
    script = f"{done.out}\necho $LLMWATCH_TTFB_TIMEOUT_SECONDS $LLMWATCH_STALE_TIMEOUT_SECONDS"
    ended = subprocess.run(["sh", "-e", "-c", script], capture_output=True, text=True, check=True)
    # The third model has too few calls: its limits are not made shorter.
    assert ended.stdout.split() == ["60", "60"]
    assert ended.stderr == ""


def test_a_log_of_one_model_gives_its_limits(tmp_path: Path) -> None:
    """Without a small group the variables are as short as the bound."""
    dice = random.Random(2)
    (tmp_path / "calls").write_bytes(b"".join(line(dice, number, "m", 5.0) for number in range(CALLS)))
    out = invoke("tune", str(tmp_path / "calls")).out
    assert "LLMWATCH_TTFB_TIMEOUT_SECONDS=10\n" in out
    assert "LLMWATCH_FIRST_CONTENT_TIMEOUT_SECONDS=11\n" in out
    assert "LLMWATCH_STALE_TIMEOUT_SECONDS=0.4\n" in out


def test_what_if_replays_the_log(log: Path) -> None:
    """The attempts that another limit ends, and the time that it saves; no recommendation."""
    out = invoke("tune", str(log), "--what-if", "ttfb=30").out
    assert "# with ttfb=30:" in out
    assert "model slow, prompts up to 4 KiB: ends 0 of 3,000 healthy attempts; 100 without an answer end earlier" in out
    assert "3,000.0 s in all" in out
    assert "LLMWATCH_" not in out
    assert "ends 3,000 of 3,000" in invoke("tune", str(log), "--what-if", "ttfb=5").out


def test_several_files_are_one_log(log: Path, tmp_path: Path) -> None:
    """Rotated files are given together; lines that are no calls are skipped and counted."""
    lines = log.read_bytes().splitlines(keepends=True)
    (tmp_path / "calls.1").write_bytes(b"".join(lines[:3_000]))
    (tmp_path / "calls").write_bytes(b"no call\n" + b"".join(lines[3_000:]))
    done = invoke("tune", str(tmp_path / "calls.1"), str(tmp_path / "calls"))
    assert done.out == invoke("tune", str(log)).out
    assert "1 lines were skipped; the first is line 1" in done.err


def test_the_variable_names_the_log(log: Path) -> None:
    """Without a file the log of the environment is read; without either it is an error of usage."""
    assert invoke("tune", env={"LLMWATCH_CALL_LOG": str(log)}).out == invoke("tune", str(log)).out
    assert invoke("tune").code == 2


@pytest.mark.parametrize("text", ["ttfb", "ttfb=", "ttfb=0", "ttfb=-1", "ttfb=nan", "connect=3", "ttfb=1e99"])
def test_a_limit_that_cannot_be_replayed_is_an_error_of_usage(log: Path, text: str) -> None:
    """The message shows the form."""
    done = invoke("tune", str(log), "--what-if", text)
    assert done.code == 2
    assert "ttfb=30" in done.err


def test_a_file_without_calls_is_an_error(tmp_path: Path) -> None:
    """So is one that cannot be read."""
    (tmp_path / "empty").write_bytes(b"")
    for name in ("empty", "none"):
        done = invoke("tune", str(tmp_path / name))
        assert done.code == 2
        assert name in done.err


def test_a_name_in_a_file_cannot_leave_its_comment(tmp_path: Path) -> None:
    """A damaged or forged line makes no command of the shell."""
    forged = line(random.Random(1), 1, "m", 1.0).replace(b'"origin":"http://a"', b'"origin":"http://a\\nrm -rf /"')
    (tmp_path / "calls").write_bytes(forged)
    out = invoke("tune", str(tmp_path / "calls")).out
    assert all(part.startswith("#") for part in out.splitlines() if part)
    assert shlex.split(out, comments=True) == []
