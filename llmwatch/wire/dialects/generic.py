"""``generic``: server-sent events of an unknown kind, and the dialects that users register.

The data of every event is text, except for an object that is an error and nothing else. The end of the body is the end
of the answer.

The events of an assistant's run (OpenAI's and Azure's, up to 2026) are text of this kind too; a failed run is an error.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from llmwatch.lazy_pattern import lazy
from llmwatch.wire.dialects.base import ENDS, KEEPALIVE_NAMES, Dialect, error_event
from llmwatch.wire.error_objects import broken_error, error_in, lone_error
from llmwatch.wire.event import Event, Kind, Meaning, StreamError, ToolDelta

__all__ = ["DialectReader", "FunctionDialect", "FunctionFailed", "Generic"]

DialectReader = Callable[[Event], Kind | Meaning]
"""A registered dialect's function: the meaning of an event (``.event``, ``.data``, ``.json()``)."""

# Every object that is an error has one of these, and most data has none.
_MAY_FAIL = lazy(r'"(?:error|detail|status|success|ok"|code"|Response"|ErrorMsg"|fault"|exception"|__type")')


class Generic(Dialect):
    """One attempt in an unknown dialect."""

    name = "generic"
    accepts_eof = True

    def read(self, event: Event) -> None:
        if event.event in KEEPALIVE_NAMES or not event.data.strip():
            event.kind = Kind.KEEPALIVE
        elif event.event == "error":
            error_event(event, _json_or_none(event))
        elif event.data.strip() in ENDS:
            event.kind = Kind.TERMINAL
        elif _MAY_FAIL.search(event.data) and (error := lone_error(_json_or_none(event), text=True)) is not None:
            event.kind, event.error = Kind.ERROR, error
        elif event.event in _FAILED_RUNS:
            event.kind, event.error = Kind.ERROR, _error_of_run(event)
        elif event.data.startswith(("{'error'", "{'object': 'error'")) and (printed := broken_error(event.data)):
            event.kind, event.error = Kind.ERROR, printed
        else:
            event.kind = Kind.TEXT
            event.text = event.data


_FAILED_RUNS = frozenset(("thread.run.failed", "thread.run.expired", "thread.run.cancelled"))


def _error_of_run(event: Event) -> StreamError:
    value = _json_or_none(event)
    error = error_in({"error": value["last_error"]}) if isinstance(value, dict) and value.get("last_error") else None
    return error or StreamError(None, None, f"the run {event.event.rpartition('.')[2]}, no reason was given")


class FunctionFailed(ValueError):
    """A registered function raised. The decoder turns this into a ``MalformedEvent``."""


class FunctionDialect(Dialect):
    """One attempt in a dialect that a user registered."""

    def __init__(self, name: str, function: DialectReader, *, accepts_eof: bool) -> None:
        super().__init__()
        self.name = name
        self.accepts_eof = accepts_eof
        self._function = function

    def copy(self) -> FunctionDialect:
        """A copy with the same state. The function, which is the user's, is not copied."""
        return copy.copy(self)

    def read(self, event: Event) -> None:
        try:
            meaning = self._function(event)
        except (ValueError, RecursionError):
            raise
        except Exception as exc:
            raise FunctionFailed(f"the dialect function raised {type(exc).__name__}") from None
        if isinstance(meaning, Meaning):
            _check(meaning)
            event.kind, event.text, event.reasoning = meaning.kind, meaning.text, meaning.reasoning
            event.tools, event.finish, event.error = tuple(meaning.tools), meaning.finish, meaning.error
            event.cut = meaning.cut
            self.provider_acted = self.provider_acted or meaning.provider_acted
        elif isinstance(meaning, Kind):
            event.kind = meaning
            event.text = event.data if meaning is Kind.TEXT else ""
        else:
            raise FunctionFailed(f"the dialect function returned {type(meaning).__name__}, not a Kind or a Meaning")
        if event.finish:
            self.finished = True
        if event.kind is Kind.ERROR and event.error is None:
            error_event(event, _json_or_none(event))


def _check(meaning: Meaning) -> None:
    """Check the types of the fields, because a wrong one would fail only later, in the caller's thread."""
    tools, error = meaning.tools, meaning.error
    fits = (
        isinstance(meaning.kind, Kind)
        and isinstance(meaning.text, str)
        and isinstance(meaning.reasoning, str)
        and isinstance(tools, (tuple, list))
        and all(_is_piece(tool) for tool in tools)
        and (error is None or (isinstance(error, StreamError) and isinstance(error.message, str)))
    )
    if not fits:
        raise FunctionFailed("the dialect function returned a Meaning with a field of the wrong type")


def _is_piece(tool: object) -> bool:
    return (
        isinstance(tool, ToolDelta)
        and isinstance(tool.key, (str, int))
        and all(value is None or isinstance(value, str) for value in (tool.id, tool.name))
        and isinstance(tool.arguments, str)
    )


def _json_or_none(event: Event) -> object:
    try:
        return event.json()
    except (ValueError, RecursionError):
        return None
