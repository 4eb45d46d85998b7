"""Processes that a script under ``llmwatch run`` starts."""

from __future__ import annotations

import glob
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER
from tests.cli.running import Ended, environment, run
from tests.cli.test_run import PROBE
from tests.cli.times import LIMIT, PATIENCE

LIMITS = {
    "LLMWATCH_TTFB_TIMEOUT_SECONDS": str(LIMIT),
    "LLMWATCH_STALE_TIMEOUT_SECONDS": str(LIMIT),
    "LLMWATCH_BACKOFF_SECONDS": "0.01",
}
CHILD = """
import json, sys, requests

def ask(url):
    body = {"model": "any", "stream": True, "messages": [{"role": "user", "content": "Say it."}]}
    said = []
    with requests.post(url, json=body, stream=True) as response:
        for line in response.iter_lines():
            if line.startswith(b"data: ") and line != b"data: [DONE]":
                for choice in json.loads(line[len(b"data: "):])["choices"]:
                    said.append(choice["delta"].get("content") or "")
    print("".join(said), flush=True)

if __name__ == "__main__":
    ask(sys.argv[1])
"""
PARENT = """
import multiprocessing, os, signal, subprocess, sys, time
url = sys.argv[1]
words = [sys.executable, "child.py", url]

def work(url):
    import child
    child.ask(url)

def pool(method):
    with multiprocessing.get_context(method).Pool(1) as workers:
        workers.map(work, [url])
        workers.close()
        workers.join()

def executed(function, *args):
    pid = os.fork()
    if not pid:
        function(*args)
    os.waitpid(pid, 0)

if __name__ == "__main__":
    {does}
"""
WAYS = {
    "subprocess": "subprocess.run(words, check=True)",
    "posix_spawn in subprocess": "subprocess.run(words, check=True, close_fds=False)",
    "shell": "subprocess.run(' '.join(words), shell=True, check=True)",
    "system": "os.system(' '.join(words))",
    "posix_spawn": "os.waitpid(os.posix_spawn(words[0], words, os.environ), 0)",
    "spawnv": "os.spawnv(os.P_WAIT, words[0], words)",
    "execv": "executed(os.execv, words[0], words)",
    "execl of this process": "os.execl(words[0], *words)",
    "fork": "pool('fork')",
    "spawn": "pool('spawn')",
    "forkserver": "pool('forkserver')",
    "a changed path": "os.environ['PYTHONPATH'] = '/none'; subprocess.run(words, check=True)",
    "a path that is gone": (
        "os.environ['PYTHONPATH'] = '/none'; del os.environ['PYTHONPATH']; subprocess.run(words, check=True)"
    ),
    "grandchild": (
        "subprocess.run([sys.executable, '-c', 'import subprocess, sys; subprocess.run(sys.argv[1:])', *words])"
    ),
}
RECOVERED = "llmwatch: requests: 1 call watched: 1 recovered; 1 resend\n"
HINT = "llmwatch: 1 call lost an attempt; LLMWATCH_INCIDENT_LOG=FILE keeps the records\n"


def parent(folder: Path, does: str, child: str = CHILD) -> str:
    """A script that starts children by ``does``, beside the program ``child.py``."""
    (folder / "child.py").write_text(child)
    (folder / "parent.py").write_text(PARENT.replace("{does}", textwrap.indent(does, "    ").strip()))
    return "parent.py"


