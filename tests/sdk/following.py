"""Clients that follow redirects by themselves, each watched in its own way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx

from llmwatch.sdk import Transport
from tests.end_to_end.calls import QUICK
from tests.session.entry_points import WAYS, Way

__all__ = ["ENTRY_POINTS", "SESSIONS", "transport"]


@contextlib.contextmanager
def transport(**settings: Any) -> Iterator[httpx.Client]:
    """An httpx client on a transport of llmwatch."""
    over = Transport(**{"retry": QUICK, **settings})
    with httpx.Client(transport=over, timeout=None, follow_redirects=True) as client:
        yield client


SESSIONS: list[Any] = [Way(name).session for name in WAYS]
"""Sessions of requests."""
ENTRY_POINTS: list[Any] = [*SESSIONS, transport]
