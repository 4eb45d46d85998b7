"""An agent that stays as it is: plain requests, no time-out, a retry loop of its own.

    python examples/legacy_agent.py
    OPENAI_API_KEY=... python examples/legacy_agent.py https://api.openai.com/v1
    OPENAI_API_KEY=... llmwatch run examples/legacy_agent.py https://api.openai.com/v1

The base URL may also stand in OPENAI_BASE_URL, the model in OPENAI_MODEL. Without one, a provider in this process
answers, and nothing goes wrong. A provider that goes silent holds the agent for ever: its loop asks again after a
failure, and silence is none. Under ``llmwatch run`` it is one. installed_agent.py is the same agent with
llmwatch.install().
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import requests

QUESTION = "What is the weather going to be in Malmö? Look it up."
ATTEMPTS = 3
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "The weather in a city; days are counted from today, which is 0.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "array", "items": {"type": "integer"}},
                },
            },
        },
    }
]

Message = dict[str, Any]


def look_up(city: str, days: list[int]) -> str:
    return f"{city}, {len(days)} days: rain."


def stream(session: requests.Session, url: str, messages: list[Message]) -> Message:
    """One request: the whole message, put together from its pieces."""
    model = os.environ.get("OPENAI_MODEL", "gpt-4.1-mini")
    body = {"model": model, "stream": True, "messages": messages, "tools": TOOLS}
    text = ""
    calls: dict[int, Message] = {}
    with session.post(url, json=body, stream=True) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if not line.startswith(b"data: ") or line == b"data: [DONE]":
                continue
            for choice in json.loads(line[len(b"data: ") :])["choices"]:
                text += choice["delta"].get("content") or ""
                for piece in choice["delta"].get("tool_calls") or []:
                    if piece.get("id"):
                        function = {"name": piece["function"]["name"], "arguments": ""}
                        calls[piece["index"]] = {"id": piece["id"], "type": "function", "function": function}
                    calls[piece["index"]]["function"]["arguments"] += piece["function"].get("arguments") or ""
    message: Message = {"role": "assistant", "content": text or None}
    return {**message, "tool_calls": list(calls.values())} if calls else message


def ask(session: requests.Session, url: str, messages: list[Message]) -> Message:
    """The same, again if it failed."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return stream(session, url, messages)
        except requests.RequestException as error:
            print(f"agent: attempt {attempt} failed ({type(error).__name__})", flush=True)
            if attempt == ATTEMPTS:
                raise
            time.sleep(0.1 * attempt)
    raise AssertionError("not reached")


def work(base_url: str) -> None:
    """Ask until the answer is no tool call any more."""
    url = f"{base_url.rstrip('/')}/chat/completions"
    messages: list[Message] = [{"role": "user", "content": QUESTION}]
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"
        while True:
            message = ask(session, url, messages)
            messages.append(message)
            if "tool_calls" not in message:
                print(f"agent: {message['content']}")
                return
            for call in message["tool_calls"]:
                found = look_up(**json.loads(call["function"]["arguments"]))
                print(f"agent: {call['function']['name']} found {found}", flush=True)
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": found})


def main() -> None:
    base_url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("OPENAI_BASE_URL", "")
    if base_url:
        work(base_url)
        return
    # The stand-in for a provider is all that the agent has of llmwatch.
    from llmwatch.faults import FaultServer

    with FaultServer(["tool-arguments-only:count=4", "healthy"]) as server:
        work(f"{server.url}/v1")
        print(f"requests at the provider: {len(server.requests)}")


if __name__ == "__main__":
    main()
