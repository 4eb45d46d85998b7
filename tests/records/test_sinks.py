"""The sinks of records."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import stat
import subprocess
import sys
import time

import pytest

from llmwatch.records import CallRecord, JsonLinesSink, sinks
from llmwatch.records.sinks import notify
from tests.conftest import SCALE
from tests.records.making import attempt, call

TORN = b'{"schema": 1, "call_id": "half'
_NOT_LONG = 20.0 * SCALE
"""Seconds; a writer that never gives the file back would be waited for until the test is ended."""
QUIET = {"outcome": "done", "attempts": (attempt(cause=None),)}


def read(path: pathlib.Path) -> list[CallRecord]:
    """Every line of a log, each of which must be whole."""
    data = path.read_bytes()
    assert data.endswith(b"\n") or not data
    return [CallRecord.from_dict(json.loads(line)) for line in data.splitlines()]


class TestNotify:
    def test_every_sink_gets_the_record(self) -> None:
        """Sinks are called in order with the very record."""
        got: list[object] = []
        record = call()
        notify([got.append, got.append], record, now=0.0)
        assert got == [record, record]

    def test_a_sink_that_raises_is_logged_and_the_next_is_called(self, caplog: pytest.LogCaptureFixture) -> None:
        """The sink is logged by name, its text scrubbed and without a traceback, and the next sink is called."""
        got: list[object] = []

        def broken(record: CallRecord) -> None:
            raise RuntimeError("cannot reach https://bob:hunter2secret@logs.example.com/?key=hunter2secret")

        notify([broken, got.append], call(), now=0.0)
        assert len(got) == 1
        assert "broken raised RuntimeError: cannot reach https://logs.example.com/?key=***" in caplog.text
        assert "hunter2" not in caplog.text
        assert caplog.records[0].name == "llmwatch"
        assert caplog.records[0].exc_info is None

    def test_an_unprintable_error_of_a_sink_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """Not even the text of what a sink raises is trusted."""

        class Silent(Exception):
            def __str__(self) -> str:
                raise ValueError

        def broken(record: CallRecord) -> None:
            raise Silent

        notify([broken], call(), now=0.0)
        assert "raised Silent" in caplog.text

    def test_an_interrupt_in_a_sink_is_raised(self) -> None:
        """Ctrl-C in a sink is the user's, not the sink's."""

        def interrupted(record: CallRecord) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            notify([interrupted], call(), now=0.0)


class TestJsonLinesSink:
    def test_one_line_for_each_incident(self, tmp_path: pathlib.Path) -> None:
        """Incidents come back equal; calls that went well are not written."""
        path = tmp_path / "incidents.jsonl"
        sink = JsonLinesSink(path)
        records = [call(), call(**QUIET), call(call_id="two", method="GET\nline"), call(profile="é\u2028\ud800")]
        for record in records:
            sink(record)
        assert read(path) == [records[0], *records[2:]]
        assert path.read_bytes().isascii()

    def test_every_call_writes_good_calls_too(self, tmp_path: pathlib.Path) -> None:
        """every_call writes the others too."""
        sink = JsonLinesSink(tmp_path / "all.jsonl", every_call=True)
        sink(call(**QUIET))
        assert read(tmp_path / "all.jsonl") == [call(**QUIET)]

    def test_lines_are_appended_and_a_rotated_file_is_followed(self, tmp_path: pathlib.Path) -> None:
        """Lines are appended, and after a rotation go to the new file."""
        path = tmp_path / "incidents.jsonl"
        JsonLinesSink(path)(call(call_id="one"))
        sink = JsonLinesSink(path)
        sink(call(call_id="two"))
        path.rename(tmp_path / "old.jsonl")
        sink(call(call_id="three"))
        assert [record.call_id for record in read(tmp_path / "old.jsonl")] == ["one", "two"]
        assert [record.call_id for record in read(path)] == ["three"]

    def test_a_missing_directory_is_an_os_error_at_once(self, tmp_path: pathlib.Path) -> None:
        """The error comes when the sink is made, is an OSError of the right class, and names the path."""
        path = tmp_path / "none" / "incidents.jsonl"
        with pytest.raises(FileNotFoundError, match="incident log cannot be opened") as raised:
            JsonLinesSink(path)
        assert raised.value.filename == str(path)
        with pytest.raises(IsADirectoryError):
            JsonLinesSink(tmp_path)
        assert not (tmp_path / "none").exists()

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_a_pipe_without_a_reader_does_not_block(self, tmp_path: pathlib.Path) -> None:
        """Opening it is an error at once instead of a hang."""
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="cannot be opened") as raised:
            JsonLinesSink(tmp_path / "pipe")
        assert raised.value.errno == errno.ENXIO

    def test_no_descriptor_stays_open(self, tmp_path: pathlib.Path) -> None:
        """Nothing is left open between lines, so nothing is inherited or leaked."""
        sink = JsonLinesSink(tmp_path / "log.jsonl")
        sink(call())
        probe = os.open(tmp_path / "log.jsonl", os.O_RDONLY)
        os.close(probe)
        for _ in range(50):
            sink(call())
        again = os.open(tmp_path / "log.jsonl", os.O_RDONLY)
        os.close(again)
        assert again == probe

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
    def test_the_umask_decides_who_may_read(self, tmp_path: pathlib.Path) -> None:
        """The file is made like any other file of the user's."""
        before = os.umask(0o077)
        try:
            JsonLinesSink(tmp_path / "log.jsonl")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "log.jsonl").stat().st_mode) == 0o600

    def test_a_short_write_is_continued(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A kernel that takes only part of a line gets the rest."""
        real = os.write
        monkeypatch.setattr(sinks.os, "write", lambda descriptor, data: real(descriptor, data[:100]))
        JsonLinesSink(tmp_path / "log.jsonl")(call())
        assert read(tmp_path / "log.jsonl") == [call()]

    def test_half_a_line_is_ended(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """When the disk is full in the middle of a line, the next one starts on a line of its own."""
        real, room = os.write, [100]

        def full(descriptor: int, data: bytes) -> int:
            if len(data) > 1 and not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, data[: room.pop()] if room else data)

        sink = JsonLinesSink(tmp_path / "log.jsonl")
        monkeypatch.setattr(sinks.os, "write", full)
        with pytest.raises(OSError, match="No space"):
            sink(call())
        monkeypatch.undo()
        sink(call(call_id="next"))
        damaged, whole = (tmp_path / "log.jsonl").read_bytes().splitlines()
        assert len(damaged) == 100
        assert CallRecord.from_dict(json.loads(whole)).call_id == "next"

    def test_half_a_line_left_in_a_log_costs_no_other(self, tmp_path: pathlib.Path) -> None:
        """A log that ends in half a line gets the next incident on a line of its own, once.

        A process that was killed leaves such a log. A log that is whole or empty gets no blank line.
        """
        path = tmp_path / "log.jsonl"
        sink = JsonLinesSink(path)
        path.write_bytes(TORN)
        sink(call(call_id="one"))
        sink(call(call_id="two"))
        damaged, one, two = path.read_bytes().splitlines()
        assert damaged == TORN
        assert [json.loads(line)["call_id"] for line in (one, two)] == ["one", "two"]

    def test_half_a_line_is_ended_in_the_same_write(
        self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No other process can come between the line end and the line."""
        path, real, written = tmp_path / "log.jsonl", os.write, []

        def noted(descriptor: int, data: bytes) -> int:
            written.append(data)
            return real(descriptor, data)

        path.write_bytes(TORN)
        monkeypatch.setattr(sinks.os, "write", noted)
        JsonLinesSink(path)(call())
        (only,) = written
        assert only.startswith(b"\n{")
        assert only.endswith(b"}\n")

    def test_a_log_whose_end_cannot_be_read_gets_a_blank_line(
        self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If the end of the log cannot be read, a blank line is the lesser harm."""
        path, real = tmp_path / "log.jsonl", os.open

        def refusing(name: str, flags: int, *mode: int) -> int:
            if not flags & os.O_WRONLY:
                raise PermissionError(errno.EACCES, "Permission denied")
            return real(name, flags, *mode)

        path.write_bytes(TORN)
        monkeypatch.setattr(sinks.os, "open", refusing)
        sink = JsonLinesSink(path)
        sink(call(call_id="one"))
        sink(call(call_id="two"))
        monkeypatch.undo()
        assert [line[:8] for line in path.read_bytes().splitlines()] == [TORN[:8], b'{"schema', b"", b'{"schema']

    @pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
    def test_a_stopped_writer_is_waited_for_briefly(self, tmp_path: pathlib.Path) -> None:
        """A writer that never gives the file back is waited for, for a bounded time."""
        import fcntl

        path = tmp_path / "log.jsonl"
        sink = JsonLinesSink(path)
        holder = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(holder, fcntl.LOCK_EX)
            began = time.monotonic()
            sink(call(call_id="one"))
            assert 0.1 < time.monotonic() - began < _NOT_LONG
        finally:
            os.close(holder)
        assert [record.call_id for record in read(path)] == ["one"]

    @pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
    def test_a_child_forked_during_a_write_holds_no_lock(
        self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file is free after the line, even if a child has inherited the descriptor meanwhile."""
        import fcntl

        path, real, inherited = tmp_path / "log.jsonl", os.write, []

        def forking(descriptor: int, data: bytes) -> int:
            # What a child would have: the same open file under another number.
            inherited.append(os.dup(descriptor))
            return real(descriptor, data)

        monkeypatch.setattr(sinks.os, "write", forking)
        JsonLinesSink(path)(call())
        monkeypatch.undo()
        other = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(other)
            os.close(inherited[0])

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_a_pipe_has_no_end_to_look_at(self, tmp_path: pathlib.Path) -> None:
        """A line goes into a pipe as it is, and its reader is not robbed of a byte."""
        os.mkfifo(tmp_path / "pipe")
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        try:
            sink = JsonLinesSink(tmp_path / "pipe")
            sink(call(call_id="one"))
            sink(call(call_id="two"))
            lines = os.read(reader, 65536).splitlines()
        finally:
            os.close(reader)
        assert [json.loads(line)["call_id"] for line in lines] == ["one", "two"]

    def test_the_repr_of_a_sink_names_its_path(self, tmp_path: pathlib.Path) -> None:
        """The ``repr`` of a sink shows in a log where it writes."""
        assert repr(JsonLinesSink(tmp_path / "log.jsonl")) == f"JsonLinesSink({str(tmp_path / 'log.jsonl')!r})"


PROCESSES, THREADS, LINES = 2, 8, 800

WRITER = """
import sys, threading
from llmwatch.records import JsonLinesSink
from tests.conftest import SCALE
from tests.records.making import attempt, call

path, process, threads, each = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
sink = JsonLinesSink(path)
ready = threading.Barrier(threads)
failed = []

def write(thread):
    try:
        ready.wait()
        for line in range(each):
            # Of very different lengths, about 2 KiB mostly and about 60 now and then.
            sink(call(call_id=f"{process}-{thread}-{line}", attempts=(attempt(),) * (1 if line % 10 else 50)))
    except BaseException as error:
        failed.append(error)

running = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
for one in running: one.start()
for one in running: one.join()
sys.exit(str(failed) if failed else 0)
"""


def test_processes_and_threads_share_a_log(tmp_path: pathlib.Path) -> None:
    """Two processes with eight threads each write 800 incidents into a log that ends in half a line.

    Every other line is a whole record, and none is missing.
    """
    path, each = tmp_path / "incidents.jsonl", LINES // (PROCESSES * THREADS)
    path.write_bytes(TORN)
    command = [sys.executable, "-c", WRITER, str(path)]
    running = [
        subprocess.Popen([*command, str(process), str(THREADS), str(each)], stderr=subprocess.PIPE)
        for process in range(PROCESSES)
    ]
    for one in running:
        _, said = one.communicate()
        assert one.returncode == 0, said.decode()
    found = set()
    with path.open("rb") as lines:
        assert next(lines) == TORN + b"\n"
        for line in lines:
            found.add(json.loads(line)["call_id"])
    assert len(found) == LINES
    assert found == {f"{p}-{t}-{n}" for p in range(PROCESSES) for t in range(THREADS) for n in range(each)}
