"""The same call made through each entry point of llmwatch, and without llmwatch.

The call without llmwatch is the base of the ratios.

Each side keeps its connections, as a program that makes many calls does, and reads what a program reads.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import requests
import sseclient

import llmwatch
from llmwatch import Client

BODY: dict[str, Any] = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
PLAIN: dict[str, Any] = {**BODY, "stream": False}
NAMES = ("client", "session", "sdk")


class Sides(NamedTuple):
    """One entry point and what it is held against. Each makes one call and returns what it read."""

    ours: Callable[[], int]
    theirs: Callable[[], int]


def read_client(client: Client, url: str) -> Iterator[str]:
    """The texts of a stream through a client."""
    with client.stream("POST", url, json=BODY) as stream:
        for event in stream:
            if event.text:
                yield event.text


def read_bare(session: requests.Session, url: str) -> Iterator[str]:
    """The same without a watchdog: requests, sseclient-py and ``json.loads``, reading what is there."""
    response = session.post(url, json=BODY, stream=True)

    def pieces() -> Iterator[bytes]:
        while data := response.raw.read1(65536):
            yield data

    for event in sseclient.SSEClient(pieces()).events():  # type: ignore[arg-type]
        if event.data != "[DONE]":
            yield json.loads(event.data)["choices"][0]["delta"]["content"]


def read_lines(session: requests.Session, url: str) -> Iterator[str]:
    """The texts of a stream as scripts on requests read it."""
    with session.post(url, json=BODY, stream=True) as response:
        for line in response.iter_lines():
            if line.startswith(b"data: ") and line != b"data: [DONE]":
                yield json.loads(line[6:])["choices"][0]["delta"]["content"]


def read_sdk(sdk: Any) -> Iterator[str]:
    """The texts of a stream through a client of the openai SDK."""
    for chunk in sdk.chat.completions.create(model="m", messages=BODY["messages"], stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            yield chunk.choices[0].delta.content


@contextlib.contextmanager
def sdks(url: str) -> Iterator[tuple[Any, Any]]:
    """A watched client of the openai SDK, and one on the SDK's own transport."""
    import openai

    given = {"base_url": url.removesuffix("/chat/completions"), "api_key": "k", "max_retries": 0}
    with llmwatch.sdk.openai(**given) as watched, openai.OpenAI(**given) as own:
        yield watched, own


def _length(read: Callable[..., Iterator[str]], *arguments: Any) -> Callable[[], int]:
    return lambda: sum(1 for _ in read(*arguments))


def _answer(make: Callable[[], Any]) -> Callable[[], int]:
    def call() -> int:
        assert make()["choices"][0]["message"]["content"]
        return 1

    return call


def _answer_of_sdk(sdk: Any) -> Callable[[], int]:
    def call() -> int:
        answer = sdk.chat.completions.create(model="m", messages=BODY["messages"])
        assert answer.choices[0].message.content
        return 1

    return call


@contextlib.contextmanager
def streams(name: str, url: str) -> Iterator[Sides]:
    """One stream; each side returns the number of its events with text."""
    if name == "sdk":
        with sdks(url) as (watched, own):
            yield Sides(_length(read_sdk, watched), _length(read_sdk, own))
    elif name == "session":
        with llmwatch.Session() as session, requests.Session() as bare:
            yield Sides(_length(read_lines, session, url), _length(read_lines, bare, url))
    else:
        with Client() as client, requests.Session() as bare:
            yield Sides(_length(read_client, client, url), _length(read_bare, bare, url))


@contextlib.contextmanager
def plain(name: str, url: str) -> Iterator[Sides]:
    """One call that does not stream, whose answer is parsed."""
    if name == "sdk":
        with sdks(url) as (watched, own):
            yield Sides(_answer_of_sdk(watched), _answer_of_sdk(own))
    elif name == "session":
        with llmwatch.Session() as session, requests.Session() as bare:
            yield Sides(
                _answer(lambda: session.post(url, json=PLAIN).json()),
                _answer(lambda: bare.post(url, json=PLAIN).json()),
            )
    else:
        with Client() as client, requests.Session() as bare:
            yield Sides(
                _answer(lambda: client.request("POST", url, json=PLAIN).json()),
                _answer(lambda: bare.post(url, json=PLAIN).json()),
            )


def repeated(call: Callable[[], int], calls: int) -> Callable[[], int]:
    """``calls`` calls in a row, counted as calls."""

    def work() -> int:
        for _ in range(calls):
            call()
        return calls

    return work
