"""The user's request: examined once, and sent as often as is safe."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import requests

from llmwatch.errors import ConfigError
from llmwatch.interruption import is_interruption
from llmwatch.payload import json_object, may_hold_prompt
from llmwatch.redaction import redact
from llmwatch.transport.redirects import Trail

__all__ = ["CallRequest"]

_LARGE = 4 * 1024 * 1024

_CREDENTIAL = re.compile(r"auth|api[-_]?key|subscription[-_]key|access[-_]?key|token|secret")
"""Matches the name of a header that carries a credential."""

_KEYWORDS = frozenset(
    [
        "params",
        "data",
        "headers",
        "cookies",
        "files",
        "auth",
        "timeout",
        "allow_redirects",
        "proxies",
        "hooks",
        "stream",
        "verify",
        "cert",
        "json",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """A request in the terms of requests.

    ``body`` is the parsed JSON body, ``None`` if there is none or it is not JSON. ``readable``: the body could be
    examined. ``size`` is in bytes, 0 if unknown. ``replayable``: the request can be sent again. An iterator cannot, nor
    can credentials that belong to one connection. ``trail`` holds the redirects of the call's attempts so far.
    """

    method: str
    url: str
    kwargs: Mapping[str, Any]
    body: object = None
    readable: bool = True
    size: int = 0
    replayable: bool = True
    rewind_to: int | None = None
    content_type: str | None = None
    trail: Trail = field(default_factory=Trail, compare=False)
    _origin: str | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def build(cls, method: str, url: str, kwargs: Mapping[str, Any]) -> CallRequest:
        """Check what needs no thread. Raises ``TypeError``, :class:`ConfigError` and what requests raises."""
        unknown = sorted(set(kwargs) - _KEYWORDS)
        if unknown:
            raise TypeError(
                f"unexpected keyword argument {unknown[0]!r}; allowed are limits, retry, cancel and requests' own"
            )
        if not isinstance(method, str) or not method.isalpha():
            raise ConfigError(
                f"The HTTP method must be a word such as 'POST', not {method!r}.", field="method", value=method
            )
        check_url(url)
        return cls(method=method.upper(), url=url, **_look_into(dict(kwargs)))

    @classmethod
    def of(cls, prepared: requests.PreparedRequest) -> CallRequest:
        """A request that another library has prepared.

        A large body is parsed only if it may hold a prompt: parsed data take many times their size.
        """
        asked = {"headers": prepared.headers, "data": prepared.body}
        if _is_bound(prepared.headers):
            # On another connection the server takes the credentials for a wrong password.
            return replace(cls._of(prepared, asked), replayable=False)
        return cls._of(prepared, asked)

    @classmethod
    def _of(cls, prepared: requests.PreparedRequest, asked: dict[str, Any]) -> CallRequest:
        body = prepared.body
        if isinstance(body, (bytes, str)) and len(body) > _LARGE and not may_hold_prompt(body, prepared.url or ""):
            url, method = prepared.url or "", (prepared.method or "GET").upper()
            return cls(method=method, url=url, kwargs=asked, readable=False, size=len(body))
        return cls(method=(prepared.method or "GET").upper(), url=prepared.url or "", **_look_into(asked))

    @property
    def origin(self) -> str:
        """Scheme, host and port. Raises ``ValueError`` for an invalid host or port."""
        if self._origin is None:
            parts = urlsplit(self.url)
            port = f":{parts.port}" if parts.port else ""
            host = parts.hostname or ""
            origin = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"
            object.__setattr__(self, "_origin", origin)
            return origin
        return self._origin

    def check_origin(self) -> None:
        """Raise :class:`ConfigError` for an invalid host or port of a prepared request or a redirect."""
        try:
            _ = self.origin
        except ValueError:
            raise _unreadable(self.url) from None

    @property
    def host(self) -> str:
        """Host and port for a reader."""
        return self.origin.partition("://")[2]

    def account(self, salt: bytes) -> str:
        """Model and credential as a hash: requests with the same hash share a provider's rate limit.

        What a session or an authentication object adds is the same for all its requests; the object's identity stands
        for it. Of an AWS signature only the key's name counts.
        """
        body = self.body if isinstance(self.body, Mapping) else {}
        named = body.get("model") or body.get("modelId") or urlsplit(self.url).path
        parts = [str(named), urlsplit(self.url).query]
        for name, value in sorted((self.kwargs.get("headers") or {}).items(), key=lambda item: str(item[0]).lower()):
            if _CREDENTIAL.search(str(name).lower()):
                shown = value.decode("latin-1") if isinstance(value, bytes) else str(value)
                parts.append(shown.partition("/")[0] if shown.startswith("AWS4-") else shown)
        auth = self.kwargs.get("auth")
        parts.append(repr(auth) if auth is None or isinstance(auth, (tuple, list)) else str(id(auth)))
        return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), key=salt, digest_size=16).hexdigest()

    def rewind(self) -> None:
        """Before a resend: put a file body back to its starting position."""
        if self.rewind_to is not None:
            self.kwargs["data"].seek(self.rewind_to)


def _is_bound(headers: Mapping[str, Any]) -> bool:
    """Whether the credentials are a step of a handshake on one connection (NTLM, Negotiate)."""
    given = (headers.get(name) for name in ("Authorization", "Proxy-Authorization"))
    schemes = [value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in given if value]
    return any(scheme.lower().startswith(("ntlm ", "negotiate ")) for scheme in schemes)


def check_url(url: object) -> None:
    """Raise :class:`ConfigError` unless ``url`` is an absolute http or https URL."""
    if not isinstance(url, str):
        raise ConfigError(f"The URL must be text, not {type(url).__name__}.", field="url")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _unreadable(url) from None
    if parts.scheme.lower() not in ("http", "https"):
        raise ConfigError(f"The URL {redact.url(url)!r} must begin with http:// or https://.", field="url")
    if not parts.hostname or port == 0:
        raise ConfigError(f"The URL {redact.url(url)!r} names no host, or port 0.", field="url")


def _unreadable(url: str) -> ConfigError:
    return ConfigError(f"The URL {redact.url(url)!r} cannot be read: its host or port is not valid.", field="url")


def _look_into(kwargs: dict[str, Any]) -> dict[str, Any]:
    document, data = kwargs.get("json"), kwargs.get("data")
    if kwargs.get("files"):
        return {"kwargs": kwargs, "readable": False, "replayable": False}
    if document is not None and not data:
        # Serialised once for all attempts, so that its size is known before the first.
        encoded = _dumps(document)
        kwargs = {**kwargs, "data": encoded}
        kwargs.pop("json")
        return {"kwargs": kwargs, "body": document, "size": len(encoded), "content_type": "application/json"}
    if isinstance(data, (bytes, str)):
        size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "surrogatepass"))
        body = _loads(data)
        return {"kwargs": kwargs, "body": body, "readable": body is not None or not data, "size": size}
    if not data:
        return {"kwargs": kwargs}
    if isinstance(data, (Mapping, list, tuple)):
        # A form: requests encodes it anew for every attempt.
        return {"kwargs": kwargs, "readable": False}
    position = _position(data)
    return {"kwargs": kwargs, "readable": False, "replayable": position is not None, "rewind_to": position}


def _dumps(document: object) -> bytes:
    try:
        return json.dumps(document, allow_nan=False).encode("utf-8")
    except (ValueError, TypeError) as error:
        raise requests.exceptions.InvalidJSONError(error) from error


def _loads(data: bytes | str) -> object:
    opening = data[:64].lstrip()[:1]
    if opening not in (b"{", "{"):
        return None
    try:
        return json.loads(data, object_pairs_hook=json_object)
    except (ValueError, RecursionError):
        return None


def _position(data: object) -> int | None:
    try:
        return int(data.tell()) if data.seekable() else None  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError) as error:
        if is_interruption(error):
            raise
        return None
