"""Starts commands from a process that has llmwatch loaded.

Each is a process of its own, forked in place of started.

An interpreter that loads llmwatch, typer and rich takes half a second of processor time, and tests start over a
hundred of them. Run as a script this file is that process: it loads the command line once, forks for each request that
comes through its standard input, and in the child becomes ``python -m llmwatch ...``, with the streams, variables and
folder of the request, up to the end of the interpreter. What depends on how the interpreter itself is started (its
options, the encoding of its streams) is for tests that start one.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

__all__ = ["Launcher", "Started"]


class Started:
    """A command that runs: its process, and how it ends."""

    def __init__(self, report: socket.socket) -> None:
        self._report = report
        self.pid = self._number()
        self.code: int | None = None

    def wait(self, timeout: float) -> int:
        """Its exit code, or the signal that ended it below zero. ``TimeoutError`` after ``timeout`` seconds."""
        if self.code is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise TimeoutError(f"the command is still running after {timeout:g} s")
            self.code = self._number()
        return self.code

    def kill(self) -> None:
        """End it, if it has not ended; it leaves nothing open."""
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.code = self._number()
        self._report.close()

    def _number(self) -> int:
        digits = b""
        while not digits.endswith(b"\n"):
            digits += self._report.recv(1) or b"?\n"
        return int(digits)


class Launcher:
    """The process that forks, from its first command to the end of this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: socket.socket | None = None

    def begin(self) -> None:
        """Have the process ready, and its channel, which stays open from then on."""
        with self._lock:
            self._channel()

    def start(
        self,
        arguments: Sequence[str],
        streams: Sequence[int],
        *,
        env: Mapping[str, str],
        cwd: str | None = None,
        terminal: bool = False,
    ) -> Started:
        """Start ``python -m llmwatch *arguments`` with these three descriptors.

        ``terminal`` says that they are one.
        """
        request = {
            "arguments": list(arguments),
            "environ": dict(env),
            "cwd": cwd or os.getcwd(),
            "terminal": terminal,
        }
        ours, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as file:
            file.write(json.dumps(request).encode())
            file.flush()
            with self._lock:
                socket.send_fds(self._channel(), [b"x"], [*streams, file.fileno(), theirs.fileno()])
        return Started(ours)

    def _channel(self) -> socket.socket:
        if self._requests is None:
            self._requests, theirs = socket.socketpair()
            with theirs:
                process = subprocess.Popen([sys.executable, __file__], stdin=theirs)
            atexit.register(self._close, process, self._requests)
        return self._requests

    @staticmethod
    def _close(process: subprocess.Popen[bytes], requests: socket.socket) -> None:
        requests.close()
        process.wait()


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork for each request that comes.

    Returns in the child what was asked for, and ``None`` when none comes more.
    """
    while True:
        _, descriptors, _, _ = socket.recv_fds(requests, 1, 5)
        if not descriptors:
            return None
        while _ended():
            pass
        if os.fork() == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
    *streams, asked, report = descriptors
    # The command's parent, which waits for it. Its own streams are the command's alone.
    pid = os.fork()
    if pid != 0:
        requests.close()
        for descriptor in (*streams, asked, 0, 1, 2):
            os.close(descriptor)
        os.write(report, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(report, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    requests.close()
    with open(asked, "rb") as file:
        file.seek(0)
        request: dict[str, Any] = json.load(file)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.close(report)
    return request


def _ended() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _become(request: dict[str, Any]) -> None:
    """Have the process look like ``python -m llmwatch`` with the request's words.

    It looks so as far as Python code can see.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["terminal"]:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.path[0] = request["cwd"]
    sys.argv = ["-m", *request["arguments"]]
    sys.orig_argv = [sys.executable, "-m", "llmwatch", *request["arguments"]]
    # As Python opens them in its UTF-8 mode.
    drawn = os.isatty(1)
    sys.stdin = sys.__stdin__ = _text(0, "r", errors="surrogateescape")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _text(1, "w", 1 if drawn else -1, errors="surrogateescape")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _text(2, "w", 1, errors="backslashreplace")  # type: ignore[misc]


def _text(descriptor: int, mode: str, buffering: int = -1, *, errors: str) -> TextIO:
    return open(descriptor, mode, buffering, encoding="utf-8", errors=errors)  # type: ignore[return-value]


if __name__ == "__main__":
    from llmwatch.cli.app import run

    # Ctrl-C is for the commands.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The first command loads what the others need as well.
    with contextlib.redirect_stdout(io.StringIO()):
        run(["limits"])
    with socket.socket(fileno=os.dup(0)) as _requests:
        _request = _serve(_requests)
    if _request is not None:
        _become(_request)
        runpy.run_module("llmwatch", run_name="__main__", alter_sys=True)
