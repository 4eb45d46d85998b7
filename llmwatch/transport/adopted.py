"""Other people's adapters, made watchable.

A requests adapter that the user made keeps everything that it was made for: its TLS context, its pool sizes, what its
subclass does. Only the classes of its connection pools are exchanged, for pools that behave as urllib3's own in every
thread without an errand.
"""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Any

from requests.adapters import BaseAdapter, HTTPAdapter
from requests.utils import prepend_scheme_if_needed, select_proxy
from urllib3.connection import HTTPConnection
from urllib3.poolmanager import PoolManager
from urllib3.util.retry import Retry

from llmwatch.transport.adapter import WatchedAdapter
from llmwatch.transport.pools import POOL_CLASSES
from llmwatch.transport.sockets import KEEPALIVE_OPTIONS
from llmwatch.watch import forks

__all__ = ["adopt_adapter", "adopt_proxy", "own_retries"]

_log = logging.getLogger("llmwatch")


class _Adopted:
    """Which pool managers were seen to already, and which adapters were spoken of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # protects _warned, and serialises the exchange in one manager; a leaf
        self._warned: weakref.WeakSet[BaseAdapter] = weakref.WeakSet()
        forks.follow(self)

    def after_fork(self) -> None:
        """In a forked child another thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def exchange(self, manager: PoolManager) -> None:
        with self._lock:
            if manager.pool_classes_by_scheme is POOL_CLASSES:
                return
            pools = manager.connection_pool_kw
            if "socket_options" not in pools:
                pools["socket_options"] = HTTPConnection.default_socket_options + KEEPALIVE_OPTIONS
            manager.pool_classes_by_scheme = POOL_CLASSES  # type: ignore[assignment]
            # What is in use goes on as it is; the idle connections of the old pools are closed.
            manager.clear()

    def warn_once(self, adapter: BaseAdapter, retries: object) -> None:
        with self._lock:
            if adapter in self._warned:
                return
            self._warned.add(adapter)
        _log.warning(
            "llmwatch: the max_retries of an adapter (%s) are not applied on top of llmwatch's own resends; set"
            " LLMWATCH_MAX_ATTEMPTS or Retry(max_attempts=...) instead",
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


def adopt_adapter(adapter: BaseAdapter) -> None:
    """Let the connections of ``adapter`` report to the errand of the thread that uses them.

    May be called from any thread, and any number of times. An adapter that makes its connections in a way of its own
    is left as it is: its sockets cannot be found.
    """
    if isinstance(adapter, WatchedAdapter) or not isinstance(adapter, HTTPAdapter):
        return
    retries = own_retries(adapter)
    if retries is not None:
        _adopted.warn_once(adapter, retries)
    for manager in (getattr(adapter, "poolmanager", None), *_proxy_managers(adapter)):
        if isinstance(manager, PoolManager):
            _adopted.exchange(manager)


def _proxy_managers(adapter: HTTPAdapter) -> list[Any]:
    return list(getattr(adapter, "proxy_manager", {}).values())


def adopt_proxy(adapter: BaseAdapter, url: str | None, proxies: Any) -> None:
    """The same for the pools behind the proxy that ``adapter`` will use for ``url``, before it does."""
    if isinstance(adapter, WatchedAdapter) or not isinstance(adapter, HTTPAdapter):
        return
    proxy = select_proxy(url or "", proxies)
    if proxy and not proxy.lower().startswith("socks"):
        manager = adapter.proxy_manager_for(prepend_scheme_if_needed(proxy, "http"))  # type: ignore[no-untyped-call]
        if isinstance(manager, PoolManager):
            _adopted.exchange(manager)
