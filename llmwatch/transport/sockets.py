"""Opens sockets that another thread can shut down at every moment of their life.

Python cannot interrupt a blocked thread, but its socket can be shut down. Shutting down a *duplicate* of the descriptor
wakes connect (on Linux), TLS handshakes and reads within a millisecond, whatever the owner has wrapped around it. The
duplicate belongs to the attempt. So it can be closed without closing the owner's descriptor, and without bytes on the
wire.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import sys
from typing import Any

from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError
from urllib3.util import Timeout
from urllib3.util.connection import allowed_gai_family
from urllib3.util.wait import wait_for_read, wait_for_write

from llmwatch.interruption import is_interruption
from llmwatch.transport.context import RequestContext

__all__ = ["BACKSTOP_MARGIN", "KEEPALIVE_OPTIONS", "SocketHandle", "close_inherited", "close_lost_tls", "open_socket"]

BACKSTOP_MARGIN = 6.0
"""Seconds by which a socket's time-out exceeds the limit it stands behind: a limit's grace plus 5 s."""

# Load balancers drop idle flows after 60 s, a cloud NAT after 350 s. A probe a minute keeps them open and notices dead
# peers.
_IDLE, _INTERVAL, _COUNT = 60, 15, 4


def _keepalive_options() -> list[tuple[int, int, int]]:
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (
        ("TCP_KEEPIDLE", _IDLE),
        ("TCP_KEEPALIVE", _IDLE),  # the name on macOS
        ("TCP_KEEPINTVL", _INTERVAL),
        ("TCP_KEEPCNT", _COUNT),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            options.append((socket.IPPROTO_TCP, option, value))
    return options


KEEPALIVE_OPTIONS = _keepalive_options()
"""Socket options to add to urllib3's default ones; replacing those would lose TCP_NODELAY."""


