"""A connection of a fault server: blocking calls that end when the peer leaves or the server stops.

Sockets are non-blocking, and every wait is one ``poll`` over the socket and the server's stop bell: one byte in one
socket pair wakes all threads. Waits have the resolution of ``poll``, 1 ms.

A FIN of the peer counts as *gone* during waits and writes. HTTP clients send a FIN only when they have finished with
the connection; a client that half-closes after its request is not served.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import ssl
import struct
import threading

__all__ = ["FIN", "GONE", "Bell", "Gate", "Link", "LinkOver", "PeerGone", "Stopped"]

# Only Linux distinguishes a FIN from readable data; elsewhere POLLHUP, which is always reported, must do.
FIN = int(getattr(select, "POLLRDHUP", 0))
GONE = FIN | select.POLLHUP | select.POLLERR | select.POLLNVAL
_RST_ON_CLOSE = struct.pack("ii", 1, 0)
_LONGEST_WAIT = 86_400.0
# Seconds between two checks of a threading.Event without a descriptor to poll, which only a Gate has.
_FOREIGN_EVENT_SLICE = 0.02


class LinkOver(Exception):
    """This connection has ended; the end is not a failure of the server."""


class PeerGone(LinkOver):
    """The peer closed or reset the connection."""


class Stopped(LinkOver):
    """The server is being stopped."""


class Bell:
    """A flag with a file descriptor: readable from :meth:`ring` until :meth:`hush`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._closed = False
        self.rung = False

    def fileno(self) -> int:
        return self._reader.fileno()

    def ring(self) -> None:
        with self._lock:
            if not self.rung and not self._closed:
                self._writer.send(b"!")
            self.rung = True

    def hush(self) -> None:
        with self._lock:
            if self.rung and not self._closed:
                self._reader.recv(1)
            self.rung = False

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._reader.close()
            self._writer.close()


class Gate(threading.Event):
    """An event by which a test releases a script that waits with ``WaitFor``."""

    def __init__(self) -> None:
        super().__init__()
        self.bell = Bell()

    def set(self) -> None:
        super().set()
        self.bell.ring()

    def clear(self) -> None:
        super().clear()
        self.bell.hush()


class Link:
    """A connected socket, plain or TLS. Used by one thread; only the ``stop`` bell is shared."""

    __slots__ = ("_sock", "_stop")

    def __init__(self, sock: socket.socket, stop: Bell) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._stop = stop

    @property
    def socket(self) -> socket.socket:
        return self._sock

    @property
    def closed(self) -> bool:
        return self._sock.fileno() < 0

    def handshake(self, context: ssl.SSLContext) -> None:
        """Do the TLS handshake as the server. A peer that rejects the certificate counts as gone."""
        try:
            wrapped = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
        except OSError as exc:
            # Up to CPython 3.11 ssl owns the descriptor by now, and does not close it.
            trace = exc.__traceback__
            while trace is not None:
                lost = trace.tb_frame.f_locals.get("self")
                if isinstance(lost, ssl.SSLSocket):
                    lost.close()
                trace = trace.tb_next
            raise PeerGone("the peer left before the handshake") from exc
        self._sock = wrapped
        while True:
            try:
                return wrapped.do_handshake()
            except ssl.SSLWantReadError:
                self._ready(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._ready(select.POLLOUT)
            except OSError as exc:
                raise PeerGone("the handshake failed") from exc

    def dial(self, address: tuple[str, int]) -> bool:
        """Connect as a client; return whether the connection is open."""
        if self._sock.connect_ex(address) == errno.EINPROGRESS:
            self._poll(select.POLLOUT, None)
        return self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0

    def receive(self, size: int = 65536) -> bytes:
        """At least one byte, or ``b""`` at the peer's end of file."""
        while True:
            self._check()
            try:
                return self._sock.recv(size)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._ready(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._ready(select.POLLOUT)
            except OSError as exc:
                raise PeerGone("the peer reset the connection") from exc

    def send(self, data: bytes) -> None:
        """Write all of ``data``, waiting for the peer without a limit."""
        view = memoryview(data)
        while view:
            self._check()
            try:
                view = view[self._sock.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._ready(select.POLLOUT | FIN)
            except ssl.SSLWantReadError:
                self._ready(select.POLLIN)
            except OSError as exc:
                raise PeerGone("the peer does not take any more") from exc

    def wait(self, seconds: float | None) -> None:
        """Wait for ``seconds`` (``None``: forever)."""
        self._check()
        left = seconds
        while left is None or left > 0:
            if self._poll(FIN, left)[0]:
                raise PeerGone("the peer left while we waited")
            if left is not None:
                left -= _LONGEST_WAIT

    def wait_for(self, event: threading.Event) -> None:
        """Wait until ``event`` is set."""
        self._check()
        while not event.is_set():
            if isinstance(event, Gate):
                gone, _ = self._poll(FIN, None, event.bell)
            else:
                gone, _ = self._poll(FIN, _FOREIGN_EVENT_SLICE)
            if gone:
                raise PeerGone("the peer left while we waited")

    def half_close(self, *, notify: bool = True) -> None:
        """Send a FIN and keep reading; over TLS after a close_notify, unless ``notify`` is false."""
        if notify:
            self._notify()
        with contextlib.suppress(OSError):
            # Not SSLSocket.shutdown, which drops the TLS state that reading needs.
            socket.socket.shutdown(self._sock, socket.SHUT_WR)

    def close(self, *, notify: bool = True) -> None:
        """Send a FIN (over TLS after a close_notify, unless ``notify`` is false) and close."""
        if not self.closed:
            self.half_close(notify=notify)
            self._discard()
            self._sock.close()

    def reset(self) -> None:
        """Send a RST and close. Bytes that the peer's kernel has not taken are lost."""
        if not self.closed:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            self._sock.close()

    def _check(self) -> None:
        if self._stop.rung:
            raise Stopped("the server is stopping")

    def _ready(self, events: int) -> None:
        seen, _ = self._poll(events, None)
        if not seen & events & ~FIN and seen & GONE and not events & select.POLLIN:
            raise PeerGone("the peer left while it should have been reading")

    def _poll(self, events: int, seconds: float | None, bell: Bell | None = None) -> tuple[int, bool]:
        """The events on the socket (0: none in ``seconds``), and whether ``bell`` rang. Raises ``Stopped``."""
        poll = select.poll()
        poll.register(self._sock.fileno(), events)
        poll.register(self._stop.fileno(), select.POLLIN)
        if bell is not None:
            poll.register(bell.fileno(), select.POLLIN)
        seen = dict(poll.poll(None if seconds is None else min(seconds, _LONGEST_WAIT) * 1000))
        self._check()
        return seen.get(self._sock.fileno(), 0), bell is not None and bell.fileno() in seen

    def _notify(self) -> None:
        if isinstance(self._sock, ssl.SSLSocket):
            # Sends the close_notify. unwrap raises if the peer's close_notify has not come, which does not matter.
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()

    def _discard(self) -> None:
        # With unread bytes the kernel would send a RST after the FIN.
        with contextlib.suppress(OSError, ValueError):
            while socket.socket.recv(self._sock, 65536):
                pass
