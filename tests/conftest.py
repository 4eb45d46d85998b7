"""What all tests share: one scale for all times, an environment that sets nothing, and the rule that nothing is
left.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import psutil
import pytest

SCALE = float(os.environ.get("LLMWATCH_TEST_SCALE", "1"))
"""What times in tests are multiplied with, for a machine that has too much to do: ``LLMWATCH_TEST_SCALE``."""

_LEAVING = 10.0 * SCALE
_ENVIRONMENT = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(scope="session")
def scale() -> float:
    """What times in tests are multiplied with."""
    return SCALE


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this machine sets a limit, a proxy or a bundle of certificates."""
    for name in list(os.environ):
        if name.startswith("LLMWATCH_") or name.upper() in _ENVIRONMENT:
            monkeypatch.delenv(name)


def _threads() -> set[threading.Thread]:
    # The supervisor of the process has no end.
    return {thread for thread in threading.enumerate() if thread.name != "llmwatch-supervisor"}


@pytest.fixture
def baseline() -> Iterator[None]:
    """Threads and descriptors are as they were before, once the test and its servers are through and without the help
    of a garbage collection.
    """
    process = psutil.Process()
    threads, descriptors = _threads(), process.num_fds()
    yield
    for thread in _threads() - threads:
        if thread.name == "llmwatch-worker":
            thread.join(_LEAVING)
    assert _threads() - threads == set(), "threads are left"
    assert process.num_fds() <= descriptors, "descriptors are left"
