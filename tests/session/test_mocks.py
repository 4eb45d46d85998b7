"""Users' tests that mock requests with ``responses``.

They work unchanged, whichever entry point the code under test comes through.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses
from responses import matchers
from urllib3.util.retry import Retry as OldRetry

import llmwatch
from llmwatch import Client
from llmwatch.faults import FaultServer
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import asking
from tests.session.entry_points import Way, caught, plain, record_of, text_of
from tests.session.scripts import LINES, reply
from tests.session.times import SOON

URL = "https://api.provider.test/v1/chat/completions"
OTHER = "https://files.provider.test/file"


@pytest.fixture
def mocked() -> Iterator[responses.RequestsMock]:
    """The mock of a user's test."""
    with responses.RequestsMock() as mock:
        yield mock


def _stream() -> bytes:
    with FaultServer() as server, plain() as session:
        return session.post(server.chat_url, json=asking()).content


@pytest.fixture(scope="module")
def body() -> bytes:
    """A healthy stream."""
    return _stream()


@pytest.mark.parametrize("stream", [True, False])
def test_a_mocked_response_is_the_same_as_without_llmwatch(
    way: Way, mocked: responses.RequestsMock, stream: bool
) -> None:
    """The response is the same however it is read, and every mock is called as often."""
    mocked.get(OTHER, body=LINES, headers={"X-Mine": "1"}, status=206, content_type="text/plain")
    mocked.get(OTHER, json={"a": 1}, status=404)
    mocked.put(OTHER, status=204)
    mocked.post(OTHER, body="übel", status=500)
    with way.session() as session:
        first = session.get(OTHER, stream=stream)
        assert (first.status_code, first.headers["X-Mine"]) == (206, "1")
        assert b"".join(line + b"\n" for line in first.iter_lines()) == LINES
        assert session.get(OTHER, stream=stream).json() == {"a": 1}
        assert session.put(OTHER, data="x", stream=stream).content == b""
        last = session.post(OTHER, data="x", stream=stream)
        assert (last.text, last.status_code) == ("übel", 500)
        caught(requests.HTTPError, last.raise_for_status)
    assert len(mocked.calls) == 4
    assert mocked.calls[3].request.body == "x"
    mocked.assert_call_count(OTHER, 4)


@pytest.mark.parametrize("stream", [True, False])
def test_a_mocked_model_stream_is_read_event_by_event(
    way: Way, mocked: responses.RequestsMock, body: bytes, stream: bool
) -> None:
    """A mocked stream of a model is read to its end, event by event."""
    mocked.post(URL, body=body, content_type="text/event-stream")
    with way.session() as session, session.post(URL, json=asking(), stream=stream) as response:
        lines = [line for line in response.iter_lines() if line]
        assert lines[-1] == b"data: [DONE]"
        assert record_of(response).outcome == "done"
        assert record_of(response).attempts[0].socket_reused is None
    assert len(mocked.calls) == 1


