"""llama.cpp's own server with a random model, in each wire that it speaks.

The build is that of xllamacpp 2026.10.11549.

It has one slot: a call that comes while another is answered waits for it, without a byte, headers included.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from llmwatch import Client, Limits, ProviderError, Retry, WatchTimeout
from tests.real.running import PROGRAMS, SOON, STARTING, Servers, server

MESSAGES = [{"role": "user", "content": "Hello"}]
TOKENS = 24
ENDLESS = {"messages": MESSAGES, "stream": True, "max_tokens": 10_000_000, "ignore_eos": True, "model": "tiny"}
WIRES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": TOKENS},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": TOKENS},
    "/v1/responses": {"input": "Hello", "max_output_tokens": TOKENS},
    "/completion": {"prompt": "Hello", "n_predict": TOKENS},
}
FIXED = {"model": "tiny", "temperature": 0, "ignore_eos": True, "seed": 15}


@pytest.fixture(scope="module")
def url(servers: Servers) -> Iterator[str]:
    """The server, with its model loaded."""
    servers.package("xllamacpp")
    servers.package("gguf")
    with server(servers.python, str(PROGRAMS / "model.py")) as found:
        yield found


def idle(url: str) -> bool:
    """Whether no slot works."""
    slots = requests.get(f"{url}/slots", timeout=STARTING).json()
    return not any(slot["is_processing"] for slot in slots)


def wait_until_idle(url: str) -> None:
    """Returns once no slot works."""
    until = time.monotonic() + STARTING
    while not idle(url):
        assert time.monotonic() < until, "the server still generates"
        time.sleep(0.01)


@pytest.mark.parametrize("path", WIRES)
def test_each_wire_is_read_to_its_end(url: str, path: str) -> None:
    """The text is that of the same request without a stream; the model also says bytes that no text has."""
    body = {**FIXED, **WIRES[path]}
    with Client(retry=Retry.none()) as client:
        answer = client.collect("POST", url + path, json={**body, "stream": True})
        plain = client.request("POST", url + path, json=body).json()
    assert answer.end == "terminal"
    assert len(answer.record.attempts) == 1
    assert answer.text
    assert answer.text in _texts(plain)
    # In its Responses, the answer that ran out of tokens is "completed".
    assert answer.cut == (path != "/v1/responses")


def _texts(found: Any) -> list[str]:
    """Every string in a document."""
    if isinstance(found, dict):
        return [text for value in found.values() for text in _texts(value)]
    if isinstance(found, list):
        return [text for value in found for text in _texts(value)]
    return [found] if isinstance(found, str) else []


def test_ending_a_call_ends_the_generation(url: str) -> None:
    with Client() as client:
        with client.stream("POST", f"{url}/v1/chat/completions", json=ENDLESS) as stream:
            next(iter(stream))
            assert not idle(url)
        wait_until_idle(url)


def test_a_call_behind_another_hears_nothing_and_is_resent(url: str) -> None:
    path = f"{url}/v1/chat/completions"
    retry = Retry(max_attempts=2, backoff=0, budget=0, breaker=0)
    with Client() as first, Client(retry=retry) as second:
        with first.stream("POST", path, json=ENDLESS) as stream:
            next(iter(stream))
            with pytest.raises(WatchTimeout) as caught:
                second.collect("POST", path, json={**ENDLESS, "max_tokens": 1}, limits=Limits(ttfb=SOON))
        assert caught.value.limit == "ttfb"
        assert [attempt.timings.headers for attempt in caught.value.record.attempts] == [None, None]
        wait_until_idle(url)


def test_a_prompt_that_does_not_fit_is_refused_once(url: str) -> None:
    body = {**FIXED, "stream": True, "messages": [{"role": "user", "content": "too long " * 200}]}
    with Client() as client, pytest.raises(ProviderError) as caught:
        client.collect("POST", f"{url}/v1/chat/completions", json=body)
    assert (caught.value.status, caught.value.type) == (400, "exceed_context_size_error")
    assert len(caught.value.record.attempts) == 1
