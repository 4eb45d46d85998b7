"""The CONNECT proxy, plain and behind TLS, to plain targets and to TLS ones."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from llmwatch.faults import FaultServer, ProxyServer, blackhole, catalogue, refused_port
from tests.faults import reading
from tests.faults.client import PATHS, SOON, WireClient

MEBI = 1 << 20


class TLSInside:
    """TLS over any socket, itself TLS or not, in the few calls that a client here makes."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")
        self._do(self._tls.do_handshake)

    def sendall(self, data: bytes) -> None:
        while data:
            data = data[self._do(functools.partial(self._tls.write, data[:16384])) :]

    def recv(self, size: int) -> bytes:
        return self._do(lambda: self._tls.read(size))

    def close(self) -> None:
        self._sock.close()

    def _do(self, call):
        while True:
            try:
                result = call()
            except ssl.SSLWantReadError:
                self._sock.sendall(self._outgoing.read())
                data = self._sock.recv(65536)
                self._incoming.write(data) if data else self._incoming.write_eof()
            except ssl.SSLZeroReturnError:
                return b""
            else:
                self._sock.sendall(self._outgoing.read())
                return result


@contextlib.contextmanager
def tunnelled(
    proxy: ProxyServer, target: str, outer: ssl.SSLContext | None, inner: ssl.SSLContext | None
) -> Iterator[WireClient]:
    """A client behind a CONNECT."""
    with WireClient(proxy.url, outer) as client:
        connect(client, target)
        assert client.status == 200
        if inner is not None:
            client.sock = TLSInside(client.sock, inner)
        yield client


def connect(client: WireClient, target: str) -> WireClient:
    target = target.removeprefix("https://").removeprefix("http://")
    client.sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nX-Mark: 1\r\n\r\n".encode())
    return client.head()


@pytest.fixture(params=["plain", "tls"])
def outer(request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext):
    """The two contexts of the connection to the proxy, or none."""
    return (server_tls, client_tls) if request.param == "tls" else (None, None)


@pytest.fixture(params=["plain", "tls"])
def inner(request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext):
    """The two contexts of the connection to the target, or none."""
    return (server_tls, client_tls) if request.param == "tls" else (None, None)


def test_tunnel_carries_both_ways(outer, inner):
    """Requests and answers pass through the tunnel, TLS in TLS included.

    The connection serves several.
    """
    with FaultServer("healthy", tls=inner[0]) as server, ProxyServer(tls=outer[0]) as proxy:
        with tunnelled(proxy, server.url, outer[1], inner[1]) as client:
            for _ in range(2):
                assert reading.text("openai-chat", client.ask().read().body) == catalogue.ANSWER
        proxy.wait_for_closed(1)
        server.wait_for_closed(1)
        assert (proxy.connects, proxy.connections, server.connections) == (1, 1, 1)
        assert proxy.requests[0].target == server.netloc
        assert ("X-Mark", "1") in proxy.requests[0].headers


def test_tunnel_carries_large_bodies(outer, inner):
    """Megabytes pass both ways, more than any buffer holds."""
    with (
        FaultServer(["healthy", "giant-event:size=4000000"], tls=inner[0]) as server,
        ProxyServer(tls=outer[0]) as proxy,
        tunnelled(proxy, server.url, outer[1], inner[1]) as client,
    ):
        client.ask(padding="x" * (4 * MEBI)).read()
        assert server.requests[0].body_bytes > 4 * MEBI
        assert reading.text("openai-chat", client.ask().read().body) == "x" * 4_000_000


@pytest.mark.parametrize(("script", "ended"), [("unframed", "eof"), ("reset-mid-stream", "reset")])
def test_end_of_the_target_reaches_the_client(script: str, ended: str):
    """A FIN of the target comes out as a FIN and a RST as a RST, after all that was sent before."""
    tokens = {"eof": 0, "reset": 3}[ended]
    with FaultServer(script) as server, ProxyServer() as proxy, tunnelled(proxy, server.url, None, None) as client:
        client.ask().read()
        assert client.gone == ended
        assert reading.text("openai-chat", client.body) == catalogue.answer(tokens)


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("script", ["silent", "upload-stall", "endless-event"])
def test_end_of_the_client_reaches_the_target(script: str, leave: str):
    """A client that leaves frees the proxy and the target.

    This holds also where the target reads nothing or its bytes are not read.
    """
    with FaultServer(script, receive_buffer=65536) as server, ProxyServer() as proxy:
        with tunnelled(proxy, server.url, None, None) as client:
            if script == "upload-stall":
                client.sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (32 * MEBI))
                client.sock.sendall(bytes(65536))
            else:
                client.send(PATHS["generic"])
            server.wait_for_requests(1)
            if leave == "reset":
                client.reset()
        proxy.wait_for_closed(1)
        server.wait_for_closed(1)


