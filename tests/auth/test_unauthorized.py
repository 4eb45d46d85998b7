"""A 401, in every entry point: once more with a new token, and not a second time."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import responses

import llmwatch
from llmwatch import Limits, ProviderError, RefreshFailed
from llmwatch.auth import Refreshing, refreshing
from llmwatch.faults import Context, Script, steps
from llmwatch.faults.catalogue import ANSWER
from llmwatch.watch.machine import Phase
from tests.auth.conftest import Connect, Serve
from tests.auth.tokens import asking_at, granting, guarded, refreshing_on, saying, token
from tests.end_to_end.calls import asking, collect, eventually, in_thread, request, stream
from tests.end_to_end.manual import ManualTime
from tests.end_to_end.times import LIMIT, PATIENCE

EntryPoint = Callable[[], contextlib.AbstractContextManager[requests.Session]]


@contextlib.contextmanager
def plain() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@contextlib.contextmanager
def ours() -> Iterator[requests.Session]:
    with llmwatch.Session() as session:
        yield session


@contextlib.contextmanager
def mounted() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield llmwatch.mount(session)


@contextlib.contextmanager
def installed() -> Iterator[requests.Session]:
    llmwatch.install()
    try:
        with requests.Session() as session:
            yield session
    finally:
        llmwatch.uninstall()


ENTRY_POINTS = pytest.mark.parametrize("entry_point", [plain, ours, mounted, installed])


def shown(number: int) -> str:
    return f"Bearer {token(number)}"


# -- in a client ------------------------------------------------------------


@pytest.mark.parametrize("entry_point", [stream, collect, request])
def test_a_client_resends_once_after_a_401(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """A token that the API does not accept any more is replaced.

    The same request is sent again, within one attempt.
    """
    auths, api = serve(granting()), serve(guarded(1))
    auth = refreshing(asking_at(auths), token="old")
    outcome = entry_point(connect(), api.chat_url, auth=auth)
    record = outcome.done()
    first, second = api.requests
    assert (first.header("authorization"), second.header("authorization")) == ("Bearer old", shown(1))
    assert first.body == second.body
    assert len(auths.requests) == 1
    (attempt,) = record.attempts
    assert attempt.status == 200
    assert attempt.request_bytes > 2 * len(first.body)


@pytest.mark.parametrize("entry_point", [stream, collect])
def test_a_second_401_is_the_answer(serve: Serve, connect: Connect, entry_point: Any) -> None:
    """If the new token is no better the call ends with the 401: two requests, one refresh, no resend."""
    auths, api = serve(granting()), serve(guarded())
    outcome = entry_point(connect(), api.chat_url, auth=refreshing(asking_at(auths), token="old"))
    error = outcome.failed(ProviderError)
    assert (error.status, error.retryable) == (401, False)
    assert [one.header("authorization") for one in api.requests] == ["Bearer old", shown(1)]
    assert (len(auths.requests), len(outcome.record.attempts)) == (1, 1)


def test_a_second_401_of_a_plain_call_is_returned(serve: Serve, connect: Connect) -> None:
    """A plain call returns it, with the first one in its history."""
    auths, api = serve(granting()), serve(guarded())
    outcome = request(connect(), api.chat_url, auth=refreshing(asking_at(auths), token="old"))
    assert outcome.value.status_code == 401
    assert [one.status_code for one in outcome.value.history] == [401]
    assert (len(auths.requests), len(api.requests)) == (1, 2)


def test_a_lent_session_lends_its_auth(serve: Serve, connect: Connect) -> None:
    """A session that is lent to a client lends its auth, as any other."""
    auths, api = serve(granting()), serve(guarded(1))
    session = requests.Session()
    session.auth = refreshing(asking_at(auths), token="old")
    collect(connect(session=session), api.chat_url).done()
    assert (len(auths.requests), len(api.requests)) == (1, 2)


def test_no_refresh_after_another_status(serve: Serve, connect: Connect) -> None:
    """Only a 401 is about the token: a 403 or a 500 is what it is everywhere."""
    auths, api = serve(granting()), serve("status:status=403", "status:status=500", "healthy")
    auth = refreshing(asking_at(auths), token="old")
    assert collect(connect(), api.chat_url, auth=auth).failed(ProviderError).status == 403
    collect(connect(), api.chat_url, auth=auth).done("recovered")
    assert (len(auths.requests), len(api.requests)) == (0, 3)


@pytest.mark.parametrize(("body", "retryable"), [(b'{"error": "invalid_grant"}', False), (b"", True)])
def test_a_failed_refresh_after_a_401_is_the_error(
    serve: Serve, connect: Connect, body: bytes, retryable: bool
) -> None:
    """The error is that of the refresh.

    If the error may pass the whole attempt is made again, if not the call ends.
    """
    auths, api = serve(saying(body, 503), granting()), serve(guarded(2))
    outcome = collect(connect(), api.chat_url, auth=refreshing(asking_at(auths), token="old"))
    if retryable:
        outcome.done("recovered")
        assert (len(auths.requests), len(api.requests)) == (2, 2)
    else:
        assert not outcome.failed(RefreshFailed).retryable
        assert (len(auths.requests), len(api.requests)) == (1, 1)


def test_an_endless_401_body_is_not_waited_for(serve: Serve, connect: Connect, manual: ManualTime) -> None:
    """A client does not wait for the words of the first refusal: it is through while no limit can expire."""
    endless = Script.of("endless", steps.Head(401, (), "chunked"), steps.Chunk(b"{"), steps.Hang())
    auths, api = serve(granting()), serve(endless, guarded(1))
    auth = refreshing_on(manual.clock, asking_at(auths), token="old")
    calling = in_thread(collect, manual.on(connect()), api.chat_url, auth=auth)
    calling.result().done()
    api.wait_for_closed(1)


# -- many threads -----------------------------------------------------------


def test_sixteen_calls_cause_one_refresh(serve: Serve, connect: Connect) -> None:
    """Sixteen calls that begin without a token: one refresh, and sixteen requests with its token."""
    auths, api = serve(_gated()), serve(guarded(1))
    client, auth = connect(), refreshing(asking_at(auths))
    calling = [in_thread(collect, client, api.chat_url, auth=auth) for _ in range(16)]
    auths.wait_for_requests(1)
    auths.gate("go").set()
    for one in calling:
        one.result().done()
    assert (len(auths.requests), len(api.requests)) == (1, 16)


def test_sixteen_calls_are_refused_and_cause_one_refresh(serve: Serve, connect: Connect) -> None:
    """Sixteen calls that all meet a 401 with the same token: one refresh, and each sent once more."""
    ready = threading.Barrier(16)
    auths, api = serve(granting()), serve(_together(ready, 1))
    client, auth = connect(), refreshing(asking_at(auths), token="old")
    calling = [in_thread(collect, client, api.chat_url, auth=auth) for _ in range(16)]
    for one in calling:
        one.result().done()
    assert (len(auths.requests), len(api.requests)) == (1, 32)


def test_sixteen_threads_share_a_rejection(serve: Serve) -> None:
    """Sixteen sessions need a token which is rejected.

    There are one request to the token endpoint and sixteen errors.
    """
    auths = serve(_gated(saying(b'{"error": "invalid_grant"}', 400)))
    auth = refreshing(asking_at(auths))

    def ask() -> BaseException:
        with pytest.raises(RefreshFailed) as caught:
            requests.get("http://127.0.0.1:1", auth=auth)
        return caught.value

    calling = [in_thread(ask) for _ in range(16)]
    auths.wait_for_requests(1)
    auths.gate("go").set()
    errors = [one.result() for one in calling]
    assert len({id(error) for error in errors}) == 16
    assert len(auths.requests) == 1


def _gated(script: Script | None = None) -> Script:
    inner = script or granting()

    def play(context: Context) -> Iterator[steps.Step]:
        yield steps.WaitFor("go")
        yield from inner.answer_steps(context)

    return Script(name="gated", description="waits for a gate", play=play)


def _together(ready: threading.Barrier, *numbers: int) -> Script:
    """A guarded API whose refusals go out when all are asked for."""
    inner = guarded(*numbers)

    def play(context: Context) -> Iterator[steps.Step]:
        if context.request.header("authorization") == "Bearer old":
            ready.wait(PATIENCE)
        yield from inner.answer_steps(context)

    return Script(name="together", description="refuses all at once", play=play)


# -- in sessions ------------------------------------------------------------


@ENTRY_POINTS
@pytest.mark.parametrize("streaming", [False, True])
def test_a_session_resends_once_after_a_401(serve: Serve, entry_point: EntryPoint, streaming: bool) -> None:
    """The same through every session: one refresh, and one request more.

    The first answer is in the history, and legacy code reads the answer as ever.
    """
    auths, api = serve(granting()), serve(guarded(1))
    auth = refreshing(asking_at(auths), token="old")
    with entry_point() as session:
        response = session.post(api.chat_url, json=asking(), auth=auth, stream=streaming)
        lines = [line for line in response.iter_lines() if line]
        assert response.status_code == 200
        assert lines[-1] == b"data: [DONE]"
        assert [one.status_code for one in response.history] == [401]
        assert json.loads(response.history[0].content)["error"]
        assert response.request.headers["Authorization"] == shown(1)
        assert response.history[0].request.headers["Authorization"] == "Bearer old"
        assert response.elapsed.total_seconds() > 0
        assert session.post(api.chat_url, json=asking(stream=False), auth=auth).json()
    assert (len(auths.requests), len(api.requests)) == (1, 3)


@ENTRY_POINTS
def test_a_second_401_in_a_session_is_returned(serve: Serve, entry_point: EntryPoint) -> None:
    """The second 401 is returned, after two requests and one refresh.

    The next request begins with the newer token.
    """
    auths, api = serve(granting()), serve(guarded())
    auth = refreshing(asking_at(auths), token="old")
    with entry_point() as session:
        assert [session.post(api.chat_url, json=asking(), auth=auth).status_code for _ in range(2)] == [401, 401]
    assert [one.header("authorization") for one in api.requests] == ["Bearer old", shown(1), shown(1), shown(2)]
    assert len(auths.requests) == 2


@ENTRY_POINTS
def test_a_failed_refresh_in_a_session_is_an_error_of_requests(serve: Serve, entry_point: EntryPoint) -> None:
    """Before the request and after a 401 alike, legacy code finds the failure among requests' exceptions."""
    auths, api = serve(saying(b'{"error": "invalid_grant"}', 400)), serve(guarded(1))
    for given in (None, "old"):
        with entry_point() as session:
            error = _failure(session, api.chat_url, refreshing(asking_at(auths), token=given))
        assert isinstance(error, RefreshFailed)
        assert not error.retryable
        assert error.request.url == api.chat_url
        assert getattr(error.response, "status_code", None) == (401 if given else None)
        assert pickle.loads(pickle.dumps(error)).message == error.message
    assert (len(auths.requests), len(api.requests)) == (2, 1)


