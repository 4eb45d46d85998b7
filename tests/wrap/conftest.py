"""Time that only a test moves, functions that hang until they are let go, and servers.

Nothing is left behind.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest
import trustme

from llmwatch.faults import FaultServer, Script
from llmwatch.wrap import starting
from tests.end_to_end.calls import eventually
from tests.end_to_end.manual import LATE, ManualTime
from tests.wrap.functions import Hanging

Hang = Callable[..., Hanging]
Serve = Callable[..., FaultServer]


class Time(ManualTime):
    """The time of wrapped calls too."""

    def expire(self, seconds: float) -> None:
        """Let a limit of so many seconds, which began to count now, be over."""
        self.advance(seconds + LATE)


@pytest.fixture(autouse=True)
def nothing_left(baseline: None) -> Iterator[None]:
    """Threads and descriptors are back at the baseline after each test."""
    yield
    eventually(lambda: all(one.name != "llmwatch-abort" for one in threading.enumerate()), "callbacks have returned")


@pytest.fixture
def manual(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    """Time stands still until it is moved."""
    time = Time(monkeypatch)
    monkeypatch.setattr(starting, "_SETTINGS", dataclasses.replace(starting._SETTINGS, clock=time.clock))
    yield time
    time.end()


@pytest.fixture
def hang() -> Iterator[Hang]:
    """Makes functions that hang; all are let go in the end."""
    made: list[Hanging] = []

    def make(*args: object, **kwargs: object) -> Hanging:
        made.append(Hanging(*args, **kwargs))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.let_go()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start fault servers: ``serve("silent", "healthy")``."""
    with contextlib.ExitStack() as stack:

        def start(*scripts: str | Script, **options: object) -> FaultServer:
            return stack.enter_context(FaultServer(scripts or "healthy", **options))  # type: ignore[arg-type]

        yield start


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
