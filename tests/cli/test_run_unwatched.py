"""What ``llmwatch run`` says of calls that it does not watch, and its summary for programs."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from llmwatch.faults import FaultServer
from tests.cli.running import Ended, run, started
from tests.cli.times import PATIENCE

BODY = '{"model": "any", "messages": [{"role": "user", "content": "Say it."}]}'
HTTPX = f"""
import asyncio, json, sys, LIBRARY
async def main():
    async with LIBRARY.AsyncClient() as client:
        for _ in range(2):
            print((await client.post(sys.argv[1], json={BODY})).status_code, flush=True)
asyncio.run(main())
"""
AIOHTTP = f"""
import asyncio, sys, aiohttp
async def main():
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.post(sys.argv[1], json={BODY}) as response:
                print(response.status, flush=True)
asyncio.run(main())
"""
OPENAI = """
import asyncio, sys, openai
async def main():
    client = openai.AsyncOpenAI(api_key="k", base_url=sys.argv[1].removesuffix("/chat/completions"))
    for _ in range(2):
        await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Say it."}])
        print(200, flush=True)
asyncio.run(main())
"""
SCRIPTS = {
    "httpx": HTTPX.replace("LIBRARY", "httpx"),
    "httpx2": HTTPX.replace("LIBRARY", "httpx2"),
    "aiohttp": AIOHTTP,
    "openai": OPENAI,
}
ASKS = f"""
import os, sys, time, requests
requests.post(sys.argv[1], json={BODY}, timeout=50)
"""


def written(folder: Path, text: str) -> str:
    """A script with this text."""
    path = folder / "script.py"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_async_client_is_named_at_once_and_counted(tmp_path: Path, name: str) -> None:
    """The first call is named with a remedy, before the script ends; the summary has all calls."""
    with FaultServer("healthy") as server:
        ended = run("run", written(tmp_path, SCRIPTS[name]), server.chat_url)
        assert len(server.requests) == 2
    library = "httpx2" if name == "openai" else name
    first, last = ended.err.splitlines()
    assert (ended.code, ended.out) == (0, "200\n" * 2)
    assert first.startswith(f"llmwatch: a model call through {library} is not watched: an async client. ")
    assert last == f"llmwatch: {library}: no call watched; 2 left alone (an async client)"


def test_the_line_comes_before_the_answer(tmp_path: Path) -> None:
    """The line is on standard error while the call still waits."""
    with (
        FaultServer("silent") as server,
        started("run", written(tmp_path, SCRIPTS["httpx"]), server.chat_url) as process,
    ):
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"llmwatch: a model call through httpx is not watched: ")
        assert process.poll() is None


def test_quiet_says_nothing_of_it(tmp_path: Path) -> None:
    """``--quiet`` leaves standard error alone, and the file has the counts."""
    file = tmp_path / "summary.json"
    with FaultServer("healthy") as server:
        ended = run("run", "-q", "--json", str(file), written(tmp_path, SCRIPTS["httpx"]), server.chat_url)
        assert ended == Ended(0, "200\n" * 2, "")
        assert run("run", "-q", written(tmp_path, SCRIPTS["httpx"]), server.chat_url) == ended
    assert json.loads(file.read_text())["libraries"]["httpx"]["left_alone"] == {"an async client": 2}


def test_other_requests_are_counted_and_not_said(tmp_path: Path) -> None:
    """A request that is no model call stands in the summary alone."""
    script = written(tmp_path, "import sys, httpx; httpx.get(sys.argv[1])")
    with FaultServer("healthy") as server:
        ended = run("run", script, server.chat_url)
    assert ended == Ended(0, "", "llmwatch: httpx: no call watched; 1 left alone (not a model call)\n")


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_dropped_response_counts(tmp_path: Path, library: str) -> None:
    """A stream that the script drops unread, without closing it, is a cancelled call."""
    text = f"""
