"""No secret appears in errors, tracebacks, logs, notices or records."""

from __future__ import annotations

import json
import logging
import pickle
import ssl
import traceback
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Limits, Retry
from llmwatch.faults import refused_port
from tests.end_to_end.calls import asking, collect, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import BEAT, LIMIT

KEY = "sk-proj-Zx81kQpLw93mTfVb27NcRy60"
QUERY = "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY"
PASSWORD = "hunter2hunter2"
PROMPT = "the-patient-is-called-Ada"
SECRETS = (KEY, QUERY, PASSWORD, PROMPT)


def _everything(error: BaseException, told: list[Any], caplog: pytest.LogCaptureFixture) -> str:
    """All that a user, a log or a file could get to see of a failed call."""
    said = ["".join(traceback.format_exception(error)), repr(error), str(error), repr(error.args)]
    said += [repr(error.__cause__), repr(error.__context__)]
    if isinstance(error, llmwatch.LLMWatchError):
        said += [repr(error.record), json.dumps(error.record.to_dict()) if error.record else "", repr(error.recovery)]
        said += [repr(vars(error)), str(pickle.dumps(error))]
    said += [repr(one) for one in told]
    said += [f"{one.getMessage()} {vars(one)}" for one in caplog.records]
    return "\n".join(said)


def _options(url: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """A URL with user info and a key in its query, and a request full of secrets."""
    scheme, _, rest = url.partition("://")
    body = asking(messages=[{"role": "user", "content": PROMPT}])
    headers = {"Authorization": f"Bearer {KEY}", "X-Api-Key": KEY}
    return f"{scheme}://user:{PASSWORD}@{rest}?key={QUERY}#{KEY}", {"json": body, "headers": headers, **more}


@pytest.mark.parametrize(
    "script",
    [
        "silent",
        "stall-after-content",
        "reset-before-response",
        "eof-without-terminal",
        "short-length",
        "malformed-event",
        "html-instead",
        "status:status=500",
        "redirect-302",
        "bad-request",
        f"status:status=401,body=Incorrect API key provided: {KEY}. See key={QUERY}",
        f"error-event:message=Your key {KEY} has no access; https://user:{PASSWORD}@127.0.0.1/ is not known",
        f"redirect-302:location=http://u:{PASSWORD}@127.0.0.1:9/x?key={QUERY}",
    ],
)
def test_no_secret_comes_out_of_a_failed_call(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, script: str
) -> None:
    """Keys, passwords, query values and prompts are in no text of a failed call.

    This holds whichever side repeats them.
    """
    for entry_point in (stream, collect, request):
        server, told = serve(script), []
        client = connect(
            limits=Limits(ttfb=LIMIT, stale=LIMIT),
            retry=Retry(max_attempts=2, backoff=0),
            sinks=[told.append],
            on_notice=told.append,
            notice_every=BEAT,
        )
        url, options = _options(server.chat_url)
        with caplog.at_level(logging.DEBUG, "llmwatch"):
            outcome = entry_point(client, url, **options)
        assert server.requests[0].header("x-api-key") == KEY
        assert told
        seen = _everything(outcome.error or Exception(), [*told, outcome.record], caplog)
        for secret in SECRETS:
            assert secret not in seen, entry_point.__name__
        caplog.clear()


def test_no_secret_comes_out_of_a_failure_to_connect(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, server_tls: ssl.SSLContext
) -> None:
    """No secret comes out of a call whose connection does not come about.

    The causes are a port that refuses, a certificate, a proxy and an unusable URL.
    """
    secure = serve(tls=server_tls)
    with refused_port() as port:
        refused = f"http://127.0.0.1:{port}/"
        proxy = {
            "http": f"http://user:{PASSWORD}@127.0.0.1:{port}",
            "https": f"http://user:{PASSWORD}@127.0.0.1:{port}",
        }
        cases = [
            _options(refused),
            _options(secure.chat_url),
            _options(secure.chat_url, proxies=proxy),
            _options("http://127.0.0.1:port/"),
            _options("ftp://127.0.0.1/"),
            _options("http://a..b/"),
        ]
        client = connect(retry=Retry(max_attempts=2, backoff=0), on_notice=lambda one: None)
        for url, options in cases:
            caplog.clear()
            with caplog.at_level(logging.DEBUG, "llmwatch"):
                outcome = stream(client, url, **options)
            assert isinstance(outcome.error, llmwatch.LLMWatchError)
            seen = _everything(outcome.error, [], caplog)
            for secret in SECRETS:
                assert secret not in seen, url


@pytest.mark.parametrize("value", [f"Bearer {KEY}\u2026", f"Bearer {KEY}\n"], ids=["no latin", "line end"])
def test_a_header_that_cannot_be_sent_keeps_its_secret(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    """A key with a character that no header can hold is refused without being quoted."""
    server = serve()
    outcome = stream(connect(), server.chat_url, headers={"Authorization": value})
    assert isinstance(outcome.error, llmwatch.ConfigError)
    assert KEY not in _everything(outcome.error, [], caplog)
    assert server.requests == []


def test_the_records_of_good_calls_keep_no_content(serve: Serve, connect: Connect) -> None:
    """The record of a successful call has counts and times, and no content.

    This holds for content of the prompt, the answer, a header or a tool.
    """
    server, told = serve("tool-arguments-only:count=3,every=0"), []
    client = connect(sinks=[told.append])
    url, options = _options(server.messages_url)
    options["json"]["tools"] = [{"name": "look_up_patient", "input_schema": {"type": "object"}}]
    stream(client, url, **options).done()
    (record,) = told
    seen = json.dumps(record.to_dict()) + repr(record)
    for secret in (*SECRETS, "look_up", "Malm", "Bearer", "fault server"):
        assert secret not in seen
    assert record.url.partition("?")[0] == server.messages_url
    assert record.attempts[0].tool_exposure["caller"] == 1


def test_a_foreign_exception_is_not_chained_raw(serve: Serve, connect: Connect) -> None:
    """``__cause__`` is a summary: class, errno and scrubbed text, and no library's exception hangs on it."""
    with refused_port() as port:
        error = stream(connect(), f"http://127.0.0.1:{port}/?key={QUERY}").error
    assert isinstance(error, llmwatch.ConnectFailed)
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None:
        chain.append(one)
        one = one.__cause__ or one.__context__
    assert not any(isinstance(link, (requests.RequestException, OSError)) for link in chain[1:])
    assert "ECONNREFUSED" in str(chain[1])
