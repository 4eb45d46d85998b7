"""The transport for httpx and httpx2, which sends the library's requests over watched connections."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import requests

from llmwatch.engine.combined_errors import copy_of
from llmwatch.engine.settings import ClientSettings, Settings, checked_settings, shows_settings
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
from llmwatch.transport.sender import EnvironmentSession
from llmwatch.watch.cancel import CancelToken

if TYPE_CHECKING:
    from httpx2 import BaseTransport, Request, Response
    from typing_extensions import Self, Unpack
else:
    # Neither library checks for its base class, and the library is not known here.
    BaseTransport = object

__all__ = ["AdapterTransport", "ConnectionSettings", "Through", "Translate", "Transport"]

Translate = Callable[[LLMWatchError, Any], BaseException]
"""Maps an error that is the library's already, and its request, to the exception to raise."""

Through = Callable[[Iterator[bytes]], Iterator[bytes]]
"""Passes the pieces of a body on, or holds some back."""


_REDIRECTED = "llmwatch_redirected_from"
"""The extension of the request after a redirect of a model call: the URL that was redirected."""
_ENDS_AT = "llmwatch_ends_at"
"""Another: a reference to the redirected request, and when its deadline ends the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """What a connection for one request is made with, in requests' terms."""

    verify: Any
    cert: Any
    proxies: Mapping[str, str]


class AdapterTransport(BaseTransport):
    """Sends requests of either library through ``adapter``, watched.
    A subclass gives the connection settings, and calls ``_set_up`` first. Its ``cancel`` is a token for all calls.
    """

    trust_advice = TRUST_ADVICE
    takes_head: Callable[[bytes], bool] | None = None
    """Whether the library would take the head of an answer, where this is asked."""
    leaves_keys = True
    """Whether keys that the library would send on to another origin are left behind at a redirect."""

    def _set_up(self, settings: Settings, adapter: WatchedAdapter, cancel: CancelToken | None = None) -> None:
        self._settings = settings
        self._adapter = adapter
        self._cancel = cancel
        self._repeats = Repeats()

    def _connection_settings(self, library: Library, url: str) -> ConnectionSettings:
        """Those for a request of ``library`` to ``url``."""
        raise NotImplementedError

    def handle_request(self, request: Request) -> Response:
        """Send ``request`` as often as needed and safe. Returns its response once content has come."""
        return self.exchange(request, _as_it_is)  # type: ignore[no-any-return]

    def exchange(
        self, request: Any, translate: Translate, through: Through | None = None, recorded_as: str = ""
    ) -> Any:
        """As :meth:`handle_request`, for a request of either library.
        ``translate`` maps every error, those while the body is read too. With ``through``, a filter for the pieces of
        an event stream, a fault in the events is raised as well; otherwise it is for the reader to find.
        ``recorded_as``: the entry point's name in the record, in place of the library's.
        """
        library = library_of(request)
        overrides = overrides_of(request, library)
        origin = request.extensions.get(_REDIRECTED)
        if origin is not None and self.leaves_keys:
            leave_keys(request.headers, origin, str(request.url))
        prepared = prepare(request, overrides.target)
        if origin is not None:
            sent_on(prepared)
        if overrides.target is None:
            # urllib3 would quote more of it than the library, and a signature may cover it.
            overrides = replace(overrides, target=request.url.raw_path.decode("ascii"))
        overrides = replace(overrides, takes_head=self.takes_head)
        # A redirect's next request shares this one's extensions. The same request, sent again, is a new call.
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
                opened = self._open(
                    library,
                    prepared,
                    request,
                    overrides,
                    strict=through is not None,
                    ends_at=ends_at,
                    recorded_as=recorded_as,
                )
                if opened.is_redirect and isinstance(prepared.headers, RedirectedHeaders):
                    # The library makes the next request from this one, with its extensions.
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
                    # An interrupted caller has no response to close.
                    opened.close()
                raise
            # Outside the except block, so that the plain error is not its own context.
            raise fail(failure)
        if not isinstance(known, LLMWatchError):
            return known()
        raise translate(in_library(known, library, request), request)

    def close(self) -> None:
        """Close the idle connections. A call in progress keeps its connection until it ends."""
        self._adapter.close()

    def __enter__(self) -> Self:
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
        recorded_as: str,
    ) -> requests.Response:
        connection = self._connection_settings(library, prepared.url or "")
        return open_response(
            self._adapter,
            prepared,
            self._settings,
            stream=True,
            cancel=self._cancel,
            timeouts=timeouts_of(request.extensions.get("timeout") or {}, heeded=self._settings.heeds_timeouts),
            verify=connection.verify,
            cert=connection.cert,
            proxies=connection.proxies,
            error=_ours,
            trust_advice=self.trust_advice,
            overrides=overrides,
            documents_whole=True,
            strict=strict,
            ends_at=ends_at,
            recorded_as=recorded_as or library.name,
        )


