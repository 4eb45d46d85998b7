"""Reading a body in place of an answer: error bodies, error events, web pages, documents.

The functions take values and bytes that a provider or a proxy sent, and never fail on them: input that is not
understood gives a short general message. Only the provider's error text and the title of a page are quoted, both
capped.
"""

from __future__ import annotations

import codecs
import html
import json
import re
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from llmwatch.errors import LLMWatchError, NotAStream, ProviderError
from llmwatch.lazy_pattern import lazy
from llmwatch.wire.codes import may_pass
from llmwatch.wire.error_objects import MOST_NAME, broken_error, error_body, error_in, lone_error, printed, shorten
from llmwatch.wire.event import StreamError
from llmwatch.wire.lines import ENOUGH_OF_LINE, may_be_events

__all__ = [
    "in_stream_error",
    "is_loading",
    "json_document",
    "media_type",
    "not_a_stream",
    "provider_error",
    "retry_delay",
]

_MOST_TITLE = 80
_MOST_DETAILS = 16
_DECIMAL = lazy(r"[+-]?\d{1,15}(?:\.\d{0,20})?", re.ASCII)

COHERE_LINE_TYPE = "application/stream+json"
"""The content type of the JSON lines of Cohere's first version."""

LINE_TYPES = frozenset(
    (
        COHERE_LINE_TYPE,
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json-seq",
    )
)
"""Content types of JSON lines."""

# With these content types, or without one, an unreadable body counts as a damaged stream.
_READ_TYPES = frozenset(("", "text/event-stream", "application/vnd.amazon.eventstream"))
_LINE_END = lazy(rb"[\r\n]")

_PAGE_TYPES = frozenset(("text/html", "application/xhtml+xml"))
_FIELD = lazy(rb"(?:data|event|id|retry)?:|[{\[]")
_TITLE = lazy(r"<(title|h1)\b[^<>]*>([^<]*)<", re.IGNORECASE)

# Statuses that http.HTTPStatus lacks: Cloudflare's, and Anthropic's overload (529).
_PHRASES = {
    520: "the server behind the proxy gave an unknown error",
    521: "the server behind the proxy is down",
    522: "the proxy could not connect to the server",
    523: "the server behind the proxy is unreachable",
    524: "the server behind the proxy did not answer in time",
    525: "the TLS handshake behind the proxy failed",
    526: "the certificate behind the proxy is invalid",
    527: "the proxy lost the server",
    529: "the provider is overloaded",
}


def _decoded(body: bytes) -> str:
    """``body`` without a byte order mark, decoded as UTF-8.

    Not by the codec ``utf-8-sig``: it is written in Python and wraps an exception of a signal handler into another one.
    """
    return body.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")


