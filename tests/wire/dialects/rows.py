"""Tables of events and what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from llmwatch.wire import Event, Kind, StreamError, ToolDelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An event, and what a dialect is to make of it after ``before``."""

    data: Any
    kind: Kind
    before: tuple[Any, ...] = ()
    text: str = ""
    reasoning: str = ""
    tools: tuple[ToolDelta, ...] = ()
    finish: bool = False
    error: StreamError | None = None
    cut: bool = False

    def check(self, event: Event) -> None:
        """Compare everything that the dialect fills in."""
        found = (event.kind, event.text, event.reasoning, event.tools, event.finish, event.error, event.cut)
        assert found == (self.kind, self.text, self.reasoning, self.tools, self.finish, self.error, self.cut)


def row(name: str, data: Any, kind: Kind, **expected: Any) -> Any:
    """One line of a table."""
    return pytest.param(Row(data=data, kind=kind, **expected), id=name)
