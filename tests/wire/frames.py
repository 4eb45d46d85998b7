"""AWS event stream frames, built by hand from the format's specification."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterable

Header = tuple[str, int, object]
"""A name, the number of a type, and a value."""

_NUMBERS = {2: ">b", 3: ">h", 4: ">i", 5: ">q", 8: ">q"}


def header(name: str, kind: int, value: object) -> bytes:
    """One header."""
    start = bytes([len(name.encode())]) + name.encode() + bytes([kind])
    if kind in (0, 1):
        return start
    if kind in _NUMBERS:
        return start + struct.pack(_NUMBERS[kind], value)
    data = value.encode() if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]
    return start + data if kind == 9 else start + struct.pack(">H", len(data)) + data


def raw_frame(headers: bytes, payload: bytes, *, total: int | None = None, headers_length: int | None = None) -> bytes:
    """A frame of these bytes; its checksums are right whatever the lengths say."""
    length = 16 + len(headers) + len(payload) if total is None else total
    start = struct.pack(">II", length, len(headers) if headers_length is None else headers_length)
    start += struct.pack(">I", zlib.crc32(start)) + headers + payload
    return start + struct.pack(">I", zlib.crc32(start))


def frame_of(headers: Iterable[Header], payload: bytes = b"") -> bytes:
    """A frame with headers of any type."""
    return raw_frame(b"".join(header(*one) for one in headers), payload)


def event_frame(kind: str, value: object) -> bytes:
    """An event of ConverseStream."""
    headers = [(":event-type", 7, kind), (":content-type", 7, "application/json"), (":message-type", 7, "event")]
    return frame_of(headers, json.dumps(value, ensure_ascii=False).encode())


def chunk_frame(value: object) -> bytes:
    """An event of InvokeModelWithResponseStream: what it wraps is JSON."""
    return event_frame("chunk", {"bytes": base64.b64encode(json.dumps(value).encode()).decode(), "p": "abcdefgh"})


def exception_frame(kind: str, message: str, **more: object) -> bytes:
    """A failure with a payload of its own."""
    headers = [
        (":exception-type", 7, kind),
        (":content-type", 7, "application/json"),
        (":message-type", 7, "exception"),
    ]
    return frame_of(headers, json.dumps({"message": message, **more}).encode())


def error_frame(code: str, message: str) -> bytes:
    """A failure that stands in the headers."""
    return frame_of([(":message-type", 7, "error"), (":error-code", 7, code), (":error-message", 7, message)])
