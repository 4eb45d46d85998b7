"""``openai-chat``: chat completions, and the older completions, of OpenAI and compatible servers.

Source: OpenAI's API reference (chat completion chunks); DeepSeek and vLLM for ``reasoning_content``, OpenRouter for
``reasoning``, ``reasoning_details``, ``images`` and errors in mid-stream, Mistral for content in parts.

``finish_reason`` ends a choice and not the stream: a usage chunk and ``[DONE]`` follow. The answer is finished once the
requested number of choices are finished and none is open.
"""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

from llmwatch.payload.executors import may_act
from llmwatch.wire.dialects.base import (
    MOST_PIECES,
    Dialect,
    NotAnObject,
    Said,
    UnknownShape,
    error_event,
    failure,
    fragment_of,
    is_cut,
    is_done,
    is_keepalive,
    named,
    text_of,
    words_of,
)
from llmwatch.wire.dialects.repeated import Repeated
from llmwatch.wire.error_objects import bare_error, error_in, has_error, is_named
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.news import is_thinking, thoughts, unknown_news
from llmwatch.wire.reasons import is_failure
from llmwatch.wire.tool_calls import OpenCalls, is_whole

__all__ = ["OpenAIChat"]

_TEXT = Kind.TEXT
_REASONING = Kind.REASONING
_TOOL_INPUT = Kind.TOOL_INPUT
_TOOL_CALL = Kind.TOOL_CALL
_KEEPALIVE = Kind.KEEPALIVE

# Groq's names of its own tools that only read, beside the common names.
_READING = frozenset(("search", "browser_search", "visit", "visit_website", "python", "wolfram_alpha"))


_NO_WORDS = (None, "")
_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_text", "thinking", "thinking_blocks")
_KNOWN = frozenset(
    ("content", "refusal", "audio", "images", "annotations", "executed_tools", "tool_calls", "function_call", "error")
)
# In a delta of nothing else there is no news.
_USUAL = _KNOWN | {"role"}


def _only(delta: dict[str, Any]) -> str:
    # The only field with a value. Many servers send every field they know, most of them as null.
    only = ""
    for name, value in delta.items():
        if value and name != "role":
            if only:
                return ""
            only = name
    return only


