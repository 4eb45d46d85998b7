"""What does watching cost for each event?

``python -m tests.bench.pipeline [EVENTS] [RUNS]`` reads a saturated stream through llmwatch and through bare requests
+ sseclient-py + ``json.loads`` in the same run, alternating, and prints the medians and their ratio; the same for the
openai SDK as it comes, where it is installed (extra ``sdk``); then the hand-over latency (sent by the server to seen by
the caller) at 1,000 events a second, for llmwatch and bare.

The cost of an event is processor time, of all threads of this process, which other work on the machine hardly changes.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import requests
import sseclient

from llmwatch import Client
from tests.bench.server import running

BODY = {"model": "m", "stream": True}


def watched(client: Client, url: str) -> Iterator[str]:
    """The texts of a stream through llmwatch."""
    with client.stream("POST", url, json=BODY) as stream:
        for event in stream:
            if event.text:
                yield event.text


def bare(url: str) -> Iterator[str]:
    """The same inline, without a watchdog, reading what is there as llmwatch does."""
    response = requests.post(url, json=BODY, stream=True)

    def pieces() -> Iterator[bytes]:
        while data := response.raw.read1(65536):
            yield data

    for event in sseclient.SSEClient(pieces()).events():  # type: ignore[arg-type]
        if event.data != "[DONE]":
            yield json.loads(event.data)["choices"][0]["delta"]["content"]


def by_sdk(url: str) -> Callable[[], Iterator[str]] | None:
    """The same through the openai SDK on its own transport; ``None`` where it is not installed."""
    try:
        import openai
    except ImportError:
        return None
    client = openai.OpenAI(base_url=url.rpartition("/chat/")[0] or url, api_key="k", max_retries=0)

    def read() -> Iterator[str]:
        chunks = client.chat.completions.create(model="m", messages=[], stream=True)
        for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    return read


def seconds_per_event(read: Callable[[], Iterator[str]]) -> float:
    """Processor seconds, in reading a whole stream."""
    begin = time.process_time()
    count = sum(1 for _ in read())
    return (time.process_time() - begin) / count


def latency(read: Callable[[], Iterator[str]]) -> tuple[float, float]:
    """Median and 99th percentile, in seconds, from sent to seen (one machine, one monotonic clock)."""
    lags = sorted(time.monotonic() - float(text) for text in read())
    return statistics.median(lags), lags[int(len(lags) * 0.99)]


def main(events: int = 20_000, runs: int = 9) -> None:
    """Measure and print."""
    with Client() as client:
        with running("burst", events) as url:
            pairs = [
                (seconds_per_event(lambda: watched(client, url)), seconds_per_event(lambda: bare(url)))
                for _ in range(runs)
            ]
            sdk = by_sdk(url)
            sdk_seconds = [] if sdk is None else [seconds_per_event(sdk) for _ in range(min(runs, 3))]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        each = f"llmwatch {ours * 1e6:.2f} us, bare {theirs * 1e6:.2f} us of processor time an event"
        print(f"saturated: {each}, ratio {ratio:.2f} (median of {runs})")
        if sdk_seconds:
            slow = statistics.median(sdk_seconds)
            print(f"openai SDK: {slow * 1e6:.2f} us an event, llmwatch is {slow / ours:.1f} times as fast")
        with running("paced", 3000, 1000.0) as url:
            for name, read in (("llmwatch", lambda: watched(client, url)), ("bare", lambda: bare(url))):
                p50, p99 = latency(read)
                print(f"latency at 1,000 events/s, {name:<9} p50 {p50 * 1e3:.3f} ms, p99 {p99 * 1e3:.3f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
