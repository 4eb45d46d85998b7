"""Servers and clients of the SDKs; every test here leaves threads and descriptors as it found them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.end_to_end.conftest import authority, bundle, serve, server_tls, set_aside
from tests.sdk.clients import MAKERS, Watched

__all__ = ["authority", "bundle", "serve", "server_tls", "set_aside"]

Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def nothing_left(baseline: None) -> None:
    """Threads and descriptors are back at the baseline after each test."""


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this machine gives an SDK its address or its key."""
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def sdk_waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that an SDK set about a retry of its own; it does not wait for it."""
    waits: list[int] = []
    for sdk in (openai, anthropic):
        monkeypatch.setattr(
            sdk._base_client.SyncAPIClient,
            "_sleep_for_retry",
            lambda self, *, retries_taken, **more: waits.append(retries_taken),
        )
    return waits


@pytest.fixture
def make(serve: Any) -> Iterator[Make]:
    """Make clients: ``make("helper", ask, server, limits=...)``.

    They are closed in the end, before the servers are.
    """
    with contextlib.ExitStack() as stack:

        def one(entry_point: str, sdk: str, server: Any, **settings: Any) -> Watched:
            return stack.enter_context(MAKERS[entry_point](sdk, server, **settings))

        yield one
