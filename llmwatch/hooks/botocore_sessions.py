"""Watches the model calls of botocore in place, at ``URLLib3Session.send``.

There a request is signed, and the session has settled proxies, certificates and time-outs. The calls are those of
Bedrock's runtime: Converse, ConverseStream, InvokeModel and InvokeModelWithResponseStream, whatever the endpoint. Every
other request goes botocore's way, unchanged.

A model call is sent by botocore's own function too, in a worker's thread, for a copy of the session whose pool managers
make llmwatch's connections. So its TLS context, certificates, proxies and sizes are the session's own.

**Resends are botocore's.** Each resend has to be signed anew, so llmwatch makes none, not even for a pooled connection
that proves dead: the same signature would be accepted, but botocore would not count the request. An expiry before the
first content is an error that botocore resends (:mod:`llmwatch.hooks.botocore_errors`). ``Endpoint.make_request``,
in which botocore does so, makes one call of its requests, with one record; ``deadline`` counts over all of them, but
does not cut botocore's waits between them short.

The hook's lock (:mod:`llmwatch.hooks.hook`) protects its adapters, too.
"""

from __future__ import annotations

import copy
import functools
import re
import sys
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import requests
from requests.structures import CaseInsensitiveDict

from llmwatch.engine.library_loop import LibraryLoop
from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import Settings
from llmwatch.engine.timeouts import Timeouts, of_requests
from llmwatch.errors import LLMWatchError
from llmwatch.hooks.botocore_errors import as_sent, as_streamed
from llmwatch.hooks.hook import Hook, Makers
from llmwatch.hooks.left_alone import LeftAlone, count_other, leave
from llmwatch.hooks.pool_settings import stands_in
from llmwatch.interruption import is_interruption
from llmwatch.lazy_pattern import lazy
from llmwatch.payload import is_model_call
from llmwatch.policy import Retry
from llmwatch.session.watching_adapter import open_response
from llmwatch.transport import context as contexts
from llmwatch.transport.adapter import WatchedAdapter
from llmwatch.transport.pools import POOL_CLASSES
from llmwatch.transport.sockets import KEEPALIVE_OPTIONS

__all__ = ["BotocoreHook"]

_NAME = "botocore"
_MODULE = "botocore.httpsession"
_LOOP_MODULE = "botocore.endpoint"
_ATTRIBUTE = "_llmwatch_adapter"
"""The attribute of a session that holds llmwatch's adapter for it, so that both go at once."""

# botocore numbers its requests: "attempt=2; max=3".
_ALLOWED = lazy(r"\bmax=(\d{1,4})\b")
_loop: ContextVar[LibraryLoop | None] = ContextVar("llmwatch_botocore_loop", default=None)
"""The call of botocore's whose request is sent."""

_PATH = re.compile(r"/model/[^/?#]+/(converse|converse-stream|invoke|invoke-with-response-stream)(?:$|[?#])")
"""The end of a model call's URL at Bedrock's runtime, with its operation (botocore 1.44.8)."""

_DEFAULT_TIMEOUT = 60
"""Seconds: botocore's own ``connect_timeout`` and ``read_timeout``, which no user has chosen."""

_TRUST_ADVICE = (
    "if it is meant to, name its authority's bundle in AWS_CA_BUNDLE, or pass verify= when the client is made"
)
_REMEDY = "It has botocore's own time-outs alone."


class _SignedRequest(requests.PreparedRequest):
    """A request in requests' form, for what reads it; ``signed`` is the one that botocore sends."""

    signed: Any

    @classmethod
    def of(cls, request: Any) -> _SignedRequest:
        """An ``AWSPreparedRequest``, whose answer is left on the connection."""
        made = cls()
        made.method, made.url, made.body = request.method, request.url, _body_of(request)
        made.headers = CaseInsensitiveDict((name, _text(value)) for name, value in request.headers.items())
        made.signed = copy.copy(request)
        made.signed.stream_output = True
        return made


