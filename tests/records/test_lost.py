"""Records that cannot be kept: said once a minute, counted, and no call is harmed."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from llmwatch.records import CallRecord, JsonLinesSink, sinks
from llmwatch.records.log import EVERY, LogLimit, LogLimits, log_failure, say
from llmwatch.records.sinks import IncidentLog, losses, notify
from llmwatch.watch.clock import ManualClock
from tests.conftest import SCALE
from tests.records.making import attempt, call
from tests.records.test_sinks import read

QUIET = {"outcome": "done", "attempts": (attempt(cause=None),)}
_SOON = 0.05 * SCALE
"""Seconds for which a call waits for a file that does not answer, in place of a whole one."""
_LONG = 20.0 * SCALE

Trouble = Callable[[Path], "contextlib.AbstractContextManager[object]"]


@pytest.fixture
def clock() -> ManualClock:
    """Time that the test moves."""
    return ManualClock()


@contextlib.contextmanager
def directory_gone(path: Path) -> Iterator[None]:
    away = path.parent.with_name("away")
    path.parent.rename(away)
    yield
    away.rename(path.parent)


@contextlib.contextmanager
def file_is_a_directory(path: Path) -> Iterator[None]:
    path.unlink()
    path.mkdir()
    yield
    path.rmdir()


@contextlib.contextmanager
def directory_is_a_file(path: Path) -> Iterator[None]:
    with directory_gone(path):
        path.parent.touch()
        yield
        path.parent.unlink()


@contextlib.contextmanager
def links_in_a_circle(path: Path) -> Iterator[None]:
    path.unlink()
    path.symlink_to(path)
    yield
    path.unlink()


@contextlib.contextmanager
def file_is_a_socket(path: Path) -> Iterator[None]:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    yield
    path.unlink()


@contextlib.contextmanager
def pipe_without_a_reader(path: Path) -> Iterator[None]:
    path.unlink()
    os.mkfifo(path)
    yield
    path.unlink()


@contextlib.contextmanager
def pipe_that_is_full(path: Path) -> Iterator[None]:
    path.unlink()
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        yield
    finally:
        os.close(reader)
        os.close(writer)
        path.unlink()


@contextlib.contextmanager
def disk_full(path: Path) -> Iterator[None]:
    path.unlink()
    path.symlink_to("/dev/full")
    yield
    path.unlink()


@contextlib.contextmanager
def no_descriptor_left(path: Path) -> Iterator[None]:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextlib.contextmanager
def permission_changed(path: Path) -> Iterator[None]:
    real = os.open

    def refuse(name: str, flags: int, *mode: int) -> int:
        # A user who runs the tests as root may write everything.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sinks.os, "open", refuse)
        yield
    assert sinks.os.open is real


TROUBLES: dict[str, Trouble] = {
    "No such file or directory": directory_gone,
    "Is a directory": file_is_a_directory,
    "Not a directory": directory_is_a_file,
    "Too many levels of symbolic links": links_in_a_circle,
    "No such device or address": pipe_without_a_reader,
    "Resource temporarily unavailable": pipe_that_is_full,
    "No space left on device": disk_full,
    "Too many open files": no_descriptor_left,
    "Permission denied": permission_changed,
}


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
@pytest.mark.parametrize("why", TROUBLES)
def test_each_failure_of_a_log_is_reported_once_a_minute(
    why: str, tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """However a log is lost, nothing is raised and each incident is counted.

    A line a minute says why, and how many incidents were lost since the last line. The first incident that is written
    again says how many were lost in all.
    """
    path = tmp_path / "logs" / "log"
    path.parent.mkdir()
    log = IncidentLog(path, now=clock.now)
    log(call())
    path.unlink()
    path.touch()
    before = losses()["incidents_lost"]
    with TROUBLES[why](path):
        for lost in (3, 2, 5):
            for _ in range(lost):
                log(call())
            log(call(**QUIET))
            clock.advance(EVERY - 1)
        for _ in range(4):
            log(call())
        assert losses()["incidents_lost"] - before == 14
    said = [one.getMessage() for one in caplog.records]
    start = f"llmwatch: the incident log {path} cannot be written ({why}): "
    end = "; the calls are not affected"
    # At 0 s, 59 s (nothing), 118 s, 177 s (nothing).
    assert said == [
        f"{start}1 incident was lost{end}",
        f"{start}5 incidents were lost since the last line about it{end}",
    ]
    log(call(**QUIET))
    assert len(caplog.records) == 2
    for name in ("one", "two"):
        log(call(call_id=name))
    assert [one.call_id for one in read(path)] == ["one", "two"]
    assert [one.levelno for one in caplog.records] == [logging.ERROR, logging.ERROR, logging.WARNING]
    said_last = caplog.records[-1].getMessage()
    assert said_last == f"llmwatch: the incident log {path} is written again; meanwhile 14 incidents were lost"
    assert {one.name for one in caplog.records} == {"llmwatch"}


def test_an_intermittent_log_is_reported_once_a_minute_too(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that is full every other time costs one line a minute for each of the two.

    No incident is left out of their numbers.
    """
    path = tmp_path / "log"
    log = IncidentLog(path, now=clock.now)
    for _ in range(120):
        path.unlink()
        path.mkdir()
        log(call())
        path.rmdir()
        log(call())
        clock.advance(1.0)
    said = [one.getMessage().rpartition("(Is a directory): ")[2] for one in caplog.records]
    assert [one.rpartition(" log ")[2] if "again" in one else one for one in said] == [
        "1 incident was lost; the calls are not affected",
        f"{path} is written again; meanwhile 1 incident was lost",
        "60 incidents were lost since the last line about it; the calls are not affected",
        f"{path} is written again; meanwhile 60 incidents were lost",
    ]


