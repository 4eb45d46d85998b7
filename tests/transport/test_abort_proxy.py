"""A worker that is stuck behind a proxy is freed in every phase.

The phases include CONNECT, a handshake in the tunnel, and TLS in TLS.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from llmwatch.faults.steps import Framing
from llmwatch.transport.sender import Sender
from tests.transport.drive import GONE, LIMIT, Call, assert_killed
from tests.transport.scenes import Network

_FRAMINGS: Sequence[Framing] = ("chunked", "length", "close")
_PROXIES = ("plain", "tls")


def test_a_kill_in_the_handshake_with_a_proxy(sender: Sender, network: Network) -> None:
    """A TLS proxy that never shakes hands is given up at the connect limit."""
    with network.scene("proxy-handshake") as scene:
        call = Call(sender, scene.url, limits={"connect": LIMIT}, **scene.options)
        assert call.start().take() == b""
        assert_killed(call, limit="connect", phase="connecting")
        scene.leaves(1)


@pytest.mark.parametrize("proxy", _PROXIES)
@pytest.mark.parametrize("where", ["CONNECT", "handshake", "send", "answer"])
def test_a_kill_before_the_headers_frees_caller_and_worker(
    where: str, proxy: str, sender: Sender, network: Network
) -> None:
    """Every wait behind a proxy before the headers is given up.

    The waits are a CONNECT without answer, a silent handshake in the tunnel, a stuck upload and a silent origin.
    """
    with network.scene(where, tls=True, proxy=proxy) as scene:
        call = Call(sender, scene.url, limits={scene.limit: LIMIT}, **scene.options)
        assert call.start().take() == b""
        assert_killed(call, limit=scene.limit, phase=scene.phase)
        scene.leaves(1)


@pytest.mark.parametrize("proxy", _PROXIES)
@pytest.mark.parametrize("framing", _FRAMINGS)
@pytest.mark.parametrize("where", ["head", "body"])
def test_a_kill_in_the_body_frees_caller_and_worker(
    where: str, framing: Framing, proxy: str, sender: Sender, network: Network
) -> None:
    """A body that falls silent in a tunnel, TLS in TLS included, is killed whatever its framing."""
    with network.scene(where, tls=True, framing=framing, proxy=proxy) as scene:
        call = Call(sender, scene.url, limits={scene.limit: LIMIT}, **scene.options)
        assert call.start().take() == scene.beginning
        assert_killed(call, limit=scene.limit, phase=scene.phase)
        scene.leaves(1)


@pytest.mark.parametrize("proxy", _PROXIES)
@pytest.mark.parametrize("where", ["CONNECT", "handshake", "answer", "body"])
def test_a_cancel_frees_the_worker_as_a_kill_does(where: str, proxy: str, sender: Sender, network: Network) -> None:
    """A caller that gives up behind a proxy gets nothing more.

    The worker is woken wherever it is stuck.
    """
    with network.scene(where, tls=True, proxy=proxy) as scene:
        call = Call(sender, scene.url, **scene.options).start()
        call.attempt.take(call.attempt.created_at + LIMIT)
        assert call.attempt.cancel("user")
        assert call.take() == b""
        assert (call.verdict.kind.value, call.verdict.by) == ("cancelled", "user")
        assert call.attempt.join(GONE)
        scene.leaves(1)