def test_mocked_failures_of_a_model_are_recovered(way: Way, mocked: responses.RequestsMock, body: bytes) -> None:
    """A 503, half a stream and then an answer: three calls of mocks, one response. All mocks fire."""
    mocked.post(URL, status=503, json={"error": {"message": "busy"}})
    mocked.post(URL, body=body[: len(body) // 2], content_type="text/event-stream")
    mocked.post(URL, body=body, content_type="text/event-stream")
    with way.session() as session:
        response = session.post(URL, json=asking())
        assert text_of(response) == ANSWER
    assert [one.cause for one in record_of(response).attempts] == ["provider_error", "truncated", None]
    assert len(mocked.calls) == 3


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("by the mock"),
        requests.ConnectTimeout("by the mock"),
        requests.ReadTimeout("by the mock"),
        requests.exceptions.SSLError("by the mock"),
        requests.exceptions.ChunkedEncodingError("by the mock"),
        ConnectionResetError("by the mock"),
        OSError("by the mock"),
        KeyError("by the mock"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("url", [URL, OTHER])
@pytest.mark.parametrize("stream", [True, False])
def test_a_mocked_exception_is_raised_as_the_same_object(
    way: Way, mocked: responses.RequestsMock, error: Exception, url: str, stream: bool
) -> None:
    """The exception comes after one call of the mock."""
    mocked.post(url, body=error)
    with way.session() as session:
        assert caught(type(error), session.post, url, json=asking(), stream=stream) is error
    assert len(mocked.calls) == 1


def test_a_url_without_a_mock_raises_the_mocks_error(way: Way, mocked: responses.RequestsMock) -> None:
    """The mock's own ``ConnectionError``, with its list of mocks, comes after one call."""
    mocked.get(OTHER)
    with way.session() as session:
        session.get(OTHER)
        error = caught(requests.ConnectionError, session.get, OTHER + "/else")
    assert "Connection refused by Responses" in str(error)
    assert not isinstance(error, llmwatch.LLMWatchError)


def test_assert_all_requests_are_fired_still_works(way: Way) -> None:
    """``assert_all_requests_are_fired`` notices the mock that was not called."""
    error: AssertionError | None = None
    with way.session() as session:
        try:
            with responses.RequestsMock(assert_all_requests_are_fired=True) as mock:
                mock.get(OTHER)
                mock.get(OTHER + "/2")
                session.get(OTHER)
        except AssertionError as found:
            error = found.with_traceback(None)
    assert error is not None
    assert "/2" in str(error)


@pytest.mark.parametrize("stream", [True, False])
def test_a_mock_sees_the_callers_arguments(way: Way, mocked: responses.RequestsMock, stream: bool) -> None:
    """Matchers on the arguments of a call see those of the caller.

    These are ``stream``, ``timeout``, ``verify`` and the rest.
    """
    given = {"stream": stream, "timeout": (3, 5), "verify": False, "cert": "x.pem", "allow_redirects": True}
    seen = {name: value for name, value in given.items() if name != "allow_redirects"}
    mocked.post(
        URL,
        json={"choices": []},
        match=[
            matchers.request_kwargs_matcher(seen),
            matchers.json_params_matcher(asking(stream=False)),
            matchers.header_matcher({"X-Key": "k"}),
            matchers.query_param_matcher({"q": "1"}),
        ],
    )
    with way.session() as session:
        response = session.post(URL, json=asking(stream=False), params={"q": "1"}, headers={"X-Key": "k"}, **given)
    assert response.json() == {"choices": []}


def test_mocked_callbacks_cookies_and_redirects_work(way: Way, mocked: responses.RequestsMock) -> None:
    """Mocks that compute their answer, set cookies and redirect."""

    def answer(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        return 200, {"X-Cookie": request.headers.get("Cookie", "")}, "computed"

    mocked.get(OTHER, status=302, headers={"Location": OTHER + "/2", "Set-Cookie": "a=1"})
    mocked.add_callback(responses.GET, OTHER + "/2", callback=answer)
    with way.session() as session:
        response = session.get(OTHER)
        assert (response.text, response.headers["X-Cookie"]) == ("computed", "a=1")
        assert [one.status_code for one in response.history] == [302]
        assert session.cookies.get_dict() == {"a": "1"}


def test_a_passthrough_of_a_mock_is_watched(way: Way) -> None:
    """``passthrough`` goes to the real server, and is watched there."""
    with FaultServer(["silent", reply(b"real")]) as server, responses.RequestsMock() as mock:
        mock.add_passthru(server.url)
        with way.session(limits=llmwatch.Limits(ttfb=SOON)) as session:
            response = session.get(server.url)
            assert response.content == b"real"
            assert record_of(response).outcome == "recovered"


def test_the_decorator_works_before_and_after_install() -> None:
    """``@responses.activate`` works whether it is entered before ``install()`` or after it."""

    @responses.activate
    def test() -> Any:
        responses.get(OTHER, body="mocked")
        found = [requests.get(OTHER).text]
        llmwatch.install()
        found.append(requests.get(OTHER).text)
        llmwatch.uninstall()
        found.append(requests.get(OTHER).text)
        return found, len(responses.calls)

    assert test() == (["mocked"] * 3, 3)
    llmwatch.install()
    try:
        assert test() == (["mocked"] * 3, 3)
    finally:
        llmwatch.uninstall()


def test_a_client_under_an_installation_is_mocked_once(mocked: responses.RequestsMock, body: bytes) -> None:
    """A client's call goes through the mock once, although every session is watched."""
    mocked.post(URL, body=body, content_type="text/event-stream")
    llmwatch.install()
    try:
        with Client() as client:
            assert client.collect("POST", URL, json=asking()).text == ANSWER
    finally:
        llmwatch.uninstall()
    assert len(mocked.calls) == 1


def test_a_mock_respects_the_adapters_retries(way: Way, mocked: responses.RequestsMock) -> None:
    """``responses`` goes by an adapter's own ``max_retries``, as it does for plain requests."""
    for _ in range(3):
        mocked.get(OTHER, status=500)
    mocked.get(OTHER, body="at last")
    session = requests.Session()
    adapter = requests.adapters.HTTPAdapter(max_retries=OldRetry(3, status_forcelist=[500]))
    session.mount("https://", adapter)
    with way.session(session) as watched:
        assert watched.get(OTHER).text == "at last"
    assert len(mocked.calls) == 4
