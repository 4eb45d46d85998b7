"""Servers and clients; every test here leaves threads and descriptors as it found them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmwatch import Client
from llmwatch.auth.token_cache import THREAD
from llmwatch.faults import FaultServer, Script
from tests.end_to_end.calls import QUICK
from tests.end_to_end.manual import ManualTime
from tests.end_to_end.times import PATIENCE

Serve = Callable[..., FaultServer]
Connect = Callable[..., Client]


@pytest.fixture(autouse=True)
def nothing_left(baseline: None) -> Iterator[None]:
    """Threads and descriptors are back at the baseline after each test.

    A refresh that goes on has its limit.
    """
    yield
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(PATIENCE)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start fault servers: ``serve(granting(), "silent")``."""
    with contextlib.ExitStack() as stack:

        def start(*scripts: str | Script, **options: Any) -> FaultServer:
            return stack.enter_context(FaultServer(scripts or "healthy", **options))

        yield start


@pytest.fixture
def connect(serve: Serve) -> Iterator[Connect]:
    """Make clients that are closed in the end, before the servers are.

    They resend without waiting for long.
    """
    with contextlib.ExitStack() as stack:

        def make(**settings: Any) -> Client:
            return stack.enter_context(Client(**{"retry": QUICK, **settings}))

        yield make


@pytest.fixture
def manual(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManualTime]:
    """Time that only the test moves, for every attempt that is made meanwhile."""
    time = ManualTime(monkeypatch)
    yield time
    time.end()
