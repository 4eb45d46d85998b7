"""``openai-responses``: the Responses API of OpenAI and compatible servers.

Source: OpenAI's API reference (streaming events of the Responses API).

The ``*.done`` events, ``output_item.done`` and ``response.completed`` restate the text of the deltas; each adds only
the missing part. A tool call, in contrast, is taken from ``output_item.done``, or from ``response.completed`` if no
such event came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from llmwatch.payload.executors import may_act
from llmwatch.wire.dialects.base import (
    KEEPALIVE_NAMES,
    MOST_PIECES,
    Dialect,
    Said,
    UnknownShape,
    error_event,
    text_of,
    words_of,
)
from llmwatch.wire.error_objects import error_in
from llmwatch.wire.event import Event, Kind, StreamError, ToolDelta
from llmwatch.wire.news import is_thinking, says_something
from llmwatch.wire.tool_calls import whole_call

__all__ = ["OpenAIResponses"]

_TEXT_DELTAS = frozenset(
    (
        "response.output_text.delta",
        "response.refusal.delta",
        "response.audio.transcript.delta",
        "response.output_audio_transcript.delta",
    )
)
# Output without text: content that adds nothing to the answer's text.
_OTHER_OUTPUT = frozenset(
    (
        "response.audio.delta",
        "response.output_audio.delta",
        "response.image_generation_call.partial_image",
        "response.output_text.annotation.added",
    )
)
_REASONING_DELTAS = frozenset(
    (
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning.delta",
        "response.reasoning_summary.delta",
    )
)
# Input of tools that the caller runs.
_INPUT_DELTAS = frozenset(("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"))
# Input of tools that the provider runs, or whose items restate it in another form.
_OTHER_INPUT_DELTAS = frozenset(
    (
        "response.mcp_call_arguments.delta",
        "response.mcp_call.arguments.delta",
        "response.code_interpreter_call_code.delta",
        "response.code_interpreter_call.code.delta",
        "response.shell_call_command.delta",
        "response.apply_patch_call_operation_diff.delta",
    )
)
# Events that close a call's input and state it whole, with the call's type.
_INPUT_DONE = {
    "response.function_call_arguments.done": "function_call",
    "response.custom_tool_call_input.done": "custom_tool_call",
}
# Fields with the text of a message's part. The transcript of sound is text too.
_PART_TEXTS = ("text", "refusal", "transcript")
# Events that restate text, or state it for the first time if a server sends no deltas.
_RESTATED = frozenset(
    (
        "response.output_text.done",
        "response.refusal.done",
        "response.content_part.done",
        "response.reasoning_text.done",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
    )
)
_TERMINAL = frozenset(("response.completed", "response.incomplete", "response.done"))

# Calls that the caller carries out, with the field of the arguments.
_CALLER_CALLS = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "computer_call": "action",
    "local_shell_call": "action",
    "shell_call": "action",
    "apply_patch_call": "operation",
    "mcp_approval_request": "arguments",
}
# Calls with a name; the type is the name of the others.
_NAMED = frozenset(("function_call", "custom_tool_call"))
# Calls that the provider carried out without side effects: search, retrieval, sandboxed code, pictures. The end of such
# a call is progress, often the only event for minutes, but does not restrict a resend.
_HARMLESS_CALLS = frozenset(
    ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "tool_search_call")
)


# An event about a call: response.mcp_call.in_progress, response.mcp_call_arguments.delta.
_OF_CALL = re.compile(r"response\.(\w+?_call)(?:[._]|$)")


# A member of an enum costs as much as a call on Python 3.10 and 3.11.
_TEXT = Kind.TEXT


class OpenAIResponses(Dialect):
    """One attempt in the Responses dialect."""

    name = "openai-responses"

    def __init__(self) -> None:
        super().__init__()
        # The parts of the text and of the reasoning, by place.
        self._text: dict[Any, Said] = {}
        self._reasoning: dict[Any, Said] = {}
        # The ids of every call by key, and the key of the latest call at a place with several calls.
        self._ids: dict[str, set[str]] = {}
        self._by_id: dict[str, str] = {}  # the key of the first call with an id
        self._keys: dict[str, str] = {}
        # Name and arguments in the item of each complete call.
        self._stated: dict[str, tuple[str, Any]] = {}
        # The keys and ids of complete calls.
        self._whole: set[str] = set()
        # The items of calls that began, and the arguments in the calls' own done events.
        self._begun: dict[str, dict[str, Any]] = {}
        self._done: dict[str, object] = {}
        # Whether output without text came before the end.
        self._has_shown = False

    def read(self, event: Event) -> None:
        value = self.parse(event)
        if value is None:
            if event.kind is Kind.TERMINAL:
                # The end mark of a proxy closes no call, but carries the calls that were closed before.
                event.tools = self._closed()
            return
        name = value.get("type")
        if not isinstance(name, str):
            name = event.event
        if name in _TEXT_DELTAS:
            text = value.get("delta")
            if type(text) is not str:
                text = words_of(text)
            if not text:
                event.kind = Kind.KEEPALIVE
                return
            event.kind, event.text = _TEXT, text
            part = value.get("output_index"), value.get("content_index")
            said = self._text.get(part)
            if said is None:
                said = self._text[part] = Said()
            said.append(text)
            if len(said) > MOST_PIECES:
                said.fold()
        elif name in _REASONING_DELTAS:
            delta = value.get("delta")
            event.reasoning = words_of(delta.get("text")) if isinstance(delta, dict) else words_of(delta)
            event.kind = Kind.REASONING if event.reasoning else Kind.KEEPALIVE
            _said(self._reasoning, value.get("output_index"), *_reasoning_place(value)).add(event.reasoning)
        elif name in _INPUT_DELTAS:
            fragment = words_of(value.get("delta"))
            event.kind = Kind.TOOL_INPUT if fragment else Kind.KEEPALIVE
            place = _key(value)
            event.tools = (ToolDelta(self._keys.get(place, place), arguments=fragment),) if fragment else ()
        elif name in _OTHER_OUTPUT:
            event.kind = Kind.TEXT
            self._has_shown = True
        else:
            self._note_event(name)
            if name in _OTHER_INPUT_DELTAS:
                event.kind = Kind.TOOL_INPUT if value.get("delta") else Kind.KEEPALIVE
            else:
                self._read_other(event, name, value)

    def _read_other(self, event: Event, name: str, value: dict[str, Any]) -> None:
        item, response = value.get("item"), value.get("response")
        if isinstance(item, dict):
            self._note_item(item)
        if isinstance(response, dict):
            self._note_response(response)
            self.count(event, response.get("usage"))
        self.count(event, value.get("usage"))
        if name == "response.output_item.done":
            if not isinstance(item, dict):
                raise UnknownShape
            self._read_item(event, self._key_of(_key(value, item), item), item)
        elif name == "response.output_item.added" and isinstance(item, dict):
            key = self._key_of(_key(value, item), item)
            self._begun[key] = item
            _read_beginning(event, key, item)
        elif name in _INPUT_DONE:
            kind, place = _INPUT_DONE[name], _key(value)
            key = self._keys.get(place, place)
            self._done[key] = value.get(_CALLER_CALLS[kind])
            if name_said := text_of(value.get("name")):
                # The call has no beginning, or no name in its beginning.
                begun = self._begun.setdefault(key, {**value, "type": kind, "id": value.get("item_id")})
                self._begun[key] = {**begun, "name": text_of(begun.get("name")) or name_said}
        elif name in _RESTATED:
            self._read_restated(event, name, value)
        elif name in _TERMINAL:
            # The type is both the finish reason and the end mark.
            event.kind, event.finish = Kind.TERMINAL, True
            self._read_end(event, name, response if isinstance(response, dict) else {})
        elif name in ("response.failed", "response.cancelled"):
            _fail(event, response if isinstance(response, dict) else value)
        elif name in ("error", "response.error") or event.event == "error":
            error_event(event, value)
        elif name in KEEPALIVE_NAMES:
            event.kind = Kind.USAGE if event.usage is not None else Kind.KEEPALIVE
        elif name.endswith(".delta") and says_something(value.get("delta")):
            # An unknown kind of output.
            event.kind = _kind_of_delta(name)
        elif event.usage is not None and name != "response.created":
            event.kind = Kind.USAGE

    def _key_of(self, place: str, item: dict[str, Any]) -> str:
        """The key of a call at ``place``. Some servers give all calls one place, so the key may be a new one."""
        key = self._keys.get(place, place)
        if text_of(item.get("type")) not in _CALLER_CALLS:
            return key
        identities = _identities(item)
        known = self._ids.get(key)
        another = bool(known and identities and not known & identities)
        if not identities and key in self._stated:
            # Without ids, only name and arguments tell this call from the complete call before.
            another = self._stated[key] != _statement(item)
        if another:
            key = self._keys[place] = f"{place}#{len(self._ids) + len(self._stated)}"
        self._identify(key, identities)
        return key

    def _identify(self, key: str, identities: set[str]) -> None:
        self._ids.setdefault(key, set()).update(identities)
        for identity in identities:
            self._by_id.setdefault(identity, key)

    def _key_in_end(self, place: str, item: dict[str, Any]) -> str:
        """:meth:`_key_of` for a call in the whole response, whose places may differ from those of the events."""
        identities = _identities(item)
        known = next((self._by_id[identity] for identity in sorted(identities) if identity in self._by_id), None)
        if known is not None:
            return known
        key = self._keys.get(place, place)
        begun = self._begun.get(key)
        if begun is not None and key not in self._whole and _name(begun) in ("", _name(item)):
            # The call has other ids here than in its events.
            self._identify(key, identities)
            return key
        return self._key_of(place, item)

    def _read_restated(self, event: Event, name: str, value: dict[str, Any]) -> None:
        part = value.get("part")
        text = words_of(value.get("text")) or words_of(value.get("refusal"))
        if isinstance(part, dict):
            text = words_of(part.get("text")) or words_of(part.get("refusal"))
        place = value.get("output_index")
        if "reasoning" in name or (isinstance(part, dict) and part.get("type") in ("reasoning_text", "summary_text")):
            event.reasoning = self.restated(_said(self._reasoning, place, *_reasoning_place(value)), text)
        else:
            event.text = self.restated(_said(self._text, place, value.get("content_index")), text)
        if event.text or event.reasoning:
            event.kind = Kind.TEXT if event.text else Kind.REASONING

    def _completed(self, parts: list[str], said: dict[Any, Said]) -> str:
        """The new text in the parts of a whole response, whose places may differ from those of the events."""
        known = [text for text in said.values() if text]
        if not parts or (len(parts) != len(known) and sum(map(len, parts)) == sum(text.length for text in known)):
            # The same text, divided differently.
            return ""
        if len(known) == 1:
            return self.restated(known[0], "".join(parts))
        known += [Said() for _ in range(len(parts) - len(known))]
        self.contradictions += len(known) > len(parts)
        return "".join([self.restated(text, part) for text, part in zip(known, parts, strict=False)])

    def _read_item(self, event: Event, key: str, item: dict[str, Any]) -> None:
        kind = text_of(item.get("type"))
        if kind in _CALLER_CALLS:
            statement = _statement(item)
            item = {**item, "name": _name(item) or _name(self._begun.get(key, {}))}
            call = _call(key, item)
            if not call.complete and key in self._done:
                call = _call(key, {**item, _CALLER_CALLS[kind]: self._done[key]})
            if not call.complete and _is_bare(item) and item.get("status") in ("completed", None):
                # A call without arguments, or cut before them: the end of the response decides.
                self._begun[key], self._done[key] = item, ""
            event.tools = (call,)
            event.kind = Kind.TOOL_CALL if call.complete else Kind.TOOL_INPUT
            if call.complete:
                self._stated[key] = statement
                self._whole |= {key, *_identities(item)}
        elif kind in _HARMLESS_CALLS:
            event.kind = Kind.TOOL_INPUT
            self._has_shown = self._has_shown or _shows(item)
        elif kind.endswith("_call"):
            # MCP, and future types of calls: these may have had side effects.
            event.kind = Kind.TOOL_CALL
        elif kind in ("reasoning", "compaction"):
            # Without a summary this is the only sign of reasoning.
            event.kind = Kind.REASONING
        elif kind == "message":
            self._read_message(event, key, item)

    def _read_message(self, event: Event, key: str, item: dict[str, Any]) -> None:
        """Read a message whose parts came in no other events."""
        if not any(self._text.values()):
            place = int(key) if key.isdecimal() else key
            for at, text in enumerate(_texts([item])):
                event.text += self.restated(_said(self._text, place, at), text)
        if event.text:
            event.kind = Kind.TEXT

    def _read_end(self, event: Event, name: str, response: dict[str, Any]) -> None:
        status = response.get("status")
        if status in ("failed", "cancelled") or response.get("error"):
            _fail(event, response)
            return
        event.cut = name == "response.incomplete" or status == "incomplete"
        # Some servers stream no part of an answer, or not all of it, and send it here.
        output = [item if isinstance(item, dict) else {} for item in _list(response.get("output"))]
        event.text = self._completed([text for text in _texts(output) if text], self._text)
        event.reasoning = self._completed([text for text in _thoughts(output) if text], self._reasoning)
        if not event.cut:
            event.tools = tuple(
                _call(self._key_in_end(str(at), item), item, closed=item.get("status") == "completed")
                for at, item in enumerate(output)
                if text_of(item.get("type")) in _CALLER_CALLS and self._is_new(str(at), _identities(item))
            )
            for piece in event.tools:
                self._whole |= {piece.key, *filter(None, (piece.id,))} if piece.complete else set()
            event.tools = (*event.tools, *self._closed())
        if not event.has_content and not self._has_shown and any(map(_shows, output)):
            # A picture or sound without an event of its own makes this event content.
            event.kind, self.over = Kind.TEXT, True

    def _closed(self) -> tuple[ToolDelta, ...]:
        """Calls that their own done events closed, and that no item has restated."""
        calls = []
        for key, arguments in self._done.items():
            item = self._begun.get(key, {})
            kind = text_of(item.get("type"))
            if kind in _CALLER_CALLS and not self._whole & {key, *_identities(item)}:
                stated = {**item, _CALLER_CALLS[kind]: arguments, "status": "completed"}
                call = _call(key, stated, closed=True)
                calls += [call] if call.complete else []
        self._done.clear()
        return tuple(calls)

    def _is_new(self, key: str, identities: set[str]) -> bool:
        # A call without an id cannot be told from an earlier call.
        if not identities:
            return not self._whole
        return not self._whole & identities and (key not in self._whole or bool(self._ids.get(key)))

    # -- what the provider runs ---------------------------------------------

    def _note(self, kind: str) -> None:
        self.provider_acted = self.provider_acted or may_act(kind)

    def _note_event(self, name: str) -> None:
        of_call = _OF_CALL.match(name)
        if of_call is not None:
            self._note(_tool_of(of_call[1]))
        elif name.startswith("response.mcp_"):
            self._note("mcp")

    def _note_item(self, item: dict[str, Any]) -> None:
        kind = text_of(item.get("type"))
        if kind.endswith("_call"):
            self._note(_tool_of(kind))
        elif kind.startswith("mcp_"):
            self._note("mcp")

    def _note_response(self, response: dict[str, Any]) -> None:
        """Note the tools in the response, including the server's own and those stored at the server."""
        for item in _list(response.get("output")):
            if isinstance(item, dict):
                self._note_item(item)
        if response.get("tool_choice") == "none":
            return
        for tool in _list(response.get("tools")):
            kind = tool.get("type") if isinstance(tool, dict) else None
            inner = _list(tool.get("tools")) if isinstance(tool, dict) and kind == "namespace" else [tool]
            for one in inner:
                self._note(text_of(one.get("type")) if isinstance(one, dict) else "")


