"""The summary at the end of a script's process: lines for a person, and a file for programs."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from contextlib import suppress
from typing import Any

from llmwatch import CallRecord, at_fork, stats
from llmwatch.cli.run_counts import Counts
from llmwatch.hooks import left_alone
from llmwatch.policy import incident_log
from llmwatch.watch import supervisor as supervisors

__all__ = ["SCHEMA", "Summary", "begin_file"]

SCHEMA = 1
"""Version of the file's fields. A removed field or a changed meaning raises it, a new field not."""


class Summary:
    """A sink that counts calls. May be called from any thread.

    ``lines``: whether a person is told at the end. ``file``: the path of the file for programs, if there is one. The
    summary is about the process that created it: a forked child starts at zero, and writes nothing. Calls through a
    mount or an install of the script's own go to the sinks that the script gives, and are not counted here.
    """

    def __init__(self, *, lines: bool = True, file: str | None = None) -> None:
        # Protects the counts; a leaf. Reentrant, because a signal handler of the same thread may make a call.
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._lines = lines
        self._file = file
        self._counts = Counts()
        at_fork.follow(self)

    def after_fork(self) -> None:
        """Forget the parent's calls, in a forked child."""
        self._lock = threading.RLock()
        self._counts = Counts()

    def __call__(self, record: CallRecord) -> None:
        """Count one call that has ended."""
        with self._lock:
            self._counts.add(record)

    def write(self) -> None:
        """Write the lines and the file. Does nothing in a forked child.

        The lines go to the process's original standard error. Errors of writing them are ignored; those of writing the
        file are one line there.
        """
        if os.getpid() != self._process:
            return
        # A call that the script has just dropped may not be reported yet, and other exit handlers run later.
        supervisors.finish_dropped()
        now = stats()
        with self._lock:
            counts = self._counts
            counts.running, counts.orphans = now["live_attempts"], now["unabortable"]
            counts.lost = now["incidents_lost"]
            counts.leave(left_alone.counts())
            self._counts = Counts()
        log = incident_log(os.environ)
        lines = counts.lines(log) if self._lines else []
        if self._file is not None:
            document = {"schema": SCHEMA, "complete": True, **counts.to_dict(), "incident_log": log}
            try:
                _write(self._file, document)
            except OSError as error:
                lines.append(f"the summary could not be written to {self._file!r}: {error.strerror}")
        stream = sys.__stderr__
        if stream is not None and lines:
            with suppress(OSError, ValueError):
                stream.write("".join(f"llmwatch: {line}\n" for line in lines))
                stream.flush()


def begin_file(path: str) -> None:
    """Replace what ``path`` holds by the mark of a run that has not ended. Raises :class:`OSError`.

    The mark stays if a signal kills the process, or the script ends it by ``os._exit``. A pipe or a device gets none.
    """
    if not os.path.exists(path) or stat.S_ISREG(os.stat(path).st_mode):
        _write(path, {"schema": SCHEMA, "complete": False})
    elif os.path.isdir(path):
        raise IsADirectoryError(21, os.strerror(21), path)


def _write(path: str, document: dict[str, Any]) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(json.dumps(document) + "\n")
