"""Collecting an answer from its events."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmwatch.errors import MalformedEvent
from llmwatch.wire.error_objects import shorten
from llmwatch.wire.event import Event, Kind, ToolDelta
from llmwatch.wire.reasons import normalised, reason_of, words_of
from llmwatch.wire.tool_calls import is_whole
from llmwatch.wire.usage import Usage, merged

__all__ = ["Collector", "ToolCall"]


_TEXT = Kind.TEXT

# Kinds that may carry a reason without a finish mark: while a block is open, or a requested choice is missing.
_REASONED = frozenset((Kind.TERMINAL, Kind.USAGE, Kind.LIFECYCLE, Kind.TOOL_CALL))

_MOST_REASON = 80
# A reason of one word cannot quote the request, so it needs no mask.
_WORD = re.compile(r"[A-Za-z_]*")

# Advice to the user for each reason of an empty answer.
_ADVICE = {
    "length": "Allow it more tokens, or less reasoning.",
    "content_filter": "The same request would be stopped again: change the prompt, or the filter's settings.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call that the model asks the caller to carry out.

    ``arguments`` is the JSON text of an object; for a tool that takes free text, ``{"input": "..."}``. ``id`` is
    ``None`` if the provider gives no id.
    """

    id: str | None
    name: str
    arguments: str = field(repr=False)

    def json(self) -> dict[str, Any]:
        """The arguments as a new dictionary, parsed at each call."""
        value: dict[str, Any] = json.loads(self.arguments)
        return value


class _Call:
    """A tool call in progress."""

    __slots__ = ("arguments", "bare", "complete", "id", "name")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name: str | None = None
        self.arguments: list[str] = []
        self.complete = False
        self.bare = False

    def add(self, delta: ToolDelta) -> None:
        self.id = self.id or delta.id
        self.name = delta.name or self.name
        if delta.whole:
            self.arguments = [delta.arguments]
        else:
            self.arguments.append(delta.arguments)
        self.complete = self.complete or delta.complete
        self.bare = delta.bare or (self.bare and not delta.arguments)

    def is_again(self, ids: Container[str | None], arguments: Container[str]) -> bool:
        """Whether this call repeats a call with one of ``ids``, or one of ``arguments``, under another key.

        Some servers number the events of one call inconsistently.
        """
        if self.id is not None:
            return self.id in ids
        return self.name is None and "".join(self.arguments) in arguments

    def result(self) -> ToolCall | None:
        arguments = "".join(self.arguments)
        if self.bare and not self.complete and self.name:
            return ToolCall(id=self.id, name=self.name, arguments="{}")
        if not self.complete or not self.name or not is_whole(arguments):
            return None
        return ToolCall(id=self.id, name=self.name, arguments=arguments)


