"""A library's own retries are not multiplied with ours; a loop of the user's is the user's.

The libraries here are stand-ins with the names of the real ones, and retry as those do; the real ones are among the
tests of libraries.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest

from llmwatch import Limits, Retry
from llmwatch.sdk import Transport
from llmwatch.session.retry_loops import is_retry
from tests.rows import each
from tests.sdk.times import LIMIT, LONG, PATIENCE

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])

# Neither the wait nor the breaker of a provider that is away.
AT_ONCE = Retry(backoff=0.001, breaker=0)
STREAM = {"model": "m", "messages": [{"role": "user", "content": "Say it."}], "stream": True}

# Calls itself from inside the handler of the error, or for a status, as long as any are left.
_CALLED_FOR_NOTHING_ELSE = """
class Client:
    def __init__(self, send, left=3):
        self.send, self.left = send, left

    def request(self, *what):
        return self._request(self.left, *what)

    def _request(self, left, *what):
        try:
            response = self.send(*what)
        except Exception:
            if left:
                return self._retry_request(left - 1, *what)
            raise
        if response.status_code >= 400 and left and response.headers.get("x-should-retry") != "false":
            return self._retry_request(left - 1, *what)
        return response

    def _retry_request(self, left, *what):
        return self._request(left, *what)
"""
# Says how often it has retried, and heeds no header.
_COUNTING = """
class Client:
    def __init__(self, send, left=2):
        self.send, self.left = send, left

    def request(self, *what, retries=0):
        try:
            response = self.send(*what)
        except Exception:
            if retries < self.left:
                return self.request(*what, retries=retries + 1)
            raise
        if response.status_code >= 400 and retries < self.left:
            return self.request(*what, retries=retries + 1)
        return response
"""

LIBRARIES = {
    "zai.core._http_client": _CALLED_FOR_NOTHING_ELSE,
    "zhipuai.core._http_client": _CALLED_FOR_NOTHING_ELSE,
    "openai._base_client": _CALLED_FOR_NOTHING_ELSE,
    "cohere.core.http_client": _COUNTING,
}
OTHERS = {"mine.http_client": _CALLED_FOR_NOTHING_ELSE, "mine.core.http_client": _COUNTING}


def client_of(name: str, send: Callable[..., Any], **settings: Any) -> Any:
    """A client of the stand-in for the module ``name``."""
    module = ModuleType(name)
    exec({**LIBRARIES, **OTHERS}[name], module.__dict__)
    return module.Client(send, **settings)


@contextlib.contextmanager
def sending(library: Any, server: Any, **settings: Any) -> Iterator[Callable[..., Any]]:
    transport = Transport(**{"limits": Limits(ttfb=LONG), "retry": AT_ONCE, **settings})
    with library.Client(transport=transport, timeout=None) as client:
        yield lambda body=STREAM: client.post(server.chat_url, json=body)


def ended(ask: Callable[..., Any], *what: Any) -> Any:
    """The status, or the class of what was raised."""
    try:
        return ask(*what).status_code
    except Exception as error:
        return type(error).__name__


@libraries
@each(
    ("name", "script", "end"),
    [(name, "reset-before-response", "StreamCut") for name in LIBRARIES]
    + [(next(iter(LIBRARIES)), "silent", "WatchTimeout")],
)
def test_a_librarys_retry_does_not_multiply_a_failure(
    serve: Any, library: Any, name: str, script: str, end: str
) -> None:
    """Three requests, not three for each of the library's tries.

    There are three again for each new call of the user's.
    """
    server = serve(script)
    with sending(library, server, limits=Limits(ttfb=LIMIT if script == "silent" else LONG)) as send:
        client = client_of(name, send)
        for call in (1, 2):
            assert ended(client.request) == end
            assert len(server.requests) == 3 * call


@libraries
@each("name", list(LIBRARIES))
def test_a_librarys_retry_does_not_multiply_a_status(serve: Any, library: Any, name: str) -> None:
    """A library that heeds no header gets the same response again: status, headers, body and record."""
    server = serve("status:status=500")
    with sending(library, server) as send:
        seen = []

        def noting(*what: Any) -> Any:
            seen.append(send(*what))
            return seen[-1]

        assert ended(client_of(name, noting).request) == 500
        assert len(server.requests) == 3
        assert len({(one.status_code, one.content, tuple(one.headers.raw)) for one in seen}) == 1
        assert {one.extensions["llmwatch"].record.outcome for one in seen} == {"failed"}
        assert "500" in seen[-1].json()["error"]["message"]
        assert ended(client_of(name, send).request) == 500
    assert len(server.requests) == 6


@libraries
@each("status", [401, 407])
def test_a_retry_with_new_credentials_is_sent(serve: Any, library: Any, status: int) -> None:
    """A library that is asked for credentials may send the request again with others."""
    server = serve(f"status:status={status}")
    with sending(library, server) as send:
        assert ended(client_of("cohere.core.http_client", send).request) == status
    assert len(server.requests) == 3


def _plain_loop(client: Any) -> None:
    for _ in range(2):
        with contextlib.suppress(Exception):
            client.request()


def _in_the_handler(client: Any) -> None:
    try:
        client.request()
    except Exception:
        with contextlib.suppress(Exception):
            client.request()


def _decorated(client: Any) -> None:
    """A loop like tenacity's: one frame from the first try to the last."""

    def retrying(function: Callable[[], Any], attempts: int) -> None:
        for _ in range(attempts):
            try:
                return function()
            except Exception as error:
                last = error
        raise last

    with contextlib.suppress(Exception):
        retrying(client.request, 2)


