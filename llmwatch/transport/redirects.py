"""Redirects: finding their target, and following them without requests.

requests reads the body of a redirect to its end before it looks at the target, even where it does not follow, and that
end may be far away or never come. Here the head decides. A body announced as empty is read, so that its connection can
be used again. With any other body the connection is closed unread.

requests takes every header but ``Authorization`` and cookies along to another origin. Most providers' keys stand in
other headers. These are left behind as well.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.cookies import RequestsCookieJar, merge_cookies
from requests.structures import CaseInsensitiveDict
from requests.utils import requote_uri
from urllib3.util import parse_url

from llmwatch.errors import ProviderError
from llmwatch.redaction.patterns import carries_a_key

__all__ = [
    "MOST_REDIRECTS",
    "RedirectedHeaders",
    "Trail",
    "arrived",
    "end_of",
    "follow",
    "follow_all",
    "leave_keys",
    "moved",
    "request_after",
    "same_origin",
    "sent_on",
    "target_of",
]

MOST_REDIRECTS = 5
"""Most redirects of a request with a body that one call follows, over all its attempts."""


# Stateless: it tells when requests drops Authorization.
_RULES = requests.sessions.SessionRedirectMixin()


@dataclass(slots=True)
class Trail:
    """The redirects that the attempts of one call have followed with their body.
    ``url`` is the last target, where the next attempt begins; ``None`` before the first redirect. Only the worker of
    the current attempt writes it.
    """

    hops: int = 0
    url: str | None = None


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs have scheme, host and port in common. Raises :class:`ValueError` for invalid URLs."""

    def origin(url: str) -> tuple[str, str | None, int | None]:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)

    return origin(one) == origin(other)


def target_of(response: requests.Response) -> str | None:
    """The target of a redirect as an absolute URL.
    ``None`` for another response, and for a target that HTTP cannot reach.
    """
    if not _leads_on(response):
        return None
    try:
        # A header is read as latin-1, but a URL beyond ASCII is sent as UTF-8; requests does this too.
        location = response.headers["location"].encode("latin-1").decode("utf-8")
        url = urljoin(response.url, requote_uri(location))
        parts, _ = urlsplit(url), parse_url(url)
        usable = parts.scheme in ("http", "https") and parts.port != 0
        # The look-up of the name encodes it so.
        host = (parts.hostname or "").encode("idna")
    except ValueError:
        return None
    return url if usable and host else None


def _leads_on(response: requests.Response) -> bool:
    return response.is_redirect and bool(response.headers["location"])


def _target(response: requests.Response) -> str | None:
    """The target of a redirect that is to be followed. Raises if the redirect has no usable target."""
    target = target_of(response)
    if target is None and _leads_on(response):
        raise _error(response, f"answered HTTP {response.status_code}, a redirect without a usable target")
    return target


def _error(response: requests.Response, problem: str) -> ProviderError:
    host = urlsplit(response.url).netloc.rpartition("@")[2]
    return ProviderError(f"{host} {problem}. Check the URL.", status=response.status_code, retryable=False)


def follow(
    session: requests.Session, response: requests.Response, settings: dict[str, Any], trail: Trail
) -> requests.Response:
    """Follow redirects of status 307 or 308 within the origin; any other response is the answer.

    The request is repeated unchanged, so a request whose body can be read only once is not. At most
    :data:`MOST_REDIRECTS` are followed along ``trail``. Raises :class:`~llmwatch.ProviderError` for a redirect without
    a usable target.
    """
    hops: list[requests.Response] = []
    while (target := _target(response)) is not None and trail.hops < MOST_REDIRECTS:
        repeatable = isinstance(response.request.body, (bytes, str, type(None)))
        if response.status_code not in (307, 308) or not repeatable or not same_origin(target, response.url):
            break
        _put_aside(response, hops)
        trail.hops, trail.url = trail.hops + 1, target
        response = session.send(moved(session, response.request, target), allow_redirects=False, **settings)
    response.history = [*hops, *response.history]
    return response


def follow_all(
    session: requests.Session, response: requests.Response, asked: requests.PreparedRequest, settings: dict[str, Any]
) -> requests.Response:
    """The first answer to a GET or the like that is no redirect. ``response`` answers ``asked``.

    The target, proxies, cookies and headers are those that requests would use, except that keys do not go to another
    origin. At most ``max_redirects`` of the session are followed. Raises :class:`~llmwatch.ProviderError` for one more,
    and for a redirect without a usable target.
    """
    hops: list[requests.Response] = []
    while _target(response) is not None:
        if len(hops) >= session.max_redirects:
            raise _error(response, "redirects in circles")
        following = request_after(session, response, asked, settings)
        if following is None:
            raise _error(response, f"answered HTTP {response.status_code}, a redirect without a usable target")
        _put_aside(response, hops)
        asked = following
        proxies = session.rebuild_proxies(asked, settings["proxies"])  # type: ignore[no-untyped-call]
        settings = {**settings, "proxies": proxies}
        response = session.send(asked, allow_redirects=False, **settings)
    response.history = [*hops, *response.history]
    return response