import gc, sys, {library}
client = {library}.Client()
body = {{**{BODY}, "stream": True}}
response = client.send(client.build_request("POST", sys.argv[1], json=body), stream=True)
print(response.status_code)
del response
gc.collect()
"""
    with FaultServer("stall-after-content") as server:
        ended = run("run", written(tmp_path, text), server.chat_url)
    assert (ended.code, ended.out) == (0, "200\n")
    assert ended.err.startswith(f"llmwatch: {library}: 1 call watched: 1 cancelled; 0 resends\n")


ENDS = {
    "end": ("", 0),
    "exit": ("sys.exit(7)", 7),
    "error": ("1 / 0", 1),
    "interrupt": ("import signal; signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_the_file_is_written_however_the_script_ends(tmp_path: Path, name: str, quiet: tuple[str, ...]) -> None:
    """The file is one whole object after an exit, an error and Ctrl-C, wherever the script has gone."""
    rest, code = ENDS[name]
    (tmp_path / "elsewhere").mkdir()
    script = written(tmp_path, f"{ASKS}os.chdir({str(tmp_path / 'elsewhere')!r})\n{rest}")
    with FaultServer("healthy") as server:
        ended = run("run", "--json=summary.json", *quiet, script, server.chat_url, cwd=tmp_path)
    assert ended.code == code
    document = json.loads((tmp_path / "summary.json").read_text())
    assert (document["complete"], document["libraries"]["requests"]["done"]) == (True, 1)
    assert ("llmwatch: requests: 1 call watched: 1 done; 0 resends\n" in ended.err) == (not quiet)


@pytest.mark.parametrize("how", ["signal", "os._exit"])
def test_a_process_that_is_killed_leaves_its_mark(tmp_path: Path, how: str) -> None:
    """After a signal that kills, and ``os._exit``, the file says that the run did not end by itself."""
    file = tmp_path / "summary.json"
    file.write_text('{"complete": true, "of": "an earlier run"}')
    last = "os._exit(3)" if how == "os._exit" else "print('ready', flush=True); time.sleep(60)"
    with FaultServer("healthy") as server:
        script = written(tmp_path, ASKS + last)
        with started("run", "--json", str(file), script, server.chat_url) as process:
            if how == "signal":
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                process.terminate()
            assert process.wait(PATIENCE) == (-signal.SIGTERM if how == "signal" else 3)
    assert json.loads(file.read_text()) == {"schema": 1, "complete": False}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--json", "{folder}"), "Is a directory"),
        (("--json", "{folder}/none/such"), "No such file or directory"),
        (("--json", "-"), "name a file"),
        (("--json",), "requires an argument"),
    ],
)
def test_a_file_that_cannot_be_written_runs_no_script(tmp_path: Path, words: Any, says: str) -> None:
    """The file is tried before the script."""
    script = written(tmp_path, "print('ran')")
    given = [word.format(folder=tmp_path) for word in words]
    ended = run("run", *given, *([script] if len(words) > 1 else []))
    assert (ended.code, ended.out) == (2, "")
    assert says in " ".join(ended.err.split())


CUSTOM = f"""
import sys, httpx, urllib3
class Sending(httpx.BaseTransport):
    def handle_request(self, request):
        with urllib3.HTTPConnectionPool(request.url.host, request.url.port) as pool:
            sent = pool.urlopen("POST", "/v1/chat/completions", request.read(), dict(request.headers))
            return httpx.Response(sent.status, content=sent.data)
with httpx.Client(transport=Sending()) as client:
    print(client.post(sys.argv[1], json={BODY}).status_code)
"""


def test_connections_of_the_scripts_own_are_named_and_counted(tmp_path: Path) -> None:
    """A transport of another kind, and the pool without a manager to which it sends."""
    with FaultServer("healthy") as server:
        ended = run("run", written(tmp_path, CUSTOM), server.chat_url)
        assert len(server.requests) == 1
    assert (ended.code, ended.out) == (0, "200\n")
    transport, pool, *summary = ended.err.splitlines()
    assert transport.startswith("llmwatch: a model call through httpx is not watched: a custom transport. ")
    assert pool.startswith("llmwatch: a model call through urllib3 is not watched: a pool without a manager. ")
    assert summary == [
        "llmwatch: httpx: no call watched; 1 left alone (a custom transport)",
        "llmwatch: urllib3: no call watched; 1 left alone (a pool without a manager)",
    ]