def test_silent_proxy_never_answers():
    """The CONNECT is taken and not answered; a client that leaves is let go."""
    with ProxyServer("silent") as proxy:
        with WireClient(proxy.url) as client:
            client.sock.sendall(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n")
            proxy.wait_for_connects(1)
            assert client.is_quiet()
        proxy.wait_for_closed(1)


def test_silent_after_connect_relays_nothing(client_tls: ssl.SSLContext):
    """The tunnel is said to be there, and nothing comes through it, so that a handshake in it hangs."""
    with FaultServer() as server, ProxyServer("silent-after-connect") as proxy:
        with WireClient(proxy.url) as client:
            assert connect(client, server.url).status == 200
            client.sock.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client_tls.wrap_socket(client.sock, server_hostname="127.0.0.1")
        assert server.connections == 0


@pytest.mark.parametrize("status", [407, 502])
def test_refusing_proxy_answers_with_its_status(status: int, outer):
    """A CONNECT is refused with the status that was asked for."""
    with ProxyServer("refuse", status=status, tls=outer[0]) as proxy, WireClient(proxy.url, outer[1]) as client:
        assert connect(client, "127.0.0.1:1").status == status
        assert client.end_of_connection() == "eof"


def test_modes_go_by_the_number_of_the_connect():
    """Each CONNECT gets the mode of its number, and the last mode repeats."""
    with FaultServer() as server, ProxyServer(["refuse", "tunnel"]) as proxy:
        statuses = []
        for _ in range(3):
            with WireClient(proxy.url) as client:
                statuses.append(connect(client, server.url).status)
        assert statuses == [502, 200, 200]


@pytest.mark.parametrize("target", ["192.0.2.1:443", "example.test:443", "127.0.0.1:99999", "nonsense"])
def test_only_loopback_is_relayed_to(target: str):
    """A target that is not loopback is refused, and nothing is looked up or connected to."""
    with ProxyServer() as proxy, WireClient(proxy.url) as client:
        assert connect(client, target).status == 403


def test_localhost_is_loopback():
    """The name of the loopback address will do."""
    with (
        FaultServer() as server,
        ProxyServer() as proxy,
        tunnelled(proxy, f"localhost:{server.port}", None, None) as client,
    ):
        assert client.ask().read().ended == "end"


def test_dead_target_is_a_bad_gateway():
    """A target that refuses makes a 502."""
    with refused_port() as port, ProxyServer() as proxy, WireClient(proxy.url) as client:
        assert connect(client, f"127.0.0.1:{port}").status == 502


def test_stop_ends_a_connect_that_hangs():
    """A proxy that hangs while it connects, and one with an idle tunnel, stop at once."""
    with (
        blackhole() as (host, port),
        FaultServer() as server,
        ProxyServer() as proxy,
        WireClient(proxy.url) as stuck,
        tunnelled(proxy, server.url, None, None) as idle,
    ):
        stuck.sock.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode())
        proxy.wait_for_connects(2)
        began = time.monotonic()
        proxy.stop()
        assert time.monotonic() - began < SOON
        assert (stuck.end_of_connection(), idle.end_of_connection()) == ("reset", "reset")


@pytest.mark.parametrize(("request_line", "status"), [(b"GET http://127.0.0.1/ HTTP/1.1", 405), (b"nonsense", 400)])
def test_only_connect_is_known(request_line: bytes, status: int):
    """Any other request is refused."""
    with ProxyServer() as proxy, WireClient(proxy.url) as client:
        client.sock.sendall(request_line + b"\r\n\r\n")
        assert client.head().status == status
        assert proxy.connects == 0


def test_unknown_mode_is_an_error():
    """A mode that does not exist is named in the error."""
    with pytest.raises(ValueError, match="mode is 'deaf', not one of tunnel, silent, refuse, silent-after-connect"):
        ProxyServer("deaf")
