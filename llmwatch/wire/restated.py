"""Removing restatements: the text so far, compared with a text that states the whole again.

Some events restate the whole: a message after its deltas, a done event, a completed response. Such an event adds only
the missing part. Memory is bounded: of a long answer only the end is kept as text, the rest as a checksum.
"""

from __future__ import annotations

import hashlib

__all__ = ["MOST_PIECES", "Said"]

MOST_PIECES = 1024
"""Most pieces kept as text. A caller that appends more must call :meth:`Said.fold`."""


class Said(list[str]):
    """The pieces of one text, in order."""

    __slots__ = ("_folded", "_hash")

    def __init__(self) -> None:
        super().__init__()
        self._folded = 0
        self._hash = hashlib.sha256()

    def __bool__(self) -> bool:
        return bool(self._folded or len(self))

    def __deepcopy__(self, memo: object) -> Said:
        other = Said()
        other.extend(self)
        other._folded, other._hash = self._folded, self._hash.copy()
        return other

    @property
    def length(self) -> int:
        """Number of characters so far."""
        return self._folded + sum(map(len, self))

    def add(self, piece: str) -> None:
        """Append the next piece."""
        if piece:
            self.append(piece)
            if len(self) > MOST_PIECES:
                self.fold()

    def fold(self) -> None:
        """Replace the pieces by a checksum."""
        text = "".join(self)
        self._folded += len(text)
        self._hash.update(_bytes(text))
        self.clear()

    def missing(self, whole: str) -> str | None:
        """The part of ``whole`` after the text so far; ``None`` if ``whole`` contradicts the text so far."""
        rest = whole
        if self._folded:
            if hashlib.sha256(_bytes(whole[: self._folded])).digest() != self._hash.digest():
                return None
            rest = whole[self._folded :]
        said = "".join(self)
        if rest.startswith(said):
            return rest[len(said) :]
        # Some providers restate the text without the white space around it.
        return "" if rest.strip() == said.strip() else None

    def last(self, piece: str) -> str:
        """The new part of the last piece of an answer, which some servers restate as a whole.

        After a single piece, the same text again counts as a new piece.
        """
        missing = self.missing(piece) if self._folded or len(self) > 1 else None
        return piece if missing is None else missing

    def take(self, whole: str) -> str | None:
        """:meth:`missing`, and append the result."""
        rest = self.missing(whole)
        if rest:
            self.add(rest)
        return rest


def _bytes(text: str) -> bytes:
    # The two surrogates of a character outside the basic plane may come in separate pieces.
    return text.encode("utf-8", "surrogatepass")
