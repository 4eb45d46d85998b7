"""The number of function calls of a call, which is the cost of the watch if nothing goes wrong."""

from __future__ import annotations

import json
from typing import Any

from llmwatch.faults import Script, steps
from tests.end_to_end.conftest import Serve
from tests.end_to_end.processes import child

MOST_ENTERED = 645
MOST_MODULES = 40
"""What one streamed call comes to today. Both only go down."""

CALLS = 7


def _chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


EVENTS = (
    _chunk({"role": "assistant", "content": ""}),
    _chunk({"content": "Hello"}),
    _chunk({"content": " world"}),
    _chunk({}, "stop"),
    b"data: [DONE]\n\n",
)


def test_a_streamed_call_enters_few_functions(serve: Serve) -> None:
    """A streamed call enters at most ``MOST_ENTERED`` functions of the package.

    These functions are in at most ``MOST_MODULES`` modules.

    The call is a Chat Completions stream of five events, read to its end through :meth:`llmwatch.Client.stream` on a
    connection that the call before has left in the pool, without retries, sinks or notices. Each event comes in a
    chunk of its own, and from the first content on only after the caller has seen the one before, so that caller and
    worker wait for each other at every event: this is the most that such a call can take.

    A function is entered when Python reports a ``call`` to the profiler: by a call, or where a generator goes on,
    comprehensions among them where the interpreter makes functions of these (before 3.12). Entries in the thread of the
    caller, of the worker and of the supervisor are counted. Functions that ``dataclasses`` generates stand in no file
    of the package, and are not.
    """
    # The caller gets the role with the first content.
    script = [steps.Chunk(EVENTS[0]), steps.Chunk(EVENTS[1])]
    for seen, event in enumerate(EVENTS[2:], start=2):
        script += [steps.WaitFor(str(seen)), steps.Chunk(event)]  # type: ignore[list-item]
    head = steps.Head(200, [("Content-Type", "text/event-stream"), ("x-request-id", "req_1")])
    server = serve(Script.of("short", head, *script, steps.End()))
    found = []
    with child("counts", url=server.chat_url, calls=CALLS) as caller:
        for _ in range(CALLS):
            for seen in range(1, len(EVENTS) + 1):
                assert "over" not in caller.says()
                server.gate(str(seen)).set()
                caller.go_on()
            for seen in range(1, len(EVENTS) + 1):
                server.gate(str(seen)).clear()
            found.append(caller.says())
    assert len(server.requests) == CALLS
    assert server.connections == 1
    # The first call connects. In the second the supervisor may wake, if it first looked when the first had connected:
    # from then on it sleeps until the end of a connect limit, ten seconds later.
    warm = found[2:]
    assert max(call["entered"] for call in warm) <= MOST_ENTERED, warm
    assert max(call["modules"] for call in warm) <= MOST_MODULES, warm
    # A profiler that misses a thread, or the package, would let everything pass.
    assert min(call["entered"] for call in warm) > MOST_ENTERED * 0.8, warm
