"""Deciding whether a request asks for a stream."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from llmwatch.lazy_pattern import lazy
from llmwatch.payload.endpoints import Streams, endpoints_at, field_of

__all__ = ["is_streaming", "may_be_streaming"]

# Fields that ask for a stream, for any URL.
_FIELDS = ("stream", "stream_tokens")
_ASKS_STREAM = lazy(rb'"(?:stream|stream_tokens|Stream)"\s*:\s*true\b')


def is_streaming(
    url: str | None, body: object, explicit: bool | None = None, headers: Mapping[str, str] | None = None
) -> bool:
    """Whether a request asks for a stream. The caller's ``explicit`` decides unless it is ``None``.

    Otherwise a request is streaming if one of these holds:

    * ``body`` (the parsed JSON, or ``None``) says ``"stream": true`` or ``"stream_tokens": true``, or true in the field
      that is documented for the path (:mod:`llmwatch.payload.endpoints`);
    * ``url`` names a streaming method, or has ``alt=sse`` in the query;
    * ``url`` is Ollama's ``/api/chat`` or ``/api/generate``, and the body does not say ``"stream": false``;
    * ``headers`` (a mapping that ignores case, as in requests) say ``X-DashScope-SSE: enable``, or accept only
      ``text/event-stream`` while the body does not say ``"stream": false``.
    """
    if explicit is not None:
        return explicit
    fields = body if isinstance(body, Mapping) else {}
    if any(fields.get(name) is True for name in _FIELDS):
        return True
    refused = fields.get("stream") is False
    if url and _by_url(url, fields, refused=refused):
        return True
    return headers is not None and _by_headers(headers, refused=refused)


def _by_url(url: str, fields: Mapping[str, object], *, refused: bool) -> bool:
    for endpoint, _ in endpoints_at(url):
        if endpoint.streams is Streams.ALWAYS or field_of(fields, endpoint.stream) is True:
            return True
        if endpoint.streams is Streams.UNLESS_TOLD and not refused:
            return True
    try:
        return "alt=sse" in urlsplit(url).query.split("&")
    except ValueError:
        return False


def _by_headers(headers: Mapping[str, str], *, refused: bool) -> bool:
    if str(headers.get("X-DashScope-SSE", "")).lower() == "enable":
        return True
    accepted = str(headers.get("Accept", "")).partition(";")[0]
    return accepted.strip().lower() == "text/event-stream" and not refused


def may_be_streaming(url: str, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether a request with an unparsed body may ask for a stream: a quick test with false positives."""
    return is_streaming(url, None, headers=headers) or _ASKS_STREAM.search(body) is not None
