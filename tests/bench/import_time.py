"""How long does ``import llmwatch`` take on top of ``import requests``?

``python -m tests.bench.import_time [RUNS]`` starts fresh interpreters in turn and prints the medians in milliseconds.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

CODE = "import time; import requests; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"


# As installed: with its bytecode cached.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def seconds(module: str) -> float:
    """The time for one import, after requests, in a fresh interpreter."""
    return float(
        subprocess.run(
            [sys.executable, "-c", CODE.format(module)], capture_output=True, env=ENVIRONMENT, text=True, check=True
        ).stdout
    )


def main(runs: int = 15) -> None:
    """Measure and print."""
    seconds("llmwatch")
    ours = [seconds("llmwatch") for _ in range(runs)]
    parts = [seconds("sseclient, dataclasses, contextvars, uuid, zlib, heapq") for _ in range(runs)]
    print(f"import llmwatch over import requests: {statistics.median(ours) * 1e3:.1f} ms (median of {runs})")
    print(f"of that, the libraries it stands on: {statistics.median(parts) * 1e3:.1f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
