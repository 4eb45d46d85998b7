"""The environment of the real servers, which ``--servers`` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.running import Servers


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Servers:
    """Skips every test without the option."""
    folder = request.config.getoption("--servers")
    if folder is None:
        pytest.skip("--servers names no environment with tests/real/requirements.txt")
    return Servers(Path(folder).absolute())
