"""Tool calls in progress.

A call is complete only if the provider closed the call and its arguments are a JSON object. A call that was closed
without arguments has the arguments ``{}``. A call is closed by its own stop or done event, or by a finish mark that is
not a cut; an end mark alone closes nothing. The arguments must be an object because the beginning of another JSON value
can be valid by itself (``12`` of ``123``), and because providers call tools with objects only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from llmwatch.wire.event import ToolDelta

__all__ = ["OpenCalls", "Places", "bare_call", "is_whole", "name_of", "whole_call"]


def is_whole(arguments: str) -> bool:
    """Whether ``arguments`` is the JSON text of an object."""
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False


def name_of(said: Sequence[str]) -> str:
    """The name of a call from the texts in its events: each the name so far, or each the next piece."""
    return said[-1] if all(later.startswith(earlier) for earlier, later in pairwise(said)) else "".join(said)


# Messages of the JSON parser that prove a text invalid at the next character, and the characters with which a cut
# number or word could continue. Any other message proves nothing.
_MISSED = (
    ("Expecting property name", ""),
    ("Expecting ':'", ""),
    ("Extra data", ""),
    ("Expecting ','", ".eE"),
    ("Expecting value", "tfnNI-"),
)


def _is_beginning(text: str) -> bool:
    """Whether a JSON value may begin with ``text``; true in doubt."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        char = text[error.pos : error.pos + 1]
        return not char or not any(error.msg.startswith(words) and char not in cut for words, cut in _MISSED)
    except (ValueError, RecursionError):
        pass
    return True


def _restated(fragments: list[str]) -> str | None:
    """The arguments, if each fragment restates all so far; ``None`` if the fragments may be pieces.

    Pieces can look like restatements (``{"a":`` and ``{"a":1}``), so the concatenation must not be the beginning of an
    object.
    """
    written = [fragment for fragment in fragments if fragment.strip()]
    if len(written) < 2 or not all(later.startswith(earlier) for earlier, later in pairwise(written)):
        return None
    return written[-1] if is_whole(written[-1]) and not _is_beginning("".join(written)) else None


def _placed(fragments: list[str]) -> str | None:
    """The arguments after an empty object as placeholder, with which proxies of Messages begin a call."""
    written = [fragment for fragment in fragments if fragment.strip()]
    rest = "".join(written[1:])
    return rest if written and written[0].strip() == "{}" and is_whole(rest) else None


# Quotes and brackets outside a string; quotes and escapes within one.
_MARKS = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'["\\]')


class _Arguments:
    """The arguments of one open call.

    ``whole`` is asked repeatedly while the arguments grow, so each character is examined a fixed number of times. A
    text without a bracket at its end is not an object; else it is parsed. After a failed parse, it is parsed once more
    only when all brackets are closed, and the second result is final.
    """

    __slots__ = ("_depth", "_escaped", "_hopeless", "_quoted", "_scanned", "_tried", "blank", "changed", "fragments")

    def __init__(self) -> None:
        self.fragments: list[str] = []
        self.blank = True
        """Only white space has come."""
        self.changed = False
        """A fragment has come since :meth:`OpenCalls.close_whole` examined the arguments last."""
        self._tried = False  # a parse failed
        self._hopeless = False  # nothing that follows can make the arguments an object
        self._scanned = 0  # fragments
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def add(self, fragment: str) -> None:
        """Append the next piece."""
        self.fragments.append(fragment)
        self.blank = self.blank and not fragment.strip()

    @property
    def ends_as_object(self) -> bool:
        """Whether the last character other than white space is ``}``."""
        for fragment in reversed(self.fragments):
            if last := fragment.rstrip()[-1:]:
                return last == "}"
        return False

    @property
    def whole(self) -> bool:
        """Whether the arguments are a complete object, so that nothing can follow."""
        if self._hopeless or not self.ends_as_object:
            return False
        if self._tried and not self._closed():
            return False
        if is_whole("".join(self.fragments)):
            return True
        self._hopeless = self._tried
        self._tried = True
        return False

    def _closed(self) -> bool:
        """Whether every bracket and every string is closed."""
        for fragment in self.fragments[self._scanned :]:
            self._scan(fragment)
        self._scanned = len(self.fragments)
        return self._depth <= 0 and not self._quoted

    def _scan(self, text: str) -> None:
        at = 1 if self._escaped and text else 0
        self._escaped = self._escaped and not text
        while found := (_IN_STRING if self._quoted else _MARKS).search(text, at):
            at, mark = found.end(), found[0]
            if mark == '"':
                self._quoted = not self._quoted
            elif mark == "\\":
                self._escaped = at == len(text)
                at += 1
            else:
                self._depth += 1 if mark in "{[" else -1