def _kind_of_delta(name: str) -> Kind:
    if is_thinking(name):
        return Kind.REASONING
    return Kind.TOOL_INPUT if "_call" in name or "tool" in name else Kind.TEXT


def _said(parts: dict[Any, Said], *place: Any) -> Said:
    said = parts.get(place)
    if said is None:
        said = parts[place] = Said()
    return said


def _reasoning_place(value: dict[str, Any]) -> tuple[Any, Any]:
    return value.get("content_index"), value.get("summary_index")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _fail(event: Event, response: dict[str, Any]) -> None:
    event.kind = Kind.ERROR
    cancelled = response.get("status") == "cancelled" or event.event == "response.cancelled"
    event.error = error_in(response) or (
        StreamError("cancelled", None, "the response was cancelled")
        if cancelled
        else StreamError(None, None, "the response failed, no reason was given")
    )


def _key(value: dict[str, Any], item: dict[str, Any] | None = None) -> str:
    place = value.get("output_index")
    if type(place) is int:
        return str(place)
    return text_of(value.get("item_id")) or text_of((item or {}).get("id")) or "0"


def _tool_of(call: str) -> str:
    return call.removesuffix("_call").removesuffix("_tool")


def _read_beginning(event: Event, key: str, item: dict[str, Any]) -> None:
    # Counts before any arguments: a call that is cut here has begun.
    kind = text_of(item.get("type"))
    if kind in _CALLER_CALLS:
        event.kind = Kind.TOOL_INPUT
        event.tools = (ToolDelta(key, _identity(item), _name(item) or None),)
    elif kind.endswith("_call") and kind not in _HARMLESS_CALLS:
        event.kind = Kind.TOOL_INPUT


