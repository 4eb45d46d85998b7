"""The calls of a script under ``llmwatch run``, on the fault server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER
from tests.cli.running import Ended, environment, interrupt, run
from tests.cli.times import LIMIT, LONG, PATIENCE

ASK = """
import json, os, sys, requests

def ask(url):
    with requests.post(url, json={"model": "any", "stream": True, "messages": []}, stream=True) as response:
        for line in response.iter_lines():
            if line.startswith(b"data: ") and line != b"data: [DONE]":
                for choice in json.loads(line[len(b"data: "):])["choices"]:
                    yield choice["delta"].get("content") or ""

url = sys.argv[1]
"""
LIMITS = {
    "LLMWATCH_TTFB_TIMEOUT_SECONDS": str(LIMIT),
    "LLMWATCH_STALE_TIMEOUT_SECONDS": str(LIMIT),
    "LLMWATCH_BACKOFF_SECONDS": "0.01",
}
RECOVERED = "llmwatch: requests: 1 call watched: 1 recovered; 1 resend\n"
HINT = "llmwatch: 1 call lost an attempt; LLMWATCH_INCIDENT_LOG=FILE keeps the records\n"


def script(folder: Path, rest: str) -> str:
    """A script that can ask, and does ``rest``."""
    path = folder / "asks.py"
    path.write_text(ASK + rest)
    return str(path)


@pytest.mark.parametrize("words", [(), ("--",)])
def test_an_untouched_script_recovers(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A script without any time-out gets its answer from a provider that was silent at first.

    It takes two requests.
    """
    asks = script(tmp_path, "print(''.join(ask(url)))")
    with FaultServer(["silent", "healthy"]) as server:
        ended = run("run", *words, asks, server.chat_url, env=LIMITS)
        assert len(server.requests) == 2
    assert ended == Ended(0, ANSWER + "\n", RECOVERED + HINT)


def test_calls_that_the_script_drops_are_counted(tmp_path: Path) -> None:
    """Responses that were never closed are cancelled calls.

    Some of them are dropped with the last line of the script.
    """
    asks = script(
        tmp_path,
        """
for _ in range(3):
    body = {"model": "any", "stream": True, "messages": []}
    print(next(requests.post(url, json=body, stream=True).iter_lines())[:4])
""",
    )
    with FaultServer("stall-after-content") as server:
        ended = run("run", asks, server.chat_url)
    summary = "llmwatch: requests: 3 calls watched: 3 cancelled; 0 resends\n"
    assert ended == Ended(0, "b'data'\n" * 3, summary)


def test_a_module_under_run_recovers(tmp_path: Path) -> None:
    """A module under ``llmwatch run -m`` recovers like a script."""
    script(tmp_path, "print(''.join(ask(url)))")
    with FaultServer(["silent", "healthy"]) as server:
        ended = run("run", "-m", "asks", server.chat_url, env={**LIMITS, "PYTHONPATH": str(tmp_path)})
        assert len(server.requests) == 2
    assert ended == Ended(0, ANSWER + "\n", RECOVERED + HINT)


def test_the_summary_says_what_the_scripts_time_outs_did(tmp_path: Path) -> None:
    """A longer one than a variable sets is set aside, a shorter one lowers it, and the summary says so."""
    asks = script(
        tmp_path,
        f"""
for own in (600, {LIMIT / 2}):
    try:
        requests.post(url, json={{"model": "any", "messages": [], "stream": True}}, stream=True, timeout=own).content
    except requests.RequestException as error:
        print(error.limit_seconds)
""",
    )
    with FaultServer("silent") as server:
        ended = run("run", asks, server.chat_url, env={**LIMITS, "LLMWATCH_MAX_ATTEMPTS": "1"})
    assert ended.out.split() == [str(LIMIT), str(LIMIT / 2)]
    assert f"llmwatch: timeout= of the script lowered connect to {LIMIT / 2:g} s in 1 call, ttfb to" in ended.err
    assert "; LLMWATCH_OVERRIDE_TIMEOUTS=1 sets it aside\n" in ended.err
    assert "llmwatch: timeout= of the script or its library was set aside: 600 s in 1 call\n" in ended.err


def test_the_same_script_hangs_without_llmwatch(tmp_path: Path) -> None:
    """The same script under Python still waits when the watched one has long got its answer.

    It ends with the server alone.
    """
    asks = script(tmp_path, "print(''.join(ask(url)))")
    with FaultServer("silent") as silent, FaultServer(["silent", "healthy"]) as server:
        with subprocess.Popen([sys.executable, asks, silent.chat_url], env=environment(LIMITS), stderr=-1) as alone:
            try:
                silent.wait_for_requests(1, timeout=PATIENCE)
                assert run("run", asks, server.chat_url, env=LIMITS).out == ANSWER + "\n"
                assert alone.poll() is None
                silent.stop()
                _, errors = alone.communicate(timeout=PATIENCE)
            finally:
                alone.kill()
        assert b"ConnectionError" in errors
        assert (alone.returncode, len(silent.requests)) == (1, 1)


def test_quiet_leaves_standard_error_to_the_script(tmp_path: Path) -> None:
    """``--quiet`` leaves standard error to the script."""
    asks = script(tmp_path, "print(''.join(ask(url)))")
    with FaultServer(["silent", "healthy"]) as server:
        assert run("run", "--quiet", asks, server.chat_url, env=LIMITS) == Ended(0, ANSWER + "\n", "")
        assert len(server.requests) == 2


