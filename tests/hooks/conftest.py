"""Servers and certificates for tests that install llmwatch; each installation is taken back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import llmwatch
from llmwatch.hooks import left_alone
from tests.end_to_end.conftest import authority, bundle, serve, server_tls
from tests.sdk.conftest import no_key, sdk_waits

__all__ = ["authority", "bundle", "no_key", "sdk_waits", "serve", "server_tls"]


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    """No test leaves an installation, or counts of what was left alone."""
    left_alone._counts.clear()
    left_alone._said.clear()
    yield
    llmwatch.uninstall()


@pytest.fixture
def nothing_left(baseline: None) -> None:
    """Threads and descriptors are back at the baseline after the test."""
