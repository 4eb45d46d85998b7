"""A worker that is stuck on a plain connection is freed in every phase."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from llmwatch.faults.steps import Framing
from llmwatch.transport.sender import Sender
from tests.transport.drive import GONE, LIMIT, Call, assert_killed
from tests.transport.scenes import Network

_FRAMINGS: Sequence[Framing] = ("chunked", "length", "close")


@pytest.mark.parametrize("where", ["connect", "send", "answer"])
def test_a_kill_before_the_headers_frees_caller_and_worker(where: str, sender: Sender, network: Network) -> None:
    """The limit frees the caller at once and the worker within a second.

    The attempt is connecting, writing or waiting for the headers.
    """
    with network.scene(where) as scene:
        call = Call(sender, scene.url, limits={scene.limit: LIMIT}, **scene.options)
        assert call.start().take() == b""
        assert_killed(call, limit=scene.limit, phase=scene.phase)
        scene.leaves(1)


@pytest.mark.parametrize("framing", _FRAMINGS)
@pytest.mark.parametrize("where", ["head", "body"])
def test_a_kill_in_the_body_frees_caller_and_worker(
    where: str, framing: Framing, sender: Sender, network: Network
) -> None:
    """A body that falls silent before or after its first byte is killed whatever its framing.

    What came before is kept.
    """
    with network.scene(where, framing=framing) as scene:
        call = Call(sender, scene.url, limits={scene.limit: LIMIT}, **scene.options)
        assert call.start().take() == scene.beginning
        assert_killed(call, limit=scene.limit, phase=scene.phase)
        scene.leaves(1)


@pytest.mark.parametrize("limit", ["headers", "ttfb", "first_event", "first_content", "total"])
def test_each_limit_that_counts_from_sent_can_kill_the_wait(limit: str, sender: Sender, network: Network) -> None:
    """Each of the limits that start when the request is sent ends the wait for the headers.

    The verdict names the limit.
    """
    with network.scene("answer") as scene:
        call = Call(sender, scene.url, limits={limit: LIMIT}, **scene.options)
        call.start().take()
        assert_killed(call, limit=limit, phase="waiting")
        scene.leaves(1)


def test_the_deadline_of_the_call_kills_while_connecting(sender: Sender, network: Network) -> None:
    """The deadline ends an attempt even in a phase that it has no limit of its own for."""
    with network.scene("connect") as scene:
        call = Call(sender, scene.url, deadline=LIMIT, **scene.options)
        call.start().take()
        assert (call.verdict.limit, call.verdict.phase.value) == ("deadline", "connecting")
        assert call.attempt.join(GONE)


@pytest.mark.parametrize("where", ["connect", "send", "answer", "head", "body"])
def test_a_cancel_frees_the_worker_as_a_kill_does(where: str, sender: Sender, network: Network) -> None:
    """A caller that gives up gets nothing more, and the worker is woken wherever it is stuck."""
    with network.scene(where) as scene:
        call = Call(sender, scene.url, **scene.options).start()
        call.attempt.take(call.attempt.created_at + LIMIT)
        assert call.attempt.cancel("user")
        assert call.take() == b""
        assert (call.verdict.kind.value, call.verdict.by) == ("cancelled", "user")
        assert call.attempt.join(GONE)
        scene.leaves(1)
