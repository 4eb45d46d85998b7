"""The socket under an SDK's stream."""

from __future__ import annotations

import contextlib
from typing import Any

from llmwatch.transport.sockets import SocketHandle

__all__ = ["socket_of"]


def socket_of(stream: object) -> SocketHandle | None:
    """A handle on the socket of ``stream.response``, an httpx response as the SDKs keep it, or ``None``.
    The descriptor is duplicated, so it may be shut down at any time and never becomes another socket's.
    """
    response: Any = getattr(stream, "response", None)
    extensions = getattr(response, "extensions", None)
    if not isinstance(extensions, dict):
        return None
    network = extensions.get("network_stream")
    info = getattr(network, "get_extra_info", None)
    if not callable(info):
        return None
    # A stand-in for the network, or a stream that is closed already, has no descriptor.
    with contextlib.suppress(Exception):
        sock = info("socket")
        if sock is not None and sock.fileno() >= 0:
            return SocketHandle(sock)
    return None
