"""What a response hook may read, and an authentication that answers a challenge."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest
import requests
from requests.auth import HTTPDigestAuth

from llmwatch import BodyTooLarge, Client, Limits, ProviderError, Retry
from llmwatch.faults import FaultServer, Script, steps
from tests.end_to_end.calls import asking
from tests.end_to_end.times import LONG
from tests.memory import peak_of
from tests.rows import each

MIB = 1 << 20
MOST = MIB
ROOM = 6 * MIB
BOMB = gzip.compress(bytes(64 * MIB))
DOCUMENT = b'{"choices": [{"message": {"content": "yes"}}]}'
CHALLENGE = ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')
PLAIN = {"model": "m", "messages": []}
SETTINGS: dict[str, Any] = {"limits": Limits(ttfb=LONG), "retry": Retry(backoff=0.01), "max_body": MOST}

Read = Callable[[requests.Response], object]
READS: dict[str, Read] = {
    "content": lambda response: response.content,
    "text": lambda response: response.text,
    "pieces": lambda response: list(response.iter_content(10_000)),
    "what is there": lambda response: list(response.iter_content(None)),
    "one piece": lambda response: list(response.iter_content(64 * MIB)),
    "any size": lambda response: list(response.iter_content(-1)),
    "lines": lambda response: list(response.iter_lines(MIB)),
}


def _answer(status: int, body: bytes, *headers: tuple[str, str], encoding: str = "gzip") -> Script:
    named = [("Content-Type", "application/json"), *([("Content-Encoding", encoding)] if encoding else []), *headers]
    return Script.of("answer", steps.Head(status, named, "length", len(body)), steps.Chunk(body), steps.End())


def _request(url: str, **more: Any) -> requests.Response:
    with Client(**SETTINGS) as client:
        return client.request("POST", url, json=PLAIN, **more)


def _collect(url: str, **more: Any) -> object:
    with Client(**SETTINGS) as client:
        return client.collect("POST", url, json=asking(), **more)


def _stream(url: str, **more: Any) -> object:
    with Client(**SETTINGS) as client, client.stream("POST", url, json=asking(), **more) as stream:
        return list(stream)


@each(("call", "read"), [(call, read) for call in (_request, _collect, _stream) for read in READS.values()])
def test_a_hook_reads_no_more_than_the_bound(call: Callable[..., object], read: Read) -> None:
    """A hook that reads an answer of 64 MiB ends the call with BodyTooLarge after one request.

    This holds whichever way the hook reads. The call takes no more memory than the bound and a constant.
    """

    def large() -> None:
        with pytest.raises(BodyTooLarge) as found:
            call(server.chat_url, hooks={"response": lambda response, **_: read(response) and None})
        assert found.value.retryable is False
        assert f"{MOST:,} bytes" in str(found.value)

    with FaultServer(_answer(200, BOMB)) as server:
        peak = peak_of(large)
        assert len(server.requests) == 1
    assert peak < MOST + ROOM


@each("read", READS.values())
def test_a_hook_reads_an_error_up_to_the_bound(read: Read) -> None:
    """An error's body ends at the bound for a hook, and the status stays what it says."""
    sizes: list[int] = []

    def hook(response: requests.Response, **_: Any) -> None:
        read(response)
        sizes.append(len(response.content) if response._content else 0)  # type: ignore[attr-defined]

    with FaultServer(_answer(400, BOMB)) as server:
        peak = peak_of(lambda: sizes.append(_request(server.chat_url, hooks={"response": hook}).status_code))
        assert len(server.requests) == 1
    assert sizes[-1] == 400
    assert sizes[0] in (0, MOST)
    assert peak < MOST + ROOM


def test_digest_reads_its_challenge_up_to_the_bound() -> None:
    """Digest answers a challenge whose body exceeds the bound, on a connection that is fit for it."""
    for call in (_request, _collect):
        script = "healthy" if call is _collect else _answer(200, DOCUMENT, encoding="")
        with FaultServer([_answer(401, BOMB, CHALLENGE), script]) as server:
            peak = peak_of(lambda call=call, server=server: call(server.chat_url, auth=HTTPDigestAuth("u", "p")))  # type: ignore[misc]
            assert len(server.requests) == 2
        assert peak < MOST + ROOM


def test_a_small_challenge_keeps_its_connection() -> None:
    """The body of a challenge below the bound is read whole.

    The second request goes over the same connection.
    """
    with FaultServer(
        [_answer(401, b"{}" * 500, CHALLENGE, encoding=""), _answer(200, DOCUMENT, encoding="")]
    ) as server:
        assert _request(server.chat_url, auth=HTTPDigestAuth("u", "p")).content == DOCUMENT
        assert len(server.requests) == 2
        assert len({request.connection for request in server.requests}) == 1


@each("read", [READS["content"], READS["text"]])
def test_what_a_hook_has_read_is_the_answer(read: Read) -> None:
    """A body at the bound reaches the hook and then the caller, whole.

    The response is left as requests made it.
    """
    body = b'{"a":"' + b"x" * (MOST - 8) + b'"}'
    with FaultServer(_answer(200, gzip.compress(body))) as server:
        seen: list[int] = []
        response = _request(
            server.chat_url, hooks={"response": lambda response, **_: seen.append(bool(read(response)))}
        )
        assert response.status_code == 200
        assert seen == [True]
        assert response.content == body
        assert "iter_content" not in response.__dict__


def test_a_stream_refused_with_a_hook_says_why() -> None:
    """A hook that has read the error's body leaves it to the error's message."""
    body = b'{"error": {"message": "the model is busy"}}'
    with (
        FaultServer(_answer(400, body, encoding="")) as server,
        pytest.raises(ProviderError, match="the model is busy"),
    ):
        _collect(server.chat_url, hooks={"response": lambda response, **_: response.content and None})