def _failure(session: requests.Session, url: str, auth: Refreshing) -> requests.RequestException:
    """The exception, without the frames in which it would keep itself and its response."""
    try:
        session.post(url, json=asking(), auth=auth)
    except requests.RequestException as error:
        return error.with_traceback(None)
    raise AssertionError("nothing was raised")


@ENTRY_POINTS
def test_the_connection_of_a_401_is_used_again(serve: Serve, entry_point: EntryPoint) -> None:
    """The short body of the refusal is read, so the second request needs no new connection."""
    auths, api = serve(granting()), serve(guarded(1))
    with entry_point() as session:
        session.get(api.url, auth=refreshing(asking_at(auths), token="old"))
    assert [one.connection for one in api.requests] == [1, 1]


def test_a_long_401_is_not_read_to_its_end(serve: Serve) -> None:
    """A refusal with a body without end is dropped."""
    endless = Script.of("endless", steps.Head(401, (), "chunked"), steps.Repeat((steps.Chunk(b" " * 8192),), every=0))
    auths, api = serve(granting()), serve(endless, guarded(1))
    auth = refreshing(asking_at(auths), token="old")
    with requests.get(api.url, auth=auth, stream=True) as response:
        assert response.status_code == 200
    api.wait_for_closed(1)


@ENTRY_POINTS
def test_a_cut_401_body_changes_nothing(serve: Serve, entry_point: EntryPoint) -> None:
    """The status of the refusal decides."""
    broken = Script.of("broken", steps.Head(401, (), "length", 500), steps.Chunk(b"{"), steps.Close())
    auths, api = serve(granting()), serve(broken, guarded(1))
    with entry_point() as session:
        response = session.get(api.url, auth=refreshing(asking_at(auths), token="old"), stream=True)
        assert response.status_code == 200
        response.close()
    assert len(api.requests) == 2