class Transport(AdapterTransport):
    """The ``transport=`` of an ``httpx.Client`` or ``httpx2.Client`` whose calls cannot hang.

    ``limits``, ``retry``, ``dialect``, ``profile``, ``keepalive``, ``max_event``, ``max_body``, ``override_timeouts``,
    ``sinks``, ``on_notice`` and ``notice_every`` are those of :class:`llmwatch.Client`; ``max_body`` bounds only the
    answers of models. ``cancel`` is a token for all calls. ``session`` lends its ``proxies``, ``verify``, ``cert`` and
    ``trust_env``; headers, auth and cookies are the library's. Without a session, proxies come from the environment as
    requests reads it. The ``proxy=``, ``verify=`` and ``cert=`` of the library's own client do not reach a transport.

    A call trusts the certificates that its library trusts by itself: those of ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``,
    else certifi's (httpx) or the system's (httpx2, and so the openai and anthropic SDKs). ``verify`` goes before that:
    ``False``, a file or directory of certificates, or an :class:`ssl.SSLContext`. So does a session's own ``verify`` or
    ``REQUESTS_CA_BUNDLE``, which is not read without a session. A proxy that is reached by TLS is verified in the same
    way. The environment is read at every call; the libraries read it once, when a client is made.

    An answer comes as from the library's own transport. A failure raises an error that is llmwatch's and the library's
    at once (``ReadTimeout``, ``ConnectError``, ...). Nothing is visible before the first content, so a stall up to
    there is recovered inside. A fault in the answer itself (an error event, a document in place of a stream) is for the
    library to find, as without llmwatch; the record has it. The library's time-outs may lower a limit and never raise
    one. The defaults of known libraries, such as the 5 s of a bare ``httpx.Client``, change no limit.

    Some libraries retry on top of a transport (openai, anthropic and SDKs made like them; zai-sdk, zhipuai, cohere).
    Here their retries of a model call send nothing: an error status comes with ``x-should-retry: false``, and a retry
    of what has just failed, in the same thread, gets the same error or response at once. So ``retry`` decides on the
    number of requests, whatever ``max_retries`` says. Only the error status of a request that is not a model call (a
    list of files, an upload), which llmwatch does not resend, is left to the library. A loop of the user's own,
    tenacity's too, sends each time; so do retries that a library makes only when told to (``RetryConfig`` of mistralai,
    ``retry_options`` of google-genai, ``num_retries`` of litellm).

    ``response.extensions["llmwatch"].record`` is the call's record. Prefer :func:`llmwatch.sdk.openai` and
    :func:`llmwatch.sdk.anthropic`, whose errors are the SDK's own with llmwatch's message, in mid-stream too. Over a
    bare transport an SDK makes its exceptions by itself: ``str(error)`` begins with ``Request timed out`` or
    ``Connection error`` for any failure, and llmwatch's message is in ``error.__cause__`` alone (openai 3.57, anthropic
    2.14).

    A request's extensions ``sni_hostname`` (the name that TLS asks for and verifies) and ``target`` (in the first line,
    in place of the URL's path) are honoured, behind a proxy too; ``trace`` is not called.

    Sync and HTTP/1.1 only; web sockets do not pass through a transport. Threads and clients may share a transport.
    Closing a client closes it; it opens new connections if it is used again. Raises :class:`~llmwatch.ConfigError` for
    invalid settings.
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
        self._set_up(checked_settings(**settings), WatchedAdapter(verifies_proxies=True), cancel)
        self._lender = session or EnvironmentSession()
        self._trust = Trust(verify, session)

    def _connection_settings(self, library: Library, url: str) -> ConnectionSettings:
        """What the session lends, and what the library trusts."""
        lent = self._lender.merge_environment_settings(url, {}, True, None, None)
        verify, cert = self._trust.settings(library, url, lent)
        return ConnectionSettings(verify=verify, cert=cert, proxies=lent["proxies"])


def _as_it_is(error: LLMWatchError, request: Any) -> BaseException:
    return error


def _unchanged(pieces: Iterator[bytes]) -> Iterator[bytes]:
    return pieces


def _ours(
    error: LLMWatchError, prepared: requests.PreparedRequest, response: requests.Response | None
) -> BaseException:
    """The error unchanged: the calling library decides what it becomes."""
    return error
