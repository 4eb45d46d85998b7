"""An openai client whose calls cannot hang.

``llmwatch.sdk.openai`` stands in place of ``openai.OpenAI``, and nothing else is new.
Needs ``pip install 'llmwatch[sdk]'``. Run it: ``python examples/openai_sdk.py``.
"""

from __future__ import annotations

import openai

from llmwatch import Limits, LLMWatchError, sdk
from llmwatch.faults import FaultServer


def chat(client: openai.OpenAI) -> None:
    said = ""
    try:
        for chunk in client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "What does a watchdog do?"}], stream=True
        ):
            said += chunk.choices[0].delta.content or "" if chunk.choices else ""
    finally:
        print(f"  {said!r}")


def responses(client: openai.OpenAI) -> None:
    with client.responses.stream(model="any", input="What does a watchdog do?") as stream:
        print(f"  {stream.get_final_response().output_text!r}")


def scene(title: str, *scripts: str, responses_api: bool = False) -> None:
    print(f"\n{title}")
    limits = Limits(ttfb=1.0, first_content=1.5, stale=1.0)
    with FaultServer(scripts) as server:
        # base_url and api_key as for OpenAI itself; here the provider is one that goes wrong on purpose.
        with sdk.openai(limits=limits, base_url=f"{server.url}/v1", api_key="none") as client:
            try:
                if responses_api:
                    responses(client)
                else:
                    chat(client)
            except openai.APIError as error:  # what code on the SDK catches anyway; what we know is its cause
                cause = error.__cause__
                assert isinstance(cause, LLMWatchError)
                assert cause.recovery is not None
                print(f"  {type(error).__name__}, caused by {type(cause).__name__}: {error}")
                print(f"  {cause.recovery.decision}: {cause.recovery.message}")
        print(f"  requests at the provider: {len(server.requests)}")


def main() -> None:
    scene("Silent once, then healthy:", "silent", "healthy")
    scene("The same through Responses:", "headers-then-silent", "healthy", responses_api=True)
    scene("Too many requests, then healthy:", "retry-after:status=429,value=0.2", "healthy")
    scene("Silent in mid-sentence:", "stall-after-content:tokens=3", "healthy")
    scene("Ended in mid-sentence, as if that were all:", "eof-without-terminal:tokens=3", "healthy")


if __name__ == "__main__":
    main()
