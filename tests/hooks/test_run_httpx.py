"""Untouched scripts on httpx, httpx2 and the SDKs under ``llmwatch run``.

Further tests check what an import of llmwatch loads.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER
from tests.cli.running import Ended, run
from tests.cli.times import LIMIT

LIMITS = {
    "LLMWATCH_TTFB_TIMEOUT_SECONDS": str(LIMIT),
    "LLMWATCH_STALE_TIMEOUT_SECONDS": str(LIMIT),
    "LLMWATCH_BACKOFF_SECONDS": "0.01",
}
LIBRARY = """
import sys, {0}
body = {{"model": "m", "stream": True, "messages": [{{"role": "user", "content": "Say it."}}]}}
with {0}.stream("POST", sys.argv[1] + "/v1/chat/completions", json=body, timeout=60) as response:
    print(sum(b"content" in line.encode() for line in response.iter_lines()) > 3)
"""
OPENAI = """
import sys, openai
client = openai.OpenAI(api_key="k", base_url=sys.argv[1] + "/v1")
said = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Say it."}], stream=True)
print("".join(choice.delta.content or "" for chunk in said for choice in chunk.choices))
"""
ANTHROPIC = """
import sys, anthropic
client = anthropic.Anthropic(api_key="k", base_url=sys.argv[1])
with client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "Say it."}]) as said:
    print("".join(said.text_stream))
"""
SCRIPTS = {
    "httpx": (LIBRARY.format("httpx"), "openai-chat", "True"),
    "httpx2": (LIBRARY.format("httpx2"), "openai-chat", "True"),
    "openai": (OPENAI, "openai-chat", ANSWER),
    "anthropic": (ANTHROPIC, "anthropic", ANSWER),
}
RECOVERED = "llmwatch: {}: 1 call watched: 1 recovered; 1 resend\n"
HINT = "llmwatch: 1 call lost an attempt; LLMWATCH_INCIDENT_LOG=FILE keeps the records\n"


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_untouched_script_recovers(tmp_path: Path, name: str) -> None:
    """A provider that is silent at first costs a second request, and the script sees its answer."""
    text, shape, answer = SCRIPTS[name]
    script = tmp_path / "script.py"
    script.write_text(text)
    with FaultServer(["silent", "healthy"], shape=shape) as server:
        ended = run("run", str(script), server.url, env=LIMITS)
        assert len(server.requests) == 2
    defaults = "60 s in 1 call" if "httpx" in name else "600 s in 1 call, 5 s in 1 call"
    aside = f"llmwatch: timeout= of the script or its library was set aside: {defaults}\n"
    library = "httpx" if name == "httpx" else "httpx2"
    assert ended == Ended(0, f"{answer}\n", RECOVERED.format(library) + HINT + aside)


def test_a_stall_in_mid_stream_frees_the_script(tmp_path: Path) -> None:
    """The SDK raises its own error after the text that had come; nothing is resent."""
    script = tmp_path / "script.py"
    script.write_text(OPENAI)
    with FaultServer("stall-after-content") as server:
        ended = run("run", str(script), server.url, env=LIMITS)
        assert len(server.requests) == 1
    assert ended.code == 1
    assert "openai.APITimeoutError: Request timed out." in ended.err
    assert "llmwatch: httpx2: 1 call watched: 1 failed (stale); 0 resends\n" in ended.err


def test_nothing_is_imported_for_it() -> None:
    """Neither importing llmwatch nor installing it loads a library or its core."""
    program = (
        "import sys, llmwatch; llmwatch.install(); llmwatch.uninstall(); llmwatch.install();"
        " print(sorted(name for name in sys.modules if name.split('.')[0] in"
        " ('httpx', 'httpx2', 'httpcore', 'httpcore2', 'openai', 'anthropic', 'botocore')))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_a_library_that_comes_later_is_watched() -> None:
    """A library that is imported after ``install`` is watched from its import on.

    The finder is gone then, and ``uninstall`` puts everything back.
    """
    program = (
        "import sys, llmwatch\n"
        "finders = len(sys.meta_path)\n"
        "llmwatch.install()\n"
        "assert len(sys.meta_path) == finders + 4\n"
        "import httpx\n"
        "assert len(sys.meta_path) == finders + 3\n"
        "made = vars(httpx.HTTPTransport)['handle_request']\n"
        "llmwatch.uninstall()\n"
        "assert len(sys.meta_path) == finders\n"
        "assert vars(httpx.HTTPTransport)['handle_request'] is made.__wrapped__\n"
        "assert made.__wrapped__.__module__ == 'httpx._transports.default'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
