"""The client: settings, connections and the calls made with them, and the stream of a call."""

from __future__ import annotations

import operator
import random
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import requests

from llmwatch import at_fork
from llmwatch.client.collected import Collected
from llmwatch.engine.answering import ResponseCall
from llmwatch.engine.call import Call
from llmwatch.engine.call_reader import CallReader
from llmwatch.engine.collecting import CollectingCall
from llmwatch.engine.exchange import exchanges
from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import CallOptions, ClientSettings, RequestKind, checked_settings, shows_settings
from llmwatch.engine.timeouts import NO_TIMEOUTS, of_requests
from llmwatch.errors import Cancelled
from llmwatch.policy import EffectiveLimits, Limits, Retry
from llmwatch.recovery import EntryPoint
from llmwatch.transport.sender import Sender
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.cancel import CancelToken
from llmwatch.wire import Event

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Client", "Stream"]

_TEXT = operator.attrgetter("text")


class Stream(CallReader[Event]):
    """The events of one streamed answer, in order, each exactly once.

    Use it as a context manager and iterate it. Entering the block, or asking for the first event, sends the request.
    Iteration blocks until the next event and ends when the provider has completed the answer. It raises

    * :class:`~llmwatch.WatchTimeout` (a ``TimeoutError``) when a limit expired and no resend was allowed,
    * another :class:`~llmwatch.LLMWatchError` for every other failure,

    after every event that came before. Nothing of an attempt is delivered before its first content, so the caller does
    not see a stall before that. Leaving the block early aborts the request; leaving it after the last event does not.

    One thread iterates a stream. Any thread may call :meth:`cancel`.
    """

    def __iter__(self) -> Iterator[Event]:
        # A generator costs a fraction of a method call for each event. It holds nothing that needs cleaning up.
        ready = self._ready
        try:
            while self._fill():
                call = self._call
                assert call is not None
                while ready:
                    if call.cancelled_by is not None:
                        self._discard(call)
                    yield ready.popleft()
        except GeneratorExit:
            raise
        except BaseException:
            # A signal handler may have raised between an event and its delivery: no event may follow a gap.
            self.close()
            raise

    def _next_batch(self, call: Call[Event]) -> list[Event] | None:
        batch = call.next_batch()
        if batch is not None:
            call.partial.extend(filter(None, map(_TEXT, batch)))
        return batch

    def _discard(self, call: Call[Event]) -> NoReturn:
        lost = sum(1 for event in self._ready if event.text)
        if lost:
            del call.partial[-lost:]
        super()._discard(call)

    @property
    def limits(self) -> EffectiveLimits:
        """The limits of the current attempt, each with its source. Starts the call if it has not begun."""
        try:
            return self._start().limits
        except BaseException:
            self.close()
            raise


C = TypeVar("C", bound=Call[Any])


class Client:
    """Makes LLM calls that cannot hang. Any number of threads may share a client.

    Use it as a context manager, or :meth:`close` it. No connection and no thread is opened before the first call.

    * ``limits`` and ``retry`` hold for every call that does not give its own.
    * ``session`` lends its headers, auth, cookies, proxies, verify, cert, trust_env, params and hooks. The session is
      not changed, and its adapters are not used.
    * ``dialect`` says how events are read. ``"auto"`` detects the dialect; :func:`llmwatch.register_dialect` adds one.
    * ``profile`` names the set of default limits and replaces the detected one.
    * ``keepalive`` is the seconds for which an idle connection may be reused (0: never).
    * ``max_event`` is the most bytes of one event (64 MiB; 0: no bound); a larger one ends the call with
      :class:`~llmwatch.EventTooLarge`.
    * ``max_body`` is the most bytes of a decoded body (1 GiB; 0: no bound); a larger one ends the call with
      :class:`~llmwatch.BodyTooLarge`.
    * ``override_timeouts`` ignores the time-outs (``timeout=``) that calls carry.
    * ``sinks`` are called with the :class:`~llmwatch.CallRecord` of each finished call, dropped calls included.
    * ``on_notice`` is called in the calling thread about waits and retries, every ``notice_every`` seconds of a wait.

    No limit bounds a sink or ``on_notice``: the caller waits until it returns. Slow work belongs in another thread.
    Raises :class:`~llmwatch.ConfigError` for invalid settings.
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
        # Protects the three fields below. Reentrant: a signal handler of the same thread may close the client.
        # close() takes it before a call's lock, never after.
        self._lock = threading.RLock()
        self._calls: weakref.WeakSet[Call[Any]] = weakref.WeakSet()
        # An attempt outlives its call while it drains, so the call alone does not keep track of it.
        self._attempts: weakref.WeakSet[Attempt[Any]] = weakref.WeakSet()
        self._closed = False
        at_fork.follow(self)

    def after_fork(self) -> None:
        """In a forked child: forget the parent's calls."""
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

        ``kwargs`` are those of requests (``json``, ``data``, ``headers``, ``params``, ``auth``, ``timeout``, ...). The
        body must ask the provider to stream. Nothing is sent before the stream is entered or iterated. Raises
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
        """A streaming call that returns the whole answer: text, reasoning, complete tool calls.

        Nothing is delivered before the end, so the client may discard a partial answer and resend the request once.
        The provider bills each resend. Raises what iterating a stream raises. Raises :class:`~llmwatch.EmptyStream`,
        with the provider's reason, for a complete answer without content. Raises :class:`~llmwatch.MalformedEvent` for
        an incomplete tool call, unless the provider reports that it cut the answer.
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

        An HTTP status never raises, as in requests: the last response is returned once the retries for its status are
        used up. The body of an error status, or of a redirect that is not followed, gets 5 s and 16 MiB (or
        ``max_body``). Any other body above ``max_body`` raises :class:`~llmwatch.BodyTooLarge`. The response's
        ``llmwatch_record`` is the :class:`~llmwatch.CallRecord`.

        A request that is not a model call (see :func:`llmwatch.register_model_url`) is resent after it was sent only
        if its method is idempotent (GET, PUT, DELETE, ...). A status after POST or PATCH is returned, and a failure is
        raised with the decision ``confirm``. ``Retry(resend_with_tools=True)`` allows the resend.

        GET, HEAD and OPTIONS follow redirects as in requests, up to the session's ``max_redirects``. Other methods
        follow 307 and 308 within the origin, five at most over all attempts; any other redirect is returned. A redirect
        without a usable target raises :class:`~llmwatch.ProviderError`.
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
        """End every call with :class:`~llmwatch.Cancelled` (``by="lifecycle"``) and close idle connections.

        Any thread may call it, repeatedly. Later calls raise at once.
        """
        if sys.is_finalizing():
            # The exit handlers have ended every call, and a frozen thread may hold a lock.
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

    # -- private ------------------------------------------------------------

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
        request = CallRequest.build(method, url, kwargs)
        timeout, heeded = kwargs.get("timeout"), self._settings.heeds_timeouts
        return CallOptions(
            request=request,
            entry_point=entry_point,
            request_kind=RequestKind.PLAIN if entry_point is EntryPoint.REQUEST else RequestKind.STREAM,
            limits=limits,
            timeouts=NO_TIMEOUTS if timeout is None else of_requests(timeout, heeded=heeded),
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
