"""``bedrock``: Amazon Bedrock's ConverseStream and InvokeModelWithResponseStream.

Source: the API reference of Bedrock's runtime, and the client botocore 1.44.8. :mod:`llmwatch.wire.eventstream` does
the framing: an event's name is the frame's, and its data the payload or the wrapped event.

ConverseStream sends a sequence of blocks, each with deltas and a stop (and a start, unless the block is text).
``messageStop`` is the finish mark; ``metadata`` with the usage follows as the last event. A call whose block was closed
without input has no arguments: ``messageStop`` completes it, unless the answer was cut. Bedrock's padding (``p``) is
ignored.

The events within InvokeModelWithResponseStream are read in the model's own form: Anthropic's Messages, chat
completions, Cohere's, and Nova's (a variant of ConverseStream); the pieces of Titan, Llama, Mistral and others by the
field with their text; anything else as text. Bedrock's count of tokens in the last event is an end mark.

A frame that reports an exception is an error with the exception's name as its type.
"""

from __future__ import annotations

from typing import Any

from llmwatch.payload.executors import may_act
from llmwatch.wire.dialects.anthropic import ANTHROPIC_EVENTS, Anthropic
from llmwatch.wire.dialects.base import (
    Dialect,
    UnknownShape,
    error_event,
    fragment_of,
    is_cut,
    kind_of_news,
    says_something,
    text_of,
    words_of,
)
from llmwatch.wire.dialects.cohere import Cohere
from llmwatch.wire.dialects.openai_chat import OpenAIChat
from llmwatch.wire.error_objects import has_error, shorten
from llmwatch.wire.event import Event, Kind, StreamError, ToolDelta
from llmwatch.wire.news import is_thinking
from llmwatch.wire.tool_calls import OpenCalls, Places

__all__ = ["BEDROCK_EVENTS", "Bedrock"]

_CONVERSE = frozenset(
    ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata")
)

BEDROCK_EVENTS = _CONVERSE | {"chunk"}
"""Types of events in Bedrock's frames."""

# The field with Bedrock's count of tokens, in the last event of a model.
_METRICS = "amazon-bedrock-invocationMetrics"

# Fields with text and with finish reasons of models without a dialect: Titan, Llama, Claude's older completions.
_TEXTS = ("outputText", "generation", "completion")
_REASONS = ("completionReason", "stop_reason", "finish_reason")

# Converse's own reasons of an incomplete answer, beside the common ones.
_CUT = frozenset(("malformed_model_output", "malformed_tool_use"))