class OpenAIChat(Dialect):
    """One attempt in the chat completions dialect."""

    name = "openai-chat"

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[int, _Said] = {}
        self._open: dict[int, _Said] = {}
        self._done: set[int] = set()
        self._cut: set[int] = set()  # finished choices that are incomplete
        self._calls: _Calls | None = None  # most answers call no tool
        self._repeated = Repeated("content")
        self._speaking: _Said | None = None  # the choice that a repeated event belongs to

    def read(self, event: Event) -> None:
        text = self._repeated.value(event.data)
        if text and self._speaking is not None:
            event.kind = _TEXT
            event.text = text
            pieces = self._speaking.text
            pieces.append(text)
            if len(pieces) > MOST_PIECES:
                pieces.fold()
            return
        try:
            value = event.json()
        except ValueError:
            if not is_done(event):
                raise
            event.tools = self.closing()
            return
        if type(value) is not dict:
            if is_done(event):
                event.tools = self.closing()
                return
            raise NotAnObject
        choices = value.get("choices")
        if (
            type(choices) is not list
            or len(choices) != 1
            or "error" in value
            or "x_groq" in value
            or not self._read_usual(event, choices[0])
        ):
            self._read_any(event, value)
        elif value.get("usage") is not None:
            self.count(event, value["usage"])
        elif event.kind is _TEXT:
            self._repeated.learn(event.data, event.text)
            self._speaking = self._open[choices[0].get("index", 0)]

    def closing(self) -> tuple[ToolDelta, ...]:
        return () if self._calls is None else self._calls.close_bare()

    def _begun_calls(self) -> _Calls:
        if self._calls is None:
            self._calls = _Calls()
        return self._calls

    def _read_usual(self, event: Event, choice: Any) -> bool:
        # The usual event: one more piece of one field, for an open choice.
        if type(choice) is not dict or choice.get("finish_reason") or "error" in choice:
            return False
        delta = choice.get("delta")
        index = choice.get("index", 0)
        if type(delta) is not dict or type(index) is not int:
            return False
        said = self._open.get(index)
        if said is None:
            return False
        if len(delta) == 1:
            (name,) = delta
        else:
            name = _only(delta)
        piece = delta.get(name)
        if not piece:
            return False
        if name == "content" and type(piece) is str:
            event.kind = _TEXT
            event.text = piece
            pieces = said.text
            pieces.append(piece)
            if len(pieces) > MOST_PIECES:
                pieces.fold()
            return True
        if (name == "reasoning_content" or name == "reasoning") and type(piece) is str:
            event.kind = _REASONING
            event.reasoning = piece
            said.reasoning.add(piece)
            return True
        if name == "tool_calls" and type(piece) is list and len(piece) == 1 and type(piece[0]) is dict:
            event.tools = tools = self._begun_calls().read(index, piece[0])
            event.kind = _KEEPALIVE if not tools else _TOOL_CALL if tools[0].complete else _TOOL_INPUT
            return True
        return False

    def _read_any(self, event: Event, value: dict[str, Any]) -> None:
        choices = value.get("choices")
        choices = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
        error = (
            value
            if ("error" in value and has_error(value)) or event.event == "error" or value.get("object") == "error"
            else None
        )
        beside = value.get("x_groq")
        beside = beside if isinstance(beside, dict) else {}
        # OpenRouter puts errors into the choice, and others into the delta; Groq puts them beside the choices.
        places = [beside]
        for choice in choices:
            places += choice, choice.get("delta")
        for place in places:
            if isinstance(place, dict) and "error" in place and has_error(place):
                error = error or {"error": place["error"]}
        other = "choices" in value or event.event != "message" or is_named(value)
        if error is None and not choices and (error_in(value) or (not other and bare_error(value))):
            error = value
        if error is not None:
            error_event(event, error)
            event.text = "".join(map(_text_beside, choices))
            return
        pieces = _Pieces()
        ended = False
        for choice in choices:
            index = choice.get("index")
            index = index if type(index) is int else 0
            if value.get("object") == "chat.completion" and self._restates(index, choice):
                choice = {**choice, "delta": None, "message": choice["delta"]}
            ended = self._read_choice(index, choice, pieces) or ended
            if value.get("object") == "chat.completion.chunk":
                self._said[index].in_chunks = True
        self.finished = len(self._done) >= self.choices and not self._open
        event.finish = ended and self.finished
        event.cut = pieces.cut
        event.text = "".join(pieces.text)
        event.reasoning = "".join(pieces.reasoning)
        event.tools = tuple(pieces.tools)
        failed = next(filter(is_failure, pieces.reasons), None)
        if failed is not None:
            event.kind, event.error = Kind.ERROR, failure(failed)
        else:
            # Moonshot puts usage into the choice, Groq beside the choices.
            for place in (value, *choices, beside):
                if place.get("usage"):
                    self.count(event, place["usage"])
            event.kind = pieces.kind(ended=ended, usage=event.usage is not None, choices=bool(choices))
            if event.kind is Kind.LIFECYCLE and not choices and is_keepalive(event, value):
                event.kind = Kind.KEEPALIVE

    def _restates(self, index: int, choice: dict[str, Any]) -> bool:
        """Whether a ``chat.completion`` after chunks restates the message in its delta.

        Some servers give that name to an ordinary last chunk.
        """
        delta, said = choice.get("delta"), self._said.get(index)
        if said is None or not said.in_chunks or not isinstance(delta, dict) or not choice.get("finish_reason"):
            return False
        text = text_of(delta.get("content"))
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict) or not function.get("name"):
                return False
            if not is_whole(text_of(function.get("arguments"))):
                return False
        return said.text.missing(text) is not None if text and said.text else bool(calls)

    def _read_choice(self, index: int, choice: dict[str, Any], pieces: _Pieces) -> bool:
        said = self._said.get(index)
        if said is None:
            said = self._said[index] = _Said()
        if index not in self._done:
            self._open[index] = said
        delta, message = choice.get("delta"), choice.get("message")
        own = _Pieces()
        if isinstance(delta, dict) and delta:
            self._read_delta(index, delta, own)
            if own.detailed:
                said.take_details(own)
            said.add(own)
            pieces.extend(own)
        if isinstance(message, dict) and message:
            self._read_message(index, message, said, pieces)
        if "text" in choice and not any(own.text) and (text := words_of(choice["text"])):
            # The older completions. Together repeats the text of each delta here.
            pieces.text.append(text)
        reason = choice.get("finish_reason")
        if not isinstance(reason, str) or not reason:
            if index in self._done and index not in self._cut and self._calls is not None:
                # The finish mark was early. Calls after it are closed once they are complete, since no other event
                # closes them.
                pieces.tools += self._calls.close_whole(index)
            return False
        pieces.reasons.add(reason)
        cut = is_cut(reason)
        pieces.cut = pieces.cut or cut
        self._open.pop(index, None)
        self._done.add(index)
        if cut:
            self._cut.add(index)
        if self._calls is not None:
            closed = self._calls.close(index, () if cut else {tool.key for tool in own.tools})
            pieces.tools += () if cut else closed
        return True

    def _read_message(self, index: int, message: dict[str, Any], said: _Said, pieces: _Pieces) -> None:
        """Read a whole message: the answer in one event, a restatement of deltas, or one of several messages."""
        own = _Pieces()
        calls = message.get("tool_calls")
        self._read_delta(index, {**message, "tool_calls": None}, own)
        text, reasoning = "".join(own.text), "".join(own.reasoning)
        if said.in_messages and not said.cumulative and said.text.missing(text) is None:
            # There are no deltas, and this message does not extend the earlier text: the messages are pieces.
            said.add(own)
        else:
            said.cumulative = said.cumulative or bool(said.text)
            said.in_messages = said.in_messages or not said
            own.text, own.reasoning = [self.restated(said.text, text)], [self.restated(said.reasoning, reasoning)]
            own.role = own.role or bool(text or reasoning)
        pieces.extend(own)
        if calls and not isinstance(calls, list):
            raise UnknownShape
        listed: set[str] = set()
        for call in calls or ():
            if not isinstance(call, dict):
                raise UnknownShape
            stated = self._begun_calls().restate(index, call, listed)
            if stated is None:
                self.contradictions += 1
            else:
                pieces.tools += stated

    def _read_delta(self, index: int, delta: dict[str, Any], pieces: _Pieces) -> None:
        content = delta.get("content")
        if isinstance(content, list):
            pieces.add_parts(content)
        elif content not in _NO_WORDS:
            pieces.text.append(content if isinstance(content, str) else words_of(content))
        if (refusal := delta.get("refusal")) not in _NO_WORDS:
            pieces.text.append(words_of(refusal))
        audio = delta.get("audio")
        if isinstance(audio, dict):
            pieces.text.append(words_of(audio.get("transcript")))
        pieces.other = pieces.other or bool(audio or delta.get("images") or delta.get("annotations"))
        # The same reasoning may stand in several of these fields.
        thought = ""
        for name in _THOUGHTS:
            if name in delta and (thought := thoughts(delta[name])):
                break
        if details := delta.get("reasoning_details"):
            pieces.opaque = True
            pieces.detailed = not thought
            thought = thought or thoughts(details)
        pieces.reasoning.append(thought)
        news = None if _USUAL.issuperset(delta) else unknown_news(delta, _KNOWN)
        if news is not None:
            pieces.opaque = pieces.opaque or is_thinking(news)
            pieces.other = pieces.other or not is_thinking(news)
        pieces.role = pieces.role or bool(delta.get("role"))
        if executed := delta.get("executed_tools"):
            self.provider_acted = self.provider_acted or _has_acted(executed)
        calls = delta.get("tool_calls")
        if calls and not isinstance(calls, list):
            raise UnknownShape
        listed: set[str] = set()
        for call in calls or ():
            if not isinstance(call, dict):
                raise UnknownShape
            pieces.tools += self._begun_calls().read(index, call, listed)
        if delta.get("function_call"):
            # The older form: one call without an id.
            pieces.tools += self._begun_calls().read(index, {"index": "function", "function": delta["function_call"]})


