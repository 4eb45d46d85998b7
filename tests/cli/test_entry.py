from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.cli.running import environment, in_terminal, run


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_extra_missing(missing: str) -> None:
    """Without typer or rich the command says in one line what to install, and ends with 2."""
    program = f"import sys; sys.modules[{missing!r}] = None; from llmwatch.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == ['The llmwatch command needs typer and rich: pip install "llmwatch[cli]"']


def test_other_missing_modules_are_not_hidden() -> None:
    """A module that is missing for another reason is a mistake with a traceback, not a hint to install something."""
    program = "import sys; sys.modules['llmwatch.cli.chat'] = None; from llmwatch.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "llmwatch.cli.chat" in done.stderr


def test_version() -> None:
    """The version is that of the installed package."""
    done = run("--version")
    assert (done.code, done.out, done.err) == (0, f"llmwatch {version('llmwatch')}\n", "")


def test_help() -> None:
    """Help names every command and every exit code, on standard output and in plain text."""
    done = run("--help")
    assert done.code == 0
    assert all(word in done.out for word in ("demo", "chat", "limits", "130 interrupted"))
    assert "\x1b" not in done.out


@pytest.mark.parametrize(
    "arguments", [(), ("nonsense",), ("chat",), ("limits", "--nonsense"), ("demo", "--ttfb", "soon")]
)
def test_usage(arguments: tuple[str, ...]) -> None:
    """What cannot be meant is a usage error with exit code 2, in words and without a traceback."""
    done = run(*arguments)
    assert done.code == 2
    assert "Usage: llmwatch" in done.out + done.err
    assert "Traceback" not in done.err


def test_help_in_terminal() -> None:
    """In a terminal help is drawn, and its words are the same."""
    done = in_terminal(["chat", "--help"])
    assert done.code == 0
    assert "\x1b[" in done.out
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.out)
    assert all(word in shown for word in ("PROMPT", "--base-url", "--api-key-env", "--ttfb"))
