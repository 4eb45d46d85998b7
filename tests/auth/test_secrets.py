"""No secret of a refresh appears in errors, tracebacks, logs, notices or records."""

from __future__ import annotations

import functools
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import requests

from llmwatch import Client, Limits, RefreshFailed, Retry
from llmwatch.auth import refreshing
from llmwatch.faults import Script, refused_port, steps
from tests.auth.conftest import Connect, Serve
from tests.auth.tokens import CLIENT_SECRET, REFRESH_TOKEN, asking_at, refreshing_on, saying, token
from tests.end_to_end.calls import collect, in_thread
from tests.end_to_end.manual import LATE, ManualTime
from tests.end_to_end.times import LIMIT, LONG

OLD = token(99)
SECRETS = (REFRESH_TOKEN, CLIENT_SECRET, OLD, token(1))
QUOTING = json.dumps(
    {"error": f"bad-{REFRESH_TOKEN}", "error_description": f"{REFRESH_TOKEN} of {CLIENT_SECRET}", "token": token(1)}
).encode()
Ask = Callable[[Client, str, Any], "tuple[RefreshFailed, str]"]


def in_a_client(client: Client, url: str, auth: Any) -> tuple[RefreshFailed, str]:
    error = collect(client, url, auth=auth).failed(RefreshFailed)
    return error, "".join(traceback.format_exception(error))


def in_a_session(client: Client, url: str, auth: Any) -> tuple[RefreshFailed, str]:
    try:
        requests.post(url, json={}, auth=auth)
    except RefreshFailed as error:
        # Without the frames, in which it would keep itself and its response.
        return error, "".join(traceback.format_exception(error.with_traceback(None)))
    raise AssertionError("nothing was raised")


ENTRY_POINTS = pytest.mark.parametrize("ask", [in_a_client, in_a_session])


def everything(error: RefreshFailed, trace: str, told: list[Any], caplog: pytest.LogCaptureFixture) -> str:
    """All that a user, a log or a file could get to see of a failed refresh."""
    said = [trace]
    one: BaseException | None = error
    while one is not None:
        said += [repr(one), str(one), repr(one.args), repr(vars(one))]
        one = one.__cause__ or one.__context__
    said += [str(pickle.dumps(error)), repr(error.record), repr(error.recovery)]
    said += [json.dumps(one.to_dict()) for one in told if hasattr(one, "to_dict")] + [repr(one) for one in told]
    said += [f"{one.getMessage()} {vars(one)}" for one in caplog.records]
    return "\n".join(said)


