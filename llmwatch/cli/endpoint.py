"""The endpoint of a chat: URL, headers and body in the provider's dialect."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
import requests.auth

from llmwatch import ConfigError
from llmwatch.engine.request import check_url
from llmwatch.redaction import redact

__all__ = ["DIALECTS", "Endpoint", "KeyAuth", "read_key"]

DIALECTS = ("auto", "openai-chat", "openai-responses", "anthropic")
"""The values of ``--dialect``."""

_PATHS = {"openai-chat": "/chat/completions", "openai-responses": "/responses", "anthropic": "/messages"}
_ANTHROPIC_HOST = "api.anthropic.com"
_ANTHROPIC_VERSION = "2023-06-01"
# Anthropic's API requires a bound; the others have defaults.
_ANTHROPIC_MAX_TOKENS = 4096
# OpenAI's newer models refuse ``max_tokens``; most compatible servers know nothing else.
_OPENAI_HOST = "api.openai.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A full URL and its dialect."""

    url: str
    dialect: str

    @classmethod
    def of(cls, base_url: str, dialect: str = "auto") -> Endpoint:
        """The endpoint for a user's URL.

        A URL that ends with ``/chat/completions``, ``/responses`` or ``/messages`` is used as it is. Any other URL is a
        base, to which the dialect's path is added. A base without a path gets ``/v1`` first; so does one of Anthropic's
        dialect that does not end with it. ``auto`` is the dialect that the path names, else Anthropic's on its own
        host, else OpenAI's chat completions. Raises :class:`~llmwatch.ConfigError` for an invalid URL.
        """
        check_url(base_url)
        parts = urlsplit(base_url)
        path = parts.path.rstrip("/")
        named = next((name for name, ending in _PATHS.items() if path.endswith(ending)), None)
        if dialect == "auto":
            dialect = named or ("anthropic" if parts.hostname == _ANTHROPIC_HOST else "openai-chat")
        if named is None:
            if not path or (dialect == "anthropic" and not path.endswith("/v1")):
                path += "/v1"
            path += _PATHS[dialect]
        return cls(url=urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")), dialect=dialect)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the provider needs besides the key."""
        return {"anthropic-version": _ANTHROPIC_VERSION} if self.dialect == "anthropic" else {}

    def auth(self, key: str | None) -> KeyAuth | None:
        """The auth object that sends ``key``; ``None`` without a key."""
        if key is None:
            return None
        return KeyAuth("x-api-key", key) if self.dialect == "anthropic" else KeyAuth("Authorization", f"Bearer {key}")

    def body(
        self, *, model: str, prompt: str, system: str | None = None, max_tokens: int | None = None
    ) -> dict[str, Any]:
        """The request's JSON body, which asks for a stream."""
        body: dict[str, Any] = {"model": model, "stream": True}
        if self.dialect == "openai-responses":
            body["input"] = prompt
            return {**body, **_given(instructions=system, max_output_tokens=max_tokens)}
        message = {"role": "user", "content": prompt}
        if self.dialect == "anthropic":
            bound = _ANTHROPIC_MAX_TOKENS if max_tokens is None else max_tokens
            return {**body, "max_tokens": bound, "messages": [message], **_given(system=system)}
        body["messages"] = [message] if system is None else [{"role": "system", "content": system}, message]
        name = "max_completion_tokens" if urlsplit(self.url).hostname == _OPENAI_HOST else "max_tokens"
        return {**body, **_given(**{name: max_tokens})}


class KeyAuth(requests.auth.AuthBase):
    """Puts the key into its header. An entry in ``.netrc`` would replace a header without an auth object."""

    def __init__(self, header: str, value: str) -> None:
        self._header = header
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers[self._header] = self._value
        return request


def read_key(variable: str | None) -> str | None:
    """The key in the environment variable ``variable``; ``None`` if no variable is named.

    Raises :class:`~llmwatch.ConfigError`, which names the variable and never shows its value.
    """
    if variable is None:
        return None
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable) is None or redact.text(variable) != variable:
        # The value is not shown: it may be a key.
        raise ConfigError(
            "--api-key-env takes the name of an environment variable, such as OPENAI_API_KEY, and not the key itself.",
            field="api_key_env",
        )
    key = os.environ.get(variable, "").strip()
    if not key:
        state = "is empty" if variable in os.environ else "is not set"
        raise ConfigError(
            f"The environment variable {variable} {state}. Put the provider's API key there, or name another one with"
            " --api-key-env.",
            field=variable,
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"The environment variable {variable} holds characters that no HTTP header can carry. Check the API key.",
            field=variable,
        )
    return key


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
