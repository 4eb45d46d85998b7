"""JSON lines or server-sent events: where nothing else says which, the first line of the body does.

Lines of server-sent events never begin with ``{``. A body that does is either JSON lines, and then its first
line is a whole object of a known shape, or a document; that one goes on as server-sent events, has none, and is
judged at the end.
"""

from __future__ import annotations

import json
import re

from llmwatch.wire.dialects.detect import is_line

__all__ = ["Sniffer", "begins_lines"]

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"[\r\n]")


# A first line is looked into up to this size while its end has not come.
_MOST_LINE = 64 * 1024


def begins_lines(start: bytes) -> bool | None:
    """Whether a body that begins so is JSON lines of a known shape; ``None`` while that cannot be told."""
    found = start.removeprefix(_BOM).lstrip(b"\r\n")
    if not found or _BOM.startswith(start):
        return None
    if not found.startswith(b"{"):
        return False
    line = _LINE_END.split(found, maxsplit=1)[0]
    whole = len(line) < len(found)
    if not whole and not (found.endswith(b"}") and len(found) <= _MOST_LINE):
        return None if len(found) <= _MOST_LINE else False
    try:
        return is_line(json.loads(line)) and (whole or None)
    except (ValueError, RecursionError):
        return False if whole else None


class Sniffer:
    """Holds the start of a body back until it can be told: up to its first byte for events, its first line else.

    ``max_line`` bounds what is held; a longer first line is no JSON line.
    """

    __slots__ = ("_blank", "_held", "_max_line")

    def __init__(self, max_line: int) -> None:
        self._held = bytearray()
        self._max_line = max_line
        self._blank = True

    @property
    def pending(self) -> int:
        """Bytes held back, leading line ends aside."""
        return 0 if self._blank and not _BOM.startswith(self._held) else len(self._held)

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; true once :meth:`lines` can tell."""
        held = self._held
        held += data
        if self._blank:
            if _BOM.startswith(held):
                return False
            start = bytes(held).removeprefix(_BOM)
            found = start.lstrip(b"\r\n")
            if not found:
                # One line end is as good as many.
                del held[len(held) - len(start) + 1 :]
                return False
            self._blank = False
            if not found.startswith(b"{"):
                return True
            return bool(_LINE_END.search(found)) or len(held) > self._max_line
        return bool(_LINE_END.search(data)) or len(held) > self._max_line

    def take(self) -> bytes:
        """Everything held back."""
        return bytes(self._held)

    def lines(self) -> bool:
        """Whether these are JSON lines."""
        return begins_lines(bytes(self._held) + b"\n") is True
