"""Does a request ask for a stream?"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

__all__ = ["is_streaming"]

# What the documented streaming methods of the providers' HTTP interfaces end with.
_STREAMING_PATHS = (
    ":streamGenerateContent",  # Gemini
    ":streamRawPredict",  # Vertex AI, partner models
    ":serverStreamingPredict",  # Vertex AI
    "/invoke-with-response-stream",  # Bedrock
    "/converse-stream",  # Bedrock
    "/generate_stream",  # Text Generation Inference
)
# Ollama's own endpoints stream unless they are told not to.
_STREAMING_UNLESS_TOLD = ("/api/chat", "/api/generate")


def is_streaming(url: str | None, body: object, explicit: bool | None = None) -> bool:
    """Whether the answer to a request will come as a stream.

    ``explicit``, where it is not ``None``, is the caller's word and decides. Else a request is streaming when its
    ``body`` (the parsed JSON, or ``None``) says ``"stream": true``, or its ``url`` names a streaming method. Ollama's
    ``/api/chat`` and ``/api/generate`` stream unless the body says ``"stream": false``. It does not look at headers.
    """
    if explicit is not None:
        return explicit
    asked = body.get("stream") if isinstance(body, Mapping) else None
    if asked is True:
        return True
    if not url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    path = parts.path.rstrip("/")
    if path.endswith(_STREAMING_PATHS) or "alt=sse" in parts.query.split("&"):
        return True
    return asked is not False and path.endswith(_STREAMING_UNLESS_TOLD)
