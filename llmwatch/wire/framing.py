"""Framing of server-sent events and of JSON lines: bytes to complete blocks.

The rules of this module:

* The same bytes give the same blocks for any split into reads.
* A line ends with LF, CRLF or a lone CR. A CR at the end of a read ends its line at once; an LF at the start of the
  next read belongs to that CR. Waiting for the LF would delay an event for as long as the provider is silent.
* A block ends with an empty line. Bytes after the last empty line stay ``pending``.
* Every byte is examined a fixed number of times, so the work is linear in the size of a block.
* Comments before a block are dropped as they come, so that endless keep-alives do not add up to a giant event.

No I/O, no threads, no clock.
"""

from __future__ import annotations

from llmwatch.wire.error_objects import stray_error

__all__ = ["MAX_EVENT", "Framer", "LineFramer"]

MAX_EVENT = 64 << 20
"""Default maximum size of one event, in bytes."""

_BOM = b"\xef\xbb\xbf"
_LF = 0x0A
_COLON = 0x3A
# Fields without a value that have a meaning. A bare "retry" has none.
_BARE = frozenset((b"data", b"event", b"id"))


class _Newlines:
    """Normalises line ends to LF and removes a leading byte order mark.

    ``idle``: bytes without a CR would come out unchanged and need not be fed. ``start``: bytes held back that may be a
    byte order mark; ``None`` once that is decided.
    """

    __slots__ = ("_after_cr", "idle", "start")

    def __init__(self) -> None:
        self._after_cr = False
        self.start: bytes | None = b""
        self.idle = False

    def feed(self, data: bytes) -> bytes:
        if self.start is not None:
            data = self.start + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self.start = data
                return b""
            self.start = None
            data = data.removeprefix(_BOM)
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == _LF:
                data = data[1:]
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self.idle = not self._after_cr
        return data


def _readable(block: bytes) -> bytes:
    # sseclient-py decodes strictly; one invalid byte must not fail the stream. Most blocks are plain ASCII.
    if block.isascii():
        return block
    try:
        block.decode()
    except UnicodeDecodeError:
        return block.decode("utf-8", "replace").encode()
    return block


