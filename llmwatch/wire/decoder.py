"""Decoding a body: bytes in, events out.

The rules of this module:

* Events before a failure are returned; then ``error`` is set, and no more events are returned.
* Bytes after an end mark are ignored.
* All the evidence decides whether an answer is complete. A *finish mark* (such as ``finish_reason``) gives the reason
  of the end and is a hint. A finish mark is believed once every requested choice has one, no block is open, and content
  came before, as long as no content follows. An *end mark* (such as ``[DONE]``) says that nothing follows. With both
  marks the answer is complete (``settled``). With one of the two, the answer is complete if the body ends cleanly. With
  neither, the answer is incomplete, except in dialects without end marks.
* An unreadable event is a ``MalformedEvent`` and is never skipped. Messages do not quote the event.
* Every event is parsed once, and keeps the parsed value.
* A *tolerant* decoder serves a caller who passes the bytes on to another parser. The decoder keeps the first error as
  ``fault`` and continues; at a damaged frame and above ``max_event`` it stops.

One decoder reads one attempt. No I/O, no threads, no clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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
from llmwatch.wire.dialects.detect import (
    AUTO,
    Framing,
    Guess,
    by_event,
    by_url,
    create,
    detected,
    framing_of,
    is_line,
    is_registered,
)
from llmwatch.wire.dialects.generic import FunctionFailed
from llmwatch.wire.error_objects import broken_error, lone_error
from llmwatch.wire.event import Event, Fields, Kind
from llmwatch.wire.eventstream import FrameFramer, frame_events
from llmwatch.wire.framing import MAX_EVENT, Framer, LineFramer
from llmwatch.wire.news import output_tokens
from llmwatch.wire.reasons import is_failure, reason_of
from llmwatch.wire.refusal import LINE_TYPES, in_stream_error, json_document, media_type, not_a_stream
from llmwatch.wire.sniff import Sniffer
from llmwatch.wire.tool_calls import is_whole
from llmwatch.wire.usage import merged

__all__ = ["Decoder"]

_KEEPALIVE = Kind.KEEPALIVE
_LIFECYCLE = Kind.LIFECYCLE
_TERMINAL = Kind.TERMINAL
_ERROR = Kind.ERROR

# Bytes kept to classify a body without any event.
_HEAD = 64 * 1024
_BOM = b"\xef\xbb\xbf"
# First bytes of the fields of an event, and of comments.
_BEGINS_EVENT = tuple(bytes([byte]) for byte in b"deir:")


class Notes(Protocol):
    """The fields that :meth:`Decoder.note` fills in."""

    comments: int
    stray_lines: int
    pending_bytes: int
    dialect: str | None
    contradictions: int
    provider_acted: bool
    content_bytes: int
    usage: Mapping[str, Any] | None


def _unread(event: Event) -> None:
    """Ignore the event."""


class Decoder:
    """Decodes the body of one attempt. Raises ``ConfigError`` for an unknown dialect.

    * ``dialect``: a name of :func:`~llmwatch.wire.names`, or ``"auto"``; ``url`` and ``content_type`` (the response's
      header) help ``"auto"``.
    * ``max_event``: maximum size of one event, in bytes.
    * ``choices``: number of answers that the request asked for (:func:`~llmwatch.payload.choices_asked`).
    * ``in_pieces``: whether the request asked a provider that may restate the whole answer in each event for pieces
      (:func:`~llmwatch.payload.pieces_asked`).
    * ``asks_nothing``: whether the request has no prompt, so that no answer is due
      (:func:`~llmwatch.payload.asks_nothing`).

    ``events`` counts events. ``output_tokens`` is the highest count of output tokens that the provider gave, ``usage``
    its counts. ``content_bytes`` is the size of text, reasoning and tool arguments so far, in UTF-8. ``error`` is the
    failure that ended the stream. ``terminal`` is true once the end mark was returned. ``settled`` is true if a finish
    mark came with or before the end mark: the answer is then complete however the body ends. An end mark without a
    finish mark and without content is an ``EmptyStream``.
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
        self.content_bytes = 0
        self.usage: Mapping[str, Any] | None = None
        self.terminal = False
        self.settled = False
        # The evidence for the marks. Once content came, _note is not needed until the next mark.
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
            # The URL and the content type are a guess; the events decide.
            self._dialect = self._guess.dialect
        elif name is not None:
            self._dialect = self._made(name)
            self._read = self._dialect.read
        framing = framing_of(name, content_type)
        if framing is None:
            self._sniffer = Sniffer(max_event)
        elif framing != "events":
            self._cut_into(framing)
        # Leading line ends of a body that is expected to be JSON lines; None once its first other byte has come.
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
        """The dialect's name; ``None`` while ``"auto"`` has not found it."""
        return self._dialect.name if self._dialect is not None else None

    @property
    def comments(self) -> int:
        """Number of comment lines so far."""
        return self._framer.comments

    @property
    def strays(self) -> int:
        """Number of lines so far that were neither a field nor a comment."""
        return self._framer.strays

    @property
    def contradictions(self) -> int:
        """Number of events that restated a part of the answer differently."""
        return 0 if self._dialect is None else self._dialect.contradictions

    def note(self, notes: Notes, *, seen: bool = True) -> None:
        """Write the counts so far into ``notes``, and the dialect if ``seen``: an event has shown it."""
        framer, dialect = self._framer, self._dialect
        notes.comments, notes.stray_lines = framer.comments, framer.strays
        notes.content_bytes, notes.usage = self.content_bytes, self.usage
        notes.pending_bytes = 0 if self.terminal or self.error is not None else (self._sniffer or framer).pending
        if dialect is None:
            notes.dialect, notes.contradictions, notes.provider_acted = None, 0, False
        else:
            notes.dialect, notes.contradictions = dialect.name if seen else None, dialect.contradictions
            notes.provider_acted = dialect.provider_acted

    @property
    def pending(self) -> int:
        """Bytes of the unfinished last event: at the end of the body, evidence of a cut."""
        if self.terminal or self.error is not None:
            return 0
        return (self._sniffer or self._framer).pending

    @property
    def finished(self) -> bool:
        """Whether a finish mark is believed. Can become false again when content follows."""
        return self._content and self._has_mark

    @property
    def finishing(self) -> bool:
        """Whether the answer may be considered over while the body is open.

        True if a finish mark is believed, and no believed finish mark has turned out to be early.
        """
        if self._resumed or not self._content or self._content_since_mark:
            return False
        return self._dialect is not None and self._dialect.finished

    @property
    def _has_mark(self) -> bool:
        return self._dialect is not None and self._dialect.finished and not self._content_since_mark

    @property
    def provider_acted(self) -> bool:
        """Whether an event has shown that the provider runs or offers a tool that may have side effects."""
        return self._dialect is not None and self._dialect.provider_acted

    @property
    def accepts_eof(self) -> bool:
        """Whether a clean end of the body now would complete the answer without an end mark."""
        dialect = self._dialect
        if dialect is None or self.pending:
            return False
        if dialect.accepts_eof:
            return True
        if not dialect.has_end_mark:
            return dialect.at_rest
        # A filter may remove all the content.
        return self._has_mark and (self._content or self._cut)

    @property
    def framing(self) -> str | None:
        """The body's framing: ``events``, ``lines`` or ``frames``; ``None`` while unknown."""
        return None if self._sniffer is not None else self._framer.framing

    def give_up(self) -> None:
        """Stop reading, because this decoder cannot read the body."""
        self.blind = True
        self._sniffer, self._framer = None, Framer(self._max_event)
        # Breaks the reference cycle, which would keep the decoded events alive.
        self._read, self._guess = _unread, None

    def _forgiven(self) -> bool:
        """Whether the decoder is tolerant and continues; the first ``error`` then becomes ``fault``."""
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
        """Take the end of the body, ``clean`` or cut short, and return the events that the end completes.

        An unterminated last event counts if it is a complete end mark without content or a complete error, or, after a
        clean end, a complete JSON line. Anything else unterminated stays ``pending``, as evidence of a cut. After a cut
        the answer is complete only if it is ``settled``. A clean end can complete a tool call that no event completed,
        and can turn held-back notices into text; an event without data carries either.
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
        """Whether ``blocks`` is one complete event that ends the stream and carries no content."""
        dialect = None if self._dialect is None else self._dialect.copy()
        parsed = self._parse(blocks)
        if dialect is None or len(parsed) != 1:
            return False
        (event,) = parsed
        try:
            dialect.read(event)
        except (ValueError, RecursionError):
            return False
        # The data of an end mark is not content; the calls that the mark completes came before.
        return event.kind in (_TERMINAL, _ERROR) and (event.data.strip() in ENDS or not event.has_content)

    @property
    def begun(self) -> bool:
        """Whether an unterminated rest other than comments is pending."""
        return self._framer.begun

    @property
    def _is_half(self) -> bool:
        """Whether the pending rest of a body without events is part of an event.

        Parts of an event are fields without data, half a JSON object, data of a dialect, or a part of a frame. A line
        of words or of other JSON counts as complete.
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
        """The error of a body that ended cleanly, after :meth:`end`; ``None`` if the answer is complete.

        ``error`` if set; ``NotAStream`` or ``ProviderError`` if the body was not an event stream; ``EmptyStream`` if
        the body held no event; ``StreamTruncated`` if the body ended within the first event, or without an end mark and
        a believed finish mark.
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
        """``failure``, or ``NotAStream`` if the body was complete, held text, and belongs to no dialect.

        ``failure`` is the :meth:`verdict_at_end` or the ``error``.
        """
        guess = self._guess
        unread = isinstance(failure, (StreamTruncated, EmptyStream, MalformedEvent))
        if not unread or guess is None or not guess.foreign or self._content or self._framer.pending:
            return failure
        return guess.refusal(self.framing)

    def _look_for_events(self, start: bytes, data: bytes) -> bytes:
        """Switch from JSON lines to events if the body begins like those. Return the bytes to frame.

        ``start`` holds the leading line ends so far, which decide nothing. No JSON begins like an event.
        """
        begun = start + data
        found = begun.removeprefix(_BOM).lstrip(b"\r\n")
        if not found or _BOM.startswith(begun):
            # A byte order mark and one line end are enough to keep.
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
        # One loop with few calls: it runs for every event of every stream.
        events: list[Event] = []
        for event in self._parse(blocks):
            self.events += 1
            try:
                self._read(event)
            except Exception as exc:
                # A dialect raises ValueError on purpose. Any other exception comes from an unexpected shape of the
                # event and must not reach the caller as it is.
                self._read_unreadable(event, exc)
                if self.error is not None and not self._forgiven():
                    break
            if event.cut:
                self._look_for_failure(event)
            kind = event.kind
            if kind is _LIFECYCLE or kind is _KEEPALIVE or event.event == "error":
                self._look_for_error(event)
            events.append(event)
            said = event.text + event.reasoning
            if event.tools:
                said += "".join([piece.arguments for piece in event.tools])
            if said:
                self.content_bytes += len(said) if said.isascii() else len(said.encode("utf-8", "surrogatepass"))
            if event.usage is not None:
                self.output_tokens = max(self.output_tokens, output_tokens(event.usage))
                self.usage = event.usage if self.usage is None else merged(self.usage, event.usage)
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
        """Turn the event into an error if it is named so, or holds an error outside the dialect's fields."""
        if event.kind is _ERROR or self._dialect is None or is_registered(self._dialect.name):
            return
        if event.event == "error":
            error_event(event, self._object_of(event))
            event.text, event.reasoning, event.tools, event.finish = "", "", (), False
        elif event.event == "message" and not event.finish and event.usage is None and event.data.startswith("{"):
            event.error = lone_error(self._object_of(event))
            event.kind = event.kind if event.error is None else _ERROR

    def _look_for_failure(self, event: Event) -> None:
        """Turn the event into an error if its reason says that the provider failed."""
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
        """Note whether content came before and after a finish mark."""
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
            # A closing word of plain text. A damaged event would be JSON in part.
            event.kind = Kind.LIFECYCLE
        elif event.event == "error" or broken_error(event.data) is not None or event.data.startswith("error:"):
            error_event(event)
        else:
            document = json_document(200) if self._document and self.events == 1 else None
            self.error = document or self._refused() or self._malformed(event, exc)

    def _read_first(self, event: Event) -> None:
        if isinstance(self._framer, LineFramer) and media_type(self._content_type) not in LINE_TYPES:
            # The first line of such a body may be the whole document, or the first line of one.
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
        # A page or a document in place of the first event is not a damaged event.
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
