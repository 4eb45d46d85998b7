"""Ctrl-C ends a call at once, wherever the caller is.

The connection is shut and nothing more is sent.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from tests.end_to_end.conftest import Serve
from tests.end_to_end.processes import child
from tests.end_to_end.times import PATIENCE, WITHIN

TRIES = 2

PLACES: dict[str, list[dict[str, Any]]] = {
    "silent": [],
    "headers-then-silent": [],
    "keepalive-only": [],
    "stall-after-content": [{"first": True}],
    "retry-after:value=60": [{"wait": 60.0}],
}
"""Where a call waits, and what its process says on the way there."""


def test_ctrl_c_is_raised_at_once_and_ends_the_call(serve: Serve) -> None:
    """``KeyboardInterrupt`` comes within 0.2 s wherever a call waits, in the best of a few tries.

    The connection is shut and nothing more is sent. The process can go on with other calls, and exits in good
    order.
    """
    servers = {script: serve(script) for script in PLACES}
    waits: dict[str, list[float]] = {script: [] for script in PLACES}
    urls = [server.chat_url for server in servers.values()] * TRIES
    with child("is_interrupted", urls=urls, retry={"max_attempts": 3}) as one:
        for number in range(1, TRIES + 1):
            for script, signs in PLACES.items():
                server = servers[script]
                for sign in [{"began": True}, *signs]:
                    assert one.says() == sign
                server.wait_for_requests(number)
                sent = time.monotonic()
                os.kill(one.pid, signal.SIGINT)
                said = one.says()
                waits[script].append(said["at"] - sent)
                assert (said["outcome"], said["attempts"]) == ("cancelled", 1)
                if signs and "wait" in signs[0]:
                    # The error was read to its end, so its connection is idle; the planned resend did not come about.
                    assert said["decisions"][0] == ["retry", False]
                else:
                    # The client is not closed yet, and its connection is.
                    server.wait_for_closed(number)
                assert one.process.poll() is None
                one.go_on()
        assert one.ended() == (0, "")
    for script, server in servers.items():
        server.wait_for_closed(TRIES)
        assert len(server.requests) == TRIES
        assert min(waits[script]) < WITHIN, script


def test_a_signal_handler_may_close_the_client(serve: Serve) -> None:
    """A handler that interrupts the making of a call can close the client.

    There is no deadlock, and nothing is sent.
    """
    server = serve()
    with child("is_signalled", url=server.chat_url) as one:
        assert one.says(PATIENCE) == {"by": "lifecycle"}
        assert one.ended() == (0, "")
    assert server.requests == []
