"""What was said already, so that a provider that says it again is heard once.

Some events restate the whole: a message after its deltas, a done event, a completed response. Such an event adds only
what was missing. Memory stays flat: of a long answer only the end is kept, the rest as a checksum.
"""

from __future__ import annotations

import hashlib

__all__ = ["MOST_PIECES", "Said"]

MOST_PIECES = 1024
"""Pieces that are kept as they are; whoever appends past it calls :meth:`Said.fold`."""


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
        """Characters so far."""
        return self._folded + sum(map(len, self))

    def add(self, piece: str) -> None:
        """The next piece."""
        if piece:
            self.append(piece)
            if len(self) > MOST_PIECES:
                self.fold()

    def fold(self) -> None:
        """Turn the pieces into a checksum."""
        text = "".join(self)
        self._folded += len(text)
        self._hash.update(_bytes(text))
        self.clear()

    def missing(self, whole: str) -> str | None:
        """What ``whole`` adds to what was said; ``None`` where it says something else."""
        rest = whole
        if self._folded:
            if hashlib.sha256(_bytes(whole[: self._folded])).digest() != self._hash.digest():
                return None
            rest = whole[self._folded :]
        said = "".join(self)
        if rest.startswith(said):
            return rest[len(said) :]
        # Some restate it without the white space around it.
        return "" if rest.strip() == said.strip() else None

    def last(self, piece: str) -> str:
        """What the last piece of an answer adds, which some servers make of all of it again. After one piece the same
        once more is the next one.
        """
        missing = self.missing(piece) if self._folded or len(self) > 1 else None
        return piece if missing is None else missing

    def take(self, whole: str) -> str | None:
        """The same, and that was said now too."""
        rest = self.missing(whole)
        if rest:
            self.add(rest)
        return rest


def _bytes(text: str) -> bytes:
    # A character outside the basic plane may come as two halves.
    return text.encode("utf-8", "surrogatepass")