def _identity(item: dict[str, Any]) -> str | None:
    return text_of(item.get("call_id")) or text_of(item.get("id")) or None


def _identities(item: dict[str, Any]) -> set[str]:
    return {text_of(item.get("call_id")), text_of(item.get("id"))} - {""}


def _name(item: dict[str, Any]) -> str:
    kind = text_of(item.get("type"))
    return text_of(item.get("name")) or ("" if kind in _NAMED else kind.removesuffix("_call"))


def _statement(item: dict[str, Any]) -> tuple[str, Any]:
    """The name and the arguments of a call in its item."""
    return text_of(item.get("name")), item.get(_CALLER_CALLS[text_of(item.get("type"))])


def _call(key: str, item: dict[str, Any], *, closed: bool = False) -> ToolDelta:
    """The call in an item. A call without arguments is complete only if known to be ``closed``."""
    kind = text_of(item.get("type"))
    identity, name = _identity(item), _name(item) or None
    if name is None or item.get("status") in ("incomplete", "in_progress"):
        return ToolDelta(key, identity, name)
    arguments = item.get(_CALLER_CALLS[kind])
    if _is_bare(item):
        # A closed call without arguments; a cut call looks the same.
        arguments = None if not closed else {"input": ""} if kind == "custom_tool_call" else {}
    elif kind == "custom_tool_call":
        arguments = {"input": arguments}
    elif kind == "computer_call" and arguments is None and _list(item.get("actions")):
        # The newer form has a list of actions.
        arguments = {"actions": item["actions"]}
    return whole_call(key, identity, name, arguments) or ToolDelta(key, identity, name)


def _is_bare(item: dict[str, Any]) -> bool:
    kind = text_of(item.get("type"))
    return kind in ("function_call", "custom_tool_call") and item.get(_CALLER_CALLS[kind]) in (None, "")


def _thoughts(output: list[dict[str, Any]]) -> Iterator[str]:
    """The visible reasoning in a whole response."""
    for item in output:
        if item.get("type") == "reasoning":
            for part in (*_list(item.get("summary")), *_list(item.get("content"))):
                if isinstance(part, dict):
                    yield words_of(part.get("text"))


def _shows(item: dict[str, Any]) -> bool:
    """Whether an item has output without text: a picture or sound."""
    if item.get("type") == "image_generation_call":
        return bool(item.get("result"))
    parts = _list(item.get("content")) if item.get("type") == "message" else ()
    return any(
        isinstance(part, dict) and part.get("type") == "output_audio" and bool(part.get("data")) for part in parts
    )


def _texts(output: list[dict[str, Any]]) -> Iterator[str]:
    """The text of the messages of a whole response."""
    for item in output:
        if item.get("type") == "message":
            for part in _list(item.get("content")):
                if isinstance(part, dict):
                    yield next((text for name in _PART_TEXTS if (text := words_of(part.get(name)))), "")
