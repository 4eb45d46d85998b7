"""Servers, clients and certificates for tests that leave threads and descriptors as they were."""

from __future__ import annotations

import contextlib
import gc
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from llmwatch import Client
from llmwatch.faults import FaultServer, Script
from tests.end_to_end.calls import QUICK
from tests.end_to_end.manual import ManualTime
from tests.end_to_end.times import PATIENCE

Serve = Callable[..., FaultServer]
Connect = Callable[..., Client]


@pytest.fixture(autouse=True)
def nothing_left(baseline: None) -> None:
    """Threads and descriptors are back at the baseline after each test."""


@pytest.fixture
def set_aside() -> None:
    """A garbage collection looks only through what the test itself has made.

    All older objects are frozen and never thawed: all tests that were collected are among them.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority of this run."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """The TLS context of a server on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The authority's certificate in a file, for ``verify=``."""
    path = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


class PatientServer(FaultServer):
    """A server that waits for what must happen as long as the tests do."""

    def wait_for_requests(self, count: int, timeout: float = PATIENCE) -> None:
        super().wait_for_requests(count, timeout)

    def wait_for_connections(self, count: int, timeout: float = PATIENCE) -> None:
        super().wait_for_connections(count, timeout)

    def wait_for_closed(self, count: int, timeout: float = PATIENCE) -> None:
        super().wait_for_closed(count, timeout)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start fault servers: ``serve("silent", "healthy", shape="anthropic")``."""
    with contextlib.ExitStack() as stack:

        def start(*scripts: str | Script, **options: Any) -> FaultServer:
            return stack.enter_context(PatientServer(scripts or "healthy", **options))

        yield start


@pytest.fixture
def connect(serve: Serve) -> Iterator[Connect]:
    """Make clients that are closed in the end, before the servers are.

    The clients resend without waiting for long.
    """
    with contextlib.ExitStack() as stack:

        def make(**settings: Any) -> Client:
            return stack.enter_context(Client(**{"retry": QUICK, **settings}))

        yield make


@pytest.fixture
def manual(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManualTime]:
    """Time stands still until it is moved."""
    time = ManualTime(monkeypatch)
    yield time
    time.end()
