"""Runs an example as its reader would: as a script, in a process of its own, with nothing set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import SCALE

__all__ = ["EXAMPLES", "LIMIT", "PATIENCE", "run"]

EXAMPLES = Path(__file__).parents[2] / "examples"

LIMIT = 0.4 * SCALE
"""A limit that expires, in seconds.

An answer that comes is there in a hundredth of it on a quiet machine.
"""
PATIENCE = 50.0 * SCALE
"""Seconds after which an example hangs; on a quiet machine each takes less than five."""


def run(name: str, *arguments: str, **variables: str) -> str:
    """The output of ``examples/<name>``, which must exit with 0 and write nothing to standard error."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LLMWATCH_", "OPENAI_"))}
    environment.update({"PYTHONIOENCODING": "utf-8", "PYTHONWARNINGS": "error"}, **variables)
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{name} ended with {done.returncode}:\n{done.stderr}"
    return done.stdout
