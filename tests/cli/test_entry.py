from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import llmwatch
from tests.cli.incident_calls import SEVERAL, lines
from tests.cli.running import environment, in_terminal, launched, run
from tests.cli.times import PATIENCE

FULL = "llmwatch: the output cannot be written: No space left on device.\n"


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_typer_or_rich_the_command_says_what_to_install(missing: str) -> None:
    """Without typer or rich the command says in one line what to install, and ends with 2."""
    program = f"import sys; sys.modules[{missing!r}] = None; from llmwatch.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == ['The llmwatch command needs typer and rich: pip install "llmwatch[cli]"']


def test_other_missing_modules_are_not_hidden() -> None:
    """A module that is missing for another reason is a mistake with a traceback.

    It is not a hint to install something.
    """
    program = "import sys; sys.modules['llmwatch.cli.chat'] = None; from llmwatch.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "llmwatch.cli.chat" in done.stderr


def test_version_prints_the_packages_version() -> None:
    """The command says the version that the package has."""
    program = [sys.executable, "-m", "llmwatch", "--version"]
    done = subprocess.run(program, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"llmwatch {llmwatch.__version__}\n", "")


def test_help_names_every_command_and_exit_code() -> None:
    """Help names every command and every exit code, on standard output and in plain text."""
    done = run("--help")
    assert done.code == 0
    said = " ".join(done.out.split())
    assert all(
        word in said for word in ("demo", "chat", "limits", "an output that cannot be written", "130 interrupted")
    )
    assert "\x1b" not in done.out


@pytest.mark.parametrize(
    "arguments", [(), ("nonsense",), ("chat",), ("limits", "--nonsense"), ("demo", "--ttfb", "soon")]
)
def test_invalid_usage_ends_with_exit_code_2(arguments: tuple[str, ...]) -> None:
    """Invalid usage ends with exit code 2 and a message without a traceback."""
    done = run(*arguments)
    assert done.code == 2
    assert "Usage: llmwatch" in done.out + done.err
    assert "Traceback" not in done.err


def test_help_in_a_terminal_has_the_same_words() -> None:
    """On a terminal help is drawn with the same words."""
    done = in_terminal(["chat", "--help"])
    assert done.code == 0
    assert "\x1b[" in done.out
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.out)
    assert all(word in shown for word in ("PROMPT", "--base-url", "--api-key-env", "--ttfb"))


@pytest.mark.parametrize(
    "arguments", [("limits",), ("limits", "--json"), ("--help",), ("limits", "--help"), ("--version",), ("incidents",)]
)
def test_a_full_disk_is_reported_in_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """A full disk is reported in one line, for any output.

    The exit code is that for a mistake of the caller.
    """
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    if arguments == ("incidents",):
        log = tmp_path / "incidents.jsonl"
        log.write_bytes(lines(*SEVERAL))
        arguments = ("incidents", str(log))
    spoken = tmp_path / "err"
    with full.open("wb") as out, Path(os.devnull).open() as nothing, spoken.open("wb") as err:
        code = launched(arguments, [nothing.fileno(), out.fileno(), err.fileno()])
    assert code == 2
    assert spoken.read_text() == FULL


def test_a_full_disk_is_reported_for_unbuffered_output_too() -> None:
    """The same where Python holds nothing back, and fails with the first line."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    program = [sys.executable, "-u", "-m", "llmwatch", "limits"]
    with full.open("wb") as out:
        done = subprocess.run(
            program, env=environment(), stdout=out, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False
        )
    assert (done.returncode, done.stderr) == (2, FULL)


@pytest.mark.parametrize("arguments", [("limits",), ("limits", "--json")])
def test_a_reader_that_leaves_ends_a_table_quietly(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """A table whose reader has left ends as quietly as a document, and with success."""
    spoken = tmp_path / "err"
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as out, Path(os.devnull).open() as nothing, spoken.open("wb") as err:
        assert launched(arguments, [nothing.fileno(), out.fileno(), err.fileno()]) == 0
    assert spoken.read_bytes() == b""