class OpenCalls:
    """The open calls of one attempt, by key.

    The part of a key before the first dot is the call's group: the choice. The input of a *custom* tool is free text.
    It is returned as ``{"input": "..."}``, which can be parsed and told from a cut input.
    """

    __slots__ = ("_changed", "_closed", "_free", "_groups", "_names", "_open")

    def __init__(self) -> None:
        self._open: dict[str, _Arguments] = {}
        self._groups: dict[str, dict[str, int]] = {}  # open calls, numbered in the order in which they began
        self._changed: dict[str, list[str]] = {}  # open calls that close_whole must examine again
        self._names: dict[str, list[str]] = {}
        self._free: set[str] = set()
        self._closed: dict[str, str] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._open

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._open))

    def of(self, group: object) -> tuple[str, ...]:
        """The open calls of a group, in the order in which they began."""
        return tuple(self._groups.get(str(group), ()))

    def add(self, key: str, fragment: str = "", *, free: bool = False) -> None:
        """Add a piece of a call's arguments; the first opens the call, as one with ``free`` text or not."""
        if key not in self._open:
            self._begin(key)
            if free:
                self._free.add(key)
        self.extend(key, fragment)

    def _begin(self, key: str) -> None:
        self._open[key] = _Arguments()
        group = self._groups.setdefault(_group_of(key), {})
        group[key] = next(reversed(group.values()), -1) + 1

    def extend(self, key: str, fragment: str) -> bool:
        """Add a piece to an open call; false if no open call has this key."""
        arguments = self._open.get(key)
        if arguments is None:
            return False
        arguments.add(fragment)
        if not arguments.changed:
            arguments.changed = True
            self._changed.setdefault(_group_of(key), []).append(key)
        return True

    def name(self, key: str, said: str | None) -> str | None:
        """The call's name after one more event, which states ``said`` of it.

        ``None`` if no event stated a name, or if ``said`` contradicts the name after the arguments have begun.
        """
        names = self._names.setdefault(key, [])
        if said and (not names or (self.is_empty(key) and key not in self._closed)):
            names.append(said)
        elif said and said != name_of(names):
            return None
        return name_of(names) if names else None

    def text(self, key: str) -> str:
        """The call's arguments so far, or all the arguments of a closed call."""
        arguments = self._open.get(key)
        return self._closed.get(key, "") if arguments is None else "".join(arguments.fragments)

    def is_whole(self, key: str) -> bool:
        """Whether the arguments of an open call are a complete object, so that nothing can follow."""
        arguments = self._open.get(key)
        return arguments is not None and arguments.whole

    def is_empty(self, key: str) -> bool:
        """Whether none of the call's arguments have come."""
        arguments = self._open.get(key)
        return not self._closed.get(key, "").strip() if arguments is None else arguments.blank

    def close(self, key: str) -> ToolDelta | None:
        """Close the call on the provider's word; return the completing piece, ``None`` if the call is cut."""
        call = self._open.pop(key, None)
        if call is None:
            return None
        fragments = call.fragments
        group = self._groups[_group_of(key)]
        del group[key]
        if not group:
            del self._groups[_group_of(key)]
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
            # The arguments came in pieces and then once more as a whole.
            return ToolDelta(key, arguments=half, complete=True, whole=True)
        restated = _restated(fragments) or _placed(fragments)
        if restated is not None:
            self._closed[key] = restated
            return ToolDelta(key, arguments=restated, complete=True, whole=True)
        return None

    def close_unless_half(self, key: str) -> ToolDelta | None:
        """:meth:`close`, but a call with incomplete arguments stays open."""
        arguments = self._open.get(key)
        if arguments is not None and key not in self._free and not (arguments.blank or arguments.ends_as_object):
            return None
        closed = self.close(key)
        if closed is None and arguments is not None and not arguments.blank:
            self.add(key, self._closed.pop(key))
        return closed

    def close_if_whole(self, key: str) -> ToolDelta | None:
        """Close the call if its arguments are a complete object; else leave the call open."""
        if key in self._free or not self.is_whole(key):
            return None
        return self.close(key)

    def close_whole(self, group: object) -> tuple[ToolDelta, ...]:
        """:meth:`close_if_whole` for the calls of a group that have changed since the last time."""
        name = str(group)
        numbers = self._groups.get(name, {})
        keys = [key for key in self._changed.pop(name, ()) if key in numbers]
        for key in keys:
            self._open[key].changed = False
        ordered = sorted(keys, key=numbers.__getitem__)
        return tuple(closed for key in ordered if (closed := self.close_if_whole(key)) is not None)


def _group_of(key: str) -> str:
    return key.partition(".")[0]


class Places:
    """The latest call at each place. Some servers give all calls of an answer the same place."""

    __slots__ = ("_ids", "_keys")

    def __init__(self) -> None:
        self._ids: dict[str, str | None] = {}
        self._keys: dict[str, str] = {}

    def at(self, place: str) -> str:
        """The key of the latest call at ``place``."""
        return self._keys.get(place, place)

    def begin(self, place: str, identity: str | None, *, is_open: bool) -> str:
        """The key of a call that begins at ``place``: a new key, unless the latest is open with the same id."""
        key = self.at(place)
        if key in self._ids and not (is_open and self._ids[key] == identity):
            key = self._keys[place] = f"{place}#{len(self._ids)}"
        self._ids[key] = identity
        return key


def bare_call(key: str, id: str | None = None, name: str | None = None) -> ToolDelta:
    """The piece for a call that was closed without arguments."""
    return ToolDelta(key, id, name, "{}", complete=True, whole=True)


def whole_call(key: str, id: str | None, name: str | None, arguments: object) -> ToolDelta | None:
    """A call that came in one piece, with an object or its JSON text; ``None`` for other arguments."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolDelta(key, id, name, text, complete=True, whole=True) if is_whole(text) else None
