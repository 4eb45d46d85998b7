"""Other people's sessions and adapters, made watchable.

**Sessions.** What ``Session.get_adapter`` returns, in every session of this process, is the one place where requests
itself is changed. It is changed while anybody asks for it, and put back afterwards. If somebody else has changed it
after us, ours stays beneath theirs and passes adapters through; if they have put back what was there before us, the
next one that asks changes it again. ``HTTPAdapter.send`` is left alone: libraries that stand in for the network in
tests replace it.

**Adapters.** A requests adapter that the user made keeps everything that it was made for: its TLS context, its pool
sizes, what its subclass does. Only the classes of its connection pools are exchanged, for pools that behave as
urllib3's own in every thread without a request context; and only where they are urllib3's own. Pools that make
connections of another kind (to a SOCKS proxy, to a local socket) are left alone, and their sockets cannot be found.

**The locks.** ``_lock`` of the module serialises those who change what sessions return. ``_Adopted._lock`` protects
what is remembered of the process. ``_making`` serialises the making of proxy managers, and is held while an adapter
makes one. The exchange itself happens under the lock of urllib3's own container, in which pools are made.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeAlias

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.utils import prepend_scheme_if_needed, select_proxy
from urllib3._collections import RecentlyUsedContainer
from urllib3.connection import HTTPConnection
from urllib3.poolmanager import PoolManager, pool_classes_by_scheme
from urllib3.util.retry import Retry

from llmwatch.at_fork import follow, renew_in_child
from llmwatch.interruption import is_interruption
from llmwatch.records.log import say
from llmwatch.transport.adapter import WatchedAdapter
from llmwatch.transport.pools import POOL_CLASSES
from llmwatch.transport.sockets import KEEPALIVE_OPTIONS

__all__ = ["Interceptor", "add_interceptor", "adopt_adapter", "adopt_proxy", "own_retries", "remove_interceptor"]

Interceptor: TypeAlias = Callable[[requests.Session, str, BaseAdapter], BaseAdapter]
"""Gets the session, the URL and the adapter that was chosen; returns the adapter to be used."""

_lock = threading.RLock()  # serialises the writers of the two below; a leaf. Readers take the tuple as it is.
renew_in_child(globals(), "_lock", threading.RLock)
_interceptors: tuple[Interceptor, ...] = ()
_patches: list[_Patch] = []  # those that somebody may still call


class _Patch:
    """One change, which knows what it has taken the place of. It goes by what is asked for at the moment of a call."""

    def __init__(self) -> None:
        original = self.original = requests.Session.get_adapter

        def get_adapter(self: requests.Session, url: str) -> BaseAdapter:
            """The adapter for ``url``, watched by llmwatch."""
            adapter = original(self, url)
            for interceptor in _interceptors:
                adapter = interceptor(self, url, adapter)
            return adapter

        self.function = get_adapter

    @property
    def on_top(self) -> bool:
        return requests.Session.get_adapter is self.function


def add_interceptor(interceptor: Interceptor, *, first: bool = False) -> None:
    """Let ``interceptor`` see every adapter from now on; with ``first`` before all others, else after them. The same
    one may be added several times, and counts as often.

    It has to leave an adapter alone that it has returned itself: where others change the same thing it may see it
    twice.
    """
    global _interceptors
    with _lock:
        _interceptors = (interceptor, *_interceptors) if first else (*_interceptors, interceptor)
        if not any(patch.on_top for patch in _patches):
            patch = _Patch()
            requests.Session.get_adapter = patch.function  # type: ignore[method-assign]
            _patches.append(patch)


def remove_interceptor(interceptor: Interceptor) -> None:
    """Take back one :func:`add_interceptor`. Does nothing if there is none."""
    global _interceptors
    with _lock:
        left = list(_interceptors)
        if interceptor not in left:
            return
        left.remove(interceptor)
        _interceptors = tuple(left)
        if not left:
            _take_back()


def _take_back() -> None:
    """Put the originals back where nobody has patched on top. The lock is held."""
    while ours := [patch for patch in _patches if patch.on_top]:
        requests.Session.get_adapter = ours[0].original  # type: ignore[method-assign]
        _patches.remove(ours[0])


class _Adopted:
    """Which pool managers were seen to already, and which settings were spoken of."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # protects _warned and _managers; a leaf
        self._making = threading.RLock()
        self._warned: set[str] = set()
        self._managers: weakref.WeakSet[PoolManager] = weakref.WeakSet()
        self._inherited: list[Any] = []
        follow(self)

    def after_fork(self) -> None:
        """In a forked child: other threads of the parent may have held the locks, and its idle connections are its
        own.
        """
        self._lock, self._making = threading.RLock(), threading.RLock()
        for manager in list(self._managers):
            pools = manager.pools
            # Kept, and read past its lock: that and those of the pools in it may be held.
            self._inherited.append(pools)
            for pool in list[Any](pools._container.values()):
                with contextlib.suppress(Exception):
                    pool.detach_in_child()
            manager.pools = RecentlyUsedContainer(pools._maxsize)

    def exchange(self, manager: PoolManager) -> bool:
        """Whether the connections of ``manager`` can be watched from now on."""
        if manager.pool_classes_by_scheme is POOL_CLASSES:
            return True
        # So that nobody else is just making a pool of the old kind.
        with manager.pools.lock:
            if manager.pool_classes_by_scheme is not POOL_CLASSES:
                if manager.pool_classes_by_scheme != pool_classes_by_scheme:
                    return False
                options = HTTPConnection.default_socket_options + KEEPALIVE_OPTIONS
                manager.connection_pool_kw.setdefault("socket_options", options)
                manager.pool_classes_by_scheme = POOL_CLASSES  # type: ignore[assignment]
                # What is in use goes on as it is; the idle connections of the old pools are closed.
                manager.clear()
        with self._lock:
            self._managers.add(manager)
        return True

    def exchange_proxy(self, adapter: HTTPAdapter, proxy: str) -> None:
        # Of two threads that make a manager for the same proxy, one would use the other's before its exchange.
        with self._making:
            manager = adapter.proxy_manager_for(proxy)
            if isinstance(manager, PoolManager):
                self.exchange(manager)

    def warn_once(self, retries: str) -> None:
        with self._lock:
            if retries in self._warned:
                return
            self._warned.add(retries)
        say(
            logging.WARNING,
            "llmwatch: the max_retries of an adapter (%s) are applied only where llmwatch itself never sends again, and"
            " never to a call of a model; for the rest set LLMWATCH_MAX_ATTEMPTS or Retry(max_attempts=...)",
            retries,
        )


