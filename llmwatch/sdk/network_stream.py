"""What a program sees of the connection below a watched response of httpx."""

from __future__ import annotations

import io
from typing import Any, NoReturn

from llmwatch.transport.peer import PeerSocket, TlsPeerSocket

__all__ = ["NetworkStream"]


class NetworkStream:
    """The ``network_stream`` of a response: the facts of its connection, and nothing to read.

    The library's own stream reads and writes beside the response, and so takes parts of its body. A watched body is
    read by llmwatch's worker.
    """

    def __init__(self, peer: PeerSocket) -> None:
        self._peer = peer

    def get_extra_info(self, info: str) -> Any:
        """``client_addr``, ``server_addr``, ``ssl_object`` (TLS alone), ``socket``; else ``None``.

        The last two are the informing parts of such an object, without its descriptor. ``is_readable`` is ``None``,
        since whether bytes wait is known to the worker alone. Raises :class:`OSError` for an address if the connection
        was lost before it was known.
        """
        if info == "client_addr":
            return self._peer.getsockname()
        if info == "server_addr":
            return self._peer.getpeername()
        if info == "socket" or (info == "ssl_object" and isinstance(self._peer, TlsPeerSocket)):
            return self._peer
        return None

    def read(self, max_bytes: int, timeout: float | None = None) -> NoReturn:
        """Raise :class:`io.UnsupportedOperation`: the worker reads."""
        raise io.UnsupportedOperation(_ADVICE)

    def write(self, buffer: bytes, timeout: float | None = None) -> NoReturn:
        """Raise :class:`io.UnsupportedOperation`: the request was sent whole."""
        raise io.UnsupportedOperation(_ADVICE)

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> NoReturn:
        """Raise :class:`io.UnsupportedOperation`: the connection is the worker's."""
        raise io.UnsupportedOperation(_ADVICE)

    def close(self) -> None:
        """Does nothing: the worker closes the connection. ``response.close()`` ends the call."""


_ADVICE = (
    "The connection of a watched response is read by a worker thread of llmwatch. Read the body with"
    " response.iter_bytes(); a request with an extension trace goes over a connection of the library's own."
)
