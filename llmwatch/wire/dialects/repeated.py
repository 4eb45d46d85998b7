"""Events that differ from the one before in a single string: their JSON is not parsed again.

A provider sends an event for each piece of text, and from one to the next only the piece changes: not the id, the model
or the names of the fields. Such an event means what the one before meant, with another piece.
"""

from __future__ import annotations

__all__ = ["Repeated"]

_ESCAPE = "\\"
_QUOTE = '"'

# OpenAI puts a string of random length at the end of each event, against readers of encrypted traffic.
_PADDING = '"obfuscation":"'
_END_OF_PADDING = '"}'

# Events in a row that were learnt in vain, after which no more are.
_VAIN = 4


class Repeated:
    """The text around the value of ``key`` in the last event that was parsed.

    An event is like that one if the text around the value is the same, and the value is a JSON string as it stands: it
    has no quotation mark, no escape and no character that is not printable. Such an event, parsed, gives the same
    object with that string in it. This is so only if no other value of the event can be taken for that of ``key``:
    nothing is learnt from an event with an escape, or with a second ``key``.
    """

    __slots__ = ("_after", "_before", "_key", "_padded", "_vain")

    def __init__(self, key: str) -> None:
        self._key = f'"{key}"'
        self._before = ""
        self._after = ""
        self._padded = False
        self._vain = 0

    def learn(self, data: str, value: str) -> None:
        """Take an event that was parsed: the value of ``key`` in ``data`` is ``value``."""
        self._before = ""
        key = self._key
        if self._vain >= _VAIN or _ESCAPE in data or data.count(key) != 1:
            return
        begin = data.find(key) + len(key) + 1
        begin += data.startswith(" ", begin) + 1
        end = begin + len(value)
        if data[begin:end] != value or data[begin - 1] != _QUOTE or data[end : end + 1] != _QUOTE:
            return
        self._vain += 1
        self._before, self._after = data[:begin], data[end:]
        known = self._after.find(_PADDING) + len(_PADDING)
        self._padded = known >= len(_PADDING) and _is_padding(self._after[known:])
        if self._padded:
            self._after = self._after[:known]

    def value(self, data: str) -> str:
        """The value of ``key`` if ``data`` is like the event before; else ``""``: it has to be parsed."""
        before = self._before
        if not before:
            return ""
        if data.startswith(before):
            begin = len(before)
            end = data.find(_QUOTE, begin)
            value = data[begin:end]
            if _ESCAPE not in value and value.isprintable():
                if self._padded:
                    alike = data.startswith(self._after, end) and _is_padding(data[end + len(self._after) :])
                else:
                    alike = data[end:] == self._after
                if alike and value:
                    self._vain = 0
                    return value
        self._before = ""
        return ""


def _is_padding(rest: str) -> bool:
    """Whether ``rest`` is the end of a string without escapes, and of the event."""
    padding = rest[: -len(_END_OF_PADDING)]
    return rest.endswith(_END_OF_PADDING) and padding.isascii() and padding.isalnum()
