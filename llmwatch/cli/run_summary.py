"""The summary at the end of a script's process: lines for a person, and a file for programs.

Each process keeps its counts in a file of its own, in a folder of the run: it replaces the file as a whole after every
call, so that the counts survive a signal that kills. The script's process adds the files up at its end. It keeps a file
as well, renewed once a second at most, for a program that is executed in its place.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import stat
import sys
import threading
import uuid
from contextlib import suppress
from typing import Any

from llmwatch import CallRecord, at_fork, stats
from llmwatch.cli.run_counts import Counts
from llmwatch.hooks import left_alone
from llmwatch.policy import incident_log
from llmwatch.watch import supervisor as supervisors
from llmwatch.watch.clock import SYSTEM

__all__ = ["SCHEMA", "Summary", "begin_file", "standard_error"]

SCHEMA = 1
"""Version of the file's fields. A removed field or a changed meaning raises it, a new field not."""

_ENDING = ".json"
_SELDOM = 1.0
"""Seconds between two files of the script's own process."""


class Summary:
    """A sink that counts calls. May be called from any thread.

    ``lines``: whether a person is told at the end. ``file``: the path of the file for programs, if there is one.
    ``folder``: where the processes of the run count, if there is more than this one. ``main``: the id of the process
    that writes the summary; ``None`` for a process that the script has started. A forked child starts at zero. Calls
    through a mount or an install of the script's own go to the sinks that the script gives, and are not counted here.
    """

    def __init__(
        self, *, lines: bool = True, file: str | None = None, folder: str | None = None, main: int | None = None
    ) -> None:
        # Protects the counts; a leaf. Reentrant, because a signal handler of the same thread may make a call.
        self._lock = threading.RLock()
        self._main = main
        self._lines = lines
        self._file = file
        self._folder = folder
        self._clear()
        at_fork.follow(self)
        if main is None and not _is_fork_server():
            # From now on the script's process knows of this one.
            self._save(ended=False)

    def _clear(self) -> None:
        self._counts = Counts()
        self._name = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._saved_at = float("-inf")

    def after_fork(self) -> None:
        """Forget the parent's calls, in a forked child."""
        self._lock = threading.RLock()
        self._clear()
        processes = sys.modules.get("multiprocessing.util")
        if processes is not None and self._folder is not None:
            # Such a child ends by os._exit, after its own kind of exit handlers.
            processes.register_after_fork(self, _end_with_process)

    def __call__(self, record: CallRecord) -> None:
        """Count one call that has ended."""
        with self._lock:
            self._counts.add(record)
            now = SYSTEM.now()
            if self._main == os.getpid() and now - self._saved_at < _SELDOM:
                return
            self._saved_at = now
        self._save(ended=False)

    def write(self) -> None:
        """Write the lines and the file in the script's own process; elsewhere, add to what it will write.

        The lines go to the process's original standard error. Errors of writing them are ignored; those of writing the
        file are one line there.
        """
        # A call that the script has just dropped may not be reported yet, and other exit handlers run later.
        supervisors.finish_dropped()
        if os.getpid() != self._main:
            self._save(ended=True)
            return
        counts = self._now()
        counts.running = stats()["live_attempts"]
        if self._folder is not None:
            _collect(self._folder, counts, besides=self._name)
            shutil.rmtree(self._folder, ignore_errors=True)
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

    def _now(self) -> Counts:
        """The counts of this process up to now."""
        numbers = stats()
        with self._lock:
            counts = Counts()
            counts.merge(self._counts)
        counts.processes, counts.orphans, counts.lost = 1, numbers["unabortable"], numbers["incidents_lost"]
        counts.leave(left_alone.counts())
        return counts

    def _save(self, *, ended: bool) -> None:
        if self._folder is None:
            return
        document = {"pid": os.getpid(), "ended": ended, "counts": self._now().to_dict()}
        path = os.path.join(self._folder, self._name)
        with self._lock:
            # The numbers keep a signal handler that makes a call from writing to the same file.
            part = f"{path}.{next(self._numbers)}"
            # The script's process may have ended, and removed the folder.
            with suppress(OSError):
                _write(part, document)
                os.replace(part, path + _ENDING)


def _end_with_process(summary: Summary) -> None:
    from multiprocessing.util import Finalize

    Finalize(None, summary.write, exitpriority=-1000)


def _is_fork_server() -> bool:
    return any(word.startswith("from multiprocessing.forkserver import main") for word in sys.orig_argv)


def _collect(folder: str, counts: Counts, *, besides: str) -> None:
    """Add the counts of the other processes."""
    with suppress(OSError):
        for entry in os.listdir(folder):
            if entry.startswith("unwatched-"):
                counts.unwatched += 1
            elif entry.endswith(_ENDING) and not entry.startswith(besides):
                # A file that something else has put there, or damaged, counts for nothing.
                with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                    with open(os.path.join(folder, entry), encoding="ascii") as file:
                        found = json.load(file)
                    theirs = Counts.from_dict(found["counts"])
                    theirs.running, theirs.alive = 0, int(not found["ended"] and _is_alive(found["pid"]))
                    counts.merge(theirs)


def _is_alive(process: int) -> bool:
    if process == os.getpid() or os.name == "nt":
        # The program that this process was before it executed the present one. On Windows the signal 0 is Ctrl-C.
        return False
    try:
        # One that has ended, and that its parent has not waited for, can still be signalled.
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        pass
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def standard_error() -> list[int] | None:
    """What identifies the file that the process's standard error is; ``None`` if it is closed."""
    try:
        status = os.fstat(2)
    except OSError:
        return None
    return [status.st_dev, status.st_ino]


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
