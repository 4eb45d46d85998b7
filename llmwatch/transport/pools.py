"""Connection pools that recycle idle sockets and take back nothing that an attempt has ended.

urllib3 releases a connection inside the very read that meets the end of the body. ``_put_conn`` is therefore the
place where an attempt's ownership ends: the duplicate is closed, under the attempt's lock, before anybody else can
take the connection out.
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
"""Seconds a call waits for a connection that is on its way back to the pool, before it opens one of its own."""


class Returning:
    """The connections whose answer is complete and whose body is being read to its end.

    A caller that has its last event goes on at once, while the worker still reads the few bytes that end the body.
    Its next call would find the pool empty and connect anew, so it waits a moment; not again, though, once a server
    was seen to linger.
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
        """One is back in the pool, or was closed instead."""
        with self._lock:
            self._expected -= 1
            self._returns += 1
            if fit:
                self._lingers = False
            self._lock.notify_all()

    def wait(self) -> None:
        """Wait for one of them, for at most :data:`RETURN_BOUND`."""
        with self._lock:
            before = self._returns
            if self._expected and not self._lingers:
                self._lingers = not self._lock.wait_for(lambda: self._returns != before, RETURN_BOUND)


class _WatchedPool(HTTPConnectionPool):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.returning = Returning()
        self.retired = False
        """The adapter was closed: connections that are in use are closed when they come back."""

    def urlopen(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        context = contexts.current()
        if context is not None and context.own:
            # The adapter may be another's. An attempt is one request, and what follows it is decided further out.
            if context.adapter_retries is not None:
                context.adapter_retries.take(kwargs.get("retries"))
            kwargs["retries"] = Retry(0, read=False)
            # A limit ends what a time-out would, and is known to be one.
            kwargs["timeout"] = Timeout(connect=context.connect_backstop, read=context.read_backstop)
        return super().urlopen(method, url, *args, **kwargs)

    def _get_conn(self, timeout: float | None = None) -> Any:
        context = contexts.current()
        if context is None:
            return super()._get_conn(timeout)
        if not self._has_idle():
            self.returning.wait()
        conn = super()._get_conn(timeout)
        # From here on: urlopen gives a place back for whatever is raised in here, and there must be one to give.
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
            # Somebody has replaced urllib3's connections while this runs: recordings of a test, say.
            context.observer.connected()
            context.observer.sent()

    def _has_idle(self) -> bool:
        # Of an empty place the pool keeps a None.
        places = [] if self.pool is None else list(self.pool.queue)
        return places.count(None) < len(places)

    @staticmethod
    def _engage(conn: Any, context: RequestContext) -> None:
        idle = None
        if conn.sock is not None and conn.idle_since is not None:
            idle = SYSTEM.now() - conn.idle_since
            if idle >= context.keepalive or conn.discarded or has_leftovers(conn.sock):
                # Whatever the server advertises: somebody on the way may have forgotten the flow, and says so with a
                # reset.
                conn.close()
        conn.engage(context, idle=idle)

    def _put_conn(self, conn: Any) -> None:
        if not isinstance(conn, WatchedMixin):
            super()._put_conn(conn)
            return
        # One that was closed meanwhile has given up its socket already.
        fit = conn.disengage() and conn.sock is not None and not self.retired
        fit = fit and not conn.discarded and not has_leftovers(conn.sock)
        returning, conn.is_returning = conn.is_returning, False
        if fit:
            conn.idle_since = SYSTEM.now()
        else:
            conn.close()
        super()._put_conn(conn if fit else None)
        if self.retired:
            # Closed between the look at it and here: whoever comes second closes what lies there.
            self.close_idle()
        if returning:
            # Only now can the next call find it.
            self.returning.returned(fit=fit)

    def expect(self, conn: Any) -> None:
        """The answer on ``conn`` is complete; only the end of its body is to be read."""
        if isinstance(conn, WatchedMixin) and not conn.is_returning:
            conn.is_returning = True
            self.returning.expect()

    def detach_in_child(self) -> None:
        """In a forked child: give the idle connections up, without the queue's lock and without a word on the wire."""
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
            # A closed connection connects anew when it is needed.
            super()._put_conn(conn)


class _Watched:
    """The class of a pool's connections: the watched one, unless urllib3's own was replaced, which then comes first.

    What records and replays exchanges puts connections of its own into urllib3's pools. Where it has said that nothing
    leaves the machine, nothing does.
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


POOL_CLASSES = {"http": WatchedHTTPConnectionPool, "https": WatchedHTTPSConnectionPool}
