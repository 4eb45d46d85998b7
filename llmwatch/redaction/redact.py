"""Nothing secret in what is remembered: URLs, texts and names, stripped before they are kept, logged or raised.

Headers, bodies, prompts and answers are never kept at all; this is for what remains. :func:`text` masks what can be
told as a secret (see :mod:`llmwatch.redaction.patterns`), it does not understand what it reads.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from llmwatch.redaction.patterns import MASK, is_words, looks_like_a_key, scrub

__all__ = ["CAP", "MASK", "MOST_INPUT", "identifier", "is_cut", "origin", "text", "url"]

CAP = 1000
"""Characters that :func:`text` keeps, unless told otherwise."""

MOST_INPUT = 16 * 1024
"""Characters that :func:`text` looks at. What lies beyond is dropped unread."""

_LEAST_CAP = 48
_REACH = 512
"""Characters that a secret needs at most to be known as one: a name and a password before the ``@`` of an address."""
_MOST_URL = 2048
_MOST_NAMES = 32
_LONGEST_SEGMENT = 160

_MARK = re.compile(r" ?\[\.\.\. (\d{1,12}) characters omitted\]$")
# Line ends and tabs stay; the rest could forge lines of a log or steer a terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\ufeff]")
_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{0,15}://[^\s\"'<>\\^`{|}]+")
_TRAILING = ".,;:!?)]"
_NAME = re.compile(r"[A-Za-z0-9_.~$\[\]-]{1,64}")
_IDENTIFIER = re.compile(r"[A-Za-z0-9._:/=+-]{1,128}")
_HOST_AND_PORT = re.compile(r"(\*{3}|[A-Za-z0-9._~%-]{0,255}|\[[0-9A-Fa-f:.%A-Za-z]{0,64}\])(?::(\d{0,5}))?", re.ASCII)


def text(message: str, cap: int = CAP) -> str:
    """``message`` without secrets, at most ``cap`` characters long (48 at least), with a mark where it was cut.

    Addresses in it lose user info, query values and fragment, control characters become spaces. Only the first 16 KiB
    are looked at, so that a page of any size costs a bounded time; whether it has spaces or not, its beginning is kept.
    Applying it again changes nothing.
    """
    cap = max(cap, _LEAST_CAP)
    message, omitted = _without_mark(str(message))
    size = len(message)
    message = _beginning(_CONTROL.sub(" ", message[:MOST_INPUT])) if size > MOST_INPUT else _CONTROL.sub(" ", message)
    return _fit(_fixed(message), omitted + size - min(size, len(message)), cap)


def is_cut(message: str) -> bool:
    """Whether a text carries the mark of :func:`text` that something was left out."""
    return _MARK.search(message) is not None


def _without_mark(message: str) -> tuple[str, int]:
    found = _MARK.search(message)
    return (message, 0) if found is None else (message[: found.start()], int(found[1]))


def _beginning(message: str) -> str:
    """What can be kept of a text that was cut somewhere.

    A key that is cut in half might not be known as one any more: the last, broken word goes with the rest. Where that
    word is too long for it, only what reads the same with a piece more of the text and without.
    """
    message = message.rstrip()
    words = message.rsplit(None, 1)
    if len(words) > 1 and len(words[1]) <= _REACH:
        return message[: -len(words[1])]
    more, less = _fixed(message), _fixed(message[:-_REACH])
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(less, more, strict=False))
    return "".join(one for one, _ in same)


def _fixed(message: str) -> str:
    # One mask can bring a name next to a value. Masks only ever replace, so this ends after a step or two.
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
        # Between words, so that no half of a word reads like something else. A single long word is cut all the same.
        space = max(kept.rfind(" "), kept.rfind("\n"))
        kept = (kept[:space] if space > room // 2 else kept).rstrip()
        omitted += len(message) - len(kept)
        # What is left of a word that was cut may read differently.
        message = _fixed(kept).rstrip()


def _shorten(found: re.Match[str]) -> str:
    address = found[0].rstrip(_TRAILING)
    return url(address) + found[0][len(address) :]


def url(address: str) -> str:
    """``address`` with scheme, host, port, path and the *names* of its query parameters.

    User info, the parameters' values and the fragment are dropped, and segments of the path that look like a key are
    masked. What cannot be read as an address becomes ``***``, as far as it cannot be read. Never raises.
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
    """Scheme, host and port of ``address``, nothing else; empty for an empty one, ``***`` for one without a host."""
    if address.__class__ is str and address in _bare_origins:
        return address
    return _noted(address, _parse(address)[0] or (MASK if str(address).strip() else ""), _bare_origins)


# Addresses that were found to hold nothing to strip, so that those of a client are read once. No other is kept here.
_bare: dict[str, None] = {}
_bare_origins: dict[str, None] = {}
_MOST_BARE = 512


def _noted(address: str, shown: str, bare: dict[str, None] = _bare) -> str:
    if shown == address and address.__class__ is str:
        if len(bare) >= _MOST_BARE:
            bare.clear()
        bare[address] = None
    return shown


def _parse(address: str) -> tuple[str, str, str]:
    """What stands before the path, the path, and the query; nothing of it is masked but a broken authority."""
    address = _CONTROL.sub("", str(address)).strip()[:MOST_INPUT]
    try:
        parts = urlsplit(address)
    except ValueError:
        return MASK, "", ""
    if parts.scheme and not parts.netloc and not address[len(parts.scheme) :].startswith("://"):
        # "name:password@host/path" and "host:8000/path" are read as a scheme and a path.
        path = address.partition("#")[0].partition("?")[0]
        return "", MASK if "@" in path else path, parts.query
    authority = _authority(parts.netloc)
    path = parts.path
    if "@" in path:
        if "@" not in parts.netloc and (not authority or authority == MASK or parts.netloc[-1:].isdigit()):
            # A password with a slash in it ends the authority too early: what follows may be the rest of it.
            authority, path = MASK, ""
        else:
            path = "/".join(MASK if "@" in segment else segment for segment in path.split("/"))
    return (
        (f"{parts.scheme}://{authority}" if parts.scheme else f"//{authority}" if authority else ""),
        path,
        parts.query,
    )


def identifier(name: str) -> str:
    """A request id and the like: kept if it has the form of one and not that of a known make of key, else masked."""
    name = str(name).strip()
    if not _IDENTIFIER.fullmatch(name) or scrub(name[:24]) != name[:24]:
        return MASK
    return name


def _authority(netloc: str) -> str:
    found = _HOST_AND_PORT.fullmatch(netloc.rpartition("@")[2])
    # What is not a port may be a password, and the "host" before it a name.
    if found is None or int(found[2] or 0) > 65535:
        return MASK
    return found[1].lower() + (f":{found[2]}" if found[2] else "")


def _segments(segments: list[str]) -> list[str]:
    shown = [_segment(segment) for segment in segments]
    for here, there in itertools.chain(itertools.pairwise(range(len(shown))), _backwards(len(shown))):
        # A key in base64 may hold slashes: what stands next to a part of it and is no word is another part.
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
    """A foreign exception in a log line: its class and its scrubbed text. Never raises."""
    try:
        said = text(str(error), cap=300)
    except Exception:
        said = "(its text cannot be read)"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
