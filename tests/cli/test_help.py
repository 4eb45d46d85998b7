"""Every command shows its help, with every interpreter and every version of its dependencies."""

from __future__ import annotations

import pytest
from typer.main import get_command

from llmwatch.cli.app import application
from tests.cli.running import invoke

COMMANDS = sorted(get_command(application()).commands)  # type: ignore[attr-defined]


def test_the_commands_are_those_of_the_readme() -> None:
    """The table below has every command."""
    assert COMMANDS == ["chat", "demo", "faults", "incidents", "limits", "proxy", "report", "run", "top", "tune"]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_shows_its_help(name: str) -> None:
    """Its usage and its options, with exit code 0."""
    done = invoke(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"{name} [OPTIONS]" in done.out
    assert "--help" in done.out
