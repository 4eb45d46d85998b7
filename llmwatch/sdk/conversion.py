"""Turns a request of httpx into one of requests, and the response back into one of httpx."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import requests
from requests.structures import CaseInsensitiveDict

from llmwatch.engine.combined_errors import copy_of
from llmwatch.errors import LLMWatchError
from llmwatch.payload.streaming import may_be_streaming
from llmwatch.records import CallRecord
from llmwatch.sdk.libraries import Library
from llmwatch.sdk.network_stream import NetworkStream
from llmwatch.transport.header_lines import HeaderLines, joined
from llmwatch.transport.peer import PeerSocket

__all__ = ["EXTENSION", "Watched", "header_lines", "prepare", "respond"]

EXTENSION = "llmwatch"
"""The name of the response's extension that is a :class:`Watched`."""

_READ_SIZE = 65536
_LARGEST_KEPT = 64 * 1024
"""The most bytes of an error's body that are kept for a library's retry."""
_VERSIONS = {10: b"HTTP/1.0", 11: b"HTTP/1.1"}

_ASKS_WHO = (401, 407)

# The SDKs obey this header before any other sign.
_NO_RETRY = (b"x-should-retry", b"false")


class Watched:
    """The data of llmwatch on a response: ``response.extensions["llmwatch"]``."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    @property
    def record(self) -> CallRecord | None:
        """The :class:`~llmwatch.CallRecord` of the call; ``None`` while its body is still to come."""
        kept: CallRecord | None = self._raw.llmwatch_record
        return kept


def prepare(request: Any, target: str | None = None) -> requests.PreparedRequest:
    """The same request for an adapter of requests. Method, URL and headers are unchanged.

    Headers of one name are joined, since requests has one value for each. :func:`header_lines` has them apart.
    Only a request for a stream asks for an uncompressed answer. JSON, and any body in memory, becomes bytes, so that it
    can be resent. Any other body (an upload) stays a stream that is read once, while it is sent. A ``target`` that is a
    path replaces the URL's path, so that llmwatch recognises the request by what it asks for.
    """
    headers = CaseInsensitiveDict(joined(header_lines(request)).values())
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url, prepared.headers = request.method, _url(request.url, target), headers
    prepared.hooks = {"response": []}
    prepared.body = _body(request, prepared.url, headers)
    return prepared


def header_lines(request: Any) -> HeaderLines:
    """The headers of ``request`` as the library writes them, in its order."""
    # http.client writes headers in latin-1, so this keeps every byte.
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)


def _url(url: Any, target: str | None) -> str:
    if target is None or not target.startswith("/"):
        return str(url)
    return f"{url.scheme}://{url.netloc.decode('ascii')}{target}"


def _body(request: Any, url: str, headers: CaseInsensitiveDict[str]) -> Any:
    try:
        body = request.content
    except RuntimeError:  # RequestNotRead
        if "json" not in headers.get("content-type", "").lower():
            return iter(request.stream)
        body = request.read()
    if headers.pop("transfer-encoding", None) is not None:
        headers["Content-Length"] = str(len(body))
    if may_be_streaming(url, body, headers):
        # A compressor holds events back, and the library asks for compression by default.
        headers["Accept-Encoding"] = "identity"
    return body or None


def _close(response: requests.Response) -> None:
    """The library is done with ``response``.

    The SDKs close a response in the ``finally`` of the generator that they iterate. If that generator was dropped, a
    finalizer calls this in the thread in which the collector runs. One of llmwatch's threads may hold any lock and must
    not wait for a sink, so it leaves the close to the supervisor.
    """
    call = getattr(response.raw, "call", None)
    in_worker = threading.current_thread().name.startswith("llmwatch-")
    if call is not None and in_worker and isinstance(sys.exc_info()[1], GeneratorExit):
        call.abandon()
    else:
        response.close()


def respond(
    library: Library,
    response: requests.Response,
    fail: Callable[[LLMWatchError], BaseException],
    through: Callable[[Iterator[bytes]], Iterator[bytes]],
) -> tuple[Any, Callable[[], Any] | None]:
    """The library's own response, and a function that makes it again if a retry is to get the same.

    Status, headers and body are as they came over the wire. A model call's error status also tells the SDKs not to
    retry, since llmwatch has done what could be done, and is made again, except a 401 or 407: new credentials may
    overcome those. The error status of any other request is the library's to judge. ``fail`` makes the exception for an
    error while the body is read. The pieces of an event stream pass ``through`` a filter before that.
    """
    raw = response.raw
    watched = Watched(raw)
    record = watched.record if response.status_code >= 400 else None
    refused = record is not None and bool(record.decisions)
    # h11 takes the blanks off both ends, http.client only those before.
    headers = [(_bytes(name), _bytes(value).rstrip(b" \t")) for name, value in raw.headers.items()]
    if refused:
        headers = [*(pair for pair in headers if pair[0].lower() != _NO_RETRY[0]), _NO_RETRY]
    readable = _is_readable(raw)

    def pieces() -> Iterator[bytes]:
        try:
            body = raw.stream(_READ_SIZE, decode_content=False)
            yield from through(body) if readable else body
        except LLMWatchError as error:
            # Without the traceback, whose frames include this one.
            failure = copy_of(error)
        else:
            return
        # Outside the except block, so that the plain error is not its own context.
        raise fail(failure)

    extensions = {
        "http_version": _VERSIONS.get(getattr(raw, "version", 11), b"HTTP/1.1"),
        "reason_phrase": _bytes(response.reason or ""),
        EXTENSION: watched,
    }
    peer = getattr(getattr(raw, "_connection", None), "sock", None)
    if isinstance(peer, PeerSocket):
        extensions["network_stream"] = NetworkStream(peer)

    def made(pieces: Callable[[], Iterator[bytes]], close: Callable[[], None] = _nothing) -> Any:
        stream = library.stream(pieces, close)
        return library.get("Response")(response.status_code, headers=headers, stream=stream, extensions=extensions)

    if not refused or response.status_code in _ASKS_WHO:
        return made(pieces, functools.partial(_close, response)), None
    # The call is over, so its whole body is here.
    body = b"".join(pieces())
    response.close()

    def again() -> Any:
        return made(lambda: iter((body,)))

    return again(), again if len(body) <= _LARGEST_KEPT else None


def _is_readable(raw: Any) -> bool:
    """Whether this is a model's event stream. Other bodies are passed on without a look at them."""
    call = getattr(raw, "call", None)
    readable = call is not None and call.streams and "content-encoding" not in raw.headers
    return readable and "event-stream" in raw.headers.get("content-type", "")


def _nothing() -> None:
    """There is nothing to close."""


def _bytes(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        # Such text comes from a stand-in for the network, never from a socket.
        return text.encode("utf-8")
