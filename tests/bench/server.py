"""A provider for measurements, in a process of its own so that it takes no time from the one that is measured.

``python -m tests.bench.server silent`` accepts, reads and never answers; ``... burst EVENTS`` answers each request
with that many events as fast as it can; ``... paced EVENTS RATE`` sends RATE events a second, each with the instant
at which it was sent; any other word is a script of the fault server. The first line it prints is its port.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import SCRIPTS

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


def chat_event(text: str) -> bytes:
    """One chunk of an OpenAI chat completion."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    event = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "m",
        "choices": [choice],
    }
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def chunk(data: bytes) -> bytes:
    """``data`` as an HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def read_request(conn: socket.socket) -> bool:
    """Read one request, ``False`` at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = conn.recv(65536)
        if not piece:
            return False
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += conn.recv(65536)
    return True


def serve_silent(listener: socket.socket) -> None:
    """Accept and read for ever, for any number of connections, in one thread."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                conn, _ = listener.accept()
                selector.register(conn, selectors.EVENT_READ)
                continue
            with contextlib.suppress(OSError):
                if key.fileobj.recv(65536):  # type: ignore[union-attr]
                    continue
            selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]


def serve_burst(conn: socket.socket, events: int) -> None:
    """Answer with events as fast as the other side reads."""
    hundred = chunk(b"".join(chat_event(f" token{number}") for number in range(100)))
    while read_request(conn):
        conn.sendall(HEAD)
        for _ in range(events // 100):
            conn.sendall(hundred)
        conn.sendall(DONE)


def serve_paced(conn: socket.socket, events: int, rate: float) -> None:
    """Answer with one event at a time, each saying when it was sent."""
    while read_request(conn):
        conn.sendall(HEAD)
        begin = time.monotonic()
        for number in range(events):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            conn.sendall(chunk(chat_event(repr(time.monotonic()))))
        conn.sendall(DONE)


def main(mode: str, *numbers: str) -> None:
    """Serve until killed."""
    if mode in SCRIPTS and mode != "silent":
        with FaultServer(mode) as server:
            print(server.port, flush=True)
            threading.Event().wait()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    if mode == "silent":
        serve_silent(listener)
    while True:
        conn, _ = listener.accept()
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if mode == "burst":
            work, arguments = serve_burst, (conn, int(numbers[0]))
        else:
            work, arguments = serve_paced, (conn, int(numbers[0]), float(numbers[1]))  # type: ignore[assignment]
        threading.Thread(target=work, args=arguments, daemon=True).start()


@contextlib.contextmanager
def running(mode: str, *numbers: float) -> Iterator[str]:
    """The server in a process of its own; yields the URL of its chat endpoint."""
    command = [sys.executable, "-m", "tests.bench.server", mode, *map(str, numbers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1/chat/completions"
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
