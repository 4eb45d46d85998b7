"""Certificates made on the spot, a sender, and the rule that a test leaves nothing behind."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator

import psutil
import pytest
import trustme

from llmwatch.transport.sender import Sender
from llmwatch.watch import attempt
from llmwatch.watch.clock import SYSTEM
from tests.conftest import ENVIRONMENT, SCALE
from tests.transport.drive import PATIENCE
from tests.transport.scenes import Network


def _threads() -> set[threading.Thread]:
    # The supervisor of the process stays; it has no end.
    return {thread for thread in threading.enumerate() if thread.name != "llmwatch-supervisor"}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Threads and descriptors are back at the baseline when the test and all its servers are through."""
    process, pause = psutil.Process(), threading.Event()
    threads, descriptors = _threads(), process.num_fds()
    yield
    until = SYSTEM.now() + PATIENCE / 5
    while (_threads() - threads or process.num_fds() > descriptors) and SYSTEM.now() < until:
        pause.wait(0.005)
    assert _threads() - threads == set()
    assert process.num_fds() <= descriptors


@pytest.fixture(autouse=True)
def as_slow_as_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has to wait for its turn is not taken for a stuck one."""
    monkeypatch.setattr(attempt, "_WAKE_BOUND", attempt._WAKE_BOUND * SCALE)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of this machine's proxies and certificate bundles get into a test.

    requests reads them from the environment.
    """
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


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


@pytest.fixture
def network(server_tls: ssl.SSLContext, bundle: str) -> Network:
    """Servers and proxies to get stuck at."""
    return Network(server_tls, bundle)


@pytest.fixture
def sender() -> Iterator[Sender]:
    """A sender whose pooled connections are closed in the end."""
    sender = Sender()
    yield sender
    sender.close()
