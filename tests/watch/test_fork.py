"""Forked children: what they inherit is inert, what they start is watched, and the parent goes on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.watch.forking import SCENARIOS
from tests.watch.scripted import PATIENCE

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in SCENARIOS])
def test_a_fork(scenario: str) -> None:
    """The scenario of that name, whose checks run in the parent and in the child, goes through in both."""
    # Python 3.12 warns of every fork in a process with threads; that is just what is tried here.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.watch.forking", scenario]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
    assert "Traceback" not in done.stderr
