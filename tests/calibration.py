"""The load of this machine, measured once at the start of a run.

The result is the factor by which every time in tests is multiplied.

A process computes until it has had a fixed amount of processor time, on each processor at once. On a quiet machine
that takes as long by the wall clock; where other programs want the processors too, it takes longer, and a worker or
supervisor of a test waits as much longer for its turn.
"""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["VARIABLE", "scale_of_this_run"]

VARIABLE = "LLMWATCH_TEST_SCALE"
"""Sets the factor by hand, and hands it to the processes that a run starts."""

_QUIET = 1.25
"""Wall time over processor time up to which a machine counts as quiet."""
_MOST = 8.0
"""A run with longer times would not end in reasonable time."""
_PROCESSOR_TIME = 0.25
"""Seconds that each process computes: many turns of the scheduler.

A turn takes some milliseconds.
"""

_PROGRAM = f"""
import time
wall, used = time.perf_counter(), time.process_time()
while time.process_time() - used < {_PROCESSOR_TIME}:
    pass
print((time.perf_counter() - wall) / {_PROCESSOR_TIME})
"""


def scale_of_this_run() -> float:
    """1 on a quiet machine, more on a busy one; measured once in a run and its processes."""
    given = os.environ.get(VARIABLE)
    if given is None:
        given = os.environ[VARIABLE] = f"{_measured():.2f}"
    return float(given)


def _measured() -> float:
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
    spinning = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(os.cpu_count() or 1)]
    slowest = max(float(process.communicate()[0]) for process in spinning)
    return 1.0 if slowest < _QUIET else min(slowest, _MOST)