class Bedrock(Dialect):
    """One attempt in the Bedrock dialect."""

    name = "bedrock"
    has_end_mark = False

    def __init__(self) -> None:
        super().__init__()
        self._calls = OpenCalls()
        self._closed: list[str] = []
        self._places = Places()
        self._tools: set[str] = set()
        self._inner: Dialect | None = None

    @property
    def at_rest(self) -> bool:
        return self.finished if self._inner is None else self._inner.at_rest

    def read(self, event: Event) -> None:
        if event.event.startswith(("exception:", "error:")):
            self._read_failure(event)
            return
        value = self.parse(event)
        if value is None:
            return
        if event.event in _CONVERSE:
            self._read_converse(event, event.event, value)
        elif event.event == "chunk":
            self._read_wrapped(event, value)
        elif event.event.endswith("Delta") and isinstance(value.get("delta"), dict):
            # The delta of an unknown kind of block.
            news = kind_of_news(value["delta"])
            event.kind = Kind.KEEPALIVE if news is None else Kind.REASONING if is_thinking(event.event) else news

    def _read_failure(self, event: Event) -> None:
        name = event.event.partition(":")[2]
        try:
            value = event.json()
        except (ValueError, RecursionError):
            value = None
        value = value if isinstance(value, dict) else {}
        message = text_of(value.get("message")) or text_of(value.get("Message")) or event.data
        status = value.get("originalStatusCode")
        event.kind = Kind.ERROR
        event.error = StreamError(
            shorten(name, 80) or None,
            str(status) if type(status) is int else None,
            shorten(message) or "no message was given",
        )

    # ConverseStream ------------------------------------------------------------------------------------------------

    def _read_converse(self, event: Event, name: str, value: dict[str, Any]) -> None:
        key = str(value.get("contentBlockIndex", 0))
        if name == "contentBlockDelta":
            delta = value.get("delta")
            if not isinstance(delta, dict):
                raise UnknownShape
            self._read_delta(event, key, delta)
        elif name == "contentBlockStart":
            start = value.get("start")
            self._read_start(event, key, start if isinstance(start, dict) else {})
        elif name == "contentBlockStop":
            self._read_stop(event, key)
        elif name == "messageStop":
            self._read_message_stop(event, value.get("stopReason"))
        elif name == "metadata":
            usage = value.get("usage")
            event.kind = Kind.TERMINAL if self.finished else Kind.USAGE
            event.usage = usage if isinstance(usage, dict) and usage else None

    def _read_start(self, event: Event, key: str, start: dict[str, Any]) -> None:
        self.finished = False
        use = start.get("toolUse")
        if not isinstance(use, dict):
            return
        name = text_of(use.get("name")) or None
        event.kind = Kind.TOOL_INPUT
        if use.get("type") == "server_tool_use":
            self.provider_acted = self.provider_acted or may_act(name)
            return
        identity, before = text_of(use.get("toolUseId")) or None, self._places.at(key)
        is_open = before in self._calls and before not in self._closed
        key = self._places.begin(key, identity, is_open=is_open)
        self._tools.add(key)
        self._calls.add(key)
        event.tools = (ToolDelta(key, identity, name),)

    def _read_delta(self, event: Event, key: str, delta: dict[str, Any]) -> None:
        use, thinking = delta.get("toolUse"), delta.get("reasoningContent")
        if isinstance(use, dict):
            fragment = fragment_of(use.get("input"))
            event.kind = Kind.TOOL_INPUT if fragment else Kind.KEEPALIVE
            key = self._places.at(key)
            if fragment and key in self._tools:
                self._calls.add(key, fragment)
                event.tools = (ToolDelta(key, arguments=fragment),)
        elif isinstance(thinking, dict):
            event.reasoning = words_of(thinking.get("text"))
            # Signatures and redacted thinking are content without words.
            event.kind = Kind.REASONING if says_something(thinking) else Kind.KEEPALIVE
        elif "text" in delta:
            event.text = words_of(delta.get("text"))
            event.kind = Kind.TEXT if event.text else Kind.KEEPALIVE
        else:
            # Citations, pictures, results of the provider's tools, and unknown fields.
            event.kind = kind_of_news(delta) or Kind.KEEPALIVE

    def _read_stop(self, event: Event, key: str) -> None:
        key = self._places.at(key)
        if key not in self._calls:
            return
        closed = self._calls.close_if_whole(key)
        if closed is not None:
            event.kind, event.tools = Kind.TOOL_CALL, (closed,)
        else:
            self._closed.append(key)

    def _read_message_stop(self, event: Event, reason: object) -> None:
        event.finish = self.finished = True
        event.cut = is_cut(reason) or (isinstance(reason, str) and reason in _CUT)
        if not event.cut:
            closed = [self._calls.close(key) for key in self._closed]
            event.tools = tuple(call for call in closed if call is not None)
            if event.tools:
                event.kind = Kind.TOOL_CALL

    # InvokeModelWithResponseStream ---------------------------------------------------------------------------------

    def _read_wrapped(self, event: Event, value: dict[str, Any]) -> None:
        nova = next((name for name in _CONVERSE if name in value), None) if len(value) <= 2 else None
        inner = self._inner
        if inner is None and nova is None:
            inner = self._inner = _make_of(value)
            if inner is not None:
                inner.choices = self.choices
        if nova is not None and isinstance(value[nova], dict):
            self._read_converse(event, nova, value[nova])
        elif inner is not None:
            inner.read(event)
            self.finished, self.provider_acted = inner.finished, inner.provider_acted
        else:
            self._read_unknown(event, value)
        metrics = value.get(_METRICS)
        if isinstance(metrics, dict) and event.kind is not Kind.ERROR:
            event.kind = Kind.TERMINAL
            event.usage = event.usage or metrics
            if inner is None:
                event.finish = self.finished = True

    def _read_unknown(self, event: Event, value: dict[str, Any]) -> None:
        if has_error(value):
            error_event(event, value)
            return
        source = _source(value)
        reason = next((text_of(source.get(name)) for name in _REASONS if source.get(name)), "")
        texts = [words_of(source[name]) for name in _TEXTS if _is_written(source.get(name))]
        message = source.get("message")
        if _is_written(source.get("text")):
            texts.append(words_of(source["text"]))
        elif isinstance(message, dict) and _is_written(message.get("content")):
            texts.append(words_of(message["content"]))
        if texts:
            event.text = texts[0]
        elif not reason and set(value) != {_METRICS}:
            event.text = event.data
        if reason:
            event.finish = self.finished = True
            event.cut = is_cut(reason)
        event.kind = Kind.TEXT if event.text else Kind.LIFECYCLE if reason else Kind.KEEPALIVE


def _is_written(value: object) -> bool:
    return value == "" or bool(words_of(value))


def _source(value: dict[str, Any]) -> dict[str, Any]:
    """The object with the piece of text: ``value``, or the first of ``outputs`` (Mistral) or ``choices``."""
    for name in ("outputs", "choices"):
        listed = value.get(name)
        if isinstance(listed, list) and listed and isinstance(listed[0], dict):
            first: dict[str, Any] = listed[0]
            return first
    return value


def _make_of(value: dict[str, Any]) -> Dialect | None:
    """The dialect of a model's own events; ``None`` for an unknown form."""
    kind = value.get("type")
    if isinstance(kind, str) and (kind in ANTHROPIC_EVENTS or kind in ("ping", "error")):
        return Anthropic()
    if isinstance(value.get("event_type"), str) or "is_finished" in value:
        return Cohere()
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(first, dict) and ("delta" in first or "finish_reason" in first):
        return OpenAIChat()
    return None
