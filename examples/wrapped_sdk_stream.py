"""``llmwatch.iterate`` around the stream of an SDK client.

The client stays as it is, transport, time-outs and all. Needs ``pip install 'llmwatch[sdk]'``.
Run it: ``python examples/wrapped_sdk_stream.py``.
"""

from __future__ import annotations

import functools
from typing import Any

import openai

import llmwatch
from llmwatch import Limits, Retry, WatchTimeout
from llmwatch.faults import FaultServer


def ask(client: openai.OpenAI) -> Any:
    """What the user has already: a function that returns the SDK's stream."""
    messages: Any = [{"role": "user", "content": "What does a watchdog do?"}]
    return client.chat.completions.create(model="any", messages=messages, stream=True)


def scene(title: str, *scripts: str) -> None:
    print(f"\n{title}")
    # llmwatch does not see the SDK's sockets, nor what a silent call has done already. ``resend_with_tools`` says that
    # a second run is harmless; without it a silent call is not run again.
    retry = Retry(max_attempts=2, backoff=0, resend_with_tools=True)
    with FaultServer(scripts) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        said = ""
        try:
            with llmwatch.iterate(
                functools.partial(ask, client),
                limits=Limits(ttfb=1.0, first_content=1.0, stale=1.0),
                retry=retry,
            ) as chunks:
                for chunk in chunks:
                    said += chunk.choices[0].delta.content or "" if chunk.choices else ""
        except WatchTimeout as error:
            print(f"  WatchTimeout {error.limit}: {error}")
            recovery = error.recovery
            print(f"  {recovery.decision if recovery else None}: {recovery.reason if recovery else None}")
        print(f"  {said!r}")
        print(f"  requests at the provider: {len(server.requests)}")
        client.close()


def main() -> None:
    scene("Healthy:", "healthy")
    scene("Headers, then silence; then healthy:", "headers-then-silent", "healthy")
    scene("Silent in mid-sentence:", "stall-after-content:tokens=3", "healthy")


if __name__ == "__main__":
    main()
