"""A worker that is stuck on a TLS connection is freed in every phase, the handshakes included."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from llmwatch.faults.steps import Framing
from llmwatch.transport.sender import Sender
from tests.transport.drive import GONE, LIMIT, Call, assert_killed
from tests.transport.scenes import Network

_FRAMINGS: Sequence[Framing] = ("chunked", "length", "close")


@pytest.mark.parametrize("where", ["connect", "handshake", "send", "answer"])
def test_a_kill_before_the_headers_frees_caller_and_worker(where: str, sender: Sender, network: Network) -> None:
    """Caller and worker are freed over TLS.

    The attempt is connecting, shaking hands, writing or waiting for the headers.
    """
    with network.scene(where, tls=True) as scene:
        call = Call(sender, scene.url, limits={scene.limit: LIMIT}, **scene.options)
        assert call.start().take() == b""
        assert_killed(call, limit=scene.limit, phase=scene.phase)
        scene.leaves(1)


@pytest.mark.parametrize("framing", _FRAMINGS)
@pytest.mark.parametrize("where", ["head", "body"])
def test_a_kill_in_the_body_frees_caller_and_worker(
    where: str, framing: Framing, sender: Sender, network: Network
) -> None:
    """A body over TLS that falls silent is killed whatever its framing, and what came before is kept."""
    with network.scene(where, tls=True, framing=framing) as scene:
        call = Call(sender, scene.url, limits={scene.limit: LIMIT}, **scene.options)
        assert call.start().take() == scene.beginning
        assert_killed(call, limit=scene.limit, phase=scene.phase)
        scene.leaves(1)


@pytest.mark.parametrize("where", ["handshake", "send", "answer", "body"])
def test_a_cancel_frees_the_worker_as_a_kill_does(where: str, sender: Sender, network: Network) -> None:
    """A caller that gives up a TLS call gets nothing more, and the worker is woken wherever it is stuck."""
    with network.scene(where, tls=True) as scene:
        call = Call(sender, scene.url, **scene.options).start()
        call.attempt.take(call.attempt.created_at + LIMIT)
        assert call.attempt.cancel("user")
        assert call.take() == b""
        assert (call.verdict.kind.value, call.verdict.by) == ("cancelled", "user")
        assert call.attempt.join(GONE)
        scene.leaves(1)
