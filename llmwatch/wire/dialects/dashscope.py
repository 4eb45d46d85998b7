"""``dashscope``: Alibaba Cloud's own interface (``/api/v1/services/aigc/...``), text or multimodal.

Source: Alibaba Cloud's API reference, and the client dashscope 2.0.2. (``/compatible-mode/`` is ``openai-chat``.)

An answer is ``output.choices``, or ``output.text`` if the request did not ask for messages. ``finish_reason`` is the
*string* ``"null"`` until the end; then it is the finish mark, and the body ends. Unless the request asks for
``incremental_output``, each event restates everything so far; some models send pieces anyway. No field of an event
distinguishes the two forms. So without that request, a text that begins with everything so far is a restatement, and
any other text is a piece.

An error is an event called ``error`` with ``code`` and ``message``.
"""

from __future__ import annotations

from typing import Any

from llmwatch.wire.dialects.base import (
    Dialect,
    UnknownShape,
    error_event,
    fragment_of,
    is_cut,
    is_keepalive,
    kind_of_news,
    named,
    text_of,
    words_of,
)
from llmwatch.wire.error_objects import has_error, is_named, is_notice
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.tool_calls import OpenCalls

__all__ = ["DashScope"]


_KNOWN = frozenset(
    (
        "content",
        "text",
        "reasoning_content",
        "tool_calls",
        "tool_call_id",
        "finish_reason",
        "message",
        "logprobs",
        "plugins",
    )
)


class DashScope(Dialect):
    """One attempt in DashScope's dialect."""

    name = "dashscope"
    has_end_mark = False

    def __init__(self) -> None:
        super().__init__()
        self._pieces = _Pieces()
        self._calls = OpenCalls()
        self._open: set[int] = set()
        self._done: set[int] = set()
        self._news: dict[int, dict[str, Any]] = {}  # by choice: the last values of the unknown fields

    @property
    def at_rest(self) -> bool:
        return bool(self._done) and not self._open

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            return
        output = value.get("output")
        words = text_of(value.get("message")) or text_of(value.get("msg"))
        coded = value.get("code") and not is_notice(value["code"], words) and not is_named(value)
        if event.event == "error" or has_error(value) or (coded and not output):
            error_event(event, value)
            return
        usage = value.get("usage")
        event.usage = usage if isinstance(usage, dict) and usage else None
        self._pieces.begin(event.usage, in_pieces=self.in_pieces)
        if not isinstance(output, dict):
            if is_keepalive(event, value):
                event.kind = Kind.KEEPALIVE
            return
        choices = output.get("choices")
        listed = choices if isinstance(choices, list) else [output]
        ended = [self._read_choice(event, place, choice) for place, choice in enumerate(listed)]
        self.finished = len(self._done) >= self.choices and not self._open
        event.finish = any(ended) and self.finished
        if any(tool.complete for tool in event.tools):
            event.kind = Kind.TOOL_CALL
        elif event.text:
            event.kind = Kind.TEXT
        elif event.tools:
            event.kind = Kind.TOOL_INPUT
        elif event.reasoning:
            event.kind = Kind.REASONING
        elif event.kind not in (Kind.TEXT, Kind.REASONING):
            event.kind = Kind.USAGE if event.usage and any(ended) else Kind.LIFECYCLE if any(ended) else Kind.KEEPALIVE

    def _read_choice(self, event: Event, place: int, choice: Any) -> bool:
        if not isinstance(choice, dict):
            raise UnknownShape
        index = choice.get("index")
        index = index if type(index) is int else place
        reason = text_of(choice.get("finish_reason"))
        ended = reason not in ("", "null")
        message = choice.get("message")
        source = message if isinstance(message, dict) else choice
        content = source.get("content") if source is message else source.get("text")
        event.text += self._pieces.take(f"{index}.text", _joined(event, content), ended=ended)
        thinking = words_of(source.get("reasoning_content"))
        event.reasoning += self._pieces.take(f"{index}.reasoning", thinking, ended=ended)
        self._read_news(event, index, source)
        calls = source.get("tool_calls")
        if calls and not isinstance(calls, list):
            raise UnknownShape
        places = [call.get("index") if isinstance(call, dict) else None for call in calls or ()]
        # If a list gives two calls the same number, their order identifies them.
        numbered = all(type(place) is int for place in places) and len(set(places)) == len(places)
        for number, call in enumerate(calls or ()):
            self._read_call(event, f"{index}.{places[number] if numbered else number}", call, ended=ended)
        if ended:
            self._open.discard(index)
            self._done.add(index)
            event.cut = event.cut or is_cut(reason)
            if not is_cut(reason):
                event.tools = (*event.tools, *self._close(index))
        elif index not in self._done:
            self._open.add(index)
        return ended

    def _read_news(self, event: Event, index: int, source: dict[str, Any]) -> None:
        """Read unknown fields. The same fields count only once, since each event may restate everything."""
        unknown = {name: value for name, value in source.items() if name not in _KNOWN}
        news = kind_of_news(unknown) if unknown and unknown != self._news.get(index) else None
        if news is not None:
            self._news[index] = unknown
            event.kind = Kind.TEXT if event.kind is Kind.TEXT else news

    def _read_call(self, event: Event, key: str, call: Any, *, ended: bool) -> None:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise UnknownShape
        fragment = self._pieces.take(f"{key}.arguments", fragment_of(function.get("arguments")), ended=ended)
        new = key not in self._calls
        identity = (text_of(call.get("id")) or None) if new else None
        known = self._calls.name(key, None)
        name = named(self._calls, key, text_of(function.get("name")) or None)
        name = name if new or name != known else None
        if identity or name or fragment:
            self._calls.add(key, fragment)
            event.tools = (*event.tools, ToolDelta(key, identity, name, fragment))

    def _close(self, choice: int) -> list[ToolDelta]:
        keys = self._calls.of(choice)
        return [closed for key in keys if (closed := self._calls.close_unless_half(key)) is not None]


def _joined(event: Event, content: Any) -> str:
    """The text of a message's content: a string, or parts. Parts with sound or pictures count as content."""
    if not isinstance(content, list):
        return words_of(content)
    parts = [part for part in content if isinstance(part, dict)]
    if any(value for part in parts for name, value in part.items() if name != "text"):
        event.kind = Kind.TEXT
    return "".join(words_of(part.get("text")) for part in parts)


class _Pieces:
    """Distinguishes pieces from restatements, for the whole stream, and returns the new part of either."""

    __slots__ = ("_grew", "_incremental", "_said", "_tokens")

    def __init__(self) -> None:
        self._said: dict[str, list[str]] = {}
        self._incremental = False
        self._tokens = 0
        self._grew = False

    def begin(self, usage: dict[str, Any] | None, *, in_pieces: bool) -> None:
        """Begin an event. ``in_pieces``: pieces were asked for; ``usage`` shows if the model wrote more."""
        self._incremental = self._incremental or in_pieces
        tokens = usage.get("output_tokens") if usage is not None else None
        self._grew = type(tokens) is int and tokens > self._tokens
        self._tokens = tokens if type(tokens) is int else self._tokens

    def take(self, key: str, piece: str, *, ended: bool) -> str:
        """The new part of ``piece`` under ``key``."""
        pieces = self._said.setdefault(key, [])
        if not piece:
            return ""
        if not self._incremental:
            text = "".join(pieces)
            # The same text again, while the model continues to write, is a new piece with the same text.
            again = piece == text and self._grew and not ended
            if text and (again or not piece.startswith(text)):
                self._incremental = True
            elif text:
                piece = piece[len(text) :]
            if piece:
                self._said[key] = [text + piece]
            return piece
        return piece
