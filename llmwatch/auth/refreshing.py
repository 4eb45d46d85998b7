"""An authentication for requests whose token refresh is watched.

In the worker of a :class:`~llmwatch.Client`, a :class:`~llmwatch.RefreshFailed` reaches the retry gate unchanged.
Anywhere else requests runs the authentication in the caller's thread, before any adapter. Its errors are then also a
``requests.RequestException``, like every error of a session.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urljoin

import requests
from requests.auth import AuthBase
from requests.cookies import extract_cookies_to_jar
from requests.exceptions import UnrewindableBodyError
from requests.hooks import dispatch_hook
from requests.sessions import SessionRedirectMixin
from requests.utils import rewind_body

from llmwatch.auth.grant import Grant, Raised, Refresh, fetch, is_sendable
from llmwatch.auth.refresh_failure import Failure
from llmwatch.auth.token_cache import Token, TokenCache
from llmwatch.errors import ConfigError, LLMWatchError, TooManyThreads
from llmwatch.interruption import is_interruption
from llmwatch.policy import UNSET, Limits, seconds_from
from llmwatch.policy.environment import REFRESH_VARIABLE
from llmwatch.policy.limits import NAMES
from llmwatch.policy.values import SECONDS_ALLOWED, refused, seconds
from llmwatch.session.requests_errors import as_requests
from llmwatch.transport import context as contexts
from llmwatch.watch.clock import SYSTEM, Clock
from llmwatch.wrap.function_request import name_of

__all__ = ["DEFAULT_LIMIT", "Refreshing", "refreshing"]

DEFAULT_LIMIT = 30.0
"""Seconds for a refresh. A token endpoint answers within a second or two; a slower one is down."""

_WORD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # the characters of a header's name and a scheme (RFC 9110, 5.6.2)
_MOST_REFUSAL = 64 * 1024


def refreshing(
    refresh: Refresh,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    header: str = "Authorization",
    scheme: str | None = "Bearer",
    leeway: float = 60.0,
) -> Refreshing:
    """An ``auth=`` for requests and for llmwatch, whose token ``refresh()`` renews.

    ``refresh`` takes no arguments. It returns the token as a ``str``, or a mapping with ``access_token`` (and
    ``expires_in``, in seconds), or the :class:`requests.Response` with such a JSON body. It is called before the first
    request (unless ``token`` is given), ``leeway`` seconds before the token expires (but not in the first half of the
    token's life), and once after a 401. After that 401 the request is sent again with the new token; a second 401 is
    the answer. If the body cannot be sent again (a generator), the first 401 is the answer. Threads that need a token
    at the same time share one refresh and its outcome.

    The limit of the refresh is ``total`` of ``limits`` (no other limit applies), else
    ``LLMWATCH_REFRESH_TIMEOUT_SECONDS``, else 30 s; 0 turns it off. At the limit the callers are free at once, and the
    connections that ``refresh`` opened through requests are shut down. The body of each response that ``refresh`` gets
    through requests may have 64 KiB. While an attempt waits for a token, every limit but its deadline is paused.

    Raises :class:`~llmwatch.RefreshFailed` if a token is needed and there is none:

    * retryable if the limit expired (``limit`` is ``"refresh"``), the server could not be reached, or the server
      answered 408, 425, 429 or 5xx;
    * permanent if the server rejected the credentials (400, 401, 403, or an OAuth error such as ``invalid_grant``):
      every later use raises at once, without a request, until :meth:`Refreshing.reset`;
    * for this call alone if the answer was too large, not JSON, or without an ``access_token`` that a header can carry.

    Any other exception of ``refresh`` is a mistake in ``refresh``, and reaches every caller that waited unchanged. A
    :class:`~llmwatch.Client` tries again after a retryable failure. In a session the error is also a
    ``requests.RequestException``, and the token is asked for outside of the retries: the caller decides.

    The token stands in ``header``, behind ``scheme`` (``None`` or ``""``: alone), and nowhere else: not at another host
    after a redirect, not in ``repr``, an error or a record. The result can be pickled if ``refresh`` can be, without
    its token. A response can always be pickled.

    ``refresh`` runs in a thread of its own, with the context variables of the call that needed the token. It continues
    when that call ends early: other calls may wait for it, and a refresh token that changes with each use must not be
    lost. ``refresh`` must not use this ``auth``. Connections that it opens without requests are not shut down at the
    limit: only the caller is freed.

    Raises ``TypeError`` and :class:`~llmwatch.ConfigError` for invalid arguments.
    """
    return Refreshing(refresh, limits=limits, token=token, header=header, scheme=scheme, leeway=leeway)


class Refreshing(AuthBase):
    """The result of :func:`refreshing`, with its arguments. Threads, sessions and clients may share it."""

    _clock: Clock = SYSTEM  # measures the life of a token

    def __init__(
        self,
        refresh: Refresh,
        *,
        limits: Limits | None = None,
        token: str | None = None,
        header: str = "Authorization",
        scheme: str | None = "Bearer",
        leeway: float = 60.0,
    ) -> None:
        if not callable(refresh):
            raise TypeError(f"refresh must be a function without arguments, not {type(refresh).__name__}")
        _check_limits(limits)
        self._refresh = refresh
        self._limits = limits
        self._header = _word("header", header)
        self._scheme = _word("scheme", scheme) if scheme else ""
        self._leeway = _leeway(leeway)
        self._token_cache = TokenCache(self._fetch, token=_checked(token), leeway=self._leeway, clock=self._clock)

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the token into a request that is being prepared, after a refresh if there is no usable token."""
        token = self._token_for(r)
        r.headers[self._header] = self._shown(token)
        r.register_hook("response", _Hook(self, token))  # type: ignore[no-untyped-call]
        return r

    def reset(self, token: str | None = None) -> None:
        """Forget the token and any rejection of the credentials. ``token``: the new one, if known."""
        self._token_cache.reset(_checked(token))

    def __repr__(self) -> str:
        return f"<refreshing {name_of(self._refresh)}>"

    def __getstate__(self) -> dict[str, Any]:
        return {
            "refresh": self._refresh,
            "limits": self._limits,
            "header": self._header,
            "scheme": self._scheme,
            "leeway": self._leeway,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    # -- the token ----------------------------------------------------------

    def _fetch(self, limit: float | None) -> Grant | Failure | Raised:
        return fetch(self._refresh, limit, self._scheme)

    def _shown(self, token: Token) -> str:
        return f"{self._scheme} {token.text}" if self._scheme else token.text

    def _token_for(
        self, request: requests.PreparedRequest, spent: Token | None = None, refusal: requests.Response | None = None
    ) -> Token:
        """``refusal`` is the 401 for ``spent``, if a 401 is the reason to ask."""
        try:
            outcome = self._token_cache.get(self._limit(), spent)
        except (ConfigError, TooManyThreads) as error:
            raise _told(error, request, refusal) from None
        if isinstance(outcome, Token):
            return outcome
        if isinstance(outcome, Raised):
            raise outcome.error
        raise _told(outcome.error(), request, refusal)

    def _limit(self) -> float | None:
        # The variable is read first, so that an argument never hides an invalid one.
        there = seconds_from(os.environ, REFRESH_VARIABLE)
        given = UNSET if self._limits is None else self._limits.total
        if given is not UNSET:
            return given
        return DEFAULT_LIMIT if there is UNSET else there

    # -- the answer ---------------------------------------------------------

    def _answered(self, response: requests.Response, token: Token, settings: dict[str, Any]) -> requests.Response:
        asked, answer = response.request, response
        # A request that was redirected to another host carries no token, and gets none for its 401.
        if response.status_code == 401 and asked.headers.get(self._header) == self._shown(token):
            answer = self._ask_again(response, token, settings)
        self._stay_home(answer, asked)
        return answer

    def _ask_again(self, refusal: requests.Response, token: Token, settings: dict[str, Any]) -> requests.Response:
        asked = refusal.request
        connection = getattr(refusal, "connection", None)
        if connection is None or not _rewound(asked):
            self._token_cache.spend(token)
            return refusal
        _put_aside(refusal)
        fresh = self._token_for(asked, token, refusal)
        again = asked.copy()
        jar: Any = getattr(again, "_cookies", None)
        if jar is not None:
            extract_cookies_to_jar(jar, asked, refusal.raw)  # type: ignore[no-untyped-call]
            again.prepare_cookies(jar)
        again.headers[self._header] = self._shown(fresh)
        began_at = self._clock.now()
        answer: requests.Response = connection.send(again, **settings)
        answer.elapsed = timedelta(seconds=self._clock.now() - began_at)
        answer.history.append(refusal)
        answer.request = again
        return answer

    def _stay_home(self, answer: requests.Response, asked: requests.PreparedRequest) -> None:
        """Keep the token from another host after a redirect.

        requests removes no header but ``Authorization``, and copies the redirected request from the one that it sent.
        So the token is removed from that one.
        """
        if self._header.lower() == "authorization" or not answer.is_redirect:
            return
        here = str(answer.request.url)
        try:
            there = urljoin(here, answer.headers["location"])
            leaves = SessionRedirectMixin().should_strip_auth(here, there)  # type: ignore[no-untyped-call]
        except ValueError:  # not a URL: requests raises for it
            leaves = True
        if leaves:
            for request in (asked, answer.request):
                request.headers.pop(self._header, None)


class _Hook:
    """The response hook of one request. It knows the token that was sent.

    A response is pickled with its request and the request's hooks. This hook is pickled as one that does nothing, made
    of requests' own parts, so that a program without llmwatch can load the response.
    """

    def __init__(self, auth: Refreshing, token: Token) -> None:
        self._auth = auth
        self._token = token

    def __call__(self, response: requests.Response, *args: Any, **settings: Any) -> requests.Response:
        return self._auth._answered(response, self._token, settings)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial, (dispatch_hook, "response", None)


def _told(error: LLMWatchError, request: requests.PreparedRequest, response: requests.Response | None) -> LLMWatchError:
    """``error`` as this entry point raises it; see the module's docstring."""
    return error if _in_client() else as_requests(error, request, response)


def _in_client() -> bool:
    """Whether this is the worker of a call whose requests llmwatch prepares and sends."""
    context = contexts.current()
    return context is not None and context.own


def _rewound(request: requests.PreparedRequest) -> bool:
    """Whether the body can be sent again. If so, it is rewound."""
    if request.body is None or isinstance(request.body, (bytes, str)):
        return True
    try:
        rewind_body(request)
    except UnrewindableBodyError:
        return False
    return True


def _put_aside(refusal: requests.Response) -> None:
    """Read the short body of a 401, so that its connection can be reused, and close the response."""
    try:
        # In a client's worker no limit bounds the body of an error status that may not be the answer.
        if not _in_client():
            _read(refusal)
    except Exception as error:
        if is_interruption(error):
            raise
    finally:
        refusal.close()


def _read(refusal: Any) -> None:
    if refusal._content is not False:
        return
    pieces: list[bytes] = []
    size = 0
    for piece in refusal.iter_content(8192):
        pieces.append(piece)
        size += len(piece)
        if size > _MOST_REFUSAL:
            return
    refusal._content = b"".join(pieces)


# -- arguments --------------------------------------------------------------


def _check_limits(limits: Limits | None) -> None:
    if limits is None:
        return
    if not isinstance(limits, Limits):
        raise TypeError(f"limits must be a Limits, such as Limits(total=20), not {limits!r}")
    if limits.total is UNSET and any(limits.get(name) is not UNSET for name in NAMES):
        raise ConfigError(
            f"refreshing(limits={limits!r}) sets no limit for the refresh: it has one only, total.", field="limits"
        )


def _checked(token: str | None) -> str | None:
    if token is not None and not isinstance(token, str):
        raise TypeError(f"token must be a str, not {type(token).__name__}")
    if token is not None and not is_sendable(token):
        raise ConfigError(
            "The token that was given is empty, or holds a character that no header can carry (a blank or a line end,"
            " perhaps).",
            field="token",
        )
    return token


def _word(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{field} must be a str, not {type(value).__name__}")
    if not _WORD.fullmatch(value):
        raise refused(field, value, f"refreshing({field}={{}})", "it takes letters, digits and -_.!#$%&'*+^`|~")
    return value


def _leeway(value: object) -> float:
    try:
        return seconds(value) or 0.0
    except ValueError:
        raise refused("leeway", value, "refreshing(leeway={})", SECONDS_ALLOWED) from None
