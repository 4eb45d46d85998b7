"""Answers of hostile, broken and odd servers.

Each has the expected outcome through every entry point.

A row's ``came`` has three words: what ``stream`` and ``collect`` come to, what a plain ``request`` comes to, and what
the drop-in entry points hand on. ``answer`` is the whole answer, ``handed`` is any response without an error, and any
other word is the class of the error, for a time-out with the limit that expired. ``StreamCut:final`` is an answer that
is not HTTP, for which the request is sent once.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import Any

from llmwatch.faults import steps
from llmwatch.faults.steps import Step
from tests.end_to_end.times import BEAT, LIMIT, PULSE

__all__ = ["CHAT", "ROWS", "TEXT", "Row"]

TEXT = "Hello there"
CHAT = "/v1/chat/completions"


def data(value: Any, name: str = "") -> bytes:
    """A server-sent event."""
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(delta: Any = None, finish: Any = None, *, choice: Any = None, **more: Any) -> bytes:
    """A chunk of a chat completion."""
    one = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish, **(choice or {})}
    return data({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [one], **more})


ROLE = chunk({"role": "assistant", "content": ""})
SAID = chunk({"content": TEXT})
STOP = chunk(finish="stop")
DONE = b"data: [DONE]\n\n"
BODY = ROLE + SAID + STOP + DONE
OK = b"HTTP/1.1 200 OK"
SSE = b"Content-Type: text/event-stream"
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: %d" % len(BODY)


def head(*lines: bytes, status: bytes = OK) -> bytes:
    """A status line and headers."""
    return b"\r\n".join([status, *lines, b"", b""])


def whole(*lines: bytes, body: bytes = BODY, status: bytes = OK) -> bytes:
    """An answer with headers of the row's own, and a length."""
    return head(SSE, b"Content-Length: %d" % len(body), *lines, status=status) + body


def plain(*lines: bytes, body: bytes = BODY, status: bytes = OK) -> bytes:
    """An answer with headers of the row's own, that ends with its connection."""
    return head(SSE, *lines, status=status) + body


def piece(body: bytes, size: bytes | None = None, end: bytes = b"\r\n") -> bytes:
    """A chunk, with a size line and an end of the row's own."""
    return (b"%x" % len(body) if size is None else size) + b"\r\n" + body + end