@each(
    ("name", "loop"),
    [(name, loop) for name in LIBRARIES for loop in (_plain_loop, _in_the_handler, _decorated)],
)
def test_a_users_own_loop_is_sent_each_time(serve: Any, name: str, loop: Any) -> None:
    """Each try of a user's own loop of any form is sent."""
    server = serve("reset-before-response")
    with sending(httpx, server) as send:
        loop(client_of(name, send))
    assert len(server.requests) == 6


@each(("name", "tries"), [("mine.http_client", 4), ("mine.core.http_client", 3)])
def test_a_loop_in_another_module_is_sent_each_time(serve: Any, name: str, tries: int) -> None:
    """The same loop in a module of another name belongs to no library."""
    server = serve("reset-before-response")
    with sending(httpx, server) as send:
        assert ended(client_of(name, send).request) == "StreamCut"
    assert len(server.requests) == 3 * tries


@each("name", list(LIBRARIES))
def test_another_request_of_the_same_retry_is_sent(serve: Any, name: str) -> None:
    """A retry that asks for something else is no repeat."""
    server = serve(*["reset-before-response"] * 3, "healthy")
    bodies = iter([STREAM, {**STREAM, "model": "another"}])
    with sending(httpx, server) as send:
        assert ended(client_of(name, lambda: send(next(bodies))).request) == 200
    assert len(server.requests) == 4


def test_a_retry_in_another_thread_is_sent(serve: Any) -> None:
    """A failure in another thread is no failure of this one."""
    server, ends = serve(*["reset-before-response"] * 3, "healthy"), []
    with sending(httpx, server) as send:
        calls = iter([send, lambda: in_another_thread(send)])

        def in_another_thread(ask: Callable[[], Any]) -> Any:
            thread = threading.Thread(target=lambda: ends.append(ended(ask)))
            thread.start()
            thread.join(PATIENCE)
            raise ConnectionError

        assert ended(client_of("zai.core._http_client", lambda: next(calls)(), left=1).request) == "ConnectionError"
    assert ends == [200]


def test_no_retry_is_on_the_stack() -> None:
    """Outside a library's loop, and in its first try, nothing is taken for a retry."""
    assert not is_retry()
    for name in LIBRARIES:
        seen: list[bool] = []

        def look(seen: list[bool] = seen) -> Any:
            seen.append(is_retry())
            raise ConnectionError

        assert ended(client_of(name, look).request) == "ConnectionError"
        assert seen[0] is False
        assert set(seen[1:]) == {True}
