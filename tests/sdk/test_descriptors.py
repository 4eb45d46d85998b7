"""A process that has no descriptor left, and what a call says then.

It says it once, through every entry point.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
from requests.adapters import HTTPAdapter

import llmwatch
from llmwatch import CallRecord, Client, ConnectFailed, Retry
from llmwatch.faults import FaultServer, refused_port
from llmwatch.sdk import Transport
from llmwatch.transport import sockets
from tests.end_to_end.calls import asking, eventually
from tests.rows import each
from tests.session.entry_points import caught

resource = pytest.importorskip("resource")

RETRY = Retry(backoff=0.01)
BODY = asking()

EntryPoint = Callable[[Any, str], object]


@contextlib.contextmanager
def full(*, but: int = 0) -> Iterator[int]:
    """This process may open nothing more, ``but`` so many descriptors; its limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    most = 20 + max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(but):
            os.close(held.pop())
        yield most
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def _client(records: list[CallRecord]) -> Iterator[EntryPoint]:
    with Client(retry=RETRY, sinks=[records.append]) as client:
        yield lambda kind, url: caught(kind, client.collect, "POST", url, json=BODY)


@contextlib.contextmanager
def _plain(records: list[CallRecord]) -> Iterator[EntryPoint]:
    with Client(retry=RETRY, sinks=[records.append]) as client:
        yield lambda kind, url: caught(kind, client.request, "GET", url)


@contextlib.contextmanager
def _session(records: list[CallRecord]) -> Iterator[EntryPoint]:
    with llmwatch.Session(retry=RETRY, sinks=[records.append]) as session:
        yield lambda kind, url: caught(kind, session.post, url, json=BODY)


@contextlib.contextmanager
def _other(records: list[CallRecord]) -> Iterator[EntryPoint]:
    """A request that is no model call, over an adapter with retries of its own."""
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=3))
        llmwatch.mount(session, retry=RETRY, sinks=[records.append])
        yield lambda kind, url: caught(kind, session.get, url.rpartition("/v1")[0] + "/files")


@contextlib.contextmanager
def _transport(records: list[CallRecord]) -> Iterator[EntryPoint]:
    with httpx.Client(transport=Transport(retry=RETRY, sinks=[records.append]), timeout=None) as client:
        yield lambda kind, url: caught(kind, client.post, url, json=BODY)


ENTRY_POINTS: list[Any] = [_client, _plain, _session, _other, _transport]
LIBRARIES = {"_session": requests.ConnectionError, "_other": requests.ConnectionError, "_transport": httpx.ConnectError}
needs_procfs = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors are not listed")


@needs_procfs
@each(
    ("entry_point", "host", "but"),
    [
        # Of the socket, of its duplicate, and of the look-up of its name.
        *((entry_point, "127.0.0.1", but) for entry_point in ENTRY_POINTS for but in (0, 1)),
        *((entry_point, host, 0) for entry_point in ENTRY_POINTS for host in ("localhost", "name.invalid")),
    ],
)
def test_a_call_without_a_descriptor_ends_after_one_attempt(entry_point: Any, host: str, but: int) -> None:
    """The error names the process and its limit, and ends the call after one attempt.

    It is what the library raises for a connection. Neither the server nor the resolver is said to be at fault.
    """
    records: list[CallRecord] = []
    with refused_port() as port, entry_point(records) as call:
        with full(but=but) as most:
            error = call(ConnectFailed, f"http://{host}:{port}/v1/chat/completions")
        assert (error.cause, error.retryable) == ("descriptors", False)
        assert isinstance(error, LIBRARIES.get(entry_point.__name__, ConnectFailed))
        assert f"all the {most:,} files" in str(error)
        assert "ulimit -n" in str(error)
        assert "EMFILE" in str(error)
        assert str(error.recovery.reason) == "no_descriptor"
        assert [len(record.attempts) for record in records] == [1]
        # With room again the same port is what it is.
        assert call(ConnectFailed, f"http://127.0.0.1:{port}/v1/chat/completions").cause == "refused"


@needs_procfs
@each("entry_point", ENTRY_POINTS)
def test_a_pooled_connection_without_a_descriptor_for_its_handle_is_an_error(
    entry_point: Any, serve: Callable[..., FaultServer]
) -> None:
    """A pooled connection needs one more descriptor to be watched; without one the error says so."""
    server = serve("healthy")
    records: list[CallRecord] = []
    with entry_point(records) as call:
        with contextlib.suppress(AssertionError):  # it returns, and raises nothing
            call(ConnectFailed, server.chat_url)
        # The worker may still read the end of the body, and would give the next call a descriptor.
        eventually(lambda: llmwatch.stats()["workers"] == 0, "the connection is pooled")
        with full():
            error = call(ConnectFailed, server.chat_url)
        assert (error.cause, error.retryable) == ("descriptors", False)
        assert len(server.requests) == 1
    # The server runs in this process too: its end of the connection would give the next row a descriptor.
    server.wait_for_closed(1)


@needs_procfs
def test_a_missing_descriptor_is_not_blamed_on_the_proxy(serve: Callable[..., FaultServer]) -> None:
    """The error does not blame the proxy either."""
    with refused_port() as port, Client(retry=RETRY) as client:
        proxies = {"http": f"http://127.0.0.1:{port}", "https": f"http://127.0.0.1:{port}"}
        for scheme in proxies:
            with full():
                error = caught(ConnectFailed, client.request, "GET", f"{scheme}://name.invalid/", proxies=proxies)
            assert error.cause == "descriptors"


@needs_procfs
def test_a_missing_descriptor_is_not_blamed_on_the_bundle(bundle: str) -> None:
    """The file of a bundle cannot be opened: that is no bad bundle."""
    with socket.create_server(("127.0.0.1", 0)) as listening, Client(retry=RETRY) as client:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/"
        with full(but=2):
            error = caught(ConnectFailed, client.request, "GET", url, verify=bundle)
    assert error.cause == "descriptors"


def test_a_machine_without_descriptors_is_not_blamed_on_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the whole machine has run out of descriptors, the error does not blame the process."""

    def none(*args: object) -> socket.socket:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    monkeypatch.setattr(sockets.socket, "socket", none)
    with Client(retry=RETRY) as client:
        error = caught(ConnectFailed, client.request, "GET", "http://127.0.0.1:9/")
    assert error.cause == "descriptors"
    assert "ENFILE" in str(error)
    assert "machine" in str(error)
    assert "ulimit" not in str(error)


@needs_procfs
def test_an_unknown_host_is_not_blamed_on_descriptors() -> None:
    """With descriptors left the resolver's error is reported."""
    with Client(retry=RETRY) as client:
        assert caught(ConnectFailed, client.request, "GET", "http://name.invalid/").cause in ("dns", "dns_temporary")
