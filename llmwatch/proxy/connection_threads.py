"""The threads of the proxy's server: one for each connection that has a request to read or to serve.

This is the interface that cheroot asks of a pool (``min``, ``get``, ``put``, ``start``, ``stop``, ``idle``).
cheroot's own pool has a fixed number of threads, so slow clients would keep all others waiting.

**The lock** protects the idle threads, the connections being served, and the flag that the server is stopping. It is a
leaf. A thread that has nothing to do waits at a queue of its own, without the lock.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from typing import Any

from llmwatch.watch.clock import SYSTEM

__all__ = ["MOST_CONNECTIONS", "ConnectionThreads"]

MOST_CONNECTIONS = 2000
"""Connections that are served at once; cheroot answers those above with 503."""

_IDLE_SECONDS = 5.0


class ConnectionThreads:
    """The threads of ``server``, a cheroot ``HTTPServer``."""

    min = 0

    def __init__(self, server: Any) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._idle: dict[threading.Thread, queue.SimpleQueue[Any]] = {}
        self._serving: dict[threading.Thread, Any] = {}
        self._stopping = False

    @property
    def idle(self) -> int:
        """The number of threads that wait for a connection."""
        return len(self._idle)

    def start(self) -> None:
        """Nothing: threads start with connections."""

    def get(self) -> Any:
        """Raises ``NotImplementedError``: these threads are given their connections."""
        raise NotImplementedError

    def put(self, connection: Any) -> None:
        """Serve ``connection``.
        Raises ``queue.Full`` above :data:`MOST_CONNECTIONS`, and without a thread for it."""
        with self._lock:
            if self._stopping:
                raise queue.Full
            if self._idle:
                free, waiting = self._idle.popitem()
                self._serving[free] = connection
                waiting.put(connection)
                return
            if len(self._serving) >= MOST_CONNECTIONS:
                raise queue.Full
            thread = threading.Thread(target=self._run, args=(connection,), name="llmwatch-client", daemon=True)
            self._serving[thread] = connection
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                del self._serving[thread]
            raise queue.Full from None

    def stop(self, timeout: float | None = 5) -> None:
        """End every connection, and wait for the threads, ``timeout`` seconds in all."""
        with self._lock:
            self._stopping = True
            idle, self._idle = self._idle, {}
            threads = {**dict.fromkeys(idle), **self._serving}
        for waiting in idle.values():
            waiting.put(None)
        for connection in threads.values():
            if connection is not None:
                with contextlib.suppress(OSError):
                    # A thread that reads from its client, or writes to it, is woken by this.
                    socket.socket.shutdown(connection.socket, socket.SHUT_RDWR)
        until = SYSTEM.now() + (timeout or 0)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - SYSTEM.now()))

    def _run(self, connection: Any) -> None:
        me, waiting = threading.current_thread(), queue.SimpleQueue[Any]()
        while connection is not None:
            served = False
            try:
                self._serve(connection)
                served = True
            finally:
                with self._lock:
                    del self._serving[me]
                    if served and not self._stopping:
                        # A thread that ends by an exception takes no further connection.
                        self._idle[me] = waiting
            connection = None if self._stopping else self._next(me, waiting)

    def _next(self, me: threading.Thread, waiting: queue.SimpleQueue[Any]) -> Any:
        with contextlib.suppress(queue.Empty):
            return waiting.get(timeout=_IDLE_SECONDS)
        with self._lock:
            if self._idle.pop(me, None) is not None:
                return None
        # A connection was put there at this moment.
        return waiting.get()

    def _serve(self, connection: Any) -> None:
        keep = False
        try:
            keep = connection.communicate()
        except OSError:
            # The client has gone.
            pass
        finally:
            if keep:
                self._server.put_conn(connection)
            else:
                with contextlib.suppress(OSError):
                    connection.close()
