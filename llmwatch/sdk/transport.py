"""The transport for httpx and httpx2: requests come in from the library, and go out over watched connections."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import requests

from llmwatch.engine.combined_errors import copy_of
from llmwatch.engine.settings import ClientSettings, checked_settings, shows_settings
from llmwatch.errors import LLMWatchError
from llmwatch.sdk.conversion import prepare, respond
from llmwatch.sdk.extensions import overrides_of
from llmwatch.sdk.libraries import Library, library_of
from llmwatch.sdk.library_errors import in_library
from llmwatch.sdk.timeouts import timeouts_of
from llmwatch.sdk.trust import TRUST_ADVICE, Trust, Verify
from llmwatch.session.sdk_retries import Repeats, Sending
from llmwatch.session.watching_adapter import open_response
from llmwatch.transport import Overrides
from llmwatch.transport.adapter import WatchedAdapter
from llmwatch.transport.redirects import RedirectedHeaders, leave_keys, sent_on
from llmwatch.watch.cancel import CancelToken

if TYPE_CHECKING:
    from httpx2 import BaseTransport, Request, Response
    from typing_extensions import Unpack
else:
    # Neither library asks for its base class, and which of the two it would have to be is not known here.
    BaseTransport = object

__all__ = ["Through", "Translate", "Transport"]

Translate = Callable[[LLMWatchError, Any], BaseException]
"""Makes of an error, in the library's words by now, what is raised for a request."""

Through = Callable[[Iterator[bytes]], Iterator[bytes]]
"""Hands the pieces of a body on, or keeps some."""


_REDIRECTED = "llmwatch_redirected_from"
"""The extension of what a library makes of a model call that was redirected: the URL that it was sent to."""
_ENDS_AT = "llmwatch_ends_at"
"""Another: a reference to the request that was redirected, and when its deadline ends the call."""


