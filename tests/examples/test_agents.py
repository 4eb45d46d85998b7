"""Scripts that stay as they are hang on a provider that goes silent.

They go on with one line or with none.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmwatch.faults import FaultServer, Request
from llmwatch.faults.catalogue import ANSWER, TOOL_ID
from tests.examples.running import EXAMPLES, LIMIT, PATIENCE, run

LIMITS = {
    "LLMWATCH_TTFB_TIMEOUT_SECONDS": str(LIMIT),
    "LLMWATCH_STALE_TIMEOUT_SECONDS": str(LIMIT),
    "LLMWATCH_BACKOFF_SECONDS": "0.01",
}
# The first answer is lost at its very beginning, the third in mid-sentence.
AGENT = ["silent", "tool-arguments-only:count=4", "stall-after-content:tokens=3", "healthy"]
AGENT_SAID = (
    "agent: look_up found Malmö, 4 days: rain.\nagent: attempt 1 failed (WatchTimeout)\nagent: " + ANSWER + "\n"
)
PYTHON = (sys.executable,)
UNDER_RUN = (sys.executable, "-m", "llmwatch", "run")


@dataclass(frozen=True)
class Done:
    """How a script ended."""

    code: int
    out: str
    err: str


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LLMWATCH_", "OPENAI_"))}
    return {**kept, "PYTHONIOENCODING": "utf-8", "PYTHONWARNINGS": "error", **LIMITS}


def ended(program: Sequence[str], script: Path, base_url: str) -> Done:
    """The script, run to its end."""
    done = subprocess.run(
        [*program, str(script), base_url],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def hanging(script: Path) -> Iterator[Callable[[], str]]:
    """The script under plain Python, on a provider that is silent for ever and has its request.

    The block is to do what takes a watched script to its end; after it the script must still be waiting for that one
    request, and ends when the provider goes.
    """
    with FaultServer("silent") as server:
        process = subprocess.Popen(
            [*PYTHON, str(script), f"{server.url}/v1"],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        with process:
            try:
                server.wait_for_requests(1, timeout=PATIENCE)

                def released() -> str:
                    assert process.poll() is None
                    assert len(server.requests) == 1
                    server.stop()
                    said, _ = process.communicate(timeout=PATIENCE)
                    return said

                yield released
            finally:
                process.kill()


def without(line: str, name: str, folder: Path) -> Path:
    """A copy of an example without the one line that holds ``line``."""
    lines = (EXAMPLES / name).read_text("utf-8").splitlines(keepends=True)
    kept = [one for one in lines if line not in one]
    assert len(kept) == len(lines) - 1
    copy = folder / name
    copy.write_text("".join(kept), "utf-8")
    return copy


def check_agent(requests: list[Request]) -> None:
    """The agent's requests: the first twice, from llmwatch.

    The one with the tool's result comes twice, from the agent's own loop.
    """
    first, again, result, anew = (request.body for request in requests)
    assert first == again
    assert result == anew
    assert first != result
    assert TOOL_ID.encode() in result
    assert b"Malm" in result


def test_the_requests_script_shows_its_recovery() -> None:
    """By itself the script is answered by its second request."""
    assert run("requests_script.py") == f"{ANSWER}\nrequests at the provider: 2\n"


def test_the_requests_script_needs_its_one_line(tmp_path: Path) -> None:
    """With the one line the script recovers; without it the very same script hangs on the same fault."""
    bare = without("llmwatch.mount(session)", "requests_script.py", tmp_path)
    with hanging(bare) as released:
        with FaultServer(["silent", "healthy"]) as server:
            assert ended(PYTHON, EXAMPLES / "requests_script.py", f"{server.url}/v1") == Done(0, ANSWER + "\n", "")
            assert len(server.requests) == 2
        assert "ConnectionError" in released()


def test_the_requests_script_needs_no_line_under_run(tmp_path: Path) -> None:
    """Without the line it recovers all the same under ``llmwatch run``; with it nothing is watched twice."""
    bare = without("llmwatch.mount(session)", "requests_script.py", tmp_path)
    for script, watched in ((bare, True), (EXAMPLES / "requests_script.py", False)):
        with FaultServer(["silent", "healthy"]) as server:
            done = ended(UNDER_RUN, script, f"{server.url}/v1")
            assert len(server.requests) == 2
        assert (done.code, done.out) == (0, ANSWER + "\n")
        # A session that watches itself keeps its settings, and has no sink.
        assert ("llmwatch: requests: 1 call watched: 1 recovered; 1 resend\n" in done.err) == watched


def test_the_installed_agent_shows_its_recovery() -> None:
    """By itself the agent loses two answers, one of them without knowing.

    It says in the end what it was asked.
    """
    printed = run("installed_agent.py")
    assert printed.splitlines() == [
        "  llmwatch: recovered (ttfb_kill, done)",
        "agent: look_up found Malmö, 4 days: rain.",
        "  llmwatch: failed (stale_kill)",
        "agent: attempt 1 failed (WatchTimeout)",
        "  llmwatch: done (done)",
        *f"agent: {ANSWER}".splitlines(),
        "requests at the provider: 4",
    ]


def test_the_legacy_agent_works() -> None:
    """On a healthy provider the agent does its work without us, and asks twice."""
    with FaultServer(["tool-arguments-only:count=4", "healthy"]) as server:
        printed = run("legacy_agent.py", f"{server.url}/v1", OPENAI_API_KEY="a-key", OPENAI_MODEL="a-model")
        requests = server.requests
    assert printed == f"agent: look_up found Malmö, 4 days: rain.\nagent: {ANSWER}\n"
    assert [request.header("Authorization") for request in requests] == ["Bearer a-key"] * 2
    assert all(b'"a-model"' in request.body for request in requests)


def test_the_legacy_agent_brings_a_provider_along() -> None:
    """Without an address it works on a healthy provider of its own."""
    said = f"agent: look_up found Malmö, 4 days: rain.\nagent: {ANSWER}\nrequests at the provider: 2\n"
    assert run("legacy_agent.py") == said


def test_the_agent_retries_what_fails() -> None:
    """Its own loop works as it did: without us it asks again when a connection is reset."""
    with FaultServer(["reset-mid-stream", "healthy"]) as server:
        done = ended(PYTHON, EXAMPLES / "legacy_agent.py", f"{server.url}/v1")
        assert len(server.requests) == 2
    assert done == Done(0, f"agent: attempt 1 failed (ChunkedEncodingError)\nagent: {ANSWER}\n", "")


@pytest.mark.parametrize("entry_point", ["install", "run"])
def test_the_agent_is_freed(entry_point: str) -> None:
    """The agent hangs by itself, and goes on with ``install()`` or under ``llmwatch run``.

    Under ``llmwatch run`` the script is untouched. The agent loses its first answer without knowing, hears of the
    second loss as an exception that its loop knows, and sends four requests in all.
    """
    program, name = (PYTHON, "installed_agent.py") if entry_point == "install" else (UNDER_RUN, "legacy_agent.py")
    with hanging(EXAMPLES / "legacy_agent.py") as released:
        with FaultServer(AGENT) as server:
            done = ended(program, EXAMPLES / name, f"{server.url}/v1")
            check_agent(server.requests)
        said = released()
    assert done.code == 0
    assert "".join(line for line in done.out.splitlines(True) if not line.startswith("  ")) == AGENT_SAID
    if entry_point == "run":
        assert done.err.splitlines() == [
            "llmwatch: requests: 3 calls watched: 1 done, 1 recovered, 1 failed (stale); 1 resend",
            "llmwatch: 2 calls lost an attempt; LLMWATCH_INCIDENT_LOG=FILE keeps the records",
        ]
    else:
        assert done.err == ""
    assert "agent: attempt 1 failed (ConnectionError)" in said