class _Buffer:
    """The common state of both framers: the unterminated rest, and counts."""

    __slots__ = ("_newlines", "_rest", "comments", "max_event", "overflow", "scanned", "strays")

    damaged = ""
    """The fault of an unreadable frame. Always empty here: text has no checksums."""

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self.max_event = max_event
        self.comments = 0
        self.strays = 0
        self.scanned = 0
        self.overflow = False
        self._newlines = _Newlines()
        self._rest = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of the unterminated rest."""
        start = self._newlines.start
        return len(self._rest) + (len(start) if start else 0)

    @property
    def begun(self) -> bool:
        """Whether more than comments and line ends is pending."""
        return any(line and not line.startswith(b":") for line in self._rest.split(b"\n"))

    def accept(self) -> None:
        """Drop the rest, as if it had been terminated and returned."""
        self._rest.clear()

    def _take(self) -> bytes:
        taken = bytes(self._rest)
        self._rest.clear()
        return taken

    def _give_up(self) -> None:
        self.overflow = True
        self._rest.clear()


class Framer(_Buffer):
    """The framer of server-sent events: :meth:`feed` returns complete, normalised blocks.

    A block has LF line ends, ends with an empty line, is valid UTF-8 (invalid bytes become U+FFFD), and holds only
    ``data``, ``event``, ``id`` and ``retry`` lines, at least one of them ``data``. Following the standard, blocks
    without data, an ``id`` with a NUL, and a ``retry`` that is not a number are dropped.

    A line that is neither a field nor a comment counts in ``strays``. Such lines that read as an error, and a field
    ``error``, are returned as a block with the event name ``error``.

    ``comments`` counts comment lines. ``pending`` is the size of the unterminated rest. ``overflow`` is true once a
    block, without leading comments, is larger than ``max_event`` bytes; then no more blocks are returned. ``scanned``
    counts the bytes searched, by which a test shows that the work is linear.
    """

    __slots__ = ()

    framing = "events"

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the body and return the blocks that these complete."""
        blocks: list[bytes] = []
        if self.overflow:
            return blocks
        rest = self._rest
        if not self._newlines.idle or b"\r" in data:
            data = self._newlines.feed(data)
        self.scanned += len(data)
        if not data:
            return blocks
        if (
            not rest
            and data.startswith(b"data:")
            and data.endswith(b"\n\n")
            and data.count(b"\n") == 2
            and data.isascii()
            and len(data) - 2 <= self.max_event
        ):
            # One event in this read, already in normal form: the usual case with a slow provider.
            return [data]
        if data[0] == _LF and (not rest or rest[-1] == _LF):
            # Leading empty lines, or an empty line that was split between two reads.
            if rest:
                self._emit(self._take()[:-1], blocks)
            data = data.lstrip(b"\n")
        *parts, last = data.split(b"\n\n")
        if rest and parts:
            rest += parts[0]
            parts[0] = self._take()
        first = parts[0] if parts else b""
        small = max(len(data), len(first)) <= self.max_event
        plain = data.isascii() and first.isascii()
        single = data.count(b"\n") == 2 * len(parts) and b"\n" not in first
        for part in parts:
            if self.overflow:
                return blocks
            # Nearly every event is one line of data, or a name and one line of data.
            if part.startswith(b"data:"):
                usual = single or b"\n" not in part
            else:
                usual = part.startswith(b"event:") and b"\ndata:" in part and part.count(b"\n") == 1
            if usual and small:
                blocks.append((part if plain else _readable(part)) + b"\n\n")
            else:
                self._emit(part, blocks)
        if last and not self.overflow:
            self._keep(last.lstrip(b"\n") if parts else last)
        return blocks

    def rest(self) -> list[bytes]:
        """The block that an empty line would complete. The rest stays ``pending`` until :meth:`accept`."""
        blocks: list[bytes] = []
        comments, strays = self.comments, self.strays
        self._emit(bytes(self._rest).strip(b"\n"), blocks)
        self.comments, self.strays = comments, strays
        return blocks

    def _keep(self, last: bytes) -> None:
        rest = self._rest
        rest += last
        if rest and rest[0] == _COLON and b"\n" in last:
            del rest[: self._leading_comments(rest, complete=False)]
        if len(rest) - rest.endswith(b"\n") > self.max_event:
            self._give_up()

    def _leading_comments(self, buffer: bytes | bytearray, *, complete: bool) -> int:
        # The end of the comment lines at the start of the buffer. In an incomplete buffer the last line may continue.
        start, size = 0, len(buffer)
        while start < size and buffer[start] == _COLON:
            end = buffer.find(b"\n", start)
            if end < 0:
                if not complete:
                    break
                end = size
            if end - start > self.max_event:
                self._give_up()
                return size
            self.comments += 1
            start = min(end + 1, size)
        self.scanned += start
        return start

    def _emit(self, block: bytes, blocks: list[bytes]) -> None:
        if block.startswith(b"\n"):
            block = block.lstrip(b"\n")
        if block.startswith(b":"):
            block = block[self._leading_comments(block, complete=True) :]
        if self.overflow or not block:
            return
        if len(block) > self.max_event:
            self._give_up()
            return
        lines, strays = self._known_lines(block)
        if strays and lines and block.startswith(strays[0]):
            # Stray lines in front of an event are returned before it.
            self._emit_errors(strays, blocks)
            strays = []
        if any(line.startswith(b"data") for line in lines):
            blocks.append(_readable(b"\n".join(lines)) + b"\n\n")
        if strays:
            self._emit_errors(strays, blocks)

    def _emit_errors(self, strays: list[bytes], blocks: list[bytes]) -> None:
        """Add an event ``error`` for a field ``error``, or for stray lines that read as an error."""
        for line in strays:
            if line.startswith(b"error:") and line[6:].strip():
                blocks.append(b"event: error\ndata: " + _readable(line[6:].strip()) + b"\n\n")
                return
        text = _readable(b" ".join(strays)).strip()
        if stray_error(text.decode()) is not None:
            blocks.append(b"event: error\ndata: " + text + b"\n\n")

    def _known_lines(self, block: bytes) -> tuple[list[bytes], list[bytes]]:
        # Unknown fields are removed here, because sseclient-py would log them, and they may be part of an answer.
        known: list[bytes] = []
        strays: list[bytes] = []
        for line in block.split(b"\n"):
            if line.startswith((b"data:", b"event:")):
                known.append(line)
            elif line.startswith(b":"):
                self.comments += 1
            elif line in _BARE or (line.startswith(b"id:") and b"\0" not in line):
                known.append(line)
            elif line.startswith(b"retry:"):
                known += [line] if line[6:].removeprefix(b" ").isdigit() else []
            elif not line.startswith(b"id:") and line.strip():
                strays.append(line)
        self.strays += len(strays)
        return known, strays


class LineFramer(_Buffer):
    """The framer of JSON lines: :meth:`feed` returns complete lines without line ends or blank lines.

    The attributes are those of :class:`Framer`; the format has no comments. :meth:`rest` returns the last line, which
    may lack a line end.
    """

    __slots__ = ()

    framing = "lines"

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the body and return the lines that these complete, as valid UTF-8."""
        lines: list[bytes] = []
        if not self._newlines.idle or b"\r" in data:
            data = self._newlines.feed(data)
        if not data or self.overflow:
            return lines
        self.scanned += len(data)
        *parts, last = data.split(b"\n")
        rest = self._rest
        if parts and rest:
            rest += parts[0]
            parts[0] = self._take()
        for part in parts:
            if len(part) > self.max_event:
                self._give_up()
                return lines
            if part.strip():
                lines.append(_readable(part))
        rest += last
        if len(rest) > self.max_event:
            self._give_up()
        return lines

    def rest(self) -> list[bytes]:
        """The unterminated line, as valid UTF-8. The line stays ``pending`` until :meth:`accept`."""
        return [_readable(bytes(self._rest))] if self._rest.strip() else []
