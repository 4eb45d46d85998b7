"""The six entry points, each opened by one function that calls once and returns what the program saw.

The reader of bodies here is a separate one, so that no mistake of the product's decoder is hidden.
"""

from __future__ import annotations

import json
import re
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx
import openai

import llmwatch
from llmwatch import CallRecord, Client, Collected, LLMWatchError
from llmwatch.sdk import Transport
from tests.faults import reading
from tests.matrix.times import LONG

__all__ = ["ENTRY_POINTS", "Asking", "Seen"]


@dataclass(slots=True)
class Seen:
    """What a program saw of one call.

    * ``text`` and ``events``: what was handed out: events of a stream, blocks of a body, pieces of an SDK; a document
      counts as one. ``kinds``, ``names``: how many events of each kind and name, where
      llmwatch's own are handed out.
    * ``status`` and ``body``: of a response. ``answer``: what ``collect`` returned.
    * ``error``: the exception, if any. ``records``: the records of the call.
    """

    text: str = ""
    events: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)
    answer: Collected | None = None
    status: int | None = None
    body: bytes = b""
    error: BaseException | None = None
    records: list[CallRecord] = field(default_factory=list)

    @property
    def ours(self) -> LLMWatchError | None:
        """llmwatch's error: the exception itself, or the cause of an SDK's."""
        for error in (self.error, getattr(self.error, "__cause__", None)):
            if isinstance(error, LLMWatchError):
                return error
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What is asked, of whom, and under which settings.

    ``verify`` and ``trusting`` are the authority of a TLS server, in a file and in a context.
    """

    url: str
    path: str
    shape: str
    body: dict[str, Any]
    settings: dict[str, Any]
    verify: str | None
    trusting: ssl.SSLContext | None

    def recorded(self, seen: Seen) -> dict[str, Any]:
        """The settings, with a sink."""
        return {**self.settings, "sinks": [seen.records.append]}

    @property
    def endpoint(self) -> str:
        return self.url + self.path

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of requests."""
        return {} if self.verify is None else {"verify": self.verify}


Call = Callable[[Seen], None]
"""One call of an open client."""


@contextmanager
def _stream(asking: Asking, seen: Seen) -> Iterator[Call]:
    with Client(**asking.recorded(seen)) as client:

        def call(seen: Seen) -> None:
            with client.stream("POST", asking.endpoint, json=asking.body, **asking.options) as stream:
                for event in stream:
                    seen.events += 1
                    seen.text += event.text
                    seen.kinds[event.kind.value] += 1
                    seen.names[event.event] += 1

        yield call


@contextmanager
def _collect(asking: Asking, seen: Seen) -> Iterator[Call]:
    with Client(**asking.recorded(seen)) as client:

        def call(seen: Seen) -> None:
            answer = client.collect("POST", asking.endpoint, json=asking.body, **asking.options)
            seen.events, seen.text, seen.answer = len(answer.events), answer.text, answer
            seen.kinds.update(event.kind.value for event in answer.events)
            seen.names.update(event.event for event in answer.events)

        yield call


@contextmanager
def _request(asking: Asking, seen: Seen) -> Iterator[Call]:
    with Client(**asking.recorded(seen)) as client:

        def call(seen: Seen) -> None:
            body = {**asking.body, "stream": False}
            response = client.request("POST", asking.endpoint, json=body, **asking.options)
            _read_plain(seen, asking.shape, response.status_code, response.content)

        yield call


@contextmanager
def _session(asking: Asking, seen: Seen) -> Iterator[Call]:
    with llmwatch.Session(**asking.recorded(seen)) as session:
        session.trust_env = False

        def call(seen: Seen) -> None:
            with session.post(
                asking.endpoint, json=asking.body, stream=True, allow_redirects=False, **asking.options
            ) as response:
                try:
                    for piece in response.iter_content(None):
                        seen.body += piece
                finally:
                    _read_body(seen, asking.shape, response.status_code)

        yield call


