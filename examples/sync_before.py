"""A script that streams a chat answer with plain requests; sync_after.py is the same on llmwatch.

    python examples/sync_before.py
    OPENAI_API_KEY=... python examples/sync_before.py https://api.openai.com/v1

The base URL may also stand in OPENAI_BASE_URL, the model in OPENAI_MODEL. Without one, a provider in this process goes
wrong on purpose, and the script hangs; it gives itself up after two seconds, so that you need not.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

import requests

from llmwatch.faults import FaultServer

BODY: dict[str, Any] = {
    "model": os.environ.get("OPENAI_MODEL", "gpt-4.1-mini"),
    "stream": True,
    "messages": [{"role": "user", "content": "What does a watchdog do? One sentence."}],
}
PATIENCE = 2.0  # seconds until this script gives itself up


def ask(url: str, headers: dict[str, str], timeout: float | None = None) -> None:
    with requests.post(url, json=BODY, headers=headers, stream=True, timeout=timeout) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith(b"data: ") and line != b"data: [DONE]":
                for choice in json.loads(line[len(b"data: ") :])["choices"]:
                    print(choice["delta"].get("content") or "", end="", flush=True)
    print()


def hang(title: str, script: str, timeout: float | None) -> None:
    """The same call while the provider plays ``script``, given up from outside: nothing inside ends it."""

    def call() -> None:
        try:
            ask(server.chat_url, {}, timeout)
        except requests.RequestException as error:
            outcome.append(error)

    print(f"\n{title}")
    outcome: list[requests.RequestException] = []
    with FaultServer(script) as server:
        worker = threading.Thread(target=call, daemon=True)
        began = time.monotonic()
        worker.start()
        worker.join(PATIENCE)
        waited = time.monotonic() - began
        if worker.is_alive():
            print(f"  still waiting after {waited:.1f} s, and not a word came: given up from outside")
        else:
            print(f"  ended after {waited:.1f} s: {outcome or 'answered'}")
    worker.join()  # the server has gone, which ends the call


def main() -> None:
    base_url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("OPENAI_BASE_URL", "")
    if base_url:
        key = os.environ.get("OPENAI_API_KEY", "")
        ask(f"{base_url.rstrip('/')}/chat/completions", {"Authorization": f"Bearer {key}"})
        return
    hang("The provider accepts the request and says nothing; no timeout, the default of requests:", "silent", None)
    hang("The provider sends pings and nothing else; timeout=1, which each ping resets:", "keepalive-only", 1.0)


if __name__ == "__main__":
    main()
