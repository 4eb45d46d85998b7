"""No secret of a call through the entry points appears in errors, tracebacks, records or logs."""

from __future__ import annotations

import json
import pickle
import traceback
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Limits, LLMWatchError, Retry
from llmwatch.faults import FaultServer, refused_port
from tests.end_to_end.calls import asking
from tests.session.entry_points import Way, caught
from tests.session.times import LIMIT, LONG

KEY = "sk-proj-Zx81kQpLw93mTfVb27NcRy60"
QUERY = "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY"
PASSWORD = "hunter2hunter2"
PROMPT = "the-patient-is-called-Ada"

HANDED_ON = ("malformed-event", "html-instead", "error-event")

SILENT = Limits(ttfb=LIMIT)
OTHER = Limits(ttfb=LONG, stale=LIMIT)


def _call(session: requests.Session, url: str, **more: Any) -> Any:
    scheme, _, rest = url.partition("://")
    body = asking(messages=[{"role": "user", "content": PROMPT}])
    headers = {"X-Api-Key": KEY}
    response = session.post(
        f"{scheme}://user:{PASSWORD}@{rest}?key={QUERY}", **{"json": body, "headers": headers, "stream": True, **more}
    )
    return list(response.iter_lines())


def _said(error: BaseException) -> str:
    """All texts and attributes of an error, and those of its pickle."""
    said = [repr(error), str(error), repr(error.args), "".join(traceback.format_exception(error))]
    said += [repr(error.__cause__), repr(error.__context__)]
    if isinstance(error, LLMWatchError):
        said += [repr(error.record), repr(error.recovery), json.dumps(error.record.to_dict() if error.record else None)]
        said += [str(pickle.dumps(error))]
    return "\n".join(said)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "script",
    [
        "silent",
        "reset-before-response",
        "headers-then-silent",
        "stall-after-content",
        "reset-mid-stream",
        "eof-without-terminal",
        "short-length",
        "malformed-event",
        "html-instead",
        f"error-event:message=Your key {KEY} has no access; https://user:{PASSWORD}@127.0.0.1/?key={QUERY}",
        f"error-event:tokens=3,message=Your key {KEY} has no access to what {PROMPT} asked",
    ],
)
def test_no_secret_comes_out_of_a_failed_call(
    way: Way, script: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the key in a query, nor headers, user info or the prompt; not in a traceback either."""
    told: list[Any] = []
    settings = {
        "limits": SILENT if script.endswith("silent") else OTHER,
        "retry": Retry(max_attempts=2, backoff=0),
        "sinks": [told.append],
    }
    with FaultServer(script) as server, way.session(**settings, on_notice=told.append) as session:
        said = ""
        try:
            _call(session, server.chat_url, stream=stream)
        except requests.RequestException as found:
            both = isinstance(found, LLMWatchError) and found.request is not None
            said = _said(found) if both else ""
        # What is wrong with an answer is handed on, and kept in the record.
        assert bool(said) is not script.startswith(HANDED_ON)
    said += json.dumps([one.to_dict() for one in told if isinstance(one, llmwatch.CallRecord)])
    said += "\n".join(repr(one) for one in told)
    said += "\n".join(f"{one.getMessage()} {vars(one)}" for one in caplog.records)
    assert [secret for secret in (KEY, QUERY, PASSWORD, PROMPT) if secret in said] == []
    assert told


def test_no_secret_comes_out_of_an_unsent_call(way: Way) -> None:
    """A connection that is refused, and an unknown host, name host and port alone."""
    with refused_port() as port, way.session(retry=Retry.none()) as session:
        for url in (f"http://127.0.0.1:{port}/v1", "http://no-such-host.invalid/v1"):
            said = _said(caught(requests.ConnectionError, _call, session, url))
            assert [secret for secret in (KEY, QUERY, PASSWORD, PROMPT) if secret in said] == []


def test_no_secret_is_in_the_record_of_a_good_call(way: Way) -> None:
    """The record has the path, and neither query nor credentials."""
    told: list[llmwatch.CallRecord] = []
    with FaultServer() as server, way.session(sinks=[told.append]) as session:
        _call(session, server.chat_url)
        session.get(server.url + f"/file?token={QUERY}", headers={"Authorization": KEY})
    said = repr(told) + json.dumps([one.to_dict() for one in told])
    assert [secret for secret in (KEY, QUERY, PASSWORD, PROMPT) if secret in said] == []
    assert len(told) == 2
