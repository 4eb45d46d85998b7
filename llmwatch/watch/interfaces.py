"""What the parts of the watchdog, and a transport, ask of each other.

The watchdog knows no socket. A transport hands it a :class:`Handle` for each socket while an attempt owns it, and
reports through :class:`Observer` how far the attempt has come. Anything that blocks can be watched this way; tests
script both sides. The supervisor and the registry know an attempt as :class:`Watched` and :class:`WatchedAttempt`.
"""

from __future__ import annotations

from typing import Protocol

from llmwatch.watch.verdict import Action, Verdict

__all__ = ["Aborted", "Handle", "Observer", "Watched", "WatchedAttempt"]


class Aborted(Exception):
    """Raised inside a worker whose attempt is over. It never leaves the worker."""


class Handle(Protocol):
    """A duplicate of one socket, owned by one attempt.

    ``shutdown`` and ``waiting`` are called with the attempt's lock held, so that neither can meet a descriptor that
    ``release`` has given back to the system; all three must return at once.
    """

    def shutdown(self) -> None:
        """Wake whoever is blocked on the socket, in every phase. Must not close it, and must not raise."""

    def waiting(self) -> bool:
        """Whether bytes or an end of file lie in the kernel, unread."""

    def release(self) -> None:
        """Close the duplicate: this attempt has no more business with the socket."""

    def detach_in_child(self) -> None:
        """In a forked child: give up both descriptors without a shutdown, which would cut the parent's stream."""


class Observer(Protocol):
    """What a transport tells the attempt that it works for. Each method raises :class:`Aborted` when the attempt is
    over.
    """

    def check(self) -> None:
        """Nothing to report; just stop here if the attempt is over."""

    def adopt(self, handle: Handle, *, reused: bool | None = None, idle: float | None = None) -> None:
        """The attempt owns this socket from now on. ``idle``: seconds it lay unused in the pool before."""

    def disown(self, handle: Handle) -> bool:
        """Ownership ends here, before anybody else can get at the socket. ``False``: it must not be used again. Never
        raises.
        """

    def connected(self) -> None:
        """The request can be sent."""

    def sending(self, size: int) -> None:
        """``size`` bytes of the request are about to be written."""

    def pause(self) -> None:
        """Whoever makes the request's body takes his time: nobody waits for the provider until :meth:`unpause`."""

    def unpause(self) -> None:
        """Take back one :meth:`pause`."""

    def sent(self) -> None:
        """The kernel has the last byte of the request."""

    def answering(self) -> None:
        """The response began, though its head did not come whole: the request has arrived."""

    def headers(self, status: int, *, refused: bool, request_id: str | None = None) -> None:
        """The head of the response is here. ``refused``: it is an error, of which only a short body will be read."""

    def time_left(self, limit: str) -> float | None:
        """Seconds that are left on a running limit; ``None`` if it does not run."""


class Watched(Protocol):
    """What the supervisor knows of an attempt."""

    armed: float

    def examine(self, now: float) -> tuple[Action, float | None]:
        """Judge the limits; what has to be done, and when to look again (which becomes ``armed``)."""

    def abort(self) -> None:
        """Shut what the attempt owns and free its caller."""


class WatchedAttempt(Watched, Protocol):
    """What the registry, and those who go through it, know of an attempt."""

    @property
    def verdict(self) -> Verdict | None:
        """How it has ended, if it has."""

    @property
    def late(self) -> int:
        """What its worker reported after its end."""

    def end_at_exit(self) -> None:
        """Give it up, since the process ends; nobody is waited for."""

    def detach_in_child(self) -> None:
        """In a forked child: give up the sockets without a shutdown, and take no lock."""