class Transport(BaseTransport):
    """A transport for ``httpx.Client`` and ``httpx2.Client``: ``Client(transport=llmwatch.sdk.Transport())``.

    ``limits``, ``retry``, ``dialect``, ``profile``, ``keepalive``, ``max_event``, ``max_body``, ``sinks``,
    ``on_notice`` and ``notice_every`` are as those of :class:`llmwatch.Client`; ``max_body`` bounds the answers of
    models alone. ``cancel`` is a token for all of its calls. ``session`` lends its ``proxies``, ``verify``, ``cert``
    and ``trust_env`` and nothing else: headers, auth and cookies are the library's business. Without one, proxies come
    from the environment as requests reads it. What the library's own client was given of that kind (``proxy=``,
    ``verify=``, ``cert=``) does not reach a transport.

    Trusted are the certificates that the library that asks trusts by itself: those of ``SSL_CERT_FILE`` or
    ``SSL_CERT_DIR``, else certifi's (httpx) or the system's (httpx2, and with it the openai and anthropic SDKs).
    ``verify`` says otherwise: ``False``, a file or directory of certificates, or an :class:`ssl.SSLContext`; so does a
    session whose own ``verify`` or ``REQUESTS_CA_BUNDLE`` does, which without a session is not read. The environment is
    read at every call, by the libraries once, when a client is made. A proxy with TLS of its own is verified with a
    ``verify`` that is a path, else with the system's store.

    An answer comes as it does from the library's own transport, and may be read with all that is built on it. What
    goes wrong is raised as an error that is one of ours and one of the library's (``ReadTimeout``, ``ConnectError``,
    ...); nothing is visible before the first content, so that a stall up to there is recovered inside. What is wrong
    with the answer itself (an error event, a document in place of a stream) is the library's to find, as it would be
    without llmwatch; the record has it. The time-outs of the library may lower a limit and never raise one. The 5 s of
    a bare ``httpx.Client`` are such a time-out: give the client another, or ``limits``, which those that nobody asked
    for do not touch.

    Libraries retry on top of a transport by themselves (openai, anthropic and what is made like them; zai-sdk, zhipuai,
    cohere). Here their retries of a model call send nothing: an error status comes with ``x-should-retry: false``, and
    a retry of what has just failed, in the same thread, gets the same error, or the same response, at once. So the
    number of requests is that of ``retry``, whatever ``max_retries`` says. Only the error status of a request that is
    none to a model (a list of files, an upload), which we do not answer with a resend, is left to the library. A loop
    of the user's own, tenacity's too, is sent each time; so are retries that a library makes only where it is told to
    (``RetryConfig`` of mistralai, ``retry_options`` of google-genai, ``num_retries`` of litellm).
    ``response.extensions["llmwatch"].record`` is the call's record. Prefer :func:`llmwatch.sdk.openai` and
    :func:`llmwatch.sdk.anthropic`, whose errors are the SDK's own in mid-stream too, and say what ours say. Over a bare
    transport an SDK makes its exceptions by itself: ``str(error)`` begins with ``Request timed out`` or ``Connection
    error``, whatever happened, and our message stands in ``error.__cause__`` alone (openai 3.57, anthropic 2.14).

    A request's extensions ``sni_hostname`` (the name that TLS asks for and verifies) and ``target`` (what stands in the
    first line in place of the URL's path) are honoured, behind a proxy too; ``trace`` is not called.

    Sync only, HTTP/1.1 only; web sockets do not pass through a transport. May be shared by threads and by clients;
    closing a client closes it, after which it opens new connections if it is used again. Raises
    :class:`~llmwatch.ConfigError` for invalid settings.
    """

    @shows_settings
    def __init__(
        self,
        *,
        session: requests.Session | None = None,
        verify: Verify | None = None,
        cancel: CancelToken | None = None,
        **settings: Unpack[ClientSettings],
    ) -> None:
        if session is not None and not isinstance(session, requests.Session):
            raise TypeError(f"session must be a requests.Session, not {type(session).__name__}")
        if cancel is not None and not isinstance(cancel, CancelToken):
            raise TypeError(f"cancel must be an llmwatch.CancelToken, not {type(cancel).__name__}")
        self._settings = checked_settings(**settings)
        self._lender = session or requests.Session()
        self._trust = Trust(verify, session)
        self._cancel = cancel
        self._adapter = WatchedAdapter(verifies_proxies=True)
        self._repeats = Repeats()

    def handle_request(self, request: Request) -> Response:
        """Send ``request`` as often as is needed and safe; its response, as soon as there is content in it."""
        return self.exchange(request, _as_it_is)  # type: ignore[no-any-return]

    def exchange(self, request: Any, translate: Translate, through: Through | None = None) -> Any:
        """As :meth:`handle_request`, for a request of either library. What it raises, then and while the body is read,
        goes through ``translate``. An SDK's pieces of an event stream go ``through`` something; then what is wrong with
        its events is raised as well, which is otherwise for the reader to find.
        """
        library = library_of(request)
        overrides = overrides_of(request, library)
        origin = request.extensions.get(_REDIRECTED)
        if origin is not None:
            leave_keys(request.headers, origin, str(request.url))
        prepared = prepare(request, overrides.target)
        if origin is not None:
            sent_on(prepared)
        # The next request has the extensions of this one itself; this one may be sent again as a call of its own.
        sent, ends_at = request.extensions.pop(_ENDS_AT, (None, None))
        if sent is not None and sent() is request:
            ends_at = None
        sending = Sending(prepared)

        def fail(error: LLMWatchError) -> BaseException:
            self._repeats.failed(sending, error)
            return translate(in_library(error, library, request), request)

        known = self._repeats.known(sending)
        if known is None:
            opened: requests.Response | None = None
            try:
                opened = self._open(library, prepared, request, overrides, strict=through is not None, ends_at=ends_at)
                if opened.is_redirect and isinstance(prepared.headers, RedirectedHeaders):
                    # The library makes the next request of this one, its extensions included.
                    request.extensions[_REDIRECTED] = str(request.url)
                    request.extensions[_ENDS_AT] = weakref.ref(request), prepared.headers.onward
                response, again = respond(library, opened, fail, through or _unchanged)
                if again is not None:
                    self._repeats.refused(sending, again)
                return response
            except LLMWatchError as error:
                # Without the traceback, whose frames include this one.
                failure = copy_of(error)
            except BaseException:
                if opened is not None:
                    # What is interrupted here has no response that could be closed.
                    opened.close()
                raise
            # Outside the except block, so that the plain error is not its own context.
            raise fail(failure)
        if not isinstance(known, LLMWatchError):
            return known()
        raise translate(in_library(known, library, request), request)

    def close(self) -> None:
        """Close the idle connections. A call that is in progress keeps its own until it is through."""
        self._adapter.close()

    def __enter__(self) -> Transport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.close()

    def _open(
        self,
        library: Library,
        prepared: requests.PreparedRequest,
        request: Any,
        overrides: Overrides,
        *,
        strict: bool,
        ends_at: float | None,
    ) -> requests.Response:
        lent = self._lender.merge_environment_settings(prepared.url, {}, True, None, None)
        verify, cert = self._trust.settings(library, prepared.url or "", lent)
        return open_response(
            self._adapter,
            prepared,
            self._settings,
            stream=True,
            cancel=self._cancel,
            timeouts=timeouts_of(request.extensions.get("timeout") or {}, heeded=self._settings.heeds_timeouts),
            verify=verify,
            cert=cert,
            proxies=lent["proxies"],
            error=_ours,
            trust_advice=TRUST_ADVICE,
            overrides=overrides,
            documents_whole=True,
            strict=strict,
            ends_at=ends_at,
        )


def _as_it_is(error: LLMWatchError, request: Any) -> BaseException:
    return error


def _unchanged(pieces: Iterator[bytes]) -> Iterator[bytes]:
    return pieces


def _ours(
    error: LLMWatchError, prepared: requests.PreparedRequest, response: requests.Response | None
) -> BaseException:
    """The session's entry point is to raise our errors bare: what they become is decided by the library that asked."""
    return error