class _SessionAdapter(WatchedAdapter):
    """Sends by botocore's own function ``send``, over connections like those of ``session``.

    Holds nothing that refers to ``session`` itself, which holds the adapter.
    """

    def __init__(self, session: Any, send: Callable[[Any, Any], Any]) -> None:
        self.manager = session._manager
        """The pool manager of the session when the adapter was made."""
        self._send = send
        self._options = [*KEEPALIVE_OPTIONS, *(session._socket_options or ())]
        self._session = copy.copy(session)
        vars(self._session).pop(_ATTRIBUTE, None)
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        """Give the copy of the session pool managers of its own, as at its start."""
        settings = {**self.manager.connection_pool_kw, "socket_options": self._options}
        made = type(self.manager)(self.manager.pools._maxsize, self.manager.headers, **settings)
        made.pool_classes_by_scheme = POOL_CLASSES
        twin = copy.copy(self._session)
        twin._manager = self.poolmanager = made
        twin._proxy_managers = self.proxy_manager
        twin._pool_classes_by_scheme, twin._socket_options = POOL_CLASSES, self._options
        self._session = twin

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send the signed request as botocore does."""
        assert isinstance(request, _SignedRequest)
        proxy = self._session._proxy_config.proxy_url_for(request.url)
        if proxy:
            contexts.note(proxy, self._session._proxy_config.proxy_headers_for(proxy))
        raw = self._send(self._session, request.signed).raw
        # botocore leaves the check to the reader of some bodies, and makes none for others.
        raw.enforce_content_length = True
        response: requests.Response = self.build_response(request, raw)
        return response


class BotocoreHook(Hook):
    """Watches every session of botocore, existing or future, once the program has imported it."""

    def __init__(self) -> None:
        super().__init__(_MODULE, _LOOP_MODULE)

    def _makers(self, module: ModuleType) -> Makers:
        if module.__name__ == _LOOP_MODULE:
            return {(module.Endpoint, "make_request"): self._making_request}
        owner = module.URLLib3Session
        return {(owner, "send"): self._sending, (owner, "close"): self._closing}

    def _sending(self, original: Any) -> Any:
        own = not stands_in(original, _MODULE)

        @functools.wraps(original)
        def send(session: Any, request: Any) -> Any:
            settings = self._settings
            if settings is None:
                return original(session, request)
            adapter = self._adapter_for(session, request, original, own)
            if adapter is None:
                return original(session, request)
            loop = _loop.get()
            if loop is not None:
                return _sent(adapter, session, request, settings, loop)
            # botocore's session without its client: this request is the whole call.
            loop = LibraryLoop()
            try:
                return _sent(adapter, session, request, settings, loop)
            finally:
                loop.over()

        return send

    def _making_request(self, original: Any) -> Any:
        @functools.wraps(original)
        def make_request(endpoint: Any, *args: Any, **kwargs: Any) -> Any:
            if self._settings is None:
                return original(endpoint, *args, **kwargs)
            loop = LibraryLoop()
            token = _loop.set(loop)
            try:
                return original(endpoint, *args, **kwargs)
            finally:
                _loop.reset(token)
                loop.over()

        return make_request

    def _closing(self, original: Any) -> Any:
        @functools.wraps(original)
        def close(session: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return original(session, *args, **kwargs)
            finally:
                made = vars(session).get(_ATTRIBUTE)
                if made is not None:
                    made.close()

        return close

    def _adapter_for(self, session: Any, request: Any, send: Any, own: bool) -> _SessionAdapter | None:
        """The adapter that sends ``request``; ``None`` if botocore does by itself."""
        try:
            if not _is_watched(request):
                count_other(_NAME)
                return None
            if not own:
                raise LeftAlone("another package's send", said=False)
            _check(session, request)
            made: _SessionAdapter | None = vars(session).get(_ATTRIBUTE)
            return made if made is not None and made.manager is session._manager else self._make(session, send)
        except LeftAlone as reason:
            leave(_NAME, reason, remedy=_REMEDY)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            if is_interruption(error):
                raise
            # botocore keeps its settings otherwise than the versions that are known.
            leave(_NAME, LeftAlone(f"its connections cannot be read ({type(error).__name__})"), remedy=_REMEDY)
        return None

    def _make(self, session: Any, send: Any) -> _SessionAdapter:
        with self._lock:
            before: _SessionAdapter | None = vars(session).get(_ATTRIBUTE)
            if before is not None and before.manager is session._manager:
                return before
            made = _SessionAdapter(session, send)
            vars(session)[_ATTRIBUTE] = made
            self._made.add(made)
        if before is not None:
            before.close()
        return made


def _is_watched(request: Any) -> bool:
    """Whether a request is a model call at Bedrock's runtime, or at a URL that the user registered."""
    url = request.url
    if not _PATH.search(url):
        return is_model_call("", url, None)
    if not isinstance(request.body, (bytes, bytearray, str)):
        raise LeftAlone("a file as its body", remedy="Pass the body as bytes.")
    call = CallRequest.of(_SignedRequest.of(request))
    return is_model_call(call.method, call.url, call.body)


