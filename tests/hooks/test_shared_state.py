"""What clients of several libraries share under ``install()``, and what a process has of it."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import subprocess
import sys
from typing import Any

import httpx
import httpx2
import pytest
import requests

import llmwatch
from llmwatch import CallRecord, Limits, Retry
from llmwatch.faults import FaultServer
from tests.hooks.test_httpx_transports import STREAM, Install, install
from tests.sdk.times import LONG
from tests.session.scripts import reply

__all__ = ["install"]

pytestmark = pytest.mark.usefixtures("nothing_left")

LIBRARIES: dict[str, Any] = {"requests": requests, "httpx": httpx, "httpx2": httpx2}

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def post(name: str, server: FaultServer, model: str = "m") -> int:
    """The status of a model call through a new client of the library."""
    body, headers = {**STREAM, "model": model}, {"Authorization": "Bearer key"}
    if name == "requests":
        return requests.post(server.chat_url, json=body, headers=headers, timeout=LONG).status_code
    with LIBRARIES[name].Client(timeout=LONG) as client:
        status: int = client.post(server.chat_url, json=body, headers=headers).status_code
        return status


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(LIBRARIES, 2)))
def test_a_named_wait_holds_back_the_clients_of_every_library(serve: Any, first: str, second: str) -> None:
    """After a 429 with a wait, another library's call to the same model is held back.

    A call to another model is sent at once.
    """
    server = serve(reply(b"later", status=429, headers=[("Retry-After", "60")]), "healthy")
    llmwatch.install(limits=Limits(ttfb=LONG), retry=Retry(max_attempts=1, max_wait=0.05))
    assert post(first, server) == 429
    with contextlib.suppress(llmwatch.LLMWatchError):
        assert post(second, server) == 429
    assert len(server.requests) == 1
    assert post(second, server, model="another") == 200
    assert len(server.requests) == 2


@libraries
def test_the_shorter_time_to_keep_a_connection_counts(serve: Any, library: Any) -> None:
    """The pool's own ``keepalive_expiry`` counts where it is shorter, unless ``install`` names a time.

    Without connections to keep, each call has one of its own.
    """
    for kept, named, expected in ((2.0, None, 2.0), (60.0, None, None), (None, None, None), (2.0, 30.0, 30.0)):
        server = serve("healthy")
        llmwatch.install(keepalive=named, limits=Limits(ttfb=LONG))
        with library.Client(limits=library.Limits(keepalive_expiry=kept), timeout=LONG) as client:
            for _ in range(2):
                assert client.post(server.chat_url, json=STREAM).status_code == 200
            assert client._transport._llmwatch_transport._settings.keepalive == expected
        assert server.connections == 1
    server = serve("healthy")
    llmwatch.install(limits=Limits(ttfb=LONG))
    with library.Client(limits=library.Limits(max_keepalive_connections=0), timeout=LONG) as client:
        for _ in range(2):
            assert client.post(server.chat_url, json=STREAM).status_code == 200
    assert server.connections == 2


@libraries
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_forked_child_watches_with_connections_of_its_own(
    serve: Any, install: Install, library: Any, wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child's call is watched on a new connection, and the parent's connection is still good.

    This holds beneath a wrapper that was there first, too. The child takes the installation back for itself alone.
    """
    original = vars(library.HTTPTransport)["handle_request"]
    if wrapped:
        monkeypatch.setattr(library.HTTPTransport, "handle_request", lambda *args: original(*args))
    server, records = serve("healthy"), install()
    with library.Client(timeout=LONG) as client:
        assert client.post(server.chat_url, json=STREAM).status_code == 200
        child = os.fork()
        if not child:
            code = 1
            try:
                answer = client.post(server.chat_url, json=STREAM)
                watched = answer.extensions["llmwatch"].record.outcome == "done"
                llmwatch.uninstall()
                bare = client.post(server.chat_url, json=STREAM)
                code = 0 if watched and answer.status_code == 200 and "llmwatch" not in bare.extensions else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.post(server.chat_url, json=STREAM).status_code == 200
    assert len(server.requests) == 4
    assert server.connections == 3
    assert [record.outcome for record in records] == ["done"] * 2


def test_installing_loads_no_module_and_starts_no_thread() -> None:
    """In a script without httpx, ``install`` and ``uninstall`` load nothing more."""
    program = (
        "import sys, threading\n"
        "from llmwatch import install, uninstall\n"
        "before = set(sys.modules)\n"
        "install()\n"
        "uninstall()\n"
        "print(sorted(set(sys.modules) - before), threading.active_count())"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "[] 1\n"


@libraries
def test_clients_that_are_dropped_beneath_a_tracer_leave_nothing(
    serve: Any, install: Install, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that are dropped unclosed leave nothing open beneath a wrapper either."""
    original = vars(library.HTTPTransport)["handle_request"]
    monkeypatch.setattr(library.HTTPTransport, "handle_request", lambda *args: original(*args))
    server = serve("healthy")
    records: list[CallRecord] = install()
    for number in range(1, 51):
        client = library.Client(timeout=LONG, trust_env=False)
        assert client.post(server.chat_url, json=STREAM).status_code == 200
        del client
        assert len(records) == number
    gc.collect()
    server.wait_for_closed(50)
