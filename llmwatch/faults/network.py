"""Addresses at which nothing answers: one that hangs, one that refuses."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator

__all__ = ["blackhole", "refused_port"]

# A backlog of 0 still holds one connection on Linux; a kernel that holds many more than that is not one of those meant.
_MOST_FILLERS = 64
_FILLER_SECONDS = 0.1


@contextlib.contextmanager
def blackhole() -> Iterator[tuple[str, int]]:
    """An address (host, port) to which connecting hangs, as behind a firewall that drops.

    A listener that accepts nothing has its backlog filled with connections of our own; Linux then drops further SYNs.
    Raises ``OSError`` where the kernel goes on completing connections.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(_MOST_FILLERS):
            filler = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            filler.setblocking(False)
            filler.connect_ex(address)
            poll = select.poll()
            poll.register(filler.fileno(), select.POLLOUT)
            if not poll.poll(_FILLER_SECONDS * 1000):
                break
        else:
            raise OSError("this kernel completes connections beyond the backlog, so none can be made to hang")
        yield "127.0.0.1", int(address[1])


@contextlib.contextmanager
def refused_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections; it is held, bound and not listening, so that nobody takes it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
