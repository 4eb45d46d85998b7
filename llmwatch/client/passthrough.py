"""A response as it is on the wire, handed over by a worker: what the doors for existing code are built on."""

from __future__ import annotations

import operator
from collections import Counter
from dataclasses import dataclass
from typing import Any

from llmwatch.client.exchange import PLAIN_ERROR_SIZE, EventDelivery, Exchange, Head
from llmwatch.client.settings import Nature
from llmwatch.transport.failures import is_before_connecting
from llmwatch.transport.sender import Reply
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.tally import Tally
from llmwatch.wire import Decoder, Event

__all__ = ["PassthroughExchange", "Piece"]

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
class PassthroughExchange(Exchange):
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
            self._run(attempt, self._read_stream, streaming=True)
        elif self.nature is Nature.PLAIN:
            self._run(attempt, self._read_plain, streaming=False)
        else:
            self._run(attempt, self._read_bytes, streaming=False, model=False)

    def _translated(self, error: Exception, tally: Tally) -> BaseException:
        # A stand-in for the network raises what its user told it to, and an adapter with connections of its own what
        # its users expect of it.
        if tally.sockets == 0 and (tally.sent != "no" or not is_before_connecting(error)):
            return error
        return Exchange._translated(self, error, tally)

    # -- no model call ------------------------------------------------------

    @staticmethod
    def _read_bytes(attempt: Attempt[Any], reply: Reply) -> None:
        head = Head(reply.response, decoded=reply.decoded)
        attempt.deliver([head], 0, content=False, event=False, visible=True)
        for data in attempt.pieces(reply.read):
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

    def _read_stream(self, attempt: Attempt[Any], reply: Reply) -> None:
        if not 200 <= reply.status < 300:
            body = self._read_refused(attempt, reply, PLAIN_ERROR_SIZE)
            attempt.deliver([Head(reply.load(body), body, reply.decoded)], 0, content=True, terminal=True)
            return
        attempt.deliver([Head(reply.response, decoded=reply.decoded)], 0, content=False, event=False)
        self._read_events(attempt, reply, ByteDelivery)


class ByteDelivery(EventDelivery):
    """Hands over the bytes of a streamed answer as they come, and reads its events along the way."""

    def __init__(self, exchange: Exchange, attempt: Attempt[Any], reply: Reply, decoder: Decoder) -> None:
        super().__init__(exchange, attempt, reply, decoder)
        self._events: list[Event] = []

    def decoded(self, piece: bytes) -> None:
        """The next bytes of the body, their content encoding undone."""
        self._events += self._decoder.feed(piece)

    def received(self, data: bytes) -> None:
        """The same as one piece of what came over the wire, once all of it was decoded."""
        events, self._events = self._events, []
        self._pass_on(data, events)

    def ended(self, *, clean: bool = True) -> None:
        """The body ended, ``clean`` or cut, and its answer by no event of its own."""
        self._pass_on(b"", self._decoder.end(clean=clean))

    def _pass_on(self, data: bytes, events: list[Event]) -> None:
        decoder, attempt = self._decoder, self._attempt
        self._note()
        if data or events:
            attempt.deliver(
                [Piece.of(data, events)],
                len(data),
                content=any(event.has_content for event in events),
                **self._marks(events, end=decoder.terminal),
                kinds=Counter(map(_KIND, events)),
                event=bool(events),
            )
        # An end mark with nothing in front of it is the reader's to judge.
        if decoder.error is not None and not decoder.terminal:
            raise self._exchange._scrubbed(attempt, decoder.error)
