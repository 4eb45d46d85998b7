"""``llmwatch.transport.instrument``: other people's adapters made watchable.

The adapters are left as they are otherwise.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager, pool_classes_by_scheme
from urllib3.util.retry import Retry

from llmwatch.faults import FaultServer, ProxyServer
from llmwatch.transport import instrument
from llmwatch.transport.adapter import WatchedAdapter
from llmwatch.transport.instrument import adopt_adapter, adopt_proxy, own_retries
from llmwatch.transport.pools import POOL_CLASSES, WatchedHTTPConnectionPool
from llmwatch.transport.sockets import KEEPALIVE_OPTIONS


@pytest.fixture
def adapter() -> HTTPAdapter:
    """An adapter of the user's, with settings of its own."""
    return HTTPAdapter(pool_connections=3, pool_maxsize=5, pool_block=True)


def test_instrumenting_replaces_the_pool_classes_alone(adapter: HTTPAdapter) -> None:
    """Instrumenting keeps pool sizes and adds the keep-alive options to urllib3's.

    Instrumenting twice changes nothing.
    """
    manager = adapter.poolmanager
    before = dict(manager.connection_pool_kw)
    assert adopt_adapter(adapter)
    assert adopt_adapter(adapter)
    assert adapter.poolmanager is manager
    assert manager.pool_classes_by_scheme is POOL_CLASSES
    options = manager.connection_pool_kw.pop("socket_options")
    assert [one for one in options if one not in KEEPALIVE_OPTIONS] != []
    assert set(KEEPALIVE_OPTIONS) <= set(options)
    assert manager.connection_pool_kw == before
    assert isinstance(manager.connection_from_url("http://127.0.0.1:1/"), WatchedHTTPConnectionPool)
    assert pool_classes_by_scheme == {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}


def test_an_adapters_socket_options_and_tls_context_stay(adapter: HTTPAdapter) -> None:
    """Socket options and a TLS context that the user set are not touched."""
    context = ssl.create_default_context()
    adapter.init_poolmanager(1, 1, socket_options=[], ssl_context=context)
    assert adopt_adapter(adapter)
    assert adapter.poolmanager.connection_pool_kw["socket_options"] == []
    assert adapter.poolmanager.connection_pool_kw["ssl_context"] is context


