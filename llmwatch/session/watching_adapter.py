"""The watching adapter around any other adapter, and one call of it, from request to response."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import requests
from requests.adapters import BaseAdapter

from llmwatch.engine.answering import ResponseCall
from llmwatch.engine.library_loop import LibraryLoop
from llmwatch.engine.passthrough import passthroughs
from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import CallOptions, ClientSettings, RequestKind, Settings
from llmwatch.engine.timeouts import Timeouts, of_requests
from llmwatch.errors import ConfigError, LLMWatchError
from llmwatch.payload import IDEMPOTENT, is_model_call, is_streaming
from llmwatch.policy import Limits, Retry
from llmwatch.recovery import EntryPoint
from llmwatch.session.requests_errors import as_requests
from llmwatch.session.response import ErrorMapper, hand_out
from llmwatch.session.sdk_retries import Repeats, Sending
from llmwatch.transport.context import Overrides
from llmwatch.transport.errors import TRUST_ADVICE
from llmwatch.transport.prepared import PreparedSender
from llmwatch.transport.redirects import arrived, end_of, sent_on
from llmwatch.watch.cancel import CancelToken

__all__ = ["IDEMPOTENT", "WatchingAdapter", "is_http", "open_response"]

_repeats = Repeats()

_HTTP = re.compile(r"\s*https?:", re.IGNORECASE)


def is_http(url: str | None) -> bool:
    """Whether ``url`` goes over HTTP to a host, not to a file or a local socket with its own adapter."""
    return _HTTP.match(url or "") is not None


class WatchingAdapter(BaseAdapter):
    """Sends through ``inner``, watched; anything but HTTP passes unchanged.
    Every other attribute is read from and set on ``inner``. The adapter may be pickled, as requests' adapters may, if
    ``inner`` can be: limits and retries go along, sinks and hooks do not.
    """

    def __init__(self, inner: BaseAdapter, settings: Settings, *, recorded_as: str = "") -> None:
        super().__init__()
        self.__dict__.update(inner=inner, settings=settings, recorded_as=recorded_as)

    inner: BaseAdapter
    settings: Settings
    recorded_as: str

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send ``request`` and return its response, as :func:`open_response` does.
        A library's own retry of a request that has just ended for good ends in the same way.
        """
        if not is_http(request.url):
            return self.inner.send(request, stream, timeout, verify, cert, proxies)
        sending = Sending(request)
        known = _repeats.known(sending)
        if isinstance(known, LLMWatchError):
            raise as_requests(known, request, None) from known.__cause__

        def failed(
            error: LLMWatchError, prepared: requests.PreparedRequest, response: requests.Response | None
        ) -> BaseException:
            if response is None:
                _repeats.failed(sending, error)
            return as_requests(error, prepared, response)

        return open_response(
            self.inner,
            request,
            self.settings,
            stream=stream,
            timeout=timeout,
            verify=verify,
            cert=cert,
            proxies=proxies,
            error=failed,
            connection=self,
            recorded_as=self.recorded_as,
        )

    def close(self) -> None:
        """Close the idle connections. Responses that are being read are not touched, as in requests."""
        self.inner.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("inner", "settings", "recorded_as"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.inner, name, value)

    def __getstate__(self) -> dict[str, Any]:
        kept = [name for name in ClientSettings.__annotations__ if name not in ("sinks", "on_notice", "notice_every")]
        return {"inner": self.inner, "settings": {name: getattr(self.settings, name) for name in kept}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(inner=state["inner"], settings=Settings(**state["settings"]), recorded_as="")

    def __repr__(self) -> str:
        return f"<llmwatch around {self.inner!r}>"


def open_response(
    inner: BaseAdapter,
    prepared: requests.PreparedRequest,
    settings: Settings,
    *,
    stream: bool,
    timeout: object = None,
    verify: bool | str | ssl.SSLContext | None = True,
    cert: Any = None,
    proxies: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    retry: Retry | None = None,
    cancel: CancelToken | None = None,
    timeouts: Timeouts | None = None,
    error: ErrorMapper = as_requests,
    connection: BaseAdapter | None = None,
    documents_whole: bool = False,
    strict: bool = False,
    trust_advice: str = TRUST_ADVICE,
    overrides: Overrides | None = None,
    ends_at: float | None = None,
    recorded_as: str = "",
    library_loop: LibraryLoop | None = None,
) -> requests.Response:
    """Send ``prepared`` through ``inner``, watched, as often as that is safe, and return its response.

    * ``stream`` is requests' own. Without it the call returns once the whole body is here, so an idempotent request or
      a model call whose body breaks off may be sent again. With it an answer is returned at its first content, or at
      the first bytes that no dialect reads, and ``raw`` gets its bytes from the worker.
    * ``timeouts``: another library's time-outs, in place of ``timeout``. ``ends_at``: when ``deadline`` is over.
    * ``documents_whole``: a document that answers a plain call is returned whole all the same.
    * ``strict``: raise the faults of an answer of events; otherwise the reader meets them.
    * ``error`` maps each failure to an error of the entry point's users. ``connection``: the response's adapter.
    * ``trust_advice``: what to do about a certificate that does not verify. ``overrides``: the request's own settings
      against its URL. ``recorded_as``: the entry point's name in the record.
    * ``library_loop``: the library around the call makes every resend.

    An HTTP status never raises. Invalid settings, of the environment too, raise :class:`~llmwatch.ConfigError`
    unmapped, so that no retry loop takes them for a failure. A model call that is redirected to another origin goes on
    without its keys. Wherever the redirect leads, the answer has the bounds of that call, and all of it is one call to
    ``deadline``.
    """
    was_model_call = arrived(prepared)
    ends_at = end_of(prepared) if ends_at is None else ends_at
    request, request_kind = _looked_at(prepared)
    try:
        request.check_origin()
    except ConfigError as failure:
        # requests does not check the port when it prepares a request, and httpx does not check it at all.
        raise error(failure, prepared, None) from None
    given = {"stream": stream, "timeout": timeout, "verify": verify, "cert": cert, "proxies": proxies}
    sender = PreparedSender(
        inner,
        prepared,
        given,
        model=request_kind is not RequestKind.OTHER,
        trust_advice=trust_advice,
        overrides=overrides,
    )
    options = CallOptions(
        request=replace(request, kwargs=sender.kwargs),
        entry_point=EntryPoint.SESSION,
        request_kind=request_kind,
        whole=not stream and (request_kind is not RequestKind.OTHER or request.method in IDEMPOTENT),
        limits=limits,
        retry=retry,
        cancel=cancel,
        adapter_retries=sender.retries,
        timeouts=timeouts or of_requests(timeout, heeded=settings.heeds_timeouts),
        documents_whole=documents_whole,
        strict=strict,
        ends_at=ends_at,
        redirected=was_model_call,
        recorded_as=recorded_as,
        library_loop=library_loop,
    )
    call = ResponseCall(passthroughs(sender, settings, options), settings, options)
    try:
        call.begin()
        head, pieces = call.whole() if options.whole else call.answer()
        if (was_model_call or request_kind is not RequestKind.OTHER) and head.response.is_redirect:
            sent_on(prepared, call.ends_at)
        return hand_out(
            call,
            head,
            pieces,
            ended=options.whole or head.body is not None,
            promptly=request_kind is not RequestKind.OTHER,
            error=error,
            connection=connection,
        )
    except LLMWatchError as failure:
        # Without its traceback, whose frames refer to the error and to everything that the call has used.
        raise error(failure.with_traceback(None), prepared, None) from failure.__cause__
    except BaseException:
        # The caller will not read the answer that is on its way.
        call.give_up()
        raise


def _looked_at(prepared: requests.PreparedRequest) -> tuple[CallRequest, RequestKind]:
    """The request in llmwatch's form, and its kind.
    Of a request that is no model call only the method decides whether it may be sent again; its body is not read.
    """
    request = CallRequest.of(prepared)
    if is_model_call(request.method, request.url, request.body):
        streaming = is_streaming(request.url, request.body, headers=prepared.headers)
        return request, RequestKind.STREAM if streaming else RequestKind.PLAIN
    return replace(request, body=None, readable=request.method in IDEMPOTENT), RequestKind.OTHER