def python(*words: str, cwd: Path, env: dict[str, str]) -> Ended:
    """The same without the command."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("way", WAYS)
def test_a_child_recovers_and_its_call_is_counted(tmp_path: Path, way: str) -> None:
    """However it is started, a child gets its answer after a silence.

    The parent's summary has its call.
    """
    with FaultServer(["silent", "healthy"]) as server:
        ended = run("run", parent(tmp_path, WAYS[way]), server.chat_url, env=LIMITS, cwd=tmp_path)
        assert len(server.requests) == 2
    assert ended == Ended(0, ANSWER + "\n", RECOVERED + HINT)


@pytest.mark.parametrize("given", [None, "", f"/one{os.pathsep}/two"])
@pytest.mark.parametrize(
    "change", ["pass", "os.environ['PYTHONPATH'] = '/three'", "os.environ.pop('PYTHONPATH', None)"]
)
def test_a_child_sees_what_it_sees_without_the_command(tmp_path: Path, given: str | None, change: str) -> None:
    """Path, variables, stack and threads are those of a child under Python.

    The same holds for a child of that child.
    """
    child = PROBE + "\nif 'again' in sys.argv:\n    import subprocess; subprocess.run([sys.executable, 'child.py'])\n"
    script = parent(tmp_path, f"{change}\nsubprocess.run([*words[:2], 'again'], check=True)", child)
    env = {} if given is None else {"PYTHONPATH": given}
    alone = python(script, "url", cwd=tmp_path, env=env)
    assert run("run", script, "url", cwd=tmp_path, env={**env, "PYTHONUTF8": "1"}) == alone
    assert alone.code == 0
    assert alone.out.count('"argv"') == 2


LOADED = "import os, sys; print('llmwatch' in sys.modules, sorted(n for n in os.environ if n == '_LLMWATCH_RUN'))"


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("subprocess.run(words, env=dict(os.environ))", "False []\n"),
        ("subprocess.run(words, env=os.environ.copy(), close_fds=False)", "False []\n"),
        ("os.waitpid(os.posix_spawn(words[0], words, {**os.environ}), 0)", "False []\n"),
        *((f"subprocess.run([words[0], '-{option}', *words[1:]])", "False ['_LLMWATCH_RUN']\n") for option in "IES"),
    ],
)
def test_a_child_of_its_own_environment_is_left_alone(tmp_path: Path, does: str, says: str) -> None:
    """A child with ``env=``, or an option against start-up code, is not watched and not mentioned."""
    assert run("run", parent(tmp_path, does, LOADED), "url", cwd=tmp_path) == Ended(0, says)


def test_without_children(tmp_path: Path) -> None:
    """``--no-children`` leaves every program that the script starts alone, and no variable to it."""
    script = parent(tmp_path, "subprocess.run(words)\npool('spawn')", f"{LOADED}\ndef ask(url):\n    {LOADED}\n")
    assert run("run", "--no-children", script, "url", cwd=tmp_path) == Ended(0, "False []\n" * 3)


def others() -> list[str]:
    """Other Pythons on this machine, old ones first, each in its own environment."""
    found = [*glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python")), *glob.glob("/usr/bin/python[23]")]
    ours = os.path.realpath(sys.prefix)
    prefix = "import sys; print(sys.prefix)"
    kept = []
    for path in found:
        try:
            theirs = subprocess.run([path, "-c", prefix], capture_output=True, text=True, timeout=PATIENCE, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        if os.path.realpath(theirs.stdout.strip()) != ours:
            kept.append(path)
    return kept


OTHER = """
import os, sys
site = sys.modules.get("sitecustomize")
names = [name for name in sys.modules if name.split(".")[0] in ("llmwatch", "requests", "urllib3")]
file = (getattr(site, "__file__", None) or "").rstrip("c")
print(sorted(os.environ), os.environ.get("PYTHONPATH"), sys.path, file, names)
"""


@pytest.mark.parametrize("theirs", [False, True])
@pytest.mark.parametrize("given", [None, "", "/one"])
def test_another_python_starts_as_it_would_have(tmp_path: Path, given: str | None, theirs: bool) -> None:
    """A child in another environment, of any version, says nothing, sees no trace, and is counted."""
    pythons = others()
    if not pythons:
        pytest.skip("there is no other Python")
    does = f"for path in {pythons!r}:\n    print(path, flush=True)\n    subprocess.run([path, *words[1:]], check=True)"
    script = parent(tmp_path, does, OTHER)
    if theirs:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text("import sys\nsys.stdout.write('theirs ')\n")
        given = os.pathsep.join(filter(None, (given, str(tmp_path / "site"))))
    env = {} if given is None else {"PYTHONPATH": given}
    alone = python(script, "url", cwd=tmp_path, env=env)
    assert alone.code == 0, alone.err
    file = tmp_path / "summary.json"
    ended = run("run", "-q", "--json", str(file), script, "url", cwd=tmp_path, env={**env, "PYTHONUTF8": "1"})
    # The command itself is a Python that loads the other module, too.
    assert ended == Ended(0, ("theirs " if theirs else "") + alone.out)
    assert json.loads(file.read_text())["processes_unwatched"] == len(pythons)


def test_a_child_that_cannot_be_watched_starts_all_the_same(tmp_path: Path) -> None:
    """A package that cannot be imported leaves no trace in a child, and the child is counted."""
    does = "os.mkdir('broken'); open('broken/urllib3.py', 'w').write('1 / 0'); os.environ['PYTHONPATH'] = 'broken'"
    child = "import sys; print([name for name in sys.modules if name.split('.')[0] in ('llmwatch', 'requests')])"
    ended = run("run", parent(tmp_path, f"{does}\nsubprocess.run(words, check=True)", child), "url", cwd=tmp_path)
    says = "llmwatch: 1 Python process was not watched: in another environment, or before Python 3.10\n"
    assert ended == Ended(0, "[]\n", says)


def test_a_child_that_is_killed_is_counted(tmp_path: Path) -> None:
    """The summary has the call of a child that a signal kills afterwards.

    A call before ``os._exit`` is in it, too.
    """
    child = CHILD + "\n    import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    does = "subprocess.run(words)\nexecuted(lambda: (work.__globals__, __import__('child').ask(url), os._exit(0)))"
    with FaultServer("healthy") as server:
        ended = run("run", parent(tmp_path, does, child), server.chat_url, cwd=tmp_path)
    summary = "llmwatch: requests: 2 calls watched: 2 done; 0 resends\n"
    assert ended == Ended(0, f"{ANSWER}\n" * 2, summary)


def test_a_child_that_outlives_the_script_is_said(tmp_path: Path) -> None:
    """The summary does not wait for it; what it has done so far is counted."""
    child = CHILD + "\n    sys.stdin.read()\n"
    does = """
started = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(started.stdout.readline() + started.stdout.readline(), end="", flush=True)
"""
    with FaultServer("healthy") as server:
        script = parent(tmp_path, does.strip(), child)
        ended = run("run", script, server.chat_url, cwd=tmp_path)
    assert (ended.code, ended.out) == (0, ANSWER + "\n")
    assert ended.err == (
        "llmwatch: requests: 1 call watched: 1 done; 0 resends\n"
        "llmwatch: 1 process runs on; the calls that end later are not counted here\n"
    )


def test_a_program_executed_in_place_of_the_script_counts_on(tmp_path: Path) -> None:
    """Calls before an ``exec`` are in the summary of the program that follows, in one file."""
    file = tmp_path / "summary.json"
    with FaultServer("healthy") as server:
        script = parent(tmp_path, "work(url)\nos.execv(words[0], words)")
        ended = run("run", "--json", str(file), script, server.chat_url, cwd=tmp_path)
    assert ended == Ended(0, f"{ANSWER}\n" * 2, "llmwatch: requests: 2 calls watched: 2 done; 0 resends\n")
    document = json.loads(file.read_text())
    assert (document["complete"], document["processes"], document["processes_alive"]) == (True, 2, 0)


def test_incidents_of_children_go_to_the_same_log(tmp_path: Path) -> None:
    """The log that the variable names has the incidents of every process."""
    env: dict[str, Any] = {**LIMITS, "LLMWATCH_INCIDENT_LOG": str(tmp_path / "log")}
    with FaultServer(["silent", "healthy"]) as server:
        run("run", "-q", parent(tmp_path, WAYS["subprocess"]), server.chat_url, env=env, cwd=tmp_path)
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["outcome"] == "recovered"


ASYNC = """
import asyncio, sys, httpx
async def main():
    async with httpx.AsyncClient() as client:
        await client.post(sys.argv[1], json={"model": "any", "messages": [{"role": "user", "content": "Say it."}]})
asyncio.run(main())
"""


@pytest.mark.parametrize("captured", [False, True])
def test_a_child_says_what_is_not_watched_where_the_script_does(tmp_path: Path, captured: bool) -> None:
    """The line goes to the standard error of the script, and never to one that the script reads."""
    does = f"print(len(subprocess.run(words, stderr={'-1' if captured else None}).stderr or b''), flush=True)"
    with FaultServer("healthy") as server:
        ended = run("run", parent(tmp_path, does, ASYNC), server.chat_url, cwd=tmp_path)
    assert (ended.code, ended.out) == (0, "0\n")
    *first, last = ended.err.splitlines()
    assert len(first) == (not captured)
    assert last == "llmwatch: httpx: no call watched; 1 left alone (an async client)"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_what_a_worker_leaves_alone_is_counted(tmp_path: Path, method: str) -> None:
    """A worker of multiprocessing, which ends in its own way, adds what it left alone."""
    child = "import httpx\ndef ask(url):\n    httpx.get(url)\n"
    with FaultServer("healthy") as server:
        ended = run("run", parent(tmp_path, f"pool({method!r})", child), server.chat_url, cwd=tmp_path)
    assert ended == Ended(0, "", "llmwatch: httpx: no call watched; 1 left alone (not a model call)\n")


def test_the_folder_of_a_killed_run_goes_with_the_next_run(tmp_path: Path) -> None:
    """A run leaves no folder, and a killed one leaves it to the next run.

    That run removes no folder of a process that is alive.
    """
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = {"TMPDIR": str(temporary)}
    script = parent(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert run("run", script, "url", cwd=tmp_path, env=env).code == -signal.SIGKILL
    (left,) = temporary.iterdir()
    others = {left.name[: left.name.rindex("-", 0, left.name.rindex("-"))] + f"-{os.getpid()}-x", "llmwatch-run-x"}
    for name in others:
        (temporary / name).mkdir()
    assert run("run", parent(tmp_path, "pass"), "url", cwd=tmp_path, env=env) == Ended(0, "")
    assert {entry.name for entry in temporary.iterdir()} == others