def _hands_out_a_document(url: str) -> bool:
    """Whether ``url`` is that of an InvokeModel, whose document botocore hands out as a stream."""
    found = _PATH.search(url)
    return found is not None and found[1] == "invoke"


def _check(session: Any, request: Any) -> None:
    """Raise :class:`LeftAlone` where connections like those of ``session`` cannot be made."""
    if type(session._manager) is not sys.modules[_MODULE].PoolManager:
        raise LeftAlone("a custom pool")
    if request.headers.get("Expect"):
        raise LeftAlone("a header Expect")
    own = sys.modules["botocore.awsrequest"]
    pools = {"http": own.AWSHTTPConnectionPool, "https": own.AWSHTTPSConnectionPool}
    if session._pool_classes_by_scheme != pools:
        raise LeftAlone("a custom pool")
    if any(pool.ConnectionCls.__module__ != own.__name__ for pool in pools.values()):
        raise LeftAlone("a stand-in for the network", said=False)


def _sent(adapter: _SessionAdapter, session: Any, request: Any, settings: Settings, loop: LibraryLoop) -> Any:
    """The response to ``request``, watched as one of the requests of ``loop``."""

    def failed(
        error: LLMWatchError, prepared: requests.PreparedRequest, response: requests.Response | None
    ) -> BaseException:
        if response is None:
            return as_sent(error, request)
        return as_streamed(error, request, events="eventstream" in response.headers.get("content-type", ""))

    allowed = _ALLOWED.search(str(request.headers.get("amz-sdk-request", "")))
    loop.most = int(allowed[1]) if allowed else 1
    response = open_response(
        adapter,
        _SignedRequest.of(request),
        settings,
        # The whole document, so that a cut or a stall in it is botocore's to resend.
        stream=request.stream_output and not _hands_out_a_document(request.url),
        retry=Retry.none(),
        timeouts=_timeouts(session, request, heeded=settings.heeds_timeouts),
        error=failed,
        trust_advice=_TRUST_ADVICE,
        recorded_as=_NAME,
        library_loop=loop,
    )
    try:
        raw: Any = response.raw
        answer = sys.modules["botocore.awsrequest"].AWSResponse(request.url, response.status_code, raw.headers, raw)
        if not request.stream_output:
            # As botocore does: the body is read while it sends.
            _ = answer.content
        return answer
    except BaseException:
        # An interrupted caller has no response to close.
        response.close()
        raise


def _timeouts(session: Any, request: Any, *, heeded: bool) -> Timeouts:
    """The session's time-outs, as a ``timeout=`` of requests. botocore's defaults change no limit."""
    given = session._timeout
    connect, read = getattr(given, "connect_timeout", given), getattr(given, "_read", given)
    # A request may have a read time-out of its own.
    read = (getattr(request, "context", None) or {}).get("read_timeout") or read
    own = [None if seconds == _DEFAULT_TIMEOUT else seconds for seconds in (connect, read)]
    if own == [None, None]:
        return of_requests((connect, read), heeded=False)
    return of_requests(tuple(own), heeded=heeded)


def _body_of(request: Any) -> Any:
    body = request.body
    return body.encode() if isinstance(body, str) else bytes(body) if isinstance(body, bytearray) else body


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
