"""Servers and clients as in the end-to-end tests.

Every test here leaves threads and descriptors as it found them.
"""

from __future__ import annotations

import pytest

from tests.end_to_end.conftest import authority, bundle, connect, nothing_left, serve, server_tls

__all__ = ["authority", "bundle", "connect", "nothing_left", "serve", "server_tls"]


@pytest.fixture
def unpaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time pays for no resend, so that a slow machine gets as many as a quick one."""
    monkeypatch.setattr("llmwatch.recovery.budget._EACH_SECOND", 1e-9)
