"""Untouched scripts on botocore under ``llmwatch run``, and when botocore is watched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER
from tests.cli.running import run
from tests.cli.times import LIMIT
from tests.hooks.bedrock import use_dummy_keys

LIMITS = {"LLMWATCH_TTFB_TIMEOUT_SECONDS": str(LIMIT), "LLMWATCH_STALE_TIMEOUT_SECONDS": str(LIMIT)}
CLIENT = """
import sys, botocore.session
client = botocore.session.get_session().create_client("bedrock-runtime", endpoint_url=sys.argv[1])
messages = [{"role": "user", "content": [{"text": "?"}]}]
asked = {"modelId": "anthropic.claude-3-haiku-20240307-v1:0", "messages": messages}
"""
STREAM = """
said = client.converse_stream(**asked)["stream"]
print("".join(event.get("contentBlockDelta", {}).get("delta", {}).get("text", "") for event in said))
"""
PLAIN = """
print(client.converse(**asked)["output"]["message"]["content"][0]["text"])
"""
CAREFUL = """
import botocore.exceptions
try:
    for event in client.converse_stream(**asked)["stream"]:
        print(*event)
except botocore.exceptions.ReadTimeoutError as error:
    print(error.limit)
"""


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dummy keys, for the child too."""
    use_dummy_keys(monkeypatch.setenv)


def script_of(folder: Path, text: str) -> str:
    """The path of a script that makes a client, then runs ``text``."""
    script = folder / "script.py"
    script.write_text(CLIENT + text)
    return str(script)


@pytest.mark.parametrize("text", [STREAM, PLAIN], ids=["stream", "plain"])
@pytest.mark.parametrize("script", ["silent", "headers-then-silent"])
def test_an_untouched_script_recovers(tmp_path: Path, text: str, script: str) -> None:
    """A provider that is silent at first costs a second request, and the script sees its answer."""
    with FaultServer([script, "healthy"]) as server:
        ended = run("run", script_of(tmp_path, text), server.url, env=LIMITS)
        assert len(server.requests) == 2
    assert (ended.code, ended.out) == (0, f"{ANSWER}\n")
    assert "llmwatch: botocore: 1 call watched: 1 recovered; 1 resend\n" in ended.err


def test_a_stall_in_mid_stream_frees_the_script(tmp_path: Path) -> None:
    """The script's own handler of botocore's error runs after the events; nothing is resent."""
    with FaultServer("stall-after-content") as server:
        ended = run("run", script_of(tmp_path, CAREFUL), server.url, env=LIMITS)
        assert len(server.requests) == 1
    lines = ended.out.splitlines()
    assert (ended.code, lines[0], lines[-1]) == (0, "messageStart", "stale")
    assert "contentBlockDelta" in lines
    assert "llmwatch: botocore: 1 call watched: 1 failed (stale); 0 resends\n" in ended.err


def test_botocore_is_watched_from_its_import_on() -> None:
    """``install`` loads nothing of botocore, which is watched once it is imported.

    The finder goes with the import, and ``uninstall`` puts everything back.
    """
    program = (
        "import sys, llmwatch\n"
        "def finders():\n"
        "    return sum(type(finder).__module__.startswith('llmwatch') for finder in sys.meta_path)\n"
        "llmwatch.install(libraries=['botocore'])\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'botocore']\n"
        "assert finders() == 2\n"
        "import botocore.session, botocore.endpoint\n"
        "assert finders() == 0\n"
        "made = vars(botocore.httpsession.URLLib3Session)['send']\n"
        "llmwatch.uninstall()\n"
        "assert vars(botocore.httpsession.URLLib3Session)['send'] is made.__wrapped__\n"
        "assert made.__wrapped__.__globals__['__name__'] == 'botocore.httpsession'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
