"""Every limit as one row: defaults, variable, bounds, the meaning of its expiry, and its texts.

The tables of the state machine (:mod:`llmwatch.watch.states`) tell when a limit starts, is reset and ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

__all__ = ["EVENT_LIMITS", "FROM_SENT", "LIMITS", "NAMES", "READ_LIMITS", "SINGLE", "ZERO", "Expiry", "LimitRow"]

ZERO = "turns the limit off"
"""The effect of a value of 0 on most limits."""


class Expiry(Enum):
    """The meaning of the expiry of a limit.

    The provider was ``SILENT``; it was ``AT_WORK``, and bills; the answer is ``WHOLE`` nevertheless; the call is
    ``OVER``.
    """

    SILENT = "silent"
    AT_WORK = "at work"
    WHOLE = "whole"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRow:
    """One limit.

    * ``since``: the moment that it counts from; ``expiry``: the meaning of its expiry.
    * ``defaults``: seconds in the profiles ``hosted``, ``reasoning`` and ``local``, ``None`` for off. A ``scaled``
      default grows with the prompt, and after a kill.
    * ``single``: the single knob stands for the limit. ``read``: the limit runs while the worker reads the body or
      waits for it. ``events``: events end or reset the limit, bytes do not; it has no meaning in a plain call.
    * ``lost``: the expiry shows that the origin answers no call. ``setting``: a field of :class:`~llmwatch.Limits`; the
      length of any other limit is fixed.
    * ``timeout``: the time-out of a library that bounds the limit. ``bounded_by``: the limits that may not be shorter,
      separated by blanks.
    * ``meaning``: one line for the list of variables; ``zero``: the effect of a value of 0.
    * ``verb``: what the provider did until the expiry, for a sentence whose subject it is.
    * ``expired``, ``advice``: what happened at the expiry, and what the user can change. ``function_expired`` and
      ``function_advice`` are the same for a wrapped function, and empty where a function has no such limit.
      :func:`~llmwatch.recovery.messages.timeout_message` fills in the names in braces.
    """

    name: str
    since: Literal["call", "begin", "connected", "sent", "refused", "byte", "content", "finish mark", "end"]
    expiry: Expiry = Expiry.SILENT
    defaults: tuple[float | None, float | None, float | None] = (None, None, None)
    scaled: bool = False
    single: bool = False
    read: bool = False
    events: bool = False
    lost: bool = False
    setting: bool = True
    timeout: Literal["connect", "read", "write"] | None = None
    bounded_by: str = ""
    meaning: str = ""
    zero: str = ZERO
    verb: str
    expired: str
    advice: str
    function_expired: str = ""
    function_advice: str = ""

    @property
    def after_sent(self) -> bool:
        """Whether the limit runs only once the request is sent."""
        return self.since not in ("call", "begin", "connected")

    @property
    def variable(self) -> str:
        """The environment variable that sets the limit."""
        name = self.name.upper()
        return f"LLMWATCH_{name}_SECONDS" if self.since == "call" else f"LLMWATCH_{name}_TIMEOUT_SECONDS"


# fmt: off
_ROWS = (
    LimitRow(
        # total starts when the request is sent, so it bounds neither connect nor send.
        name="connect", since="begin", defaults=(10.0, 10.0, 10.0), lost=True, timeout="connect", bounded_by="deadline",
        meaning="seconds to be connected: pool slot, DNS, TCP, proxy and TLS; 0 off",
        verb="did not accept a connection",
        expired="No connection to {host} within {limit}: after {elapsed} the request could still not be sent"
        " (authentication, pool slot, name look-up, TCP, proxy and TLS count).",
        advice="Check the address and the proxy, or raise connect ({variable}).",
        function_expired="The function {host} could not be started within {limit}: after {elapsed} its thread had not"
        " begun.",
        function_advice="This machine has too much to do; or raise connect ({variable}).",
    ),
    LimitRow(
        name="send", since="connected", defaults=(60.0, 60.0, 60.0), timeout="write", bounded_by="deadline",
        meaning="seconds to write the request; 0 off",
        verb="did not take the request",
        expired="{host} stopped taking the request: its upload was not finished after {elapsed}, and the limit is"
        " {limit}.",
        advice="Send a smaller body, or raise send ({variable}).",
    ),
    LimitRow(
        name="headers", since="sent", read=True, lost=True,
        bounded_by="ttfb first_event first_content total deadline",
        meaning="seconds from sent to the response's headers; 0 off",
        verb="sent no headers",
        expired="{host} took the request and sent no response headers within {limit} ({elapsed} passed).",
        advice="Raise headers ({variable}), or switch it off with 0 and leave the wait to ttfb.",
        function_expired="The function {host} was called, and gave no sign of life within {limit} ({elapsed} passed).",
        function_advice="Leave headers ({variable}) off for functions; ttfb is the limit on their first sign.",
    ),
    LimitRow(
        # Healthy hosted models are reported to answer within 16 s (p95), 53 s at 130,000 tokens; limits of 12 to 60 s
        # are documented to kill healthy calls. Opus-class models are reported silent for 180 to 300 s with 100,000
        # tokens of prompt. On local hardware 150,000 are reported to take 1,180 s: this plus 450 s for the size.
        name="ttfb", since="sent", defaults=(120.0, 300.0, 900.0), scaled=True, single=True, read=True, lost=True,
        timeout="read", bounded_by="first_event first_content total deadline",
        meaning="seconds from sent to the first byte of the body, headers do not count; 0 off",
        verb="was silent before its first byte",
        expired="{host} took the request and went silent: not one byte of an answer within {limit} ({elapsed} passed;"
        " {received}).",
        advice="If this model needs longer to begin, raise ttfb ({variable}).",
        function_expired="The function {host} went silent: within {limit} it has neither returned nor beaten ({elapsed}"
        " passed).",
        function_advice="If it needs longer, raise ttfb ({variable}), or call llmwatch.beat() in it as the work moves"
        " on.",
    ),
    LimitRow(
        name="first_event", since="sent", read=True, events=True, bounded_by="first_content total deadline",
        meaning="seconds from sent to the first event of any kind; 0 off",
        verb="sent no event",
        expired="{host} answered, but no event came within {limit} of the request ({elapsed} passed; {received};"
        " comments are no events).",
        advice="Raise first_event ({variable}).",
        function_expired="The function {host} is alive, but no event of it came within {limit} of its start ({elapsed}"
        " passed).",
        function_advice="Raise first_event ({variable}).",
    ),
    LimitRow(
        name="first_content", since="sent", expiry=Expiry.AT_WORK, defaults=(300.0, 900.0, 1800.0), scaled=True,
        single=True, read=True, events=True, bounded_by="total deadline",
        meaning="seconds from sent to the first piece of an answer; 0 off",
        verb="sent no content",
        expired="{host} is connected and keeps the stream open, but no part of the answer came within {limit} of the"
        " request ({elapsed} passed; {received}; keep-alives are no answer).",
        advice="If this model thinks longer before it speaks, raise first_content ({variable}).",
        function_expired="The function {host} is alive, but its work had not moved on within {limit} of its start"
        " ({elapsed} passed; only beats of kind content and items count).",
        function_advice="If it takes longer to begin, raise first_content ({variable}).",
    ),
    LimitRow(
        # Above the longest gap reported inside a healthy stream (329 s) and the longest idle time of a NAT (350 s).
        name="stale", since="byte", defaults=(360.0, 600.0, 900.0), single=True, read=True,
        timeout="read", bounded_by="total deadline",
        meaning="seconds of silence, not one byte, in the body; 0 off",
        verb="stalled in mid-answer",
        expired="The stream from {host} went silent in the middle: no byte, not even a keep-alive, for {elapsed}"
        " (limit {limit}; {received} before that).",
        advice="If this provider pauses longer, raise stale ({variable}).",
        function_expired="The function {host} went silent in the middle: no beat and no item for {elapsed} (limit"
        " {limit}).",
        function_advice="If it pauses longer, raise stale ({variable}), or beat in between.",
    ),
    LimitRow(
        name="progress", since="content", expiry=Expiry.AT_WORK, defaults=(600.0, 900.0, 900.0),
        single=True, read=True, events=True, bounded_by="total deadline",
        meaning="seconds without content after the first content; 0 off",
        verb="made no progress in mid-answer",
        expired="The answer from {host} stopped moving: only keep-alives or nothing for {elapsed} after the last part"
        " of it (limit {limit}; {received} so far).",
        advice="If this model pauses longer between parts, raise progress ({variable}).",
        function_expired="The work of the function {host} stopped moving: at most beats that are no content for"
        " {elapsed} (limit {limit}).",
        function_advice="If it pauses longer, raise progress ({variable}).",
    ),
    LimitRow(
        name="error_body", since="refused", setting=False,
        verb="did not end its error",
        expired="{host} answered with an error, and the text of that error did not end within {limit} ({elapsed}"
        " passed; {received}).",
        advice="There is no setting for this; the status says what is wrong.",
    ),
    LimitRow(
        name="finish", since="finish mark", expiry=Expiry.WHOLE, defaults=(5.0, 5.0, 5.0), read=True, events=True,
        bounded_by="total deadline", zero="waits for the real end",
        meaning="seconds a body may stay open after a finish mark; 0 waits for the real end",
        verb="did not end after its finish mark",
        expired="The answer from {host} was finished, and its body stayed open {elapsed} later without an end mark"
        " (limit {limit}).",
        advice="Nothing is lost; raise finish ({variable}) if more is to come after the finish mark.",
    ),
    LimitRow(
        name="drain", since="end", expiry=Expiry.WHOLE, defaults=(1.0, 1.0, 1.0), zero="does not drain at all",
        meaning="seconds a body may stay open after the answer has ended; 0 does not drain",
        verb="left the body open",
        expired="The answer from {host} was complete, and its connection was still open {elapsed} later (limit"
        " {limit}).",
        advice="Nothing is lost; raise drain ({variable}) if connections should be kept for reuse.",
    ),
    LimitRow(
        name="total", since="sent", expiry=Expiry.AT_WORK, bounded_by="deadline",
        meaning="seconds for one attempt, from sent; 0 off",
        verb="took too long",
        expired="The attempt took longer than {limit} altogether ({elapsed} since the request was sent; {received}),"
        " although it was not silent for long enough to be cut.",
        advice="Ask for a shorter answer, or raise total ({variable}).",
        function_expired="The function {host} took longer than {limit} altogether ({elapsed} since it was called),"
        " although it was not silent for long enough to be cut.",
        function_advice="Raise total ({variable}).",
    ),
    LimitRow(
        name="deadline", since="call", expiry=Expiry.OVER,
        meaning="seconds for the whole call, all attempts and waits; 0 off",
        verb="took too long in all attempts",
        expired="The call as a whole, its attempts and waits included, took longer than {limit} ({elapsed} passed;"
        " {received} in the last attempt).",
        advice="Raise deadline ({variable}), or lower the other limits so that a stalled attempt leaves room for the"
        " next.",
        function_expired="The call of the function {host} as a whole, its attempts and waits included, took longer than"
        " {limit} ({elapsed} passed).",
        function_advice="Raise deadline ({variable}), or lower the other limits so that a stalled attempt leaves room"
        " for the next.",
    ),
)
# fmt: on

LIMITS: Mapping[str, LimitRow] = {row.name: row for row in _ROWS}
"""Every limit, in the order in which a call meets them.
Of limits that expire at the same instant the first is the most specific, and names the reason.
"""
NAMES = tuple(row.name for row in _ROWS if row.setting)
"""The limits that can be set, in the same order."""
SINGLE = tuple(row.name for row in _ROWS if row.single)
"""The limits that the single knob sets."""
READ_LIMITS = tuple(row.name for row in _ROWS if row.read)
"""The limits that run while the body is read or waited for."""
EVENT_LIMITS = tuple(row.name for row in _ROWS if row.events)
"""The limits that go by events. They mean nothing in a plain call."""
FROM_SENT = tuple(row.name for row in _ROWS if row.since == "sent")
"""The limits that end an attempt in which the provider sends nothing at all."""
