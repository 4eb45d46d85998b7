"""A tiny OpenAI-compatible server on a raw socket, written by hand.

It shares no code with the fault server.

It speaks like the small inference servers do: its own spelling of the head, spaces after the colons of its JSON, a
comment before the first event, close-delimited bodies.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from types import TracebackType
from typing import Any

__all__ = ["ForeignServer"]


class ForeignServer:
    """Answers ``POST /v1/chat/completions`` word by word.

    ``silences`` requests are accepted and never answered first.

    ``seen`` holds (request line, headers by lower-case name, parsed body) of each request.
    """

    def __init__(self, words: list[str], *, key: str | None = None, silences: int = 0) -> None:
        self._words = words
        self._key = key
        self._silences = silences
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> ForeignServer:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        # A connection of our own ends the accept, which a close from here would not.
        socket.create_connection(self._listener.getsockname()).close()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _spawn(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            connection, _ = self._listener.accept()
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as incoming:
            line = incoming.readline().decode("latin-1").strip()
            if not line:
                return
            headers: dict[str, str] = {}
            while (raw := incoming.readline().decode("latin-1").strip()) != "":
                name, _, value = raw.partition(":")
                headers[name.strip().lower()] = value.strip()
            body = json.loads(incoming.read(int(headers["content-length"])))
            self.seen.append((line, headers, body))
            with contextlib.suppress(OSError):  # the client may leave
                self._answer(connection, line, headers, body)

    def _answer(self, connection: socket.socket, line: str, headers: dict[str, str], body: Any) -> None:
        if len(self.seen) <= self._silences:
            self._over.wait(30)
            return
        if self._key is not None and headers.get("authorization") != f"Bearer {self._key}":
            self._refuse(connection, "401 Unauthorized", "Incorrect API key provided.")
        elif line.split()[:2] != ["POST", "/v1/chat/completions"]:
            self._refuse(connection, "404 Not Found", "no such route")
        else:
            self._stream(connection, str(body["model"]))

    @staticmethod
    def _refuse(connection: socket.socket, status: str, message: str) -> None:
        document = json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": None}}).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(document)}\r\n\r\n"
        connection.sendall(head.encode() + document)

    def _stream(self, connection: socket.socket, model: str) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nserver: tiny/0.3\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
            b"cache-control: no-cache\r\nconnection: close\r\n\r\n: warming up\n\n"
        )
        deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant"}, None)]
        deltas += [({"content": word}, None) for word in self._words]
        deltas.append(({}, "stop"))
        for delta, reason in deltas:
            chunk = {
                "id": "cmpl-1",
                "object": "chat.completion.chunk",
                "created": 1730000000,
                "model": model,
                "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
            }
            connection.sendall(f"data: {json.dumps(chunk, indent=None)}\n\n".encode())
        connection.sendall(b"data: [DONE]\n\n")
