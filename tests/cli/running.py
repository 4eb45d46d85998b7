"""Running the command: in this process, as a process with pipes, in a pseudo-terminal, and interrupted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from typer.testing import CliRunner

from llmwatch.cli.app import application

__all__ = ["PATIENCE", "SOON", "Ended", "environment", "in_terminal", "interrupt", "invoke", "run", "started"]

PATIENCE = 30.0
"""Seconds in which a command must have ended; far above what any takes."""
SOON = 1.0
"""Seconds in which a command has to end on Ctrl-C: 0.2 of its own, the rest for a loaded machine."""

_PROGRAM = (sys.executable, "-m", "llmwatch")


@dataclass(frozen=True)
class Ended:
    """How a command ended. In a terminal both outputs are one."""

    code: int
    out: str
    err: str = ""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process' environment without what changes how the command behaves, and with ``extra``."""
    unwanted = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "TTY_COMPATIBLE", "PYTHONIOENCODING")
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


def run(*arguments: str, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> Ended:
    """Run the command with pipes, to its end."""
    done = subprocess.run(
        [*_PROGRAM, *arguments], env=environment(env), input=stdin, capture_output=True, timeout=PATIENCE, check=False
    )
    return Ended(done.returncode, done.stdout.decode("utf-8", "strict"), done.stderr.decode("utf-8", "strict"))


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
    process = subprocess.Popen(
        [*_PROGRAM, *arguments],
        env=environment(extra),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        preexec_fn=_take_terminal,
    )
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
        process.wait(SOON)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return Ended(process.returncode, shown.decode("utf-8", "replace"))


def _heed_interrupts() -> None:
    # Who runs the tests in the background of a shell ignores SIGINT, and so would the children.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _take_terminal() -> None:
    _heed_interrupts()
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
