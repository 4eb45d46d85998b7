"""The client: what users hold in their hands."""

from __future__ import annotations

import random
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import requests

from llmwatch import at_fork
from llmwatch.client.collected import Collected
from llmwatch.client.stream import Stream
from llmwatch.engine.answering import ResponseCall
from llmwatch.engine.call import Call
from llmwatch.engine.collecting import CollectingCall
from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import CallOptions, ClientSettings, RequestKind, checked_settings, shows_settings
from llmwatch.engine.timeouts import of_requests
from llmwatch.engine.workers import exchanges
from llmwatch.errors import Cancelled
from llmwatch.policy import Limits, Retry
from llmwatch.recovery import EntryPoint
from llmwatch.transport.sender import Sender
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.cancel import CancelToken

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Client"]

C = TypeVar("C", bound=Call[Any])


class Client:
    """Makes LLM calls that cannot hang. May be shared by any number of threads; use it as a context manager or
    :meth:`close` it.

    ``limits`` and ``retry`` hold for every call that does not say otherwise. ``session`` lends its headers, auth,
    cookies, proxies, verify, cert, trust_env, params and hooks, and stays as it was (its adapters are not used).
    ``dialect`` says what the events mean (``"auto"`` detects it; :func:`llmwatch.register_dialect` makes one of yours
    known), ``profile`` replaces the detected set of default limits, ``keepalive`` is for how many seconds an idle
    connection may be reused (0: never), ``max_event`` how many bytes one event may have (64 MiB; 0: any number), above
    which the call ends with :class:`~llmwatch.EventTooLarge`, ``max_body`` how many bytes a whole body may have once it
    is decoded (1 GiB; 0: any number), above which it ends with :class:`~llmwatch.BodyTooLarge`, ``override_timeouts``
    sets the time-outs that calls carry (``timeout=``) aside, ``sinks`` are called with the
    :class:`~llmwatch.CallRecord` of each call that is over, those that were dropped unclosed among them.
    ``on_notice`` is told, in the calling thread, about waits and retries while they last: every
    ``notice_every`` seconds. The caller waits for a sink and for ``on_notice`` as long as each takes, beyond every
    limit: what is slow belongs into a thread of its own.

    Nothing is connected and no thread is started before the first call. Raises :class:`~llmwatch.ConfigError` for
    invalid settings.
    """

    @shows_settings
    def __init__(
        self,
        *,
        session: requests.Session | None = None,
        random: Callable[[], float] = random.random,
        **settings: Unpack[ClientSettings],
    ) -> None:
        if session is not None and not isinstance(session, requests.Session):
            raise TypeError(f"session must be a requests.Session, not {type(session).__name__}")
        checked = checked_settings(**settings)
        self._sender = Sender(session)
        self._settings = replace(checked, started=self._started, random=random)
        # Protects the three fields below; a signal handler of the same thread may close the client. Taken before a
        # call's lock in close(), never after it.
        self._lock = threading.RLock()
        self._calls: weakref.WeakSet[Call[Any]] = weakref.WeakSet()
        # A stream that was dropped after its end takes its call along; the attempt lives until it has drained.
        self._attempts: weakref.WeakSet[Attempt[Any]] = weakref.WeakSet()
        self._closed = False
        at_fork.follow(self)

    def after_fork(self) -> None:
        """In a forked child: the parent's calls are its own."""
        self._lock = threading.RLock()
        self._calls = weakref.WeakSet()
        self._attempts = weakref.WeakSet()

    def stream(
        self,
        method: str,
        url: str,
        *,
        limits: Limits | None = None,
        retry: Retry | None = None,
        cancel: CancelToken | None = None,
        **kwargs: Any,
    ) -> Stream:
        """A streaming call, as a :class:`Stream` of events.

        ``kwargs`` are requests' own (``json``, ``data``, ``headers``, ``params``, ``auth``, ``timeout``, ...). The
        body should ask the provider to stream. Nothing is sent before the stream is entered or iterated. Raises
        :class:`~llmwatch.ConfigError` for an invalid URL or setting.
        """
        options = self._options(EntryPoint.STREAM, method, url, limits, retry, cancel, kwargs)
        return Stream(lambda: self._call(options, Call))

    def collect(
        self,
        method: str,
        url: str,
        *,
        limits: Limits | None = None,
        retry: Retry | None = None,
        cancel: CancelToken | None = None,
        **kwargs: Any,
    ) -> Collected:
        """A streaming call whose answer is returned whole: text, reasoning, complete tool calls.

        Since nothing is delivered before the end, it may resend once after partial output, which is then discarded;
        each resend is billed again. Raises what iterating a stream raises, :class:`~llmwatch.EmptyStream` for a
        well-ended answer with nothing in it, with the reason that the provider gives, and
        :class:`~llmwatch.MalformedEvent` for one that asks for a tool call which is not whole, unless the provider says
        that it cut the answer itself.
        """
        options = self._options(EntryPoint.COLLECT, method, url, limits, retry, cancel, kwargs)
        call = self._call(options, CollectingCall)
        try:
            call.begin()
            collector = call.answer()
        finally:
            call.close()
        assert call.record is not None
        if call.empty:
            raise call.empty_error(collector.reason_why_empty)
        return Collected(
            text=collector.text,
            reasoning=collector.reasoning,
            tool_calls=collector.tool_calls,
            discarded_calls=collector.discarded_calls,
            usage=collector.usage,
            finish_reason=collector.finish_reason,
            provider_finish_reason=collector.provider_finish_reason,
            cut=collector.cut,
            events=tuple(collector.events),
            record=call.record,
        )

    def request(
        self,
        method: str,
        url: str,
        *,
        limits: Limits | None = None,
        retry: Retry | None = None,
        cancel: CancelToken | None = None,
        **kwargs: Any,
    ) -> requests.Response:
        """A plain call: a :class:`requests.Response` with its body loaded, within hard limits.

        An HTTP status never raises, as in requests: after the retries that the status allows, the last response is
        returned. The body of an error status, or of a redirect that is not followed, is given 5 s and cut at 16 MiB
        (or ``max_body``); any other that is larger than ``max_body`` is a :class:`~llmwatch.BodyTooLarge`. The
        :class:`~llmwatch.CallRecord` is the response's ``llmwatch_record``.

        What is no model call (:func:`llmwatch.register_model_url` says what is one) is sent again after it was sent
        only if its method is idempotent, as GET, PUT and DELETE are. After a POST or PATCH its status is returned as it
        is, and a failure is raised for a person to decide (``confirm``); ``Retry(resend_with_tools=True)`` allows the
        resend.

        GET, HEAD and OPTIONS follow redirects as in requests, up to the session's ``max_redirects``. Other methods
        follow 307 and 308 within the origin, five times at most in all attempts together; any other redirect is
        returned. One that leads nowhere is a :class:`~llmwatch.ProviderError`.
        """
        options = self._options(EntryPoint.REQUEST, method, url, limits, retry, cancel, kwargs)
        call = self._call(options, ResponseCall)
        try:
            call.begin()
            head, _ = call.answer()
        finally:
            call.close()
        head.response.llmwatch_record = call.record  # type: ignore[attr-defined]
        return head.response

    def close(self) -> None:
        """End every call of this client with :class:`~llmwatch.Cancelled` (``by="lifecycle"``) and close its idle
        connections.

        May be called from any thread, and more than once. Later calls raise at once.
        """
        if sys.is_finalizing():
            # Everything was ended at exit, and a thread that holds a lock may be frozen.
            return
        with self._lock:
            self._closed = True
            calls, attempts = list(self._calls), list(self._attempts)
        for call in calls:
            call.cancel("lifecycle")
        for attempt in attempts:
            attempt.close()
        self._sender.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside -------------------------------------------------------------

    def _options(
        self,
        entry_point: EntryPoint,
        method: str,
        url: str,
        limits: Limits | None,
        retry: Retry | None,
        cancel: CancelToken | None,
        kwargs: dict[str, Any],
    ) -> CallOptions:
        if cancel is not None and not isinstance(cancel, CancelToken):
            raise TypeError(f"cancel must be an llmwatch.CancelToken, not {type(cancel).__name__}")
        return CallOptions(
            request=CallRequest.build(method, url, kwargs),
            entry_point=entry_point,
            request_kind=RequestKind.PLAIN if entry_point is EntryPoint.REQUEST else RequestKind.STREAM,
            limits=limits,
            timeouts=of_requests(kwargs.get("timeout"), heeded=self._settings.heeds_timeouts),
            retry=retry,
            cancel=cancel,
        )

    def _call(self, options: CallOptions, kind: type[C]) -> C:
        work = exchanges(self._sender, self._settings, options)
        call = kind(work, self._settings, options)
        with self._lock:
            if self._closed:
                raise Cancelled("This client is closed; nothing was sent. Make a new one.", by="lifecycle")
            self._calls.add(call)
        return call

    def _started(self, attempt: Attempt[Any]) -> None:
        with self._lock:
            self._attempts.add(attempt)
