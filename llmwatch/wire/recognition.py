"""Recognising whether a body is in the dialect that its URL and content type suggest.

The URL and the ``Content-Type`` are a guess. A stream is in a dialect once an event of that dialect was *seen*.
Comments, blank lines, pings and empty data occur in every format. Anything else before that is *foreign*: JSON lines of
another form, objects separated by NUL, a list, a document, text, sound, and events without an empty line between them,
which only a reader of lines can separate. No I/O.
"""

from __future__ import annotations

import json
import re

from llmwatch.wire.dialects.detect import by_event, is_line, is_registered
from llmwatch.wire.error_objects import error_in
from llmwatch.wire.event import Event, Kind
from llmwatch.wire.lines import ENOUGH_OF_LINE, may_be_events
from llmwatch.wire.refusal import LINE_TYPES, media_type

__all__ = ["Recognition"]

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
# An unterminated first line of JSON is parsed up to this size.
_MOST_LINE = 64 * 1024


class Recognition:
    """The findings so far about one body.

    ``dialect`` is the requested name, ``"auto"`` included. ``framing`` is the decoder's framing (``events``, ``lines``,
    ``frames``; ``None`` if the first bytes decide).

    * ``seen``: an event of the dialect came. ``foreign``: something else came before. ``hopeless``: the framing is
      unknown too.
    * ``document``: in a body whose content type is not JSON lines, a line came that would be a complete answer of a
      dialect without lines.
    """

    __slots__ = (
        "_asked",
        "_begun",
        "_data",
        "_documents",
        "_framing",
        "_last",
        "_line",
        "_named",
        "_returned",
        "_sniffed",
        "_watching",
        "document",
        "foreign",
        "hopeless",
        "seen",
    )

    def __init__(self, dialect: str, *, framing: str | None, content_type: str) -> None:
        self.seen = False
        self.foreign = False
        self.hopeless = False
        self.document = False
        self._asked = dialect
        self._named = media_type(content_type) == "text/event-stream"
        self._documents = media_type(content_type) not in LINE_TYPES
        self._framing = framing
        self._sniffed = framing is None
        self._watching = framing != "frames"
        self._begun = False
        self._line = b""  # the beginning of the current line
        self._returned = False
        self._last = b""  # the last byte so far of the current line
        self._data = ""  # data of the current event: "whole" after its first line, or in several lines ("part")

    def look_at(self, piece: bytes) -> None:
        """Examine the next bytes of the body, before they are decoded."""
        if not self._watching or not piece:
            return
        if not self._begun:
            start = self._line + piece
            if _BOM.startswith(start):
                self._line = start
                return
            piece = start.removeprefix(_BOM).lstrip(b"\r\n")
            self._line = b""
            if not piece:
                return
            self._begun = True
            if self._framing is None:
                self._framing = "lines" if piece.startswith(b"{") else "events"
        if self._framing == "lines":
            self._look_at_line(piece)
        else:
            self._look_at_events(piece)

    def _look_at_events(self, piece: bytes) -> None:
        if self._returned:
            # The second half of a line end.
            piece = piece.removeprefix(b"\n")
        self._returned = piece.endswith(b"\r")
        *whole, last = _LINE_END.split(piece)
        for rest in whole:
            line, end = (self._line + rest[:ENOUGH_OF_LINE])[:ENOUGH_OF_LINE], rest[-1:] or self._last
            self._line = self._last = b""
            if not may_be_events(line, whole=True):
                self._is_foreign(hopeless=not self._named)
                return
            if self._is_second(line, end):
                self._is_foreign()
                return
        self._line = (self._line + last[:ENOUGH_OF_LINE])[:ENOUGH_OF_LINE]
        self._last = last[-1:] or self._last
        if self._line and not may_be_events(self._line, whole=False):
            self._is_foreign(hopeless=not self._named)

    def _is_second(self, line: bytes, end: bytes) -> bool:
        """Whether a line is data after data that was complete.

        ``line`` is the beginning of the line, ``end`` the last byte. The first line of data shows whether an object
        continues in further lines of the event.
        """
        if not line:
            self._data = ""
        elif line.startswith(b"data:"):
            if self._data == "whole":
                return True
            opens = line[5:].lstrip()[:1] in (b"{", b"[")
            self._data = self._data or ("part" if opens and end not in b"}]" else "whole")
        return False

    def _look_at_line(self, piece: bytes) -> None:
        line = self._line = self._line + piece
        end = _LINE_END.search(line)
        first = line if end is None else line[: end.start()]
        if not line.startswith(b"{") or b"\0" in line:
            self._is_foreign(hopeless=True)
        elif len(first) > _MOST_LINE:
            self._stop_watching()
        elif end is not None or line.endswith(b"}"):
            self._look_at_object(first, whole=end is not None)

    def _look_at_object(self, line: bytes, *, whole: bool) -> None:
        """Examine the first line, which may be a complete object without a line end (``whole`` false)."""
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            # Several objects in one line, or one object over several lines.
            if whole or error.msg == "Extra data":
                self._is_foreign(hopeless=True)
        except (ValueError, RecursionError):
            if whole:
                self._is_foreign(hopeless=True)
        else:
            if value and not is_line(value) and error_in(value) is None:
                self._is_foreign(hopeless=self._sniffed)
            elif whole:
                # From here on each line is an event, which _read examines.
                self._stop_watching()

    def read(self, events: list[Event], dialect: str | None) -> None:
        """Examine the events that ``dialect`` decoded."""
        for event in events:
            if self.seen:
                return
            self._read(event, dialect)

    def _read(self, event: Event, dialect: str | None) -> None:
        shape = by_event(event)
        if dialect == "ndjson" and _is_line(event):
            self.seen = True
        elif event.kind is Kind.KEEPALIVE and shape in (None, "generic"):
            return
        elif self._asked == "generic" or self._framing == "frames" or (dialect is not None and is_registered(dialect)):
            # The user's choice is not questioned, and checksums prove frames.
            self.seen = True
        elif shape is None and event.kind is Kind.LIFECYCLE:
            return
        elif dialect not in (None, "generic", "ndjson"):
            # Other servers answer at Ollama's paths with documents of the same fields without an end mark.
            read = event.has_content or event.kind in (Kind.TERMINAL, Kind.ERROR)
            self.seen = read or shape == dialect
            self.document = self._documents and self._framing == "lines" and not _is_piece(event)
        if self.seen:
            self._stop_watching()
        else:
            self._is_foreign()

    def _is_foreign(self, *, hopeless: bool = False) -> None:
        self.foreign = True
        self.hopeless = hopeless
        self._stop_watching()

    def _stop_watching(self) -> None:
        self._watching = False
        self._line = b""


def _is_line(event: Event) -> bool:
    try:
        value = event.json()
    except (ValueError, RecursionError):
        return False
    return is_line(value) or error_in(value) is not None


def _is_piece(event: Event) -> bool:
    """Whether the event is a line of Ollama's or Cohere's, or a chunk of chat completions in a line."""
    try:
        value = event.json()
    except (ValueError, RecursionError):
        return True
    return is_line(value) or '"delta"' in event.data