def test_half_a_line_in_a_pipe_costs_one_incident(tmp_path: Path, clock: ManualClock) -> None:
    """A reader that did not keep up loses one line of a pipe, and not the next one too."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        log = IncidentLog(path, now=clock.now)
        log(call(call_id="one"))
        large = call(call_id="large", attempts=(attempt(),) * 200)
        log(large)
        pieces = []
        while piece := os.read(reader, 65536):
            pieces.append(piece)
        log(call(call_id="two"))
        pieces.append(os.read(reader, 65536))
    finally:
        os.close(reader)
    lines = b"".join(pieces).splitlines()
    assert len(lines) == 3
    assert [b'"one"' in lines[0], lines[1].endswith(b"}"), b'"two"' in lines[2]] == [True, False, True]


class TestAFileThatDoesNotAnswer:
    """A file on a file system whose server is gone."""

    @pytest.fixture(autouse=True)
    def gate(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
        """Files are opened once it is set."""
        gate, real = threading.Event(), os.open
        gate.set()
        self.opened = 0

        def waiting(name: str, flags: int, *mode: int) -> int:
            self.opened += bool(flags & os.O_WRONLY)
            gate.wait(_LONG)
            return real(name, flags, *mode)

        monkeypatch.setattr(sinks.os, "open", waiting)
        monkeypatch.setattr(sinks, "_PATIENCE", _SOON)
        yield gate
        gate.set()

    def test_only_the_first_call_waits_for_a_log_that_does_not_answer(
        self, gate: threading.Event, tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The first call waits for a while, and the others not at all until the file has answered."""
        path = tmp_path / "log"
        log = IncidentLog(path, now=clock.now)
        assert self.opened == 1
        before = losses()["incidents_lost"]
        gate.clear()
        log(call(call_id="late"))
        assert self.opened == 2
        for _ in range(9):
            log(call(call_id="lost"))
        assert self.opened == 2
        clock.advance(EVERY)
        log(call(call_id="lost"))
        assert losses()["incidents_lost"] - before == 11
        gate.set()
        until = time.monotonic() + _LONG
        while log._is_stuck() and time.monotonic() < until:
            time.sleep(0.001)
        log(call(call_id="after"))
        assert [one.call_id for one in read(path)] == ["late", "after"]
        said = [one.getMessage().partition(" (")[2].partition(")")[0] for one in caplog.records]
        assert said == ["it does not answer", "it still does not answer", ""]
        assert "10 incidents were lost since" in caplog.records[1].getMessage()

    def test_at_its_first_sight_it_is_refused(self, gate: threading.Event, tmp_path: Path, clock: ManualClock) -> None:
        """A log that does not answer when it is made is an OSError, as any that cannot be opened."""
        gate.clear()
        with pytest.raises(TimeoutError, match="it does not answer"):
            IncidentLog(tmp_path / "log", now=clock.now)

    def test_a_forked_child_writes_its_log_with_a_thread_of_its_own(
        self, gate: threading.Event, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The thread that is stuck is the parent's."""
        log = IncidentLog(tmp_path / "log", now=clock.now)
        gate.clear()
        log(call())
        assert log._is_stuck()
        monkeypatch.setattr(sinks.os, "getpid", lambda: -1)
        assert not log._is_stuck()

    def test_without_a_thread_an_incident_is_written_in_place(
        self, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If no thread can be started, the incident is kept all the same.

        There may be too many threads, or the interpreter exits.
        """
        log = IncidentLog(tmp_path / "log", now=clock.now)

        def none_left(*_: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(sinks._thread, "start_new_thread", none_left)
        log(call())
        assert read(tmp_path / "log") == [call()]


def test_many_threads_report_a_lost_log_once(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """If many calls lose their incidents at once, one warning is logged, and all losses are counted."""
    (tmp_path / "logs").mkdir()
    log = IncidentLog(tmp_path / "logs" / "log", now=clock.now)
    shutil.rmtree(tmp_path / "logs")
    before, start = losses()["incidents_lost"], threading.Barrier(8)

    def lose() -> None:
        start.wait()
        for _ in range(10):
            log(call())

    threads = [threading.Thread(target=lose) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caplog.records) == 1
    assert losses()["incidents_lost"] - before == 80


def test_a_log_that_cannot_be_opened_at_first_is_an_os_error(tmp_path: Path, clock: ManualClock) -> None:
    """A file that cannot be opened when it is made is an OSError, as that of any such sink."""
    with pytest.raises(OSError, match="cannot be opened for appending"):
        IncidentLog(tmp_path / "none" / "log", now=clock.now)


class TestSinksThatRaise:
    def test_a_sink_that_always_raises_is_logged_once_a_minute(
        self, clock: ManualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A sink that always raises is logged once a minute, with the number of errors since.

        Every error is counted.
        """

        def broken(record: CallRecord) -> None:
            raise RuntimeError("no room")

        before = losses()["sink_errors"]
        for _ in range(1_000):
            notify([broken], call(), now=clock.now())
        clock.advance(EVERY - 0.001)
        notify([broken], call(), now=clock.now())
        assert len(caplog.records) == 1
        clock.advance(0.001)
        notify([broken], call(), now=clock.now())
        first, second = (one.getMessage() for one in caplog.records)
        assert first.endswith("broken raised RuntimeError: no room; the call is not affected")
        assert second == f"{first} (1001 times since the last line about it)"
        assert losses()["sink_errors"] - before == 1_002

    def test_another_sink_or_error_is_logged_separately(
        self, clock: ManualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Only repetitions of the same failure are held back."""
        errors: list[Exception] = [OSError(), ValueError(), OSError()]

        def one(record: CallRecord) -> None:
            raise errors[0]

        def other(record: CallRecord) -> None:
            raise errors[0]

        while errors:
            notify([one, other], call(), now=clock.now())
            errors.pop(0)
        assert [line.getMessage().partition("<locals>.")[2].split()[:3] for line in caplog.records] == [
            ["one", "raised", "OSError;"],
            ["other", "raised", "OSError;"],
            ["one", "raised", "ValueError;"],
            ["other", "raised", "ValueError;"],
        ]

    def test_a_full_jsonlinessink_of_the_user_is_logged(
        self, clock: ManualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A JsonLinesSink among the user's sinks is one of them."""
        if not os.path.exists("/dev/full"):
            pytest.skip("a device that is always full")
        before, sink = losses(), JsonLinesSink("/dev/full")
        for _ in range(3):
            notify([sink], call(), now=clock.now())
        assert len(caplog.records) == 1
        assert "JsonLinesSink raised OSError" in caplog.text
        assert losses() == {**before, "sink_errors": before["sink_errors"] + 3}

    def test_a_log_handler_that_raises_ends_no_call(self, clock: ManualClock) -> None:
        """An exception of the user's log handler does not reach the call."""

        class Broken(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                raise OSError("the log is full")

        def broken(record: CallRecord) -> None:
            raise RuntimeError

        got: list[CallRecord] = []
        logger, handler = logging.getLogger("llmwatch"), Broken()
        logger.addHandler(handler)
        try:
            say(logging.ERROR, "a line")
            notify([log_failure, broken, got.append], call(outcome="failed", cause="unknown"), now=clock.now())
        finally:
            logger.removeHandler(handler)
        assert len(got) == 1


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarm here")
@pytest.mark.parametrize("where", ["in a sink", "in the incident log", "in a log handler"])
def test_an_exception_of_a_signal_handler_in_a_sink_comes_out(
    where: str, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception of a signal handler during a sink belongs to the program and is raised.

    This holds for an OSError too.
    """

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("the program's own")

    def rings(*_: object) -> None:
        signal.raise_signal(signal.SIGALRM)

    incident = IncidentLog(tmp_path / "log", now=clock.now)
    sinks_ = {"in a sink": rings, "in the incident log": incident, "in a log handler": log_failure}
    before, handler = signal.signal(signal.SIGALRM, ring), logging.Handler()
    monkeypatch.setattr(sinks, "in_time", rings)
    monkeypatch.setattr(handler, "emit", rings)
    if where == "in a log handler":
        logging.getLogger("llmwatch").addHandler(handler)
    try:
        with pytest.raises(TimeoutError, match="the program's own"):
            notify([sinks_[where]], call(outcome="failed"), now=clock.now())
    finally:
        signal.signal(signal.SIGALRM, before)
        logging.getLogger("llmwatch").removeHandler(handler)
    assert "cannot be written" not in caplog.text


class TestLimits:
    def test_a_clock_that_goes_back_suppresses_no_line(self) -> None:
        """A line is suppressed for at most a minute, even if the clock goes back."""
        limit = LogLimit()
        assert [limit.admit(now) for now in (1_000.0, 1_059.9, 5.0, 6.0, 66.0)] == [1, None, 2, None, 2]

    def test_the_oldest_kind_of_failure_is_dropped(self) -> None:
        """If there are too many kinds of failure the oldest is forgotten.

        Its next line counts as a first one.
        """
        limits = LogLimits()
        for kind in range(257):
            assert limits.admit(kind, 0.0) == 1
        assert [limits.admit(0, 0.0), limits.admit(256, 0.0)] == [1, None]
