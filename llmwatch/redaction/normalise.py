"""Text with its escapes undone, with the position of each character in the original.

Providers' messages repeat sent text with one or more layers of escapes: JSON, JSON within JSON, a Python
representation. Both sides of a comparison are normalised here; matches are removed from the original text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote

from llmwatch.lazy_pattern import lazy

__all__ = ["Reading", "as_read"]

_BACKSLASHED = (
    r"\\+(?:u(?P<high>[dD][89abAB][0-9A-Fa-f]{2})\\{1,16}u(?P<low>[dD][c-fC-F][0-9A-Fa-f]{2})"
    r"|u(?P<unit>[0-9A-Fa-f]{4})|x(?P<byte>[0-9A-Fa-f]{2})|(?P<blank>[nrtbfv])|)"
)
_ESCAPE = lazy(_BACKSLASHED)
# In a URL within a URL the percent sign is escaped too, once for each level.
_PERCENT = "%(?:25){0,4}"
_ESCAPED_PERCENT = lazy("%(?:25)+(?=[0-9A-Fa-f]{2})")
# Also the escapes of URLs and of HTML, in upper and lower case: the whole text may have been put into capitals. An
# escaped ASCII byte is one character; a run of other escaped bytes is UTF-8.
_ANY_ESCAPE = lazy(
    rf"(?i:{_BACKSLASHED})|(?P<percent>{_PERCENT}[0-7][0-9A-Fa-f]|(?:{_PERCENT}[89A-Fa-f][0-9A-Fa-f]){{1,64}})"
    r"|(?P<entity>&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos);)"
)
# Includes the characters that redact replaces by spaces, because a message may be redacted already.
_BLANK = lazy(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\ufeff]+")
_PLAIN = lazy(r"(?:[!-$'-[\]-~]| (?! ))*")


class Reading:
    """``source`` with escapes of JSON and of Python undone and each run of white space as one space.

    ``folded``: escapes of URLs and of HTML are undone too, and the text is in lower case.
    """

    __slots__ = ("_places", "source", "text")

    def __init__(self, source: str, *, folded: bool = False) -> None:
        self.source = source
        self._places: list[tuple[int, int]] | None = None
        if _PLAIN.fullmatch(source):
            self.text = source.lower() if folded else source
            return
        self._places = []
        chars: list[str] = []
        at = 0
        for escape in (_ANY_ESCAPE if folded else _ESCAPE).finditer(source):
            self._add(chars, source[at : escape.start()], at)
            for char in _decoded(escape):
                self._one(chars, char, escape.start(), escape.end())
            at = escape.end()
        self._add(chars, source[at:], at)
        self.text = "".join(map(_lower, chars) if folded else chars)

    def _add(self, chars: list[str], text: str, start: int) -> None:
        for at, char in enumerate(text, start):
            self._one(chars, char, at, at + 1)

    def _one(self, chars: list[str], char: str, start: int, end: int) -> None:
        assert self._places is not None
        if _BLANK.match(char):
            if chars and chars[-1] == " ":
                self._places[-1] = (self._places[-1][0], end)
                return
            char = " "
        chars.append(char)
        self._places.append((start, end))

    def without(self, runs: Iterable[tuple[int, int]], mark: Callable[[int], str]) -> str:
        """The source with a mark in place of each run of ``text``.

        A run is (first character, character after the last). Runs come in order; adjacent runs are joined. ``mark``
        takes the number of characters that the mark replaces.
        """
        shown: list[str] = []
        kept_to = 0
        for first, after in _joined(runs):
            start, end = self._span(first, after)
            shown += [self.source[kept_to:start], mark(end - start)]
            kept_to = end
        return "".join(shown) + self.source[kept_to:]

    def _span(self, first: int, after: int) -> tuple[int, int]:
        return (first, after) if self._places is None else (self._places[first][0], self._places[after - 1][1])


def _lower(char: str) -> str:
    # The lower case of some characters is longer than one character.
    low = char.lower()
    return low if len(low) == 1 else char


def as_read(source: str) -> str:
    """``Reading(source).text`` without the positions, at a fraction of the cost."""
    return _BLANK.sub(" ", _ESCAPE.sub(_decoded, source))


def _joined(runs: Iterable[tuple[int, int]]) -> list[list[int]]:
    joined: list[list[int]] = []
    for first, after in runs:
        if not joined or first > joined[-1][1]:
            joined.append([first, after])
        joined[-1][1] = max(joined[-1][1], after)
    return joined


def _decoded(escape: re.Match[str]) -> str:
    kind = escape.lastgroup
    if kind is None:
        # A run of backslashes is dropped: each layer of JSON doubles the number.
        return ""
    code = escape[kind]
    if kind == "low":
        return chr(0x10000 + ((int(escape["high"], 16) - 0xD800) << 10) + int(code, 16) - 0xDC00)
    if kind in ("unit", "byte"):
        return chr(int(code, 16))
    if kind == "percent":
        code = unquote(_ESCAPED_PERCENT.sub("%", code), errors="replace")
    elif kind == "entity":
        code = html.unescape(code)
    else:
        return " "
    return code.replace("\\", "")
