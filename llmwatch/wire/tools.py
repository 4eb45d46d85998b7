"""Tool calls while they are being written.

A call may come out only when the provider closed it and its arguments are a JSON object. One that was closed without
any has none to give: its arguments are ``{}``. What closes a call is its own stop or done event, or a finish mark that
is no cut; an end mark alone closes nothing. An object is asked for
because the beginning of any other JSON value can be valid by itself (``12`` of ``123``), and no provider calls
a tool with anything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from llmwatch.wire.event import ToolDelta

__all__ = ["OpenCalls", "bare_call", "is_whole", "whole_call"]


def is_whole(arguments: str) -> bool:
    """Whether these are the arguments of a call, neither empty nor cut."""
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False


class OpenCalls:
    """The calls of one attempt that were begun and not closed, by key.

    The input of a *custom* tool is free text. To give it a form that can be parsed, and told from a cut one, it
    comes out as ``{"input": "..."}``.
    """

    __slots__ = ("_closed", "_fragments", "_free")

    def __init__(self) -> None:
        self._fragments: dict[str, list[str]] = {}
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

    def text(self, key: str) -> str:
        """The call's arguments so far, or all of them once it is closed."""
        fragments = self._fragments.get(key)
        return self._closed.get(key, "") if fragments is None else "".join(fragments)

    def is_whole(self, key: str) -> bool:
        """Whether the call's arguments are an object already, so that nothing can follow."""
        return is_whole("".join(self._fragments.get(key, ())))

    def is_empty(self, key: str) -> bool:
        """Whether nothing of the call's arguments came."""
        return not "".join(self._fragments.get(key, ())).strip()

    def close(self, key: str) -> ToolDelta | None:
        """End the call, as the provider says: the piece that says it is complete, ``None`` where it is cut."""
        if key not in self._fragments:
            return None
        arguments = self._closed[key] = "".join(self._fragments.pop(key))
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


def bare_call(key: str, id: str | None = None, name: str | None = None) -> ToolDelta:
    """A call that was closed without arguments: it takes none."""
    return ToolDelta(key, id, name, "{}", complete=True, whole=True)


def whole_call(key: str, id: str | None, name: str | None, arguments: object) -> ToolDelta | None:
    """A call that the provider gave in one piece: an object, or the JSON text of one. ``None`` where it is neither."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolDelta(key, id, name, text, complete=True, whole=True) if is_whole(text) else None
