"""Servers and certificates; every test here leaves threads and descriptors as it found them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

import llmwatch
from tests.end_to_end.conftest import authority, bundle, nothing_left, server_tls
from tests.matrix.running import Trust
from tests.sdk.conftest import no_key, sdk_waits

__all__ = ["authority", "bundle", "no_key", "nothing_left", "sdk_waits", "server_tls"]


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    """No test leaves an installation."""
    yield
    llmwatch.uninstall()


@pytest.fixture(scope="session")
def trust(server_tls: ssl.SSLContext, bundle: str) -> Trust:
    """The server's certificate, and who trusts it."""
    return Trust(server=server_tls, bundle=bundle, trusting=ssl.create_default_context(cafile=bundle))
