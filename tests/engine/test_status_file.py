"""The status file: what is in it, when it is written, and what it never does to a call."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from llmwatch.engine import status_file
from llmwatch.engine.status_file import StatusFile
from tests.conftest import SCALE

PATIENCE = 20.0 * SCALE
CALL = {"call_id": "a", "started_at": 2.0}


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


class TestFile:
    def test_the_document(self, tmp_path: Path) -> None:
        """It names the process and the time, and has the calls in flight and the counters of stats()."""
        file = StatusFile(str(tmp_path / "st-{pid}"), lambda: [CALL])
        file.write()
        found = read(tmp_path / f"st-{os.getpid()}")
        assert (found["llmwatch"], found["schema"], found["process"]) == ("status", 1, os.getpid())
        assert (found["in_flight"], found["calls"]) == (1, [CALL])
        assert found["stats"]["live_attempts"] >= 0

    def test_only_a_hundred_calls_are_named(self, tmp_path: Path) -> None:
        """The oldest hundred calls are in the file, and the number of all."""
        calls = [{**CALL, "started_at": float(number)} for number in range(150, 0, -1)]
        StatusFile(str(tmp_path / "st"), lambda: calls).write()
        found = read(tmp_path / "st")
        assert found["in_flight"] == 150
        assert [call["started_at"] for call in found["calls"]] == [float(number) for number in range(1, 101)]

    def test_only_its_owner_reads_it_and_nothing_stays_beside_it(self, tmp_path: Path) -> None:
        """The file has mode 0600 whatever the umask is; what a killed process left is replaced."""
        (tmp_path / f"st.{os.getpid()}.tmp").write_text("half")
        before = os.umask(0)
        try:
            StatusFile(str(tmp_path / "st"), list).write()
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "st").stat().st_mode) == 0o600
        assert os.listdir(tmp_path) == ["st"]

    def test_a_reader_never_sees_half_a_file(self, tmp_path: Path) -> None:
        """Each write puts another file in the place of the last one."""
        file = StatusFile(str(tmp_path / "st"), list)
        file.write()
        with open(tmp_path / "st", "rb") as old:
            file.write()
            assert os.fstat(old.fileno()).st_ino != (tmp_path / "st").stat().st_ino
            assert json.loads(old.read())["schema"] == 1

    def test_the_end_removes_it_for_good(self, tmp_path: Path) -> None:
        """After the end the file is gone, and a late write does not bring it back."""
        file = StatusFile(str(tmp_path / "st"), list)
        file.write()
        file.end()
        file.write()
        assert os.listdir(tmp_path) == []

    def test_another_file_of_the_name_stays(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Another file, a pipe and a folder are left as they are, with one warning each."""
        (tmp_path / "notes").write_text("mine")
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "folder").mkdir()
        for name in ("notes", "pipe", "folder"):
            file = StatusFile(str(tmp_path / name), list)
            with caplog.at_level(logging.WARNING, "llmwatch"):
                file.write()
                file.write()
                file.end()
        assert (tmp_path / "notes").read_text() == "mine"
        assert sorted(os.listdir(tmp_path)) == ["folder", "notes", "pipe"]
        assert [
            str(tmp_path / name) in record.message
            for name, record in zip(("notes", "pipe", "folder"), caplog.records, strict=True)
        ] == [True] * 3

    def test_a_lost_directory_is_one_warning_until_it_is_back(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A file that cannot be written is reported once; after it could be again, the next loss is too."""
        folder = tmp_path / "there"
        file = StatusFile(str(folder / "st"), list)
        with caplog.at_level(logging.WARNING, "llmwatch"):
            file.write()
            file.write()
            folder.mkdir()
            file.write()
            (folder / "st").unlink()
            folder.rmdir()
            file.write()
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
        assert "the calls are not affected" in caplog.text

    def test_a_failing_document_is_one_warning(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """What goes wrong while the calls are looked at ends neither the thread nor a call."""
        file = StatusFile(str(tmp_path / "st"), lambda: [{}["none"]])
        with caplog.at_level(logging.WARNING, "llmwatch"):
            file.write()
            file.write()
        assert [record.message for record in caplog.records] == [
            f"llmwatch: the status file {tmp_path / 'st'} (LLMWATCH_STATUS_FILE) cannot be written: KeyError;"
            " the calls are not affected"
        ]


class TestKeeping:
    @pytest.fixture(autouse=True)
    def _alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(status_file, "_current", None)

    def test_one_thread_writes_it_each_second(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first call of many starts the thread, which writes at once and again after each interval."""
        monkeypatch.setattr(status_file, "EVERY", 0.01)
        writes = threading.Semaphore(0)
        threads = set()

        def in_flight() -> list[dict[str, Any]]:
            threads.add(threading.get_ident())
            writes.release()
            return []

        for _ in range(20):
            status_file.keep(str(tmp_path / "st"), in_flight)
        for _ in range(3):
            assert writes.acquire(timeout=PATIENCE)
        status_file._end()
        assert len(threads) == 1
        assert threading.get_ident() not in threads

    def test_another_name_takes_its_place(self, tmp_path: Path) -> None:
        """When the variable changes, the old file is removed and the new one kept."""
        status_file.keep(str(tmp_path / "one"), list)
        first = status_file._current
        assert first is not None
        first.write()
        status_file.keep(str(tmp_path / "two"), list)
        assert status_file._current is not None
        status_file._current.write()
        with status_file._current._writing:  # its thread writes too
            assert os.listdir(tmp_path) == ["two"]
        status_file._end()

    def test_without_a_thread_the_next_call_tries_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A system that has no thread left costs the file, not the call."""

        def refuse(*arguments: object) -> int:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(status_file._thread, "start_new_thread", refuse)
            status_file.keep(str(tmp_path / "st"), list)
        assert status_file._current is None
        status_file.keep(str(tmp_path / "st"), list)
        assert status_file._current is not None
        status_file._end()
