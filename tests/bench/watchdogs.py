"""Two other watchdogs over silent streams, with which the lag of ours is compared.

The *minimal* one is the least that a kill can cost: one heap of deadlines, one thread that sleeps until the earliest
and shuts its socket down, and a caller that blocks in ``recv`` on that socket. It tells nothing of what happened. The
*polling* one is the common design: a worker, a supervisor that polls every 0.3 s, closes the response from outside, and
joins its worker for up to 2 s.
"""

from __future__ import annotations

import contextlib
import heapq
import socket
import threading
import time
from urllib.parse import urlsplit

import requests

POLL, JOIN = 0.3, 2.0
REQUEST = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"


class Minimal:
    """One heap, one thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, socket.socket]] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def watch(self, sock: socket.socket, deadline: float) -> None:
        """Shut ``sock`` down at ``deadline``."""
        with self._changed:
            heapq.heappush(self._heap, (deadline, id(sock), sock))
            if self._heap[0][2] is sock:
                self._changed.notify()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                while self._heap and self._heap[0][0] <= now:
                    with contextlib.suppress(OSError):
                        heapq.heappop(self._heap)[2].shutdown(socket.SHUT_RDWR)
                self._changed.wait(self._heap[0][0] - now if self._heap else None)


def minimal(watchdog: Minimal, url: str, deadline: float) -> float:
    """One silent call; returns the seconds from its deadline to its end."""
    target = urlsplit(url)
    with socket.create_connection((target.hostname or "", target.port or 80)) as sock:
        sock.sendall(REQUEST % target.path.encode())
        watchdog.watch(sock, deadline)
        assert sock.recv(65536) == b""
        return time.monotonic() - deadline


def polling(url: str, limit: float) -> float:
    """One silent call; returns the seconds from its deadline to its end."""
    answer: list[requests.Response] = []
    heard = [time.monotonic()]

    def work() -> None:
        with contextlib.suppress(Exception):
            response = requests.post(url, json={"stream": True}, stream=True, timeout=60)
            answer.append(response)
            for _ in response.iter_content(1):
                heard[0] = time.monotonic()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    heard[0] = time.monotonic()
    while worker.is_alive():
        time.sleep(POLL)
        if time.monotonic() - heard[0] > limit:
            if answer:
                answer[0].close()
            worker.join(JOIN)
            break
    return time.monotonic() - (heard[0] + limit)
