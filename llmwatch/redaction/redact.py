"""Redaction of URLs, texts and names before they are kept, logged or raised.

Headers, bodies, prompts and answers are never kept; this module is for the rest. :func:`text` masks secrets by their
form (:mod:`llmwatch.redaction.patterns`) and not by their meaning.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from llmwatch.lazy_pattern import lazy
from llmwatch.redaction.patterns import MASK, is_words, looks_like_a_key, scrub

__all__ = ["CAP", "MASK", "MOST_INPUT", "identifier", "is_cut", "model", "origin", "text", "url"]

CAP = 1000
"""Maximum number of characters that :func:`text` keeps by default."""

MOST_INPUT = 16 * 1024
"""Characters that :func:`text` reads. The rest is dropped unread."""

_LEAST_CAP = 48
_REACH = 512
"""Most characters needed to recognise a secret: user name and password before the ``@`` of a URL."""
_MOST_URL = 2048
_MOST_NAMES = 32
_LONGEST_SEGMENT = 160

_MARK = lazy(r" ?\[\.\.\. (\d{1,12}) characters omitted\]$")
# Line ends and tabs stay. Other control characters could forge lines of a log or control a terminal.
_CONTROL = lazy(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\ufeff]")
_URL = lazy(r"\b[A-Za-z][A-Za-z0-9+.-]{0,15}://[^\s\"'<>\\^`{|}]+")
_TRAILING = ".,;:!?)]"
_NAME = lazy(r"[A-Za-z0-9_.~$\[\]-]{1,64}")
_IDENTIFIER = lazy(r"[A-Za-z0-9._:/=+-]{1,128}")
_MODEL = lazy(r"[\w.:/@-]{1,64}")
_HOST_AND_PORT = lazy(r"(\*{3}|[A-Za-z0-9._~%-]{0,255}|\[[0-9A-Fa-f:.%A-Za-z]{0,64}\])(?::(\d{0,5}))?", re.ASCII)


def text(message: str, cap: int = CAP) -> str:
    """``message`` without secrets, cut to ``cap`` characters (48 at least), with a mark at the cut.

    URLs lose user info, query values and fragment; control characters become spaces. Only the first 16 KiB are read,
    so the time is bounded for a message of any size. The beginning is kept, with or without spaces in it. Idempotent.
    """
    cap = max(cap, _LEAST_CAP)
    message, omitted = _without_mark(str(message))
    size = len(message)
    message = _beginning(_CONTROL.sub(" ", message[:MOST_INPUT])) if size > MOST_INPUT else _CONTROL.sub(" ", message)
    return _fit(_fixed(message), omitted + size - min(size, len(message)), cap)


def is_cut(message: str) -> bool:
    """Whether a text ends with the mark by which :func:`text` shows a cut."""
    return _MARK.search(message) is not None


def _without_mark(message: str) -> tuple[str, int]:
    mark = _MARK.search(message)
    return (message, 0) if mark is None else (message[: mark.start()], int(mark[1]))


def _beginning(message: str) -> str:
    """The part of a cut text that can be kept.

    Half a key may not be recognised, so the last, broken word is dropped. If that word is longer than :data:`_REACH`,
    the kept part is what scrubs to the same text with and without the last :data:`_REACH` characters.
    """
    message = message.rstrip()
    words = message.rsplit(None, 1)
    if len(words) > 1 and len(words[1]) <= _REACH:
        return message[: -len(words[1])]
    more, less = _fixed(message), _fixed(message[:-_REACH])
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(less, more, strict=False))
    return "".join(piece for piece, _ in same)


def _fixed(message: str) -> str:
    # A mask can bring a name next to a value, so scrubbing repeats until nothing changes, usually after a step or two.
    for _ in range(4):
        scrubbed = scrub(_URL.sub(_shorten, message))
        if scrubbed == message:
            break
        message = scrubbed
    return message


def _fit(message: str, omitted: int, cap: int) -> str:
    message = message.rstrip() if omitted or len(message) > cap else message
    while True:
        mark = f" [... {omitted} characters omitted]" if omitted else ""
        if len(message) + len(mark) <= cap:
            return (message + mark).lstrip() if mark else message
        room = max(0, cap - len(f" [... {omitted + len(message)} characters omitted]"))
        kept = message[:room]
        # Cut between words, because half a word may read as another. A single long word is cut all the same.
        space = max(kept.rfind(" "), kept.rfind("\n"))
        kept = (kept[:space] if space > room // 2 else kept).rstrip()
        omitted += len(message) - len(kept)
        # The rest of a cut word may match other patterns.
        message = _fixed(kept).rstrip()


def _shorten(match: re.Match[str]) -> str:
    address = match[0].rstrip(_TRAILING)
    return url(address) + match[0][len(address) :]


def url(address: str) -> str:
    """``address`` with scheme, host, port, path and the *names* of its query parameters.

    User info, the parameters' values and the fragment are dropped; path segments that look like a key are masked. A
    part that cannot be parsed becomes ``***``. Never raises.
    """
    if address.__class__ is str and address in _bare:
        return address
    before, path, query = _parse(address)
    shown = before + "/".join(_segments(path.split("/")))
    if query:
        shown += "?" + _names(query)
    if len(shown) > _MOST_URL:
        shown = shown[: _MOST_URL - len(MASK) - 1].rpartition("/")[0] + "/" + MASK
    return _noted(address, shown)


def origin(address: str) -> str:
    """Scheme, host and port of ``address``; empty for an empty address, ``***`` without a host."""
    if address.__class__ is str and address in _bare_origins:
        return address
    return _noted(address, _parse(address)[0] or (MASK if str(address).strip() else ""), _bare_origins)


# Addresses without anything to strip, kept so that the addresses of a client are parsed once. No others are kept.
_bare: dict[str, None] = {}
_bare_origins: dict[str, None] = {}
_plain_models: dict[str, None] = {}
_MOST_BARE = 512


def _noted(address: str, shown: str, bare: dict[str, None] = _bare) -> str:
    if shown == address and address.__class__ is str:
        if len(bare) >= _MOST_BARE:
            bare.clear()
        bare[address] = None
    return shown


def _parse(address: str) -> tuple[str, str, str]:
    """Scheme with authority, path, query. A broken authority and parts with an ``@`` are masked."""
    address = _CONTROL.sub("", str(address)).strip()[:MOST_INPUT]
    try:
        parts = urlsplit(address)
    except ValueError:
        return MASK, "", ""
    if parts.scheme and not parts.netloc and not address[len(parts.scheme) :].startswith("://"):
        # urlsplit reads "name:password@host/path" and "host:8000/path" as a scheme and a path.
        path = address.partition("#")[0].partition("?")[0]
        return "", MASK if "@" in path else path, parts.query
    authority = _authority(parts.netloc)
    path = parts.path
    if "@" in path:
        if "@" not in parts.netloc and (not authority or authority == MASK or parts.netloc[-1:].isdigit()):
            # A slash in a password ends the authority too early: the path may begin with the rest of the password.
            authority, path = MASK, ""
        else:
            path = "/".join(MASK if "@" in segment else segment for segment in path.split("/"))
    return (
        (f"{parts.scheme}://{authority}" if parts.scheme else f"//{authority}" if authority else ""),
        path,
        parts.query,
    )


def identifier(name: str) -> str:
    """``name`` (a request id, say) if it has the form of an identifier and not of a key; else a mask."""
    name = str(name).strip()
    if not _IDENTIFIER.fullmatch(name) or scrub(name[:24]) != name[:24]:
        return MASK
    return name


def model(name: str) -> str | None:
    """``name`` if it has the form of a model's name and is not like a key; else ``None``. Idempotent.

    The form is that of :func:`llmwatch.label`, with ``@`` too: Vertex AI (``m@20250514``) and Workers AI (``@cf/...``)
    have it in their names (2025). Of a resource name of AWS, which has an account in it, the last part is kept.
    """
    if name in _plain_models:
        return name
    name = name.strip()
    if name.startswith("arn:"):
        name = name.rpartition("/")[2]
    return _noted(name, name, _plain_models) if _MODEL.fullmatch(name) and scrub(name) == name else None


def _authority(netloc: str) -> str:
    match = _HOST_AND_PORT.fullmatch(netloc.rpartition("@")[2])
    # Text in place of a port may be a password, and the "host" before it a user name.
    if match is None or int(match[2] or 0) > 65535:
        return MASK
    return match[1].lower() + (f":{match[2]}" if match[2] else "")


def _segments(segments: list[str]) -> list[str]:
    shown = [_segment(segment) for segment in segments]
    for here, there in itertools.chain(itertools.pairwise(range(len(shown))), _backwards(len(shown))):
        # A key in base64 may hold slashes: a neighbour of a masked segment that is not words is part of the key.
        if shown[here] == MASK and not is_words(segments[there]):
            shown[there] = MASK
    return shown


def _backwards(size: int) -> Iterator[tuple[int, int]]:
    return itertools.pairwise(range(size - 1, -1, -1))


def _segment(segment: str) -> str:
    if not segment:
        return segment
    if len(segment) > _LONGEST_SEGMENT:
        return MASK
    plain = segment
    while "%" in plain and (decoded := unquote(plain)) != plain:
        plain = decoded
    return MASK if looks_like_a_key(segment) or (plain != segment and looks_like_a_key(plain)) else segment


def _names(query: str) -> str:
    shown = []
    parameters = re.split(r"[&;]", query)
    for parameter in parameters[:_MOST_NAMES]:
        name, equals, _ = parameter.partition("=")
        known = equals and _NAME.fullmatch(name) and not looks_like_a_key(name)
        shown.append(f"{name}={MASK}" if known else MASK)
    return "&".join(shown) + ("&" + MASK if len(parameters) > _MOST_NAMES else "")


def described(error: BaseException) -> str:
    """Class and scrubbed text of a foreign exception, for a log line. Never raises."""
    try:
        message = text(str(error), cap=300)
    except Exception:
        message = "(its text cannot be read)"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
