"""Each stream through ``Session`` and ``sdk.Transport``.

The bytes that came are handed on, and an error follows where they broke off.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
import requests

import llmwatch
from llmwatch import Limits, LLMWatchError, Retry
from llmwatch.sdk import Transport
from tests.replay.failures import FAILURES
from tests.replay.playing import PIECES, asking, asks, playing
from tests.replay.reading import of_bytes
from tests.replay.streams import STREAMS
from tests.rows import each
from tests.session.times import LONG

pytestmark = pytest.mark.usefixtures("nothing_left")

ONCE = {"limits": Limits.single(LONG), "retry": Retry.none()}


@pytest.mark.parametrize("name", STREAMS)
def test_a_healthy_stream_is_what_bare_requests_shows(name: str) -> None:
    """Both give the bytes that plain requests gives, with one request each.

    So they give the same usage and reason.
    """
    stream = STREAMS[name]
    body = asking(stream.path, stream.request)
    with (
        playing(stream.body, stream.content_type) as server,
        requests.Session() as bare,
        llmwatch.Session(**ONCE) as session,
        httpx.Client(transport=Transport(**ONCE), timeout=None) as transport,
    ):
        url = server.url + stream.path
        plain = bare.post(url, json=body)
        assert of_bytes(stream, plain.content) == (stream.usage, stream.finish)
        for pieces in PIECES:
            with session.post(url, json=body, headers=asks(pieces), stream=True) as response:
                assert b"".join(response.iter_content(None)) == plain.content
                assert response.headers == plain.headers
            with transport.stream("POST", url, json=body, headers=asks(pieces)) as streamed:
                assert b"".join(streamed.iter_raw()) == plain.content
        assert len(server.requests) == 1 + 2 * len(PIECES)


def _came(take: Callable[[list[bytes]], None]) -> tuple[bytes, BaseException | None]:
    pieces: list[bytes] = []
    try:
        take(pieces)
    except (LLMWatchError, requests.RequestException, httpx.HTTPError) as error:
        # Its frames hold connections.
        return b"".join(pieces), error.with_traceback(None)
    return b"".join(pieces), None


@each("name", FAILURES)
def test_what_failed_is_handed_over_and_what_broke_off_is_an_error(name: str) -> None:
    """Every byte of a failure that stands in the body.

    llmwatch's error, and the library's, come where the body ended too early.
    """
    failure = FAILURES[name]
    body = asking(failure.path, failure.request)
    with (
        playing(failure.body, failure.content_type, ends=failure.ends) as server,
        llmwatch.Session(**ONCE) as session,
        httpx.Client(transport=Transport(**ONCE), timeout=None) as transport,
    ):
        url = server.url + failure.path

        def by_session(pieces: list[bytes]) -> None:
            with session.post(url, json=body, stream=True) as response:
                pieces.extend(response.iter_content(None))

        def by_transport(pieces: list[bytes]) -> None:
            with transport.stream("POST", url, json=body) as response:
                pieces.extend(response.iter_raw())

        for take, library in ((by_session, requests.RequestException), (by_transport, httpx.HTTPError)):
            came, error = _came(take)
            if failure.whole:
                assert error is None, error
                assert came == failure.body
            else:
                assert isinstance(error, failure.error), error
                assert isinstance(error, library)
                assert failure.body.startswith(came)
        assert len(server.requests) == 2
