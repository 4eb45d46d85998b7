"""The known facts of a finished attempt, on which alone decisions rest."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from llmwatch.payload.tools import ToolExposure

__all__ = ["Facts", "Sent"]


class Sent(str, Enum):
    """The part of the request that left this machine, as far as the kernel tells."""

    NO = "no"
    PARTLY = "partly"
    YES = "yes"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return str(self._value_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of one attempt.

    ``None`` and ``Sent.UNKNOWN`` mean *not known*: a decision then fails closed, as it does with ``Facts()``.

    * ``sent``: how much of the request had been sent.
    * ``headers``, ``first_byte``, ``first_event``: whether all response headers, a byte of the response, an event had
      come.
    * ``text``, ``reasoning``, ``tool_input``, ``tool_call``: whether such content had come; ``tool_call`` is a whole
      call.
    * ``delivered``: whether any of it was handed to the caller.
    * ``terminal``: whether the event that completes the answer had come.
    * ``bytes``, ``events``: the numbers of them in the body.
    * ``socket_reused``: whether the connection came from a pool; ``socket_idle``: seconds that it had been idle there.
    * ``since_sent``: seconds from sent to the failure.
    * ``tools``: the tools that the request exposed, by the side that executes them.
    * ``provider_acted``: the answer shows that the provider ran, or is to run, a tool that may have side effects (MCP,
      computer use, a shell, an unknown kind), whatever the request said.
    * ``beaten``: a wrapped function gave a sign of life or was answered, so it has begun to act.
    * ``replayable``: whether the body can be sent again; not known for a wrapped function without a connection or abort
      callback to shut.
    """

    sent: Sent = Sent.UNKNOWN
    headers: bool = False
    first_byte: bool = False
    first_event: bool = False
    text: bool = False
    reasoning: bool = False
    tool_input: bool = False
    tool_call: bool = False
    delivered: bool = False
    terminal: bool | None = None
    bytes: int = 0
    events: int = 0
    socket_reused: bool | None = None
    socket_idle: float | None = None
    since_sent: float | None = None
    tools: ToolExposure | None = None
    provider_acted: bool = False
    beaten: bool = False
    replayable: bool | None = None

    @property
    def content(self) -> bool:
        """Whether any part of an answer had come."""
        return self.text or self.reasoning or self.tool_input or self.tool_call

    @property
    def answered(self) -> bool:
        """Whether any part of a response had come."""
        return self.headers or self.first_byte or self.first_event or self.bytes > 0 or self.content

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for an attempt's record, where the tools have a field of their own."""
        return {
            "sent": self.sent.value,
            "headers": self.headers,
            "first_byte": self.first_byte,
            "first_event": self.first_event,
            "text": self.text,
            "reasoning": self.reasoning,
            "tool_input": self.tool_input,
            "tool_call": self.tool_call,
            "delivered": self.delivered,
            "terminal": self.terminal,
            "bytes": self.bytes,
            "events": self.events,
            "socket_reused": self.socket_reused,
            "socket_idle": self.socket_idle,
            "since_sent": self.since_sent,
            "provider_acted": self.provider_acted,
            "beaten": self.beaten,
            "replayable": self.replayable,
        }
