"""Closing a sender closes idle connections, and none that is in use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from urllib3.connectionpool import HTTPConnectionPool

from llmwatch.faults import FaultServer, ProxyServer, Script, steps
from llmwatch.transport.sender import Sender
from tests.transport.drive import GONE, Call
from tests.transport.scenes import Network


def _gated(context: Any) -> Iterator[steps.Step]:
    yield from context.answer([steps.Chunk(b"one"), steps.WaitFor("on"), steps.Chunk(b"two")])


_GATED = Script(name="gated", description="two words, a gate between them", play=_gated)


@pytest.mark.parametrize("way", ["plain", "tls", "tunnel", "tls-in-tls"])
def test_idle_connections_are_closed_though_a_response_is_kept(way: str, network: Network) -> None:
    """A response that is still referenced does not keep its connection open when the sender is closed."""
    sender = Sender()
    tls = None if way == "plain" else network.tls
    with FaultServer(tls=tls) as server, ProxyServer(tls=tls if way == "tls-in-tls" else None) as proxy:
        proxies = {"https": proxy.url} if way in ("tunnel", "tls-in-tls") else {}
        call = Call(sender, server.chat_url, verify=network.bundle, proxies=proxies)
        assert call.run()
        assert call.reply is not None
        assert server.open_connections == 1
        sender.close()
        server.wait_for_closed(1)


def test_a_call_in_progress_goes_on(sender: Sender) -> None:
    """A call whose sender is closed in the middle of its answer reads on to the end.

    Its connection is closed then.
    """
    with FaultServer(_GATED) as server:
        call = Call(sender, server.chat_url).start()
        assert call.attempt.take() == [b"one"]
        sender.close()
        server.gate("on").set()
        assert call.take() == b"two"
        assert call.verdict.kind.value == "done"
        assert call.attempt.join(GONE)
        server.wait_for_closed(1)


def test_a_connection_that_comes_back_during_the_close_is_closed(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is on its way into its pool when the sender is closed is closed too.

    The connection is seen to be fit but does not lie in the pool yet.
    """
    put = HTTPConnectionPool._put_conn

    def close_first(self: HTTPConnectionPool, conn: Any) -> None:
        if conn is not None:
            patch.undo()
            sender.close()
        put(self, conn)

    with FaultServer() as server, monkeypatch.context() as patch:
        patch.setattr(HTTPConnectionPool, "_put_conn", close_first)
        call = Call(sender, server.chat_url)
        assert call.run()
        server.wait_for_closed(1)