def test_a_watched_or_unknown_adapter_is_not_instrumented() -> None:
    """A watched adapter is watched already; an unknown adapter cannot be watched.

    An unknown adapter is no HTTP adapter, or makes its pools in a way of its own.
    """

    class Own(HTTPAdapter):
        def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
            return super().get_connection_with_tls_context(*args, **kwargs)

    class Older(HTTPAdapter):
        def get_connection(self, *args: Any, **kwargs: Any) -> Any:
            return super().get_connection(*args, **kwargs)

    class Bare(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            pass

    ours = WatchedAdapter()
    assert adopt_adapter(ours)
    ours.close()
    assert [adopt_adapter(one) for one in (BaseAdapter(), Own(), Older(), Bare())] == [False] * 4


def test_pools_of_another_kind_are_left_alone() -> None:
    """A manager whose pools make connections of their own goes on making them.

    The connections go to a SOCKS proxy or to a local socket, for instance.
    """

    class Elsewhere(HTTPConnectionPool):
        pass

    class Other(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = {"http": Elsewhere, "https": HTTPSConnectionPool}

    other = Other()
    assert not adopt_adapter(other)
    assert type(other.poolmanager.connection_from_url("http://127.0.0.1:1/")) is Elsewhere
    assert "socket_options" not in other.poolmanager.connection_pool_kw
    watchable = HTTPAdapter()
    socks = PoolManager()
    socks.pool_classes_by_scheme = {"http": Elsewhere, "https": Elsewhere}
    watchable.proxy_manager["socks5://p"] = socks
    assert adopt_adapter(watchable)
    assert socks.pool_classes_by_scheme["http"] is Elsewhere


def test_an_adapter_with_new_pools_is_instrumented_again(adapter: HTTPAdapter) -> None:
    """An adapter that was given new pools since is made watchable again."""
    assert adopt_adapter(adapter)
    adapter.init_poolmanager(1, 1)
    assert adapter.poolmanager.pool_classes_by_scheme is not POOL_CLASSES
    assert adopt_adapter(adapter)
    assert adapter.poolmanager.pool_classes_by_scheme is POOL_CLASSES


def test_a_pool_that_is_just_being_made_is_of_the_new_kind() -> None:
    """While threads make pools, the exchange never leaves one of the old kind behind."""
    for _ in range(150):
        adapter = HTTPAdapter(pool_connections=50)
        barrier = threading.Barrier(3)

        def make(number: int, adapter: HTTPAdapter = adapter, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            for port in range(1, 4):
                adapter.poolmanager.connection_from_url(f"http://127.0.0.{number + 1}:{port}/")

        threads = [threading.Thread(target=make, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        barrier.wait()
        adopt_adapter(adapter)
        for thread in threads:
            thread.join()
        pools = list(adapter.poolmanager.pools._container.values())
        assert {type(pool) for pool in pools} <= {WatchedHTTPConnectionPool}


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_manager_of_a_proxy_is_instrumented_before_its_use(adapter: HTTPAdapter, scheme: str) -> None:
    """The manager for a proxy is made, watched, before the adapter uses it, and once."""
    proxies = {"https": f"{scheme}127.0.0.1:9"}
    adopt_proxy(adapter, "https://provider.test/", proxies)
    adopt_proxy(adapter, "https://provider.test/", proxies)
    (manager,) = adapter.proxy_manager.values()
    assert adapter.proxy_manager_for("http://127.0.0.1:9") is manager
    assert manager.pool_classes_by_scheme is POOL_CLASSES


def test_a_proxy_of_another_scheme_is_left_to_the_adapter(adapter: HTTPAdapter) -> None:
    """No proxy, another scheme's, a SOCKS one, an unreadable one: the adapter reports what is wrong."""
    for proxies in (None, {}, {"http": "http://p"}, {"https": "socks5://p:1"}, {"https": "http://[::1"}):
        adopt_proxy(adapter, "https://provider.test/", proxies)
    adopt_proxy(BaseAdapter(), "https://provider.test/", {"https": "http://p"})
    assert adapter.proxy_manager == {}


def test_concurrent_uses_of_a_proxy_meet_an_instrumented_manager(adapter: HTTPAdapter) -> None:
    """No thread gets a manager that is not watched."""
    for number in range(60):
        proxies = {"https": f"http://127.0.0.1:{number + 1}"}
        barrier, seen = threading.Barrier(4), list[Any]()

        def adopt(proxies: Any = proxies, barrier: Any = barrier, seen: Any = seen) -> None:
            barrier.wait()
            adopt_proxy(adapter, "https://provider.test/", proxies)
            seen.append(adapter.proxy_manager_for(proxies["https"]).pool_classes_by_scheme)

        threads = [threading.Thread(target=adopt) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [one is POOL_CLASSES for one in seen] == [True] * 4


def test_an_instrumented_adapter_works_in_a_plain_session(adapter: HTTPAdapter, network: Any) -> None:
    """An adopted adapter works without a request context as requests has it.

    The adapter connects, reuses connections, reads and goes through proxies.
    """
    adopt_adapter(adapter)
    with requests.Session() as session, FaultServer() as server:
        session.mount("http://", adapter)
        for _ in range(3):
            assert session.post(server.chat_url, json={"stream": True}).text.rstrip().endswith("[DONE]")
        assert session.get(server.url, stream=True).content
        assert server.connections == 1
    with requests.Session() as session, FaultServer(tls=network.tls) as server, ProxyServer() as proxy:
        session.mount("https://", adapter)
        adopt_proxy(adapter, server.url, {"https": proxy.url})
        for _ in range(2):
            answer = session.get(server.url, proxies={"https": proxy.url}, verify=network.bundle)
            assert answer.status_code == 200
        assert (proxy.connects, server.connections) == (1, 1)


@pytest.mark.parametrize(
    ("retries", "said"),
    [
        (3, "total=3"),
        (Retry(3, status_forcelist=[500]), "total=3"),
        (Retry(total=None, connect=2, read=0), "connect=2"),
        (Retry(4, read=2, status=1), "total=4, read=2, status=1"),
        (0, None),
        (Retry(0, read=False), None),
        (Retry(False), None),
        (Retry(0, connect=5), None),
    ],
)
def test_an_adapters_own_retries_are_described(retries: Any, said: str | None) -> None:
    """In words, where it would send anything again."""
    assert own_retries(HTTPAdapter(max_retries=retries)) == said
    assert own_retries(BaseAdapter()) is None


def test_a_warning_is_given_once_for_each_setting(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for each adapter: some make one for each request. And not at all where it is not wanted."""
    monkeypatch.setattr(instrument._adopted, "_warned", set())
    with caplog.at_level(logging.WARNING, "llmwatch"):
        adopt_adapter(HTTPAdapter(max_retries=7), warn=False)
        for _ in range(3):
            adopt_adapter(HTTPAdapter(max_retries=3))
            adopt_adapter(HTTPAdapter(max_retries=2))
    assert [one.getMessage().partition("(")[2][:7] for one in caplog.records] == ["total=3", "total=2"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_begins_with_empty_pools(adapter: HTTPAdapter) -> None:
    """After a fork the idle connections of the parent are no longer in the child's pools.

    The parent keeps them.
    """
    adopt_adapter(adapter)
    with requests.Session() as session, FaultServer() as server:
        session.mount("http://", adapter)
        session.get(server.url)
        (pool,) = adapter.poolmanager.pools._container.values()
        before = adapter.poolmanager.pools
        instrument._adopted.after_fork()
        assert adapter.poolmanager.pools is not before
        assert len(adapter.poolmanager.pools) == 0
        assert adapter.poolmanager.pools._maxsize == 3
        # Its descriptors were closed without a word, which only the process that owns them would notice.
        assert [one.sock.fileno() for one in pool.pool.queue if one is not None] == [-1]
        session.get(server.url)
        assert server.connections == 2