class Collector:
    """Collects the events of one attempt, in order, into an answer.

    ``events`` holds all events. The texts of several choices (``n`` above 1) are concatenated in the order of arrival.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[str, _Call] = {}
        self._ended = False
        self._failed = False
        self._cut = False
        self._usage: Mapping[str, Any] | None = None
        self._reason: str | None = None
        self._words: str | None = None
        self._masked: Callable[[str], str] = str

    def add(self, event: Event) -> None:
        """Take the next event."""
        self.events.append(event)
        kind = event.kind
        if event.text:
            self._text.append(event.text)
        if event.reasoning:
            self._reasoning.append(event.reasoning)
        if event.cut:
            self._cut = True
        if event.usage is not None:
            self._usage = merged(self._usage, event.usage)
        if event.finish or (kind is not _TEXT and kind in _REASONED):
            self._take_reason(event)
        for delta in event.tools:
            self._calls.setdefault(delta.key, _Call()).add(delta)
        if kind is Kind.ERROR:
            self._failed = True
        elif kind is Kind.TERMINAL or event.finish:
            self._ended = True
        elif kind.is_content:
            # Another choice continues.
            self._ended = False

    def _take_reason(self, event: Event) -> None:
        reason = reason_of(event)
        if reason is not None:
            self._reason, self._words = reason, words_of(event)

    def end(self) -> None:
        """Mark the answer as ended cleanly, where the decoder knows so and no event says so."""
        self._ended = True

    @property
    def ended(self) -> bool:
        """Whether the answer ended without an error: by a terminal event, or a finish without later content."""
        return self._ended and not self._failed

    @property
    def cut(self) -> bool:
        """Whether the provider says that the answer is incomplete, for its length or because of a filter."""
        return self._cut

    @property
    def usage(self) -> Usage | None:
        """The token counts, ``None`` if the provider gives none."""
        return None if self._usage is None else Usage.of(self._usage)

    @property
    def provider_finish_reason(self) -> str | None:
        """The provider's own word for why the answer ended; ``None`` without one."""
        return self._reason

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended, as one of :data:`~llmwatch.wire.reasons.REASONS`; ``None`` if unknown."""
        return None if self._reason is None else normalised(self._reason, calls=bool(self.tool_calls))

    @property
    def reason_why_empty(self) -> str | None:
        """Why the answer is empty, in sentences: the provider's reason and words, and advice.

        ``None`` if the provider gives no reason, or only that the answer was finished.
        """
        reason = self.finish_reason
        if reason in (None, "stop", "tool_calls"):
            return None
        said = f"The provider gives a reason: {self._why()}."
        return f"{said} {_ADVICE[reason]}" if reason in _ADVICE else said

    def mask(self, masked: Callable[[str], str]) -> None:
        """Pass the provider's words for the reason through ``masked`` before errors quote them."""
        self._masked = masked

    def _why(self) -> str:
        reason = shorten(self._reason or "", _MOST_REASON)
        reason = reason if _WORD.fullmatch(reason) else self._masked(reason)
        return reason if self._words is None else f"{reason} ({self._masked(self._words)})"

    @property
    def text(self) -> str:
        """The answer's text so far."""
        return _joined(self._text)

    @property
    def reasoning(self) -> str:
        """The visible reasoning so far."""
        return _joined(self._reasoning)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls to carry out, in the order in which they began. Empty until the answer has ended.

        A call is included only if the provider closed the call and named it, and its arguments are a JSON object;
        ``discarded_calls`` counts the others.
        """
        if not self.ended:
            return ()
        results = [call.result() for call in self._calls.values()]
        return tuple(call for call in results if call is not None)

    @property
    def discarded_calls(self) -> int:
        """Number of calls that began and are not in ``tool_calls``: cut, empty, or of an unfinished answer."""
        return len(self._discarded())

    def verdict_at_end(self) -> MalformedEvent | None:
        """The error of an answer that ended cleanly; ``None`` if the answer can be used.

        An answer cannot be used if a call was discarded and the provider did not say that the answer is cut: the answer
        asks for a call that did not arrive. The error quotes neither names nor arguments.
        """
        discarded = self._discarded()
        if not discarded or self._cut:
            return None
        if self.finish_reason == "other":
            return MalformedEvent(
                f"The answer ended in good order without the tool call that it is about: {self._why()}. The model "
                "wrote no valid call, and the provider passed none on: send the request again."
            )
        which = ", ".join(str(place) for place in discarded)
        return MalformedEvent(
            f"The answer ended in good order, but of its {len(self._calls):,} tool call(s) number {which} cannot be "
            "carried out: nothing closed it, it has no name, or its arguments are empty or no JSON object. "
            "The provider or a proxy damaged the stream, or the model wrote no valid call: send the request again."
        )

    def _discarded(self) -> list[int]:
        """The numbers, from 1, of the calls that are not in ``tool_calls``."""
        whole = self.tool_calls
        ids, arguments = {call.id for call in whole}, {call.arguments for call in whole}
        return [
            place
            for place, call in enumerate(self._calls.values(), 1)
            if not (whole and call.result() is not None) and not call.is_again(ids, arguments)
        ]


def _joined(pieces: list[str]) -> str:
    text = "".join(pieces)
    try:
        text.encode()
    except UnicodeEncodeError:
        # The two surrogates of a character outside the basic plane came in two events.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
