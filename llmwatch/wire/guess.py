"""Detecting the dialect from the first events of a stream.

The rules of this module:

* The URL and the content type suggest a dialect. The first event of that dialect settles it.
* An event of another dialect settles that dialect once the event carries content or ends an answer. Before that, the
  event is read in the dialect that it looks like, and later events decide: gateways send notices of many shapes before
  an answer.
* An event of no dialect settles nothing. If no dialect is suggested, the event is text. A notice (only names and
  states) is held back: it becomes text once text follows or the body ends, and is dropped once a dialect is found.

One guess reads the beginning of one attempt. No I/O, no threads, no clock.
"""

from __future__ import annotations

from collections.abc import Callable

from llmwatch.errors import NotAStream
from llmwatch.wire.dialects.base import ENDS, Dialect
from llmwatch.wire.dialects.detect import by_event, by_frame
from llmwatch.wire.dialects.lookup import AUTO, detected
from llmwatch.wire.error_objects import error_in
from llmwatch.wire.event import Event, Kind
from llmwatch.wire.news import is_notice

__all__ = ["Guess"]

_GENERIC = "generic"
# Events of no dialect after which detection stops, and the maximum number of notices held back.
_MOST_EVENTS = 16
_MOST_NOTICES = 8
# Pairs of dialects: an event that looks like the second is also an event of the first.
_ALIKE = frozenset((("snowflake", "openai-chat"), ("cortex-agent", "openai-responses")))


class Guess:
    """Reads events until their dialect is ``settled``.

    ``named`` is the dialect that the URL or the content type suggests; ``make`` makes a dialect by its name.
    ``dialect`` is the present assumption. ``foreign``: an event with text of no dialect came, and no event of any
    dialect.
    """

    __slots__ = ("_events", "_make", "_named", "_notices", "_said", "_seen", "_tried", "_url", "dialect", "settled")

    def __init__(self, make: Callable[[str], Dialect], *, named: str | None, url: str) -> None:
        self.settled = False
        self.dialect = None if named is None else make(named)
        self._make = make
        self._named = named
        self._url = url
        self._tried: dict[str, Dialect] = {} if self.dialect is None else {self.dialect.name: self.dialect}
        self._seen = False
        self._said = False  # an event of no dialect had text
        self._events = 0
        self._notices: list[str] = []

    @property
    def foreign(self) -> bool:
        return self._said and not (self._seen or self.settled)

    def refusal(self, framing: str | None) -> NotAStream:
        """The error of a body of ``foreign`` events."""
        name = self._named or AUTO
        if framing == "lines":
            what, use = "JSON lines", ""
        else:
            what, use = "events", ", dialect='generic' to take the data of each as text, or a dialect of your own"
        return NotAStream(
            f"The endpoint answered with {what} that no dialect reads, and with none of the dialect that was expected "
            f"({name}). Use llmwatch.Session with stream=True to read its bytes as they come{use}; check the URL if "
            "something else was to answer.",
            retryable=False,
        )

    def waiting(self) -> str:
        """Take the text of the held-back notices, which counts as text at the end of the body."""
        text = "".join(self._notices)
        self._notices.clear()
        return text

    def read(self, event: Event, framing: str) -> None:
        """Fill in the meaning of the event. Raises the exceptions of dialects."""
        name, certain = self._shown_by(event, framing)
        if name == _GENERIC and not certain and self.dialect is None:
            self.dialect = self._make(_GENERIC)
        base = self.dialect
        if certain and name is not None:
            self._settle(name).read(event)
        elif base is not None and (name in (None, _GENERIC) or not self._is_of(name, event, base)):
            self._read_as(base, event, foreign=name == _GENERIC)
        elif name is None:
            event.kind = Kind.KEEPALIVE
        else:
            self._try(name, event)

    def _shown_by(self, event: Event, framing: str) -> tuple[str | None, bool]:
        """The dialect that the event looks like, and whether this settles the dialect."""
        open_to_all = self._named is None and (self.dialect is None or self.dialect.name == _GENERIC)
        if open_to_all and (found := detected(self._url, event)) is not None:
            return found, True
        if framing == "frames":
            return by_frame(event), True
        name = by_event(event)
        if self.dialect is not None and event.data.strip() in ENDS:
            # Proxies append [DONE] to any dialect.
            return None, False
        if name == _GENERIC and framing == "lines" and self.dialect is None:
            return "ndjson", True
        return name, name is not None and name == self._named

    def _is_of(self, name: str | None, event: Event, base: Dialect) -> bool:
        """Whether an event that looks like the dialect ``name`` changes the assumption ``base``."""
        if (base.name, name) in _ALIKE or name == base.name:
            return name == base.name
        if base.name == _GENERIC:
            # Data of a generic stream may look like a dialect.
            return not self._said or (name is not None and self._carries(name, event))
        if self._said and not self._seen:
            # The text that came before would be missing from the answer.
            return False
        # Errors look alike in several dialects.
        return event.event != "error" and error_in(_json_or_none(event)) is None

    def _carries(self, name: str, event: Event) -> bool:
        """Whether the dialect ``name`` finds content or a finish mark in the event, which stays unchanged."""
        tried = Event(event.event, event.data, event.id, event.retry)
        try:
            self._make(name).read(tried)
        except (ValueError, RecursionError):
            return False
        return tried.has_content or tried.finish

    def _try(self, name: str, event: Event) -> None:
        dialect = self.dialect = self._tried.get(name) or self._make(name)
        self._tried[name] = dialect
        self._seen = True
        self._notices.clear()
        dialect.read(event)
        self.settled = _tells(event)

    def _settle(self, name: str) -> Dialect:
        self.dialect = self._tried.get(name) or self._make(name)
        self._notices.clear()
        self.settled = True
        return self.dialect

    def _read_as(self, base: Dialect, event: Event, *, foreign: bool) -> None:
        generic = base.name == _GENERIC
        notice = (foreign or generic) and is_notice(_json_or_none(event))
        if foreign and not notice:
            self._said = self._said or not _is_damaged(event)
        base.read(event)
        if generic:
            self._read_generic(event, notice=notice)
        elif base.name == self._named:
            # Only content settles: proxies append the end mark of another dialect, and errors look alike.
            self.settled = event.has_content or event.finish

    def _read_generic(self, event: Event, *, notice: bool) -> None:
        self._events += 1
        self.settled = self._events >= _MOST_EVENTS
        if event.kind is Kind.TEXT and notice and not self._said and len(self._notices) < _MOST_NOTICES:
            self._notices.append(event.text)
            event.kind, event.text = Kind.LIFECYCLE, ""
        elif event.kind in (Kind.TEXT, Kind.TERMINAL):
            self._said = True
            event.text = self.waiting() + event.text


def _tells(event: Event) -> bool:
    """Whether the event carries part of an answer, or ends one."""
    return event.has_content or event.finish or event.kind in (Kind.TERMINAL, Kind.ERROR)


def _is_damaged(event: Event) -> bool:
    """Whether the data may be part of a damaged object and not words."""
    try:
        event.json()
    except (ValueError, RecursionError):
        return any(mark in event.data for mark in '{}"\ufffd') or not event.data.isprintable()
    return False


def _json_or_none(event: Event) -> object:
    try:
        return event.json()
    except (ValueError, RecursionError):
        return None
