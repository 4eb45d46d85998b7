"""A proxy in front of a fault server, and raw requests to it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from llmwatch.faults import FaultServer, Script
from llmwatch.faults.observation import Observer
from llmwatch.proxy import ProxyServer, Route, Routes
from llmwatch.records import CallRecord
from tests.conftest import SCALE

__all__ = ["BODY", "PATH", "SOON", "all_of", "connect", "exchange", "proxied", "request_bytes"]

SOON = 0.5 * SCALE
BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
PATH = "/f/v1/chat/completions"


@contextmanager
def proxied(
    *scripts: Script | str, observer: Observer | None = None, **settings: object
) -> Iterator[tuple[ProxyServer, FaultServer, list[CallRecord]]]:
    """A proxy whose route ``f`` leads to a fault server, and the records of its calls."""
    records: list[CallRecord] = []
    with (
        FaultServer(list(scripts) or ["healthy"], observer=observer) as server,
        ProxyServer(
            Routes([Route.of(f"f={server.url}")], public=False),
            sinks=[records.append],
            **settings,  # type: ignore[arg-type]
        ) as proxy,
    ):
        yield proxy, server, records


def connect(proxy: ProxyServer) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", proxy.port))
    made.settimeout(20 * SCALE)
    return made


def request_bytes(proxy: ProxyServer, *headers: str, path: str = PATH, body: bytes | None = None) -> bytes:
    body = json.dumps(BODY).encode() if body is None else body
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{proxy.port}", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


def all_of(client: socket.socket) -> bytes:
    got = b""
    while data := client.recv(65536):
        got += data
    return got


def exchange(proxy: ProxyServer, data: bytes) -> bytes:
    with connect(proxy) as client:
        client.sendall(data)
        return all_of(client)
