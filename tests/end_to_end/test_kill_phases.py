"""A blocked worker is freed in every phase, plain and TLS, behind a proxy and TLS in TLS."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from functools import partial

import pytest

import llmwatch
from llmwatch import Decision, Limits, LLMWatchError, Retry
from llmwatch.faults import steps
from tests.end_to_end.calls import eventually, in_thread, stream, timed_out, together
from tests.end_to_end.conftest import Connect
from tests.end_to_end.phases import PHASES, scene
from tests.end_to_end.times import FREE, GONE, LIMIT, LONG

_DECISIONS = {"body": Decision.CONTINUE}


def _workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "llmwatch-worker"]


def _id(place: tuple[str, bool, str, str]) -> str:
    where, secure, framing, proxy = place
    way = {"": "", "plain": "-proxy", "tls": "-tls-in-tls"}[proxy]
    return f"{where}-{'tls' if secure else 'plain'}-{framing}{way}"


@pytest.mark.parametrize("where", dict.fromkeys(place[0] for place in PHASES))
def test_a_kill_frees_caller_and_worker_in_every_phase(
    connect: Connect, server_tls: ssl.SSLContext, bundle: str, where: str
) -> None:
    """The caller of a stuck call is free at the limit, wherever the call is stuck.

    This holds on every way to that place. The worker is gone within a second, and only what the server had said
    came out.
    """
    with contextlib.ExitStack() as stack:
        scenes = [
            stack.enter_context(scene(where, server_tls if secure else None, bundle, framing=framing, proxy=proxy))
            for place, secure, framing, proxy in PHASES
            if place == where
        ]
        client = connect(retry=Retry.none())
        outcomes = together(
            partial(stream, client, stuck.url, limits=Limits(**{stuck.limit: LIMIT}), **stuck.options)
            for stuck in scenes
        )
        began = time.monotonic()
        for worker in _workers():
            worker.join(GONE)
        assert _workers() == []
        assert time.monotonic() - began < GONE
        for stuck, outcome in zip(scenes, outcomes, strict=True):
            decision = _DECISIONS.get(where, Decision.STOP)
            error = timed_out(outcome, stuck.limit, LIMIT, attempts=1, decision=decision)
            assert outcome.elapsed >= LIMIT
            assert error.record is not None
            assert error.record.attempts[0].phase == stuck.phase
            assert error.partial == outcome.text == stuck.said
            stuck.left()
            assert stuck.requests() == (1 if where in ("answer", "head", "body") else 0)
    assert llmwatch.stats()["orphans"] == 0


@pytest.mark.parametrize(
    "place",
    [
        ("connect", False, "chunked", ""),
        ("handshake", True, "chunked", ""),
        ("CONNECT", True, "chunked", "plain"),
        ("handshake", True, "chunked", "tls"),
        ("send", True, "chunked", ""),
        ("answer", False, "chunked", ""),
        ("head", True, "chunked", ""),
        ("body", False, "close", ""),
        ("body", True, "chunked", "tls"),
    ],
    ids=_id,
)
@pytest.mark.parametrize("by", ["user", "lifecycle"])
def test_a_cancellation_frees_caller_and_worker_in_every_phase(
    connect: Connect,
    server_tls: ssl.SSLContext,
    bundle: str,
    place: tuple[str, bool, steps.Framing, str],
    by: str,
) -> None:
    """A token or ``Client.close()`` of another thread ends a stuck call at once.

    This holds wherever the call is stuck, with no limit in sight.
    """
    where, secure, framing, proxy = place
    with scene(where, server_tls if secure else None, bundle, framing=framing, proxy=proxy) as stuck:
        client, token = connect(), llmwatch.CancelToken()
        limits = Limits(connect=LONG, send=LONG, ttfb=LONG, stale=LONG)
        calling = in_thread(stream, client, stuck.url, limits=limits, cancel=token, **stuck.options)
        stuck.reached()
        eventually(_workers, "the worker is there")
        began = time.monotonic()
        (token.cancel if by == "user" else client.close)()
        outcome = calling.result()
        assert time.monotonic() - began < FREE
        for worker in _workers():
            worker.join(GONE)
        assert _workers() == []
        error = outcome.failed(llmwatch.Cancelled)
        assert isinstance(error, LLMWatchError)
        assert (error.by, error.retryable) == (by, False)
        assert error.recovery is not None
        assert error.recovery.decision is Decision.STOP
        assert error.recovery.reason == f"cancelled_by_{by}"
        assert error.record is not None
        assert error.record.outcome == "cancelled"
        assert error.record.cause == {"user": "user_cancel", "lifecycle": "lifecycle_close"}[by]
        stuck.left()
        assert stuck.requests() <= 1
