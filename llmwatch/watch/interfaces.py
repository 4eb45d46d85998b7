"""The protocols between the parts of the watchdog and a transport.

The watchdog knows no socket. A transport gives it a :class:`Handle` for each socket while an attempt owns the socket,
and reports through :class:`Observer` how far the attempt has come. Anything that blocks can be watched this way, and
tests script both sides. The supervisor and the registry know an attempt as :class:`Watched` and
:class:`WatchedAttempt`.
"""

from __future__ import annotations

from typing import Protocol

from llmwatch.watch.verdict import Action, Verdict

__all__ = ["Aborted", "Handle", "Observer", "Watched", "WatchedAttempt"]


class Aborted(Exception):
    """Raised inside a worker whose attempt is over. It never leaves the worker."""


class Handle(Protocol):
    """A duplicate of one socket, owned by one attempt.
    ``shutdown``, ``waiting`` and ``release`` are called with the attempt's lock held, so that none can meet a
    descriptor which ``release`` has given back to the system. All three must return at once.
    """

    def shutdown(self) -> None:
        """Wake the thread that is blocked on the socket, in every phase. Must not close it or raise."""

    def waiting(self) -> bool:
        """Whether the kernel holds unread bytes or an end of file."""

    def release(self) -> None:
        """Close the duplicate: the attempt no longer owns the socket."""

    def detach_in_child(self) -> None:
        """In a forked child: give up both descriptors; a shutdown would cut the parent's stream."""


class Observer(Protocol):
    """The reports of a transport to its attempt.
    Each method but ``disown`` may raise :class:`Aborted` once the attempt is over.
    """

    def check(self) -> None:
        """Only raise :class:`Aborted` if the attempt is over."""

    def adopt(self, handle: Handle, *, reused: bool | None = None, idle: float | None = None) -> None:
        """The attempt owns this socket from now on. ``idle``: seconds that the socket lay unused in the pool."""

    def disown(self, handle: Handle) -> bool:
        """Ownership ends here, before the pool has the socket.
        ``False``: it must not be used again. Never raises.
        """

    def connected(self) -> None:
        """The connection stands: the request can be sent."""

    def sending(self, size: int) -> None:
        """``size`` bytes of the request are about to be written."""

    def pause(self) -> None:
        """The producer of the request's body is slow: the limits stand still until :meth:`unpause`."""

    def unpause(self) -> None:
        """Take back one :meth:`pause`."""

    def sent(self) -> None:
        """The kernel has the last byte of the request."""

    def answering(self) -> None:
        """The response began, though its head is not whole: the request has arrived."""

    def headers(self, status: int, *, refused: bool, request_id: str | None = None) -> None:
        """The head of the response is here. ``refused``: an error, of which only a short body will be read."""

    def time_left(self, limit: str) -> float | None:
        """Seconds left on ``limit``; ``None`` if the limit does not run."""


class Watched(Protocol):
    """An attempt as the supervisor knows it."""

    armed: float

    def examine(self, now: float) -> tuple[Action, float | None]:
        """Judge the limits. Returns what has to be done, and when to look again (then ``armed``)."""

    def abort(self) -> None:
        """Shut down what the attempt owns, and free its caller."""


class WatchedAttempt(Watched, Protocol):
    """An attempt as the registry and its users know it."""

    @property
    def verdict(self) -> Verdict | None:
        """The end of the attempt; ``None`` while it runs."""

    @property
    def late(self) -> int:
        """Number of observations that came after the verdict."""

    def end_at_exit(self) -> None:
        """Cancel the attempt, since the process ends, and wait for no thread."""

    def detach_in_child(self) -> None:
        """In a forked child: give up the sockets without a shutdown. Takes no lock of the parent's."""
