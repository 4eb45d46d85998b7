"""``llmwatch report`` on call logs: the text, the page's file, and what goes wrong."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import in_terminal, invoke
from tests.cli.traffic import SECRET, log_of
from tests.report.making import answered, hung, refused, written


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two calls that went well, one recovered and one refused."""
    path = tmp_path / "calls"
    path.write_bytes(written(answered(1), answered(2, 5.0, label="job-7"), hung(3, 10.0), refused(4, 20.0)))
    return path


def test_the_text_has_the_numbers(log: Path) -> None:
    """Outcomes, lost attempts with status and model, recovery, the limits to set, and calls by each name."""
    done = invoke("report", "--text", str(log))
    assert (done.code, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    assert done.out.startswith("4 calls from ")
    assert ": 2 good, 1 recovered, 1 failed, 0 cancelled.\n" in done.out
    (silent,) = [line for line in lines if line[2:3] == ["ttfb:"]]
    assert silent[:2] == ["m", "http://api"]
    assert "waiting - 1 1 1 0 2.50 s" in " ".join(silent)
    (error,) = [line for line in lines if line[2:3] == ["503:"]]
    assert "refused 503 1 1 0 1 0.30 s" in " ".join(error)
    assert "1 calls got their answer by a resend, after 2.50 s in all." in done.out
    assert "LLMWATCH_TTFB_TIMEOUT_SECONDS is left alone: a bound takes 2,995 calls of one model" in done.out
    for row in (["m", "4"], ["200", "3"], ["503", "1"], ["7", "4"], ["job-7", "1"], ["-", "3"], ["stream", "4"]):
        assert any(line[:2] == row for line in lines), row


def test_the_text_of_good_calls_alone(tmp_path: Path) -> None:
    """No loss is said; nothing was ended by a limit."""
    (tmp_path / "calls").write_bytes(written(answered(1)))
    out = invoke("report", "--text", str(tmp_path / "calls")).out
    assert "No attempt was lost." in out
    assert "Limits ended" not in out


def test_long_tables_are_cut_and_say_so(tmp_path: Path) -> None:
    """A log with a label for each call has a line for the first of them."""
    (tmp_path / "calls").write_bytes(written(*(answered(number, label=f"job-{number}") for number in range(60))))
    out = invoke("report", "--text", str(tmp_path / "calls")).out
    assert "... and 40 more." in out


def test_the_terminal_shows_colours(log: Path) -> None:
    """The same lines, with the colours of the outcomes."""
    done = in_terminal(["report", "--text", str(log)], columns=160)
    assert done.code == 0
    assert "\x1b[32m1" in done.out


def test_the_page_is_written_for_its_owner(log: Path, tmp_path: Path) -> None:
    """It replaces an older one; a line says where it is."""
    page = tmp_path / "report.html"
    done = invoke("report", str(log), "-o", str(page))
    assert (done.code, done.out) == (0, "")
    assert f"{page} shows 4 calls." in done.err
    assert page.stat().st_mode & 0o777 == 0o600
    first = page.read_text(encoding="utf-8")
    assert first.startswith("<!DOCTYPE html>")
    page.write_text(first * 2, encoding="utf-8")  # a longer page
    assert invoke("report", str(log), "-o", str(page)).code == 0
    assert page.read_text(encoding="utf-8").count("</html>") == 1


def test_the_real_log_gives_a_text_without_the_secret(tmp_path: Path) -> None:
    """Three models, their hangs, and the lines that ``tune`` prints."""
    path = log_of(tmp_path)
    done = invoke("report", "--text", str(path))
    assert "3,603 calls from " in done.out
    assert "3,550 good, 40 recovered, 13 failed, 0 cancelled." in done.out
    tuned = [line for line in invoke("tune", str(path)).out.splitlines() if line.startswith("LLMWATCH_")]
    assert tuned == [
        "LLMWATCH_TTFB_TIMEOUT_SECONDS=0.9",
        "LLMWATCH_FIRST_CONTENT_TIMEOUT_SECONDS=1.1",
        "LLMWATCH_STALE_TIMEOUT_SECONDS=1.2",
    ]
    assert all(f"  {line}\n" in done.out for line in tuned)
    assert SECRET not in done.out


def test_damaged_lines_are_counted_and_left_out(log: Path) -> None:
    """As ``tune`` does, which reads with the same function."""
    log.write_bytes(b"no call\n" + log.read_bytes())
    done = invoke("report", "--text", str(log))
    assert done.out.startswith("4 calls")
    assert "1 lines were skipped; the first is line 1" in done.err


def test_control_characters_of_the_log_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """A forged label cannot move the cursor or begin a line."""
    (tmp_path / "calls").write_bytes(written(answered(1, label="a\x1b[2J\nb", entry_point="x\ty")))
    out = invoke("report", "--text", str(tmp_path / "calls")).out
    assert "\x1b" not in out
    assert "a\ufffd[2J b" in out


@pytest.mark.parametrize("arguments", [(), ("--text", "-o", "x.html")])
def test_one_of_the_two_outputs_is_asked_for(log: Path, arguments: tuple[str, ...]) -> None:
    """Neither and both are errors of usage."""
    done = invoke("report", str(log), *arguments)
    assert done.code == 2
    assert "either" in done.err


def test_what_cannot_be_read_or_written_is_said(log: Path, tmp_path: Path) -> None:
    """A log that is not there, one without a call, and a page in no folder: exit code 2, and the reason."""
    missing = invoke("report", "--text", str(tmp_path / "none"))
    assert (missing.code, "The call log" in missing.err) == (2, True)
    (tmp_path / "empty").touch()
    for output in (("--text",), ("-o", str(tmp_path / "page.html"))):
        empty = invoke("report", str(tmp_path / "empty"), *output)
        assert (empty.code, "There is no call in" in empty.err) == (2, True)
    assert not (tmp_path / "page.html").exists()
    unwritten = invoke("report", str(log), "-o", str(tmp_path / "no" / "page.html"))
    assert (unwritten.code, "No such file or directory" in unwritten.err) == (2, True)
    assert invoke("report", "--text").code == 2


def test_without_bokeh_the_extra_is_named(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says what to install; the text needs nothing of it."""
    real = builtins.__import__

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "bokeh":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.startswith(("bokeh", "llmwatch.report.p"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", importing)
    done = invoke("report", str(log), "-o", str(tmp_path / "page.html"))
    assert done.code == 2
    assert 'pip install "llmwatch[cli,report]"' in done.err
    assert invoke("report", "--text", str(log)).code == 0


def test_other_commands_do_not_load_it() -> None:
    """The command line imports neither Bokeh nor the page."""
    program = "import sys, llmwatch.cli.app; print([n for n in sys.modules if n.startswith(('bokeh', 'numpy'))])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
