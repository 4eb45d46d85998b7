"""A library's own retry on top of a watched session, by a stand-in with the name of the real one."""

from __future__ import annotations

import contextlib
import gc
import weakref
from types import ModuleType
from typing import Any

import pytest
import requests

from llmwatch import Limits, Retry
from llmwatch.session.retry_loops import is_retry
from tests.session.entry_points import Way, plain
from tests.session.times import LONG

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Say it."}]}
AT_ONCE = Retry(backoff=0.001, breaker=0)

_DASHSCOPE = "dashscope.api_entities.http_request"
_ONCE_MORE = """
from requests import ConnectionError

errors = []

def _send_with_retry(send):
    try:
        return send()
    except ConnectionError as e:
        errors.append(e)
        return send()
"""


def once_more(name: str) -> Any:
    """The stand-in for the module ``name``."""
    module = ModuleType(name)
    exec(_ONCE_MORE, module.__dict__)
    return module


def fails(module: Any, session: requests.Session, url: str, body: Any = CHAT) -> requests.ConnectionError:
    with pytest.raises(requests.ConnectionError) as caught:
        module._send_with_retry(lambda: session.post(url, json=body))
    return caught.value


def test_a_librarys_retry_is_not_multiplied_with_ours(way: Way, serve: Any) -> None:
    """Each call makes three requests, and not three for each of the library's two.

    Both errors tell the same.
    """
    server, module = serve("reset-before-response"), once_more(_DASHSCOPE)
    with way.session(limits=Limits(ttfb=LONG), retry=AT_ONCE) as session:
        for call in (1, 2):
            error: Any = fails(module, session, server.chat_url)
            assert len(server.requests) == 3 * call
            assert error is not module.errors[-1]
            assert (type(error), str(error), error.record) == (
                type(module.errors[-1]),
                str(module.errors[-1]),
                module.errors[-1].record,
            )
            assert error.request.url == server.chat_url
            assert len(error.record.attempts) == 3


def test_a_users_own_loop_is_sent_each_time(way: Way, serve: Any) -> None:
    """The same function in a module of the user's, and a loop around a call, are asked for each time."""
    server, other = serve("reset-before-response"), serve("reset-before-response")
    with way.session(limits=Limits(ttfb=LONG), retry=AT_ONCE) as session:
        fails(once_more("mine.http_request"), session, server.chat_url)
        for _ in range(2):
            with contextlib.suppress(requests.ConnectionError):
                session.post(other.chat_url, json=CHAT)
    assert (len(server.requests), len(other.requests)) == (6, 6)


def test_a_librarys_retry_of_another_request_is_sent(way: Way, serve: Any) -> None:
    """Only the very same request is known."""
    server, module = serve(*["reset-before-response"] * 3, "healthy"), once_more(_DASHSCOPE)
    bodies = iter([CHAT, {**CHAT, "model": "another"}])
    with way.session(limits=Limits(ttfb=LONG), retry=AT_ONCE) as session:
        response = module._send_with_retry(lambda: session.post(server.chat_url, json=next(bodies)))
        assert (response.status_code, len(server.requests)) == (200, 4)


def test_a_retry_after_a_success_is_sent(way: Way, serve: Any) -> None:
    """A failure elsewhere in the library's call is retried by the library as without llmwatch."""
    server, module = serve(), once_more(_DASHSCOPE)
    with way.session(limits=Limits(ttfb=LONG), retry=AT_ONCE) as session:
        tries: list[int] = []

        def send() -> Any:
            response = session.post(server.chat_url, json=CHAT)
            tries.append(response.status_code)
            if len(tries) == 1:
                raise requests.ConnectionError("elsewhere")
            return response

        assert module._send_with_retry(send).status_code == 200
    assert (tries, len(server.requests)) == ([200, 200], 2)


def test_without_a_watched_session_nothing_changes(serve: Any) -> None:
    """Plain requests has the library's two."""
    server = serve("reset-before-response")
    with plain() as session:
        fails(once_more(_DASHSCOPE), session, server.chat_url)
    assert len(server.requests) == 2


def test_the_first_try_is_no_retry() -> None:
    """Only the second is a retry."""
    seen: list[bool] = []

    def look() -> Any:
        seen.append(is_retry())
        raise requests.ConnectionError

    with pytest.raises(requests.ConnectionError):
        once_more(_DASHSCOPE)._send_with_retry(look)
    assert seen == [False, True]


def test_the_error_of_the_first_try_is_freed() -> None:
    """Looking at the library's variables keeps none of them alive."""
    module, errors = once_more(_DASHSCOPE), []

    def send() -> bool:
        if not is_retry():
            error = requests.ConnectionError()
            errors.append(weakref.ref(error))
            try:
                raise error
            finally:
                del error
        module.errors.clear()
        return True

    gc.disable()
    try:
        assert module._send_with_retry(send)
        assert errors[0]() is None
    finally:
        gc.enable()
