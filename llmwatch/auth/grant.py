"""Reads what a refresh function returns and makes a token of it that a header can carry."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from llmwatch.auth.refresh_failure import LIMIT, MOST_BODY, Failure, of_error, of_status, timed_out, too_large, unusable
from llmwatch.errors import LLMWatchError, WatchTimeout
from llmwatch.wrap.bounded import run_bounded

__all__ = ["Grant", "Raised", "Refresh", "fetch", "is_sendable", "read"]

Refresh = Callable[[], str | Mapping[str, Any] | requests.Response]
"""Gets a new token. The function takes no arguments and may block: it is abandoned at its limit."""

_SENDABLE = re.compile(r"[\x21-\x7e]+")
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{0,15})?", re.ASCII)
# Types of token that need a proof made for each request (RFC 9449, RFC 7800).
_PROVED = frozenset({"dpop", "mac", "pop", "hok"})
_PIECE = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A token and its lifetime in seconds (``None``: not given)."""

    token: str = field(repr=False)
    lifetime: float | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that is a mistake in the refresh function. Every caller that waited gets it."""

    error: BaseException


def is_sendable(token: str) -> bool:
    """Whether a header can carry the token: visible ASCII alone, without a blank or a line end."""
    return _SENDABLE.fullmatch(token) is not None


def fetch(refresh: Refresh, seconds: float | None, scheme: str) -> Grant | Failure | Raised:
    """Run ``refresh`` in a watched worker and read what it returns.

    ``seconds`` is its limit (``None``: no limit). The token will be sent with the authentication ``scheme``. Raises
    only what ends the thread.
    """

    def work() -> Grant | Failure | Raised:
        # In the worker, so that the limit also bounds the reading of a body that is not loaded yet.
        try:
            return read(refresh(), scheme)
        except Exception as error:
            return of_error(error) or Raised(error)

    try:
        return run_bounded(work, seconds=seconds, limit=LIMIT, max_body=MOST_BODY)
    except WatchTimeout as error:
        return timed_out(error.limit_seconds, error.elapsed, error.phase)
    except LLMWatchError as error:
        # Too many orphans, or the interpreter exits.
        return of_error(error) or Raised(error)


def read(answer: object, scheme: str = "") -> Grant | Failure:
    """The token in the return value of a refresh function.

    Raises :class:`TypeError` if ``answer`` is neither a string, nor a mapping, nor a response.
    """
    if isinstance(answer, str):
        return _grant(answer, None)
    if isinstance(answer, Mapping):
        return _from_mapping(answer, scheme, None, None)
    if isinstance(answer, requests.Response):
        return _from_response(answer, scheme)
    raise TypeError(
        "a refresh function returns the token as a str, a mapping with access_token, or a requests.Response with such a"
        f" JSON body, and not {type(answer).__name__}"
    )


def _from_response(response: requests.Response, scheme: str) -> Grant | Failure:
    status = response.status_code
    body = _body(response)
    if body is None:
        return too_large() if 200 <= status < 300 else of_status(status, None, response.url)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not 200 <= status < 300:
        return of_status(status, _code(document) if isinstance(document, Mapping) else None, response.url)
    if document is None:
        return unusable("the body of the answer is not JSON.")
    if not isinstance(document, Mapping):
        return unusable("the body of the answer is no JSON object, so there is no access_token in it.")
    return _from_mapping(document, scheme, status, response.url)


def _body(response: Any) -> bytes | None:
    """The whole body. ``None`` if it has more than ``MOST_BODY`` bytes; the rest is then not read."""
    kept = response._content
    if kept is not False:
        return None if len(kept or b"") > MOST_BODY else kept or b""
    pieces: list[bytes] = []
    size = 0
    for piece in response.iter_content(_PIECE):
        size += len(piece)
        if size > MOST_BODY:
            response.close()
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _from_mapping(answer: Mapping[Any, Any], scheme: str, status: int | None, url: str | None) -> Grant | Failure:
    token = answer.get("access_token")
    if not isinstance(token, str) or not token:
        if answer.get("error"):
            return of_status(status, _code(answer) or "", url)
        return unusable("there is no access_token in the answer" + ("." if token is None else " that is text."))
    kind = answer.get("token_type")
    if isinstance(kind, str) and kind.lower() in _PROVED and kind.lower() != scheme.lower():
        return unusable(
            f"the token is of type {kind.lower()}, which has to be proved with each request; llmwatch sends tokens that"
            " their bearer may use."
        )
    return _grant(token, _lifetime(answer.get("expires_in")))


def _grant(token: str, lifetime: float | None) -> Grant | Failure:
    if is_sendable(token):
        return Grant(token=token, lifetime=lifetime)
    what = "holds a character that no header can carry (a blank or a line end, perhaps)" if token else "is empty"
    return unusable(f"the token {what}.")


def _code(answer: Mapping[Any, Any]) -> str | None:
    error = answer.get("error")
    return error if isinstance(error, str) and error else None


def _lifetime(value: object) -> float | None:
    """``expires_in`` in seconds, ``None`` if it is not a number. Some servers send the number as text.

    Without a lifetime an expired token is only noticed by its 401.
    """
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
