"""A script that streams a chat answer with plain requests, and one line by which it cannot hang.

    python examples/requests_script.py
    OPENAI_API_KEY=... python examples/requests_script.py https://api.openai.com/v1

The base URL may also stand in OPENAI_BASE_URL, the model in OPENAI_MODEL. Without one, a provider in this process is
silent when it is first asked. LLMWATCH_ variables set the limits: nothing of them stands in the script.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import requests

import llmwatch
from llmwatch.faults import FaultServer

BODY: dict[str, Any] = {
    "model": os.environ.get("OPENAI_MODEL", "gpt-4.1-mini"),
    "stream": True,
    "messages": [{"role": "user", "content": "What does a watchdog do? One sentence."}],
}


def ask(session: requests.Session, base_url: str) -> None:
    with session.post(f"{base_url.rstrip('/')}/chat/completions", json=BODY, stream=True) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith(b"data: ") and line != b"data: [DONE]":
                for choice in json.loads(line[len(b"data: ") :])["choices"]:
                    print(choice["delta"].get("content") or "", end="", flush=True)
    print()


def main() -> None:
    session = requests.Session()
    llmwatch.mount(session)  # the one line; llmwatch.Session() in place of requests.Session() does the same
    base_url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("OPENAI_BASE_URL", "")
    if base_url:
        session.headers["Authorization"] = f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"
        ask(session, base_url)
        return
    # A limit of a demonstration: the defaults leave a provider minutes.
    os.environ.setdefault("LLMWATCH_TTFB_TIMEOUT_SECONDS", "0.5")
    with FaultServer(["silent", "healthy"]) as server:
        ask(session, f"{server.url}/v1")
        print(f"requests at the provider: {len(server.requests)}")


if __name__ == "__main__":
    main()
