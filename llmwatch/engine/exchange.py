"""The work of an attempt's worker: send the request, decode the response, deliver events or body.

The worker blocks as it needs to; the attempt's supervisor can always wake it.
"""

from __future__ import annotations

import itertools
import operator
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import requests

from llmwatch.engine.call import MakeWork, Work
from llmwatch.engine.request import CallRequest
from llmwatch.engine.scrub import scrubbed
from llmwatch.engine.settings import CallOptions, Settings
from llmwatch.errors import BodyTooLarge, LLMWatchError, NotAStream, ProviderError, StreamCut
from llmwatch.payload import asks_nothing, choices_asked, pieces_asked, secrets_in
from llmwatch.policy import READ_LIMITS, EffectiveLimits, resolve_keepalive, resolve_max_body, resolve_max_event
from llmwatch.recovery import retry_after, should_retry
from llmwatch.redaction import Secrets, redact
from llmwatch.transport.context import RequestContext
from llmwatch.transport.encoding import (
    BodyMeter,
    Decompressor,
    Undecodable,
    UnknownEncoding,
    Unread,
    decompressor_for,
    unread_for,
)
from llmwatch.transport.errors import PROXY_SETTINGS, TRUST_ADVICE, forget, translate
from llmwatch.transport.sender import Opener, Reply
from llmwatch.transport.sockets import BACKSTOP_MARGIN
from llmwatch.watch.attempt import WHOLE, Attempt, BatchMeaning
from llmwatch.watch.interfaces import Aborted
from llmwatch.watch.stats import AttemptStats
from llmwatch.wire import (
    MAX_EVENT,
    Decoder,
    Event,
    Kind,
    any_content,
    begins_lines,
    is_loading,
    not_a_stream,
    provider_error,
)

__all__ = ["ERROR_BODY_SIZE", "KIND_OF", "EventDelivery", "Exchange", "Head", "exchanges"]

ERROR_BODY_SIZE = 64 * 1024
"""Decoded bytes that are read of an error's body; the attempt's limits bound its time."""

PLAIN_ERROR_SIZE = 16 * 1024 * 1024
"""Decoded bytes of an error's body for a plain call, which returns the response whole."""

KIND_OF = operator.attrgetter("kind._value_")
"""The value of an event's kind, in one step of the interpreter and past the enum's slow descriptor."""

_LONGEST_BACKSTOP = 2_000_000.0
_SLICE = 1024
"""Compressed bytes of an error's body that are decoded together, or left out together at its bound."""


_CONTENT = BatchMeaning(content=True)


