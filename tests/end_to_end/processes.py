"""Separate processes for tests that would harm the test process: signals, forks, exits."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.end_to_end.times import PATIENCE

__all__ = ["Child", "child"]

_ROOT = Path(__file__).parents[2]


class Child:
    """A process that plays one scene of :mod:`tests.end_to_end.children`, and reports in lines of JSON."""

    def __init__(self, scene: str, **options: Any) -> None:
        command = [sys.executable, "-X", "dev", "-m", "tests.end_to_end.children", scene, json.dumps(options)]
        self.process = subprocess.Popen(
            command,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )
        self._rest = b""

    @property
    def pid(self) -> int:
        return self.process.pid

    def says(self, timeout: float = PATIENCE * 2) -> Any:
        """The next line that the child reports."""
        until = time.monotonic() + timeout
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                assert selector.select(max(0.0, until - time.monotonic())), "the child says nothing"
                data = os.read(self.process.stdout.fileno(), 65536)
                assert data, f"the child has gone: {self.ended()}"
                self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def go_on(self) -> None:
        """Let the child past the point at which it waits for its parent."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def ended(self, timeout: float = PATIENCE * 2) -> tuple[int, str]:
        """The child's exit code and what the child wrote to stderr, once the child has ended."""
        _, errors = self.process.communicate(timeout=timeout)
        return self.process.returncode, errors.decode()


@contextlib.contextmanager
def child(scene: str, **options: Any) -> Iterator[Child]:
    """A child that is gone when the block ends."""
    one = Child(scene, **options)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        for pipe in (one.process.stdin, one.process.stdout, one.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
