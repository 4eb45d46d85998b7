"""Does a request ask for a stream?"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from llmwatch.payload.endpoints import Streams, endpoints_at, field_of

__all__ = ["is_streaming"]

# Fields that ask for a stream wherever the request goes.
_FIELDS = ("stream", "stream_tokens")


def is_streaming(
    url: str | None, body: object, explicit: bool | None = None, headers: Mapping[str, str] | None = None
) -> bool:
    """Whether the answer to a request will come as a stream.

    ``explicit``, where it is not ``None``, is the caller's word and decides. Else a request is streaming when its
    ``body`` (the parsed JSON, or ``None``) says ``"stream": true`` or ``"stream_tokens": true``, or so in the field
    that is documented for its path (:mod:`llmwatch.payload.endpoints`); when its ``url`` names a streaming method or
    has ``alt=sse`` in its query; or when its ``headers``, if given with names in any case as requests keeps them, say
    ``X-DashScope-SSE: enable``, or accept nothing but a stream of events while the body does not say ``"stream":
    false``. Ollama's ``/api/chat`` and ``/api/generate`` stream unless the body says ``"stream": false``.
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