@lru_cache(maxsize=64)
def media_type(content_type: str) -> str:
    """The bare media type of a ``Content-Type`` header, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def _json(body: bytes) -> Any:
    text = _decoded(body).strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        # More may follow, such as an end mark from a proxy.
        return json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        pass
    # DashScope, and servers that have begun to stream, answer an error status with an event.
    for data in _data_of_events(text):
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            continue
    return None


_DATA = lazy(r"data: ?(.*)")
_TEXT_LINE_END = lazy(r"\r\n|[\r\n]")


def _data_of_events(text: str) -> list[str]:
    """The data of the server-sent events in ``text``; empty if ``text`` holds anything else."""
    events: list[list[str]] = [[]]
    for line in _TEXT_LINE_END.split(text):
        if not line:
            events.append([])
        elif not may_be_events(line.encode("utf-8", "replace")[:ENOUGH_OF_LINE], whole=True):
            return []
        elif match := _DATA.match(line):
            events[-1].append(match[1])
    return [data for event in events if (data := "\n".join(event).strip())]


def _start(body: bytes) -> bytes:
    return body[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()


def _is_page(content_type: str, body: bytes) -> bool:
    # Only markup begins with "<": no field, comment or JSON does. Some servers send events as text/html.
    start = _start(body)
    return start.startswith(b"<") or (media_type(content_type) in _PAGE_TYPES and not _FIELD.match(start))


def _page(body: bytes) -> str:
    found = _TITLE.search(body.decode("utf-8", "replace"))
    title = shorten(html.unescape(found[2]), _MOST_TITLE) if found else ""
    return f'a web page titled "{title}"' if title else "a web page without a title"


def _phrase(status: int) -> str:
    if status in _PHRASES:
        return _PHRASES[status]
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return "no reason was given"


def provider_error(status: int, body: bytes, content_type: str = "") -> StreamError:
    """The type, code and message of an error response.

    ``body`` may be the beginning of the whole body. The message is never empty and at most 500 characters long; for a
    web page it has only the title. This function does not decide whether a resend could work.
    """
    if _is_page(content_type, body):
        return StreamError(None, None, f"{_phrase(status)} ({_page(body)})")
    text = _decoded(body).strip()
    events = _data_of_events(text)
    error = error_body(_json(body)) if events or text[:1] in ("{", "[") else None
    text = events[0] if events else text
    error = error or error_body(printed(text))
    if error is None and text[:1] not in ("", "{", "[") and " ".join(text.split()).isprintable():
        error = StreamError(None, None, shorten(text))
    return error or StreamError(None, None, _phrase(status))


# Matched against the whole message, so that a failure to load does not match.
_LOADING = lazy(
    r"(?:unexpected server status: )?(?:llm server |server is )?loading (?:the )?model\.*"
    r"|(?:the )?model(?: \S{1,200})? is (?:still |currently )?(?:loading|being loaded)\b.{0,200}",
    re.IGNORECASE | re.DOTALL,
)


def is_loading(body: bytes) -> bool:
    """Whether the body of a 503 says that the server is still loading its model.

    llama.cpp and llamafile send the type ``unavailable_error`` with the message ``Loading model``; a proxy may pass on
    only the message (server README and source, 2024 to 2026). Hugging Face's containers send an ``estimated_time``
    beside the error. Gateways in front of Ollama's runner pass on the runner's message. Ollama itself, LM Studio and
    llama-swap hold the request back during loading; vLLM and TGI do not listen yet. KoboldCpp's ``service_unavailable``
    means a busy server.
    """
    document = _json(body)
    if not isinstance(document, dict):
        return False
    error = document.get("error")
    found = error_body(document)
    if found is not None and found.type == "unavailable_error":
        return True
    if isinstance(error, str) and type(document.get("estimated_time")) in (int, float):
        return True
    words = (found.message if found is not None else "", document.get("status"))
    return any(isinstance(word, str) and _LOADING.fullmatch(word.strip()) is not None for word in words)


def retry_delay(said: bytes | str) -> float | None:
    """The delay before a retry that an error of Google's asks for, in seconds, never negative.

    This is the longest ``retryDelay`` of a ``RetryInfo`` in the error's details; ``None`` without a valid one. ``said``
    is the JSON text of a body or an event: the error's object, or a list that begins with it.
    """
    body = said.encode("utf-8", "replace") if isinstance(said, str) else said
    if b"RetryInfo" not in body:
        return None
    document = _json(body)
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    delays = [
        _seconds(detail.get("retryDelay"))
        for detail in (details if isinstance(details, list) else ())[:_MOST_DETAILS]
        if isinstance(detail, dict) and str(detail.get("@type")).endswith("google.rpc.RetryInfo")
    ]
    return max((delay for delay in delays if delay is not None), default=None)


def _seconds(duration: object) -> float | None:
    # protobuf's Duration in JSON is seconds with an "s". Some gateways send its two fields instead.
    if isinstance(duration, dict):
        seconds, nanos = _decimal(duration.get("seconds", 0)), _decimal(duration.get("nanos", 0))
        return None if seconds is None or nanos is None else max(0.0, seconds + nanos / 1e9)
    if not isinstance(duration, str) or not duration.endswith("s"):
        return None
    seconds = _decimal(duration[:-1])
    return None if seconds is None else max(0.0, seconds)


def _decimal(value: object) -> float | None:
    match = _DECIMAL.fullmatch(str(value))
    return None if match is None else float(match[0])


def not_a_stream(
    status: int, content_type: str, first_bytes: bytes, *, dialect: str = "auto", ended: bool = False
) -> LLMWatchError | None:
    """Why a successful response is not an event stream; ``None`` if it may be one.

    ``first_bytes`` is the beginning of the body, up to 64 KiB; the error inside a JSON body can be read only from the
    whole body. ``ended``: the body has ended without an event. The beginning of the body counts more than the
    ``Content-Type``: events never begin with ``<``, ``{`` or ``[``. JSON lines begin with ``{``, which is accepted for
    ``dialect="ndjson"`` and for the content types of JSON lines.

    Returns :class:`~llmwatch.errors.NotAStream` for a web page, for a JSON document, and for a body of an unknown
    content type that does not begin like an event; :class:`~llmwatch.errors.ProviderError` for a document that is an
    error. Does not handle error statuses (see :func:`provider_error`) and raises nothing.
    """
    if media_type(content_type) == "text/event-stream" and first_bytes.startswith((b"data:", b"event:")):
        return None
    if _is_page(content_type, first_bytes):
        return NotAStream(
            f"The endpoint answered {status} with {_page(first_bytes)} in place of a model's answer. "
            "Check the base URL, and whether a proxy or a login page answers in place of the provider."
        )
    start = _start(first_bytes)[:1]
    if start == b"{" and (dialect == "ndjson" or media_type(content_type) in LINE_TYPES):
        return None
    if start not in (b"{", b"["):
        return _unread(status, content_type, first_bytes, ended=ended and dialect != "bedrock")
    document = _json(first_bytes)
    error = error_in(document) or lone_error(document)
    if document is None:
        error = broken_error(_decoded(first_bytes))
    if error is not None:
        where = f"answered {status} with an error in place of a stream"
        return in_stream_error(error, first_bytes, status=status, where=where)
    if start == b"[":
        return NotAStream(
            f"The endpoint answered {status} with a JSON list where an event stream was asked for. "
            "Gemini does so when the URL lacks alt=sse: add it.",
            retryable=False,
        )
    return json_document(status)


def json_document(status: int) -> NotAStream:
    """The error for a whole JSON document in place of a stream."""
    return NotAStream(
        f"The endpoint answered {status} with a JSON document where an event stream was asked for: it ignored "
        "stream: true, or was not asked for it. Ask for a stream, or make a plain call with request().",
        retryable=False,
    )


def _unread(status: int, content_type: str, first_bytes: bytes, *, ended: bool) -> NotAStream | None:
    """The error for a body of an unknown content type that does not begin like server-sent events.

    A body without a content type is judged only once it has ended.
    """
    kind = media_type(content_type)
    if (kind in _READ_TYPES and not (ended and not kind)) or kind in LINE_TYPES:
        return None
    line = _start(first_bytes)[:ENOUGH_OF_LINE]
    end = _LINE_END.search(line)
    if not line or may_be_events(line[: end.start()] if end else line, whole=end is not None):
        return None
    what = f"of the type {shorten(kind, MOST_NAME)}" if kind else "without a Content-Type"
    return NotAStream(
        f"The endpoint answered {status} with a body {what}, which no dialect reads. "
        "Use request() if it is a whole answer, and llmwatch.Session with stream=True to read its bytes as they come; "
        "register a dialect if these are events of your own.",
        retryable=False,
    )


def in_stream_error(
    error: StreamError,
    said: bytes | str = b"",
    *,
    status: int = 200,
    where: str = "reported an error inside the stream",
    failed: bool = False,
) -> ProviderError:
    """The exception for an error that came without an error status.

    ``said`` is the JSON text of the error, which may state the wait before a retry, and an error number that allows a
    resend. ``failed``: the finish reason reports a failure of the provider, which the request did not cause.
    """
    names = ", ".join(name for name in (error.type, error.code) if name)
    label = f" ({names})" if names else ""
    return ProviderError(
        f"The provider {where}{label}: {error.message}",
        status=status,
        type=error.type,
        code=error.code,
        retry_after=retry_delay(said),
        retryable=failed or may_pass(said),
    )