def clean(error: RefreshFailed, trace: str, told: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    seen = everything(error, trace, told, caplog)
    for secret in SECRETS:
        assert secret not in seen


GIVEN = pytest.mark.parametrize("given", [None, OLD], ids=["before", "after a 401"])


@ENTRY_POINTS
@GIVEN
@pytest.mark.parametrize(
    ("script", "raising"),
    [
        ("reset-before-response", False),
        (Script.of("cut", steps.Head(200, (), "length", 500), steps.Chunk(QUOTING), steps.Close()), False),
        (saying(QUOTING, 400), False),
        (saying(QUOTING, 503), False),
        (saying(QUOTING, 404), False),
        (saying(QUOTING, 400), True),
        (saying(QUOTING, 503), True),
        (saying(QUOTING), False),
        (saying(QUOTING), True),
        (saying(QUOTING[:-4]), False),
        (saying(QUOTING[:-4]), True),
        (saying(b'{"access_token": "' + token(1).encode() + b' "}'), False),
        (saying(b'{"access_token": "' + token(1).encode() + b' "}'), True),
        (saying(b'{"access_token": "t", "token_type": "mac", "x": "' + token(1).encode() + b'"}'), False),
        (saying(b'{"access_token": "t", "token_type": "mac", "x": "' + token(1).encode() + b'"}'), True),
        (saying(QUOTING.ljust(70_000)), False),
        (saying(QUOTING.ljust(70_000)), True),
    ],
    ids=lambda script: script if isinstance(script, str) else "",
)
def test_no_secret_comes_out_of_a_failed_refresh(
    serve: Serve,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    script: str | Script,
    ask: Ask,
    given: str | None,
    raising: bool,
) -> None:
    """Neither the tokens nor the client's secret come out.

    The URL, the form or the answer has them. The refresh function returns the response, or raises for its status and
    returns what it says.
    """
    auths, api, told = serve(script), serve("status:status=401"), []
    plain = asking_at(auths)

    def refresh() -> requests.Response | dict[str, Any]:
        response = plain()
        if raising:
            response.raise_for_status()
            return response.json()  # type: ignore[no-any-return]
        return response

    client = connect(retry=Retry.none(), sinks=[told.append], on_notice=told.append)
    auth = refreshing(refresh, token=given, limits=Limits(total=LONG))
    with caplog.at_level(logging.DEBUG, "llmwatch"):
        error, trace = ask(client, api.chat_url, auth)
    assert REFRESH_TOKEN.encode() in auths.requests[0].body
    clean(error, trace, told, caplog)


@ENTRY_POINTS
@GIVEN
def test_no_secret_comes_out_of_a_refresh_that_is_killed(
    serve: Serve,
    connect: Connect,
    manual: ManualTime,
    caplog: pytest.LogCaptureFixture,
    ask: Ask,
    given: str | None,
) -> None:
    """A refresh whose time is over after its request, with all its secrets, had reached the server."""
    auths, api, told = serve("silent"), serve("status:status=401"), []
    client = manual.on(connect(retry=Retry.none(), sinks=[told.append], on_notice=told.append))
    auth = refreshing_on(manual.clock, asking_at(auths), token=given, limits=Limits(total=LIMIT))
    with caplog.at_level(logging.DEBUG, "llmwatch"):
        asking = in_thread(ask, client, api.chat_url, auth)
        auths.wait_for_requests(1)
        manual.advance(LIMIT + LATE)
        error, trace = asking.result()
    assert (error.limit, error.retryable) == ("refresh", True)
    assert REFRESH_TOKEN.encode() in auths.requests[0].body
    clean(error, trace, told, caplog)


def _to(url: str, **more: Any) -> Callable[..., requests.Response]:
    def refresh(server: str = "") -> requests.Response:
        there = url.format(server=server, host=server.partition("://")[2])
        return requests.post(there, data={"refresh_token": REFRESH_TOKEN}, **more)

    return refresh


@ENTRY_POINTS
@pytest.mark.parametrize(
    "refresh",
    [
        _to(f"auth.provider.test/token?code={CLIENT_SECRET}&x={REFRESH_TOKEN}"),
        _to(f"ftp://auth.provider.test/{REFRESH_TOKEN}?code={CLIENT_SECRET}"),
        _to(f"http://a..b/?code={CLIENT_SECRET}"),
        _to(f"http://user:{CLIENT_SECRET}@127.0.0.1:port/"),
        _to("{server}", headers={"X-Secret": f"{CLIENT_SECRET}\n"}),
        _to("{server}", headers={"X-Secret": f"{CLIENT_SECRET}\u2026"}),
        _to("{server}", proxies={"http": f"http://user:{CLIENT_SECRET}@127.0.0.1:port"}),
        _to("https://{host}", verify=f"/nowhere/{CLIENT_SECRET}"),
    ],
)
def test_no_secret_comes_out_of_a_request_that_cannot_be_sent(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, refresh: Any, ask: Ask
) -> None:
    """A refresh whose request cannot be made is no exception to this."""
    api, told = serve(), []
    client = connect(retry=Retry.none(), sinks=[told.append])
    with caplog.at_level(logging.DEBUG, "llmwatch"):
        error, trace = ask(client, api.chat_url, refreshing(functools.partial(refresh, api.url)))
    assert not error.retryable
    clean(error, trace, told, caplog)
    assert api.requests == []


@ENTRY_POINTS
def test_no_secret_comes_out_of_a_refused_connection(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, ask: Ask
) -> None:
    """urllib3 prints URLs with their queries; its text is not kept."""
    api, told = serve(), []
    client = connect(retry=Retry.none(), sinks=[told.append])
    with refused_port() as port, caplog.at_level(logging.DEBUG, "llmwatch"):
        refresh = _to(f"http://user:{CLIENT_SECRET}@127.0.0.1:{port}/token?code={CLIENT_SECRET}&x={REFRESH_TOKEN}")
        error, trace = ask(client, api.chat_url, refreshing(refresh))
    assert error.retryable
    clean(error, trace, told, caplog)
    assert f"asking 127.0.0.1:{port}," in str(error)


def test_a_good_call_keeps_no_token(serve: Serve, connect: Connect) -> None:
    """The record of a successful call does not have its token."""
    api, told = serve(), []
    collect(connect(sinks=[told.append]), api.chat_url, auth=refreshing(lambda: token(1))).done()
    assert token(1) in (api.requests[0].header("authorization") or "")
    (record,) = told
    assert token(1) not in json.dumps(record.to_dict()) + repr(record)
