"""The end of the interpreter with attempts that are alive."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.calibration import VARIABLE
from tests.watch.exiting import SCENARIOS
from tests.watch.scripted import PATIENCE, SCALE

CASES = [(scenario.__name__, code) for scenario, code in SCENARIOS.items()]


@pytest.mark.parametrize(("scenario", "code"), CASES)
def test_an_exit(scenario: str, code: int) -> None:
    """The process ends at once with its own exit code: the attempt is cancelled, its socket shut, and nothing is
    printed about it.
    """
    environment = {**os.environ, VARIABLE: str(SCALE)}
    command = [sys.executable, "-m", "tests.watch.exiting", scenario]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)
    assert done.returncode == code, done.stderr
    words = done.stdout.split()
    assert words[:3] == ["cancelled", "lifecycle", "shut"]
    if scenario == "with_a_traceback":
        assert done.stderr.count("Traceback") == 1
        assert done.stderr.endswith("RuntimeError: the program's own\n")
    else:
        assert done.stderr == ""
