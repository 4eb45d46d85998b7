"""Servers, certificates and entry points.

Every test here leaves threads, descriptors and requests itself as it found them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.cli.running import LAUNCHER
from tests.end_to_end.conftest import authority, bundle, nothing_left, serve, server_tls, set_aside
from tests.session.entry_points import WAYS, Way

__all__ = ["authority", "bundle", "nothing_left", "serve", "server_tls", "set_aside"]


@pytest.fixture(scope="session")
def launcher() -> None:
    """Start the launcher of commands, with its channel, before a test counts what it leaves behind."""
    LAUNCHER.begin()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    """Each of the entry points that existing code is dropped into."""
    return Way(request.param)


@pytest.fixture(autouse=True)
def requests_as_it_was() -> Iterator[None]:
    """Check that the test has left requests unchanged."""
    before = requests.Session.get_adapter
    yield
    assert requests.Session.get_adapter is before
