"""Forked children: what they inherit is inert, what they start is watched, and the parent goes on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.calibration import VARIABLE
from tests.watch.forking import SCENARIOS
from tests.watch.scripted import PATIENCE, SCALE

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


@pytest.mark.timeout(60 * PATIENCE)
def test_every_fork_scenario_holds_in_parent_and_child() -> None:
    """The checks of each scenario run in the parent and in the child."""
    # Python 3.12 warns of every fork in a process with threads; that is just what is tried here.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.watch.forking"]
    environment = {**os.environ, VARIABLE: str(SCALE)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.splitlines() == [f"{scenario.__name__} 0" for scenario in SCENARIOS], done.stderr
    assert (done.returncode, done.stderr) == (0, "")
