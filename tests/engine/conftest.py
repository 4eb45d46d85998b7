"""Calls without a network, on time that stands still until it is moved."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.fakes import Studio


@pytest.fixture(autouse=True)
def nothing_left(baseline: None) -> None:
    """Threads and descriptors are back at the baseline after each test."""


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    """Makes calls."""
    studio = Studio(monkeypatch)
    yield studio
    studio.time.end()
