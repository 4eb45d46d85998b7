from __future__ import annotations

import pytest

from tests.proxy.serving import SOON


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits and waits under which a test of silence is short."""
    for name, value in {"TTFB_TIMEOUT": SOON, "STALE_TIMEOUT": SOON, "BACKOFF": 0.01}.items():
        monkeypatch.setenv(f"LLMWATCH_{name}_SECONDS", str(value))
