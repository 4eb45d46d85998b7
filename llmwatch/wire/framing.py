"""Cutting bytes into complete blocks.

The rules of this module:

* The same bytes give the same blocks however they are split, at every byte.
* A line ends with LF, CRLF or a lone CR. A CR at the end of a read ends its line at once; an LF that follows in
  the next read belongs to it. Waiting for that LF would hold an event back for as long as the provider is
  silent.
* A block ends with an empty line. What follows the last empty line is not a block: it stays ``pending``.
* Every byte is looked at a fixed number of times, so the work grows with the size of a block and not with its square.
* Comments before a block are dropped as they come, so keep-alives for ever do not add up to a giant event.

No I/O, no threads, no clock.
"""

from __future__ import annotations

from llmwatch.wire.error_objects import stray_error

__all__ = ["MAX_EVENT", "Framer", "LineFramer"]

MAX_EVENT = 64 << 20
"""Bytes of one event that are accepted unless set otherwise."""

_BOM = b"\xef\xbb\xbf"
_LF = 0x0A
_COLON = 0x3A
# Fields without a value. A bare "retry" says nothing.
_BARE = frozenset((b"data", b"event", b"id"))


class _Newlines:
    """Bytes in, the same bytes out with LF for every line end and without a leading byte order mark.

    ``idle`` says that bytes without a CR would come out unchanged, and need not be fed. ``start`` is what is held back
    because it may turn out to be a byte order mark, ``None`` once that is known.
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
    # sseclient-py decodes strictly, and one bad byte must not cost the stream. Most blocks are plain ASCII.
    if block.isascii():
        return block
    try:
        block.decode()
    except UnicodeDecodeError:
        return block.decode("utf-8", "replace").encode()
    return block


class _Buffer:
    """What both framers keep: the unterminated rest, and how much was seen."""

    __slots__ = ("_newlines", "_rest", "comments", "max_event", "overflow", "scanned", "strays")

    damaged = ""
    """What cannot be read, in a format that would show it; text has nothing to show it by."""

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
        """Bytes that nothing has ended yet."""
        start = self._newlines.start
        return len(self._rest) + (len(start) if start else 0)

    @property
    def begun(self) -> bool:
        """Whether more than comments and line ends is pending."""
        return any(line and not line.startswith(b":") for line in self._rest.split(b"\n"))

    def accept(self) -> None:
        """Count the rest as if it had been ended."""
        self._rest.clear()

    def _take(self) -> bytes:
        taken = bytes(self._rest)
        self._rest.clear()
        return taken

    def _give_up(self) -> None:
        self.overflow = True
        self._rest.clear()


class Framer(_Buffer):
    """Server-sent events: :meth:`feed` returns complete, normalised blocks.

    A block that is returned has LF line ends, ends with an empty line, is valid UTF-8 (bad bytes are U+FFFD),
    and holds nothing but ``data``, ``event``, ``id`` and ``retry`` lines, at least one of them ``data``. As the
    standard has it, blocks without data are dropped, and so are an ``id`` with a NUL and a ``retry`` that is no
    number.

    A line that is no field and no comment is counted in ``strays``; one that reads as an error, and a field ``error``,
    come out as a block of that name.

    ``comments`` counts comment lines, ``pending`` is the size of what no empty line has ended yet, and
    ``overflow`` is true once a block grew beyond ``max_event`` bytes (its lines without the comments that lead
    it); then nothing more comes out. ``scanned`` counts the bytes searched so far, which lets a test see that
    the work is linear.
    """

    __slots__ = ()

    framing = "events"

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the body and return the blocks that they complete."""
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
            # A provider that is slower than we are: one event a read, and nothing is to be done to it.
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
            # Nearly every event of every provider is one line of data, or a name and one line of data.
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
        """What would be returned if an empty line followed; it stays ``pending`` until :meth:`accept`."""
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
        # Where the comment lines end that the buffer begins with. Unless it is complete, its last line may go on.
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
            # What stands in front of an event came before it.
            self._emit_errors(strays, blocks)
            strays = []
        if any(line.startswith(b"data") for line in lines):
            blocks.append(_readable(b"\n".join(lines)) + b"\n\n")
        if strays:
            self._emit_errors(strays, blocks)

    def _emit_errors(self, strays: list[bytes], blocks: list[bytes]) -> None:
        """An error in a field of its own, or in lines that are no field, as an event of that name."""
        for line in strays:
            if line.startswith(b"error:") and line[6:].strip():
                blocks.append(b"event: error\ndata: " + _readable(line[6:].strip()) + b"\n\n")
                return
        text = _readable(b" ".join(strays)).strip()
        if stray_error(text.decode()) is not None:
            blocks.append(b"event: error\ndata: " + text + b"\n\n")

    def _known_lines(self, block: bytes) -> tuple[list[bytes], list[bytes]]:
        # A line with an unknown field is kept apart here: sseclient-py would write it to its log, and it may be an
        # answer's.
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
    """JSON lines: :meth:`feed` returns complete lines without their line end; blank lines are dropped.

    The attributes are those of :class:`Framer`; there are no comments here. :meth:`rest` hands out the last
    line, which need not have a line end.
    """

    __slots__ = ()

    framing = "lines"

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the body and return the lines that they complete, as valid UTF-8."""
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
        """The line that no line end has completed, as valid UTF-8; it stays ``pending`` until :meth:`accept`."""
        return [_readable(bytes(self._rest))] if self._rest.strip() else []