@contextmanager
def _httpx(asking: Asking, seen: Seen) -> Iterator[Call]:
    """A client of httpx that knows nothing of llmwatch; the process has installed it."""
    verify = asking.trusting if asking.trusting is not None else _KNOWS_NOBODY
    with httpx.Client(verify=verify, timeout=None, trust_env=False) as client:

        def call(seen: Seen) -> None:
            with client.stream("POST", asking.endpoint, json=asking.body) as response:
                try:
                    for piece in response.iter_bytes():
                        seen.body += piece
                finally:
                    _read_body(seen, asking.shape, response.status_code)

        yield call


@contextmanager
def _sdk(asking: Asking, seen: Seen) -> Iterator[Call]:
    """The SDK of the shape on a watched transport."""
    verify = asking.trusting if asking.trusting is not None else _KNOWS_NOBODY
    transport = Transport(**asking.recorded(seen), verify=verify)
    make, run = _SDKS[asking.shape]
    with make(asking.url, transport) as client:
        yield lambda seen: run(
            client, seen, {key: v for key, v in asking.body.items() if key not in ("stream", "model")}
        )


def _openai(url: str, transport: Transport) -> AbstractContextManager[Any]:
    return llmwatch.sdk.openai(api_key="k", base_url=f"{url}/v1", transport=transport, timeout=LONG)


def _anthropic(url: str, transport: Transport) -> AbstractContextManager[Any]:
    return llmwatch.sdk.anthropic(api_key="k", base_url=url, transport=transport, timeout=LONG)


def _chat(client: openai.OpenAI, seen: Seen, more: dict[str, Any]) -> None:
    with closing(client.chat.completions.create(model="m", stream=True, **more)) as chunks:
        for chunk in chunks:
            seen.events += 1
            seen.text += "".join(choice.delta.content or "" for choice in chunk.choices or () if choice.delta)


def _responses(client: openai.OpenAI, seen: Seen, more: dict[str, Any]) -> None:
    more = {"input": "Say it.", **{key: value for key, value in more.items() if key != "messages"}}
    with closing(client.responses.create(model="m", stream=True, **more)) as events:
        for event in events:
            seen.events += 1
            seen.text += event.delta if event.type == "response.output_text.delta" else ""


def _messages(client: anthropic.Anthropic, seen: Seen, more: dict[str, Any]) -> None:
    with closing(client.messages.create(model="m", max_tokens=99, stream=True, **more)) as events:
        for event in events:
            seen.events += 1
            seen.text += getattr(event.delta, "text", "") if event.type == "content_block_delta" else ""


_BLANKS = re.compile(r"\n{3,}")
"""A flood of line ends is millions of empty blocks."""

_KNOWS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""No authority is read for it, which takes the default context 20 ms."""

_SDKS: dict[str, tuple[Callable[..., AbstractContextManager[Any]], Callable[..., None]]] = {
    "openai-chat": (_openai, _chat),
    "openai-responses": (_openai, _responses),
    "anthropic": (_anthropic, _messages),
}

ENTRY_POINTS: dict[str, Callable[[Asking, Seen], AbstractContextManager[Call]]] = {
    "stream": _stream,
    "collect": _collect,
    "request": _request,
    "Session": _session,
    "sdk": _sdk,
    "httpx": _httpx,
}


def _read_plain(seen: Seen, shape: str, status: int, body: bytes) -> None:
    seen.status, seen.body, seen.events = status, body, 1
    if status == 200:
        try:
            seen.text = reading.plain_text(shape, json.loads(body))
        except (ValueError, KeyError, TypeError):
            seen.text = ""


def _read_body(seen: Seen, shape: str, status: int) -> None:
    """The events and the text of as much of a body as was handed out."""
    seen.status = status
    body = seen.body
    if shape == "bedrock":
        frames = reading.frames(body)
        seen.events, documents = len(frames), list(_parsed(frames))
    else:
        # Any line end, a byte order mark and bytes that are no UTF-8 are what some rows are about.
        text = _BLANKS.sub("\n\n", body.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n"))
        blocks = reading.events(text.encode())
        seen.events = len(blocks)
        documents = list(_parsed(data.encode() for _, data in blocks))
    for document in documents:
        try:
            seen.text += reading.text_of(shape, document)
        except (KeyError, TypeError, AttributeError):
            continue


def _parsed(payloads: Any) -> Iterator[Any]:
    for payload in payloads:
        try:
            yield json.loads(payload)
        except ValueError:
            continue
