"""Untouched scripts on urllib3 and on ``urllib.request`` under ``llmwatch run``."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmwatch.faults import FaultServer
from tests.cli.running import run
from tests.cli.times import LIMIT

LIMITS = {
    "LLMWATCH_TTFB_TIMEOUT_SECONDS": str(LIMIT),
    "LLMWATCH_STALE_TIMEOUT_SECONDS": str(LIMIT),
    "LLMWATCH_BACKOFF_SECONDS": "0.01",
}
BODY = '{"model": "m", "stream": true, "messages": [{"role": "user", "content": "Say it."}]}'
URLLIB3 = f"""
import sys, urllib3
response = urllib3.request("POST", sys.argv[1], body='{BODY}', preload_content=False)
print(sum(b"content" in piece for piece in response.stream()) > 3)
"""
URLLIB = f"""
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], data=b'{BODY}') as response:
    print(sum(b"content" in line for line in response) > 3)
"""


@pytest.mark.parametrize("script", [URLLIB3, URLLIB], ids=["urllib3", "urllib.request"])
def test_an_untouched_script_recovers(tmp_path: Path, script: str) -> None:
    """A provider that is silent at first costs a second request, and the script sees its answer."""
    file = tmp_path / "script.py"
    file.write_text(script)
    with FaultServer(["silent", "healthy"]) as server:
        ended = run("run", str(file), server.chat_url, env=LIMITS)
        assert len(server.requests) == 2
    assert (ended.code, ended.out) == (0, "True\n")
