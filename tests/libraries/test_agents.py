"""Agents of others under ``llm_faults``: smolagents 1.26, openai-agents 0.24, pydantic-ai 2.68.

All three stand on openai 3.57, whose retries they leave as they are: after silence and after 429 it asks again, and it
waits as long as it is told. None of them looks for the end of a stream: a connection that is closed in good order after
half an answer gives them a whole one. Under ``llmwatch.install()`` that is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "programs" / "agents.py"
PACKAGES = (
    "pytest>=8",
    "openai==3.57.0",
    "smolagents[openai]==1.26.0",
    "openai-agents==0.24.0",
    "pydantic-ai-slim[openai]==2.68.0",
)
FAULTS = ("silence", "refusal", "busy", "reset", "cut")
TAKE_A_CUT = {"test_smolagents[cut]", "test_openai_agents[cut]", "test_pydantic_ai[cut]"}
"""The tests that fail: the agent takes half an answer for a whole one."""


@pytest.mark.xdist_group("agents")
@pytest.mark.timeout(600)
def test_agents_retry_by_the_rules_and_take_a_cut_for_the_end(tmp_path: Path) -> None:
    """Each agent breaks one rule, under one fault; watched, it breaks none."""
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "environment"], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-e", str(ROOT), *PACKAGES], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LLMWATCH_", "PYTEST_"))}
    # As in a project of a user: without the settings of this one.
    suite = shutil.copy(PROGRAM, tmp_path / "test_agents.py")
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-rA", "--tb=short", "-p", "no:cacheprovider", suite],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    ended = {name: how for how, name in re.findall(r"^(PASSED|FAILED) \S*::(\S+)", done.stdout, re.MULTILINE)}
    tests = ("test_smolagents", "test_smolagents_watched", "test_openai_agents", "test_pydantic_ai")
    assert set(ended) == {f"{test}[{fault}]" for test in tests for fault in FAULTS}, done.stdout + done.stderr
    assert {name for name, how in ended.items() if how == "FAILED"} == TAKE_A_CUT, done.stdout
    findings = re.findall(r"^E +assert <Verdict .*$", done.stdout, re.MULTILINE)
    rules = [re.findall(r"\* (\w+): ", finding) for finding in findings]
    assert rules == [["whole"]] * len(TAKE_A_CUT), done.stdout
