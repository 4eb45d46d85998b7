"""Removal of the secrets that were sent from a message that repeats them.

A server may echo the value of a header: ``caller team7-blue-4471-falcon is not allowed``. No pattern recognises such a
secret (:mod:`llmwatch.redaction.patterns` masks the others), so the message is compared with the request. The request
is searched for secrets only if a message is to be compared.

Secrets are the values of headers, apart from headers that only describe the request; each cookie; user info and query
values of a URL; and the confidential parts of the body (:mod:`llmwatch.payload.confidential`).
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

from llmwatch.lazy_pattern import lazy
from llmwatch.redaction.normalise import Reading
from llmwatch.redaction.patterns import MASK, looks_like_a_key

__all__ = ["LEAST", "MOST_VALUES", "Asked", "Secrets", "may_repeat", "of_address", "of_value"]

Asked = tuple[str, Mapping[str, Any]]
"""URL and headers of a request, or the URL of a proxy without headers."""

LEAST = 6
"""Minimum length of a value in characters. Shorter values occur in too many words."""

MOST_VALUES = 400
"""Maximum number of values that are compared: the first in headers, URLs and the body, in this order."""

_RUN = 12
"""Number of characters in a row by which a part of a longer value is recognised."""
_LONGEST = 8192
_MOST_TEXT = 64 * 1024
_CUT = lazy(r" ?\[\.\.\. \d{1,12} characters omitted\]")

# -- headers -----------------------------------------------------------------

# Headers that describe the request, its connection or the client's software, or identify the request in logs.
_OPEN_HEADER = lazy(
    r"accept(?:-.*)?|content-.*|user-agent|host|connection|keep-alive|cache-control|pragma|expect|te|trailer|date|dnt"
    r"|transfer-encoding|upgrade(?:-.*)?|if-.*|range|origin|priority|sec-.*|max-forwards|via|x-stainless-.*|traceparent"
    r"|tracestate|x-goog-api-client|x-http-method-override|(?:.*-)?(?:request|correlation|trace|span)-?id|.*-timeout(?:-.*)?"
    r"|(?:.*[-_])?(?:version|beta)"
)
# Numbers, versions, dates and media types are not secret in any header.
_OPEN_VALUE = lazy(
    r"v?\d{1,5}(?:\.\d{1,5}){0,3}|\d{4}-\d\d-\d\d(?:-preview)?|(?:application|audio|image|multipart|text|\*)/[a-z0-9.+*-]+"
    r"|true|false|none|null"
)
_SCHEME = lazy(r"([A-Za-z][A-Za-z0-9_-]{0,24})\s+(?=\S)")
_SCHEMES = frozenset(("bearer", "basic", "digest", "token", "apikey", "api-key", "key", "negotiate", "ntlm", "dpop"))
_PARAMETER = lazy(r"([A-Za-z][A-Za-z0-9_-]{0,40})\s{0,4}=\s{0,4}(?:\"([^\"]*)\"|([^\s\",;&]+))[\s,;&]*")
# Parameters of a Digest and of a signature that name the method or the signed parts.
_OPEN_PARAMETERS = frozenset(("uri", "algorithm", "qop", "nc", "realm", "signedheaders", "headers"))
_PIECES = lazy(r"[\s;,&\"'<>()]+")
_BASE64 = lazy(r"[A-Za-z0-9+/_-]{8,}={0,2}")


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets that were sent. The ``repr`` shows none of them."""

    values: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, asked: Iterable[Asked], more: Iterable[str] = ()) -> Secrets:
        """The secrets of all requests that an attempt made or was going to make.

        ``more`` are the secrets of the bodies (:func:`llmwatch.payload.secrets_in`).
        """
        values: dict[str, None] = {}
        left = _MOST_TEXT
        for value in itertools.chain(_all(list(asked)), more):
            if len(value) < LEAST or _OPEN_VALUE.fullmatch(value.lower()):
                continue
            values[value[:_LONGEST]] = None
            left -= len(value)
            if len(values) == MOST_VALUES or left < 0:
                break
        return cls(tuple(values))

    def masked(self, text: str) -> str:
        """``text`` with a mask in place of each secret, in upper or lower case and with any escapes.

        Also masked: 12 characters in a row of a longer secret, and the beginning of a secret where the text was cut.
        The cost grows with the text, which the caller has capped. Idempotent.
        """
        if len(text) < LEAST or not self.values:
            return text
        reading = Reading(text, folded=True)
        windows = set(_windows(reading.text))
        runs: list[tuple[int, int]] = []
        for value in self.values:
            for read in _readings(value):
                for way in _ways(read):
                    runs += _runs(way, reading.text, windows)
        return reading.without(sorted(runs), lambda size: MASK) if runs else text


