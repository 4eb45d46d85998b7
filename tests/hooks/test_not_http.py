"""Answers that are not HTTP: a watched call sends once, and raises what the library raises."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import pytest
import requests
import urllib3

import llmwatch
from llmwatch import Limits, StreamCut
from llmwatch.faults import Context, FaultServer, Script, steps
from tests.hooks.bare_calls import CHAT, HEADERS, STREAM, posted
from tests.sdk.times import LONG

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = SSE + b"Transfer-Encoding: chunked\r\n\r\n"
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'

ANSWERS = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "no status": b"HTTP/1.1 abc OK\r\n\r\n",
    "two lengths": SSE + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\nabcdefg",
    "a chunk without a size": CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
    "a second chunk without a size": CHUNKED + b"%x\r\n%s\r\nzz\r\n" % (len(ROLE), ROLE),
}


def _of_httpx(library: Any) -> Callable[[str, Any], object]:
    def call(url: str, body: Any) -> object:
        with library.Client(timeout=LONG, trust_env=False) as client, client.stream("POST", url, json=body) as response:
            return response.read()

    return call


def _of_requests(url: str, body: Any) -> object:
    with requests.Session() as session:
        return session.post(url, json=body, timeout=LONG).content


def _of_urllib3(url: str, body: Any) -> object:
    with urllib3.PoolManager(timeout=LONG) as manager:
        return manager.request("POST", url, json=body, headers=HEADERS).data


def _of_urllib(url: str, body: Any) -> object:
    with urllib.request.urlopen(posted(url, body), timeout=LONG) as response:
        return response.read()


CALLS: dict[str, Callable[[str, Any], object]] = {
    "httpx": _of_httpx(httpx),
    "httpx2": _of_httpx(httpx2),
    "requests": _of_requests,
    "urllib3": _of_urllib3,
    "urllib": _of_urllib,
}


def _raised(call: Callable[[str, Any], object], url: str, body: Any) -> BaseException | None:
    try:
        call(url, body)
    except Exception as error:
        return error
    return None


def _garbage(answer: bytes) -> Script:
    def play(context: Context) -> Iterator[steps.Step]:
        return iter([steps.Send(answer), steps.Close()])

    return Script(name="garbage", description="an answer of the test's own", play=play)


CASES = [
    pytest.param(how, answer, id=f"{how}-{name}")
    for how in CALLS
    for name, answer in ANSWERS.items()
    # http.client takes the first length.
    if (how, name) != ("urllib", "two lengths")
]


@pytest.mark.parametrize("body", [STREAM, CHAT], ids=["stream", "plain"])
@pytest.mark.parametrize(("how", "answer"), CASES)
def test_a_call_is_sent_once_and_the_error_is_the_librarys(how: str, answer: bytes, body: Any) -> None:
    """The server has taken the request and gets no second one; the error is one of the library's."""
    with FaultServer(_garbage(answer)) as server:
        url = server.url + "/v1/chat/completions"
        bare = _raised(CALLS[how], url, body)
        llmwatch.install(limits=Limits.single(LONG))
        watched = _raised(CALLS[how], url, body)
        assert len(server.requests) == 2
    assert isinstance(watched, StreamCut)
    assert not watched.retryable
    assert isinstance(watched, type(bare))