def _has_acted(executed: Any) -> bool:
    """Whether one of the tools that a gateway ran may have side effects."""
    kinds = [tool.get("type") if isinstance(tool, dict) else None for tool in _list(executed)]
    return any(may_act(kind) and not (isinstance(kind, str) and kind in _READING) for kind in kinds)


def _text_beside(choice: dict[str, Any]) -> str:
    """The text of a choice beside an error."""
    delta = choice.get("delta")
    return (words_of(delta.get("content")) if isinstance(delta, dict) else "") or words_of(choice.get("text"))


def _parsed(arguments: str) -> Any:
    return json.loads(arguments) if is_whole(arguments) else None


def _identity(call: dict[str, Any]) -> str | None:
    """The call's id. Mistral sends the text ``null`` for no id (2026)."""
    identity = text_of(call.get("id"))
    return None if identity in ("", "null") else identity


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


_Statement = tuple[int, str | None, str]
"""The choice, the name and the arguments of a call."""


class _Calls:
    """Assigns fragments to calls.

    OpenAI numbers the calls of a choice and sends id and name with the first fragment only. Some servers number all
    calls 0, some send no numbers, some increase the number with every fragment, and some send name and id separately.
    So a new call begins with a new id and a name, with a name under a new number, or, without numbers, with another
    name or id than the latest call's. Any other fragment belongs to an open call.

    No event ends a call. A complete call is closed by the next call, and a call without half arguments by the finish
    mark of the choice. Without ids, a complete object after another one, with the name again, is another call of the
    same function (Gemini's compatible interface, 2026). The same object again is another call only if both are in one
    list.
    """

    __slots__ = (
        "_adopted",
        "_bare",
        "_by_id",
        "_by_statement",
        "_calls",
        "_changed",
        "_current",
        "_ids",
        "_keys",
        "_latest",
        "_statements",
        "_usual",
    )

    def __init__(self) -> None:
        self._calls = OpenCalls()
        self._keys: set[str] = set()
        self._ids: dict[str, str] = {}
        self._by_id: dict[tuple[int, str], str] = {}
        self._latest: dict[int, str] = {}
        self._current: dict[str, str] = {}  # the call under each number
        self._bare: set[str] = set()  # calls without arguments, unless some follow
        self._adopted: set[str] = set()  # numbers whose fragments were added to another call
        self._usual: dict[tuple[int, int], str] = {}
        self._changed: dict[str, int] = {}  # calls, with their choices, that changed since _look_at_changed
        self._statements: dict[str, _Statement] = {}
        self._by_statement: dict[_Statement, dict[str, None]] = {}

    def read(self, choice: int, call: dict[str, Any], listed: set[str] | None = None) -> tuple[ToolDelta, ...]:
        """The pieces in one entry of a list. ``listed`` holds the calls of earlier entries of the list."""
        place = call.get("index")
        function = call.get("function")
        if type(place) is int and type(function) is dict and not call.get("id") and not function.get("name"):
            # The usual fragment: more arguments of an open call.
            key = self._usual.get((choice, place))
            fragment = function.get("arguments")
            if key is not None and fragment and type(fragment) is str and self._calls.extend(key, fragment):
                self._changed[key] = choice
                return (ToolDelta(key, None, None, fragment),)
        custom = call.get("custom")
        if any(one and type(one) is not dict for one in (function, custom)):
            raise UnknownShape
        source = function if isinstance(function, dict) else custom if isinstance(custom, dict) else {}
        identity = _identity(call)
        name = text_of(source.get("name")) or None
        fragment = fragment_of(source.get("arguments")) or fragment_of(source.get("input"))
        if not (identity or name or fragment):
            return ()
        slot = f"{choice}.{place}" if isinstance(place, (int, str)) else None
        key = self._find(choice, slot, identity, name)
        again = key is not None and identity is None and name is not None and source is not custom
        if key is None or (again and self._is_next(key, fragment, listed=listed is not None and key in listed)):
            key = self._begin(choice, slot, identity)
        if listed is not None:
            listed.add(key)
        if identity:
            self._ids.setdefault(key, identity)
            self._by_id.setdefault((choice, identity), key)
        name = named(self._calls, key, name)
        ended = () if key in self._calls else self._before(choice)
        self._latest[choice] = key
        if slot is not None:
            self._current[slot] = key
            if type(place) is int:
                self._usual[choice, place] = key
        self._calls.add(key, fragment, free=source is custom)
        self._changed[key] = choice
        return (*ended, ToolDelta(key, identity, name, fragment))

    def _find(self, choice: int, slot: str | None, identity: str | None, name: str | None) -> str | None:
        """The call that a fragment belongs to; ``None`` if the fragment begins a call."""
        key = None if slot is None else self._current.get(slot)
        if key is not None and slot in self._adopted and (identity or name):
            # Fragments of this call were added to another call.
            raise UnknownShape
        if key is not None:
            return None if self._is_another(key, identity, name) else key
        known = self._by_id.get((choice, identity)) if identity else None
        if known is not None and not self._is_another(known, None, name):
            return known
        latest = self._latest.get(choice)
        if latest is None or latest not in self._calls:
            return latest if slot is None and not identity and not name else None
        if slot is None:
            return None if self._differs(latest, identity, name) else latest
        if identity or name or self._calls.is_whole(latest):
            return None
        self._adopted.add(slot)
        return latest

    def _is_another(self, key: str, identity: str | None, name: str | None) -> bool:
        """Whether a fragment begins another call under the same number, or with the same id."""
        if name is None:
            return False
        if identity and self._ids.get(key, identity) != identity:
            # vLLM sends a new id with each fragment of a call that was requested by name. After half an object, a
            # fragment with the same number and name belongs to it.
            half = key in self._calls and not self._calls.is_empty(key) and not self._calls.is_whole(key)
            return not (half and self._calls.name(key, None) == name)
        if self._calls.name(key, None) in (None, name) or (key in self._calls and self._calls.is_empty(key)):
            return False
        return identity is None or key not in self._calls or self._calls.is_whole(key)

    def _is_next(self, key: str, fragment: str, *, listed: bool) -> bool:
        """Whether ``fragment``, which came with the name of the call at ``key``, belongs to a next call."""
        if not is_whole(fragment) or (key in self._calls and not self._calls.is_whole(key)):
            return False
        text = self._calls.text(key)
        if not is_whole(text):
            return False
        said = json.loads(text)
        # An empty object may have been a placeholder.
        return listed or (bool(said) and said != json.loads(fragment))

    def _differs(self, key: str, identity: str | None, name: str | None) -> bool:
        if identity is not None and self._ids.get(key, identity) != identity:
            return True
        known = self._calls.name(key, None)
        if name is None or known is None:
            return False
        # Some servers send the name with every fragment.
        return known != name or (identity is None and self._calls.is_whole(key))

    def _begin(self, choice: int, slot: str | None, identity: str | None) -> str:
        key = slot or f"{choice}.{identity or 0}"
        while key in self._keys:
            key = f"{key}#{identity or len(self._keys)}"
        self._keys.add(key)
        return key

    def restate(self, choice: int, call: dict[str, Any], listed: set[str]) -> tuple[ToolDelta, ...] | None:
        """The new pieces of a call that a message states whole; ``None`` if it contradicts earlier fragments.

        ``listed`` holds the calls that the message stated before this one.
        """
        place, identity = call.get("index"), _identity(call)
        function = call.get("function")
        key = self._by_id.get((choice, identity)) if identity else None
        if not identity and isinstance(function, dict):
            key = self._same(choice, function, listed)
        if key is None and not identity:
            key = self._current.get(f"{choice}.{place}")
        if key is None or (key in listed and not identity):
            return self.read(choice, call, listed)
        listed.add(key)
        whole = fragment_of(function.get("arguments")) if isinstance(function, dict) else ""
        said = self._calls.text(key)
        if not whole or whole == said or (is_whole(said) and json.loads(said) == _parsed(whole)):
            return ()
        if not whole.startswith(said) or key not in self._calls:
            return None
        self._calls.add(key, whole[len(said) :])
        self._changed[key] = choice
        return (ToolDelta(key, None, None, whole[len(said) :]),)

    def _same(self, choice: int, function: dict[str, Any], listed: Container[str]) -> str | None:
        """The call with this name and these arguments, for a call without an id."""
        self._look_at_changed()
        statement = choice, text_of(function.get("name")), fragment_of(function.get("arguments"))
        return next((key for key in self._by_statement.get(statement, ()) if key not in listed), None)

    def _look_at_changed(self) -> None:
        for key, choice in self._changed.items():
            before = self._statements.get(key)
            if before is not None:
                del self._by_statement[before][key]
            statement = self._statements[key] = choice, self._calls.name(key, None), self._calls.text(key)
            self._by_statement.setdefault(statement, {})[key] = None
        self._changed.clear()

    def _before(self, choice: int) -> tuple[ToolDelta, ...]:
        # Complete calls end when another begins. Incomplete calls may continue in parallel.
        return self.close_whole(choice)

    def close_whole(self, choice: int) -> tuple[ToolDelta, ...]:
        """Close the complete calls of the choice; the others stay open."""
        return self._ended(self._calls.close_whole(choice), choice)

    def close(self, choice: int, begun: Container[str] = ()) -> list[ToolDelta]:
        """Close the calls of the choice; return the complete ones.

        Half a call stays open, because some servers put a finish mark into every chunk. For the same reason, a call
        that has ``begun`` with this chunk is a call without arguments only if none follow.
        """
        keys = self._calls.of(choice)
        if not keys:
            return []
        waiting = {key for key in keys if key in begun and self._calls.is_empty(key)}
        self._bare |= waiting
        ending = [key for key in keys if key not in waiting]
        closed = self._ended(
            tuple(call for key in ending if (call := self._calls.close_unless_half(key)) is not None), choice
        )
        return [*closed, *(ToolDelta(key, bare=True) for key in keys if key in waiting)]

    def _ended(self, closed: tuple[ToolDelta, ...], choice: int) -> tuple[ToolDelta, ...]:
        # Closing may have found that the arguments came twice.
        self._changed.update((call.key, choice) for call in closed if call.whole)
        return closed

    def close_bare(self) -> tuple[ToolDelta, ...]:
        """Close the calls whose finish mark came with their beginning, and that got no arguments since."""
        if not self._bare:
            return ()
        keys = [key for key in self._calls if key in self._bare and self._calls.is_empty(key)]
        return tuple(closed for key in keys if (closed := self._calls.close(key)) is not None)


