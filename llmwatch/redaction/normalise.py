"""How a text reads once its escapes are undone, and where in it each character of that stands.

What was sent is repeated in messages escaped once or more: in JSON, in JSON within JSON, in a Python representation.
Both sides of a comparison are read like this, and what is found is taken out of the text as it was written.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote

__all__ = ["Reading", "as_read"]

_BACKSLASHED = (
    r"\\+(?:u(?P<high>[dD][89abAB][0-9A-Fa-f]{2})\\{1,16}u(?P<low>[dD][c-fC-F][0-9A-Fa-f]{2})"
    r"|u(?P<unit>[0-9A-Fa-f]{4})|x(?P<byte>[0-9A-Fa-f]{2})|(?P<blank>[nrtbfv])|)"
)
_ESCAPE = re.compile(_BACKSLASHED)
# Of an address within an address the percent sign is escaped as well, once for each.
_PERCENT = "%(?:25){0,4}"
_ESCAPED_PERCENT = re.compile("%(?:25)+(?=[0-9A-Fa-f]{2})")
# Those of URLs and of pages too, and in any case: the text around them may have been put into capitals as a whole. An
# escaped ASCII character stands for itself, a run of others for some characters.
_ANY_ESCAPE = re.compile(
    rf"(?i:{_BACKSLASHED})|(?P<percent>{_PERCENT}[0-7][0-9A-Fa-f]|(?:{_PERCENT}[89A-Fa-f][0-9A-Fa-f]){{1,64}})"
    r"|(?P<entity>&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos);)"
)
# What redact makes spaces of counts as one here: a message may have been through it.
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\ufeff]+")
_PLAIN = re.compile(r"(?:[!-$'-[\]-~]| (?! ))*")


class Reading:
    """``source`` as it reads: escapes of JSON and of Python undone, white space of any length one space.

    ``folded``: those of URLs and of pages undone as well, and no case.
    """

    __slots__ = ("_places", "source", "text")

    def __init__(self, source: str, *, folded: bool = False) -> None:
        self.source = source
        self._places: list[tuple[int, int]] | None = None
        if _PLAIN.fullmatch(source):
            # Nothing to undo: every character stands where it stands.
            self.text = source.lower() if folded else source
            return
        self._places = []
        chars: list[str] = []
        at = 0
        for found in (_ANY_ESCAPE if folded else _ESCAPE).finditer(source):
            self._add(chars, source[at : found.start()], at)
            for char in _decoded(found):
                self._one(chars, char, found.start(), found.end())
            at = found.end()
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
        """The source with a mark in place of each run of ``text`` (first character, and the one after the last); runs
        come in order, and those that touch count as one. ``mark`` gets the length of what it stands for.
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
    # Some are longer in lower case.
    low = char.lower()
    return low if len(low) == 1 else char


def as_read(source: str) -> str:
    """The text alone of the :class:`Reading` of what may be long, at a fraction of its cost."""
    return _BLANK.sub(" ", _ESCAPE.sub(_decoded, source))


def _joined(runs: Iterable[tuple[int, int]]) -> list[list[int]]:
    joined: list[list[int]] = []
    for first, after in runs:
        if not joined or first > joined[-1][1]:
            joined.append([first, after])
        joined[-1][1] = max(joined[-1][1], after)
    return joined


def _decoded(found: re.Match[str]) -> str:
    kind = found.lastgroup
    if kind is None:
        # Backslashes alone go, however many: each layer of JSON doubles them.
        return ""
    said = found[kind]
    if kind == "low":
        return chr(0x10000 + ((int(found["high"], 16) - 0xD800) << 10) + int(said, 16) - 0xDC00)
    if kind in ("unit", "byte"):
        return chr(int(said, 16))
    if kind == "percent":
        said = unquote(_ESCAPED_PERCENT.sub("%", said), errors="replace")
    elif kind == "entity":
        said = html.unescape(said)
    else:
        return " "
    return said.replace("\\", "")