def _backstop(limits: Mapping[str, float | None], *names: str) -> float | None:
    longest = 0.0
    for name in (*names, "total", "deadline"):
        longest = max(longest, limits[name] or 0.0)
    longest = longest or _LONGEST_BACKSTOP
    # A socket refuses time-outs above 31 bits of milliseconds.
    return longest + BACKSTOP_MARGIN if longest < _LONGEST_BACKSTOP else None


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a response.

    ``body``: the whole body as it was on the wire, ``None`` if it follows in pieces. ``decoded``: the body is no longer
    as it was on the wire, because a hook has read it.
    """

    response: requests.Response
    body: bytes | None = None
    decoded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its response. ``run_stream`` and ``run_plain`` are an attempt's kinds of work."""

    sender: Opener
    request: CallRequest
    limits: EffectiveLimits
    keepalive: float
    max_event: int
    max_body: int
    dialect: str
    wall: Callable[[], float]
    trust_advice: str = TRUST_ADVICE
    runs_hooks: ClassVar[bool] = True
    """Whether the hooks of the request run in the worker, before it reads the body."""

    def run_stream(self, attempt: Attempt[Event]) -> None:
        """Deliver the events of a streamed answer. Raises an llmwatch error if the answer is not whole."""
        self._run(attempt, self._read_stream, streaming=True)

    def run_plain(self, attempt: Attempt[Head]) -> None:
        """Deliver the whole response, whatever its status."""
        self._run(attempt, self._read_plain, streaming=False)

    def _run(
        self, attempt: Attempt[Any], read: Callable[[Attempt[Any], Reply], None], *, streaming: bool, model: bool = True
    ) -> None:
        seconds = self.limits.seconds
        context = RequestContext(
            observer=attempt,
            keepalive=self.keepalive,
            connect_backstop=_backstop(seconds, "connect"),
            send_backstop=_backstop(seconds, "send"),
            read_backstop=_backstop(seconds, *READ_LIMITS),
            lenient=not model,
            trail=self.request.trail,
            asked=attempt.stats.asked,
            max_body=self.max_body if self.runs_hooks else None,
            # A passthrough runs none: the program gets what looks like the response of its own library.
            shows_peer=not self.runs_hooks,
            max_error_body=self._most_of_error,
        )
        reply: Reply | None = None
        failure: BaseException | None = None
        try:
            request = self.request
            # Before the request is prepared: that may fail, with an error that quotes it.
            context.asked.append((request.url, dict(request.kwargs.get("headers") or {})))
            reply = self.sender.open(
                context,
                request.method,
                request.url,
                request.kwargs,
                streaming=streaming,
                content_type=request.content_type,
            )
            stats, headers = attempt.stats, reply.headers
            stats.proxy = context.proxy
            stats.content_type = headers.get("content-type") or None
            stats.content_encoding = headers.get("content-encoding") or None
            read(attempt, reply)
            if model and reply.status >= 400 and not reply.challenges:
                # A plain call returns the response, or resends on a new connection.
                context.discard()
        except Aborted:
            raise
        except Exception as error:
            context.discard()
            failure = self._meant(attempt, error)
            if failure is error:
                failure = None
                raise
            forget(error)
        finally:
            if reply is not None:
                reply.close()
        if failure is not None:
            # Outside the except block, so that the foreign exception is not the context of this one.
            try:
                raise failure
            finally:
                # Its traceback refers to this frame, and the frame to the connection.
                del failure

    def _meant(self, attempt: Attempt[Any], error: Exception) -> BaseException:
        """The error that ``error`` means to the attempt, scrubbed."""
        if attempt.verdict is not None:
            # The attempt was ended: the error shows only that its connection was shut. Its caller waits for the
            # interpreter meanwhile, so nothing is translated.
            return Aborted()
        meant = self._translated(error, attempt.stats)
        return self._scrubbed(attempt, meant) if meant is not error and isinstance(meant, LLMWatchError) else meant

    def _translated(self, error: Exception, stats: AttemptStats) -> BaseException:
        return translate(
            error, host=self.request.host, sent=stats.sent, sockets=stats.sockets, trust_advice=self.trust_advice
        )

    def _secrets(self, attempt: Attempt[Any]) -> Secrets:
        return Secrets.of(attempt.stats.asked, secrets_in(self.request.body))

    def _scrubbed(self, attempt: Attempt[Any], error: LLMWatchError) -> LLMWatchError:
        """Scrub an error that may hold foreign text, before it is raised."""
        return scrubbed(error, self.request, self._secrets(attempt))

    def _undecodable(self, attempt: Attempt[Any], error: Undecodable) -> LLMWatchError:
        what = self._secrets(attempt).masked(str(error))
        if isinstance(error, UnknownEncoding):
            return NotAStream(
                f"{self.request.host} compressed the stream with {what!r}, which is not read here. Streams ask for"
                " Accept-Encoding: identity: take an Accept-Encoding of your own from the headers, or keep the proxy in"
                " between from compressing. llmwatch.Session hands the bytes on as they come.",
                retryable=False,
            )
        return StreamCut(f"{what[:1].upper()}{what[1:]} (from {self.request.host}).")

    def _meter(self, reply: Reply, *, lenient: bool = False) -> BodyMeter:
        """Decodes and bounds the body. An unknown encoding raises, or is only counted if ``lenient``."""
        decompressor: Decompressor
        try:
            decompressor = decompressor_for(reply.encoding)
        except UnknownEncoding:
            if not lenient:
                raise
            decompressor = unread_for(reply.encoding)
        return BodyMeter(decompressor, self.max_body, self.request.host)

    # -- plain --------------------------------------------------------------

    def _read_plain(self, attempt: Attempt[Head], reply: Reply) -> None:
        if not reply.refused:
            body = self._read_all(attempt, reply)
            response = reply.load(body, self.max_body)
        else:
            body = self._read_refused(attempt, reply)
            response = reply.load(body, self._most_of_error, cut=True)
        attempt.deliver([Head(response, body, reply.decoded or not body)], 0, WHOLE)

    def _read_all(self, attempt: Attempt[Any], reply: Reply) -> bytes:
        """The body as it is on the wire. Raises if the body is too large, or compressed and incomplete."""
        meter = self._meter(reply, lenient=True)
        pieces: list[bytes] = []
        for data in attempt.pieces(reply.read):
            meter.count(data)
            pieces.append(data)
        if not meter.complete:
            raise StreamCut(f"The compressed body from {self.request.host} was cut before its end.")
        return b"".join(pieces)

    @property
    def _most_of_error(self) -> int:
        return min(PLAIN_ERROR_SIZE, self.max_body)

    def _read_refused(self, attempt: Attempt[Any], reply: Reply, *, counted: bool = True) -> bytes:
        """An error's body as sent, cut at its bound; ``counted``: the bound is on its decoded size.

        A body that breaks off or never ends does not change the error.
        """
        most = self._most_of_error
        decompressor = self._meter(reply, lenient=True).decompressor if counted else Unread()
        meter = BodyMeter(decompressor, most, self.request.host)
        taken = bytearray()
        try:
            for data in attempt.pieces(reply.read):
                if meter.plain:
                    taken += data[: most - len(taken)]
                for start in range(0, 0 if meter.plain else len(data), _SLICE):
                    piece = data[start : start + _SLICE]
                    meter.count(piece)
                    taken += piece
                if meter.plain and len(taken) >= most:
                    break
        except BodyTooLarge:
            if meter.unread:
                # Without its end such a body may not be decodable at all.
                taken.clear()
        except Aborted:
            raise
        except Exception:
            attempt.check()
        return bytes(taken)

    @staticmethod
    def _read_decoded(attempt: Attempt[Any], reply: Reply, meter: BodyMeter, begun: bytes = b"") -> bytes:
        """The decoded body after ``begun``, as much as an error's message is made of."""
        body = bytearray(begun)
        came = 0
        try:
            # The meter may still hold a part of what came before.
            for data in itertools.chain((b"",), attempt.pieces(reply.read)):
                came += len(data)
                for piece in meter.feed(data):
                    body += piece
                    if len(body) >= ERROR_BODY_SIZE:
                        break
                if max(came, len(body)) >= ERROR_BODY_SIZE:
                    break
        except Aborted:
            raise
        except Exception:
            attempt.check()
        return bytes(body[:ERROR_BODY_SIZE])

    # -- streamed -----------------------------------------------------------

    def _read_stream(self, attempt: Attempt[Event], reply: Reply) -> None:
        if not 200 <= reply.status < 300:
            raise self._refused(attempt, reply)
        self._read_events(attempt, reply, EventDelivery)

    def _read_events(self, attempt: Attempt[Any], reply: Reply, kind: type[EventDelivery]) -> None:
        """Read a streamed answer to its end and deliver it by a delivery of class ``kind``."""
        cut: Exception | None = None
        try:
            delivery = kind(self, attempt, reply)
            for data in attempt.pieces(reply.read):
                delivery.take(data)
        except Undecodable as error:
            raise self._undecodable(attempt, error) from None
        except (Aborted, LLMWatchError):
            raise
        except Exception as error:
            cut = error
        if cut is None:
            delivery.end()
            return
        # Outside the except block, so that an error of the provider has no foreign context.
        try:
            if not delivery.end_cut():
                raise cut
        finally:
            del cut

    # -- answers that are not a stream ---------------------------------------

    def _refuse_documents(
        self, attempt: Attempt[Any], reply: Reply, dialect: str, piece: bytes, meter: BodyMeter
    ) -> None:
        """Raise for a page or document with status 200 in place of events, which need not be waited for."""
        content_type = reply.headers.get("content-type", "")
        if not_a_stream(reply.status, content_type, piece, dialect=dialect) is None:
            return
        attempt.refuse()
        body = self._read_decoded(attempt, reply, meter, piece)
        error = not_a_stream(reply.status, content_type, body, dialect=dialect)
        assert error is not None
        raise self._scrubbed(attempt, error)

    def _decoder(self, reply: Reply, *, tolerant: bool = False) -> Decoder:
        return Decoder(
            self.dialect,
            url=self.request.url,
            content_type=reply.headers.get("content-type", ""),
            choices=choices_asked(self.request.body),
            in_pieces=pieces_asked(self.request.body),
            asks_nothing=asks_nothing(self.request.body),
            max_event=self.max_event,
            tolerant=tolerant,
        )

    def _refused(self, attempt: Attempt[Event], reply: Reply) -> ProviderError:
        status, location = reply.status, reply.location
        if location is not None or 300 <= status < 400:
            target = None if location is None else self._secrets(attempt).masked(redact.url(location))
            return ProviderError(self._redirect_message(status, target), status=status, retryable=False)
        body = self._read_decoded(attempt, reply, self._meter(reply, lenient=True))
        proxy = attempt.stats.proxy
        error = self.provider_failure(self.request.host, status, reply.headers, body, self.wall(), proxy=proxy)
        self._scrubbed(attempt, error)
        return error

    def _redirect_message(self, status: int, target: str | None) -> str:
        if target is None:
            return f"{self.request.host} answered HTTP {status}, a redirect without a usable target. Check the URL."
        return (
            f"{self.request.host} redirects this {self.request.method} (HTTP {status}) to {target},"
            " which llmwatch does not follow: the request would lose its body, or go round in circles."
            " Use the final URL directly."
        )

    @staticmethod
    def provider_failure(
        host: str, status: int, headers: Mapping[str, str], body: bytes, wall: float, *, proxy: str | None = None
    ) -> ProviderError:
        """The error for an HTTP status. It is not scrubbed: see :func:`~llmwatch.engine.scrub.scrubbed`.

        ``wall`` is the wall time, against which an HTTP date is read. ``proxy`` is the proxy that took the request as a
        server does: a 407 is then the proxy's.
        """
        answer = provider_error(status, body, headers.get("content-type", ""))
        message = f"{host} answered HTTP {status}: {redact.text(answer.message)}"
        if status == 407 and proxy is not None:
            message = (
                f"The proxy {proxy} answered HTTP 407 and handed nothing on to {host}: {redact.text(answer.message)}."
                f" Give a user and password that it takes in its URL, in {PROXY_SETTINGS}."
            )
        return ProviderError(
            message,
            status=status,
            code=answer.code,
            type=answer.type,
            retry_after=retry_after(headers, wall, status=status, body=body),
            should_retry=should_retry(headers),
            loading=status == 503 and is_loading(body),
        )