class _Said:
    """The text so far of one choice, and whether it came in messages instead of deltas."""

    __slots__ = ("cumulative", "detailed", "in_chunks", "in_messages", "reasoning", "text")

    def __init__(self) -> None:
        self.text = Said()
        self.reasoning = Said()
        self.in_chunks = False  # an event with the type of a chunk came
        self.in_messages = False
        self.cumulative = False  # each message includes the earlier ones
        self.detailed = False  # the reasoning came in details

    def __bool__(self) -> bool:
        return bool(self.text or self.reasoning)

    def add(self, pieces: _Pieces) -> None:
        for text in pieces.text:
            self.text.add(text)
        for text in pieces.reasoning:
            self.reasoning.add(text)

    def take_details(self, pieces: _Pieces) -> None:
        """Remove from ``pieces``, which have reasoning in details only, what plain fields have said before."""
        whole = "".join(pieces.reasoning)
        if self.reasoning and not self.detailed and (missing := self.reasoning.missing(whole)) is not None:
            pieces.reasoning = [missing]
        else:
            self.detailed = True


class _Pieces:
    """The combined content of the choices of one chunk."""

    __slots__ = ("cut", "detailed", "opaque", "other", "reasoning", "reasons", "role", "text", "tools")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.tools: list[ToolDelta] = []
        self.reasons: set[str] = set()
        self.cut = False
        self.other = False
        self.opaque = False
        self.detailed = False  # the reasoning is in details only
        self.role = False

    def extend(self, other: _Pieces) -> None:
        """Add the content of another choice, or of another field."""
        self.text += other.text
        self.reasoning += other.reasoning
        self.tools += other.tools
        self.other = self.other or other.other
        self.opaque = self.opaque or other.opaque
        self.role = self.role or other.role

    def add_parts(self, parts: list[Any]) -> None:
        """Add content in parts: text, thinking with inner parts (Mistral), and summaries (Databricks)."""
        for part in parts:
            if not isinstance(part, dict):
                continue
            thinking = part.get("thinking")
            if isinstance(thinking, list):
                self.reasoning.extend(words_of(inner.get("text")) for inner in thinking if isinstance(inner, dict))
            self.reasoning.append(words_of(thinking))
            if isinstance(summary := part.get("summary"), list):
                self.reasoning.extend(words_of(inner.get("text")) for inner in summary if isinstance(inner, dict))
            self.text.append(words_of(part.get("text")))

    def kind(self, *, ended: bool, usage: bool, choices: bool) -> Kind:
        """The event's kind. A complete call outranks text, and text the rest, by importance for a resend."""
        if any(tool.complete for tool in self.tools):
            return Kind.TOOL_CALL
        if self.other or any(self.text):
            return Kind.TEXT
        if self.tools:
            return Kind.TOOL_INPUT
        if self.opaque or any(self.reasoning):
            return Kind.REASONING
        if usage and (ended or not self.role):
            return Kind.USAGE
        return Kind.LIFECYCLE if ended or self.role or not choices else Kind.KEEPALIVE
