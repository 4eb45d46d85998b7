"""The content of a stream, read in two ways.

One is from the events that llmwatch hands over, the other from the bytes as a reader without llmwatch sees them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

from botocore.eventstream import EventStreamBuffer

from llmwatch.wire import Collector, Event
from tests.replay.streams import Stream
from tests.wire.providers import FRAMES

__all__ = ["Said", "expected", "of_bytes", "of_events"]

Said = tuple[Any, ...]
"""Text, reasoning, calls, usage, the reason, and whether it is that of an answer cut short."""

_USAGE = ("usage", "usageMetadata", "amazon-bedrock-invocationMetrics", "meta")
_REASONS = (
    "finish_reason",
    "finishReason",
    "stop_reason",
    "stopReason",
    "done_reason",
    "completionReason",
    "stop_type",
)
# Counts that stand beside each other, the last of them in each event that has any.
_COUNTS = (
    ("prompt_eval_count", "eval_count"),
    ("tokens_evaluated", "tokens_predicted"),
    ("prompt_tokens", "completion_tokens", "cached_tokens"),
)


def expected(stream: Stream) -> Said:
    """The expected reading."""
    usage = None if stream.unread else stream.usage
    return stream.text, stream.reasoning, stream.calls, usage, stream.finish, stream.cut


def of_events(events: Iterable[Event]) -> Said:
    """The reading of the events of a whole answer."""
    collector = Collector()
    for event in events:
        collector.add(event)
    collector.end()
    calls = tuple((call.id, call.name, call.json()) for call in collector.tool_calls)
    said = [event.usage for event in collector.events if event.usage]
    _, finish = _last(event.json() for event in collector.events if event.data.startswith("{"))
    cut = any(event.cut for event in collector.events)
    return collector.text, collector.reasoning, calls, said[-1] if said else None, finish, cut


def of_bytes(stream: Stream, body: bytes) -> tuple[dict[str, Any] | None, str | None]:
    """Usage and reason as a reader of the bytes finds them."""
    return _last(_values(stream, body))


def _values(stream: Stream, body: bytes) -> Iterator[Any]:
    if stream.content_type == FRAMES:
        buffer = EventStreamBuffer()
        buffer.add_data(body)
        for frame in buffer:
            value = json.loads(frame.payload)
            yield json.loads(base64.b64decode(value["bytes"])) if "bytes" in value else value
        return
    for line in body.decode().splitlines():
        data = line.removeprefix("data:").strip()
        if data.startswith("{"):
            yield json.loads(data)


def _last(values: Iterable[Any]) -> tuple[dict[str, Any] | None, str | None]:
    usage: dict[str, Any] | None = None
    reason: str | None = None
    for value in values:
        for name, inner in _everything(value):
            if name in _USAGE and isinstance(inner, dict) and inner:
                usage = inner
            elif name in _REASONS:
                word = inner.get("type") if isinstance(inner, dict) else inner
                reason = word if isinstance(word, str) and word not in ("", "null") else reason
            elif name == "generated_tokens":
                usage = {name: inner}
        if isinstance(value, dict) and value.get("type") == "response.completed":
            reason = value["response"]["status"]
        if isinstance(value, dict) and (names := _counted(place := value.get("meta_info") or value)):
            usage = {name: place[name] for name in names}
    return usage, reason


def _counted(value: Any) -> tuple[str, ...]:
    return next((names for names in _COUNTS if names[-1] in value), ())


def _everything(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            yield from _everything(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _everything(inner)