@ENTRY_POINTS
def test_a_401_of_an_unrepeatable_body_is_the_response(serve: Serve, entry_point: EntryPoint) -> None:
    """A generator is read once: its 401 is the answer, and the next request has a new token."""
    auths, api = serve(granting()), serve(guarded(1))
    auth = refreshing(asking_at(auths), token="old")
    with entry_point() as session:
        assert session.post(api.url, data=iter([b"a", b"b"]), auth=auth).status_code == 401
        assert len(auths.requests) == 0
        assert session.post(api.url, data=iter([b"a", b"b"]), auth=auth).status_code == 200
    assert (len(auths.requests), len(api.requests)) == (1, 2)


@ENTRY_POINTS
def test_a_file_is_sent_again_from_where_it_stood(serve: Serve, entry_point: EntryPoint) -> None:
    """A body with a position is put back to it."""
    auths, api = serve(granting()), serve(guarded(1))
    body = io.BytesIO(b"skipped, sent")
    body.seek(9)
    with entry_point() as session:
        response = session.post(api.url, data=body, auth=refreshing(asking_at(auths), token="old"))
    assert response.status_code == 200
    assert [one.body for one in api.requests] == [b"sent", b"sent"]


@ENTRY_POINTS
def test_cookies_of_the_refusal_are_kept(serve: Serve, entry_point: EntryPoint) -> None:
    """A cookie that came with the 401 goes with the second request, and stays in the session."""
    refusal = Script.of("refusal", steps.Head(401, [("Set-Cookie", "a=b")], "length", 0), steps.End())
    auths, api = serve(granting()), serve(refusal, guarded(1))
    with entry_point() as session:
        session.get(api.url, auth=refreshing(asking_at(auths), token="old"))
        assert session.cookies["a"] == "b"
    assert [one.header("cookie") for one in api.requests] == [None, "a=b"]


