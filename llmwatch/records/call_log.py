"""The call log: one compact line of JSON for every call, in files that are rotated by size.

A line has the fields of a :class:`~llmwatch.records.CallRecord`, which reads it back, under the same names as the
incident log. Left out are fields with their default value, and everything that can hold a text of the program or of
the provider: URLs, messages, request ids, evidence and tools. No prompt, answer or key is in it.

Files: the log is ``FILE``. Before a line that would take it above ``max_bytes``, ``FILE.7`` becomes ``FILE.8``, and so
on to ``FILE``, which becomes ``FILE.1``; a former ``FILE.8`` is gone. Lines are whole. New files have mode 0600.

Several processes may share a file. A process holds ``flock`` on it while it writes and while it renames, and looks
with the lock whether the file still is ``FILE``. A process that cannot have the lock in 0.2 s appends its lines without
it, in one ``write``, and leaves the rotation to the others. On Windows and on file systems without such locks, a file
may be rotated before it is full; no line is lost by that.

Threads: a call only puts its record into a list. A daemon thread of the log makes lines of the records and writes them,
50 ms after the first has come, so that the lines of busy programs are written together; it ends after 5 s without a
call. So neither a full disk nor a file system that does not answer holds a call up. ``_lock`` protects the list, and
whether the thread lives; it is a leaf, and nothing is waited for while it is held. At exit, and at the end of a process
of ``multiprocessing``, what waits is written within a second. A process that ends without its exit handlers
(``os._exit``, a signal that kills) may lose the lines of its last moments; a forked child leaves those of its parent to
its parent.
"""

from __future__ import annotations

import _thread
import atexit
import errno
import logging
import os
import stat
import sys
import threading
import weakref

from llmwatch.at_fork import follow
from llmwatch.interruption import is_interruption
from llmwatch.records.call import CallRecord
from llmwatch.records.call_line import line_of
from llmwatch.records.log import say_seldom
from llmwatch.records.sinks import JsonLinesSink, in_time, lose_calls, taking_turns

__all__ = ["MAX_BYTES", "MOST_ROTATED", "CallLog"]

MAX_BYTES = 64 * 1024 * 1024
"""Bytes of a file that is not rotated yet, by default."""

MOST_ROTATED = 8
"""Number of rotated files that are kept."""

_LINGER = 0.05
_IDLE = 5.0
_AT_EXIT = 1.0
_MOST_TURNS = 100
_MOST_WAITING = 10_000
"""Records that wait while the file system does not answer; further ones are lost."""


