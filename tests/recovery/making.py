"""Facts and contexts for the tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmwatch.payload import ToolExposure
from llmwatch.recovery import Context, EntryPoint, Facts, Sent

CLEAN = ToolExposure()
"""The tool exposure of a request without tools."""

SENT = Facts(sent=Sent.YES, terminal=False, socket_reused=False, since_sent=1.0, tools=CLEAN, replayable=True)
"""A request that was sent on a fresh connection, and nothing came back."""

UNSENT = Facts(sent=Sent.NO, terminal=False, tools=CLEAN, replayable=True)
"""A request that was not sent."""

ALIVE = replace(SENT, headers=True, first_byte=True, bytes=20, first_event=True, events=1)
"""Something came back, and nothing of it was content."""

TEXT = replace(ALIVE, text=True, events=5, bytes=400)
"""Text came back."""


def facts(base: Facts = SENT, **changed: Any) -> Facts:
    """``base`` with other values."""
    return replace(base, **changed)


def context(entry_point: EntryPoint = EntryPoint.STREAM, **changed: Any) -> Context:
    """The first of three attempts through ``entry_point``, with nothing opted into."""
    return Context(entry_point=entry_point, **changed)
