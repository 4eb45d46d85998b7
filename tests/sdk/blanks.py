"""A pattern that counts what it is shown."""

from __future__ import annotations

import re

__all__ = ["Counting"]


class Counting:
    """``pattern``, with the number of bytes that it was let look at."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.pattern, self.looked_at = pattern, 0

    def search(self, text: bytes, at: int = 0) -> re.Match[bytes] | None:
        """As the pattern's own."""
        self.looked_at += len(text) - at
        return self.pattern.search(text, at)
