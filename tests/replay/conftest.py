"""Every test here that opens a socket leaves threads and descriptors as it found them."""

from __future__ import annotations

import pytest


@pytest.fixture
def nothing_left(baseline: None) -> None:
    """Threads and descriptors are back at the baseline after the test."""