def moved(session: requests.Session, request: requests.PreparedRequest, url: str) -> requests.PreparedRequest:
    """The same request at another URL of its origin, with the cookies that belong there."""
    again = request.copy()
    again.url = url
    again.headers.pop("Cookie", None)
    jar: Any = getattr(again, "_cookies", None)
    again.prepare_cookies(merge_cookies(RequestsCookieJar() if jar is None else jar, session.cookies))  # type: ignore[no-untyped-call]
    return again


def request_after(
    session: requests.Session, response: requests.Response, asked: requests.PreparedRequest, settings: dict[str, Any]
) -> requests.PreparedRequest | None:
    """The request that requests would send next, found without ``response``'s body; ``None`` if none."""
    head = requests.Response()
    # Of the connection only the message's head is kept, for its cookies: there is nothing to read or close.
    raw = SimpleNamespace(_original_response=getattr(response.raw, "_original_response", None))
    head.__dict__.update(response.__dict__, history=[], raw=raw, _content=b"", _content_consumed=True)
    redirects: Any = requests.Session.resolve_redirects(session, head, asked, yield_requests=True, **settings)
    try:
        following: requests.PreparedRequest | None = next(redirects, None)
    except (ValueError, requests.RequestException):
        return None
    if following is not None:
        leave_keys(following.headers, response.request.url or "", following.url or "")
    return following


def leave_keys(headers: MutableMapping[str, Any], old: str, new: str) -> None:
    """Take keys from ``headers`` where a redirect leads from ``old`` to another origin.
    The rule is requests' own for dropping ``Authorization``.
    """
    try:
        elsewhere = bool(_RULES.should_strip_auth(old, new))  # type: ignore[no-untyped-call]
    except ValueError:
        # An invalid port, for instance: the request is refused later, with its own message.
        elsewhere = True
    if elsewhere:
        for name in [name for name in headers if carries_a_key(name)]:
            del headers[name]


class RedirectedHeaders(CaseInsensitiveDict[Any]):
    """The headers of a redirected model call, which mark the request that requests makes of them.

    They hold the URL that they were sent to, and the end of the call. ``ends_at`` is ``None`` in the request that was
    sent, which may be sent again as a call of its own. Only the copy that goes on takes it, from ``onward``. A pickle
    is requests' own class.
    """

    def __init__(
        self,
        headers: Mapping[str, Any],
        sent_to: str,
        *,
        ends_at: float | None = None,
        onward: float | None = None,
    ) -> None:
        super().__init__(headers)
        self.sent_to = sent_to
        self.ends_at = ends_at
        self.onward = onward

    def copy(self) -> RedirectedHeaders:
        ends_at, self.onward = self.onward, None
        return RedirectedHeaders(dict(self.items()), self.sent_to, ends_at=ends_at)

    def __reduce__(self) -> tuple[Any, ...]:
        return CaseInsensitiveDict, (dict(self.items()),)


def sent_on(prepared: requests.PreparedRequest, ends_at: float | None = None) -> None:
    """Mark ``prepared``, a model call or its continuation, whose answer is a redirect.
    The call that continues at the target ends at ``ends_at``.
    """
    prepared.headers = RedirectedHeaders(prepared.headers, prepared.url or "", onward=ends_at)


def arrived(prepared: requests.PreparedRequest) -> bool:
    """Whether a session made ``prepared`` of a redirected model call.
    If so, the keys are taken from it outside the origin.
    """
    headers = prepared.headers
    if not isinstance(headers, RedirectedHeaders):
        return False
    leave_keys(headers, headers.sent_to, prepared.url or "")
    return True


def end_of(prepared: requests.PreparedRequest) -> float | None:
    """When the call that ``prepared`` continues ends; ``None`` for a call of its own or without a limit.
    Returned once: a request that is sent again later is a call of its own.
    """
    headers = prepared.headers
    if not isinstance(headers, RedirectedHeaders):
        return None
    ends_at, headers.ends_at = headers.ends_at, None
    return ends_at


def _put_aside(response: requests.Response, hops: list[requests.Response]) -> None:
    """Finish with a redirect. Its content is empty from now on, unless a hook has read it."""
    if not response._content_consumed:  # type: ignore[attr-defined]
        if getattr(response.raw, "length_remaining", None) == 0:
            response.raw.drain_conn()
        response.close()
        response._content, response._content_consumed = b"", True  # type: ignore[attr-defined]
    response.history = [*hops, *response.history]
    hops.append(response)
