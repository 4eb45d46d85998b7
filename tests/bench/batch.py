"""What does a short outage cost a batch? Prompts lost, requests made, seconds taken.

``python -m tests.bench.batch [PROMPTS]`` sends that many (200 unless given) over 16 threads on one client with the
defaults of ``Retry`` to a server that is healthy for 20 requests, then fails for 24, then is healthy: by 429 with
``Retry-After: 1``, by silence (``ttfb`` is 0.5 s), and by 503.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from llmwatch import Client, Limits, LLMWatchError
from llmwatch.faults import FaultServer

OUTAGES = ("retry-after:value=1", "silent", "status:status=503")
THREADS = 16


def batch(outage: str, prompts: int) -> tuple[int, int, float]:
    """Prompts that were lost, requests that were made, and seconds."""
    lost: list[LLMWatchError] = []
    began = time.monotonic()
    with FaultServer(["healthy"] * 20 + [outage] * 24 + ["healthy"]) as server:
        with Client(limits=Limits(ttfb=0.5)) as client, ThreadPoolExecutor(THREADS) as pool:

            def one(number: int) -> None:
                try:
                    client.collect("POST", server.chat_url, json={"stream": True, "model": "m"})
                except LLMWatchError as error:
                    lost.append(error)

            list(pool.map(one, range(prompts)))
        return len(lost), len(server.requests), time.monotonic() - began


def main(prompts: int = 200) -> None:
    """Print one line for each outage."""
    for outage in OUTAGES:
        lost, requests, seconds = batch(outage, prompts)
        print(f"{outage:<20} lost {lost:3} of {prompts}, {requests} requests, {seconds:.1f} s")


if __name__ == "__main__":
    main(*(int(one) for one in sys.argv[1:]))