class SocketHandle:
    """The duplicate of one socket (see :class:`llmwatch.watch.interfaces.Handle`)."""

    __slots__ = ("_duplicate", "owner")

    def __init__(self, sock: Any) -> None:
        self.owner = sock  # the socket as its owner uses it now; replaced when TLS wraps it
        self._duplicate = socket.fromfd(sock.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        if socket.getdefaulttimeout() is not None:
            # A new socket object applies the process-wide default, and a duplicate shares whether its descriptor
            # blocks.
            sock.settimeout(sock.gettimeout())

    def shutdown(self) -> None:
        # The socket may not be connected yet (its thread still wakes), or the peer was faster.
        try:
            self._duplicate.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            if is_interruption(error):
                raise

    def waiting(self) -> bool:
        try:
            return wait_for_read(self._duplicate, timeout=0)
        except (OSError, ValueError):
            return False

    def release(self) -> None:
        self._duplicate.close()

    def detach_in_child(self) -> None:
        self._duplicate.close()
        close_inherited(self.owner)


def close_inherited(owner: Any) -> None:
    """In a forked child: close the descriptor of a socket of the parent, whatever refers to the object."""
    # An SSLTransport (TLS in TLS) holds the socket inside.
    sock = getattr(owner, "socket", owner)
    with contextlib.suppress(OSError):
        descriptor = sock.detach()
        if descriptor >= 0:
            os.close(descriptor)


def close_lost_tls(error: BaseException) -> None:
    """Close the TLS sockets that ``error`` left behind.
    Up to CPython 3.11, when the peer resets the connection before the handshake begins, ``ssl`` takes the descriptor
    over and loses it: it stays open until a garbage collection.
    """
    trace = error.__traceback__
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        # Reading the variables of a frame keeps them, up to CPython 3.12. The frame that caught the error has the error
        # among them: the two would keep each other, and with them the pool and its open connections.
        if frame.f_code.co_filename == ssl.__file__:
            lost = frame.f_locals.get("self")
            if isinstance(lost, ssl.SSLSocket):
                lost.close()


def open_socket(conn: HTTPConnection, context: RequestContext) -> tuple[socket.socket, SocketHandle]:
    """Connect to the host of ``conn``, address by address; the attempt knows each socket first.

    The addresses share the rest of ``connect``, so that a dead first address leaves time for the next; the last address
    has all of the rest. For a request context that is not llmwatch's own, each address has the connection's own
    time-out. Raises the errors of urllib3's ``_new_conn``, and :class:`~llmwatch.watch.interfaces.Aborted` when the
    attempt is over. Nothing can wake the name look-up.
    """
    observer = context.observer
    observer.check()
    addresses = _look_up(conn)
    error: OSError | None = None
    for index, (family, kind, proto, _, address) in enumerate(addresses):
        observer.check()
        if context.own:
            left, later = observer.time_left("connect"), context.connect_backstop
            remaining = len(addresses) - index
            timeout = None if left is None else left + BACKSTOP_MARGIN if remaining == 1 else left / remaining
        else:
            timeout = later = Timeout.resolve_default_timeout(conn.timeout)
        try:
            return _connect(conn, context, (family, kind, proto), address, timeout, later)
        except OSError as failed:
            observer.check()
            error = failed
    if isinstance(error, TimeoutError):
        raise ConnectTimeoutError(conn, f"no address of {conn.host} answered in time") from error
    raise NewConnectionError(conn, f"no connection to {conn.host}: {error}") from error


def _look_up(conn: HTTPConnection) -> list[Any]:
    host = conn._dns_host.strip("[]")
    try:
        host.encode("idna")
    except UnicodeError:
        raise LocationParseError(f"'{host}', label empty or too long") from None
    try:
        addresses = socket.getaddrinfo(host, conn.port, allowed_gai_family(), socket.SOCK_STREAM)
    except socket.gaierror as error:
        lack = _lack_of_descriptors()
        if lack is not None:
            raise NewConnectionError(conn, f"{conn.host} could not be looked up: {lack}") from lack
        raise NameResolutionError(conn.host, conn, error) from error
    if not addresses:
        raise NewConnectionError(conn, f"{conn.host} has no address")
    return list(addresses)


def _lack_of_descriptors() -> OSError | None:
    """The system's error if it gives out no descriptor.
    A look-up needs some, and reports an unknown name without them (glibc 2.36).
    """
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error if error.errno in (errno.EMFILE, errno.ENFILE) else None
    return None


def _finish_connecting(sock: socket.socket, address: Any, context: RequestContext, timeout: float | None) -> None:
    """Connect, so that a shutdown is noticed at any moment.
    A shutdown before the connect begins leaves no trace. So the connect begins without blocking, and the verdict is
    checked before the wait.
    """
    sock.setblocking(False)
    code = sock.connect_ex(address)
    context.observer.check()
    if code in (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY):
        if not wait_for_write(sock, timeout):
            raise TimeoutError(errno.ETIMEDOUT, "the connection was not established in time")
        context.observer.check()
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _connect(
    conn: HTTPConnection,
    context: RequestContext,
    kind: tuple[int, int, int],
    address: Any,
    timeout: float | None,
    later: float | None,
) -> tuple[socket.socket, SocketHandle]:
    """A socket that is connected within ``timeout`` seconds; ``later`` is its time-out from then on."""
    sock = socket.socket(*kind)
    handle: SocketHandle | None = None
    try:
        for option in conn.socket_options or ():
            sock.setsockopt(*option)
        if conn.source_address:
            sock.bind(conn.source_address)
        handle = SocketHandle(sock)
        context.observer.adopt(handle, reused=False)
        _finish_connecting(sock, address, context, timeout)
        sock.settimeout(later)
    except BaseException:
        if handle is not None:
            context.observer.disown(handle)
        sock.close()
        raise
    sys.audit("http.client.connect", conn, conn.host, conn.port)
    return sock, handle
