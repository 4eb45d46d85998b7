"""What all tests share: one scale for all times, and an environment that sets nothing.

They share also the rule that nothing is left.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

from llmwatch.engine import settings as engine_settings
from llmwatch.records import log
from tests.calibration import VARIABLE, scale_of_this_run
from tests.watch.held import assert_lock

SCALE = scale_of_this_run()
"""The factor of times in tests, for a machine that has too much to do (:mod:`tests.calibration`)."""

_TESTS = Path(__file__).parent
_FAST = ("client", "engine", "payload", "policy", "records", "recovery", "redaction", "wire")
"""What is tested without sockets and without real time: ``--fast`` runs these tests and nothing else."""
_LIBRARIES = "libraries"
"""Installs packages and runs them; ``--libraries`` runs its tests and nothing else does."""
_HANGS = 60.0 * SCALE
"""Seconds after which a test counts as hanging; the longest takes a tenth of that."""

_LEAVING = 10.0 * SCALE
_PASSING = ("llmwatch-worker", "llmwatch-closing", "llmwatch-telling")
"""Threads that end by themselves, each of which may leave something to do to the next."""
ENVIRONMENT = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)

# The same examples in every run: what a random one finds is a fault to mend, but no word on the change that is checked.
# "--hypothesis-profile explore" looks for more.
settings.register_profile("steady", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile("steady")

assert_lock()


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background has Ctrl-C ignored, by every process that they start as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help=f"only the pure packages: {', '.join(_FAST)}")
    parser.addoption("--libraries", action="store_true", help="only the real libraries, which are installed first")
    parser.addoption("--browser", action="store_true", help="also the tests in a browser, run by themselves")
    parser.addoption("--servers", metavar="FOLDER", help="the environment with tests/real/requirements.txt")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The pure tests compute, the others wait for most of their time."""
    processors = os.cpu_count() or 1
    return processors if config.getoption("--fast") else 3 * processors


def pytest_report_header() -> str:
    return f"times in tests: x {SCALE:g}"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if _TESTS not in collection_path.parents:
        return None
    package = collection_path.relative_to(_TESTS).parts[0]
    if package == _LIBRARIES or config.getoption("--libraries"):
        wanted = package == _LIBRARIES and config.getoption("--libraries")
    else:
        wanted = package in _FAST or not config.getoption("--fast")
    # None leaves the decision to pytest.
    return None if wanted else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_HANGS))


def pytest_collection_finish() -> None:
    """A collection of garbage looks through what the test made, not at all tests.

    Many tests ask for a collection.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def scale() -> float:
    """The factor of all times in tests."""
    return SCALE


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this machine sets a limit, a proxy or a bundle of certificates."""
    for name in list(os.environ):
        if (name.startswith("LLMWATCH_") and name != VARIABLE) or name.upper() in ENVIRONMENT:
            monkeypatch.delenv(name)
    # The one that stays is the tests' own.
    monkeypatch.setattr(engine_settings, "_told", {VARIABLE: None})


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line in the log of another test keeps one of this test's back."""
    monkeypatch.setattr(log, "_troubles", log.LogLimits())


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the pure packages a socket is a mistake, whichever way they are run."""
    if request.path.relative_to(_TESTS).parts[0] in _FAST:
        for name in ("bind", "connect", "connect_ex"):
            monkeypatch.setattr(socket.socket, name, _refuse)


def _refuse(*_: object) -> None:
    raise AssertionError("the tests of a pure package opened a socket")


def _threads() -> set[threading.Thread]:
    # The supervisor of the process has no end.
    return {thread for thread in threading.enumerate() if thread.name != "llmwatch-supervisor"}


def _descriptors() -> dict[int, str]:
    """The open descriptors, each with what it is, where the system lists them by name."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        return dict.fromkeys(range(psutil.Process().num_fds()), "")
    found = {}
    for entry in folder.iterdir():
        # The folder's own is closed by now.
        with contextlib.suppress(FileNotFoundError):
            found[int(entry.name)] = os.readlink(entry)
    return found


@pytest.fixture
def baseline() -> Iterator[None]:
    """Threads and descriptors are as they were before, once the test and its servers are through.

    This holds without the help of a garbage collection.
    """
    threads, descriptors = _threads(), _descriptors()
    yield
    until = time.monotonic() + _LEAVING
    while any(thread.name in _PASSING for thread in _threads() - threads) and time.monotonic() < until:
        time.sleep(0.001)
    assert _threads() - threads == set(), "threads are left"
    # A thread that is no longer listed may be about to let go of its last one.
    while len(now := _descriptors()) > len(descriptors) and time.monotonic() < until:
        time.sleep(0.01)
    assert len(now) <= len(descriptors), f"descriptors are left: {sorted(now.items() - descriptors.items())}"