@ENTRY_POINTS
def test_a_response_can_be_pickled(serve: Serve, entry_point: EntryPoint) -> None:
    """A response of a session with this auth can be pickled, as requests has it."""
    auths, api = serve(granting()), serve(guarded(1))
    with entry_point() as session:
        response = session.post(api.chat_url, json=asking(), auth=refreshing(asking_at(auths), token="old"))
    again = pickle.loads(pickle.dumps(response))
    assert (again.status_code, again.content) == (200, response.content)
    assert ANSWER.split()[0].encode() in again.content


def test_hooks_of_the_user_get_the_answer(serve: Serve) -> None:
    """A response hook of the user's own sees the answer to the second request."""
    auths, api = serve(granting()), serve(guarded(1))
    seen: list[int] = []

    def look(response: requests.Response, **settings: Any) -> None:
        seen.append(response.status_code)

    requests.get(api.url, auth=refreshing(asking_at(auths), token="old"), hooks={"response": look})
    assert seen == [200]


def test_the_second_request_of_a_session_is_watched(serve: Serve, manual: ManualTime) -> None:
    """The request that follows the 401 through a watched session is watched too."""
    auths, api = serve(granting()), serve("status:status=401", "silent")
    auth = refreshing_on(manual.clock, asking_at(auths), token="old")

    def ask() -> requests.ReadTimeout:
        with llmwatch.Session(limits=Limits(ttfb=LIMIT)) as session, pytest.raises(requests.ReadTimeout) as caught:
            session.post(api.url, data=b"x", auth=auth)
        return caught.value

    asking = in_thread(ask)
    api.wait_for_requests(2)
    eventually(lambda: [one for one in manual.attempts() if one.machine.phase is Phase.WAITING], "the request is sent")
    manual.pass_by(LIMIT)
    error = asking.result()
    assert isinstance(error, llmwatch.WatchTimeout)
    assert error.limit == "ttfb"
    assert len(api.requests) == 2


# -- redirects --------------------------------------------------------------


def _redirecting(to: str, status: int = 307) -> Script:
    return Script.of("redirecting", steps.Head(status, [("Location", to)], "length", 0), steps.End())


