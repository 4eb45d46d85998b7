"""A listening socket with one thread that accepts and one thread for each connection."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from llmwatch.faults.link import Bell, Link, LinkOver

__all__ = ["Listener"]

_BACKLOG = 2048
_JOIN_SECONDS = 30.0

_Self = TypeVar("_Self", bound="Listener")


class Listener:
    """The base of the servers. The port is bound at once, and refuses connections until :meth:`start`.

    A subclass serves a connection in :meth:`serve`. Its exceptions, other than the end of the connection, are kept in
    ``failures`` and raised at the end of the ``with`` block, because a test must not pass on a broken fault server.
    :meth:`stop` ends all threads.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, receive_buffer: int | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if receive_buffer is not None:
                # Before listen(), because the TCP handshake fixes the window's scale.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self.host = host
        self.port = int(self._socket.getsockname()[1])
        self.failures: list[BaseException] = []
        self._changed = threading.Condition()
        self._stop = Bell()
        self._acceptor: threading.Thread | None = None
        self._threads: set[threading.Thread] = set()
        self._ended: list[threading.Thread] = []
        self._accepted = 0
        self._closed = 0

    def serve(self, link: Link, number: int) -> None:
        """Serve connection ``number``, which is closed when this returns or raises."""
        raise NotImplementedError

    @property
    def netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """Number of accepted connections."""
        with self._changed:
            return self._accepted

    @property
    def open_connections(self) -> int:
        """Number of connections that are open on this side."""
        with self._changed:
            return self._accepted - self._closed

    def wait_for_connections(self, count: int, timeout: float = 30.0) -> None:
        """Return once ``count`` connections were accepted; ``TimeoutError`` after ``timeout`` seconds."""
        self._wait(
            lambda: self._accepted >= count, timeout, lambda: f"{self._accepted} of {count} connections accepted"
        )

    def wait_for_closed(self, count: int, timeout: float = 30.0) -> None:
        """Return once ``count`` connections are closed here; ``TimeoutError`` after ``timeout`` seconds."""
        self._wait(lambda: self._closed >= count, timeout, lambda: f"{self._closed} of {count} connections closed")

    def start(self: _Self) -> _Self:
        """Listen, and accept connections."""
        if self._stop.rung:
            raise RuntimeError("this server was stopped; make a new one")
        if self._acceptor is None:
            self._socket.listen(_BACKLOG)
            self._socket.setblocking(False)
            self._acceptor = threading.Thread(target=self._accept, name=f"{self._thread_name}-accept", daemon=True)
            self._acceptor.start()
        return self

    def stop(self) -> None:
        """Reset every connection and join every thread. May be called twice."""
        self._stop.ring()
        if self._acceptor is not None:
            self._acceptor.join(_JOIN_SECONDS)
        self._socket.close()
        with self._changed:
            threads = list(self._threads)
        for thread in threads:
            thread.join(_JOIN_SECONDS)
            if thread.is_alive():
                raise RuntimeError(f"{thread.name} does not end: a script blocks outside its steps")
        self._stop.close()

    def __enter__(self: _Self) -> _Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        # An error of the block probably follows from the failure, and becomes its context.
        if self.failures and (error is None or isinstance(error, Exception)):
            raise self.failures[0]

    @property
    def _thread_name(self) -> str:
        return f"llmwatch-faults-{self.port}"

    def _wait(self, predicate: Callable[[], bool], timeout: float, state: Callable[[], str]) -> None:
        with self._changed:
            if not self._changed.wait_for(predicate, timeout):
                raise TimeoutError(f"{state()} after {timeout:g} s")

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        poll.register(self._stop.fileno(), select.POLLIN)
        while not self._stop.rung:
            poll.poll()
            while not self._stop.rung:
                try:
                    accepted, _ = self._socket.accept()
                except BlockingIOError:
                    break
                except ConnectionError:
                    continue
                except OSError:
                    # No descriptor is left until a connection closes; poll would return at once.
                    threading.Event().wait(0.02)
                    break
                self._begin(accepted)

    def _begin(self, accepted: socket.socket) -> None:
        self._reap()
        with self._changed:
            self._accepted += 1
            number = self._accepted
            self._changed.notify_all()
        name = f"{self._thread_name}-{number}"
        thread = threading.Thread(target=self._serve, args=(accepted, number), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:
            self._over(accepted, exc)
        else:
            with self._changed:
                self._threads.add(thread)

    def _reap(self) -> None:
        # A thread cannot remove itself from the threads to join, because it is still running then.
        with self._changed:
            ended, self._ended = self._ended, []
            self._threads.difference_update(ended)
        for thread in ended:
            thread.join()

    def _serve(self, accepted: socket.socket, number: int) -> None:
        link = Link(accepted, self._stop)
        failure: BaseException | None = None
        try:
            self.serve(link, number)
            link.close()
        except LinkOver:
            pass
        except BaseException as exc:
            failure = exc
        link.reset()
        with self._changed:
            self._ended.append(threading.current_thread())
        self._over(accepted, failure)

    def _over(self, accepted: socket.socket, failure: BaseException | None) -> None:
        accepted.close()
        with self._changed:
            if failure is not None:
                self.failures.append(failure)
            self._closed += 1
            self._changed.notify_all()
