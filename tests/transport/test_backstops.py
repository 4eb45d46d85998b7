"""Socket time-outs stand behind the limits.

The time-outs free a worker without a watch, and bound nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmwatch.errors import ConnectFailed, StreamCut
from llmwatch.faults import Context, FaultServer, Script, blackhole, steps
from llmwatch.transport.sender import Sender
from llmwatch.watch.machine import VerdictKind
from tests.transport.drive import GONE, LIMIT, Call
from tests.transport.scenes import UPLOAD, Network, stalled_upload

_SHORT = LIMIT / 2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_socket_time_out_ends_an_unwatched_silent_answer(tls: bool, sender: Sender, network: Network) -> None:
    """The read's own time-out ends it, as a failure and not as a kill."""
    with FaultServer("silent", tls=network.tls if tls else None) as server:
        call = Call(sender, server.chat_url, backstops={"read": _SHORT}, verify=network.bundle)
        call.run()
        assert call.verdict.kind is VerdictKind.FAILED
        assert isinstance(call.error, StreamCut)
        server.wait_for_closed(1)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_socket_time_out_bounds_each_read_of_a_body(tls: bool, sender: Sender, network: Network) -> None:
    """The time-out holds for each read of the body as well."""
    with FaultServer("stall-after-content", tls=network.tls if tls else None) as server:
        call = Call(sender, server.chat_url, backstops={"read": _SHORT}, verify=network.bundle)
        assert call.run()
        assert isinstance(call.error, StreamCut)
        server.wait_for_closed(1)


def test_a_socket_time_out_ends_an_unwatched_handshake(sender: Sender, network: Network) -> None:
    """The connect time-out ends it."""
    with FaultServer(tls_silent=True) as server:
        call = Call(sender, server.chat_url, backstops={"connect": _SHORT}, verify=network.bundle)
        call.run()
        assert isinstance(call.error, ConnectFailed)
        server.wait_for_closed(1)


def test_a_socket_time_out_ends_an_unread_upload(sender: Sender) -> None:
    """The send time-out ends an upload without a watch."""
    with FaultServer(stalled_upload(), receive_buffer=4096) as server:
        call = Call(sender, server.chat_url, data=UPLOAD, backstops={"send": _SHORT})
        call.run()
        assert isinstance(call.error, StreamCut)
        assert call.attempt.stats.sent == "partly"
        server.wait_for_closed(1)


def test_the_deadline_bounds_a_dead_address_without_connect(sender: Sender) -> None:
    """With ``connect`` off a dead address is left to the caller's other limits, here the deadline."""
    with blackhole() as (host, port):
        call = Call(sender, f"http://{host}:{port}/", deadline=LIMIT, backstop=None)
        call.start().take()
        assert call.verdict.limit == "deadline"
        assert call.attempt.join(GONE)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_connect_time_out_does_not_bound_the_upload(tls: bool, sender: Sender, network: Network) -> None:
    """A body is written for longer than connecting may take, on a fresh connection and on a used one."""
    script = Script(
        name="late",
        description="reads late",
        play=lambda context: context.answer([]),
        reading=lambda: (steps.Wait(2 * _SHORT), steps.ReadBody()),
    )
    with FaultServer(script, tls=network.tls if tls else None) as server:
        for _ in range(2):
            call = Call(
                sender,
                server.chat_url,
                data=UPLOAD,
                backstops={"connect": _SHORT},
                verify=network.bundle,
            )
            call.run()
            assert call.error is None
        assert server.connections == 1


def test_the_send_time_out_does_not_bound_the_answer(sender: Sender) -> None:
    """An answer may take longer than writing the request may."""

    def play(context: Context) -> Iterator[steps.Step]:
        yield steps.Wait(2 * _SHORT)
        yield from context.answer([steps.Chunk(b"one"), steps.Wait(2 * _SHORT), steps.Chunk(b"two")])

    with FaultServer(Script(name="slow", description="waits before and within", play=play)) as server:
        call = Call(sender, server.chat_url, backstops={"connect": _SHORT, "send": _SHORT})
        assert call.run() == b"onetwo"
        assert call.error is None
