"""Where a request ends, and which of its headers go on to the upstream."""

from __future__ import annotations

import socket

import httpx
import pytest

from llmwatch.proxy import ProxyServer
from tests.end_to_end.calls import eventually
from tests.proxy.serving import BODY, PATH, all_of, connect, exchange, proxied

pytestmark = pytest.mark.usefixtures("baseline", "quick")


def framed(proxy: ProxyServer, *headers: str, version: str = "1.1") -> bytes:
    """The head of a request with only these headers, and its Host."""
    return "\r\n".join([f"POST {PATH} HTTP/{version}", f"Host: 127.0.0.1:{proxy.port}", *headers, "", ""]).encode()


def test_a_framing_that_two_readers_could_read_differently_is_refused() -> None:
    with proxied() as (proxy, server, _):
        for head in (
            framed(proxy, "Content-Length: +2"),
            framed(proxy, "Transfer-Encoding: gzip, chunked"),
            framed(proxy, "Transfer-Encoding: chunked", version="1.0"),
        ):
            assert exchange(proxy, head + b"{}").startswith(b"HTTP/1.1 400 "), head
        assert server.requests == []


def test_a_body_in_memory_that_ends_early_is_not_sent() -> None:
    """A cut chunk is no whole body: the upstream sees no request, the client a 400."""
    with proxied() as (proxy, server, _), connect(proxy) as client:
        client.sendall(framed(proxy, "Content-Type: application/json", "Transfer-Encoding: chunked") + b"5\r\n{}")
        client.shutdown(socket.SHUT_WR)
        assert all_of(client).startswith(b"HTTP/1.1 400 ")
        assert server.requests == []


def test_an_upload_that_ends_early_is_the_clients_fault() -> None:
    """The upstream has got a part of it. The client learns that its body is at fault, not the upstream."""
    with proxied() as (proxy, _, _), connect(proxy) as client:
        client.sendall(framed(proxy, "Content-Length: 3000000") + bytes(2_000_000))
        client.shutdown(socket.SHUT_WR)
        answer = all_of(client)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"before its announced length" in answer


def test_an_upload_in_chunks_is_sent_while_it_comes() -> None:
    """The upstream has the first megabytes while the client holds the end of the body back."""
    opened: list[str] = []
    with proxied("status:status=200", observer=lambda seen: opened.append(seen.what)) as (proxy, server, _):
        with connect(proxy) as client:
            client.sendall(framed(proxy, "Transfer-Encoding: chunked", "Connection: close"))
            client.sendall((b"100000\r\n" + bytes(1 << 20) + b"\r\n") * 2)
            eventually(lambda: "opened" in opened, "a connection")
            client.sendall(b"0\r\n\r\n")
            assert all_of(client).startswith(b"HTTP/1.1 200 ")
        assert server.requests[0].body_bytes == 2 << 20


def test_headers_of_one_connection_stay_on_it() -> None:
    """So do those that the client's Connection names."""
    with proxied() as (proxy, server, _), httpx.Client() as client:
        asked = {"Connection": "keep-alive, X-Hop", "X-Hop": "1", "TE": "trailers", "X-Stays": "1"}
        client.post(proxy.url + PATH, json=BODY, headers=asked)
        got = server.requests[0]
        assert [got.header(name) for name in ("x-hop", "te", "x-stays")] == [None, None, "1"]


def test_only_a_stream_is_asked_for_uncompressed() -> None:
    """A compressor holds events back. A plain answer comes as the client asks for it."""
    with proxied() as (proxy, server, _), httpx.Client(headers={"Accept-Encoding": "br"}) as client:
        for stream in (True, False):
            client.post(proxy.url + PATH, json={**BODY, "stream": stream})
        assert [request.header("accept-encoding") for request in server.requests] == ["identity", "br"]


def test_a_refusal_reaches_a_client_that_is_still_sending() -> None:
    """The rest of the body is read, or the client's system would throw the answer away."""
    with proxied() as (proxy, _, _), connect(proxy) as client:
        client.sendall(framed(proxy, "Origin: http://page.example", "Content-Length: 8000000"))
        client.sendall(bytes(8_000_000))
        assert b"comes from a web page" in all_of(client)
