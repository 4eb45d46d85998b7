"""Facts about the far side of a connection, without its socket.

Libraries reach through a response for the socket below it, to see the server's certificate or address. The socket
belongs to the worker, so its facts are noted when the response begins.
"""

from __future__ import annotations

import contextlib
from typing import Any

__all__ = ["PeerSocket", "TlsPeerSocket", "peer_of"]


class PeerSocket:
    """The informing part of a connected socket's interface; it cannot read, write or close anything."""

    def __init__(self, sock: Any) -> None:
        self._peer: Any = None
        self._own: Any = None
        # A lost connection has no addresses any more.
        with contextlib.suppress(OSError, AttributeError):
            self._peer, self._own = sock.getpeername(), sock.getsockname()
        self.family = getattr(sock, "family", None)
        self.type = getattr(sock, "type", None)
        self.proto = getattr(sock, "proto", None)

    def getpeername(self) -> Any:
        """The server's address."""
        return self._known(self._peer)

    def getsockname(self) -> Any:
        """The local address."""
        return self._known(self._own)

    @staticmethod
    def _known(address: Any) -> Any:
        if address is None:
            raise OSError("The connection was lost before its addresses were known.")
        return address

    def fileno(self) -> int:
        """-1, as for a closed socket: the descriptor belongs to the worker."""
        return -1

    def settimeout(self, value: float | None) -> None:
        """Does nothing: the limits bound every read.
        botocore's ``StreamingBody.set_socket_timeout`` comes here.
        """

    def gettimeout(self) -> float | None:
        """``None``: no read of the caller's waits for this socket."""
        return None

    def close(self) -> None:
        """Does nothing: the worker closes the socket."""


class TlsPeerSocket(PeerSocket):
    """The same for a TLS connection."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._certificate: Any = None
        self._decoded: Any = None
        # The server may have no certificate, or the TLS layer may be another package's.
        with contextlib.suppress(OSError, ValueError, TypeError):
            self._certificate, self._decoded = sock.getpeercert(True), sock.getpeercert()
        self._facts = {name: _asked(sock, name) for name in ("cipher", "version", "selected_alpn_protocol")}

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The server's certificate, in DER or decoded, as :meth:`ssl.SSLSocket.getpeercert` gives it."""
        return self._certificate if binary_form else self._decoded

    def cipher(self) -> Any:
        """Name, protocol and bits of the cipher."""
        return self._facts["cipher"]

    def version(self) -> Any:
        """The TLS version."""
        return self._facts["version"]

    def selected_alpn_protocol(self) -> Any:
        """The protocol that ALPN selected."""
        return self._facts["selected_alpn_protocol"]


def _asked(sock: Any, name: str) -> Any:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return getattr(sock, name)()
    return None


def peer_of(sock: Any) -> PeerSocket | None:
    """The facts of ``sock``; ``None`` without a socket."""
    if sock is None:
        return None
    return TlsPeerSocket(sock) if hasattr(sock, "getpeercert") else PeerSocket(sock)
