"""What a client could make of an answer of a fault server, and what it should do next.

The bytes that the server sent are read as llmwatch reads those of a provider, and its rules decide whether a resend
could work and whether it is safe.
"""

from __future__ import annotations

import http.client
import io
import json
import zlib
from dataclasses import dataclass
from typing import Any

from requests.structures import CaseInsensitiveDict

from llmwatch.engine.exchange import Exchange
from llmwatch.errors import LLMWatchError, MalformedEvent, ProviderError, StreamCut, StreamTruncated
from llmwatch.faults import Observation, Request
from llmwatch.payload import asks_nothing, choices_asked, is_streaming, json_object, pieces_asked, tool_exposure
from llmwatch.recovery import Context, EntryPoint, Facts, Sent, decide, failure_of
from llmwatch.watch.clock import SYSTEM
from llmwatch.wire import Decoder, Event, Kind, not_a_stream

__all__ = ["SentAnswer", "sent_answer"]

_CLEAN = ("in good order", "closed by the script", "the body ended with its connection", "the script came to its end")
"""The endings of a connection that its reader sees as an end of file."""
_LEFT = ("the client", "the server is stopping")
"""How endings begin that are no deed of the script: the client left, or still holds the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentAnswer:
    """One answer as its client got it.

    * ``whole``: it is complete and no error. ``content``: a part of an answer came. ``what`` names it in a sentence.
    * ``could_work``, ``safe``: whether sending the request again could work, and is safe; ``advice`` says why not.
    * ``retry_after``: the seconds that the provider asked to wait, ``None`` for none. ``unauthorized``: another
      credential may change the answer.
    * ``left_at_work``: the client left a provider that was at work for all that it could know: bytes came in a stream,
      or the whole document was still to come. ``redirects``: it names another URL.
    """

    whole: bool
    content: bool = False
    what: str = "a whole answer"
    could_work: bool = False
    safe: bool = True
    advice: str = ""
    retry_after: float | None = None
    unauthorized: bool = False
    left_at_work: bool = False
    redirects: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Response:
    """The HTTP response in the bytes that were sent. ``complete``: the body came to its end."""

    status: int
    headers: CaseInsensitiveDict[str]
    body: bytes
    complete: bool


def sent_answer(observation: Observation, *, hands_on: bool) -> SentAnswer:
    """Judge the answer of an observation. ``hands_on``: the client shows an answer's text as it comes."""
    request = observation.request
    assert request is not None
    if observation.sent > len(observation.answer):
        # Only its beginning is known. No provider's error is as long.
        whole = observation.ending in _CLEAN
        return SentAnswer(whole=whole, content=True, what="a part of an answer", could_work=True, safe=not hands_on)
    body, readable = _body_of(request)
    response = _response(observation, request)
    facts: dict[str, Any] = {"sent": Sent.YES, "tools": tool_exposure(body, readable), "replayable": True}
    streaming = is_streaming(request.path, body, headers=CaseInsensitiveDict(request.headers))
    left = observation.ending.startswith(_LEFT)
    error: LLMWatchError | None
    if response is None:
        error, what = StreamCut("No response came."), "no answer"
    else:
        facts |= {"headers": True, "first_byte": bool(response.body), "bytes": len(response.body)}
        what = f"status {response.status}"
        if response.status >= 300:
            error = _refusal(response)
        elif streaming:
            error, seen = _stream(request, body, response, left=left)
            facts |= seen
            what = "an answer that is not whole"
        else:
            error, what = _document(response), "an answer that is not whole"
    judged = Facts(**facts)
    if error is None:
        return SentAnswer(whole=True, content=judged.content)
    if judged.content:
        what = "a part of an answer"
    entry_point = EntryPoint.STREAM if hands_on else EntryPoint.COLLECT if streaming else EntryPoint.REQUEST
    plan = decide(failure_of(error), judged, Context(entry_point=entry_point, plain=not streaming, max_attempts=2))
    return SentAnswer(
        whole=False,
        content=judged.content,
        what=what,
        could_work=plan.could_work,
        safe=plan.safe,
        advice=plan.recovery.message,
        retry_after=error.retry_after,
        unauthorized=response is not None and response.status in (401, 403),
        left_at_work=left
        and (not streaming if response is None else response.status < 300 and bool(response.body or not streaming)),
        redirects=response is not None and 300 <= response.status < 400,
    )


