"""Streams of a process that is stopped, forked or ended."""

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
from tests.end_to_end.times import FREE, LIMIT, LONG, STOPPED


def test_a_stopped_process_keeps_streams_with_waiting_bytes(serve: Serve) -> None:
    """A process that is stopped for longer than its limits goes on with the answers that came meanwhile.

    This holds whatever the process waited for. A stream for which nothing came gets a second of grace, and then its
    limit holds.
    """
    waiting, reading, generating, stalled = (
        serve(late()),
        serve(gated(3)),
        serve(gated(3)),
        serve("stall-after-content"),
    )
    calls = {
        "waiting": {"url": waiting.messages_url, "limits": {"ttfb": STOPPED}},
        "reading": {"url": reading.messages_url, "limits": {"stale": STOPPED}},
        "generating": {"url": generating.messages_url, "limits": {"progress": STOPPED}},
        "stalled": {"url": stalled.chat_url, "limits": {"stale": STOPPED}},
    }
    with child("streams", calls=calls) as one:
        begun = {one.says()["call"] for _ in range(3)}
        assert begun == {"reading", "generating", "stalled"}
        waiting.wait_for_requests(1)
        os.kill(one.pid, signal.SIGSTOP)
        for server in (waiting, reading, generating):
            server.gate("rest").set()
        # By then every limit has expired, and the supervisor wakes over a second late.
        threading.Event().wait(STOPPED + 1.1)
        began = time.monotonic()
        os.kill(one.pid, signal.SIGCONT)
        ended = {}
        while len(ended) < len(calls):
            said = one.says()
            if "first" not in said:
                ended[said.pop("call")] = said
        killed_at = ended["stalled"].pop("at")
        for name in ("waiting", "reading", "generating"):
            ended[name].pop("at")
            assert ended[name] == {"text": ANSWER, "error": None, "limit": None}
        assert ended["stalled"] == {"text": answer(3), "error": "WatchTimeout", "limit": "stale"}
        assert killed_at - began >= 0.9
        assert one.ended() == (0, "")
    assert [len(server.requests) for server in (waiting, reading, generating, stalled)] == [1] * 4


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


def test_importing_and_making_a_client_starts_no_thread() -> None:
    """A program that has imported llmwatch and made a client has no thread but its own."""
    with child("imports") as one:
        assert one.says() == {"threads": ["MainThread"]}
        assert one.ended() == (0, "")


def test_a_fork_leaves_the_stream_to_the_parent(serve: Serve) -> None:
    """The child's own calls are watched after a fork, and its inherited stream is over.

    This holds for every exit by which the child leaves. The parent's stream goes on to its end.
    """
    streaming, silent, healthy = serve(gated(3)), serve("silent"), serve()
    with child(
        "forks",
        url=streaming.messages_url,
        silent=silent.messages_url,
        healthy=healthy.messages_url,
        limits={"ttfb": 2 * LIMIT},
        leaves=["_exit", "exit"],
    ) as one:
        for _ in range(2):
            found = one.says()
            assert "failed" not in found
            assert found["before"] == 0
            assert found["inherited"] == "lifecycle"
            for name in ("same", "fresh"):
                limit, elapsed = found[name]
                assert limit == "ttfb"
                assert 2 * LIMIT <= elapsed < 2 * LIMIT + FREE
                assert found[f"{name} text"] == ANSWER
            assert one.says() == {"child": 0}
        streaming.gate("rest").set()
        assert one.says() == {"text": ANSWER, "outcome": "done"}
        code, errors = one.ended()
        assert code == 0
        assert "Traceback" not in errors
    assert (len(streaming.requests), len(silent.requests), len(healthy.requests)) == (1, 4, 4)
