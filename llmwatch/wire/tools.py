"""Tool calls while they are being written.

A call may come out only when the provider closed it and its arguments are a JSON object. One that was closed without
any has none to give: its arguments are ``{}``. What closes a call is its own stop or done event, or a finish mark that
is no cut; an end mark alone closes nothing. An object is asked for
because the beginning of any other JSON value can be valid by itself (``12`` of ``123``), and no provider calls
a tool with anything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise

from llmwatch.wire.event import ToolDelta

__all__ = ["OpenCalls", "Places", "bare_call", "is_whole", "name_of", "whole_call"]


def is_whole(arguments: str) -> bool:
    """Whether these are the arguments of a call, neither empty nor cut."""
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False


def name_of(said: Sequence[str]) -> str:
    """The name of a call whose events ``said`` this of it, in order: each time all of it so far, or its next piece."""
    return said[-1] if all(later.startswith(earlier) for earlier, later in pairwise(said)) else "".join(said)


# What the parser misses in a text that goes on there with a character that nothing can mend, and the characters with
# which a number or a word that is cut short would go on. Any other complaint proves nothing.
_MISSED = (
    ("Expecting property name", ""),
    ("Expecting ':'", ""),
    ("Extra data", ""),
    ("Expecting ','", ".eE"),
    ("Expecting value", "tfnNI-"),
)


def _is_beginning(text: str) -> bool:
    """Whether a JSON value could begin with ``text``, as far as can be told."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        found = text[error.pos : error.pos + 1]
        return not found or not any(error.msg.startswith(words) and found not in cut for words, cut in _MISSED)
    except (ValueError, RecursionError):
        pass
    return True


def _restated(fragments: list[str]) -> str | None:
    """The arguments of which each fragment says all so far; ``None`` where the fragments may be pieces that were cut.

    An object in an object can look so too: ``{"a":`` and ``{"a":1}``. So the pieces together must be something that no
    object begins with.
    """
    said = [fragment for fragment in fragments if fragment.strip()]
    if len(said) < 2 or not all(later.startswith(earlier) for earlier, later in pairwise(said)):
        return None
    return said[-1] if is_whole(said[-1]) and not _is_beginning("".join(said)) else None


def _placed(fragments: list[str]) -> str | None:
    """The arguments behind an empty object that stood in for them, as proxies of Messages begin a call."""
    said = [fragment for fragment in fragments if fragment.strip()]
    rest = "".join(said[1:])
    return rest if said and said[0].strip() == "{}" and is_whole(rest) else None


class OpenCalls:
    """The calls of one attempt that were begun and not closed, by key.

    The input of a *custom* tool is free text. To give it a form that can be parsed, and told from a cut one, it
    comes out as ``{"input": "..."}``.
    """

    __slots__ = ("_closed", "_fragments", "_free", "_names")

    def __init__(self) -> None:
        self._fragments: dict[str, list[str]] = {}
        self._names: dict[str, list[str]] = {}
        self._free: set[str] = set()
        self._closed: dict[str, str] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._fragments

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._fragments))

    def add(self, key: str, fragment: str = "", *, free: bool = False) -> None:
        """A piece of the call's arguments; the first one opens it, and says whether its input is free text."""
        if key not in self._fragments:
            self._fragments[key] = []
            if free:
                self._free.add(key)
        self._fragments[key].append(fragment)

    def extend(self, key: str, fragment: str) -> bool:
        """One more piece of an open call; false where there is none of that key."""
        fragments = self._fragments.get(key)
        if fragments is None:
            return False
        fragments.append(fragment)
        return True

    def name(self, key: str, said: str | None) -> str | None:
        """The call's name with what one more event says of it; ``None`` where none did, or where the name that stood
        when the arguments began would be another one.
        """
        names = self._names.setdefault(key, [])
        if said and (not names or (self.is_empty(key) and key not in self._closed)):
            names.append(said)
        elif said and said != name_of(names):
            return None
        return name_of(names) if names else None

    def text(self, key: str) -> str:
        """The call's arguments so far, or all of them once it is closed."""
        fragments = self._fragments.get(key)
        return self._closed.get(key, "") if fragments is None else "".join(fragments)

    def is_whole(self, key: str) -> bool:
        """Whether the call's arguments are an object already, so that nothing can follow."""
        return is_whole("".join(self._fragments.get(key, ())))

    def is_empty(self, key: str) -> bool:
        """Whether nothing of the call's arguments came."""
        return not self.text(key).strip()

    def close(self, key: str) -> ToolDelta | None:
        """End the call, as the provider says: the piece that says it is complete, ``None`` where it is cut."""
        if key not in self._fragments:
            return None
        fragments = self._fragments.pop(key)
        arguments = self._closed[key] = "".join(fragments)
        if key in self._free:
            self._free.discard(key)
            return whole_call(key, None, None, {"input": arguments})
        if not arguments.strip():
            return bare_call(key)
        if is_whole(arguments):
            return ToolDelta(key, complete=True)
        half = arguments[: len(arguments) // 2]
        if arguments == half * 2 and is_whole(half):
            # They came in pieces and then once more as a whole.
            return ToolDelta(key, arguments=half, complete=True, whole=True)
        restated = _restated(fragments) or _placed(fragments)
        if restated is not None:
            self._closed[key] = restated
            return ToolDelta(key, arguments=restated, complete=True, whole=True)
        return None

    def close_unless_half(self, key: str) -> ToolDelta | None:
        """The same, but a call whose arguments were begun and are no object yet stays open."""
        arguments = self.text(key)
        closed = self.close(key)
        if closed is None and arguments and key not in self._fragments:
            self._fragments[key] = [self._closed.pop(key)]
        return closed

    def close_if_whole(self, key: str) -> ToolDelta | None:
        """End the call if its arguments are an object already, so that nothing can follow; else leave it open."""
        if key in self._free or not self.is_whole(key):
            return None
        return self.close(key)


class Places:
    """Which call stands at a place. Some servers number all of them alike, so that it need not be the one before."""

    __slots__ = ("_ids", "_keys")

    def __init__(self) -> None:
        self._ids: dict[str, str | None] = {}
        self._keys: dict[str, str] = {}

    def at(self, place: str) -> str:
        """The key of the call that stands there."""
        return self._keys.get(place, place)

    def begin(self, place: str, identity: str | None, *, is_open: bool) -> str:
        """The key of the call that begins there: another one, unless the one before ``is_open`` and has the same id."""
        key = self.at(place)
        if key in self._ids and not (is_open and self._ids[key] == identity):
            key = self._keys[place] = f"{place}#{len(self._ids)}"
        self._ids[key] = identity
        return key


def bare_call(key: str, id: str | None = None, name: str | None = None) -> ToolDelta:
    """A call that was closed without arguments: it takes none."""
    return ToolDelta(key, id, name, "{}", complete=True, whole=True)


def whole_call(key: str, id: str | None, name: str | None, arguments: object) -> ToolDelta | None:
    """A call that the provider gave in one piece: an object, or the JSON text of one. ``None`` where it is neither."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolDelta(key, id, name, text, complete=True, whole=True) if is_whole(text) else None