def may_repeat(name: str, asked: Iterable[Asked]) -> bool:
    """A quick test whether a name in an answer, such as a request id, may be the value of a sent header."""
    name = name.lower()
    for _, headers in asked:
        for value in list(headers.values()):
            sent = value if isinstance(value, str) else _text(value)
            for way in (sent, *_decoded(sent[6:])) if sent[:6].lower() == "basic " else (sent,):
                plain = way.lower()
                if len(plain) >= LEAST and (plain in name or name in plain):
                    return True
    return False


# -- comparing ---------------------------------------------------------------


def _readings(value: str) -> Iterator[str]:
    yield Reading(value, folded=True).text.strip()
    if "\\" in value:
        # A backslash that is percent-encoded begins no escape.
        yield value.lower().replace("\\", "")


def _ways(value: str) -> tuple[str, ...]:
    # Forms write a blank as a plus, and base64 often comes without padding.
    value = value.rstrip("=") if len(value) >= LEAST + 2 else value
    return (value, value.replace(" ", "+")) if " " in value else (value,)


def _windows(reading: str) -> Iterator[str]:
    for at in range(len(reading) - _RUN + 1):
        # Blanks around a value do not belong to it.
        if reading[at] != " " != reading[at + _RUN - 1]:
            yield reading[at : at + _RUN]


def _runs(value: str, text: str, windows: set[str]) -> Iterator[tuple[int, int]]:
    """The positions in ``said`` of the value, or of parts of it that are long enough."""
    if len(value) < LEAST:
        return
    for piece in (value,) if len(value) <= _RUN else windows.intersection(_windows(value)):
        for at in _places(piece, text):
            yield at, at + len(piece)
    for cut in _CUT.finditer(text):
        # The first match of the value's beginning gives the longest remaining part.
        for at in _places(value[:LEAST], text[: cut.start()]):
            if value.startswith(text[at : cut.start()].rstrip()):
                yield at, cut.start()
                break


def _places(piece: str, text: str) -> Iterator[int]:
    at = text.find(piece)
    while at >= 0:
        yield at
        at = text.find(piece, at + 1)


# -- what is secret ----------------------------------------------------------


def _all(asked: list[Asked]) -> Iterator[str]:
    for _, headers in asked:
        for name, value in list(headers.items()):
            yield from _of_header(_text(name).lower(), _text(value))
    for url, _ in asked:
        yield from of_address(url)


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def _of_header(name: str, value: str) -> Iterator[str]:
    value = value.strip()
    if len(value) < LEAST or _OPEN_HEADER.fullmatch(name):
        return
    if name == "cookie":
        for cookie in value.split(";"):
            yield from of_value(cookie.partition("=")[2].strip())
    else:
        yield from of_value(value, credentials=name.endswith("authorization"))


def of_value(value: str, *, credentials: bool = False) -> Iterator[str]:
    """The secrets of a value: the value, the text after its scheme, and its parts.
    A part without a digit counts only if the value holds ``credentials``.
    """
    if value.lower().startswith(("https://", "http://")):
        # The scheme is the same in every address.
        yield from of_address(value)
        value = value.partition("://")[2]
    scheme = _SCHEME.match(value)
    if scheme is not None and scheme[1].lower() in _SCHEMES:
        value = value[scheme.end() :]
    elif scheme is not None and credentials:
        yield value[scheme.end() :]
    value = value.strip('"')
    parameters = _PARAMETER.findall(value)
    parts = [parameter[1] or parameter[2] for parameter in parameters if parameter[0].lower() not in _OPEN_PARAMETERS]
    if len(parts) == len(parameters):
        # A whole value with open parameters would be recognised by those.
        yield value
        yield from _decoded(value)
    for part in (*parts, *_PIECES.split(value)):
        if part != value and (credentials or any(map(str.isdigit, part))):
            yield part


def _decoded(value: str) -> Iterator[str]:
    # "user:password", as in Basic authentication.
    if not _BASE64.fullmatch(value):
        return
    try:
        plain = base64.b64decode(value + "=" * (-len(value) % 4)).decode()
    except (binascii.Error, ValueError):
        return
    if plain.isprintable() and ":" in plain:
        yield plain
        yield from plain.partition(":")[::2]


def of_address(url: str) -> Iterator[str]:
    """The secrets of a URL: user info, values of the query, and path segments that look like a key."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
    except ValueError:
        return
    user_info, at, _ = parts.netloc.rpartition("@")
    if at:
        plain = unquote(user_info)
        yield plain
        for part in user_info.partition(":")[::2]:
            yield from of_value(unquote(part), credentials=True)
        for encoding in ("utf-8", "latin-1"):
            yield base64.b64encode(plain.encode(encoding, "replace")).decode("ascii")
    for parameter in re.split("[&;]", parts.query) if parts.query else ():
        name, equals, value = parameter.partition("=")
        if not (equals and _OPEN_HEADER.fullmatch(name.lower())):
            yield from of_value(unquote_plus(value if equals else name))
    for segment in parts.path.split("/"):
        if len(segment) >= LEAST and looks_like_a_key(segment):
            yield segment
