"""Give a call up from another thread: its reader is free at once, and nothing more is sent. Run it:
``python examples/cancel_from_another_thread.py``.
"""

from __future__ import annotations

import threading
import time

from llmwatch import Cancelled, CancelToken, Client
from llmwatch.faults import FaultServer

BODY = {"model": "any", "stream": True, "messages": [{"role": "user", "content": "What does a watchdog do?"}]}


def main() -> None:
    pressed_at = 0.0
    token = CancelToken()

    def press_stop() -> None:
        nonlocal pressed_at
        pressed_at = time.monotonic()
        token.cancel()

    # It says three words and falls silent. The default limits would let the reader wait for minutes.
    with FaultServer("stall-after-content:tokens=3") as server, Client() as client:
        threading.Timer(0.7, press_stop).start()
        try:
            with client.stream("POST", server.chat_url, json=BODY, cancel=token) as stream:
                for event in stream:
                    print(event.text, end="", flush=True)
        except Cancelled as error:
            waited = (time.monotonic() - pressed_at) * 1000
            print(f"\ncancelled by the {error.by}, {waited:.0f} ms after the button; so far: {error.partial!r}")
        try:
            client.collect("POST", server.chat_url, json=BODY, cancel=token)
        except Cancelled:
            print("a token stays set: the next call that holds it ended before it began")
        print(f"requests at the provider: {len(server.requests)}")


if __name__ == "__main__":
    main()
