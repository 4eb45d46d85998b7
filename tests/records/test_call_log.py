"""The call log: its lines, its rotation, and what it does where the file system or the process fails."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from llmwatch.records import CallLog, CallRecord, call_log
from llmwatch.records.call_line import line_of
from llmwatch.records.sinks import losses
from tests.conftest import SCALE
from tests.records.making import attempt, call

PATIENCE = 20.0 * SCALE
"""Seconds; what is waited for comes in some milliseconds."""
GOOD = {"outcome": "done", "attempts": (attempt(cause=None),), "decisions": ()}


def ids(path: pathlib.Path) -> list[str]:
    """The ids of the calls in a file, each line of which must be whole."""
    data = path.read_bytes()
    assert data.endswith(b"\n")
    return [CallRecord.from_json(line).call_id for line in data.splitlines()]


def written(log: CallLog, *records: CallRecord) -> None:
    """Pass records on, one after the other, and wait for their lines."""
    for record in records:
        log(record)
        assert log.flush(PATIENCE)


class TestLines:
    def test_every_call_is_a_line_good_or_bad(self, tmp_path: pathlib.Path) -> None:
        """The lines come in the order of the calls, and are read back as records."""
        log = CallLog(tmp_path / "calls")
        records = [call(call_id="one", **GOOD), call(call_id="two"), call(call_id="three", outcome="cancelled")]
        for record in records:
            log(record)
        assert log.flush(PATIENCE)
        assert (tmp_path / "calls").read_bytes() == b"".join(map(line_of, records))
        assert ids(tmp_path / "calls") == ["one", "two", "three"]

    def test_only_its_owner_reads_it(self, tmp_path: pathlib.Path) -> None:
        """New files have mode 0600, whatever the process lets others do; so has the one after a rotation."""
        before = os.umask(0)
        try:
            log = CallLog(tmp_path / "calls", max_bytes=1)
            written(log, call(), call())
        finally:
            os.umask(before)
        for name in ("calls", "calls.1"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600

    def test_half_a_line_is_left_behind(self, tmp_path: pathlib.Path) -> None:
        """After the half line of a killed process the next line begins anew."""
        (tmp_path / "calls").write_bytes(b'{"schema": 3, "call_')
        written(CallLog(tmp_path / "calls"), call(call_id="whole"))
        half, whole = (tmp_path / "calls").read_bytes().splitlines()
        assert half == b'{"schema": 3, "call_'
        assert json.loads(whole)["call_id"] == "whole"

    def test_a_log_in_a_missing_directory_is_refused_at_once(self, tmp_path: pathlib.Path) -> None:
        """The error is an OSError that names the file, and nothing is made."""
        with pytest.raises(FileNotFoundError, match="call log cannot be opened") as raised:
            CallLog(tmp_path / "none" / "calls")
        assert raised.value.filename == str(tmp_path / "none" / "calls")
        assert not (tmp_path / "none").exists()

    @pytest.mark.parametrize("size", [-1, 1.5, "64", True, None])
    def test_an_impossible_size_is_refused(self, tmp_path: pathlib.Path, size: object) -> None:
        """A size is a whole number of bytes."""
        with pytest.raises(ValueError, match="max_bytes"):
            CallLog(tmp_path / "calls", max_bytes=size)  # type: ignore[arg-type]


class TestRotation:
    def test_a_full_file_gets_the_first_number(self, tmp_path: pathlib.Path) -> None:
        """A line that does not fit begins a new file; the newest rotated file has number 1."""
        path, line = tmp_path / "calls", line_of(call(call_id="0"))
        log = CallLog(path, max_bytes=2 * len(line))
        written(log, *(call(call_id=str(number)) for number in range(5)))
        assert [ids(tmp_path / name) for name in ("calls.2", "calls.1", "calls")] == [["0", "1"], ["2", "3"], ["4"]]

    def test_lines_that_come_together_are_cut_between_lines(self, tmp_path: pathlib.Path) -> None:
        """Many lines at once fill one file after the other."""
        path, line = tmp_path / "calls", line_of(call(call_id="00"))
        log = CallLog(path, max_bytes=3 * len(line) + 1)
        for number in range(10, 20):
            log(call(call_id=str(number)))
        assert log.flush(PATIENCE)
        files = [path.with_name(name) for name in ("calls.3", "calls.2", "calls.1", "calls")]
        assert [len(ids(one)) for one in files] == [3, 3, 3, 1]
        assert list(itertools.chain.from_iterable(map(ids, files))) == [str(number) for number in range(10, 20)]

    def test_eight_rotated_files_are_kept(self, tmp_path: pathlib.Path) -> None:
        """The oldest is dropped for the ninth."""
        log = CallLog(tmp_path / "calls", max_bytes=1)
        written(log, *(call(call_id=str(number)) for number in range(12)))
        assert sorted(os.listdir(tmp_path)) == ["calls", *(f"calls.{number}" for number in range(1, 9))]
        assert [ids(tmp_path / f"calls.{number}") for number in range(8, 0, -1)] == [[str(n)] for n in range(3, 11)]
        assert ids(tmp_path / "calls") == ["11"]

    def test_zero_never_rotates(self, tmp_path: pathlib.Path) -> None:
        """Without a size there is one file."""
        written(CallLog(tmp_path / "calls", max_bytes=0), call(), call(), call())
        assert os.listdir(tmp_path) == ["calls"]

    def test_the_file_behind_a_link_is_rotated(self, tmp_path: pathlib.Path) -> None:
        """The link stays, and the rotated files are beside the file that it names."""
        (tmp_path / "logs").mkdir()
        (tmp_path / "calls").symlink_to(tmp_path / "logs" / "real")
        written(CallLog(tmp_path / "calls", max_bytes=1), call(call_id="a"), call(call_id="b"))
        assert (tmp_path / "calls").is_symlink()
        assert ids(tmp_path / "logs" / "real.1") == ["a"]
        assert ids(tmp_path / "calls") == ["b"]

    def test_a_file_that_may_not_be_renamed_grows_on(
        self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No line is lost where the directory may not be changed."""

        def refused(*_: object) -> None:
            raise PermissionError

        log = CallLog(tmp_path / "calls", max_bytes=1)
        monkeypatch.setattr(os, "replace", refused)
        written(log, call(call_id="a"), call(call_id="b"))
        assert ids(tmp_path / "calls") == ["a", "b"]

    def test_a_file_that_another_program_renamed_is_followed(self, tmp_path: pathlib.Path) -> None:
        """The next line goes to a new file of the log's name."""
        log = CallLog(tmp_path / "calls")
        written(log, call(call_id="a"))
        (tmp_path / "calls").rename(tmp_path / "moved")
        written(log, call(call_id="b"))
        assert (ids(tmp_path / "moved"), ids(tmp_path / "calls")) == (["a"], ["b"])


