"""Where records go. A sink is any callable that takes a :class:`~llmwatch.records.CallRecord`.

Sinks run in the thread that made the call, one after the other, after the call is over; those of a call that was
dropped unclosed run in a thread of llmwatch's, with the context variables of the call's beginning. One that raises is
logged, once a minute however often it does, and harms nobody; one that blocks holds that thread up, so a slow one
should hand the record to a thread of its own. What was lost is counted: :func:`losses`.
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

__all__ = ["IncidentLog", "JsonLinesSink", "Sink", "log_incident", "losses", "notify", "untold"]

Sink: TypeAlias = Callable[[CallRecord], None]
"""Is called with the record of each call that is over. What it raises is logged, and does not harm the call."""

_PAUSE = 0.002
_MOST_PAUSES = 100

_PATIENCE = 1.0
"""Seconds for which a call waits for the incident log: a file system whose server is gone answers nothing at all."""

_INCIDENTS, _ERRORS = "incidents_lost", "sink_errors"
_lost: Counter[str] = Counter()
# Protects _lost, and what the incident logs count. A leaf; re-entrant, since a signal handler may make a call.
_lost_lock = threading.RLock()
renew_in_child(globals(), "_lost_lock", threading.RLock)
# What the parent lost is its own.
renew_in_child(globals(), "_lost", Counter)


def losses() -> dict[str, int]:
    """What was lost in this process since it began: ``incidents_lost``, incidents that the file of
    ``LLMWATCH_INCIDENT_LOG`` did not take; ``sink_errors``, how often a sink of the user's raised, or
    could not be called since one blocked.
    """
    with _lost_lock:
        lost = _lost.copy()
    return {name: lost[name] for name in (_INCIDENTS, _ERRORS)}


def notify(sinks: Iterable[Sink], record: CallRecord, *, now: float) -> None:
    """Give ``record`` to each sink. What a sink raises is logged, class and scrubbed text only, and goes no further:
    once a minute for each sink and class of error, by ``now``, seconds of a clock that never goes back.

    ``KeyboardInterrupt`` and ``SystemExit`` do go through, and so does what a signal handler raises: they are not the
    sink's. A sink that makes a call itself,
    to post the record somewhere, is not told of that call: it would never come to an end.
    """
    for sink in sinks:
        if _told.sinks and any(one is sink for one in _told.sinks):
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
    """Count, and say, that a record can be given to no sink, for one of them does not come back."""
    with _lost_lock:
        _lost[_ERRORS] += 1
    message = "llmwatch: the record of a dropped call is lost: thousands wait for a sink that does not come back"
    say_seldom("untold", now, logging.ERROR, message)


class _Told(threading.local):
    """The sinks that are at work in this thread."""

    sinks: tuple[Sink, ...] = ()


_told = _Told()


def _name(sink: object) -> str:
    return str(getattr(sink, "__qualname__", None) or type(sink).__qualname__)


def log_incident(record: CallRecord) -> None:
    """A sink that logs each incident in one line on the logger ``llmwatch``.

    A recovered call is logged at INFO, any other at WARNING. The fields stand in the log record's ``llmwatch``,
    a dict, for a formatter that writes JSON.
    """
    if not record.incident:
        return
    last = next((attempt for attempt in reversed(record.attempts) if attempt.failed), None)
    decision = record.decisions[-1] if record.decisions else None
    shown = {
        "call_id": record.call_id,
        "origin": record.origin,
        "entry_point": record.entry_point,
        "outcome": record.outcome,
        "cause": record.cause or (last.cause if last else None),
        "attempts": len(record.attempts),
        "elapsed": record.elapsed,
        "phase": last.phase if last else None,
        "limit": last.limit if last else None,
        "limit_seconds": last.limit_seconds if last else None,
        "error": last.error if last else None,
        "decision": decision.decision.value if decision else None,
        "reason": decision.reason if decision else None,
    }
    say(
        logging.INFO if record.outcome == "recovered" else logging.WARNING,
        "llmwatch: %s %s: %s after %d attempts in %.3f s (%s)",
        record.method,
        record.origin,
        record.outcome,
        len(record.attempts),
        record.elapsed,
        shown["limit"] or shown["cause"] or "unknown",
        extra={"llmwatch": shown},
    )


class JsonLinesSink:
    """A sink that appends each incident to a file, as one line of JSON in ASCII.

    ``path`` is opened for every line and closed again: a rotated file is followed, and nothing is inherited by a forked
    child or left open. A line goes out in one ``write`` to a descriptor in append mode, which local file systems keep
    whole whatever other threads and processes append; network file systems promise no such thing. Where the file ends
    in half a line, left by a process that was killed or by a full disk, the ``write`` begins with a line end, and that
    line costs no more than itself. Only calls with a failed attempt are written, unless ``every_call`` is true.

    Another writer's line that still grows looks like half of one: so writers wait for each other (``flock``, 0.2 s at
    most, not on Windows). After that a line may be followed by a blank one, which a reader is to pass over.

    Raises :class:`OSError` when made, naming the path, if the file cannot be opened for appending (its directory does
    not exist, say; none is created). Calling it may raise OSError as well (a full disk); :func:`notify` logs that.
    """

    def __init__(self, path: str | os.PathLike[str], *, every_call: bool = False) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.every_call = every_call
        self._torn = False  # a pipe, which nobody can look into, was left with half a line
        try:
            self._probe()
        except OSError as error:
            if is_interruption(error):
                raise
            raise type(error)(
                error.errno, f"The incident log cannot be opened for appending ({error.strerror})", self.path
            ) from None

    def __call__(self, record: CallRecord) -> None:
        """Append ``record`` if it is an incident."""
        if self.every_call or record.incident:
            self._write(_line(record))

    def _probe(self) -> None:
        """Raise OSError if no line could be written."""
        os.close(self._open())

    def _write(self, line: bytes) -> None:
        descriptor = self._open()
        try:
            with _taking_turns(descriptor):
                self._append(descriptor, line if self._ends_whole(descriptor) else b"\n" + line)
        finally:
            os.close(descriptor)

    def _append(self, descriptor: int, line: bytes) -> None:
        written = os.write(descriptor, line)
        try:
            # A short write is rare (a disk that fills up, a signal): the rest follows, though not in one piece any
            # more.
            while written < len(line):
                written += os.write(descriptor, line[written:])
        except OSError:
            # Whoever appends next starts on a line of its own; half a line is skipped by readers.
            try:
                os.write(descriptor, b"\n")
            except OSError:
                self._torn = True
            raise
        self._torn = False

    def __repr__(self) -> str:
        return f"JsonLinesSink({self.path!r})"

    def _open(self) -> int:
        # Not blocking: a named pipe without a reader is an error at once, and never a call that hangs.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        return os.open(self.path, flags, 0o666)

    def _ends_whole(self, descriptor: int) -> bool:
        """Whether the file ends with a line end, or is empty, or has no end. In doubt it does not."""
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return not self._torn
        if not found.st_size:
            return True
        try:
            # One that reads and writes would open a pipe without a reader.
            reader = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except OSError:
            return False
        try:
            os.lseek(reader, -1, os.SEEK_END)
            return os.read(reader, 1) == b"\n"
        except OSError:
            return False
        finally:
            os.close(reader)


class IncidentLog(JsonLinesSink):
    """The file of ``LLMWATCH_INCIDENT_LOG``. Where it cannot be written any more (its directory is gone, the disk is
    full, no descriptor is left, nobody reads the pipe), the incidents are lost until it can be again, and no call is
    harmed. The logger ``llmwatch`` says so once a minute, with the number of those that were lost, and once more when
    the file is written again; :func:`losses` counts them.

    A path that does not answer, on a file system whose server is gone, holds a call up for a second at most: the file
    is opened and written in a thread of its own. While one such thread is stuck the calls do not try again.

    ``now`` tells the seconds of a clock that never goes back.
    """

    def __init__(self, path: str | os.PathLike[str], *, now: Callable[[], float]) -> None:
        self._now = now
        self._limit = LogLimit()
        self._missed = 0  # incidents since the file was last said to be in order
        self._said = False  # that it is not
        self._stuck: tuple[int, threading.Lock] | None = None  # a thread's process, and what it gives back
        super().__init__(path)

    def __call__(self, record: CallRecord) -> None:
        """Append ``record`` if it is an incident. Raises nothing that the file system is to blame for."""
        if not record.incident:
            return
        line = _line(record)
        try:
            if self._is_stuck():
                raise TimeoutError(errno.ETIMEDOUT, "it still does not answer")
            self._in_time(lambda: self._write(line))
        except OSError as error:
            if is_interruption(error):
                raise
            self._lose(error)
        else:
            if self._missed:
                self._recover()

    def _probe(self) -> None:
        self._in_time(super()._probe)

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
                # What no line has told of yet is in the next one.
                return
            missed, self._missed, self._said = self._missed, 0, False
        say(
            logging.WARNING,
            "llmwatch: the incident log %s is written again; meanwhile %s",
            self.path,
            _were_lost(missed),
        )

    def _is_stuck(self) -> bool:
        # In a forked child the thread is not there.
        stuck = self._stuck
        return stuck is not None and stuck[0] == os.getpid() and stuck[1].locked()

    def _in_time(self, step: Callable[[], object]) -> None:
        """``step()`` in a thread of its own, so that it may hang; raises what it raises, and OSError if it takes too
        long.
        """
        running = threading.Lock()  # an event would be waited for with a lock of its own, which an interrupt may lose
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
            # Too many threads, or the interpreter exits.
            run()
        if not running.acquire(timeout=_PATIENCE):
            self._stuck = os.getpid(), running
            raise TimeoutError(errno.ETIMEDOUT, "it does not answer")
        if failed:
            raise failed.pop()


def _line(record: CallRecord) -> bytes:
    return record.to_json().encode("ascii") + b"\n"


def _were_lost(count: int) -> str:
    return "1 incident was lost" if count == 1 else f"{count} incidents were lost"


@contextlib.contextmanager
def _taking_turns(descriptor: int) -> Iterator[None]:
    """In this block no other sink is at the file, unless one stays there for too long."""
    if sys.platform == "win32" or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        yield
        return
    for _ in range(_MOST_PAUSES):
        try:
            # Never waited for by the system: whoever has it may have been stopped.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            # As a wait that a signal handler may end, or outlast: see llmwatch.watch.clock.
            pause = threading.Lock()
            pause.acquire()
            pause.acquire(timeout=_PAUSE)
        except OSError:
            # A file system without such locks.
            break
    try:
        yield
    finally:
        # Closing is not enough where a child that was forked meanwhile has the descriptor too.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
