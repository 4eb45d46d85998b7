"""Delivering a response as it is on the wire, strictly or not, for existing code."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

from llmwatch.engine.call import MakeWork, Work
from llmwatch.engine.exchange import KIND_OF, EventDelivery, Exchange, Head
from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import CallOptions, RequestKind, Settings
from llmwatch.errors import (
    EmptyStream,
    EventTooLarge,
    LLMWatchError,
    MalformedEvent,
    NotAStream,
    ProviderError,
    StreamTruncated,
)
from llmwatch.policy import EffectiveLimits, resolve_keepalive, resolve_max_body, resolve_max_event
from llmwatch.transport.encoding import BodyMeter, Identity, Undecodable, Unread
from llmwatch.transport.errors import is_before_connecting
from llmwatch.transport.prepared import PreparedSender
from llmwatch.transport.sender import Reply
from llmwatch.watch.attempt import WHOLE, Attempt, BatchMeaning
from llmwatch.watch.stats import AttemptStats
from llmwatch.wire import MAX_EVENT, Event, Kind, Recognition, any_content, beginning, end_of_events, media_type

__all__ = ["PassthroughExchange", "Piece", "passthroughs"]

_DOCUMENTS = ("application/json",)
_NO_EVENT = BatchMeaning(content=False, event=False)
_BYTES = BatchMeaning(content=False, event=False, visible=True)
_LAST_BYTES = BatchMeaning(content=False, event=False, visible=True, terminal=True)


class Piece(bytes):
    """Bytes of a streamed answer, with the ``text`` of the events that they complete."""

    text = ""

    @classmethod
    def of(cls, data: bytes, events: list[Event]) -> Piece:
        """``data`` with the text of ``events``."""
        piece = cls(data)
        piece.text = "".join(event.text for event in events)
        return piece


@dataclass(frozen=True, slots=True, kw_only=True)
class PassthroughExchange(Exchange):
    """One request of any ``request_kind`` and its response.

    The attempt delivers a :class:`Head` and then the undecoded bytes of the body. A streamed answer is read along: its
    events move the limits, and nothing of it is visible before its first content, or before bytes that no dialect
    reads. A fault in an event is noted; ``strict``: it is raised after the bytes before it. ``redirected``: the request
    was a model call before a redirect; its answer has a model's bounds. ``whole``: nothing is delivered before the end.
    ``documents_whole``: the same for a document in a plain call. ``findable``: whether its sockets can be found.
    """

    request_kind: RequestKind
    findable: bool = True
    strict: bool = False
    redirected: bool = False
    whole: bool = False
    documents_whole: bool = False
    runs_hooks = False

    def run(self, attempt: Attempt[Any]) -> None:
        """The work of one attempt."""
        attempt.stats.opaque = not self.findable
        # The prompt of a model call is sent at once. An upload may take as long as it progresses.
        attempt.unhurried = self.request_kind is RequestKind.OTHER
        if self.request_kind is RequestKind.STREAM:
            self._run(attempt, self._read_stream, streaming=True)
        elif self.request_kind is RequestKind.PLAIN:
            self._run(attempt, self._read_plain, streaming=False)
        else:
            self._run(attempt, self._read_bytes, streaming=False, model=False)

    def _translated(self, error: Exception, stats: AttemptStats) -> BaseException:
        # A stand-in for the network raises what its user programmed, and an adapter with connections of its own what
        # its users expect.
        if stats.sockets == 0 and (stats.sent != "no" or not is_before_connecting(error)):
            return error
        return Exchange._translated(self, error, stats)

    # -- other requests than model calls ------------------------------------

    def _read_bytes(self, attempt: Attempt[Any], reply: Reply) -> None:
        if reply.forced or (self.redirected and reply.refused):
            # Most likely another attempt follows.
            body = self._read_refused(attempt, reply, counted=self.redirected)
            whole = Head(reply.load(body, self._most_of_error, cut=True), body, reply.decoded or not body)
            attempt.deliver([whole], 0, _LAST_BYTES)
            return
        head = Head(reply.response, decoded=reply.decoded)
        attempt.deliver([head], 0, _BYTES)
        meter = self._meter(reply, lenient=True)
        for data in attempt.pieces(reply.read):
            if self.redirected:
                meter.count(data)
            # A reader that knows the length may leave before another read shows the end.
            attempt.deliver([data], len(data), _LAST_BYTES if reply.over else _BYTES)

    # -- a plain answer -----------------------------------------------------

    def _read_plain(self, attempt: Attempt[Any], reply: Reply) -> None:
        if reply.refused:
            Exchange._read_plain(self, attempt, reply)
        elif self.whole or (self.documents_whole and media_type(reply.headers.get("content-type", "")) in _DOCUMENTS):
            body = self._read_all(attempt, reply)
            # Not decoded here: the reader decodes it.
            attempt.deliver([Head(reply.response, body, reply.decoded)], 0, WHOLE)
        else:
            self._read_pieces(attempt, reply)

    # -- a streamed answer --------------------------------------------------

    def _read_stream(self, attempt: Attempt[Any], reply: Reply) -> None:
        if 200 <= reply.status < 300:
            self._read_pieces(attempt, reply)
            return
        body = self._read_refused(attempt, reply)
        response = reply.load(body, self._most_of_error, cut=True)
        attempt.deliver([Head(response, body, reply.decoded or not body)], 0, WHOLE)

    def _read_pieces(self, attempt: Attempt[Any], reply: Reply) -> None:
        attempt.deliver([Head(reply.response, decoded=reply.decoded)], 0, _NO_EVENT)
        self._read_events(attempt, reply, StrictDelivery if self.strict else ByteDelivery)


class ByteDelivery(EventDelivery):
    """Delivers the bytes of a streamed answer as they come, and reads its events along the way.

    It judges an answer only if it has recognised the dialect. Its reader learns everything else from the bytes.
    """

    strict = False
    _exchange: PassthroughExchange

    def __init__(self, exchange: PassthroughExchange, attempt: Attempt[Any], reply: Reply) -> None:
        super().__init__(exchange, attempt, reply)
        content_type = reply.headers.get("content-type", "")
        self._recognition = Recognition(exchange.dialect, framing=self._decoder.framing, content_type=content_type)
        self._events: list[Event] = []
        self._whole = False
        if self._meter.unread:
            self._decoder.give_up()

    def _meter_of(self, reply: Reply) -> BodyMeter:
        # The reader has asked for any encoding that is unknown here.
        return self._exchange._meter(reply, lenient=not self.strict)

    def take(self, data: bytes) -> None:
        """Take the next bytes as they are on the wire. Raises what ends the answer."""
        if self._decoder.terminal:
            # After the end mark nothing is read here, but the reader may decode it: it is counted.
            self._meter.count(data)
        if self._whole:
            self._attempt.trail(Piece(data), len(data))
            return
        try:
            super().take(data)
        except Undecodable as error:
            if self.strict:
                raise
            self._note_fault(self._exchange._undecodable(self._attempt, error))
            self._meter.decompressor = Unread()
            self._decoder.give_up()
        events, self._events = self._events, []
        self._pass_on(data, events)

    def _decoded(self, piece: bytes) -> None:
        decoder, recognition = self._decoder, self._recognition
        if not recognition.seen:
            recognition.look_at(piece)
            if recognition.hopeless and not decoder.blind:
                decoder.give_up()
        events = decoder.feed(piece)
        if isinstance(decoder.error, EventTooLarge):
            decoder.fault, decoder.error = decoder.error, None
            decoder.give_up()
        if not recognition.seen:
            recognition.read(events, decoder.dialect)
        self._events += events

    def end(self) -> None:
        """The body ended cleanly. Raises if the answer, of a recognised dialect, did not."""
        if self._whole:
            return
        decoder, recognition, stats = self._decoder, self._recognition, self._attempt.stats
        self._require_whole()
        if not decoder.terminal and not self._meter.unread:
            self._pass_on_last(decoder.end())
            failure = decoder.verdict_at_end()
            if failure is not None and not decoder.terminal:
                self._judge(failure)
        if not recognition.seen:
            stats.unread = decoder.blind or recognition.foreign or isinstance(stats.fault, (NotAStream, ProviderError))
        stats.end = stats.end or "eof"

    def end_cut(self) -> bool:
        """The body was cut. Whether the answer is whole all the same."""
        if not self._whole and not self._decoder.terminal:
            self._pass_on_last(self._decoder.end(clean=False))
        return self._whole

    def _pass_on_last(self, events: list[Event]) -> None:
        """Pass on events whose bytes are delivered already."""
        if not self._recognition.seen:
            self._recognition.read(events, self._decoder.dialect)
        self._pass_on(b"", events)

    def _judge(self, failure: LLMWatchError) -> None:
        """Judge the end of the body: ``failure`` is what it means to a reader that gets no bytes."""
        decoder, recognition = self._decoder, self._recognition
        if isinstance(failure, StreamTruncated):
            # After an error the provider sends nothing else.
            begun = recognition.seen or not (decoder.events or recognition.foreign)
            ends = begun and not decoder.blind and not isinstance(decoder.fault, ProviderError)
            ends = ends and (self.strict or not self._is_document())
        elif isinstance(failure, EmptyStream) and decoder.begun and not self.strict:
            # A last line without a blank line after it: an unknown protocol looks like this throughout.
            recognition.foreign = True
            return
        else:
            ends = self.strict
        if ends:
            raise self._exchange._scrubbed(self._attempt, failure)
        if recognition.seen or (
            self._exchange.request_kind is RequestKind.STREAM and not isinstance(failure, StreamTruncated)
        ):
            self._note_fault(failure)

    def _is_document(self) -> bool:
        """Whether the body is one JSON document with the fields of a dialect without lines: a whole answer."""
        decoder = self._decoder
        return decoder.events == 1 and decoder.framing == "lines" and self._recognition.document

    def _note_fault(self, fault: LLMWatchError) -> None:
        stats = self._attempt.stats
        if stats.fault is None:
            stats.fault = self._exchange._scrubbed(self._attempt, fault)

    def _pass_on(self, data: bytes, events: list[Event]) -> None:
        decoder, recognition, attempt = self._decoder, self._recognition, self._attempt
        seen, stats = recognition.seen, attempt.stats
        # Noted before the delivery, which may end the attempt.
        decoder.note(stats, seen=seen)
        stats.unread = not seen and (recognition.foreign or decoder.blind)
        # An end mark without anything before it is a fault that the reader judges too.
        fault = decoder.fault or (decoder.error if decoder.terminal else None)
        if fault is not None and (seen or not isinstance(fault, MalformedEvent)):
            # Without a dialect, an event that is not JSON is not damaged.
            self._note_fault(fault)
        self._whole = seen and decoder.settled
        if seen:
            self._note_end()
        event = bool(events)
        visible = recognition.foreign or decoder.blind or stats.fault is not None
        unread = decoder.blind or (recognition.foreign and not seen)
        if seen:
            content, end = any_content(events), decoder.terminal
            meaning = self._meaning(events, content=content, end=end, event=event, visible=visible, unread=unread)
        else:
            meaning = BatchMeaning(content=False, event=event, visible=visible, unread=unread)
        if data or events:
            kinds = map(KIND_OF, events) if seen else ()
            attempt.deliver([Piece.of(data, events)], len(data), meaning, kinds=kinds)
        if decoder.error is not None and not decoder.terminal:
            raise self._exchange._scrubbed(attempt, decoder.error)


class StrictDelivery(ByteDelivery):
    """For a reader that would lose a faulty answer, or take it for a whole one.

    Such a reader stops at any end mark. So the bytes that came with a faulty event are delivered only up to that event,
    and an end mark that is not conclusive by itself waits for the end of the body.
    """

    strict = True

    def __init__(self, exchange: PassthroughExchange, attempt: Attempt[Any], reply: Reply) -> None:
        super().__init__(exchange, attempt, reply)
        self._begun_event = b""
        self._waiting = b""

    def end(self) -> None:
        super().end()
        if self._waiting:
            self._attempt.deliver([Piece(self._waiting)], len(self._waiting), _NO_EVENT)

    def _pass_on(self, data: bytes, events: list[Event]) -> None:
        decoder = self._decoder
        if self._waiting:
            self._waiting += data
            return
        if decoder.terminal and decoder.error is not None:
            # An end mark without anything before it.
            self._attempt.stats.dialect = decoder.dialect
            raise self._exchange._scrubbed(self._attempt, decoder.error)
        good = len(events)
        if events and (events[-1].kind is Kind.ERROR or (decoder.terminal and not decoder.settled)):
            good -= 1
        if (good < len(events) or decoder.error is not None) and self._readable:
            place = end_of_events(data, good, begun=self._begun_event)
            if decoder.terminal:
                self._waiting = data[place:]
            data = data[:place]
        self._begun_event = beginning(self._begun_event + data) if decoder.pending else b""
        super()._pass_on(data, events)

    @property
    def _readable(self) -> bool:
        return self._decoder.framing == "events" and isinstance(self._meter.decompressor, Identity)


def passthroughs(sender: PreparedSender, settings: Settings, options: CallOptions) -> MakeWork:
    """A :class:`PassthroughExchange` for each attempt, over the connections of ``sender``."""
    keepalive = resolve_keepalive(settings.keepalive, os.environ)
    max_event = resolve_max_event(settings.max_event, os.environ, default=MAX_EVENT)
    max_body = resolve_max_body(settings.max_body, os.environ)

    def make(request: CallRequest, limits: EffectiveLimits) -> Work:
        exchange = PassthroughExchange(
            sender=sender,
            request=request,
            limits=limits,
            keepalive=keepalive,
            max_event=max_event,
            # Only the answer of a model call is bounded.
            max_body=sys.maxsize if options.request_kind is RequestKind.OTHER and not options.redirected else max_body,
            dialect=settings.dialect,
            wall=settings.clock.wall,
            request_kind=options.request_kind,
            findable=sender.findable,
            strict=options.strict,
            redirected=options.redirected,
            whole=options.whole,
            documents_whole=options.documents_whole,
            trust_advice=sender.trust_advice,
        )
        return Work(exchange.run, sender.workers(request.kwargs))

    return make
