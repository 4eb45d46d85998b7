"""The SDKs' clients as a user makes them, and every way to ask them for an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai

from llmwatch import Limits, Retry
from llmwatch.sdk import Transport
from llmwatch.sdk import anthropic as watched_anthropic
from llmwatch.sdk import openai as watched_openai
from tests.end_to_end.calls import in_thread
from tests.sdk.times import LONG, PATIENCE

__all__ = ["ASKS", "MAKERS", "PLAIN", "QUICK", "STREAMS", "Answer", "Ask", "Watched", "ask", "asked_at_each", "names"]

QUICK = Retry(backoff=0.01)
"""Resends without the wait that a provider deserves."""

Watched = AbstractContextManager[Any]

_MESSAGES: Any = [{"role": "user", "content": "Say it."}]


@dataclass(slots=True)
class Answer:
    """What came of asking: what was seen of the text, and what was raised.

    The text is there as the SDK puts it together, too.
    """

    seen: list[str] = field(default_factory=list)
    text: str = ""
    error: BaseException | None = None

    @property
    def said(self) -> str:
        return "".join(self.seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A way to ask: which ``sdk``, whether it streams, and what it does.

    ``run(client, seen, more)`` returns the text and puts into ``seen`` what comes before.
    """

    name: str
    sdk: str
    streams: bool
    run: Callable[[Any, list[str], dict[str, Any]], str]


def _chat(client: Any, seen: list[str], more: dict[str, Any]) -> str:
    made = client.chat.completions.create(model="m", messages=_MESSAGES, **more)
    return str(made.choices[0].message.content)


def _chat_stream(client: Any, seen: list[str], more: dict[str, Any]) -> str:
    for chunk in client.chat.completions.create(model="m", messages=_MESSAGES, stream=True, **more):
        seen.extend(choice.delta.content or "" for choice in chunk.choices)
    return "".join(seen)


def _chat_helper(client: Any, seen: list[str], more: dict[str, Any]) -> str:
    with client.chat.completions.stream(model="m", messages=_MESSAGES, **more) as stream:
        for event in stream:
            if event.type == "content.delta":
                seen.append(event.delta)
        return str(stream.get_final_completion().choices[0].message.content)


def _responses(client: Any, seen: list[str], more: dict[str, Any]) -> str:
    return str(client.responses.create(model="m", input="Say it.", **more).output_text)


def _responses_stream(client: Any, seen: list[str], more: dict[str, Any]) -> str:
    text = ""
    for event in client.responses.create(model="m", input="Say it.", stream=True, **more):
        if event.type == "response.output_text.delta":
            seen.append(event.delta)
        if event.type == "response.completed":
            text = event.response.output_text
    return text


def _responses_helper(client: Any, seen: list[str], more: dict[str, Any]) -> str:
    with client.responses.stream(model="m", input="Say it.", **more) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                seen.append(event.delta)
        return str(stream.get_final_response().output_text)


def _messages(client: Any, seen: list[str], more: dict[str, Any]) -> str:
    return str(client.messages.create(model="m", max_tokens=99, messages=_MESSAGES, **more).content[0].text)


def _messages_stream(client: Any, seen: list[str], more: dict[str, Any]) -> str:
    for event in client.messages.create(model="m", max_tokens=99, messages=_MESSAGES, stream=True, **more):
        if event.type == "content_block_delta":
            seen.append(event.delta.text)
    return "".join(seen)


def _messages_helper(client: Any, seen: list[str], more: dict[str, Any]) -> str:
    with client.messages.stream(model="m", max_tokens=99, messages=_MESSAGES, **more) as stream:
        seen.extend(stream.text_stream)
        return str(stream.get_final_message().content[0].text)


ASKS = {
    one.name: one
    for one in (
        Ask(name="chat", sdk="openai", streams=False, run=_chat),
        Ask(name="chat-stream", sdk="openai", streams=True, run=_chat_stream),
        Ask(name="chat-helper", sdk="openai", streams=True, run=_chat_helper),
        Ask(name="responses", sdk="openai", streams=False, run=_responses),
        Ask(name="responses-stream", sdk="openai", streams=True, run=_responses_stream),
        Ask(name="responses-helper", sdk="openai", streams=True, run=_responses_helper),
        Ask(name="messages", sdk="anthropic", streams=False, run=_messages),
        Ask(name="messages-stream", sdk="anthropic", streams=True, run=_messages_stream),
        Ask(name="messages-helper", sdk="anthropic", streams=True, run=_messages_helper),
    )
}
STREAMS = [name for name, one in ASKS.items() if one.streams]
PLAIN = [name for name, one in ASKS.items() if not one.streams]


def ask(client: Any, name: str, **more: Any) -> Answer:
    """Ask, and have what came of it; ``more`` goes to the SDK's method."""
    answer = Answer()
    try:
        answer.text = ASKS[name].run(client, answer.seen, more)
    except Exception as error:
        answer.error = error
    return answer


def _address(sdk: str, server: Any) -> dict[str, Any]:
    # The SDK's own time-outs would be limits that a busy machine does not keep: openai gives a connection 5 s.
    address = f"{server.url}/v1" if sdk == "openai" else server.url
    return {"api_key": "sk-test-key", "base_url": address, "timeout": LONG}


def _settings(settings: dict[str, Any]) -> dict[str, Any]:
    return {"limits": Limits(ttfb=LONG), "retry": QUICK, **settings}


def _helper(sdk: str, server: Any, **settings: Any) -> Any:
    make = watched_openai if sdk == "openai" else watched_anthropic
    return make(**{**_address(sdk, server), **_settings(settings)})


def _helper_retrying(sdk: str, server: Any, **settings: Any) -> Any:
    return _helper(sdk, server, max_retries=2, **settings)


@contextmanager
def _bare(sdk: str, server: Any, *, max_retries: int = 0, **settings: Any) -> Iterator[Any]:
    module, name = (openai, "OpenAI") if sdk == "openai" else (anthropic, "Anthropic")
    http_client = module.DefaultHttpxClient(transport=Transport(**_settings(settings)))
    with getattr(module, name)(**_address(sdk, server), http_client=http_client, max_retries=max_retries) as client:
        yield client


def _bare_retrying(sdk: str, server: Any, **settings: Any) -> Any:
    return _bare(sdk, server, max_retries=2, **settings)


MAKERS: dict[str, Callable[..., Watched]] = {
    "helper": _helper,
    "helper, its retries on": _helper_retrying,
    "bare": _bare,
    "bare, its retries on": _bare_retrying,
}


Asked = list[tuple[str, Any, Answer]]


def asked_at_each(
    serve: Any, make: Any, how: str, *scripts: str, entry_points: Iterable[str] | None = None, **more: Any
) -> Asked:
    """Every entry point, or those that ``entry_points`` names, and what came of asking through it.

    Each has the server to itself. What they wait for they wait for at the same time.
    """
    entry_points = list(entry_points or MAKERS)
    servers = [serve(*scripts) for _ in entry_points]
    clients = [
        make(entry_point, ASKS[how].sdk, server, **more)
        for entry_point, server in zip(entry_points, servers, strict=True)
    ]
    running = [in_thread(ask, client, how) for client in clients]
    return [
        (entry_point, server, one.result(PATIENCE))
        for entry_point, server, one in zip(entry_points, servers, running, strict=True)
    ]


def names(sdk: str) -> Any:
    """The SDK's module, for the names of its exceptions."""
    return openai if sdk == "openai" else anthropic
