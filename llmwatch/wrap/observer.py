"""The reports of a wrapped function's connections to its attempt.

The function is a black box that makes any number of requests, whose phases are not the attempt's: no report here resets
a limit. The attempt owns the sockets, and remembers that an answer came.
"""

from __future__ import annotations

from typing import Any

from llmwatch.watch.attempt import Attempt
from llmwatch.watch.interfaces import Aborted, Handle

__all__ = ["FunctionObserver", "FunctionOver"]


class FunctionOver(BaseException):
    """Raised by a connection into a function whose attempt is over: no request is sent any more.
    It is no ``Exception``, as ``KeyboardInterrupt`` is none: otherwise a loop in the function that catches every error
    and tries again would never come back.
    """


class FunctionObserver:
    """A :class:`~llmwatch.watch.interfaces.Observer` to the attempt of a wrapped function.
    ``max_body``: bytes that the body of a response may have, ``None`` for any number.
    """

    __slots__ = ("_attempt", "max_body")

    def __init__(self, attempt: Attempt[Any], max_body: int | None = None) -> None:
        self._attempt = attempt
        self.max_body = max_body

    def check(self) -> None:
        try:
            self._attempt.check()
        except Aborted:
            raise FunctionOver from None

    def adopt(self, handle: Handle, *, reused: bool | None = None, idle: float | None = None) -> None:
        try:
            self._attempt.adopt(handle, reused=reused, idle=idle)
        except Aborted:
            raise FunctionOver from None

    def disown(self, handle: Handle) -> bool:
        return self._attempt.disown(handle)

    def connected(self) -> None:
        self.check()

    def sending(self, size: int) -> None:
        try:
            self._attempt.sending(size)
        except Aborted:
            raise FunctionOver from None

    def pause(self) -> None:
        """Does nothing: time between the function's own requests is the function's work."""

    def unpause(self) -> None:
        """Does nothing."""

    def sent(self) -> None:
        self.check()

    def answering(self) -> None:
        self._attempt.answering()

    def headers(self, status: int, *, refused: bool, request_id: str | None = None) -> None:
        try:
            self._attempt.answered(status, request_id)
        except Aborted:
            raise FunctionOver from None

    def time_left(self, limit: str) -> float | None:
        """``None``: the function's requests have their own time-outs."""
        return None
