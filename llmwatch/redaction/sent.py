"""What a message repeats of the secrets that were sent, taken out of it.

``caller team7-blue-4471-falcon is not allowed``: the value of a header, echoed by whoever got it. No pattern knows such
a secret (:mod:`llmwatch.redaction.patterns` does the others); it is known by comparison with what was sent. That is
looked into only once there is something to compare it with.

Secret is the value of every header that does not merely describe the request, cookies one by one; user info and query
values of a URL; and what the body holds of the kind (:mod:`llmwatch.payload.confidential`).
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

from llmwatch.redaction.normalise import Reading
from llmwatch.redaction.patterns import MASK, looks_like_a_key

__all__ = ["LEAST", "MOST_VALUES", "Asked", "Secrets", "may_repeat", "of_address", "of_value"]

Asked = tuple[str, Mapping[str, Any]]
"""URL and headers of a request, or the URL of a proxy and nothing."""

LEAST = 6
"""Characters that a value needs to be known again. A shorter one stands in too many words."""

MOST_VALUES = 400
"""Values that are compared; those that come first in headers, URLs and the body, in this order."""

_RUN = 12
"""Characters in a row that give a longer value away: somebody may have shown, or left, a part of it."""
_LONGEST = 8192
_MOST_TEXT = 64 * 1024
_CUT = re.compile(r" ?\[\.\.\. \d{1,12} characters omitted\]")

# -- headers -----------------------------------------------------------------

# What describes the request, its connection or the client's software, or names the request for others to find it.
_OPEN_HEADER = re.compile(
    r"accept(?:-.*)?|content-.*|user-agent|host|connection|keep-alive|cache-control|pragma|expect|te|trailer|date|dnt"
    r"|transfer-encoding|upgrade(?:-.*)?|if-.*|range|origin|priority|sec-.*|max-forwards|via|x-stainless-.*|traceparent"
    r"|tracestate|x-goog-api-client|x-http-method-override|(?:.*-)?(?:request|correlation|trace|span)-?id|.*-timeout(?:-.*)?"
    r"|(?:.*[-_])?(?:version|beta)"
)
# Numbers, versions, dates, media types: no secret, whatever they belong to.
_OPEN_VALUE = re.compile(
    r"v?\d{1,5}(?:\.\d{1,5}){0,3}|\d{4}-\d\d-\d\d(?:-preview)?|(?:application|audio|image|multipart|text|\*)/[a-z0-9.+*-]+"
    r"|true|false|none|null"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,24})\s+(?=\S)")
_SCHEMES = frozenset(("bearer", "basic", "digest", "token", "apikey", "api-key", "key", "negotiate", "ntlm", "dpop"))
_PARAMETER = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,40})\s{0,4}=\s{0,4}(?:\"([^\"]*)\"|([^\s\",;&]+))[\s,;&]*")
# Of a Digest and of a signature; they say how, or what was signed.
_OPEN_PARAMETERS = frozenset(("uri", "algorithm", "qop", "nc", "realm", "signedheaders", "headers"))
_PIECES = re.compile(r"[\s;,&\"'<>()]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What was sent that is secret. It shows nothing of itself."""

    values: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, asked: Iterable[Asked], more: Iterable[str] = ()) -> Secrets:
        """The secrets of all the requests that were made for an attempt, or were going to be, and ``more`` that was
        sent in their bodies (:func:`llmwatch.payload.secrets_in`).
        """
        found: dict[str, None] = {}
        left = _MOST_TEXT
        for value in itertools.chain(_all(list(asked)), more):
            if len(value) < LEAST or _OPEN_VALUE.fullmatch(value.lower()):
                continue
            found[value[:_LONGEST]] = None
            left -= len(value)
            if len(found) == MOST_VALUES or left < 0:
                break
        return cls(tuple(found))

    def masked(self, text: str) -> str:
        """``text`` with a mask in place of each of them, in any case and however it is escaped, and of what was left
        of one where the text was cut. Of a long one 12 characters in a row are enough. Doing it again changes
        nothing.

        The cost grows with the text, which the caller has capped.
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
    """Whether a name in an answer, a request id say, may be the value of a header that was sent, at a glance."""
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
        # Percent-encoded, a backslash of its own is no longer the beginning of an escape.
        yield value.lower().replace("\\", "")


def _ways(value: str) -> tuple[str, ...]:
    # Forms write a blank as a plus, and many leave the padding of base64 away.
    value = value.rstrip("=") if len(value) >= LEAST + 2 else value
    return (value, value.replace(" ", "+")) if " " in value else (value,)


def _windows(reading: str) -> Iterator[str]:
    for at in range(len(reading) - _RUN + 1):
        # The blanks around a value are not its own.
        if reading[at] != " " != reading[at + _RUN - 1]:
            yield reading[at : at + _RUN]


def _runs(value: str, said: str, windows: set[str]) -> Iterator[tuple[int, int]]:
    """Where in ``said`` the value stands, or a part of it that is long enough."""
    if len(value) < LEAST:
        return
    for piece in (value,) if len(value) <= _RUN else windows.intersection(_windows(value)):
        for at in _places(piece, said):
            yield at, at + len(piece)
    for cut in _CUT.finditer(said):
        # The longest part that was left is where the beginning of the value stands first.
        for at in _places(value[:LEAST], said[: cut.start()]):
            if value.startswith(said[at : cut.start()].rstrip()):
                yield at, cut.start()
                break


def _places(piece: str, said: str) -> Iterator[int]:
    at = said.find(piece)
    while at >= 0:
        yield at
        at = said.find(piece, at + 1)


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
    """What is secret of a value: the value, what follows its scheme, and its parts. Unless all of them are
    ``credentials``, a part counts only if it holds a digit.
    """
    if value.lower().startswith(("https://", "http://")):
        # Every address begins like that.
        yield from of_address(value)
        value = value.partition("://")[2]
    scheme = _SCHEME.match(value)
    if scheme is not None and scheme[1].lower() in _SCHEMES:
        value = value[scheme.end() :]
    elif scheme is not None and credentials:
        yield value[scheme.end() :]
    value = value.strip('"')
    parameters = _PARAMETER.findall(value)
    parts = [one[1] or one[2] for one in parameters if one[0].lower() not in _OPEN_PARAMETERS]
    if len(parts) == len(parameters):
        # Else it would be known by what is open of it, as a whole.
        yield value
        yield from _decoded(value)
    for part in (*parts, *_PIECES.split(value)):
        if part != value and (credentials or any(map(str.isdigit, part))):
            yield part


def _decoded(value: str) -> Iterator[str]:
    # "user:password", as in Basic.
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
    """What is secret of a URL: its user info, the values of its query, and what looks like a key in its path."""
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
