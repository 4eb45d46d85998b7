"""Each stream that an SDK reads, through llmwatch's client of the SDK.

It shows what the bare client shows, with one request.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import anthropic
import openai
import pytest

import llmwatch
from llmwatch import Limits, ProviderError, Retry
from tests.replay.failures import FAILURES
from tests.replay.playing import PIECES, asks, playing
from tests.replay.reading import Said, expected
from tests.replay.streams import STREAMS
from tests.sdk.conftest import no_key
from tests.session.times import LONG

__all__ = ["no_key"]

pytestmark = pytest.mark.usefixtures("no_key", "nothing_left")

READ = [name for name in STREAMS if STREAMS[name].client]
_MESSAGES: Any = [{"role": "user", "content": "?"}]
_CUT = ("length", "max_tokens")


class _Heard:
    """What a client's objects say, put together as its users do."""

    def __init__(self) -> None:
        self.text = self.reasoning = ""
        self.calls: dict[int, list[str]] = {}
        self.usage: Any = None
        self.finish: str | None = None

    def call(self, place: int, identity: str | None, name: str | None, arguments: str | None) -> None:
        said = self.calls.setdefault(place, ["", "", ""])
        said[:] = [said[0] or identity or "", said[1] or name or "", said[2] + (arguments or "")]

    @property
    def said(self) -> Said:
        calls = tuple((identity, name, json.loads(text or "{}")) for identity, name, text in self.calls.values())
        return self.text, self.reasoning, calls, self.usage, self.finish, self.finish in _CUT


def _chat(client: openai.OpenAI, headers: dict[str, str]) -> Said:
    heard = _Heard()
    for chunk in client.chat.completions.create(model="m", messages=_MESSAGES, stream=True, extra_headers=headers):
        shown: Any = chunk.to_dict()
        heard.usage = shown.get("usage") or shown.get("x_groq", {}).get("usage") or heard.usage
        for choice in shown["choices"]:
            delta = choice["delta"]
            heard.text += delta.get("content") or ""
            thought = (delta.get(name) for name in ("reasoning_content", "reasoning", "reasoning_text"))
            heard.reasoning += next(filter(None, thought), "")
            for call in delta.get("tool_calls") or ():
                function = call["function"]
                heard.call(call["index"], call.get("id"), function.get("name"), function.get("arguments"))
            heard.usage = choice.get("usage") or heard.usage
            heard.finish = choice.get("finish_reason") or heard.finish
    return heard.said


def _completions(client: openai.OpenAI, headers: dict[str, str]) -> Said:
    heard = _Heard()
    for chunk in client.completions.create(model="m", prompt="?", stream=True, extra_headers=headers):
        heard.text += chunk.choices[0].text
        heard.finish = chunk.choices[0].finish_reason or heard.finish
    return heard.said


def _responses(client: openai.OpenAI, headers: dict[str, str]) -> Said:
    heard = _Heard()
    for event in client.responses.create(model="m", input="?", stream=True, extra_headers=headers):
        if event.type == "response.output_text.delta":
            heard.text += event.delta
        elif event.type == "response.reasoning_summary_text.delta":
            heard.reasoning += event.delta
        elif event.type == "response.output_item.done" and event.item.type == "function_call":
            heard.call(event.output_index, event.item.call_id, event.item.name, event.item.arguments)
        elif event.type == "response.completed":
            heard.usage, heard.finish = event.response.to_dict()["usage"], event.response.status
    return heard.said


def _messages(client: anthropic.Anthropic, headers: dict[str, str]) -> Said:
    heard = _Heard()
    for event in client.messages.create(
        model="m", max_tokens=9, messages=_MESSAGES, stream=True, extra_headers=headers
    ):
        if event.type == "content_block_start" and event.content_block.type == "tool_use":
            heard.call(event.index, event.content_block.id, event.content_block.name, "")
        elif event.type == "content_block_delta":
            delta = event.delta
            heard.text += getattr(delta, "text", "")
            heard.reasoning += getattr(delta, "thinking", "")
            if delta.type == "input_json_delta":
                heard.call(event.index, None, None, delta.partial_json)
        elif event.type == "message_delta":
            heard.usage, heard.finish = event.usage.to_dict(), event.delta.stop_reason
    return heard.said


# How a stream is read, and what stands behind the client's base address in its path.
_READERS: dict[str, tuple[Callable[[Any, dict[str, str]], Said], str]] = {
    "openai": (_chat, "/chat/completions"),
    "openai-completions": (_completions, "/completions"),
    "openai-responses": (_responses, "/responses"),
    "anthropic": (_messages, "/v1/messages"),
}


def _clients(name: str, base: str, **settings: Any) -> list[AbstractContextManager[Any]]:
    """The bare client, and llmwatch's."""
    makers: Any = (
        (anthropic.Anthropic, llmwatch.sdk.anthropic) if name == "anthropic" else (openai.OpenAI, llmwatch.sdk.openai)
    )
    bare, watched = makers
    known = {"base_url": base, "api_key": "k", "timeout": LONG}
    return [bare(**known, max_retries=0), watched(**known, limits=Limits.single(LONG), **settings)]


@pytest.mark.parametrize("name", READ)
def test_our_client_shows_what_the_bare_one_shows(name: str) -> None:
    """Text, reasoning, calls, usage and the reason, whole and byte by byte: as expected, by both."""
    stream = STREAMS[name]
    read, behind = _READERS[stream.client]
    with playing(stream.body, stream.content_type) as server:
        for made in _clients(stream.client, server.url + stream.path.removesuffix(behind)):
            with made as client:
                for pieces in PIECES:
                    assert read(client, asks(pieces)) == expected(stream), (type(client), pieces)
        assert [request.path for request in server.requests] == [stream.path] * 2 * len(PIECES)


def _outcome(read: Callable[[Any, dict[str, str]], Said], client: Any) -> Said | Exception:
    try:
        return read(client, {})
    except Exception as error:
        # Its frames hold connections.
        return error.with_traceback(None)


FAILED = [name for name in FAILURES if FAILURES[name].client]


@pytest.mark.parametrize("name", FAILED)
def test_a_failure_is_an_error_of_the_sdk(name: str) -> None:
    """The SDK raises its own error after one request.

    Behind it is llmwatch's error, or the provider's words are in it.
    """
    failure = FAILURES[name]
    read, behind = _READERS[failure.client]
    sdk = anthropic if failure.client == "anthropic" else openai
    with playing(failure.body, failure.content_type, ends=failure.ends) as server:
        base = server.url + failure.path.removesuffix(behind)
        with _clients(failure.client, base, retry=Retry.none())[1] as client:
            outcome = _outcome(read, client)
        assert len(server.requests) == 1
    assert isinstance(outcome, sdk.APIError), outcome
    assert failure.words in str(outcome)
    if isinstance(outcome, sdk.APIConnectionError):
        assert isinstance(outcome.__cause__, failure.error), outcome.__cause__
    else:
        assert failure.error is ProviderError