def test_incidents_go_to_the_named_file(tmp_path: Path) -> None:
    """Incidents go to the named file, relative to the directory of the command.

    The script may change to any other directory.
    """
    (tmp_path / "elsewhere").mkdir()
    asks = script(tmp_path, f"os.chdir({str(tmp_path / 'elsewhere')!r}); print(''.join(ask(url)))")
    with FaultServer(["silent", "healthy"]) as server:
        done = subprocess.run(
            [sys.executable, "-m", "llmwatch", "run", asks, server.chat_url],
            cwd=tmp_path,
            env=environment({**LIMITS, "LLMWATCH_INCIDENT_LOG": "log.jsonl"}),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    log = tmp_path / "log.jsonl"
    assert done.stderr == f"{RECOVERED}llmwatch: 1 call lost an attempt; the incident log is {log}\n"
    (record,) = map(json.loads, log.read_text().splitlines())
    assert (record["outcome"], record["entry_point"], len(record["attempts"])) == ("recovered", "requests", 2)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("ending", "code"),
    [("raise ValueError('its own')", 1), ("sys.exit(7)", 7), ("sys.exit('words')", 1), ("raise KeyboardInterrupt", -2)],
)
def test_the_summary_follows_any_end(tmp_path: Path, ending: str, code: int) -> None:
    """A script that raises or exits gets its summary after its own words, and its own exit code."""
    asks = script(tmp_path, f"list(ask(url)); {ending}")
    with FaultServer(["silent", "healthy"]) as server:
        ended = run("run", asks, server.chat_url, env=LIMITS)
    assert ended.code == code
    assert ended.err.endswith(RECOVERED + HINT)


def test_no_summary_after_a_hard_exit(tmp_path: Path) -> None:
    """``os._exit`` leaves no time for one."""
    asks = script(tmp_path, "list(ask(url)); os._exit(7)")
    with FaultServer(["silent", "healthy"]) as server:
        assert run("run", asks, server.chat_url, env=LIMITS) == Ended(7, "", "")


def test_an_error_surfaces_as_one_of_requests(tmp_path: Path) -> None:
    """A failure that cannot be recovered reaches the script as an exception of requests.

    The summary names the limit.
    """
    asks = script(
        tmp_path,
        "try:\n    for text in ask(url): print(text, end='')\nexcept requests.RequestException as error:\n"
        "    print(isinstance(error, TimeoutError))",
    )
    with FaultServer("stall-after-content:tokens=3") as server:
        ended = run("run", asks, server.chat_url, env=LIMITS)
        assert len(server.requests) == 1
    assert (ended.code, ended.out) == (0, "A watchdog countsTrue\n")
    assert "llmwatch: requests: 1 call watched: 1 failed (stale); 0 resends\n" in ended.err


def test_calls_of_threads_and_exit_handlers_count(tmp_path: Path) -> None:
    """The summary comes after the script's threads and exit handlers, and holds their calls."""
    asks = script(
        tmp_path,
        "import atexit, threading\n"
        "def work():\n    threading.main_thread().join(); list(ask(url)); print('thread', flush=True)\n"
        "def last():\n    list(ask(url)); print('exit', flush=True)\n"
        "atexit.register(last); threading.Thread(target=work).start(); list(ask(url))",
    )
    with FaultServer("healthy") as server:
        ended = run("run", asks, server.chat_url, env=LIMITS)
        assert len(server.requests) == 3
    assert ended == Ended(0, "thread\nexit\n", "llmwatch: requests: 3 calls watched: 3 done; 0 resends\n")


def test_a_forked_child_is_watched_and_counted(tmp_path: Path) -> None:
    """A child has the watchdog, and the parent's summary has the calls of both."""
    asks = script(
        tmp_path,
        "list(ask(url))\npid = os.fork()\nif not pid:\n    print(''.join(ask(url))); sys.exit(0)\n"
        "print(os.waitpid(pid, 0)[1])",
    )
    with FaultServer(["healthy", "silent", "healthy"]) as server:
        ended = run("run", asks, server.chat_url, env=LIMITS)
        assert len(server.requests) == 3
    summary = "llmwatch: requests: 2 calls watched: 1 done, 1 recovered; 1 resend\n"
    assert ended == Ended(0, f"{ANSWER}\n0\n", summary + HINT)


def test_a_script_without_a_call_gets_no_summary(tmp_path: Path) -> None:
    """A script without a call gets no summary, whatever libraries it has loaded."""
    asks = script(tmp_path, "import aiohttp, httpx; print('done')")
    assert run("run", asks, "http://127.0.0.1:1/") == Ended(0, "done\n", "")


def test_ctrl_c_in_a_call_is_raised_in_the_script(tmp_path: Path) -> None:
    """Ctrl-C in a call that waits gives the script its ``KeyboardInterrupt``.

    The script ends as Python does, and nothing is resent.
    """
    asks = script(tmp_path, "print('asks', flush=True); list(ask(url))")
    with FaultServer("silent") as server:
        with subprocess.Popen(
            [sys.executable, "-m", "llmwatch", "run", asks, server.chat_url],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            server.wait_for_requests(1, timeout=PATIENCE)
            ended = interrupt(process)
        server.wait_for_closed(1, PATIENCE)
        assert len(server.requests) == 1
    assert ended.code == -signal.SIGINT
    assert ended.err.startswith("Traceback (most recent call last):\n")
    assert "KeyboardInterrupt\nllmwatch: requests: 1 call watched: 1 cancelled; 0 resends\n" in ended.err


def test_an_open_call_is_named_in_the_summary(tmp_path: Path) -> None:
    """A stream that the script never finished is named as such, and does not delay the end."""
    asks = script(tmp_path, "answer = ask(url); next(answer); print(next(answer))")
    with FaultServer("stall-after-content:tokens=3") as server:
        ended = run("run", asks, server.chat_url, env={"LLMWATCH_STALE_TIMEOUT_SECONDS": str(LONG)})
    assert ended == Ended(0, "A\n", "llmwatch: 1 call still running at the end\n")