WRITER = """
import sys, threading
from llmwatch.records import CallLog
from tests.records.making import call

path, size, process, threads, each = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
log, ready = CallLog(path, max_bytes=size), threading.Barrier(threads)

def write(thread):
    ready.wait()
    for number in range(each):
        log(call(call_id=f"{process}-{thread}-{number}"))
        if number % 7 == 0:
            log.flush()

running = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
for one in running: one.start()
for one in running: one.join()
"""


def python(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    """A new process that runs ``script``."""
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stderr=subprocess.PIPE)


def ends_well(process: subprocess.Popen[bytes]) -> None:
    """The process comes to its end without an error."""
    _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (0, b"")


class TestProcesses:
    def test_processes_share_a_log_and_its_rotation(self, tmp_path: pathlib.Path) -> None:
        """Each line of three processes of four threads is whole and in one of the files, exactly once.

        The files rotate several times meanwhile, and none is larger than allowed.
        """
        size = len(line_of(call(call_id="0-0-00"))) * 300
        running = [python(WRITER, tmp_path / "calls", size, process, 4, 100) for process in range(3)]
        for one in running:
            ends_well(one)
        files = sorted(tmp_path.iterdir())
        assert 4 <= len(files) <= 9
        assert all(one.stat().st_size <= size for one in files)
        found = list(itertools.chain.from_iterable(map(ids, files)))
        assert sorted(found) == sorted(f"{p}-{t}-{n}" for p in range(3) for t in range(4) for n in range(100))

    def test_the_lines_of_the_last_moment_are_written_at_exit(self, tmp_path: pathlib.Path) -> None:
        """A program that ends right after a call has its line."""
        ends_well(python(WRITER, tmp_path / "calls", 0, 0, 1, 1))
        assert ids(tmp_path / "calls") == ["0-0-0"]

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_a_process_of_multiprocessing_writes_its_lines(self, tmp_path: pathlib.Path, method: str) -> None:
        """Such a process runs no exit handlers, and may be forked while lines of its parent wait."""
        script = tmp_path / "script.py"
        script.write_text(
            "import multiprocessing, sys\n"
            "from llmwatch.records import CallLog\n"
            "from tests.records.making import call\n"
            "log = CallLog(sys.argv[1])\n"
            "def write(name):\n"
            "    log(call(call_id=name))\n"
            "if __name__ == '__main__':\n"
            "    log(call(call_id='parent'))\n"
            "    method = multiprocessing.get_context(sys.argv[2])\n"
            "    children = [method.Process(target=write, args=(f'child {number}',)) for number in range(3)]\n"
            "    for child in children: child.start()\n"
            "    for child in children: child.join()\n"
            "    log(call(call_id='last'))\n"
        )
        words = [sys.executable, str(script), str(tmp_path / "calls"), method]
        environ = {**os.environ, "PYTHONPATH": os.getcwd()}
        ends_well(subprocess.Popen(words, stderr=subprocess.PIPE, env=environ))
        assert sorted(ids(tmp_path / "calls")) == ["child 0", "child 1", "child 2", "last", "parent"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_a_forked_child_leaves_the_lines_of_its_parent(self, tmp_path: pathlib.Path) -> None:
        """What waits in the parent is written once, by the parent; the child writes its own."""
        log = CallLog(tmp_path / "calls")
        with log._lock:
            log(call(call_id="parent"))
            child = os.fork()
            if not child:
                log(call(call_id="child"))
                os._exit(not log.flush(PATIENCE))
        assert os.waitpid(child, 0)[1] == 0
        assert log.flush(PATIENCE)
        assert sorted(ids(tmp_path / "calls")) == ["child", "parent"]


class TestFailures:
    @pytest.fixture
    def gate(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
        """While it is cleared, no file can be opened: the file system does not answer."""
        gate, real = threading.Event(), os.open
        gate.set()

        def waiting(*arguments: object) -> int:
            gate.wait(PATIENCE)
            return real(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "open", waiting)
        yield gate
        gate.set()

    def test_no_call_waits_for_a_file_that_does_not_answer(
        self, gate: threading.Event, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Records wait, and above the bound they are lost and counted; then the others are written."""
        monkeypatch.setattr(call_log, "_MOST_WAITING", 5)
        log, before = CallLog(tmp_path / "calls"), losses()["calls_lost"]
        gate.clear()
        log(call(call_id="in hand"))
        assert not log.flush(call_log._LINGER)
        for number in range(8):
            log(call(call_id=str(number)))
        assert losses()["calls_lost"] - before == 3
        gate.set()
        assert log.flush(PATIENCE)
        assert ids(tmp_path / "calls") == ["in hand", "0", "1", "2", "3", "4"]

    def test_lines_that_cannot_be_written_are_counted_and_reported(
        self, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A directory that is gone costs its lines, one report, and no call; later lines are written."""
        folder = tmp_path / "logs"
        folder.mkdir()
        log, before = CallLog(folder / "calls"), losses()["calls_lost"]
        (folder / "calls").unlink()
        folder.rmdir()
        written(log, call(), call(), call())
        assert losses()["calls_lost"] - before == 3
        (line,) = caplog.records
        assert "call log" in line.getMessage()
        assert "No such file or directory" in line.getMessage()
        folder.mkdir()
        written(log, call(call_id="after"))
        assert ids(folder / "calls") == ["after"]

    def test_its_thread_ends_and_comes_back(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A log without calls has no thread; the next call starts one."""
        monkeypatch.setattr(call_log, "_IDLE", 0.0)
        log = CallLog(tmp_path / "calls")
        for number in range(3):
            written(log, call(call_id=str(number)))
            gone = threading.Event()
            for _ in range(int(PATIENCE / 0.01)):
                if not log._lives:
                    break
                gone.wait(0.01)
            assert not log._lives
        assert ids(tmp_path / "calls") == ["0", "1", "2"]

    def test_a_thread_that_is_ended_is_replaced(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever ends the thread costs the lines that it had in hand, and not those of later calls."""
        log = CallLog(tmp_path / "calls")
        with monkeypatch.context() as broken:
            broken.setattr(call_log, "line_of", lambda record: sys.exit())
            written(log, call(call_id="lost"))
        written(log, call(call_id="after"))
        assert ids(tmp_path / "calls") == ["after"]

    def test_without_any_thread_lines_are_written_all_the_same(
        self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At exit, and where the system has no thread left, flush() writes them itself."""
        log = CallLog(tmp_path / "calls")

        def refused(*_: object) -> int:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(call_log._thread, "start_new_thread", refused)
        written(log, call(call_id="alone"))
        assert ids(tmp_path / "calls") == ["alone"]
