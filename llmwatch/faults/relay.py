"""Carrying bytes both ways between two links until either ends."""

from __future__ import annotations

import select
import socket
import ssl

from llmwatch.faults.link import FIN, GONE, Bell, Link, PeerGone, Stopped

__all__ = ["relay"]

_BUFFER = 1 << 16
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def relay(client: Link, target: Link, stop: Bell) -> None:
    """Carry bytes both ways, then close ``client`` as ``target`` ended: with a FIN or a RST.

    A FIN of the client ends the relay at once, even if the target has not taken all bytes: HTTP clients send a FIN only
    when they give the connection up, and the test that watches the target must see the end.
    """
    outbound, inbound = _Lane(client.socket, target.socket), _Lane(target.socket, client.socket)
    while not inbound.done:
        if _await(client, target, outbound, inbound, stop) & GONE or outbound.ended:
            raise PeerGone("the client left its tunnel")
        outbound.carry()
        inbound.carry()
    if inbound.broken:
        client.reset()
    else:
        client.close()


def _await(client: Link, target: Link, outbound: _Lane, inbound: _Lane, stop: Bell) -> int:
    """Wait until bytes can be carried; return the events on the client's socket."""
    poll = select.poll()
    poll.register(client.socket.fileno(), FIN | outbound.reads() | inbound.writes())
    wanted = inbound.reads() | outbound.writes()
    if wanted:
        # poll reports a hang-up even without wanted events, and would do so repeatedly while the client is slow.
        poll.register(target.socket.fileno(), wanted)
    poll.register(stop.fileno(), select.POLLIN)
    # TLS may hold decrypted bytes that poll does not see.
    seen = dict(poll.poll(0 if outbound.pending() or inbound.pending() else None))
    if stop.rung:
        raise Stopped("the proxy is stopping")
    return seen.get(client.socket.fileno(), 0)


class _Lane:
    """One direction: the bytes that were read and not written yet, and the state of the source."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self._source = source
        self._sink = sink
        self._buffer = bytearray()
        self.ended = False
        self.broken = False
        self._blocked = False

    @property
    def done(self) -> bool:
        return self.ended and not self._buffer

    def reads(self) -> int:
        return select.POLLIN if not self.ended and len(self._buffer) < _BUFFER else 0

    def writes(self) -> int:
        return select.POLLOUT if self._buffer else 0

    def pending(self) -> bool:
        source = self._source
        return bool(self.reads()) and isinstance(source, ssl.SSLSocket) and source.pending() > 0

    def carry(self) -> None:
        """Read and write as much as possible without waiting."""
        if self.reads():
            try:
                data = self._source.recv(_BUFFER)
                # Bytes for a dead sink are dropped, so that the source is never held up.
                self._buffer += data if not self._blocked else b""
                self.ended = not data
            except _NOT_NOW:
                pass
            except OSError:
                self.ended = self.broken = True
        if self._buffer:
            try:
                del self._buffer[: self._sink.send(self._buffer)]
            except _NOT_NOW:
                pass
            except OSError:
                self._buffer.clear()
                self._blocked = True