def _body_of(request: Request) -> tuple[Any, bool]:
    """The parsed body, and whether it could be read."""
    if not request.body_bytes:
        return None, True
    try:
        return json.loads(request.body, object_pairs_hook=json_object), True
    except (ValueError, RecursionError):
        return None, False


class _Bytes:
    """A socket for http.client that holds what was sent."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _response(observation: Observation, request: Request) -> _Response | None:
    """The response that was sent; ``None`` if its head was not, or is none."""
    parsed = http.client.HTTPResponse(_Bytes(observation.answer), method=request.method)  # type: ignore[arg-type]
    try:
        parsed.begin()
    except (http.client.HTTPException, OSError, ValueError):
        return None
    delimited = parsed.chunked or parsed.length is not None
    try:
        body, complete = parsed.read(), delimited or observation.ending in _CLEAN
    except http.client.IncompleteRead as cut:
        body, complete = cut.partial, False
    except ValueError:
        body, complete = b"", False
    headers = CaseInsensitiveDict[str]()
    for name, value in parsed.getheaders():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if headers.get("Content-Encoding", "").lower() in ("gzip", "x-gzip", "deflate"):
        body, ended = _decompressed(body)
        complete = complete and ended
    return _Response(status=parsed.status, headers=headers, body=body, complete=complete)


def _decompressed(body: bytes) -> tuple[bytes, bool]:
    """The body, as far as it can be decompressed, and whether it is at its end."""
    for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        decoder = zlib.decompressobj(bits)
        try:
            return decoder.decompress(body), decoder.eof
        except zlib.error:
            continue
    return b"", False


def _refusal(response: _Response) -> ProviderError:
    if response.status < 400:
        return ProviderError("The server redirects.", status=response.status, retryable=False)
    return Exchange.provider_failure("it", response.status, response.headers, response.body, SYSTEM.wall())


def _document(response: _Response) -> LLMWatchError | None:
    """What is wrong with the answer of a plain call."""
    if not response.complete:
        return StreamCut("The document was cut.")
    refused = not_a_stream(response.status, response.headers.get("Content-Type", ""), response.body, ended=True)
    try:
        json.loads(response.body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        if response.body.lstrip().startswith((b"{", b"[")):
            return StreamTruncated("The document ended early.")
        return refused or MalformedEvent("The document is no JSON.")
    return refused if isinstance(refused, ProviderError) else None


def _stream(
    request: Request, body: Any, response: _Response, *, left: bool
) -> tuple[LLMWatchError | None, dict[str, Any]]:
    """What is wrong with a stream, and the facts about it. ``left``: its reader did not wait for an end."""
    content_type = response.headers.get("Content-Type", "")
    decoder = Decoder(
        url=request.path,
        content_type=content_type,
        choices=choices_asked(body),
        in_pieces=pieces_asked(body),
        asks_nothing=asks_nothing(body),
    )
    events = decoder.feed(response.body)
    if not decoder.terminal and decoder.error is None:
        events += decoder.end(clean=response.complete)
    facts = {
        "first_event": decoder.events > 0,
        "terminal": decoder.terminal,
        "events": decoder.events,
        "provider_acted": decoder.provider_acted,
        **_content(events),
    }
    error = decoder.error
    if error is None and not decoder.terminal:
        if response.complete:
            error = decoder.verdict_at_end()
        elif not (decoder.settled or (left and decoder.finishing)):
            error = StreamCut("The stream was cut.")
    if error is not None:
        error = decoder.judged(error)
        if not decoder.events and response.body.strip():
            error = not_a_stream(response.status, content_type, response.body, ended=response.complete) or error
    return error, facts


def _content(events: list[Event]) -> dict[str, bool]:
    kinds = {event.kind for event in events}
    return {
        "text": Kind.TEXT in kinds,
        "reasoning": Kind.REASONING in kinds,
        "tool_input": Kind.TOOL_INPUT in kinds,
        "tool_call": Kind.TOOL_CALL in kinds,
    }
