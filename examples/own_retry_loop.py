"""Your own retry loop around llmwatch: it catches the ``TimeoutError`` and decides by the error.

Run it: ``python examples/own_retry_loop.py``.
"""

from __future__ import annotations

from llmwatch import Client, Limits, Retry, WatchTimeout
from llmwatch.faults import FaultServer

BODY = {"model": "any", "stream": True, "messages": [{"role": "user", "content": "What does a watchdog do?"}]}
ATTEMPTS = 3


def ask(client: Client, url: str) -> str:
    """The answer, or as much of it as came before the provider fell silent."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with client.stream("POST", url, json=BODY) as stream:
                return "".join(event.text for event in stream)
        except WatchTimeout as error:  # a TimeoutError, so a loop that catches that needs no change
            print(f"  attempt {attempt}: killed at {error.limit} in phase {error.phase} after {error.elapsed:.1f} s")
            recovery = error.recovery
            assert recovery is not None
            print(f"    retryable: {error.retryable}; safe: {recovery.safe} ({recovery.reason}): {recovery.message}")
            if error.partial:
                # This much has been seen; asking again would say it twice, and be billed twice.
                return error.partial
            # retryable: could asking again work; safe: would it repeat nothing.
            if not (error.retryable and recovery.safe) or attempt == ATTEMPTS:
                raise
    raise AssertionError("not reached")


def scene(title: str, *scripts: str) -> None:
    print(f"\n{title}")
    # Retry.none(): llmwatch leaves the resends to this loop, and a failure comes straight here.
    limits = Limits(ttfb=1.0, first_content=1.5, stale=1.0)
    with FaultServer(scripts) as server, Client(limits=limits, retry=Retry.none()) as client:
        try:
            print(f"  answer: {ask(client, server.chat_url)!r}")
        except TimeoutError as error:
            print(f"  given up: {error}")
        print(f"  requests at the provider: {len(server.requests)}")


def main() -> None:
    scene("Silent once, then healthy:", "silent", "healthy")
    scene("Silent in mid-sentence:", "stall-after-content:tokens=3", "healthy")
    scene("Nothing but pings:", "keepalive-only", "healthy")
    scene("Silent every time:", "silent")


if __name__ == "__main__":
    main()
