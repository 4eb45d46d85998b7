"""Runs a real server on loopback, and asks it through llmwatch.

The servers come from a virtual environment of their own, which ``--servers`` names: ``python -m venv FOLDER``,
``FOLDER/bin/pip install -r tests/real/requirements.txt``, then ``pytest tests/real --servers FOLDER``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from llmwatch import Client, Decision, Limits, LLMWatchError, Retry
from tests.conftest import SCALE

PROGRAMS = Path(__file__).parent / "programs"
BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
SOON, LONG = 0.7 * SCALE, 20.0 * SCALE
"""Seconds of the limit that a test waits for, the proxy's or ours, and of all others."""
LIMITS = Limits(
    connect=LONG, send=LONG, ttfb=LONG, first_content=LONG, stale=LONG, progress=LONG, finish=SOON, drain=SOON
)
ENOUGH = Retry(max_attempts=2, backoff=0, budget=0, breaker=0)
STARTING = 30.0 * SCALE
_TRIES = 3
"""Another process may take a port between its choice and its use."""


@dataclass(frozen=True)
class Servers:
    """The virtual environment with what ``requirements.txt`` names."""

    folder: Path

    def path(self, pattern: str) -> str:
        """The one file in the environment that ``pattern`` fits; skips the test where there is none."""
        found = sorted(self.folder.glob(pattern))
        if not found:
            pytest.skip(f"{pattern} is not in the environment: its package did not install")
        return str(found[0])

    @property
    def python(self) -> str:
        """Its interpreter."""
        return self.path("bin/python")

    def package(self, name: str, pattern: str = "__init__.*") -> str:
        """A file of an installed package."""
        return self.path(f"lib/python*/site-packages/{name}/{pattern}")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What came of a call through a real server."""

    error: str = ""
    limit: str | None = None
    status: int | None = None
    decision: Decision | None = None
    attempts: int = 1
    upstream: int = 1


def failed(error: str, decision: Decision, requests: int = 1, **more: Any) -> Seen:
    """An error after so many requests, of which each is an attempt."""
    return Seen(error=error, decision=decision, attempts=requests, upstream=requests, **more)


def seen(url: str, limits: dict[str, float], upstream: Callable[[], int], **settings: Any) -> Seen:
    """What ``stream`` makes of a call, and how many requests reached the server behind ``url``."""
    if "first_content" in limits:
        # None may be longer than it.
        limits = {"ttfb": limits["first_content"], **limits}
    client = settings.pop("client", None) or Client(retry=ENOUGH)
    with client:
        found: dict[str, Any] = {}
        stream = client.stream("POST", url, json=BODY, limits=replace(LIMITS, **limits), **settings)
        try:
            with stream:
                for _ in stream:
                    pass
        except LLMWatchError as error:
            found = {"error": type(error).__name__, "decision": error.recovery and error.recovery.decision}
            found |= {name: getattr(error, name) for name in ("limit", "status") if getattr(error, name, None)}
        assert stream.record is not None
        return Seen(**found, attempts=len(stream.record.attempts), upstream=upstream())


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def proxy(command: Callable[[int, Path], Sequence[str]], **environment: str) -> Iterator[int]:
    """A proxy by the command for a port and a folder, once it takes connections; gives its port."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for last in range(_TRIES):
            port = free_port()
            with (folder / "log").open("w") as log:
                process = subprocess.Popen(
                    command(port, folder), stdout=log, stderr=log, env={**os.environ, **environment}, cwd=folder
                )
            try:
                if _listens(process, port):
                    yield port
                    return
            finally:
                process.terminate()
                process.wait()
            assert last < _TRIES - 1, (folder / "log").read_text()


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    until = time.monotonic() + STARTING
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.02)
    return False


@contextlib.contextmanager
def server(*command: str) -> Iterator[str]:
    """A server that prints its URL, and ends with its standard input."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), url
        yield url
        process.stdin.close()