_BLANK = b"\xef\xbb\xbf\r\n"


class EventDelivery:
    """Delivers the events of one attempt's streamed answer as soon as they are complete."""

    strict = True
    """Whether a fault in the answer ends it."""

    def __init__(self, exchange: Exchange, attempt: Attempt[Any], reply: Reply) -> None:
        self._exchange = exchange
        self._attempt = attempt
        self._reply = reply
        self._decoder = exchange._decoder(reply, tolerant=not self.strict)
        self._meter = self._meter_of(reply)
        self._begun = False
        self._start = b""  # the beginning of a body that may be lines or a document
        self._size = 0
        self._tokens = 0
        self._said = False

    def _meter_of(self, reply: Reply) -> BodyMeter:
        return self._exchange._meter(reply)

    def take(self, data: bytes) -> None:
        """Take the next bytes as they are on the wire. Raises what ends the answer."""
        if self._decoder.terminal:
            return
        for piece in self._meter.feed(data):
            if piece and not self._begun:
                self._begun = not self.strict or self._refuse_documents(piece)
            self._decoded(piece)

    def _refuse_documents(self, piece: bytes) -> bool:
        """Whether the body is known not to be a document."""
        start = self._start + piece
        if self._decoder.framing is None and start.lstrip(_BLANK).startswith(b"{"):
            lines = begins_lines(start)
            if lines is not False:
                self._start = b"" if lines else start
                return lines is True
        self._start = b""
        dialect = self._decoder.dialect or self._exchange.dialect
        self._exchange._refuse_documents(self._attempt, self._reply, dialect, start, self._meter)
        return True

    def _decoded(self, piece: bytes) -> None:
        self._size += len(piece)
        events = self._decoder.feed(piece)
        self._hand_over(events, self._size)
        if events:
            # The size of an event is that of all the pieces that it came in.
            self._size = 0

    def end(self) -> None:
        """The body ended cleanly. Raises if the answer did not."""
        decoder, stats = self._decoder, self._attempt.stats
        if not decoder.terminal:
            self._require_whole()
            self._hand_over(decoder.end(), 0)
            failure = decoder.verdict_at_end()
            if failure is not None and not decoder.terminal:
                raise self._exchange._scrubbed(self._attempt, decoder.judged(failure))
        stats.end = stats.end or "eof"

    def end_cut(self) -> bool:
        """Whether a cut body holds the whole answer: its last bytes may hold the end mark, or raise an error."""
        if not self._decoder.terminal:
            self._hand_over(self._decoder.end(clean=False), 0)
        return self._decoder.settled

    def _require_whole(self) -> None:
        if not self._meter.complete:
            raise StreamCut(f"The compressed body from {self._exchange.request.host} was cut before its end.")

    def _hand_over(self, events: list[Event], size: int) -> None:
        decoder, attempt, error = self._decoder, self._attempt, self._decoder.error
        # Noted before the delivery, which may end the attempt.
        decoder.note(attempt.stats)
        if error is None and (decoder.terminal or decoder.settled):
            # With an error the answer has no end: a caller that closes before it is raised must not get a whole answer.
            self._note_end()
        if error is not None and events and events[-1].kind is Kind.ERROR:
            # The error is raised, not delivered as an event.
            last = events.pop()
            said = self._said or any_content(events)
            if said and (last.text or last.reasoning):
                # The event's own text. Without earlier content it would only keep the request from being resent.
                kind = Kind.TEXT if last.text else Kind.REASONING
                events.append(replace(last, kind=kind, tools=(), finish=False, error=None))
        if events:
            content = any_content(events)
            self._said = self._said or content
            if content and not decoder.terminal and decoder.output_tokens == self._tokens and not decoder.finishing:
                meaning = _CONTENT
            else:
                meaning = self._meaning(events, content=content, end=decoder.terminal and error is None)
            attempt.deliver(events, size, meaning, kinds=map(KIND_OF, events))
        if error is not None:
            raise self._exchange._scrubbed(attempt, decoder.judged(error))

    def _note_end(self) -> None:
        if self._decoder.terminal:
            self._attempt.stats.end = "terminal"
        if self._decoder.settled:
            self._reply.answered()

    def _meaning(
        self,
        events: list[Event],
        *,
        content: bool,
        end: bool,
        event: bool = True,
        visible: bool = False,
        unread: bool = False,
    ) -> BatchMeaning:
        decoder = self._decoder
        before, self._tokens = self._tokens, decoder.output_tokens
        # A keep-alive after a finish mark does not reset the limit; with an error there is no finish.
        finish = False
        if decoder.error is None and decoder.finishing:
            for handed in events:
                finish = finish or handed.kind is not Kind.KEEPALIVE
        return BatchMeaning(
            content=content,
            progress=self._tokens > before,
            finish=finish,
            end=end,
            terminal=decoder.settled,
            event=event,
            visible=visible,
            unread=unread,
        )


def exchanges(sender: Opener, settings: Settings, options: CallOptions) -> MakeWork:
    """An :class:`Exchange` for each attempt, over the connections of ``sender``."""
    keepalive = resolve_keepalive(settings.keepalive, os.environ)
    max_event = resolve_max_event(settings.max_event, os.environ, default=MAX_EVENT)
    max_body = resolve_max_body(settings.max_body, os.environ)

    def make(request: CallRequest, limits: EffectiveLimits) -> Work:
        exchange = Exchange(
            sender=sender,
            request=request,
            limits=limits,
            keepalive=keepalive,
            max_event=max_event,
            max_body=max_body,
            dialect=settings.dialect,
            wall=settings.clock.wall,
        )
        return Work(exchange.run_plain if options.plain else exchange.run_stream, sender.workers(request.kwargs))

    return make
