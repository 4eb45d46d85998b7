"""Running the command in four ways.

It runs in this process, as a process of its own, in a pseudo-terminal, and interrupted.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from llmwatch.cli.app import application
from tests.cli.launcher import Launcher
from tests.cli.times import PATIENCE, SOON

__all__ = ["LAUNCHER", "Ended", "environment", "in_terminal", "interrupt", "invoke", "launched", "run", "started"]

LAUNCHER = Launcher()
_PROGRAM = (sys.executable, "-m", "llmwatch")


@dataclass(frozen=True)
class Ended:
    """The end of a command. On a terminal both outputs are one."""

    code: int
    out: str
    err: str = ""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process' environment without what changes how the command behaves, and with ``extra``."""
    unwanted = (
        "NO_COLOR",
        "FORCE_COLOR",
        "COLUMNS",
        "LINES",
        "TERM",
        "TTY_COMPATIBLE",
        "PYTHONIOENCODING",
        "PYTHONUNBUFFERED",
    )
    kept = {
        name: value for name, value in os.environ.items() if name not in unwanted and not name.startswith("LLMWATCH_")
    }
    return {**kept, "PYTHONUTF8": "1", **(extra or {})}


def invoke(*arguments: str, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> Ended:
    """Run the command in this process, which is faster, and as if through pipes."""
    unset = dict.fromkeys(name for name in os.environ if name.startswith("LLMWATCH_"))
    done = CliRunner().invoke(application(), list(arguments), env={**unset, **(env or {})}, input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ended(done.exit_code, done.stdout, done.stderr)


def run(
    *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes = b"", cwd: str | Path | None = None
) -> Ended:
    """Run the command as a process of its own, to its end.

    One whose variables are about Python itself is started afresh.
    """
    if any(name.startswith("PYTHON") for name in env or ()):
        done = subprocess.run(
            [*_PROGRAM, *arguments],
            env=environment(env),
            input=stdin,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
            cwd=cwd,
        )
        return Ended(done.returncode, done.stdout.decode("utf-8", "strict"), done.stderr.decode("utf-8", "strict"))
    with contextlib.ExitStack() as stack:
        given, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(stdin)
        given.seek(0)
        code = launched(arguments, [given.fileno(), out.fileno(), err.fileno()], env=env, cwd=cwd)
        said, complained = (file.seek(0) or file.read().decode("utf-8", "strict") for file in (out, err))
    return Ended(code, said, complained)


def launched(
    arguments: Sequence[str],
    streams: Sequence[int],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
) -> int:
    """Run the command as a process of its own with these three streams; its exit code."""
    command = LAUNCHER.start(arguments, streams, env=environment(env), cwd=None if cwd is None else str(cwd))
    try:
        return command.wait(PATIENCE)
    finally:
        command.kill()


@contextlib.contextmanager
def started(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The command with pipes while it runs; it does not outlive the block."""
    process = subprocess.Popen(
        [*_PROGRAM, *arguments],
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_heed_interrupts,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def interrupt(process: subprocess.Popen[bytes]) -> Ended:
    """Press Ctrl-C once; the command has to end soon."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SOON)
    return Ended(process.returncode, out.decode(), err.decode())


def in_terminal(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    columns: int = 100,
    until: str | None = None,
    keys: bytes = b"",
) -> Ended:
    """Run the command in a pseudo-terminal. Once ``until`` is on the screen, ``keys`` are typed."""
    extra = {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40", **(env or {})}
    master, slave = pty.openpty()
    command = LAUNCHER.start(arguments, [slave] * 3, env=environment(extra), terminal=True)
    os.close(slave)
    shown = b""
    try:
        over = time.monotonic() + PATIENCE
        while (left := over - time.monotonic()) > 0 and select.select([master], [], [], left)[0]:
            try:
                data = os.read(master, 65536)
            except OSError:
                break  # Linux says so when the last descriptor of the other side is closed.
            if not data:
                break
            shown += data
            if until is not None and until in shown.decode("utf-8", "replace"):
                os.write(master, keys)
                until = None
        code = command.wait(SOON)
    finally:
        command.kill()
        os.close(master)
    return Ended(code, shown.decode("utf-8", "replace"))


def _heed_interrupts() -> None:
    # Who runs the tests in the background of a shell ignores SIGINT, and so would the children.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
