"""An environment for the libraries, and their scripts run in it against a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmwatch.faults import FaultServer, Script
from llmwatch.faults.request import Request
from llmwatch.faults.steps import Chunk, Close, End, Hang, Head
from tests.conftest import SCALE
from tests.libraries.wires import LIBRARIES, Wire

__all__ = ["CUT", "HANG", "LIMIT", "SILENT", "Run", "count_requests", "make_environment", "run", "script"]

LIMIT = 1.0 * SCALE
"""Seconds of ``ttfb`` and ``stale``."""
_PATIENCE = 90.0 * SCALE

_ROOT = Path(__file__).parents[2]
_PROGRAMS = Path(__file__).parent / "programs"

CUT = (Close(),)
"""The connection closes within the body's framing."""
HANG = (Hang(),)
SILENT = Script.of("silent", Hang())


@dataclass(frozen=True, slots=True)
class Run:
    """The outcome of one run: pieces of the answer, classes of the exceptions, requests that came."""

    pieces: list[str]
    error: list[str]
    requests: list[Request] = field(repr=False)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def sent(self) -> list[tuple[str, str, bytes]]:
        """Method, target and body of each request."""
        return [(request.method, request.target, request.body) for request in self.requests]


def make_environment(stands_on: str, folder: Path) -> Path:
    """The Python of a new virtual environment with llmwatch and the libraries of one kind."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    packages = [package for package, _ in LIBRARIES[stands_on].values()]
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-e", f"{_ROOT}[cli]", *packages], check=True)
    return python


def script(wire: Wire, *ending: Chunk | Close | End | Hang, pieces: int | None = None) -> Script:
    """An answer of ``pieces`` events (all of them with ``None``) and what follows them."""
    head = Head(200, (("Content-Type", wire.content_type),), "chunked")
    return Script.of("wire", head, *map(Chunk, wire.pieces[:pieces]), *(ending or (End(),)))


def run(python: Path, stands_on: str, library: str, scripts: Sequence[Script | str], *, watched: bool) -> Run:
    """Run the library's script, bare or watched, to its end."""
    limits = {f"LLMWATCH_{name}_TIMEOUT_SECONDS": str(LIMIT) for name in ("TTFB", "STALE")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LLMWATCH_")}
    with FaultServer(scripts) as server:
        program = [str(_PROGRAMS / f"on_{stands_on}.py"), library, server.url]
        if stands_on == "requests":
            command = [*(["-m", "llmwatch", "run", "--quiet", "--"] if watched else []), *program, str(LIMIT)]
        else:
            command = [*program, "watched" if watched else "bare"]
        done = subprocess.run(
            [python, "-W", "ignore", *command],
            env=environment | (limits if watched else {}),
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        assert done.stdout.strip(), done.stderr
        said = json.loads(done.stdout.strip().splitlines()[-1])
        return Run(said["pieces"], said["error"] or [], server.requests)


def count_requests(python: Path, library: str, played: str | Script, *, tries: int) -> tuple[int, list[str]]:
    """The number of requests for that many tries of a user's loop, and the exception of each try.

    The loop is around a library that retries. No breaker holds a try back.
    """
    seconds = {f"LLMWATCH_{name}_TIMEOUT_SECONDS": str(LIMIT) for name in ("TTFB", "STALE")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LLMWATCH_")}
    with FaultServer([played]) as server:
        done = subprocess.run(
            [python, "-W", "ignore", str(_PROGRAMS / "retrying.py"), library, server.url, str(tries)],
            env=environment | seconds | {"LLMWATCH_BREAKER": "0", "LLMWATCH_BACKOFF_SECONDS": "0.01"},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        assert done.stdout.strip(), done.stderr
        return len(server.requests), json.loads(done.stdout.strip().splitlines()[-1])
