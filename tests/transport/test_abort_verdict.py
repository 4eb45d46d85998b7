"""The verdict stands before the socket is touched.

What an abort looks like to the reader can never become a success.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from llmwatch.faults import FaultServer, Script, steps
from llmwatch.faults.steps import Framing
from llmwatch.transport.sender import Reply, Sender
from llmwatch.watch.machine import VerdictKind
from tests.transport.drive import LIMIT, PATIENCE, Call, assert_over
from tests.transport.scenes import Network

_FRAMINGS: Sequence[Framing] = ("chunked", "length", "close")
_WAYS = [
    pytest.param({}, id="plain"),
    pytest.param({"tls": True}, id="tls"),
    pytest.param({"tls": True, "proxy": "plain"}, id="tunnel"),
    pytest.param({"tls": True, "proxy": "tls"}, id="tls-in-tls"),
]


@dataclass(frozen=True, slots=True)
class _Freeze(steps.Step):
    """A provider that notices nothing until the test lets it go on, not even that its peer has left."""

    until: threading.Event

    def play(self, exchange: steps.Exchange) -> None:
        self.until.wait(PATIENCE)


def test_an_abort_that_looks_like_a_clean_end_is_a_kill(sender: Sender) -> None:
    """An attempt is killed although its body seems to end in good order.

    A body that ends with its connection seems to do so when it is killed.
    """
    thaw = threading.Event()

    def play(context: Any) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(b"one"), _Freeze(thaw)], framing="close", ends=False)

    with FaultServer(Script(name="frozen", description="one word", play=play)) as server:
        call = Call(sender, server.chat_url, limits={"total": LIMIT}, reading=Call.read_blindly)
        call.start().take()
        assert_over(call)
        thaw.set()
    assert (bytes(call.seen), call.ended, call.foreign) == (b"one", True, "")
    assert (call.verdict.kind, call.verdict.limit) == (VerdictKind.KILLED, "total")


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("framing", _FRAMINGS)
def test_a_killed_body_is_no_success_for_a_reader_that_trusts_its_end(
    framing: Framing, way: dict[str, Any], sender: Sender, network: Network
) -> None:
    """A worker that never asks about its verdict does not make a killed attempt done.

    This holds however the body seems to end.
    """
    with network.scene("body", framing=framing, **way) as scene:
        call = Call(sender, scene.url, limits={"total": LIMIT}, reading=Call.read_blindly, **scene.options)
        call.start().take()
        assert_over(call)
        assert (call.verdict.kind, call.verdict.limit) == (VerdictKind.KILLED, "total")
        assert bytes(call.seen) == scene.beginning
        # Where the framing says where the end is, the reader notices by itself.
        assert framing == "close" or not call.ended


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("framing", _FRAMINGS)
def test_a_killed_body_is_no_success_for_the_products_reader(
    framing: Framing, way: dict[str, Any], sender: Sender, network: Network
) -> None:
    """The product's loop, which asks after every read, ends killed as well.

    The caller keeps what was handed over before.
    """
    with network.scene("body", framing=framing, **way) as scene:
        call = Call(sender, scene.url, limits={"stale": LIMIT}, **scene.options)
        assert call.start().take() == scene.beginning
        assert_over(call)
        assert (call.verdict.kind, call.verdict.limit) == (VerdictKind.KILLED, "stale")


@pytest.mark.parametrize("framing", _FRAMINGS)
def test_a_kill_before_the_first_byte_is_no_empty_success(framing: Framing, sender: Sender, network: Network) -> None:
    """A body that was killed before its first byte is not taken for an empty one."""
    with network.scene("head", framing=framing) as scene:
        call = Call(sender, scene.url, limits={"ttfb": LIMIT}, reading=Call.read_blindly, **scene.options)
        assert call.start().take() == b""
        assert_over(call)
        assert (call.verdict.kind, call.verdict.limit) == (VerdictKind.KILLED, "ttfb")


@pytest.mark.parametrize("framing", _FRAMINGS)
def test_what_the_abort_raises_in_the_reader_does_not_replace_the_verdict(
    framing: Framing, sender: Sender, network: Network
) -> None:
    """A worker that fails because of the abort does not turn the kill into a failure."""

    def read_and_fail(call: Call, reply: Reply) -> None:
        call.read_blindly(reply)
        raise ValueError("the decoder is not content with half an answer")

    with network.scene("body", framing=framing) as scene:
        call = Call(sender, scene.url, limits={"total": LIMIT}, reading=read_and_fail, **scene.options)
        call.start().take()
        assert_over(call)
        assert (call.verdict.kind, call.verdict.error) == (VerdictKind.KILLED, None)
