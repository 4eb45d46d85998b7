"""Tells when the client of a connection has gone, while the upstream is silent.

A client that closes its socket and one that closes only its writing side (``shutdown(SHUT_WR)``) send the same: an end
of file. The second still reads, and is served. On the proxy's own socket the two are the same in every respect:
``poll`` says ``POLLRDHUP``, ``TCP_INFO`` says ``CLOSE_WAIT``. A write would tell, since a closed socket answers it with
a reset; but what could be written would be part of the answer. On loopback the client's socket belongs to this kernel
as well, and Linux tells about it (``sock_diag``): once it is closed it belongs to no file, so its inode is 0 (Linux
6.18; the same in ``/proc/net/tcp``). So the watcher waits for the end of file, asks, and asks again every 10 ms while
the client has stopped only writing.

A client that speaks TLS, which may be on another machine, counts as gone with the end of file: clients of HTTP do not
close one side of a TLS connection. Where the kernel does not tell (not Linux, or a client in another network
namespace), a client on loopback counts as there until a write to it fails; the limits of its call end the rest.

**The lock** protects the table of watched sockets. A callback runs in the watcher's thread, without the lock.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["ClientWatcher", "is_there"]

_AGAIN = 0.01
"""Seconds between two looks at a client that has closed its writing side."""

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_ERROR = 2  # NLMSG_ERROR
_REQUEST = 1  # NLM_F_REQUEST
_INODE = 16 + 4 + 48 + 16
"""Where the inode stands: behind the message's head, four bytes, the socket's id, four numbers."""


@dataclass(slots=True)
class _Watched:
    descriptor: int
    peer: socket.socket | None
    """The socket whose far side can be asked for; ``None`` with TLS."""
    gone: Callable[[], None]


class ClientWatcher:
    """One thread that watches any number of clients, from :meth:`start` to :meth:`stop`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[int, _Watched] = {}
        self._poll = select.epoll() if hasattr(select, "epoll") else None
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="llmwatch-clients", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        if self._poll is not None:
            self._poll.register(self._woken.fileno(), select.EPOLLIN)
            self._thread.start()

    def stop(self) -> None:
        """End the thread. No callback runs later."""
        if self._poll is not None and self._thread.ident is not None:
            self._wake.send(b"x")
            self._thread.join()
        if self._poll is not None:
            self._poll.close()
        self._wake.close()
        self._woken.close()

    @contextlib.contextmanager
    def watching(self, client: socket.socket, gone: Callable[[], None], *, tls: bool = False) -> Iterator[None]:
        """Call ``gone`` once, in the watcher's thread, if the client goes before the block ends."""
        if self._poll is None:
            yield
            return
        watched = _Watched(client.fileno(), None if tls else client, gone)
        with self._lock:
            self._watched[watched.descriptor] = watched
        self._poll.register(watched.descriptor, select.EPOLLRDHUP | select.EPOLLONESHOT)
        try:
            yield
        finally:
            with self._lock:
                self._watched.pop(watched.descriptor, None)
                # Under the lock: a look at this socket is over, and its descriptor may be closed after it.
                self._poll.unregister(watched.descriptor)

    def _run(self) -> None:
        assert self._poll is not None
        waiting: dict[int, _Watched] = {}
        while True:
            events = self._poll.poll(_AGAIN if waiting else None)
            if any(descriptor == self._woken.fileno() for descriptor, _ in events):
                return
            lost = select.EPOLLHUP | select.EPOLLERR
            seen = dict.fromkeys(waiting, 0) | dict(events)
            for descriptor, event in seen.items():
                with self._lock:
                    watched = self._watched.get(descriptor)
                    if watched is None or waiting.get(descriptor, watched) is not watched:
                        # The descriptor is another connection's by now.
                        waiting.pop(descriptor, None)
                        continue
                    there = not event & lost and watched.peer is not None and is_there(watched.peer)
                    if there:
                        waiting[descriptor] = watched
                        continue
                    waiting.pop(descriptor, None)
                    del self._watched[descriptor]
                watched.gone()


def is_there(client: socket.socket) -> bool:
    """Whether the far side of a connection on loopback is open, as far as the kernel tells.
    Only for a socket whose far side has sent its end of file.
    """
    try:
        here, there = client.getsockname(), client.getpeername()
    except OSError:
        return False
    try:
        inode = _inode_of(client.family, there, here)
    except (OSError, AttributeError, ValueError, struct.error):
        return True
    return inode != 0


def _inode_of(family: int, source: tuple[str, int], target: tuple[str, int]) -> int:
    """The inode of the socket of this machine that connects ``source`` to ``target``; 0 for none."""
    addresses = (socket.inet_pton(family, end[0]).ljust(16, b"\0") for end in (source, target))
    identity = struct.pack("!HH", source[1], target[1]) + b"".join(addresses)
    identity += struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # any interface, any cookie
    body = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + identity
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as asking:
        asking.settimeout(1.0)
        asking.send(struct.pack("=IHHII", 16 + len(body), _BY_FAMILY, _REQUEST, 1, 0) + body)
        answer = asking.recv(4096)
    (kind,) = struct.unpack_from("=H", answer, 4)
    if kind == _ERROR:
        (number,) = struct.unpack_from("=i", answer, 16)
        if number in (0, -2):  # ENOENT: there is no such socket
            return 0
        raise OSError(-number, os.strerror(-number))
    (inode,) = struct.unpack_from("=I", answer, _INODE)
    return int(inode)
