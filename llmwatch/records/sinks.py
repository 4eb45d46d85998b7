"""Sinks of records. A sink is any callable that takes a :class:`~llmwatch.records.CallRecord`.

The sinks run one after the other, after the end of the call, in the thread that made the call. The sinks of a call that
was dropped unclosed run in a thread of llmwatch, with the context variables of the start of the call. An exception of a
sink is logged, at most once a minute, and does not affect the call. A sink that blocks holds its thread up, so a slow
sink should pass the record to another thread. :func:`losses` counts the losses.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import logging
import os
import stat
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from llmwatch.at_fork import renew_in_child
from llmwatch.interruption import is_interruption
from llmwatch.records.call import CallRecord
from llmwatch.records.log import LogLimit, say, say_seldom
from llmwatch.redaction import redact

if sys.platform != "win32":
    import fcntl

__all__ = [
    "IncidentLog",
    "JsonLinesSink",
    "Sink",
    "in_time",
    "lose_calls",
    "losses",
    "notify",
    "taking_turns",
    "untold",
]

Sink: TypeAlias = Callable[[CallRecord], None]
"""Takes the record of each finished call. Its exceptions are logged and do not affect the call."""

_PAUSE = 0.002
_MOST_PAUSES = 100

_PATIENCE = 1.0
"""Seconds that a call waits for the incident log: a file system without its server does not answer."""

_INCIDENTS, _CALLS, _ERRORS = "incidents_lost", "calls_lost", "sink_errors"
_lost: Counter[str] = Counter()
# Protects _lost and the counts of the incident logs. A leaf; re-entrant, since a signal handler may make a call.
_lost_lock = threading.RLock()
renew_in_child(globals(), "_lost_lock", threading.RLock)
# A forked child does not count the losses of its parent.
renew_in_child(globals(), "_lost", Counter)


def losses() -> dict[str, int]:
    """The losses of this process since its start.

    ``incidents_lost``: incidents that could not be written to the file of ``LLMWATCH_INCIDENT_LOG``. ``calls_lost``:
    lines that could not be written to a call log. ``sink_errors``: exceptions of the user's sinks, and records that
    were not passed on because a sink blocked.
    """
    with _lost_lock:
        lost = _lost.copy()
    return {name: lost[name] for name in (_INCIDENTS, _CALLS, _ERRORS)}


def lose_calls(count: int) -> None:
    """Count lines that a call log has lost."""
    with _lost_lock:
        _lost[_CALLS] += count


def notify(sinks: Iterable[Sink], record: CallRecord, *, now: float) -> None:
    """Pass ``record`` to each sink. Exceptions of sinks are logged and not raised.

    A line has the class and the scrubbed text of the exception. The log has one line a minute for each sink and class
    of error; ``now`` is in seconds of a monotonic clock. ``KeyboardInterrupt``, ``SystemExit`` and exceptions of signal
    handlers are raised, because the sink did not cause them. A sink that itself makes a call (to post the record, say)
    does not receive the record of that call, which would start an endless chain.
    """
    for sink in sinks:
        if _told.sinks and any(earlier is sink for earlier in _told.sinks):
            continue
        _told.sinks = (*_told.sinks, sink)
        try:
            sink(record)
        except Exception as error:
            if is_interruption(error):
                raise
            with _lost_lock:
                _lost[_ERRORS] += 1
            name = _name(sink)
            message = "llmwatch: the sink %s raised %s; the call is not affected"
            say_seldom((name, type(error)), now, logging.ERROR, message, name, redact.described(error))
        finally:
            _told.sinks = _told.sinks[:-1]


def untold(*, now: float) -> None:
    """Count and log the loss of a record that reaches no sink, because a sink does not return."""
    with _lost_lock:
        _lost[_ERRORS] += 1
    message = "llmwatch: the record of a dropped call is lost: thousands wait for a sink that does not come back"
    say_seldom("untold", now, logging.ERROR, message)


class _Told(threading.local):
    """The sinks that are running in this thread."""

    sinks: tuple[Sink, ...] = ()


_told = _Told()


def _name(sink: object) -> str:
    return str(getattr(sink, "__qualname__", None) or type(sink).__qualname__)


class JsonLinesSink:
    """A sink that appends each incident to a file, as one line of JSON in ASCII.

    ``path`` is opened for every line and closed again, so a rotated file is followed and a forked child inherits no
    descriptor. Each line is one ``write`` in append mode. Local file systems keep such a line in one piece beside
    writes of other threads and processes; network file systems do not guarantee this. Where the file ends in half a
    line (a killed process, a full disk), the ``write`` begins with a line end, so only that half line is lost. Only
    incidents are written, unless ``every_call`` is true.

    A line that another writer has not finished looks like half a line, so writers wait for each other (``flock``, 0.2 s
    at most, not on Windows). After a longer wait a blank line may follow a line; readers must skip blank lines.

    The constructor raises :class:`OSError` with the path if the file cannot be opened for appending; it creates no
    directory. Appending a line may raise OSError too (a full disk); llmwatch, where it calls the sink, logs that.
    """

    _NAME = "incident log"
    _MODE = 0o666

    def __init__(self, path: str | os.PathLike[str], *, every_call: bool = False) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.every_call = every_call
        self._torn = False  # a pipe, whose content cannot be read back, was left with half a line
        try:
            self._probe()
        except OSError as error:
            if is_interruption(error):
                raise
            raise type(error)(
                error.errno, f"The {self._NAME} cannot be opened for appending ({error.strerror})", self.path
            ) from None

    def __call__(self, record: CallRecord) -> None:
        """Append ``record`` if it is an incident, or if ``every_call`` is true."""
        if self.every_call or record.incident:
            self._write(_line(record))

    def _probe(self) -> None:
        """Raise OSError if the file cannot be opened for appending."""
        os.close(self._open())

    def _write(self, line: bytes) -> None:
        descriptor = self._open()
        try:
            with taking_turns(descriptor):
                self._append(descriptor, line if self._ends_whole(descriptor) else b"\n" + line)
        finally:
            os.close(descriptor)

    def _append(self, descriptor: int, line: bytes) -> None:
        written = os.write(descriptor, line)
        try:
            # A short write is rare (a full disk, a signal). The rest follows in a write of its own.
            while written < len(line):
                written += os.write(descriptor, line[written:])
        except OSError:
            # The next writer starts on a new line; readers skip half a line.
            try:
                os.write(descriptor, b"\n")
            except OSError:
                self._torn = True
            raise
        self._torn = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def _open(self) -> int:
        # Not blocking, so that a named pipe without a reader is an error at once and cannot hang the call.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        return os.open(self.path, flags, self._MODE)

    def _ends_whole(self, descriptor: int) -> bool:
        """Whether the file is empty or ends with a line end; for a pipe, whether the last write was complete.

        False if the file cannot be read.
        """
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return not self._torn
        if not status.st_size:
            return True
        try:
            # A separate descriptor: O_RDWR in _open would open a pipe without a reader.
            reader = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except OSError as error:
            if is_interruption(error):
                raise
            return False
        try:
            os.lseek(reader, -1, os.SEEK_END)
            return os.read(reader, 1) == b"\n"
        except OSError as error:
            if is_interruption(error):
                raise
            return False
        finally:
            os.close(reader)


class IncidentLog(JsonLinesSink):
    """The file of ``LLMWATCH_INCIDENT_LOG``. A failure to write loses incidents and never fails a call.

    Causes are a removed directory, a full disk, a lack of descriptors, or a pipe without a reader. The logger
    ``llmwatch`` reports the number of lost incidents once a minute, and once more when writing works again;
    :func:`losses` counts them.

    The file is opened and written in a separate thread, so a file system that does not answer delays a call by at most
    a second. While such a thread is stuck, further calls do not try to write. ``now`` returns the seconds of a
    monotonic clock.
    """

    def __init__(self, path: str | os.PathLike[str], *, now: Callable[[], float]) -> None:
        self._now = now
        self._limit = LogLimit()
        self._missed = 0  # incidents lost since the last report that writing works
        self._said = False  # a failure was reported
        self._stuck: tuple[int, threading.Lock] | None = None  # process of the stuck thread, and the lock it releases
        super().__init__(path)

    def __call__(self, record: CallRecord) -> None:
        """Append ``record`` if it is an incident. Raises no error of the file system."""
        if not record.incident:
            return
        line = _line(record)
        try:
            if self._is_stuck():
                raise TimeoutError(errno.ETIMEDOUT, "it still does not answer")
            in_time(lambda: self._write(line), self._note_stuck)
        except OSError as error:
            if is_interruption(error):
                raise
            self._lose(error)
        else:
            if self._missed:
                self._recover()

    def _probe(self) -> None:
        in_time(super()._probe, self._note_stuck)

    def _lose(self, error: OSError) -> None:
        with _lost_lock:
            _lost[_INCIDENTS] += 1
            self._missed += 1
        count = self._limit.admit(self._now())
        if count is not None:
            self._said = True
            say(
                logging.ERROR,
                "llmwatch: the incident log %s cannot be written (%s): %s; the calls are not affected",
                self.path,
                error.strerror or type(error).__name__,
                _were_lost(count) + ("" if count == 1 else " since the last line about it"),
            )

    def _recover(self) -> None:
        with _lost_lock:
            if not self._said:
                # Losses that were not reported yet stay counted for the next report.
                return
            missed, self._missed, self._said = self._missed, 0, False
        say(
            logging.WARNING,
            "llmwatch: the incident log %s is written again; meanwhile %s",
            self.path,
            _were_lost(missed),
        )

    def _is_stuck(self) -> bool:
        # A forked child does not inherit the thread.
        stuck = self._stuck
        return stuck is not None and stuck[0] == os.getpid() and stuck[1].locked()

    def _note_stuck(self, running: threading.Lock) -> None:
        self._stuck = os.getpid(), running


def in_time(step: Callable[[], object], on_stuck: Callable[[threading.Lock], object] = id) -> None:
    """Run ``step`` in a separate thread; raise its exception, or OSError after :data:`_PATIENCE`.

    ``on_stuck`` then gets the lock that the thread holds until it comes back.
    """
    running = threading.Lock()  # not an Event, whose wait uses another lock, which an interrupt may lose
    failed: list[BaseException] = []

    def run() -> None:
        try:
            step()
        except BaseException as error:
            failed.append(error)
        finally:
            running.release()

    running.acquire()
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:
        # No thread can be started, or the interpreter is exiting.
        run()
    if not running.acquire(timeout=_PATIENCE):
        on_stuck(running)
        raise TimeoutError(errno.ETIMEDOUT, "it does not answer")
    if failed:
        raise failed.pop()


def _line(record: CallRecord) -> bytes:
    return record.to_json().encode("ascii") + b"\n"


def _were_lost(count: int) -> str:
    return "1 incident was lost" if count == 1 else f"{count} incidents were lost"


@contextlib.contextmanager
def taking_turns(descriptor: int) -> Iterator[bool]:
    """Keep other sinks from the file during the block; ``False`` if another has the lock and keeps it.

    Where there are no such locks nothing is kept from the file.
    """
    if sys.platform == "win32" or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        yield True
        return
    for _ in range(_MOST_PAUSES):
        try:
            # Non-blocking, because the process that holds the lock may be stopped.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            # A wait on a lock can be interrupted by a signal handler: see llmwatch.watch.clock.
            pause = threading.Lock()
            pause.acquire()
            pause.acquire(timeout=_PAUSE)
        except OSError as error:
            if is_interruption(error):
                raise
            # The file system does not support such locks.
            break
    else:
        yield False
        return
    try:
        yield True
    finally:
        # Closing does not unlock where a child forked in between has the descriptor too.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
