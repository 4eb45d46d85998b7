"""A provider for measurements, in a process of its own.

So it takes no time from the process that is measured.

``python -m tests.bench.server MODE [NUMBER ...]`` prints its port and serves until it is killed:

* ``silent`` accepts, reads and never answers;
* ``burst EVENTS`` answers each request with that many events as fast as it can, up to 100 in one piece;
* ``paced EVENTS RATE`` sends RATE events a second, each with the instant at which it was sent;
* ``ticking STREAMS EVENTS RATE`` sends each of that many streams its first event at once and, once all of them are
  there, EVENTS more at RATE events a second each;
* ``large BYTES`` answers with one event of that many bytes of text;
* ``plain BYTES`` answers with a whole completion of that many bytes of text, as JSON;
* any other word is a script of the fault server, several are joined by ``+`` and come again and again.

``burst``, ``large`` and ``plain`` answer ``GET /connections`` with the number of connections that were accepted.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import selectors
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator

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


def completion(text: str) -> bytes:
    """A whole OpenAI chat completion."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": "m"}
    return json.dumps({**answer, "choices": [choice], "usage": usage}).encode()


def with_length(body: bytes) -> bytes:
    """``body`` as a whole answer."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def read_request(conn: socket.socket) -> str | None:
    """Read one request and return its path; ``None`` at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = conn.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += conn.recv(65536)
    return head.split(b" ", 2)[1].decode()


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


def answer_of(mode: str, number: int) -> Callable[[], Iterator[bytes]]:
    """The pieces of an answer of ``burst``, ``large`` or ``plain``."""
    if mode == "plain":
        whole = [with_length(completion("x" * number))]
    elif mode == "large":
        event = chat_event("x" * number)
        pieces = [chunk(event[start : start + 65536]) for start in range(0, len(event), 65536)]
        whole = [HEAD + b"".join(pieces) + DONE]
    elif number <= 100:
        whole = [HEAD + chunk(b"".join(chat_event(f" token{one}") for one in range(number))) + DONE]
    else:
        hundred = chunk(b"".join(chat_event(f" token{one}") for one in range(100)))
        return lambda: itertools.chain([HEAD], itertools.repeat(hundred, number // 100), [DONE])
    return lambda: iter(whole)


def serve_answers(conn: socket.socket, answer: Callable[[], Iterator[bytes]], accepted: list[int]) -> None:
    """Send ``answer`` to each request as fast as the other side reads."""
    with contextlib.suppress(OSError):
        while (path := read_request(conn)) is not None:
            for piece in [with_length(b"%d" % accepted[0])] if path == "/connections" else answer():
                conn.sendall(piece)


def serve_ticking(listener: socket.socket, streams: int, events: int, rate: float) -> None:
    """Serve that many streams side by side, in one thread."""
    event = chunk(chat_event(" token"))
    conns = []
    while len(conns) < streams:
        conn, _ = listener.accept()
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read_request(conn)
        conn.sendall(HEAD + event)
        conns.append(conn)
    begin = time.monotonic()
    sent, total = 0, streams * events
    while sent < total:
        due = min(total, int((time.monotonic() - begin) * rate * streams))
        for number in range(sent, due):
            with contextlib.suppress(OSError):
                conns[number % streams].sendall(event)
        sent = due
        time.sleep(0.001)
    for conn in conns:
        with contextlib.suppress(OSError):
            conn.sendall(DONE)


def serve_paced(conn: socket.socket, events: int, rate: float) -> None:
    """Answer with one event at a time, each saying when it was sent."""
    while read_request(conn) is not None:
        conn.sendall(HEAD)
        begin = time.monotonic()
        for number in range(events):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            conn.sendall(chunk(chat_event(repr(time.monotonic()))))
        conn.sendall(DONE)


def main(mode: str, *numbers: str) -> None:
    """Serve until killed."""
    names = mode.split("+")
    if mode != "silent" and names[0].partition(":")[0] in SCRIPTS:
        with FaultServer(names * (10_000 if len(names) > 1 else 1)) as server:
            print(server.port, flush=True)
            threading.Event().wait()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    if mode == "silent":
        serve_silent(listener)
    if mode == "ticking":
        return serve_ticking(listener, int(numbers[0]), int(numbers[1]), float(numbers[2]))
    accepted = [0]
    if mode == "paced":
        serve = functools.partial(serve_paced, events=int(numbers[0]), rate=float(numbers[1]))
    else:
        serve = functools.partial(serve_answers, answer=answer_of(mode, int(numbers[0])), accepted=accepted)
    while True:
        conn, _ = listener.accept()
        accepted[0] += 1
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(conn,), daemon=True).start()


@contextlib.contextmanager
def running(mode: str, *numbers: float) -> Iterator[str]:
    """The server in a process of its own; yields the URL of its chat endpoint."""
    command = [sys.executable, "-m", "tests.bench.server", mode, *map(str, numbers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            if not port:
                raise RuntimeError(f"the server of {mode!r} does not start")
            yield f"http://127.0.0.1:{port}/v1/chat/completions"
        finally:
            process.kill()


def connections(url: str) -> int:
    """How many connections the server of ``url`` has accepted, this question's not counted."""
    with urllib.request.urlopen(url.partition("/v1/")[0] + "/connections") as answer:
        return int(answer.read()) - 1


if __name__ == "__main__":
    main(*sys.argv[1:])