@ENTRY_POINTS
@pytest.mark.parametrize(("header", "scheme"), [("Authorization", "Bearer"), ("X-Api-Key", None)])
def test_another_host_does_not_get_the_token(
    serve: Serve, entry_point: EntryPoint, header: str, scheme: str | None
) -> None:
    """A redirect to another host or port loses the token in any header.

    A 401 from there gets no token either.
    """
    elsewhere = serve("status:status=401")
    auths, api = serve(granting()), serve(_redirecting(elsewhere.url))
    auth = refreshing(asking_at(auths), header=header, scheme=scheme)
    with entry_point() as session:
        response = session.get(api.url, auth=auth)
    assert response.status_code == 401
    (asked,) = elsewhere.requests
    assert [asked.header("authorization"), asked.header("x-api-key")] == [None, None]
    assert token(1) in (api.requests[0].header(header) or "")
    assert len(auths.requests) == 1


@pytest.mark.parametrize(("header", "scheme"), [("Authorization", "Bearer"), ("X-Api-Key", None)])
def test_a_redirected_get_of_a_client_drops_the_token(
    serve: Serve, connect: Connect, header: str, scheme: str | None
) -> None:
    """The same for what a client follows: a GET to another host."""
    elsewhere = serve("status:status=401")
    auths, api = serve(granting()), serve(_redirecting(elsewhere.url, 302))
    auth = refreshing(asking_at(auths), header=header, scheme=scheme)
    response = connect().request("GET", api.url, auth=auth)
    assert response.status_code == 401
    (asked,) = elsewhere.requests
    assert [asked.header("authorization"), asked.header("x-api-key")] == [None, None]


@ENTRY_POINTS
def test_a_redirect_after_a_401_drops_both_tokens(serve: Serve, entry_point: EntryPoint) -> None:
    """If the answer to the second request is a redirect, neither token goes along."""
    elsewhere = serve()
    auths, api = serve(granting()), serve("status:status=401", _redirecting(elsewhere.url))
    auth = refreshing(asking_at(auths), token="old", header="X-Api-Key", scheme=None)
    with entry_point() as session:
        assert session.get(api.url, auth=auth).status_code == 200
    assert [one.header("x-api-key") for one in api.requests] == ["old", token(1)]
    assert [one.header("x-api-key") for one in elsewhere.requests] == [None]


def test_a_redirect_to_an_invalid_url_drops_the_token() -> None:
    """A redirect to a URL that requests will refuse loses the token all the same."""
    auth = refreshing(lambda: token(1), header="X-Api-Key", scheme=None)
    asked = requests.Request("GET", "http://api.provider.test/", auth=auth).prepare()
    assert asked.headers["X-Api-Key"] == token(1)
    response = requests.Response()
    response.status_code, response.request = 302, asked
    response.headers["Location"] = "http://[nowhere/"
    (hook,) = asked.hooks["response"]
    assert hook(response) is response
    assert "X-Api-Key" not in asked.headers


@ENTRY_POINTS
@pytest.mark.parametrize(("header", "scheme"), [("Authorization", "Bearer "), ("X-Api-Key", "")])
def test_a_redirect_on_the_same_host_keeps_the_token(
    serve: Serve, entry_point: EntryPoint, header: str, scheme: str
) -> None:
    """A redirect within the host takes the token along."""
    auths, api = serve(granting()), serve(_redirecting("/there"), guarded(1, header=header, scheme=scheme))
    auth = refreshing(asking_at(auths), header=header, scheme=scheme.strip() or None)
    with entry_point() as session:
        assert session.get(api.url, auth=auth).status_code == 200
    assert [one.path for one in api.requests] == ["/", "/there"]
    assert len(auths.requests) == 1


# -- stand-ins for the network ----------------------------------------------


@ENTRY_POINTS
@responses.activate
def test_a_mocked_api_gets_the_401_refresh_and_resend(entry_point: EntryPoint) -> None:
    """With ``responses`` in place of the network the whole exchange is played through.

    It is the 401, the refresh and the second request.
    """
    responses.post("https://auth.test/token", json={"access_token": "new", "expires_in": 60})
    responses.get("https://api.test/v1", status=401)
    responses.get("https://api.test/v1", json={"fine": True})
    auth = refreshing(lambda: requests.post("https://auth.test/token"), token="old")
    with entry_point() as session:
        assert session.get("https://api.test/v1", auth=auth).json() == {"fine": True}
    assert [call.request.headers.get("Authorization") for call in responses.calls] == ["Bearer old", None, "Bearer new"]
