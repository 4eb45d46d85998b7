"""The status file: once a second, what this process has in flight.

``LLMWATCH_STATUS_FILE`` names it; ``{pid}`` in the name stands for the id of the process, and each process of a program
needs a name of its own. The file holds one JSON object: ``schema``, ``process``, ``written_at`` (wall time),
``in_flight`` (number of open calls), ``calls`` (where each stands, the oldest first, a hundred at most) and ``stats``,
which are those of :func:`llmwatch.stats`. No prompt, answer, URL or header is in it.

A daemon thread of its own writes the file, which the first call of the process starts. No other thread of llmwatch
would do: a file system may not answer for minutes, and meanwhile the supervisor would end no attempt, a worker would
read no byte, and the caller would get no event. The thread takes the lock of each attempt for some microseconds, to
read which limit comes next.

A file is written beside the name, with mode 0600, and then takes its place, so that a reader never sees half of it.
What is there and is no status file stays, for a mistyped name would destroy it. A file that cannot be written is
reported once on the logger ``llmwatch`` until it can be written again; no call is affected. At exit the file is
removed; the file of a process that was killed stays, and ``written_at`` tells. A forked child writes a file of its own,
at its first call.

``_lock`` protects ``_current``. A file's ``_writing`` is held while it is written or removed, and nothing else is taken
meanwhile but what :func:`counters` and a call take.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import heapq
import json
import logging
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from llmwatch.at_fork import renew_in_child
from llmwatch.engine.counters import counters
from llmwatch.policy.environment import PROCESS_MARK, STATUS_FILE_VARIABLE
from llmwatch.records.log import say
from llmwatch.watch.clock import SYSTEM

__all__ = ["EVERY", "STATUS_SCHEMA", "StatusFile", "keep"]

STATUS_SCHEMA = 1

EVERY = 1.0
"""Seconds between two writes."""

_MOST_CALLS = 100
_AT_EXIT = 1.0
"""Seconds for which the end of the process waits for a write that is under way."""

_BEGINNING = b'{"llmwatch": "status"'

InFlight = Callable[[], Iterable[dict[str, Any]]]


class StatusFile:
    """The status file of this process. ``template`` is its name, with ``{pid}``."""

    def __init__(self, template: str, in_flight: InFlight) -> None:
        self.template = template
        self.path = os.path.abspath(template.replace(PROCESS_MARK, str(os.getpid())))
        self._in_flight = in_flight
        self._over = threading.Lock()  # held until the end
        self._over.acquire()
        self._ended = False
        self._writing = threading.Lock()
        self._written = self._said = False

    def start(self) -> None:
        """Start the thread. Raises RuntimeError if the system has none left."""
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        while True:
            self.write()
            if self._over.acquire(timeout=EVERY):
                return

    def write(self) -> None:
        """Write the file now. A failure is logged and not raised."""
        with self._writing:
            if self._ended:
                return
            try:
                self._replace(self._document())
            except OSError as error:
                if not self._said:
                    self._said = True
                    self._report(error.strerror or type(error).__name__)
            except Exception as error:  # whatever it is, the next second is another try
                if not self._said:
                    self._said = True
                    self._report(type(error).__name__)
            else:
                self._written, self._said = True, False

    def end(self) -> None:
        """Write no more, and remove the file."""
        self._ended = True
        if self._over.locked():
            self._over.release()
        if self._writing.acquire(timeout=_AT_EXIT):
            try:
                if self._written:
                    self._written = False
                    with contextlib.suppress(OSError):
                        os.unlink(self.path)
            finally:
                self._writing.release()

    def _document(self) -> bytes:
        calls = list(self._in_flight())
        document = {
            "llmwatch": "status",
            "schema": STATUS_SCHEMA,
            "process": os.getpid(),
            "written_at": SYSTEM.wall(),
            "in_flight": len(calls),
            "calls": heapq.nsmallest(_MOST_CALLS, calls, key=lambda call: call["started_at"]),
            "stats": counters(),
        }
        return json.dumps(document).encode("ascii") + b"\n"

    def _replace(self, data: bytes) -> None:
        if not self._written:
            self._look()
        beside = f"{self.path}.{os.getpid()}.tmp"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)  # of an earlier process of this id, which was killed
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
            os.replace(beside, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise

    def _look(self) -> None:
        """Raise OSError if there is something else under the name than a status file."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "there is something of that name that is no file")
        if status.st_size:
            with open(self.path, "rb") as file:
                if file.read(len(_BEGINNING)) != _BEGINNING:
                    raise OSError(0, "there is a file of that name, and it is no status file")

    def _report(self, why: str) -> None:
        message = "llmwatch: the status file %s (%s) cannot be written: %s; the calls are not affected"
        say(logging.WARNING, message, self.path, STATUS_FILE_VARIABLE, why)


_current: StatusFile | None = None
_lock = threading.RLock()  # re-entrant: a signal handler may make a call
renew_in_child(globals(), "_lock", threading.RLock)
# The thread is the parent's, and so is its file.
renew_in_child(globals(), "_current", lambda: None)


def keep(template: str, in_flight: InFlight) -> None:
    """Have the status file ``template`` kept from now on, in place of another. Raises nothing."""
    global _current
    current = _current
    if current is not None and current.template == template:
        return
    with _lock:
        before = _current
        if before is not None and before.template == template:
            return
        _current = StatusFile(template, in_flight)
        try:
            _current.start()
        except BaseException as error:
            _current = before
            if isinstance(error, RuntimeError):
                # Too many threads, or the interpreter exits: the next call tries again.
                return
            raise
    if before is None:
        _end_with_process()
    else:
        before.end()


def _end() -> None:
    if _current is not None:
        _current.end()


def _end_with_process() -> None:
    """A process of ``multiprocessing`` runs no exit handlers."""
    processes = sys.modules.get("multiprocessing.util")
    if processes is not None:
        processes.Finalize(None, _end, exitpriority=0)


atexit.register(_end)