class CallLog(JsonLinesSink):
    """A sink that appends every call, good or bad, to a file as one compact line of JSON.

    ``path`` is the file; ``max_bytes`` the size at which it is rotated, in bytes, ``0`` for never. Up to eight rotated
    files are kept beside it: ``path.1``, the newest, to ``path.8``. New files have mode 0600. ``LLMWATCH_CALL_LOG`` and
    ``LLMWATCH_LOG_MAX_BYTES`` set one up for every call of a process. :meth:`CallRecord.from_json` reads a line.

    Calls do not wait for the file: lines come up to a moment later (:meth:`flush`). Lines that cannot be written are
    counted (``calls_lost`` in :func:`llmwatch.stats`) and reported on the logger ``llmwatch`` once a minute; they
    never fail a call. The constructor raises :class:`OSError` if the file cannot be opened for appending, or does not
    answer within a second; it creates no directory.
    """

    _NAME = "call log"
    _MODE = 0o600

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> None:
        if type(max_bytes) is not int or max_bytes < 0:
            raise ValueError(f"max_bytes must be a whole number of bytes, 0 or more, not {max_bytes!r}")
        self.max_bytes = max_bytes
        super().__init__(path, every_call=True)
        self.after_fork()
        _logs.add(self)
        follow(self)

    def __call__(self, record: CallRecord) -> None:
        """Have ``record`` written. Does not wait for the file, and raises no error of the file system."""
        with self._lock:
            lost = len(self._waiting) >= _MOST_WAITING
            if not lost:
                self._waiting.append(record)
            self._wake_up()
        if lost:
            self._lose(1, "it does not answer", record)

    def flush(self, seconds: float = _AT_EXIT) -> bool:
        """Wait until the records of earlier calls are written; ``False`` if that takes more than ``seconds``."""
        written = threading.Lock()
        with self._lock:
            if not (self._waiting or self._busy):
                return True
            written.acquire()
            self._flushing.append(written)
            self._wake_up()
            if self._hurry.locked():
                self._hurry.release()
            alone = not self._lives
        if alone:
            # No thread can be started any more, as at exit in Python 3.12.
            self._write_waiting()
        return written.acquire(timeout=seconds)

    def after_fork(self) -> None:
        """In a forked child: the records that wait, and the thread, are the parent's."""
        self._lock = threading.RLock()  # re-entrant: a signal handler may make a call
        self._waiting: list[CallRecord] = []
        self._flushing: list[threading.Lock] = []
        self._lives = self._busy = False
        self._wake, self._hurry = threading.Lock(), threading.Lock()  # held until the thread has something to do
        self._wake.acquire()
        self._hurry.acquire()

    def _probe(self) -> None:
        in_time(super()._probe)

    # -- the thread -----------------------------------------------------------

    def _wake_up(self) -> None:
        # Called with the lock held.
        if self._wake.locked():
            self._wake.release()
        if not self._lives:
            _flush_at_end_of_process()
            try:
                _thread.start_new_thread(self._run, ())
            except RuntimeError:
                # Too many threads, or the interpreter exits: the next call or flush() tries again.
                return
            self._lives = True

    def _run(self) -> None:
        while True:
            if not self._wake.acquire(timeout=_IDLE):
                with self._lock:
                    if not (self._waiting or self._flushing):
                        self._lives = False
                        return
            self._hurry.acquire(timeout=_LINGER)
            try:
                self._write_waiting()
            except BaseException:
                # The next call starts another thread.
                with self._lock:
                    self._lives = False
                raise

    def _write_waiting(self) -> None:
        with self._lock:
            records, self._waiting = self._waiting, []
            flushing, self._flushing = self._flushing, []
            self._busy = True
        try:
            self._write_all(records)
        finally:
            with self._lock:
                self._busy = False
            for written in flushing:
                written.release()

    def _write_all(self, records: list[CallRecord]) -> None:
        lines: list[bytes] = []
        try:
            lines += map(line_of, records)
            turns = 0
            while lines:
                written = self._append_some(lines)
                turns = 0 if written else turns + 1
                if turns > _MOST_TURNS:
                    raise OSError(errno.EBUSY, "it is renamed all the time")
                del lines[:written]
        except OSError as error:
            self._lose(len(lines), error.strerror or type(error).__name__, records[-1])
        except Exception as error:  # a sink of a user's own class of record, or a record changed by force
            self._lose(len(records), type(error).__name__, records[-1])

    def _lose(self, count: int, why: str, record: CallRecord) -> None:
        lose_calls(count)
        say_seldom(
            ("call log", self.path),
            record.started_at + record.elapsed,
            logging.ERROR,
            "llmwatch: the call log %s cannot be written (%s): calls were lost from it, see llmwatch.stats(); the calls"
            " are not affected",
            self.path,
            why,
        )

    # -- the file -------------------------------------------------------------

    def _append_some(self, lines: list[bytes]) -> int:
        """Append as many of ``lines`` as fit into the file, and return their number; 0 after a rotation."""
        descriptor = self._open()
        try:
            with taking_turns(descriptor) as locked:
                status = os.fstat(descriptor)
                count = len(lines)
                if self.max_bytes and locked and stat.S_ISREG(status.st_mode):
                    if not self._is_current(status):
                        return 0
                    count = self._fitting(lines, status.st_size)
                    if not count and self._rotate():
                        return 0
                    # A file that may not be renamed grows on.
                    count = count or len(lines)
                data = b"".join(lines[:count])
                self._append(descriptor, data if self._ends_whole(descriptor) else b"\n" + data)
                return count
        finally:
            os.close(descriptor)

    def _fitting(self, lines: list[bytes], size: int) -> int:
        """How many of ``lines`` fit behind ``size`` bytes; at least one into an empty file."""
        for count, line in enumerate(lines):
            size += len(line)
            if size > self.max_bytes and (count or size > len(line)):
                return count
        return len(lines)

    def _is_current(self, status: os.stat_result) -> bool:
        """Whether the file with ``status`` still has the log's name: another process may have rotated it."""
        try:
            return os.path.samestat(status, os.stat(self.path))
        except FileNotFoundError:
            return False

    def _rotate(self) -> bool:
        """Give each file the next number; ``False`` if the directory does not allow it."""
        path = os.path.realpath(self.path)
        try:
            for number in range(MOST_ROTATED - 1, 0, -1):
                if os.path.lexists(f"{path}.{number}"):
                    os.replace(f"{path}.{number}", f"{path}.{number + 1}")
            os.replace(path, f"{path}.1")
        except OSError as error:
            if is_interruption(error):
                raise
            return False
        return True


_logs: weakref.WeakSet[CallLog] = weakref.WeakSet()
_process = 0  # whose end of multiprocessing is known


def _flush_all() -> None:
    for log in list(_logs):
        log.flush()


def _flush_at_end_of_process() -> None:
    """Have the end of a process of ``multiprocessing`` wait for the logs: it runs no exit handlers."""
    global _process
    processes = sys.modules.get("multiprocessing.util")
    if processes is not None and _process != os.getpid():
        _process = os.getpid()
        processes.Finalize(None, _flush_all, exitpriority=0)


# Registered before the handlers that end open calls, which run before this one.
atexit.register(_flush_all)