def chunks(*pieces: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    """A chunked answer."""
    return head(SSE, CHUNKED) + b"".join(pieces) + last


def events(*blocks: bytes) -> bytes:
    """An answer whose events are the row's own."""
    return plain(body=b"".join(blocks))


def packed(body: bytes, encoding: bytes = b"gzip", **more: Any) -> bytes:
    """An answer in an encoding that the request did not accept."""
    return whole(b"Content-Encoding: " + encoding, body=body, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One answer: what the server does, and what comes of it.

    ``hangs`` says that the server never ends it, so that a limit has to.
    """

    name: str
    played: tuple[Step, ...]
    came: str
    path: str
    hangs: bool


def row(name: str, came: str, *played: bytes | Step, path: str = CHAT, hangs: bool = False) -> Row:
    """A row whose bytes are sent as they are; its connection is closed behind them."""
    done = [steps.Send(one) if isinstance(one, bytes) else one for one in played]
    return Row(name=name, played=(*done, steps.Hang() if hangs else steps.Close()), came=came, path=path, hangs=hangs)


_GZIP = gzip.compress(BODY, mtime=0)
_FLATE = zlib.compress(BODY)
_BARE = zlib.compress(BODY)[2:-4]

_GARBAGE = "StreamCut:final StreamCut:final StreamCut:final"

HEADS = (
    row("status line is empty", _GARBAGE, b"\r\n" + whole()),
    row("status line is garbage", _GARBAGE, b"\x00\x01\x02\xff\xfe garbage\r\n\r\n"),
    row("nothing but a newline", _GARBAGE, b"\n"),
    row("HTTP/0.9", _GARBAGE, BODY),
    row("HTTP/1.0", "answer answer answer", plain(status=b"HTTP/1.0 200 OK")),
    row("ICY", _GARBAGE, plain(status=b"ICY 200 OK")),
    row("SSH banner", _GARBAGE, b"SSH-2.0-OpenSSH_9.6\r\n"),
    row("status 0", _GARBAGE, plain(status=b"HTTP/1.1 000 Zero")),
    row("status 1000", _GARBAGE, plain(status=b"HTTP/1.1 1000 High")),
    row("status -1", _GARBAGE, plain(status=b"HTTP/1.1 -1 Below")),
    row("status 204 with a body", "EmptyStream handed handed", whole(status=b"HTTP/1.1 204 No Content")),
    row("status 304", "ProviderError handed handed", head(status=b"HTTP/1.1 304 Not Modified")),
    row("status 999", "ProviderError answer answer", whole(status=b"HTTP/1.1 999 Denied")),
    row("status line of 100 KiB", _GARBAGE, plain(status=OK + b"x" * 100_000)),
    row(
        "status 101",
        "ProviderError handed handed",
        head(b"Upgrade: websocket", status=b"HTTP/1.1 101 Switching") + BODY,
    ),
    row("a hundred times 100", "answer answer answer", b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + whole()),
    row("fifty times 103", "answer answer answer", b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" * 50 + whole()),
    row(
        "100 without end",
        "WatchTimeout:ttfb WatchTimeout:ttfb WatchTimeout:ttfb",
        steps.Repeat([steps.Send(b"HTTP/1.1 100 Continue\r\n\r\n")], every=PULSE),
        hangs=True,
    ),
    row("line without colon", "answer answer answer", plain(b"X-Nothing")),
    row("name with a blank", "answer answer answer", plain(b"X Odd : 1")),
    row("NUL in a value", "answer answer answer", plain(b"X-Odd: a\x00b")),
    row("bytes above 127", "answer answer answer", plain(b"X-Odd: \xff\xfe\xe9")),
    row("folded first line", "answer answer answer", head(b" folded: 1", SSE) + BODY),
    row("value of 100 KiB", "answer answer answer", plain(b"X-Odd: " + b"x" * 100_000)),
    row("3,000 headers", "answer answer answer", plain(*[b"X-%d: 1" % number for number in range(3_000)])),
    row(
        "headers without end",
        "WatchTimeout:ttfb WatchTimeout:ttfb WatchTimeout:ttfb",
        OK + b"\r\n",
        steps.Repeat([steps.Send(b"X: 1\r\n")], every=BEAT),
        hangs=True,
    ),
    row(
        "seven bytes at a time", "answer answer answer", *[steps.Send(whole()[at : at + 7]) for at in range(0, 700, 7)]
    ),
    row("length twice", "answer answer answer", whole(LENGTH)),
    row("lengths that differ", _GARBAGE, whole(b"Content-Length: 3")),
    row(
        "lengths in a list",
        "answer answer answer",
        head(SSE, b"Content-Length: %d, %d" % (len(BODY), len(BODY))) + BODY,
    ),
    row("lengths in a list that differ", _GARBAGE, head(SSE, b"Content-Length: 1, 2") + BODY),
    row("length is negative", "answer answer answer", head(SSE, b"Content-Length: -5") + BODY),
    row("length is text", "answer answer answer", head(SSE, b"Content-Length: many") + BODY),
    row("length of 30 digits", "answer StreamCut answer", head(SSE, b"Content-Length: " + b"9" * 30) + BODY),
    row("length of 5,000 digits", "answer answer answer", head(SSE, b"Content-Length: " + b"9" * 5_000) + BODY),
    row("length of 0 and a body", "EmptyStream handed handed", head(SSE, b"Content-Length: 0") + BODY),
    row("length and more behind it", "answer answer answer", whole() + whole()),
    row(
        "length and chunked",
        "answer answer answer",
        head(SSE, b"Content-Length: 3", CHUNKED) + piece(BODY) + b"0\r\n\r\n",
    ),
    row("coding unknown", "answer answer answer", head(SSE, b"Transfer-Encoding: braided") + BODY),
    row("chunked, body is not", _GARBAGE, head(SSE, CHUNKED) + BODY),
    row(
        "redirect to nothing",
        "ProviderError handed handed",
        head(b"Content-Length: 0", b"Location:", status=b"HTTP/1.1 307 T"),
    ),
    row(
        "redirect to a scheme",
        "ProviderError ProviderError requests.InvalidSchema/handed",
        head(b"Content-Length: 0", b"Location: gopher://x/", status=b"HTTP/1.1 307 T"),
    ),
    row(
        "redirect to a port",
        "ProviderError ProviderError ConfigError/handed",
        head(b"Content-Length: 0", b"Location: http://h:99999/", status=b"HTTP/1.1 307 T"),
    ),
    row(
        "90 cookies",
        "answer answer answer",
        whole(*[b"Set-Cookie: c%d=1; Max-Age=x; Expires=never" % one for one in range(90)]),
    ),
    row("cookie of garbage", "answer answer answer", whole(b'Set-Cookie: ="\x01\x02; Domain=..; Path=\xff')),
    row("type is absent", "answer answer answer", head(LENGTH) + BODY),
    row("type is garbage", "answer answer answer", head(b"Content-Type: ;;;=/\x01", LENGTH) + BODY),
    row("charset is unknown", "answer answer answer", head(SSE + b"; charset=klingon", LENGTH) + BODY),
    row("type is JSON", "answer answer answer", head(b"Content-Type: application/json", LENGTH) + BODY),
)


def _refused(text: bytes) -> bytes:
    return head(b"Content-Length: 0", b"Retry-After: " + text, status=b"HTTP/1.1 503 Busy")


WAITS = (
    row("Retry-After is negative", "ProviderError handed handed", _refused(b"-5")),
    row("Retry-After is nan", "ProviderError handed handed", _refused(b"nan")),
    row("Retry-After of 400 digits", "ProviderError handed handed", _refused(b"9" * 400)),
    row("Retry-After in the year 9999", "ProviderError handed handed", _refused(b"Fri, 31 Dec 9999 23:59:59 GMT")),
    row("Retry-After in 1969", "ProviderError handed handed", _refused(b"Wed, 31 Dec 1969 23:59:59 GMT")),
)

CHUNKS = (
    row("size is no number", _GARBAGE, chunks(piece(ROLE), piece(SAID, b"zz"))),
    row("size is negative", _GARBAGE, chunks(piece(ROLE), piece(SAID, b"-5"))),
    row("size has a sign", "answer answer answer", chunks(piece(BODY, b"+%x" % len(BODY)))),
    row("size has 0x", "answer answer answer", chunks(piece(BODY, b"0x%x" % len(BODY)))),
    row(
        "size has an underscore",
        _GARBAGE,
        chunks(piece(BODY, b"%x_" % len(BODY))),
    ),
    row("size is empty", _GARBAGE, chunks(piece(ROLE), piece(SAID, b""))),
    row("size in blanks", "answer answer answer", chunks(piece(BODY, b"  %x  " % len(BODY)))),
    row("size of 100 KiB", _GARBAGE, chunks(piece(BODY, b"0" * 100_000 + b"%x" % len(BODY)))),
    row("size has an extension", "answer answer answer", chunks(piece(BODY, b'%x;a="b;\x01"' % len(BODY)))),
    row("size too small", _GARBAGE, chunks(piece(BODY, b"5"))),
    row("size too large", "answer StreamCut answer", chunks(piece(BODY, b"%x" % (len(BODY) + 9)))),
    row(
        "size ends in LF", "answer StreamCut:final answer", head(SSE, CHUNKED) + b"%x\n" % len(BODY) + BODY + b"\n0\n\n"
    ),
    row(
        "no CRLF behind a chunk",
        _GARBAGE,
        chunks(piece(ROLE, end=b""), piece(SAID + STOP + DONE)),
    ),
    row("garbage behind a chunk", "answer answer answer", chunks(piece(ROLE, end=b"xx"), piece(SAID + STOP + DONE))),
    row("trailers", "answer answer answer", chunks(piece(BODY), last=b"0\r\nX-Late: 1\r\nContent-Length: 9\r\n\r\n")),
    row("trailers of garbage", "answer answer answer", chunks(piece(BODY), last=b"0\r\n\x00\xff\r\nno colon\r\n\r\n")),
    row("data behind the last", "answer answer answer", chunks(piece(BODY), last=b"0\r\n\r\n" + piece(SAID) + whole())),
    row("a byte a chunk", "answer answer answer", chunks(*[piece(BODY[at : at + 1]) for at in range(len(BODY))])),
)

COMPRESSED = (
    row("gzip", "answer answer answer", packed(_GZIP)),
    row("x-gzip", "answer answer answer/handed", packed(_GZIP, b"x-gzip")),
    row("gzip without its sum", "answer StreamCut answer", packed(_GZIP[:-8])),
    row(
        "gzip with a wrong sum",
        "StreamCut handed requests.ContentDecodingError/httpx.DecodingError",
        packed(_GZIP[:-8] + b"\x00" * 8),
    ),
    row(
        "gzip in two members",
        "answer answer answer/handed",
        packed(gzip.compress(BODY[:90]) + gzip.compress(BODY[90:])),
    ),
    row("gzip and garbage behind", "answer answer answer", packed(_GZIP + b"garbage")),
    row(
        "gzip is garbage",
        "StreamCut handed requests.ContentDecodingError/httpx.DecodingError",
        packed(b"\x1f\x8bgarbage, and more of it"),
    ),
    row("gzip is plain text", "StreamCut answer requests.ContentDecodingError/httpx.DecodingError", packed(BODY)),
    row("deflate without a header", "answer answer answer", packed(_BARE, b"deflate")),
    row(
        "deflate is gzip",
        "StreamCut handed requests.ContentDecodingError/httpx.DecodingError",
        packed(_GZIP, b"deflate"),
    ),
    row("encoding unknown", "NotAStream answer answer", packed(BODY, b"rot13")),
    row(
        "twenty encodings",
        "NotAStream answer requests.ContentDecodingError/httpx.DecodingError",
        packed(BODY, b", ".join([b"gzip"] * 20)),
    ),
    row(
        "gzip of 8 MiB",
        "BodyTooLarge BodyTooLarge BodyTooLarge",
        packed(gzip.compress(b": " + b"0" * (8 << 20) + b"\n\n")),
    ),
    row(
        "gzip of 8 MiB that is refused",
        "ProviderError handed handed",
        packed(gzip.compress(b"0" * (8 << 20)), status=b"HTTP/1.1 400 No"),
    ),
)

_DEEP = b'data: {"choices":[{"index":0,"delta":{"content":' + b"[" * 20_000 + b"]" * 20_000 + b"}}]}\n\n"
_MESSAGES = "/v1/messages"
_RESPONSES = "/v1/responses"


def _call(index: Any, **more: Any) -> bytes:
    return chunk({"tool_calls": [{"index": index, "id": "t", "type": "function", "function": more}]})


EVENTS = (
    row("nothing at all", "EmptyStream handed handed", events()),
    row("comments alone", "EmptyStream handed handed", events(b": ping\n\n" * 50)),
    row("a field without end", "StreamTruncated handed StreamTruncated", events(ROLE, b"data: {", b"x" * 200_000)),
    row("1 MiB of colons", "BodyTooLarge BodyTooLarge BodyTooLarge", events(b":" * (1 << 20) + b"\n\n", BODY)),
    row(
        "fields of no standard",
        "answer answer answer",
        events(b"odd: 1\nretry: -5\nid: a\x00b\nretry: 1e9\n: c\n", BODY),
    ),
    row("NUL in the data", "MalformedEvent answer answer", events(ROLE, b"data: \x00\n\n", SAID, STOP, DONE)),
    row("BOM", "answer answer answer", events(b"\xef\xbb\xbf", BODY)),
    row("BOM twice", "answer answer answer", events(b"\xef\xbb\xbf" * 2, BODY)),
    row(
        "mixed newlines",
        "answer answer answer",
        events(ROLE.replace(b"\n", b"\r"), SAID.replace(b"\n", b"\r\n"), STOP, DONE),
    ),
    row("UTF-16", "StreamTruncated handed handed", events(BODY.decode().encode("utf-16"))),
    row("deep JSON", "MalformedEvent answer answer", events(ROLE, _DEEP, SAID, STOP, DONE)),
    row(
        "number of 5,000 digits",
        "MalformedEvent answer answer",
        events(ROLE, SAID.replace(b'"c"', b"9" * 5_000), STOP, DONE),
    ),
    row("NaN", "answer answer answer", events(ROLE, SAID.replace(b'"c"', b"NaN"), STOP, DONE)),
    row(
        "duplicate keys",
        "answer answer answer",
        events(ROLE, SAID.replace(b'"id": "c"', b'"id": 1, "id": "c"'), STOP, DONE),
    ),
    row("JSON cut", "MalformedEvent answer answer", events(ROLE, b'data: {"choices": [{"ind\n\n', SAID, STOP, DONE)),
    row("event is a list", "MalformedEvent answer answer", events(ROLE, b"data: []\n\n", SAID, STOP, DONE)),
    row("choices is a map", "answer answer answer", events(ROLE, data({"choices": {"0": 1}}), SAID, STOP, DONE)),
    row("content is a number", "handed answer answer", events(ROLE, chunk({"content": 5}), SAID, STOP, DONE)),
    row("reason is a list", "answer answer answer", events(ROLE, SAID, chunk(finish=["stop"]), DONE)),
    row("error is a number", "ProviderError answer answer", events(ROLE, data({"error": 5}), SAID, STOP, DONE)),
    row(
        "choice index is negative",
        "answer answer answer",
        events(ROLE, chunk({}, choice={"index": -1}), SAID, STOP, DONE),
    ),
    row(
        "choice index is huge",
        "answer answer answer",
        events(ROLE, chunk({}, choice={"index": 10**18}), SAID, STOP, DONE),
    ),
    row(
        "call index is huge",
        "answer answer answer",
        events(ROLE, _call(2**63, name="f", arguments="{}"), SAID, STOP, DONE),
    ),
    row(
        "call ids repeat",
        "answer answer answer",
        events(ROLE, *[_call(at, name="f", arguments="{}") for at in (0, 1)], SAID, STOP, DONE),
    ),
    row(
        "call arguments are a list",
        "MalformedEvent answer answer",
        events(ROLE, _call(0, name="f", arguments=[1]), SAID, STOP, DONE),
    ),
    row("more behind the end mark", "answer answer answer", events(BODY, SAID, data({"error": {"message": "late"}}))),
    row("end mark first", "EmptyStream answer answer", events(DONE, BODY)),
    row("end mark in lower case", "MalformedEvent handed handed", events(ROLE, SAID, STOP, b"data: [done]\n\n")),
    row(
        "a byte at a time",
        "answer answer answer",
        head(SSE),
        *[steps.Send(BODY[at : at + 1]) for at in range(len(BODY))],
    ),
    row(
        "messages: nothing known", "StreamTruncated handed handed", events(data({"type": "odd"}, "odd")), path=_MESSAGES
    ),
    row(
        "messages: delta is null",
        "MalformedEvent handed StreamTruncated",
        events(data({"type": "content_block_delta", "delta": None})),
        path=_MESSAGES,
    ),
    row(
        "messages: error is text",
        "ProviderError handed handed",
        events(data({"type": "error", "error": "x"}, "error")),
        path=_MESSAGES,
    ),
    row(
        "responses: delta is a map",
        "StreamTruncated handed StreamTruncated",
        events(data({"type": "response.output_text.delta", "delta": {}})),
        path=_RESPONSES,
    ),
    row(
        "responses: no response",
        "handed/EmptyStream handed handed",
        events(data({"type": "response.completed", "response": None})),
        path=_RESPONSES,
    ),
    row(
        "gemini: parts is text",
        "StreamTruncated handed StreamTruncated",
        events(data({"candidates": [{"content": {"parts": "x"}}]})),
        path="/v1beta/models/m:streamGenerateContent?alt=sse",
    ),
    row(
        "ollama: message is text",
        "NotAStream handed StreamTruncated",
        head(b"Content-Type: application/x-ndjson") + b'{"message": "x", "done": false}\n',
        path="/api/chat",
    ),
    row(
        "ollama: lines of garbage",
        "MalformedEvent handed handed",
        head(b"Content-Type: application/x-ndjson") + b"{{{{\n]]]]\n",
        path="/api/chat",
    ),
)

_PART = head(SSE, CHUNKED) + piece(ROLE)
_TOLD = _PART + piece(SAID)

CLOSING = (
    row("FIN at once", "StreamCut StreamCut StreamCut"),
    row("FIN behind the status line", "StreamCut StreamCut StreamCut", OK + b"\r\n"),
    row("FIN behind the headers", "StreamCut StreamCut StreamCut", head(SSE, CHUNKED)),
    row("FIN behind content", "StreamCut StreamCut StreamCut", _TOLD),
    row("FIN before the end mark", "StreamCut StreamCut StreamCut", _TOLD + piece(STOP)),
    row("FIN behind the end mark", "answer StreamCut answer", _TOLD + piece(STOP + DONE)),
    row("RST at once", "StreamCut StreamCut StreamCut", steps.Reset()),
    row("RST behind the headers", "StreamCut StreamCut StreamCut", head(SSE, CHUNKED), steps.Wait(BEAT), steps.Reset()),
    row("RST before content", "StreamCut StreamCut StreamCut", _PART, steps.Wait(BEAT), steps.Reset()),
    row("RST behind content", "StreamCut StreamCut StreamCut", _TOLD, steps.Wait(BEAT), steps.Reset()),
    row(
        "RST before the end mark", "StreamCut StreamCut StreamCut", _TOLD + piece(STOP), steps.Wait(BEAT), steps.Reset()
    ),
    row(
        "RST behind the end mark",
        "answer StreamCut answer",
        _TOLD + piece(STOP + DONE),
        steps.Wait(LIMIT),
        steps.Reset(),
    ),
    row("half closed at once", "StreamCut StreamCut StreamCut", steps.HalfClose(), hangs=True),
    row("half closed behind content", "StreamCut StreamCut StreamCut", _TOLD, steps.HalfClose(), hangs=True),
    row("silent at once", "WatchTimeout:ttfb WatchTimeout:ttfb WatchTimeout:ttfb", hangs=True),
    row(
        "silent in the headers", "WatchTimeout:ttfb WatchTimeout:ttfb WatchTimeout:ttfb", OK + b"\r\nX-A: ", hangs=True
    ),
    row(
        "silent behind the headers",
        "WatchTimeout:ttfb WatchTimeout:ttfb WatchTimeout:ttfb",
        head(SSE, CHUNKED),
        hangs=True,
    ),
    row(
        "silent before content",
        "WatchTimeout:stale WatchTimeout:stale WatchTimeout:stale",
        _PART,
        hangs=True,
    ),
    row("silent behind content", "WatchTimeout:stale WatchTimeout:stale WatchTimeout:stale", _TOLD, hangs=True),
    row("silent behind the reason", "answer WatchTimeout:stale handed", _TOLD + piece(STOP), hangs=True),
    row("silent behind the end mark", "answer WatchTimeout:stale answer", _TOLD + piece(STOP + DONE), hangs=True),
)

ROWS = {
    "heads": HEADS,
    "waits": WAITS,
    "chunks": CHUNKS,
    "compressed": COMPRESSED,
    "events": EVENTS,
    "closing": CLOSING,
}
