"""Makes the sessions and adapters of other code watchable.

**Sessions.** ``Session.get_adapter`` is the only part of requests itself that changes, in every session of this
process. It is changed while there is an interceptor, and put back afterwards. If other code has patched it on top, our
change stays beneath and passes adapters through. If other code has put the earlier function back, the next interceptor
changes it again. ``HTTPAdapter.send`` is left alone: libraries that stand in for the network in tests replace it.

**Adapters.** A user's requests adapter keeps everything that it was made for: its TLS context, its pool sizes, its
subclass's behaviour. Only the classes of its connection pools are exchanged, and only where they are urllib3's own. The
new pools behave as urllib3's in every thread without a request context. Pools with connections of another kind (to a
SOCKS proxy, to a local socket) are left alone, and their sockets cannot be found.

**The locks.** The module's ``_lock`` serialises the writers of what sessions return. ``_Adopted._lock`` protects the
process-wide notes on managers and warnings. ``_making`` serialises the making of proxy managers, and is held while an
adapter makes one. The exchange happens under the lock of urllib3's container, in which pools are made.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import weakref
from collections.abc import Callable
from types import FunctionType
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

__all__ = [
    "Interceptor",
    "add_interceptor",
    "adopt_adapter",
    "adopt_proxy",
    "as_function",
    "own_retries",
    "remove_interceptor",
]

Interceptor: TypeAlias = Callable[[requests.Session, str, BaseAdapter], BaseAdapter]
"""Gets the session, the URL and the chosen adapter; returns the adapter to use."""

_lock = threading.RLock()  # serialises the writers of the two below; a leaf; readers take the tuple
renew_in_child(globals(), "_lock", threading.RLock)
_interceptors: tuple[Interceptor, ...] = ()
_patches: list[_Patch] = []  # patches that other code may still call


def as_function(attribute: Any) -> Callable[..., Any]:
    """A function that calls ``attribute``, found in a class, as its instance would: the first argument.

    A plain function is returned unchanged. Other code may have put something else there: a wrapper of wrapt, which asks
    to be bound, or a mock, which never gets the instance.
    """
    if type(attribute) is FunctionType:
        return attribute
    get = getattr(type(attribute), "__get__", None)

    @functools.wraps(attribute, updated=())
    def function(instance: Any, *args: Any, **kwargs: Any) -> Any:
        bound = attribute if get is None else get(attribute, instance, type(instance))
        return bound(*args, **kwargs)

    return function


class _Patch:
    """One change, with the function that it replaced. Each call uses the interceptors of that moment."""

    def __init__(self) -> None:
        self.original = vars(requests.Session)["get_adapter"]
        original = as_function(self.original)

        def get_adapter(self: requests.Session, url: str) -> BaseAdapter:
            """The adapter for ``url``, watched by llmwatch."""
            adapter: BaseAdapter = original(self, url)
            for interceptor in _interceptors:
                adapter = interceptor(self, url, adapter)
            return adapter

        self.function = get_adapter

    @property
    def on_top(self) -> bool:
        return vars(requests.Session)["get_adapter"] is self.function


def add_interceptor(interceptor: Interceptor, *, first: bool = False) -> None:
    """Let ``interceptor`` see every adapter from now on, with ``first`` before all others, else last.
    An interceptor may be added several times, and then counts as often. It must leave an adapter alone that it has
    returned itself: it may see an adapter twice where other code patches the same function.
    """
    global _interceptors
    with _lock:
        _interceptors = (interceptor, *_interceptors) if first else (*_interceptors, interceptor)
        if not any(patch.on_top for patch in _patches):
            patch = _Patch()
            requests.Session.get_adapter = patch.function  # type: ignore[method-assign]
            _patches.append(patch)


def remove_interceptor(interceptor: Interceptor) -> None:
    """Take back one :func:`add_interceptor`; does nothing if there is none."""
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
    """Put the originals back where no other code has patched on top. The lock is held."""
    while topmost := [patch for patch in _patches if patch.on_top]:
        requests.Session.get_adapter = topmost[0].original  # type: ignore[method-assign]
        _patches.remove(topmost[0])


class _Adopted:
    """The pool managers that were exchanged, and the settings that were warned about."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # protects _warned and _managers; a leaf
        self._making = threading.RLock()
        self._warned: set[str] = set()
        self._managers: weakref.WeakSet[PoolManager] = weakref.WeakSet()
        self._inherited: list[Any] = []
        follow(self)

    def after_fork(self) -> None:
        """In a forked child: make new locks and give up the parent's idle connections."""
        self._lock, self._making = threading.RLock(), threading.RLock()
        for manager in list(self._managers):
            pools = manager.pools
            # Kept, and read without its lock: another thread may hold that lock and those of the pools.
            self._inherited.append(pools)
            for pool in list[Any](pools._container.values()):
                with contextlib.suppress(Exception):
                    pool.detach_in_child()
            manager.pools = RecentlyUsedContainer(pools._maxsize)

    def exchange(self, manager: PoolManager) -> bool:
        """Exchange the pool classes of ``manager``; whether its connections can be watched now."""
        if manager.pool_classes_by_scheme is POOL_CLASSES:
            return True
        # Under this lock no other thread makes a pool of the old kind.
        with manager.pools.lock:
            if manager.pool_classes_by_scheme is not POOL_CLASSES:
                if manager.pool_classes_by_scheme != pool_classes_by_scheme:
                    return False
                options = HTTPConnection.default_socket_options + KEEPALIVE_OPTIONS
                manager.connection_pool_kw.setdefault("socket_options", options)
                manager.pool_classes_by_scheme = POOL_CLASSES  # type: ignore[assignment]
                # Connections in use go on unchanged; the idle connections of the old pools are closed.
                manager.clear()
        with self._lock:
            self._managers.add(manager)
        return True

    def exchange_proxy(self, adapter: HTTPAdapter, proxy: str) -> None:
        # Without this lock, of two threads that make a manager for one proxy, one could use the other's before its
        # exchange.
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
    """The adapter's own retries in words; ``None`` if it does not retry."""
    retries = getattr(adapter, "max_retries", None)
    if not isinstance(retries, Retry):
        return None
    if retries.total == 0:  # False too
        return None
    counts = {name: getattr(retries, name) for name in ("total", "connect", "read", "status", "other")}
    return ", ".join(f"{name}={count}" for name, count in counts.items() if count) or None


def adopt_adapter(adapter: BaseAdapter, *, warn: bool = True) -> bool:
    """Make the adapter's connections report to the request context of the thread that uses them.

    Returns whether they will. Any thread may call this any number of times. An adapter that makes its connections in a
    way of its own is left unchanged: its sockets cannot be found. ``warn``: log once for each setting that the
    adapter's own ``max_retries`` will not be applied everywhere.
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
    """The same for the pools of the proxy that ``adapter`` will use for ``url``, before that use."""
    if isinstance(adapter, WatchedAdapter) or not isinstance(adapter, HTTPAdapter):
        return
    proxy = select_proxy(url or "", proxies)
    if proxy and not proxy.lower().startswith("socks"):
        try:
            _adopted.exchange_proxy(adapter, prepend_scheme_if_needed(proxy, "http"))  # type: ignore[no-untyped-call]
        except Exception as error:
            # The adapter raises the same error again when it uses the proxy.
            if is_interruption(error):
                raise
