"""What happens to streams when their process is stopped, forked or ended."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from llmwatch.faults.catalogue import ANSWER, answer
from tests.end_to_end.conftest import Serve
from tests.end_to_end.processes import child
from tests.end_to_end.scripts import gated, late
from tests.end_to_end.times import FREE, LIMIT, LONG


@pytest.mark.parametrize(
    ("tokens", "limit"), [(0, "ttfb"), (3, "stale"), (3, "progress")], ids=["waiting", "reading", "generating"]
)
def test_a_stopped_process_with_bytes_waiting_is_not_killed(serve: Serve, tokens: int, limit: str) -> None:
    """A process that is stopped for many limits goes on with the answer that came meanwhile."""
    server = serve(gated(tokens) if tokens else late())
    with child("streams", url=server.messages_url, limits={limit: 3 * LIMIT}) as one:
        assert one.says() == {"began": True}
        if tokens:
            assert one.says() == {"first": True}
        server.wait_for_requests(1)
        os.kill(one.pid, signal.SIGSTOP)
        server.gate("rest").set()
        threading.Event().wait(5 * LIMIT)
        os.kill(one.pid, signal.SIGCONT)
        said = one.says()
        if not tokens:
            assert said == {"first": True}
            said = one.says()
        assert said == {"text": ANSWER, "error": None, "phase": None}
        assert one.ended() == (0, "")
    assert len(server.requests) == 1


def test_a_stopped_process_without_bytes_waiting_is_killed_after_its_grace(serve: Serve) -> None:
    """A process that was stopped and finds nothing gets a second of grace, and then its limit holds."""
    server = serve("stall-after-content")
    with child("streams", url=server.chat_url, limits={"stale": 3 * LIMIT}) as one:
        assert one.says() == {"began": True}
        assert one.says() == {"first": True}
        os.kill(one.pid, signal.SIGSTOP)
        threading.Event().wait(3 * LIMIT + 1.1)
        began = time.monotonic()
        os.kill(one.pid, signal.SIGCONT)
        assert one.says() == {"text": answer(3), "error": "WatchTimeout", "phase": "stale"}
        assert time.monotonic() - began >= 0.9
        assert one.ended() == (0, "")
    assert len(server.requests) == 1


@pytest.mark.parametrize("raises", [False, True], ids=["end of the script", "sys.exit"])
def test_the_interpreter_exits_at_once_with_live_streams(serve: Serve, raises: bool) -> None:
    """Live streams in the main and in a daemon thread neither delay the exit nor print anything."""
    server = serve("stall-after-content")
    with child("exits", url=server.chat_url, limits={"stale": LONG}, raises=raises) as one:
        assert one.says() == {"ready": True}
        began = time.monotonic()
        assert one.ended() == (7 if raises else 0, "")
        assert time.monotonic() - began < FREE
    server.wait_for_closed(3)
    assert len(server.requests) == 3


def test_importing_and_making_a_client_starts_nothing() -> None:
    """A program that has imported llmwatch and made a client has no thread but its own."""
    with child("imports") as one:
        assert one.says() == {"threads": ["MainThread"]}
        assert one.ended() == (0, "")


@pytest.mark.parametrize("leaves", ["_exit", "exit"])
def test_a_fork_leaves_the_stream_to_the_parent(serve: Serve, leaves: str) -> None:
    """After a fork the child's own calls are watched and its inherited stream is over; the parent's goes on to its
    end.
    """
    streaming, silent, healthy = serve(gated(3)), serve("silent"), serve()
    with child(
        "forks",
        url=streaming.messages_url,
        silent=silent.messages_url,
        healthy=healthy.messages_url,
        limits={"ttfb": 2 * LIMIT},
        leaves=leaves,
    ) as one:
        found = one.says()
        assert "failed" not in found
        assert found["before"] == 0
        assert found["inherited"] == "lifecycle"
        for name in ("same", "fresh"):
            phase, elapsed = found[name]
            assert phase == "ttfb"
            assert 2 * LIMIT <= elapsed < 2 * LIMIT + FREE
            assert found[f"{name} text"] == ANSWER
        assert one.says()["child"] == 0
        streaming.gate("rest").set()
        assert one.says() == {"text": ANSWER, "outcome": "done"}
        code, errors = one.ended()
        assert code == 0
        assert "Traceback" not in errors
    assert (len(streaming.requests), len(silent.requests), len(healthy.requests)) == (1, 2, 2)
