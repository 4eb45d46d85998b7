"""What a client sees of a failure: an error document or event in its provider's form.

The forms are those of the providers' references: OpenAI's error object, Anthropic's ``{"type": "error"}``, Gemini's
``google.rpc.Status``, Ollama's ``{"error": text}``. The SDKs of Python make exceptions of their own of the first two
(openai 3.57, anthropic 2.14: tests/proxy).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmwatch import errors

__all__ = ["Form", "form_of", "retry_headers", "status_of", "type_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """``document(status, kind, code, message)`` is an error's JSON; ``event(...)`` its event in a stream.
    ``lines``: a stream is lines of JSON, not server-sent events.
    """

    document: Callable[[int, str, str, str], Mapping[str, Any]]
    event: Callable[[int, str, str, str], tuple[str, Mapping[str, Any]]]
    lines: bool = False

    def body(self, status: int, kind: str, code: str, message: str) -> bytes:
        """The body of an error status."""
        return json.dumps(self.document(status, kind, code, message)).encode()

    def block(self, status: int, kind: str, code: str, message: str) -> bytes:
        """The event, as it stands in a stream between two others."""
        name, document = self.event(status, kind, code, message)
        line = json.dumps(document)
        if self.lines:
            return f"{line}\n".encode()
        return f"{f'event: {name}' + chr(10) if name else ''}data: {line}\n\n".encode()


def _openai(status: int, kind: str, code: str, message: str) -> Mapping[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _responses_event(status: int, kind: str, code: str, message: str) -> tuple[str, Mapping[str, Any]]:
    return "error", {"type": "error", "code": code, "message": message, "param": None, "sequence_number": 0}


def _anthropic(status: int, kind: str, code: str, message: str) -> Mapping[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


_GOOGLE = {504: "DEADLINE_EXCEEDED", 503: "UNAVAILABLE", 502: "UNAVAILABLE", 400: "INVALID_ARGUMENT", 404: "NOT_FOUND"}


def _gemini(status: int, kind: str, code: str, message: str) -> Mapping[str, Any]:
    return {"error": {"code": status, "message": message, "status": _GOOGLE.get(status, "UNKNOWN")}}


def _ollama(status: int, kind: str, code: str, message: str) -> Mapping[str, Any]:
    return {"error": message}


_OPENAI = Form(document=_openai, event=lambda *error: ("", _openai(*error)))
_RESPONSES = Form(document=_openai, event=_responses_event)
_ANTHROPIC = Form(document=_anthropic, event=lambda *error: ("error", _anthropic(*error)))
_GEMINI = Form(document=_gemini, event=lambda *error: ("", _gemini(*error)))
_OLLAMA = Form(document=_ollama, event=lambda *error: ("", _ollama(*error)), lines=True)

_BY_PATH = (
    (re.compile(r"/messages(/count_tokens)?$"), _ANTHROPIC),
    (re.compile(r"/responses(/|$)"), _RESPONSES),
    (re.compile(r":\w+$"), _GEMINI),
    (re.compile(r"/api/(chat|generate|embed)$"), _OLLAMA),
)
_BY_ROUTE = {"anthropic": _ANTHROPIC, "gemini": _GEMINI}


def form_of(route: str, path: str) -> Form:
    """The form of the API at ``path`` of ``route``; OpenAI's, which most speak, by default."""
    for pattern, form in _BY_PATH:
        if pattern.search(path):
            return form
    return _BY_ROUTE.get(route, _OPENAI)


def status_of(error: errors.LLMWatchError) -> int:
    """The HTTP status for an error before the first byte of an answer."""
    if isinstance(error, errors.WatchTimeout):
        return 504
    refused = (errors.CircuitOpen, errors.TooManyOrphans, errors.TooManyThreads, errors.Cancelled)
    if isinstance(error, refused):
        return 503
    return 500 if isinstance(error, errors.ConfigError) else 502


def type_of(error: errors.LLMWatchError) -> tuple[str, str]:
    """The kind of an error in the providers' words, and its code: the limit, or the class."""
    if isinstance(error, errors.WatchTimeout):
        return "timeout_error", f"llmwatch_{error.limit}"
    kind = "overloaded_error" if isinstance(error, errors.CircuitOpen) else "api_error"
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", _own_class(error).__name__).lower()
    return kind, f"llmwatch_{name}"


def _own_class(error: errors.LLMWatchError) -> type:
    return next(cls for cls in type(error).__mro__ if cls.__module__ == errors.__name__)


def retry_headers(error: errors.LLMWatchError) -> list[tuple[str, str]]:
    """``x-should-retry``, which the SDKs obey, and ``Retry-After`` where a time is known.

    The SDK is to retry where a resend is safe and llmwatch has made none itself; else the retries of both would
    multiply.
    """
    attempts = 0 if error.record is None else len(error.record.attempts)
    safe = error.retryable and attempts <= 1 and (error.recovery is not None and error.recovery.safe)
    headers = [("x-should-retry", "true" if safe else "false")]
    if error.retry_after is not None:
        headers.append(("Retry-After", str(-int(-error.retry_after // 1))))
    return headers