_adopted = _Adopted()


def own_retries(adapter: BaseAdapter) -> str | None:
    """How often ``adapter`` itself would send again, in words; ``None`` if it does not."""
    retries = getattr(adapter, "max_retries", None)
    if not isinstance(retries, Retry):
        return None
    if retries.total == 0:  # False too
        return None
    counts = {name: getattr(retries, name) for name in ("total", "connect", "read", "status", "other")}
    return ", ".join(f"{name}={count}" for name, count in counts.items() if count) or None


def adopt_adapter(adapter: BaseAdapter, *, warn: bool = True) -> bool:
    """Let the connections of ``adapter`` report to the request context of the thread that uses them; whether they will.

    ``warn``: its own ``max_retries`` will not be applied everywhere, and somebody should know; said once for each such
    setting.

    May be called from any thread, and any number of times. An adapter that makes its connections in a way of its own
    is left as it is: its sockets cannot be found.
    """
    if isinstance(adapter, WatchedAdapter):
        return True
    if not isinstance(adapter, HTTPAdapter):
        return False
    retries = own_retries(adapter) if warn else None
    if retries is not None:
        _adopted.warn_once(retries)
    for manager in _proxy_managers(adapter):
        if isinstance(manager, PoolManager):
            _adopted.exchange(manager)
    manager = getattr(adapter, "poolmanager", None)
    return isinstance(manager, PoolManager) and _adopted.exchange(manager) and not _has_own_pools(adapter)


def _has_own_pools(adapter: HTTPAdapter) -> bool:
    cls = type(adapter)
    return (
        cls.get_connection_with_tls_context is not HTTPAdapter.get_connection_with_tls_context
        or cls.get_connection is not HTTPAdapter.get_connection
    )


def _proxy_managers(adapter: HTTPAdapter) -> list[Any]:
    return list(getattr(adapter, "proxy_manager", {}).values())


def adopt_proxy(adapter: BaseAdapter, url: str | None, proxies: Any) -> None:
    """The same for the pools behind the proxy that ``adapter`` will use for ``url``, before it does."""
    if isinstance(adapter, WatchedAdapter) or not isinstance(adapter, HTTPAdapter):
        return
    proxy = select_proxy(url or "", proxies)
    if proxy and not proxy.lower().startswith("socks"):
        try:
            _adopted.exchange_proxy(adapter, prepend_scheme_if_needed(proxy, "http"))  # type: ignore[no-untyped-call]
        except Exception as error:
            # What is wrong with it comes out again when the adapter uses it.
            if is_interruption(error):
                raise
