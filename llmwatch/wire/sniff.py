"""Telling JSON lines from server-sent events by the first line of the body.

Lines of server-sent events never begin with ``{``. A body that begins so is JSON lines if the first line is a complete
object of a known shape. Otherwise it is a document, which is framed as server-sent events, gives none, and is judged at
the end.
"""

from __future__ import annotations

import json
import re

from llmwatch.wire.dialects.detect import is_line

__all__ = ["Sniffer", "begins_lines"]

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"[\r\n]")


# An unterminated first line is parsed up to this size.
_MOST_LINE = 64 * 1024


def begins_lines(start: bytes) -> bool | None:
    """Whether a body that begins with ``start`` is JSON lines of a known shape; ``None`` if undecided."""
    body = start.removeprefix(_BOM).lstrip(b"\r\n")
    if not body or _BOM.startswith(start):
        return None
    if not body.startswith(b"{"):
        return False
    line = _LINE_END.split(body, maxsplit=1)[0]
    whole = len(line) < len(body)
    if not whole and not (body.endswith(b"}") and len(body) <= _MOST_LINE):
        return None if len(body) <= _MOST_LINE else False
    try:
        return is_line(json.loads(line)) and (whole or None)
    except (ValueError, RecursionError):
        return False if whole else None


class Sniffer:
    """Holds back the start of a body until the framing is known: the first byte for events, else a line.

    ``max_line`` is the most bytes held back; a longer first line is not a JSON line.
    """

    __slots__ = ("_blank", "_held", "_max_line")

    def __init__(self, max_line: int) -> None:
        self._held = bytearray()
        self._max_line = max_line
        self._blank = True

    @property
    def pending(self) -> int:
        """Number of bytes held back, without leading line ends."""
        return 0 if self._blank and not _BOM.startswith(self._held) else len(self._held)

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; true once :meth:`lines` can decide."""
        held = self._held
        held += data
        if self._blank:
            if _BOM.startswith(held):
                return False
            start = bytes(held).removeprefix(_BOM)
            body = start.lstrip(b"\r\n")
            if not body:
                # One line end is enough to keep.
                del held[len(held) - len(start) + 1 :]
                return False
            self._blank = False
            if not body.startswith(b"{"):
                return True
            return bool(_LINE_END.search(body)) or len(held) > self._max_line
        return bool(_LINE_END.search(data)) or len(held) > self._max_line

    def take(self) -> bytes:
        """The bytes held back."""
        return bytes(self._held)

    def lines(self) -> bool:
        """Whether the body is JSON lines."""
        return begins_lines(bytes(self._held) + b"\n") is True
