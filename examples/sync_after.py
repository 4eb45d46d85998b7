"""The script of sync_before.py on llmwatch: the answer, or what went wrong, but never a hang.

    python examples/sync_after.py
    OPENAI_API_KEY=... python examples/sync_after.py https://api.openai.com/v1

The base URL may also stand in OPENAI_BASE_URL, the model in OPENAI_MODEL. Without one, a provider in this process goes
wrong on purpose.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from llmwatch import Client, Limits, LLMWatchError, Stream
from llmwatch.faults import FaultServer

BODY: dict[str, Any] = {
    "model": os.environ.get("OPENAI_MODEL", "gpt-4.1-mini"),
    "stream": True,
    "messages": [{"role": "user", "content": "What does a watchdog do? One sentence."}],
}


def ask(client: Client, url: str, headers: dict[str, str]) -> Stream:
    with client.stream("POST", url, json=BODY, headers=headers) as stream:
        for event in stream:
            print(event.text, end="", flush=True)
    print()
    return stream


def recover(title: str, *scripts: str) -> None:
    """The same call to a provider that plays one of the ``scripts`` for each request."""
    print(f"\n{title}")
    # Limits of a demonstration: the defaults leave a provider minutes.
    with FaultServer(scripts) as server, Client(limits=Limits(ttfb=1.0, first_content=1.5)) as client:
        try:
            record = ask(client, server.chat_url, {}).record
            assert record is not None
            for attempt in record.attempts:
                print(f"  attempt {attempt.number}: {attempt.close_reason} after {attempt.elapsed:.2f} s")
        except LLMWatchError as error:
            print(f"  {type(error).__name__}: {error}")
        print(f"  requests at the provider: {len(server.requests)}")


def main() -> None:
    base_url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("OPENAI_BASE_URL", "")
    if base_url:
        key = os.environ.get("OPENAI_API_KEY", "")
        with Client() as client:
            ask(client, f"{base_url.rstrip('/')}/chat/completions", {"Authorization": f"Bearer {key}"})
        return
    recover("The provider accepts the request and says nothing; the second time it answers:", "silent", "healthy")
    recover("The provider sends pings and nothing else:", "keepalive-only")


if __name__ == "__main__":
    main()
