"""Tool calls while they are being written.

A call may come out only when the provider closed it and its arguments are a JSON object. One that was closed without
any has none to give: its arguments are ``{}``. What closes a call is its own stop or done event, or a finish mark that
is no cut; an end mark alone closes nothing. An object is asked for
because the beginning of any other JSON value can be valid by itself (``12`` of ``123``), and no provider calls
a tool with anything else.
"""

from __future__ import annotations

import json
import re
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


# What opens and closes in JSON, and, in a string, what ends or escapes.
_MARKS = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'["\\]')


class _Arguments:
    """The arguments of one open call.

    Whether they are an object already is asked again and again while they grow. So each character is looked at a fixed
    number of times: a text that does not end as an object does is none; one that does is parsed; and where that was in
    vain, it is parsed once more only when its brackets are closed, which ends the matter.
    """

    __slots__ = ("_depth", "_escaped", "_hopeless", "_quoted", "_scanned", "_tried", "blank", "changed", "fragments")

    def __init__(self) -> None:
        self.fragments: list[str] = []
        self.blank = True
        """Nothing has come but white space."""
        self.changed = False
        """Something has come since somebody has looked last whether they are whole."""
        self._tried = False  # they were parsed, and were no object
        self._hopeless = False  # and nothing that follows can make them one
        self._scanned = 0  # fragments
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def add(self, fragment: str) -> None:
        """The next piece."""
        self.fragments.append(fragment)
        self.blank = self.blank and not fragment.strip()

    @property
    def ends_as_object(self) -> bool:
        """Whether the last of them that is no white space closes a bracket of an object."""
        for fragment in reversed(self.fragments):
            if last := fragment.rstrip()[-1:]:
                return last == "}"
        return False

    @property
    def whole(self) -> bool:
        """Whether they are an object, so that nothing can follow."""
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
        """Whether every bracket is closed, and every string."""
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
    """The calls of one attempt that were begun and not closed, by key. What stands in front of a key's first point is
    its group: the choice, where there are several.

    The input of a *custom* tool is free text. To give it a form that can be parsed, and told from a cut one, it
    comes out as ``{"input": "..."}``.
    """

    __slots__ = ("_changed", "_closed", "_free", "_groups", "_names", "_open")

    def __init__(self) -> None:
        self._open: dict[str, _Arguments] = {}
        self._groups: dict[str, dict[str, int]] = {}  # the open ones, numbered as they were begun
        self._changed: dict[str, list[str]] = {}  # those of them that are to be looked at again
        self._names: dict[str, list[str]] = {}
        self._free: set[str] = set()
        self._closed: dict[str, str] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._open

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._open))

    def of(self, group: object) -> tuple[str, ...]:
        """The open calls of a group, in the order in which they were begun."""
        return tuple(self._groups.get(str(group), ()))

    def add(self, key: str, fragment: str = "", *, free: bool = False) -> None:
        """A piece of the call's arguments; the first one opens it, and says whether its input is free text."""
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
        """One more piece of an open call; false where there is none of that key."""
        arguments = self._open.get(key)
        if arguments is None:
            return False
        arguments.add(fragment)
        if not arguments.changed:
            arguments.changed = True
            self._changed.setdefault(_group_of(key), []).append(key)
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
        arguments = self._open.get(key)
        return self._closed.get(key, "") if arguments is None else "".join(arguments.fragments)

    def is_whole(self, key: str) -> bool:
        """Whether the call's arguments are an object already, so that nothing can follow."""
        arguments = self._open.get(key)
        return arguments is not None and arguments.whole

    def is_empty(self, key: str) -> bool:
        """Whether nothing of the call's arguments came."""
        arguments = self._open.get(key)
        return not self._closed.get(key, "").strip() if arguments is None else arguments.blank

    def close(self, key: str) -> ToolDelta | None:
        """End the call, as the provider says: the piece that says it is complete, ``None`` where it is cut."""
        found = self._open.pop(key, None)
        if found is None:
            return None
        fragments = found.fragments
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
            # They came in pieces and then once more as a whole.
            return ToolDelta(key, arguments=half, complete=True, whole=True)
        restated = _restated(fragments) or _placed(fragments)
        if restated is not None:
            self._closed[key] = restated
            return ToolDelta(key, arguments=restated, complete=True, whole=True)
        return None

    def close_unless_half(self, key: str) -> ToolDelta | None:
        """The same, but a call whose arguments were begun and are no object yet stays open."""
        arguments = self._open.get(key)
        if arguments is not None and key not in self._free and not (arguments.blank or arguments.ends_as_object):
            return None
        closed = self.close(key)
        if closed is None and arguments is not None and not arguments.blank:
            self.add(key, self._closed.pop(key))
        return closed

    def close_if_whole(self, key: str) -> ToolDelta | None:
        """End the call if its arguments are an object already, so that nothing can follow; else leave it open."""
        if key in self._free or not self.is_whole(key):
            return None
        return self.close(key)

    def close_whole(self, group: object) -> tuple[ToolDelta, ...]:
        """The same for all calls of a group. Looks at those alone of which something has come since the last time."""
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
