"""uvicorn, which closes a connection that was idle for as many seconds as the argument says.

Answers a POST with a chat completion, and anything else with the number of requests of each call and of connections.
Prints its address and ends with standard input.
"""

import json
import os
import socket
import sys
import threading
from collections import Counter

import uvicorn

CALLS, PEERS = Counter(), set()
DELTA = {"choices": [{"index": 0, "delta": {"content": "answered"}, "finish_reason": "stop"}]}


async def application(scope, receive, send):
    """An ASGI application."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    kind, parts = b"application/json", [json.dumps({"calls": CALLS, "connections": len(PEERS)}).encode()]
    if scope["method"] == "POST":
        CALLS[dict(scope["headers"])[b"x-call"].decode()] += 1
        PEERS.add(scope["client"])
        kind, parts = b"text/event-stream", [b"data: %b\n\n" % json.dumps(DELTA).encode(), b"data: [DONE]\n\n"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


def end():
    """End with standard input."""
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end, daemon=True).start()
listening = socket.create_server(("127.0.0.1", 0))
print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
settings = uvicorn.Config(application, timeout_keep_alive=float(sys.argv[1]), log_level="error", lifespan="off")
uvicorn.Server(settings).run([listening])
