"""Addresses without a server: one at which connecting hangs, and one that refuses."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator

__all__ = ["blackhole", "refused_port"]

# A backlog of 0 holds one connection on Linux. A kernel that holds many more is not supported.
_MOST_FILLERS = 64
_FILLER_SECONDS = 0.1


@contextlib.contextmanager
def blackhole() -> Iterator[tuple[str, int]]:
    """An address (host, port) at which connecting hangs, as behind a firewall that drops packets.

    The backlog of a listener that accepts nothing is filled with connections; Linux then drops further SYNs. Raises
    ``OSError`` if the kernel keeps completing connections.
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
    """A port of 127.0.0.1 that refuses connections: bound, so that it stays free, and not listening."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
