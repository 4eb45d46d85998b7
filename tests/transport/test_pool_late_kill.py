"""A kill that comes when the connection is already back in the pool touches nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from llmwatch.faults import FaultServer, Script, steps
from llmwatch.transport.sender import Reply, Sender
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.machine import VerdictKind
from llmwatch.watch.states import Phase
from tests.transport.drive import LIMIT, PATIENCE, Call, SpyLine
from tests.transport.scenes import Network

_ROUNDS = 50


def _gated(context: Any) -> Iterator[steps.Step]:
    yield from context.answer([steps.Chunk(b"one"), steps.WaitFor("on"), steps.Chunk(b"two")])


_SHORT = Script.of("short", steps.Head(200, (), "length", 5), steps.Chunk(b"whole"), steps.End())
_GATED = Script(name="gated", description="two words, a gate between them", play=_gated)


class _Parked:
    """A loop that reads a whole length-delimited body and then stays until it is let go.

    Its attempt is alive meanwhile.
    """

    def __init__(self, *, report: bool) -> None:
        self.report = report
        self.parked = threading.Event()
        self.go = threading.Event()

    def read(self, call: Call, reply: Reply) -> None:
        while len(call.seen) < 5:
            call.read_once(reply)
        if self.report:
            call.attempt._received(5)
            call.attempt._read_on()
        self.parked.set()
        assert self.go.wait(PATIENCE)


@pytest.mark.parametrize("end", ["kill", "cancel"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_late_end_does_not_cut_the_next_call(end: str, tls: bool, sender: Sender, network: Network) -> None:
    """The end of an attempt that has read its body does not cut the next call on the same socket.

    The next call is in the middle of its answer.
    """
    with FaultServer([_SHORT, _GATED], tls=network.tls if tls else None) as server:
        first = _Parked(report=end == "kill")
        limits = {"stale": LIMIT} if end == "kill" else {}
        done = Call(sender, server.chat_url, limits=limits, reading=first.read, verify=network.bundle).start()
        assert first.parked.wait(PATIENCE)
        assert done.attempt._handles == []

        following = Call(sender, server.chat_url, verify=network.bundle).start()
        assert following.attempt.take() == [b"one"]
        if end == "cancel":
            assert done.attempt.cancel("user")
        done.take()
        assert done.verdict.kind is (VerdictKind.KILLED if end == "kill" else VerdictKind.CANCELLED)
        server.gate("on").set()
        assert following.take() == b"two"
        assert following.verdict.kind is VerdictKind.DONE
        assert following.attempt.stats.reused

        # The worker of the ended attempt closes its response, which has no connection any more.
        first.go.set()
        assert done.attempt.join(PATIENCE)
        assert Call(sender, server.chat_url, verify=network.bundle).run() == b"onetwo"
        assert server.connections == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_end_at_the_return_to_the_pool_closes_the_connection_or_leaves_it_whole(moment: str, sender: Sender) -> None:
    """An end just before the return to the pool closes the connection.

    An end just after it leaves the connection whole for the next call.
    """

    def wrap(attempt: Attempt[bytes]) -> SpyLine:
        def end(name: str) -> None:
            if name == "disown" and attempt.phase is not Phase.CONNECTING:
                attempt.cancel("user")

        return SpyLine(attempt, **{moment: end})

    with FaultServer([_SHORT, _SHORT]) as server:
        ended = Call(sender, server.chat_url, observer=wrap, reading=Call.read_blindly)
        ended.run()
        assert ended.verdict.kind is VerdictKind.CANCELLED
        following = Call(sender, server.chat_url)
        assert following.run() == b"whole"
        assert following.attempt.stats.reused == (moment == "after")
        assert server.connections == (1 if moment == "after" else 2)


def test_an_end_and_the_return_to_the_pool_exclude_each_other(sender: Sender) -> None:
    """However a cancellation and the end of a body fall together, the next call is never cut."""
    with FaultServer(_SHORT) as server:
        for number in range(_ROUNDS):
            racing = Call(sender, server.chat_url, reading=Call.read_blindly).start()
            server.wait_for_requests(2 * number + 1)
            racing.attempt.cancel("user")
            following = Call(sender, server.chat_url)
            assert following.run() == b"whole"
            assert following.verdict.kind is VerdictKind.DONE
            assert racing.attempt.join(PATIENCE)
