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
from llmwatch.hooks.httpx_heads import takes_head
from llmwatch.records import CallRecord
from tests.hooks.bare_calls import CHAT, HEADERS, STREAM, posted
from tests.sdk.times import LONG

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = SSE + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
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


HEADS = {
    "a blank before the colon": b"X-Sp : v\r\n",
    "no colon": b"X-Nothing\r\n",
    "no colon, and more behind": b"X-Nothing\r\nX-More: 1\r\n",
    "a zero in a value": b"X-Zero: a\x00b\r\n",
    "a folded first line": b" folded: 1\r\n",
    "a length that is no number": b"Content-Length: many\r\n",
    "an unknown coding": b"Transfer-Encoding: braided\r\n",
    "a folded line": b"X-Fold: a\r\n b\r\n",
    "bytes above 127": b"X-High: \xff\xfe\r\n",
}
"""The first headers of answers that end with their connection. The last two are HTTP."""


@pytest.mark.parametrize("body", [STREAM, CHAT], ids=["stream", "plain"])
@pytest.mark.parametrize("lines", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("how", ["httpx", "httpx2"])
def test_a_head_has_the_same_verdict_as_bare(how: str, lines: bytes, body: Any) -> None:
    """What the library's parser refuses is refused, with its class of error; what it takes is taken."""
    head = b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Type: text/event-stream\r\n\r\n"
    with FaultServer(_garbage(head + WHOLE)) as server:
        url = server.url + "/v1/chat/completions"
        bare = _raised(CALLS[how], url, body)
        records: list[CallRecord] = []
        llmwatch.install(limits=Limits.single(LONG), sinks=[records.append])
        watched = _raised(CALLS[how], url, body)
        assert len(server.requests) == 2
    assert len(records) == 1
    assert (bare is None) is (watched is None)
    assert bare is None or isinstance(watched, type(bare))
    assert (bare is None) is (lines in (HEADS["a folded line"], HEADS["bytes above 127"]))


def test_an_answer_behind_interim_ones_is_taken() -> None:
    """The parser gets them all, and the answer is the last."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n"
    assert takes_head(interim + b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n")
    assert not takes_head(interim + b"HTTP/1.1 200 OK\r\nX-A : 1\r\n\r\n")
