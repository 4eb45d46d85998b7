"""HTTP/2 and SOCKS under ``install()``, and the protocol that TLS agrees on."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import httpx
import httpx2
import pytest
import trustme

import llmwatch
from llmwatch import CallRecord, Limits, Retry
from llmwatch.faults.link import Link, LinkOver
from llmwatch.faults.listener import Listener
from llmwatch.faults.relay import relay
from llmwatch.hooks.left_alone import counts
from tests.hooks.test_httpx_transports import CHAT, STREAM, Install, install
from tests.sdk.times import LONG

__all__ = ["install"]

pytestmark = pytest.mark.usefixtures("nothing_left")

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])

PATH = "/v1/chat/completions"


class Http2Server(Listener):
    """Speaks HTTP/2 over TLS where the client offers it, and answers every request with ``over HTTP/2``.

    Where the client does not, it notes what comes and hangs up.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__()
        self._tls = tls
        self.agreed: list[str | None] = []
        self.bodies: list[bytes] = []
        self.received: list[bytes] = []
        """The first bytes of each connection, after the handshake."""

    def serve(self, link: Link, number: int) -> None:
        link.handshake(self._tls)
        tls: Any = link.socket
        self.agreed.append(tls.selected_alpn_protocol())
        if self.agreed[-1] != "h2":
            self.received.append(link.receive())
            link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nover HTTP/1.1")
            return
        server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        server.initiate_connection()
        at = len(self.received)
        self.received.append(b"")
        link.send(server.data_to_send())
        body = b""
        while data := link.receive():
            self.received[at] += data
            for event in server.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    self.bodies.append(body)
                    server.send_headers(event.stream_id, [(":status", "200"), ("content-length", "11")])
                    server.send_data(event.stream_id, b"over HTTP/2", end_stream=True)
            if out := server.data_to_send():
                link.send(out)


@pytest.fixture
def two(authority: trustme.CA) -> Iterator[Http2Server]:
    """A server that prefers HTTP/2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with Http2Server(context) as server:
        yield server


def _url(server: Listener) -> str:
    return f"https://localhost:{server.port}{PATH}"


def _left(library: Any, reason: str) -> int:
    return counts().get(library.__name__, {}).get(reason, 0)


@libraries
def test_a_client_of_http2_speaks_http2(two: Http2Server, install: Install, bundle: str, library: Any) -> None:
    """A model call of a client with ``http2=True`` goes over HTTP/2, as without llmwatch, and is counted."""

    def ask() -> tuple[str, str]:
        with library.Client(http2=True, verify=ssl.create_default_context(cafile=bundle), timeout=LONG) as client:
            response = client.post(_url(two), json=CHAT)
        return response.http_version, response.text

    expected = ask()
    assert expected == ("HTTP/2", "over HTTP/2")
    records, before = install(), _left(library, "HTTP/2")
    assert ask() == expected
    assert two.bodies[0] == two.bodies[1]
    assert (two.agreed, records, _left(library, "HTTP/2") - before) == (["h2"] * 2, [], 1)


@libraries
def test_a_context_that_is_shared_with_http2_is_watched_over_http1(
    two: Http2Server, install: Install, bundle: str, library: Any
) -> None:
    """A client of HTTP/1.1 offers that alone, although a client of HTTP/2 has the same TLS context."""
    context = ssl.create_default_context(cafile=bundle)
    records = install()
    with (
        library.Client(http2=True, verify=context, timeout=LONG) as other,
        library.Client(verify=context, timeout=LONG) as client,
    ):
        for _ in range(2):
            assert other.post(_url(two), json=CHAT).text == "over HTTP/2"
            assert client.post(_url(two), json=CHAT).text == "over HTTP/1.1"
    assert sorted(two.agreed, key=str) == ["h2", "http/1.1", "http/1.1"]
    assert [record.outcome for record in records] == ["done"] * 2


class _Contended(ssl.SSLContext):
    """A context that another thread's client of HTTP/2 changes before some handshakes."""

    contended = 0

    def wrap_socket(self, *args: Any, **kwargs: Any) -> Any:
        if self.contended > 0:
            self.contended -= 1
            super().set_alpn_protocols(["http/1.1", "h2"])
        return super().wrap_socket(*args, **kwargs)


@libraries
@pytest.mark.parametrize(("contended", "connections"), [(1, 2), (9, 2)])
def test_no_request_is_written_where_http2_was_agreed_on(
    two: Http2Server, bundle: str, library: Any, contended: int, connections: int
) -> None:
    """The connection is given up before the first byte of a request, and another is tried."""
    context = _Contended(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(bundle)
    context.contended = contended
    records: list[CallRecord] = []
    llmwatch.install(limits=Limits(ttfb=LONG), retry=Retry(max_attempts=2, backoff=0.01), sinks=[records.append])
    with library.Client(verify=context, timeout=LONG) as client:
        if contended == 1:
            assert client.post(_url(two), json=STREAM).text == "over HTTP/1.1"
            assert two.received[1].startswith(b"POST")
        else:
            with pytest.raises(library.ConnectError, match="handshake"):
                client.post(_url(two), json=STREAM)
    two.wait_for_closed(connections)
    assert two.agreed == ["h2", "http/1.1" if contended == 1 else "h2"]
    assert two.received[0] == b""
    assert [record.outcome for record in records] == ["recovered" if contended == 1 else "failed"]


class SocksProxy(Listener):
    """A SOCKS5 proxy without authentication, which connects to loopback alone."""

    def __init__(self) -> None:
        super().__init__()
        self.connects = 0

    def serve(self, link: Link, number: int) -> None:
        assert link.receive()[:1] == b"\x05"
        link.send(b"\x05\x00")
        request = link.receive()
        assert request[:3] == b"\x05\x01\x00"
        self.connects += 1
        port = int.from_bytes(request[-2:], "big")
        upstream = Link(socket.socket(), self._stop)
        try:
            if not upstream.dial(("127.0.0.1", port)):
                raise LinkOver
            link.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
            relay(link, upstream, self._stop)
        finally:
            upstream.reset()


@libraries
def test_a_client_behind_socks_goes_its_way(serve: Any, install: Install, library: Any) -> None:
    """A model call through a SOCKS proxy is the same as without llmwatch, and is counted."""
    server = serve("healthy")
    with SocksProxy() as proxy:

        def ask() -> int:
            with library.Client(proxy=f"socks5://{proxy.netloc}", timeout=LONG) as client:
                status: int = client.post(server.chat_url, json=STREAM).status_code
                return status

        assert ask() == 200
        records, before = install(), _left(library, "a SOCKS proxy")
        assert ask() == 200
        assert proxy.connects == 2
    first, second = server.requests
    assert (first.headers, first.body) == (second.headers, second.body)
    assert (records, _left(library, "a SOCKS proxy") - before) == ([], 1)


@libraries
def test_an_async_client_goes_its_way(serve: Any, install: Install, library: Any) -> None:
    """A model call of an async client is the same as without llmwatch, and has no record."""
    server = serve("healthy")

    async def ask() -> int:
        async with library.AsyncClient(timeout=LONG) as client:
            status: int = (await client.post(server.chat_url, json=STREAM)).status_code
            return status

    assert asyncio.run(ask()) == 200
    records = install()
    assert asyncio.run(ask()) == 200
    first, second = server.requests
    assert (first.headers, first.body) == (second.headers, second.body)
    assert records == []
