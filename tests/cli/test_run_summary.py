from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from llmwatch.cli.run_summary import Summary, begin_file
from llmwatch.hooks import left_alone
from tests.cli.incident_calls import call

DONE = call()


@pytest.fixture(autouse=True)
def _a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other tests of this process have left neither attempts nor orphans."""
    monkeypatch.setattr(
        "llmwatch.cli.run_summary.stats", lambda: {"live_attempts": 0, "unabortable": 0, "incidents_lost": 0}
    )


@pytest.mark.parametrize("gone", ["none", "closed", "full"])
def test_a_closed_standard_error_costs_nothing(monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    """A standard error that is missing, closed, or takes no bytes raises nothing."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    stream = {"none": None, "closed": io.StringIO(), "full": Full()}[gone]
    if gone == "closed":
        assert stream is not None
        stream.close()
    monkeypatch.setattr(sys, "__stderr__", stream)
    summary = Summary(main=os.getpid())
    summary(DONE)
    summary.write()


def test_every_line_is_written_once_with_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line says whose it is, and goes to the error stream that the process was given."""
    given = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", given)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    summary = Summary(main=os.getpid())
    summary(call())
    summary.write()
    written = given.getvalue()
    assert written.count("\n") == written.count("llmwatch: ") == 2
    assert "stream: 1 call watched: 1 recovered" in written


def test_a_forked_child_writes_no_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork the child has a free lock, no calls, and no summary."""
    given = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", given)
    summary = Summary(main=os.getpid())
    summary(DONE)
    summary._lock.acquire()
    summary.after_fork()
    assert summary._lock.acquire(blocking=False)
    summary._lock.release()
    assert summary._counts.lines(None) == []
    summary(DONE)
    monkeypatch.setattr(summary, "_main", -1)
    summary.write()
    assert given.getvalue() == ""


@pytest.fixture
def standard_error(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """In the place of the standard error that the process was given."""
    given = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", given)
    return given


def test_the_file_is_one_object_and_needs_no_lines(tmp_path: Path, standard_error: io.StringIO) -> None:
    """The file has the counts, those left alone included; quiet, nothing else is written."""
    path = tmp_path / "summary"
    begin_file(str(path))
    assert json.loads(path.read_text()) == {"schema": 1, "complete": False}
    summary = Summary(main=os.getpid(), lines=False, file=str(path))
    summary(DONE)
    left_alone._counts.clear()
    left_alone.count_other("httpx")
    try:
        summary.write()
    finally:
        left_alone._counts.clear()
    document = json.loads(path.read_text())
    assert (document["schema"], document["complete"], document["incident_log"]) == (1, True, None)
    assert document["libraries"]["stream"]["recovered"] == 1
    assert document["libraries"]["httpx"]["left_alone"] == {"not a model call": 1}
    assert path.read_text().count("\n") == 1
    assert standard_error.getvalue() == ""


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path, standard_error: io.StringIO) -> None:
    """A folder is refused at the beginning; what fails at the end is one line, even if quiet."""
    with pytest.raises(IsADirectoryError):
        begin_file(str(tmp_path))
    Summary(main=os.getpid(), lines=False, file=str(tmp_path / "none" / "such")).write()
    assert standard_error.getvalue() == (
        f"llmwatch: the summary could not be written to '{tmp_path}/none/such': No such file or directory\n"
    )


def test_a_pipe_gets_one_object(tmp_path: Path, standard_error: io.StringIO) -> None:
    """The mark of a run that has not ended goes to files alone."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        begin_file(str(path))
        Summary(main=os.getpid(), lines=False, file=str(path)).write()
        assert json.loads(os.read(reader, 65536))["complete"] is True
    finally:
        os.close(reader)


def test_the_files_of_other_processes_are_added_up(tmp_path: Path, standard_error: io.StringIO) -> None:
    """Files of processes that ended or were killed count; what is damaged or not whole does not."""
    folder = tmp_path / "folder"
    folder.mkdir()
    summary = Summary(main=os.getpid(), folder=str(folder))
    summary(DONE)
    for ended in (False, True):
        other = Summary(folder=str(folder))
        other(DONE)
        if ended:
            other.write()
    (folder / "damaged.json").write_text("{")
    (folder / "other.json").write_text("[]")
    (folder / "half.json.1").write_text("{}")
    (folder / "unwatched-7").write_text("")
    summary.write()
    assert standard_error.getvalue().splitlines()[:2] == [
        "llmwatch: stream: 3 calls watched: 3 recovered; 3 resends",
        "llmwatch: 1 Python process was not watched: in another environment, or before Python 3.10",
    ]
    assert not folder.exists()
    other(DONE)
    assert not folder.exists()
