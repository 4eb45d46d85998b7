"""Framing of AWS event streams (``application/vnd.amazon.eventstream``): bytes to binary frames.

Source: the Smithy specification of ``vnd.amazon.eventstream``. A frame is::

    total length (4) | headers' length (4) | CRC of these 8 bytes (4) | headers | payload | CRC of all before (4)

The rules of this module:

* The same bytes give the same frames for any split into reads.
* Both checksums are verified, and the headers must fill their length exactly. A frame that fails is neither returned
  nor skipped: the framer is ``damaged``, and returns no more frames.
* The first checksum is verified as soon as its bytes have come, before the length that it protects is used.
* Every byte is examined a fixed number of times.

No I/O, no threads, no clock.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from llmwatch.wire.event import Event
from llmwatch.wire.framing import MAX_EVENT

__all__ = ["FRAME_TYPE", "Frame", "FrameFramer", "HeaderValue", "frame_events"]

FRAME_TYPE = "application/vnd.amazon.eventstream"
"""The content type of an AWS event stream."""

HeaderValue = bool | int | bytes | str
"""The value of a frame's header. Timestamps are milliseconds since 1970 (UTC); UUIDs are 16 bytes."""

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
# Prelude and final checksum: a frame without headers and payload.
_LEAST = _PRELUDE.size + _CRC.size

_LENGTH = struct.Struct(">H")
_NUMBERS = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q")}
_NUMBERS[8] = _NUMBERS[5]
_UUID_SIZE = 16


class Frame(NamedTuple):
    """One complete frame with verified checksums."""

    headers: dict[str, HeaderValue]
    payload: bytes


class _Unreadable(ValueError):
    """A frame's headers do not follow the format."""


class FrameFramer:
    """The framer of AWS event streams: :meth:`feed` returns complete frames.

    ``damaged`` describes the fault of the first unreadable frame (empty without one). ``overflow`` is true once a frame
    announces more than ``max_event`` bytes. After either, no more frames are returned. ``pending`` is the size of the
    incomplete frame; ``scanned`` counts the bytes taken. The format has no comments: ``comments`` and ``strays`` stay
    0.
    """

    framing = "frames"

    __slots__ = ("_rest", "_total", "comments", "damaged", "max_event", "overflow", "scanned", "strays")

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self.max_event = max_event
        self.comments = 0
        self.strays = 0
        self.scanned = 0
        self.overflow = False
        self.damaged = ""
        self._rest = bytearray()
        self._total = 0

    @property
    def pending(self) -> int:
        """Bytes of the incomplete frame."""
        return len(self._rest)

    def rest(self) -> list[Frame]:
        """Always empty: a frame states its length, so an incomplete frame is cut."""
        return []

    @property
    def begun(self) -> bool:
        """Whether anything is pending."""
        return bool(self._rest)

    @property
    def is_frame(self) -> bool:
        """Whether the pending bytes are part of a frame: the prelude is verified, or begins like one."""
        return bool(self._total) or (bool(self._rest) and self._rest[0] == 0)

    def accept(self) -> None:
        """Drop the incomplete frame."""
        self._rest.clear()

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes of the body and return the frames that these complete."""
        frames: list[Frame] = []
        if self.overflow or self.damaged:
            return frames
        self.scanned += len(data)
        rest = self._rest
        rest += data
        start = 0
        while True:
            if not self._total and not self._begin(start):
                break
            end = start + self._total
            if len(rest) < end:
                break
            frame = self._frame(bytes(memoryview(rest)[start:end]))
            if frame is None:
                break
            frames.append(frame)
            start, self._total = end, 0
        if self.overflow or self.damaged:
            rest.clear()
        else:
            del rest[:start]
        return frames

    def _begin(self, start: int) -> bool:
        """Read the prelude of the next frame; false if the prelude is incomplete or invalid."""
        rest = self._rest
        if len(rest) - start < _PRELUDE.size:
            return False
        total, headers, checksum = _PRELUDE.unpack_from(rest, start)
        if zlib.crc32(memoryview(rest)[start : start + _PRELUDE.size - _CRC.size]) != checksum:
            self.damaged = "the checksum of its length does not match"
        elif total < _LEAST + headers:
            self.damaged = "its length is shorter than what it holds"
        elif total > self.max_event:
            self.overflow = True
        else:
            self._total = total
            return True
        return False

    def _frame(self, data: bytes) -> Frame | None:
        (checksum,) = _CRC.unpack_from(data, len(data) - _CRC.size)
        if zlib.crc32(memoryview(data)[: -_CRC.size]) != checksum:
            self.damaged = "its checksum does not match"
            return None
        border = _PRELUDE.size + _PRELUDE.unpack_from(data)[1]
        try:
            return Frame(_headers(data, _PRELUDE.size, border), data[border : -_CRC.size])
        except _Unreadable as exc:
            self.damaged = str(exc)
            return None


def _headers(data: bytes, at: int, end: int) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    while at < end:
        name_end = at + 1 + data[at]
        if name_end >= end:
            raise _Unreadable("a header is longer than the headers are said to be")
        name = _text(data[at + 1 : name_end])
        if name in headers:
            raise _Unreadable("a header stands in it twice")
        headers[name], at = _value(data, name_end, end)
    return headers


def _value(data: bytes, at: int, end: int) -> tuple[HeaderValue, int]:
    """The value of the header whose type is at ``at``, and the position after it."""
    kind, at = data[at], at + 1
    if kind in (0, 1):
        return kind == 0, at
    if kind in _NUMBERS:
        size = _NUMBERS[kind].size
    elif kind in (6, 7):
        if at + _LENGTH.size > end:
            raise _Unreadable("a header is longer than the headers are said to be")
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
    elif kind == 9:
        size = _UUID_SIZE
    else:
        raise _Unreadable("a header is of a type that the format does not have")
    if at + size > end:
        raise _Unreadable("a header is longer than the headers are said to be")
    if kind in _NUMBERS:
        (number,) = _NUMBERS[kind].unpack_from(data, at)
        return int(number), at + size
    value = data[at : at + size]
    return _text(value) if kind == 7 else value, at + size


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _Unreadable("a header is not UTF-8") from None


def frame_events(frames: Iterable[Frame]) -> list[Event]:
    """One event for each frame, in order.

    ``event`` is the frame's ``:event-type``; for a frame that reports a failure, ``exception:`` or ``error:`` and the
    failure's name (``exception:throttlingException``). ``data`` is the payload as text. A ``chunk`` wraps an event of
    the model's own API (``{"bytes": "<base64>"}``); its ``data`` is the wrapped event.
    """
    return [_event(frame) for frame in frames]


def _event(frame: Frame) -> Event:
    kind = _header(frame, ":message-type")
    if kind == "error":
        # An error frame has no payload; the message is in the headers.
        message = json.dumps({"message": _header(frame, ":error-message")})
        return Event(f"error:{_header(frame, ':error-code')}", message)
    text = frame.payload.decode("utf-8", "replace")
    if kind == "exception":
        return Event(f"exception:{_header(frame, ':exception-type')}", text)
    name = _header(frame, ":event-type") or "message"
    return Event(name, _unwrapped(text) if name == "chunk" else text)


def _header(frame: Frame, name: str) -> str:
    value = frame.headers.get(name)
    return value if isinstance(value, str) else ""


def _unwrapped(text: str) -> str:
    try:
        value = json.loads(text)
        wrapped = value.get("bytes") if isinstance(value, dict) else None
        return base64.b64decode(wrapped, validate=True).decode("utf-8", "replace") if type(wrapped) is str else text
    except (ValueError, RecursionError):
        return text
