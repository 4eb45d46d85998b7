"""An anthropic client whose calls cannot hang.

``llmwatch.sdk.anthropic`` stands in place of ``anthropic.Anthropic``, and nothing else is new.
Needs ``pip install 'llmwatch[sdk]'``. Run it: ``python examples/anthropic_sdk.py``.
"""

from __future__ import annotations

import anthropic

from llmwatch import Limits, LLMWatchError, Retry, sdk
from llmwatch.faults import FaultServer


def ask(client: anthropic.Anthropic) -> None:
    said = ""
    try:
        with client.messages.stream(
            model="any", max_tokens=100, messages=[{"role": "user", "content": "What does a watchdog do?"}]
        ) as stream:
            for text in stream.text_stream:
                said += text
    finally:
        print(f"  {said!r}")


def scene(title: str, *scripts: str) -> None:
    print(f"\n{title}")
    limits = Limits(ttfb=1.0, first_content=1.5, stale=1.0)
    with FaultServer(scripts) as server:
        # base_url and api_key as for Anthropic itself; here the provider is one that goes wrong on purpose.
        with sdk.anthropic(limits=limits, retry=Retry(backoff=0.1), base_url=server.url, api_key="none") as client:
            try:
                ask(client)
            except anthropic.APIError as error:  # in mid-stream too, where the SDK by itself raises httpx's errors
                cause = error.__cause__
                assert isinstance(cause, LLMWatchError)
                assert cause.recovery is not None
                print(f"  {type(error).__name__}, caused by {type(cause).__name__}")
                print(f"  {cause}")
                print(f"  {cause.recovery.decision}: {cause.recovery.message}")
        print(f"  requests at the provider: {len(server.requests)}")


def main() -> None:
    scene("Silent once, then healthy:", "silent", "healthy")
    scene("Overloaded once, before anything was said:", "error-event", "healthy")
    scene("Overloaded in mid-sentence:", "error-event:tokens=3", "healthy")
    scene("Silent in mid-sentence:", "stall-after-content:tokens=3", "healthy")
    scene("Overloaded every time:", "status:status=529")


if __name__ == "__main__":
    main()
