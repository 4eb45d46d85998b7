"""A CONNECT proxy for loopback, with faults."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from llmwatch.faults.link import Link
from llmwatch.faults.listener import Listener
from llmwatch.faults.relay import relay
from llmwatch.faults.request import RequestHead, RequestReader

__all__ = ["ConnectRequest", "ProxyMode", "ProxyServer"]

ProxyMode = Literal["tunnel", "silent", "refuse", "silent-after-connect"]
"""The proxy's treatment of a CONNECT; see :class:`ProxyServer`."""


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """A CONNECT that reached the proxy: the target as sent, and the headers."""

    target: str
    headers: list[tuple[str, str]]


class ProxyServer(Listener):
    """An HTTP proxy with CONNECT only, which relays only to loopback addresses.

    ``mode`` is one mode, or one for each CONNECT (the last repeats): ``tunnel`` works; ``silent`` never answers the
    CONNECT; ``refuse`` answers with ``status``; ``silent-after-connect`` answers 200 and relays nothing. ``tls`` makes
    the connection to the proxy TLS, so that an https target is TLS in TLS.
    """

    def __init__(
        self,
        mode: ProxyMode | Sequence[ProxyMode] = "tunnel",
        *,
        tls: ssl.SSLContext | None = None,
        status: int = 502,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._modes: list[ProxyMode] = [mode] if isinstance(mode, str) else list(mode)
        for one in self._modes:
            if one not in get_args(ProxyMode):
                raise ValueError(f"mode is {one!r}, not one of {', '.join(get_args(ProxyMode))}")
        super().__init__(host=host, port=port)
        self._tls = tls
        self._status = status
        self._requests: list[ConnectRequest] = []

    @property
    def url(self) -> str:
        """The proxy's address, for ``proxies={"https": proxy.url}``."""
        return f"{'http' if self._tls is None else 'https'}://{self.netloc}"

    @property
    def requests(self) -> list[ConnectRequest]:
        """A copy of the list of CONNECTs so far."""
        with self._changed:
            return list(self._requests)

    @property
    def connects(self) -> int:
        """Number of CONNECTs so far."""
        with self._changed:
            return len(self._requests)

    def wait_for_connects(self, count: int, timeout: float = 30.0) -> None:
        """Return once ``count`` CONNECTs came; ``TimeoutError`` after ``timeout`` seconds."""
        self._wait(lambda: len(self._requests) >= count, timeout, lambda: f"{len(self._requests)} of {count} CONNECTs")

    def serve(self, link: Link, number: int) -> None:
        if self._tls is not None:
            link.handshake(self._tls)
        reader = RequestReader(link)
        try:
            head = reader.head()
        except ValueError:
            return _refuse(link, 400)
        if head is None:
            return None
        if head.method != "CONNECT":
            return _refuse(link, 405)
        mode = self._record(head)
        if mode == "silent":
            link.wait(None)
        if mode == "refuse":
            return _refuse(link, self._status)
        target = _loopback(head.target)
        if target is None:
            return _refuse(link, 403)
        if mode == "silent-after-connect":
            link.send(_ESTABLISHED)
            link.wait(None)
        return self._tunnel(link, target)

    def _record(self, head: RequestHead) -> ProxyMode:
        with self._changed:
            self._requests.append(ConnectRequest(head.target, head.headers))
            self._changed.notify_all()
            return self._modes[min(len(self._requests), len(self._modes)) - 1]

    def _tunnel(self, link: Link, target: tuple[str, int]) -> None:
        upstream = Link(socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET), self._stop)
        try:
            if not upstream.dial(target):
                return _refuse(link, 502)
            link.send(_ESTABLISHED)
            return relay(link, upstream, self._stop)
        finally:
            upstream.reset()


_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def _refuse(link: Link, status: int) -> None:
    link.send(b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)


def _loopback(target: str) -> tuple[str, int] | None:
    """The address of a CONNECT target; ``None`` if it is not a loopback address."""
    host, _, port = target.rpartition(":")
    host = host.strip("[]")
    if host == "localhost":
        host = "127.0.0.1"
    try:
        inside = ipaddress.ip_address(host).is_loopback and 0 < int(port) < 1 << 16
        return (host, int(port)) if inside else None
    except ValueError:
        return None
