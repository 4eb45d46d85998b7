"""``collect``: the whole answer at once. A tool call is only among it when it is complete. Run it:
``python examples/collect_tools.py``.
"""

from __future__ import annotations

from llmwatch import Client
from llmwatch.faults import FaultServer

BODY = {
    "model": "any",
    "stream": True,
    "messages": [{"role": "user", "content": "What is the weather going to be in Malmö?"}],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "look_up",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            },
        }
    ],
}


def main() -> None:
    # The first answer breaks off in the middle of the tool call's arguments, the second is whole.
    with FaultServer(["tool-call-cut:cut=reset", "tool-arguments-only:count=4"]) as server, Client() as client:
        answer = client.collect("POST", server.chat_url, json=BODY)
        for call in answer.tool_calls:
            print(f"tool call {call.id}: {call.name}({call.json()})")
        for attempt in answer.record.attempts:
            print(f"attempt {attempt.number}: {attempt.close_reason}, pieces of a call: {attempt.events['tool_input']}")
        for decision in answer.record.decisions:
            print(f"after attempt {decision.attempt}: {decision.decision} ({decision.reason}), {decision.outcome}")
        print(f"requests at the provider: {len(server.requests)}")


if __name__ == "__main__":
    main()
