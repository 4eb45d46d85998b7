"""Connection pools that recycle idle sockets, but no connection that an attempt has ended.

urllib3 releases a connection inside the very read that meets the end of the body. So an attempt's ownership ends in
``_put_conn``: the duplicate is closed, under the attempt's lock, before another thread can take the connection.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Timeout
from urllib3.util.retry import Retry

from llmwatch.transport import context as contexts
from llmwatch.transport.connections import WatchedHTTPConnection, WatchedHTTPSConnection, WatchedMixin, has_leftovers
from llmwatch.transport.context import RequestContext
from llmwatch.transport.sockets import close_inherited
from llmwatch.watch.clock import SYSTEM

__all__ = ["POOL_CLASSES", "Returning", "WatchedHTTPConnectionPool", "WatchedHTTPSConnectionPool"]

RETURN_BOUND = 0.1
"""Seconds that a call waits for a connection on its way back to the pool before it opens another."""


class Returning:
    """The connections whose answer is complete and whose body is being read to its end.

    A caller that has its last event goes on at once, while the worker still reads the few bytes that end the body. The
    caller's next call would find the pool empty and connect again, so it waits a moment. It does not wait once a server
    has lingered.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()  # protects the three fields; a leaf
        self._expected = 0
        self._returns = 0
        self._lingers = False

    def expect(self) -> None:
        """One more connection will come back."""
        with self._lock:
            self._expected += 1

    def returned(self, *, fit: bool) -> None:
        """A connection is back in the pool, or was closed instead."""
        with self._lock:
            self._expected -= 1
            self._returns += 1
            if fit:
                self._lingers = False
            self._lock.notify_all()

    def wait(self) -> None:
        """Wait until a connection has returned, at most :data:`RETURN_BOUND` seconds."""
        with self._lock:
            before = self._returns
            if self._expected and not self._lingers:
                self._lingers = not self._lock.wait_for(lambda: self._returns != before, RETURN_BOUND)


class _WatchedPool(HTTPConnectionPool):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.returning = Returning()
        self.retired = False
        """The adapter was closed: a connection in use is closed when it comes back."""
        self.warns = True
        """Whether urllib3 warns of a request whose certificate is not verified."""

    def urlopen(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        context = contexts.current()
        if context is not None and context.own:
            # The adapter may be the user's. An attempt is one request; the retry loop decides what follows.
            if context.adapter_retries is not None:
                context.adapter_retries.take(kwargs.get("retries"))
            kwargs["retries"] = Retry(0, read=False)
            # A limit ends the wait before a time-out does, and names the cause.
            kwargs["timeout"] = Timeout(connect=context.connect_backstop, read=context.read_backstop)
        return super().urlopen(method, url, *args, **kwargs)

    def _get_conn(self, timeout: float | None = None) -> Any:
        context = contexts.current()
        if context is None:
            return super()._get_conn(timeout)
        if not self._has_idle():
            self.returning.wait()
        conn = super()._get_conn(timeout)
        # Only from here on: urlopen gives a place back for any exception here, so a place must be taken.
        try:
            self._hand_out(conn, context)
        except BaseException:
            conn.close()
            raise
        return conn

    def _hand_out(self, conn: Any, context: RequestContext) -> None:
        context.observer.check()
        if isinstance(conn, WatchedMixin):
            self._engage(conn, context)
        else:
            # Other code, such as a recorder in tests, has replaced urllib3's connections.
            context.observer.connected()
            context.observer.sent()

    def _has_idle(self) -> bool:
        # The pool keeps a None for an empty place.
        places = [] if self.pool is None else list(self.pool.queue)
        return places.count(None) < len(places)

    @staticmethod
    def _engage(conn: Any, context: RequestContext) -> None:
        idle = None
        if conn.sock is not None and conn.idle_since is not None:
            idle = SYSTEM.now() - conn.idle_since
            if idle >= context.keepalive or conn.discarded or has_leftovers(conn.sock):
                # Whatever the server advertises: a device on the way may have forgotten the flow and answer with a
                # reset.
                conn.close()
        conn.engage(context, idle=idle)

    def _put_conn(self, conn: Any) -> None:
        if not isinstance(conn, WatchedMixin):
            super()._put_conn(conn)
            return
        # A connection that was closed meanwhile has no socket any more.
        fit = conn.disengage() and conn.sock is not None and not self.retired
        fit = fit and not conn.discarded and not has_leftovers(conn.sock)
        returning, conn.is_returning = conn.is_returning, False
        if fit:
            conn.idle_since = SYSTEM.now()
        else:
            conn.close()
        super()._put_conn(conn if fit else None)
        if self.retired:
            # The adapter was closed since the check above; the second to come closes the idle connections.
            self.close_idle()
        if returning:
            # The next call can find the connection only now.
            self.returning.returned(fit=fit)

    def expect(self, conn: Any) -> None:
        """The answer on ``conn`` is complete; only the end of its body is still to be read."""
        if isinstance(conn, WatchedMixin) and not conn.is_returning:
            conn.is_returning = True
            self.returning.expect()

    def detach_in_child(self) -> None:
        """In a forked child: give the idle connections up without the queue's lock or any bytes on the wire."""
        for conn in list(self.pool.queue) if self.pool is not None else ():
            if conn is not None and conn.sock is not None:
                close_inherited(conn.sock)

    def close_idle(self) -> None:
        """Close the connections that are not in use."""
        kept: list[Any] = []
        try:
            while self.pool is not None:
                kept.append(self.pool.get(block=False))
        except queue.Empty:
            pass
        for conn in kept:
            if conn is not None:
                conn.close()
            # A closed connection connects again when it is needed.
            super()._put_conn(conn)


class _Watched:
    """The class of a pool's connections: the watched class, unless other code replaced urllib3's own.
    Libraries that record and replay exchanges put their own connections into urllib3's pools. Their promise that
    nothing leaves the machine then holds here too.
    """

    def __init__(self, base: type[HTTPConnectionPool], watched: type[WatchedMixin]) -> None:
        self._base = base
        self._original = base.ConnectionCls
        self._watched = watched

    def __get__(self, pool: object, owner: object = None) -> Any:
        current = self._base.ConnectionCls
        return self._watched if current is self._original else current


class WatchedHTTPConnectionPool(_WatchedPool, HTTPConnectionPool):
    """A pool of :class:`WatchedHTTPConnection`."""

    ConnectionCls = _Watched(HTTPConnectionPool, WatchedHTTPConnection)


class WatchedHTTPSConnectionPool(_WatchedPool, HTTPSConnectionPool):
    """A pool of :class:`WatchedHTTPSConnection`."""

    ConnectionCls = _Watched(HTTPSConnectionPool, WatchedHTTPSConnection)

    def _validate_conn(self, conn: Any) -> None:
        if self.warns:
            super()._validate_conn(conn)
        elif conn.is_closed:
            conn.connect()


POOL_CLASSES = {"http": WatchedHTTPConnectionPool, "https": WatchedHTTPSConnectionPool}
