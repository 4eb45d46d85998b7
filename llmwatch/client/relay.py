"""A response as it is on the wire, handed over by a worker: what the doors for existing code are built on."""

from __future__ import annotations

import operator
from collections import Counter
from dataclasses import dataclass
from typing import Any

from llmwatch.client.exchange import PLAIN_ERROR_SIZE, Exchange, Head
from llmwatch.client.settings import Nature
from llmwatch.errors import StreamCut
from llmwatch.payload import choices_asked
from llmwatch.transport.encoding import Decompressor, Undecodable, decompressor_for
from llmwatch.transport.failures import is_before_connecting
from llmwatch.transport.sender import Reply
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.tally import Tally
from llmwatch.wire import Decoder, Event

__all__ = ["Piece", "Relay"]

_KIND = operator.attrgetter("kind._value_")


class Piece(bytes):
    """Bytes of a streamed answer, and the ``text`` that they complete."""

    text = ""

    @classmethod
    def of(cls, data: bytes, events: list[Event]) -> Piece:
        """``data`` with the text of ``events``."""
        piece = cls(data)
        piece.text = "".join(event.text for event in events)
        return piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay(Exchange):
    """One request and its response, of whatever ``nature``. ``findable``: whether its sockets will be found.

    Its attempt hands over a :class:`Head` and then the undecoded bytes of the body. A streamed answer is read along:
    its events move the clocks, nothing of it is visible before its first content, and what is wrong with it is raised
    after the bytes that came before.
    """

    nature: Nature
    findable: bool = True

    def run(self, attempt: Attempt[Any]) -> None:
        """The work of one attempt."""
        attempt.tally.opaque = not self.findable
        # A model has its prompt in no time. An upload takes as long as it takes, as long as it goes on.
        attempt.unhurried = self.nature is Nature.OTHER
        if self.nature is Nature.STREAM:
            self._run(attempt, self._relay_events, streaming=True)
        elif self.nature is Nature.PLAIN:
            self._run(attempt, self._read_plain, streaming=False)
        else:
            self._run(attempt, self._relay_bytes, streaming=False, model=False)

    def _translated(self, error: Exception, tally: Tally) -> BaseException:
        # A stand-in for the network raises what its user told it to, and an adapter with connections of its own what
        # its users expect of it.
        if tally.sockets == 0 and (tally.sent != "no" or not is_before_connecting(error)):
            return error
        return Exchange._translated(self, error, tally)

    # -- no model call ------------------------------------------------------

    @staticmethod
    def _relay_bytes(attempt: Attempt[Any], reply: Reply) -> None:
        head = Head(reply.response, decoded=reply.decoded)
        attempt.deliver([head], 0, content=False, event=False, visible=True)
        while True:
            data = reply.read()
            attempt.received(len(data))
            if not data:
                return
            # A reader that knows the length may be through, and away, before another read has shown the end.
            attempt.deliver([data], len(data), content=False, terminal=reply.over, event=False, visible=True)

    # -- a plain answer -----------------------------------------------------

    def _read_plain(self, attempt: Attempt[Any], reply: Reply) -> None:
        if reply.refused:
            Exchange._read_plain(self, attempt, reply)
            return
        body = self._read_all(attempt, reply)
        self._require_whole(reply, body)
        # Not decoded here: whoever reads it does that.
        attempt.deliver([Head(reply.response, body, reply.decoded)], 0, content=True, terminal=True)

    # -- a streamed answer --------------------------------------------------

    def _relay_events(self, attempt: Attempt[Any], reply: Reply) -> None:
        if not 200 <= reply.status < 300:
            body = self._read_refused(attempt, reply, PLAIN_ERROR_SIZE)
            attempt.deliver([Head(reply.load(body), body, reply.decoded)], 0, content=True, terminal=True)
            return
        content_type = reply.headers.get("content-type", "")
        attempt.deliver([Head(reply.response, decoded=reply.decoded)], 0, content=False, event=False)
        decoder = Decoder(
            self.dialect, url=self.request.url, content_type=content_type, choices=choices_asked(self.request.body)
        )
        try:
            decompressor = decompressor_for(reply.encoding)
            self._relay_body(attempt, reply, decoder, decompressor)
        except Undecodable as error:
            raise self._undecodable(attempt, error) from None

    def _relay_body(self, attempt: Attempt[Any], reply: Reply, decoder: Decoder, decompressor: Decompressor) -> None:
        first = True
        while True:
            data = reply.read()
            attempt.received(len(data))
            if not data:
                break
            if decoder.terminal:
                attempt.reading()
                continue
            events: list[Event] = []
            for piece in decompressor.feed(data):
                if first and piece:
                    first = False
                    self._refuse_documents(attempt, reply, decoder, piece, decompressor)
                events += decoder.feed(piece)
            self._relay_piece(attempt, reply, decoder, data, events)
        if decoder.terminal:
            return
        if not decompressor.complete:
            raise StreamCut(f"The compressed body from {self.request.host} was cut before its end.")
        self._relay_piece(attempt, reply, decoder, b"", decoder.end())
        error = decoder.verdict_at_end()
        if error is not None:
            raise self._scrubbed(attempt, error)

    def _relay_piece(
        self, attempt: Attempt[Any], reply: Reply, decoder: Decoder, data: bytes, events: list[Event]
    ) -> None:
        tally, error = attempt.tally, decoder.error
        tally.comments, tally.dialect = decoder.comments, decoder.dialect
        tally.provider_acted = decoder.provider_acted
        tally.pending_bytes = 0 if error is not None else decoder.pending
        if decoder.terminal:
            reply.answered()
        if data or events:
            attempt.deliver(
                [Piece.of(data, events)],
                len(data),
                content=any(event.has_content for event in events),
                finish=decoder.finished,
                terminal=decoder.terminal,
                kinds=Counter(map(_KIND, events)),
                event=bool(events),
            )
        if error is not None:
            raise self._scrubbed(attempt, error)
