"""The status file of programs that make calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmwatch import Client, ConfigError, Limits, Retry, label
from llmwatch.engine import status_file
from llmwatch.faults import FaultServer
from tests.end_to_end.times import PATIENCE

BODY = {"model": "m-1", "stream": True, "messages": [{"role": "user", "content": "planted-secret"}]}
SCRIPTS = ["stall-after-content:tokens=3"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(status_file, "_current", None)
    yield
    status_file._end()


def program(text: str, path: str) -> subprocess.CompletedProcess[str]:
    """Run a program with a status file."""
    begin = "import os, sys, json, pathlib, llmwatch\nfrom llmwatch.faults import FaultServer\n"
    others = {name: value for name, value in os.environ.items() if not name.startswith("LLMWATCH_")}
    return subprocess.run(
        [sys.executable, "-c", begin + text],
        env={**others, "LLMWATCH_STATUS_FILE": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_call_in_flight_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call stands there with model, label, attempt, phase and next limit, without prompt, path and key."""
    monkeypatch.setenv("LLMWATCH_STATUS_FILE", str(tmp_path / "st"))
    limits, headers = Limits(ttfb=300, stale=250), {"Authorization": "Bearer planted-secret"}
    with (
        FaultServer(["stall-after-content:tokens=3"]) as server,
        Client(limits=limits, retry=Retry.none()) as client,
    ):
        url = server.chat_url + "?key=planted-secret"
        with label("job-7"), client.stream("POST", url, json=BODY, headers=headers) as stream:
            next(iter(stream))
            assert status_file._current is not None
            status_file._current.write()
            text = (tmp_path / "st").read_text()
            (call,) = json.loads(text)["calls"]
    assert "planted-secret" not in text
    assert "chat" not in text
    assert call.pop("call_id") == stream.record.call_id  # type: ignore[union-attr]
    assert 240 < call.pop("expires_in") <= 250
    assert call.pop("elapsed") < PATIENCE
    assert call.pop("started_at") == stream.record.started_at  # type: ignore[union-attr]
    assert call == {
        "entry_point": "stream",
        "origin": server.url,
        "model": "m-1",
        "label": "job-7",
        "attempt": 1,
        "max_attempts": 1,
        "phase": "content",
        "limit": "stale",
    }
    status_file._current.write()
    assert json.loads((tmp_path / "st").read_text())["calls"] == []


def test_a_wrong_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another word in braces is a ConfigError that names the variable; nothing is sent."""
    monkeypatch.setenv("LLMWATCH_STATUS_FILE", "/tmp/st-{host}")
    with FaultServer(["healthy"]) as server, Client() as client:
        with pytest.raises(ConfigError, match=r"LLMWATCH_STATUS_FILE='/tmp/st-\{host\}' is not allowed") as raised:
            client.collect("POST", server.chat_url, json=BODY)
        assert server.requests == []
    assert raised.value.field == "LLMWATCH_STATUS_FILE"


def test_nothing_without_the_variable() -> None:
    """Without it neither the module nor a thread is there."""
    text = """
with FaultServer(["healthy"]) as server:
    llmwatch.collect("POST", server.chat_url, json={"model": "m", "stream": True, "messages": []})
assert "llmwatch.engine.status_file" not in sys.modules
"""
    done = program(text, "")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_child_writes_its_own_and_the_end_removes_both(tmp_path: Path) -> None:
    """A forked child that makes a call has a file of its own; at exit nothing is left, in either of them."""
    text = """
import multiprocessing, time
def call(url):
    llmwatch.collect("POST", url, json={"model": "m", "stream": True, "messages": []})
    path = pathlib.Path(os.environ["LLMWATCH_STATUS_FILE"].replace("{pid}", str(os.getpid())))
    until = time.monotonic() + 20
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert json.loads(path.read_text())["process"] == os.getpid()
with FaultServer(["healthy"]) as server:
    call(server.chat_url)
    child = multiprocessing.get_context("fork").Process(target=call, args=(server.chat_url,))
    child.start()
    child.join()
    assert child.exitcode == 0
    folder = os.path.dirname(os.environ["LLMWATCH_STATUS_FILE"])
    found = [name for name in os.listdir(folder) if not name.endswith(".tmp")]
    assert found == [f"st-{os.getpid()}"], found
"""
    done = program(text, str(tmp_path / "st-{pid}"))
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path) == []


def test_a_path_that_cannot_be_written_harms_no_call(tmp_path: Path) -> None:
    """The call is answered, and one warning goes to the logger."""
    text = """
import logging
logging.basicConfig(format="%(levelname)s %(message)s")
with FaultServer(["healthy"]) as server:
    for _ in range(3):
        answer = llmwatch.collect("POST", server.chat_url, json={"model": "m", "stream": True, "messages": []})
from llmwatch.engine import status_file
status_file._current.write()
print(len(answer.text) > 0)
"""
    done = program(text, str(tmp_path / "none" / "st"))
    assert (done.returncode, done.stdout) == (0, "True\n")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"WARNING llmwatch: the status file {tmp_path}/none/st (LLMWATCH_STATUS_FILE) ")
