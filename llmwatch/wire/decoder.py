"""Bytes of a body in, events out.

The rules of this module:

* Events before a failure are returned; then ``error`` is set and nothing more comes out.
* What comes after an end mark is not looked at: nothing follows it, and garbage behind it changes nothing.
* What is an end is judged by all the evidence. A *finish mark* (``finish_reason`` and its like) says why the answer
  ended, and is a hint: it is believed once every choice that was asked for has one, no block is open, and content came
  before it, for as long as no content follows it. An *end mark* (``[DONE]`` and its like) says that nothing follows.
  With both the answer is whole (``settled``). With the first alone it is whole if the body ends cleanly, with the
  second alone too. With neither it is not, but for dialects that announce no end.
* An event that cannot be read is a ``MalformedEvent``; it is never skipped. No message quotes what was in it.
* Every event is parsed once. Its value stays with the event.
* A *tolerant* decoder reads along with a reader of its own mind. What is wrong with an event is the ``fault``, the
  first of them is kept, and it reads on; at ``max_event`` it gives up.

One decoder reads one attempt. No I/O, no threads, no clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from llmwatch.errors import EmptyStream, EventTooLarge, LLMWatchError, MalformedEvent, StreamTruncated
from llmwatch.wire.dialects.base import (
    END_NAMES,
    ENDS,
    KEEPALIVE_NAMES,
    Dialect,
    NotAnObject,
    UnknownShape,
    error_event,
    failure,
)
from llmwatch.wire.dialects.detect import Framing, by_event, by_url, framing_of, is_line
from llmwatch.wire.dialects.generic import FunctionFailed
from llmwatch.wire.dialects.lookup import AUTO, create, detected, is_registered
from llmwatch.wire.error_objects import broken_error, lone_error
from llmwatch.wire.event import Event, Kind
from llmwatch.wire.eventstream import FrameFramer, frame_events
from llmwatch.wire.fields import Fields
from llmwatch.wire.framing import MAX_EVENT, Framer, LineFramer
from llmwatch.wire.guess import Guess
from llmwatch.wire.news import output_tokens
from llmwatch.wire.reasons import is_failure, reason_of
from llmwatch.wire.refusal import LINE_TYPES, in_stream_error, json_document, media_type, not_a_stream
from llmwatch.wire.sniff import Sniffer
from llmwatch.wire.tool_calls import is_whole

__all__ = ["Decoder"]

_KEEPALIVE = Kind.KEEPALIVE
_LIFECYCLE = Kind.LIFECYCLE
_TERMINAL = Kind.TERMINAL
_ERROR = Kind.ERROR

# What a body without a single event is judged by.
_HEAD = 64 * 1024
_BOM = b"\xef\xbb\xbf"
# The names of fields, and comments.
_BEGINS_EVENT = tuple(bytes([byte]) for byte in b"deir:")


class Notes(Protocol):
    """Where it is noted what a decoder has seen: see :class:`Decoder`."""

    comments: int
    stray_lines: int
    pending_bytes: int
    dialect: str | None
    contradictions: int
    provider_acted: bool


def _unread(event: Event) -> None:
    """Nothing comes of it."""


class Decoder:
    """Decodes the body of one attempt.

    ``dialect`` is a name of :func:`~llmwatch.wire.names`, ``"auto"`` included; ``url`` and ``content_type``
    (the response's header) help ``auto`` to find out; ``max_event`` is the size of one event in bytes that is
    accepted; ``choices`` is how many answers the request asked for (:func:`~llmwatch.payload.choices_asked`);
    ``in_pieces`` whether it asked for pieces where its provider may restate all that was said with each event
    (:func:`~llmwatch.payload.pieces_asked`); ``asks_nothing`` whether it has no prompt, so that no answer is owed
    (:func:`~llmwatch.payload.asks_nothing`). Raises ``ConfigError`` for a dialect that is not known.

    ``events`` counts events; ``output_tokens`` is the highest count of them that the provider gave; ``error`` is the
    failure that ended the stream; ``terminal`` is true once the end mark was returned, and ``settled`` where a finish
    mark came with it or before it: then the answer is whole however its body ends. An end mark without a finish mark
    and without any content is an ``EmptyStream``.
    """

    def __init__(
        self,
        dialect: str = AUTO,
        *,
        url: str = "",
        content_type: str = "",
        max_event: int = MAX_EVENT,
        choices: int = 1,
        in_pieces: bool = False,
        asks_nothing: bool = False,
        tolerant: bool = False,
    ) -> None:
        self.events = 0
        self.fault: LLMWatchError | None = None
        self.blind = False
        self._tolerant = tolerant
        self.error: LLMWatchError | None = None
        self.output_tokens = 0
        self.terminal = False
        self.settled = False
        # What the marks are judged by. Once content came there is nothing to note until the next mark.
        self._noting = True
        self._content = False
        self._cut = False
        self._marked = False
        self._content_since_mark = False
        self._resumed = False
        self._document = False
        self._url = url
        self._content_type = content_type
        self._max_event = max_event
        self._choices = choices
        self._in_pieces = in_pieces
        self._asks_nothing = asks_nothing
        self._head = bytearray()
        self._parse: Callable[[list[Any]], list[Event]] = Fields().parse
        self._framer: Framer | LineFramer | FrameFramer = Framer(max_event)
        self._sniffer: Sniffer | None = None
        self._dialect: Dialect | None = None
        self._read: Callable[[Event], None] = self._read_first
        named = dialect if dialect != AUTO else detected(url, None)
        name = by_url(url, content_type) if named is None else named
        self._guess = Guess(self._made, named=name, url=url) if named is None else None
        if self._guess is not None:
            # What the address and the content type say is a guess: the events that show a dialect tell.
            self._dialect = self._guess.dialect
        elif name is not None:
            self._dialect = self._made(name)
            self._read = self._dialect.read
        framing = framing_of(name, content_type)
        if framing is None:
            self._sniffer = Sniffer(max_event)
        elif framing != "events":
            self._cut_into(framing)
        # What tells nothing at the start of a body that is to be of lines; None once its first byte has told.
        self._start: bytes | None = b"" if framing == "lines" else None

    def _made(self, name: str) -> Dialect:
        dialect = create(name)
        dialect.choices = self._choices
        dialect.in_pieces = self._in_pieces
        dialect.asks_nothing = self._asks_nothing
        return dialect

    def _cut_into(self, framing: Framing) -> None:
        if framing == "lines":
            self._framer, self._parse = LineFramer(self._max_event), Fields.lines
        elif framing == "frames":
            self._framer, self._parse = FrameFramer(self._max_event), frame_events

    @property
    def dialect(self) -> str | None:
        """The dialect's name; ``None`` while ``auto`` does not know it yet."""
        return self._dialect.name if self._dialect is not None else None

    @property
    def comments(self) -> int:
        """Comment lines so far."""
        return self._framer.comments

    @property
    def strays(self) -> int:
        """Lines so far that were neither a field nor a comment."""
        return self._framer.strays

    @property
    def contradictions(self) -> int:
        """Events that restated something as it was not said."""
        return 0 if self._dialect is None else self._dialect.contradictions

    def note(self, notes: Notes, *, seen: bool = True) -> None:
        """Write down what has come by now. ``seen``: an event has shown the dialect; else none is named."""
        framer, dialect = self._framer, self._dialect
        notes.comments, notes.stray_lines = framer.comments, framer.strays
        notes.pending_bytes = 0 if self.terminal or self.error is not None else (self._sniffer or framer).pending
        if dialect is None:
            notes.dialect, notes.contradictions, notes.provider_acted = None, 0, False
        else:
            notes.dialect, notes.contradictions = dialect.name if seen else None, dialect.contradictions
            notes.provider_acted = dialect.provider_acted

    @property
    def pending(self) -> int:
        """Bytes of the last event, which nothing has ended yet: at the end of the body, evidence of a cut."""
        if self.terminal or self.error is not None:
            return 0
        return (self._sniffer or self._framer).pending

    @property
    def finished(self) -> bool:
        """Whether a finish mark is believed. It can become false again."""
        return self._content and self._has_mark

    @property
    def finishing(self) -> bool:
        """Whether the answer may be taken to be over although its body stays open: a finish mark is believed, and none
        that was believed before has turned out to be early.
        """
        if self._resumed or not self._content or self._content_since_mark:
            return False
        return self._dialect is not None and self._dialect.finished

    @property
    def _has_mark(self) -> bool:
        return self._dialect is not None and self._dialect.finished and not self._content_since_mark

    @property
    def provider_acted(self) -> bool:
        """Whether an event has shown that the provider runs, or has at hand, a tool that may have side effects."""
        return self._dialect is not None and self._dialect.provider_acted

    @property
    def accepts_eof(self) -> bool:
        """Whether a clean end of the body, now, would be the end of the answer although no end mark came."""
        dialect = self._dialect
        if dialect is None or self.pending:
            return False
        if dialect.accepts_eof:
            return True
        if not dialect.has_end_mark:
            return dialect.at_rest
        # A filter may leave nothing of an answer.
        return self._has_mark and (self._content or self._cut)

    @property
    def framing(self) -> str | None:
        """How the body is cut into events: ``events``, ``lines`` or ``frames``; ``None`` while that is not known."""
        return None if self._sniffer is not None else self._framer.framing

    def give_up(self) -> None:
        """Read no further: the body is not what is read here."""
        self.blind = True
        self._sniffer, self._framer = None, Framer(self._max_event)
        # No cycle is left behind that would keep what it has read.
        self._read, self._guess = _unread, None

    def _forgiven(self) -> bool:
        """Whether reading goes on in spite of ``error``, which is then the ``fault``."""
        if not self._tolerant:
            return False
        self.fault, self.error = self.fault or self.error, None
        return True

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes of the body and return the events that they complete, in order."""
        if self.terminal or self.error is not None:
            return []
        if self.events:
            if self._head:
                self._head.clear()
        else:
            if len(self._head) < _HEAD:
                self._head += data[: _HEAD - len(self._head)]
            if self._start is not None and not self.blind:
                data = self._look_for_events(self._start, data)
        if self.blind:
            return []
        if self._sniffer is not None:
            if not self._sniffer.feed(data):
                return []
            data = self._sniffed(self._sniffer)
        blocks: list[Any] = self._framer.feed(data)
        events = self._decode(blocks) if blocks else []
        if self._framer.damaged and self.error is None and not self.terminal:
            self.error = (self._refused() if not self.events else None) or MalformedEvent(
                f"Frame {self.events + 1:,} of the stream cannot be read: {self._framer.damaged}. The provider or a "
                "proxy damaged the stream: send the request again."
            )
            if self._forgiven():
                self.give_up()
        if self._framer.overflow and self.error is None and not self.terminal:
            self.error = (self._refused() if not self.events else None) or EventTooLarge(
                f"Event {self.events + 1:,} of the stream is larger than {self._max_event:,} bytes and was not read "
                "any further, to protect the memory of this process. The endpoint sends no event stream, or an event "
                "without an end."
            )
            if self._forgiven():
                self.give_up()
        return events

    def end(self, *, clean: bool = True) -> list[Event]:
        """Say that the body ended, ``clean`` or cut short. Returns what the end completes.

        A whole end mark that carries no content, and a whole error, need no line end behind them; neither does a last
        line of JSON where the end is clean. Anything else that nothing has ended stays ``pending``: it is evidence of a
        cut. After a cut the answer is whole if it is ``settled``, and never else. A clean end can complete a call that
        no event has completed, and make text of what might have been notices: an event without data says so.
        """
        events = self._end(clean=clean)
        if clean and self.accepts_eof and not self.terminal and self.error is None:
            assert self._dialect is not None
            if closing := self._dialect.closing():
                events.append(Event("message", "", kind=Kind.TOOL_CALL, tools=closing))
            if self._guess is not None and (text := self._guess.waiting()):
                events.append(Event("message", "", kind=Kind.TEXT, text=text))
        return events

    def _end(self, *, clean: bool) -> list[Event]:
        if self.terminal or self.error is not None:
            return []
        if self._sniffer is not None:
            held = self._sniffed(self._sniffer)
            self._framer.feed(held)
        if not self._framer.pending:
            return []
        rest: list[Any] = self._framer.rest()
        lines = isinstance(self._framer, LineFramer)
        if not rest:
            if lines:
                self._framer.accept()
            return []
        if not (lines and clean and is_whole(rest[0].decode())) and not self._is_end_mark(rest):
            return []
        self._framer.accept()
        return self._decode(rest)

    def _is_end_mark(self, blocks: list[Any]) -> bool:
        """Whether it is one whole event after which nothing follows, and that carries no content."""
        dialect = None if self._dialect is None else self._dialect.copy()
        parsed = self._parse(blocks)
        if dialect is None or len(parsed) != 1:
            return False
        (event,) = parsed
        try:
            dialect.read(event)
        except (ValueError, RecursionError):
            return False
        # The mark itself carries none: what it completes came before.
        return event.kind in (_TERMINAL, _ERROR) and (event.data.strip() in ENDS or not event.has_content)

    @property
    def begun(self) -> bool:
        """Whether something is there, beside comments, that nothing has ended."""
        return self._framer.begun

    @property
    def _is_half(self) -> bool:
        """Whether what was ``begun``, in a body without events, is a part of one: its fields without data, half a JSON
        object, the data of a dialect, a frame. A line of words or of other JSON is as whole as such lines are.
        """
        framer = self._framer
        if isinstance(framer, FrameFramer):
            return framer.is_frame
        event = next(iter(self._parse(list(framer.rest()))), None)
        if event is None or not event.data.strip():
            return True
        if event.data.lstrip().startswith(("{", "[")) and self._object_of(event) is None:
            return True
        return by_event(event) not in (None, "generic")

    def verdict_at_end(self) -> LLMWatchError | None:
        """What to say of a body that ended cleanly, after :meth:`end`; ``None`` where the answer is complete.

        ``error`` where there is one; ``NotAStream`` or ``ProviderError`` where the body was no event stream at
        all; ``EmptyStream`` where it held no event; ``StreamTruncated`` where it ended in its first one, or where
        neither an end mark came nor a finish mark that is believed.
        """
        if self.error is not None or self.terminal:
            return self.error
        cut = (
            f" The last {self.pending:,} bytes are the beginning of an event that was never finished."
            if self.pending
            else ""
        )
        if not self.events:
            refusal = self._refused(ended=True)
            if refusal is not None:
                return refusal
            if self.begun and self._is_half:
                return StreamTruncated(
                    f"The body ended in the middle of its first event: nothing has ended its {self.pending:,} bytes."
                    " The provider or a proxy in between closed the connection early: send the request again."
                )
            only = f" There were {self.comments:,} comments and nothing else." if self.comments else ""
            return EmptyStream(
                f"The provider answered, and the body ended without a single event.{only}{cut} "
                "This is usually a fault of the provider or of a proxy in between: send the request again."
            )
        if self.accepts_eof:
            return None
        if self._document and self.events == 1 and not self._content:
            return json_document(200)
        return StreamTruncated(
            f"The stream ended after {self.events:,} events without a mark that says that the answer is over "
            f"(dialect {self.dialect or 'not known'}).{cut} The answer is not complete: the provider or a proxy in "
            "between closed the connection early. If this endpoint never announces an end, use dialect='generic'."
        )

    def judged(self, failure: LLMWatchError) -> LLMWatchError:
        """``failure``, which is the :meth:`verdict_at_end` or the ``error``, as it is for a reader of answers:
        ``NotAStream`` where what came was whole, said something, and is of no dialect.
        """
        guess = self._guess
        unread = isinstance(failure, (StreamTruncated, EmptyStream, MalformedEvent))
        if not unread or guess is None or not guess.foreign or self._content or self._framer.pending:
            return failure
        return guess.refusal(self.framing)

    def _look_for_events(self, start: bytes, data: bytes) -> bytes:
        """Cut a body that was to be of lines into events where it begins like those, as no JSON does. Returns what is
        to be cut next, behind the ``start``, which told nothing.
        """
        begun = start + data
        found = begun.removeprefix(_BOM).lstrip(b"\r\n")
        if not found or _BOM.startswith(begun):
            # One line end is as good as many.
            self._start = begun[: len(_BOM) + 1]
            return data
        self._start = None
        if found[:1] not in _BEGINS_EVENT:
            return data
        self._framer, self._parse = Framer(self._max_event), Fields().parse
        if self._guess is not None:
            # The content type was wrong.
            self._guess = Guess(self._made, named=by_url(self._url, "text/event-stream"), url=self._url)
            self._dialect = self._guess.dialect
        return begun

    def _sniffed(self, sniffer: Sniffer) -> bytes:
        self._sniffer = None
        if sniffer.lines():
            self._cut_into("lines")
        return sniffer.take()

    def _decode(self, blocks: list[Any]) -> list[Event]:
        # One loop without calls of its own: it runs for every event of every stream.
        events: list[Event] = []
        for event in self._parse(blocks):
            self.events += 1
            try:
                self._read(event)
            except Exception as exc:
                # A dialect raises ValueError where it means to. Whatever else comes of a shape that nobody thought of
                # is the event's fault too, and must not get out as it is.
                self._read_unreadable(event, exc)
                if self.error is not None and not self._forgiven():
                    break
            if event.cut:
                self._look_for_failure(event)
            kind = event.kind
            if kind is _LIFECYCLE or kind is _KEEPALIVE or event.event == "error":
                self._look_for_error(event)
            events.append(event)
            if event.usage is not None:
                self.output_tokens = max(self.output_tokens, output_tokens(event.usage))
            if event.finish or self._noting:
                self._note(event)
                if event.finish and self._is_over:
                    self._end_mark(event)
                    break
            kind = event.kind
            if kind is _TERMINAL:
                self._end_mark(event)
                break
            if kind is _ERROR and event.error is not None:
                failed = event.cut and is_failure(reason_of(event))
                self.error = in_stream_error(event.error, event.data, failed=failed)
                if not self._forgiven():
                    break
        return events

    def _look_for_error(self, event: Event) -> None:
        """Make an error of an event that is named so, or that holds one where no dialect has it."""
        if event.kind is _ERROR or self._dialect is None or is_registered(self._dialect.name):
            return
        if event.event == "error":
            error_event(event, self._object_of(event))
            event.text, event.reasoning, event.tools, event.finish = "", "", (), False
        elif event.event == "message" and not event.finish and event.usage is None and event.data.startswith("{"):
            event.error = lone_error(self._object_of(event))
            event.kind = event.kind if event.error is None else _ERROR

    def _look_for_failure(self, event: Event) -> None:
        """Make an error of an event that says that the answer ended because the provider failed."""
        if event.kind is _ERROR or self._dialect is None or is_registered(self._dialect.name):
            return
        reason = reason_of(event)
        if reason is not None and is_failure(reason):
            event.kind, event.error, event.tools = _ERROR, failure(reason), ()

    @staticmethod
    def _object_of(event: Event) -> object:
        try:
            return event.json()
        except (ValueError, RecursionError):
            return None

    def _note(self, event: Event) -> None:
        """Keep what the marks are judged by: whether content came before and after a finish mark."""
        if event.kind.is_content or event.text or event.reasoning or event.tools:
            self._content = True
            self._resumed = self._resumed or self._marked
            self._content_since_mark = not event.finish
        if event.finish:
            self._content_since_mark = False
            self._marked = self._content
            self._cut = self._cut or event.cut
        self._noting = self._marked or not self._content

    @property
    def _is_over(self) -> bool:
        return self._dialect is not None and self._dialect.over

    def _end_mark(self, event: Event) -> None:
        self.terminal = True
        self.settled = event.finish or self._has_mark
        if not self.settled and not self._content:
            self.error = EmptyStream(
                f"The provider said that its answer is over, and there was nothing in it: {self.events:,} events, none "
                "of them with text, reasoning or a tool call, nor with a reason why it ended. "
                "This is usually a fault of the provider or of a proxy in between: send the request again."
            )

    def _read_unreadable(self, event: Event, exc: Exception) -> None:
        if event.event in KEEPALIVE_NAMES or event.data.strip() in ("", "null"):
            event.kind = _KEEPALIVE
        elif event.event in END_NAMES and self.finished and not event.data.lstrip().startswith(("{", "[")):
            # A word of farewell. What was damaged on the way would be JSON in part.
            event.kind = Kind.LIFECYCLE
        elif event.event == "error" or broken_error(event.data) is not None or event.data.startswith("error:"):
            error_event(event)
        else:
            document = json_document(200) if self._document and self.events == 1 else None
            self.error = document or self._refused() or self._malformed(event, exc)

    def _read_first(self, event: Event) -> None:
        if isinstance(self._framer, LineFramer) and media_type(self._content_type) not in LINE_TYPES:
            # The first line of such a body may be all of it, or the first one of a document that is spread over lines.
            self._document = self.events == 1 and (event.data.strip() in ("{", "[") or not is_line(event.json()))
        guess = self._guess
        assert guess is not None
        try:
            guess.read(event, self._framer.framing)
        finally:
            self._dialect = guess.dialect
        if guess.settled and guess.dialect is not None:
            self._read, self._guess = guess.dialect.read, None

    def _refused(self, *, ended: bool = False) -> LLMWatchError | None:
        # A page or a document in place of the first event is no damaged event.
        if self.events > 1:
            return None
        return not_a_stream(200, self._content_type, bytes(self._head), dialect=self.dialect or AUTO, ended=ended)

    def _malformed(self, event: Event, exc: Exception) -> MalformedEvent:
        if isinstance(exc, json.JSONDecodeError):
            what = f"is not valid JSON (at character {exc.pos:,} of {len(event.data):,})"
        elif isinstance(exc, NotAnObject):
            what = "is JSON, but not an object"
        elif isinstance(exc, UnknownShape):
            what = "has a tool call in it that is not of its form"
        elif isinstance(exc, FunctionFailed):
            what = f"could not be read: {exc}"
        elif isinstance(exc, RecursionError):
            what = "is JSON that is nested too deeply"
        elif isinstance(exc, ValueError):
            what = "is not valid JSON"
        else:
            what = f"has a shape that cannot be read ({type(exc).__name__})"
        return MalformedEvent(
            f"Event {self.events:,} of the stream {what}. It was read as {self.dialect}: set dialect= if the endpoint "
            "speaks another one. Else the provider or a proxy damaged the stream: send the request again."
        )
