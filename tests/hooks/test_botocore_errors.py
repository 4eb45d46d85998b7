"""Which of botocore's errors each error of llmwatch is, and what botocore's retry modes make of it."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import botocore.endpoint
import botocore.exceptions
import botocore.httpsession
import pytest
import urllib3

from llmwatch import errors
from llmwatch.hooks.botocore_errors import as_sent, as_streamed
from tests.hooks.bedrock import CALLS, client, use_dummy_keys

REQUEST = SimpleNamespace(url="https://user:secret@bedrock.example/model/a.b/converse?key=secret")
MODES = {"legacy": 5, "standard": 3, "adaptive": 3}


def expired(limit: str) -> errors.WatchTimeout:
    """The expiry of ``limit``."""
    return errors.WatchTimeout("It was silent.", limit=limit, limit_seconds=1.0, phase="headers", elapsed=1.0)


SENT: list[tuple[errors.LLMWatchError, str]] = [
    (expired("connect"), "ConnectTimeoutError"),
    *((expired(limit), "ReadTimeoutError") for limit in ("send", "headers", "ttfb", "first_event", "first_content")),
    *((expired(limit), "ReadTimeoutError") for limit in ("stale", "progress", "total")),
    (errors.ConnectFailed("No.", cause="refused"), "EndpointConnectionError"),
    (errors.ConnectFailed("No.", cause="dns"), "EndpointConnectionError"),
    (errors.ConnectFailed("No.", cause="tls"), "SSLError"),
    (errors.ConnectFailed("No.", cause="proxy"), "ProxyConnectionError"),
    (errors.ConnectFailed("No.", cause="reset"), "ConnectionClosedError"),
    (errors.StreamCut("Cut."), "ConnectionClosedError"),
    (errors.StreamTruncated("Cut."), "ConnectionClosedError"),
    (errors.TooManyOrphans("Too many."), "EndpointConnectionError"),
]
"""Errors while botocore sends, which it resends, and botocore's class."""

FINAL: list[errors.LLMWatchError] = [expired("deadline"), errors.BodyTooLarge("Large."), errors.EventTooLarge("Large.")]


def _name(case: object) -> str:
    return f"{type(case).__name__}-{getattr(case, 'limit', getattr(case, 'cause', ''))}" if case else ""


def made(error: errors.LLMWatchError, mode: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often botocore sends if each of its requests ends with ``error``."""
    use_dummy_keys(monkeypatch.setenv)
    sent: list[Any] = []

    def send(session: Any, request: Any) -> Any:
        sent.append(request)
        raise error

    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(botocore.httpsession.URLLib3Session, "send", send)
    with client("http://127.0.0.1:1", retries={"mode": mode}) as one, pytest.raises(type(error)) as caught:
        CALLS["Converse"](one, [])
    assert caught.value is error
    return len(sent)


@pytest.mark.parametrize(("error", "name"), SENT, ids=[_name(error) for error, _ in SENT])
def test_an_error_while_sending_is_of_both_and_is_resent(
    error: errors.LLMWatchError, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is of llmwatch's class and of botocore's, and each retry mode resends it."""
    both = as_sent(error, REQUEST)
    assert isinstance(both, (type(error),))
    assert isinstance(both, getattr(botocore.exceptions, name))
    assert (both.message, str(both)) == (error.message, error.message)
    assert {mode: made(both, mode, monkeypatch) for mode in MODES} == MODES


@pytest.mark.parametrize("error", FINAL, ids=_name)
def test_a_final_error_is_not_resent(error: errors.LLMWatchError, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is botocore's too, and no mode sends a second request."""
    both = as_sent(error, REQUEST)
    assert isinstance(both, botocore.exceptions.BotoCoreError)
    assert {made(both, mode, monkeypatch) for mode in MODES} == {1}


@pytest.mark.parametrize("error", [errors.Cancelled("Over.", by="user"), errors.ConfigError("Wrong.", field="url")])
def test_what_the_network_did_not_cause_stays_as_it_is(
    error: errors.LLMWatchError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancellation and an invalid setting are no errors of botocore's, and are not resent."""
    assert as_sent(error, REQUEST) is error
    assert as_streamed(error, REQUEST, events=True) is error
    assert {made(error, mode, monkeypatch) for mode in MODES} == {1}


@pytest.mark.parametrize("events", [True, False])
def test_an_error_in_mid_stream_is_of_both(events: bool) -> None:
    """An error in an answer is botocore's, and urllib3's where botocore lets urllib3's through."""
    late, cut = (as_streamed(one, REQUEST, events=events) for one in (expired("stale"), errors.StreamCut("Cut.")))
    assert isinstance(late, errors.WatchTimeout)
    assert isinstance(late, botocore.exceptions.ReadTimeoutError)
    assert isinstance(late, urllib3.exceptions.ReadTimeoutError) is events
    assert isinstance(cut, errors.StreamCut)
    assert isinstance(cut, botocore.exceptions.ResponseStreamingError)
    assert isinstance(cut, urllib3.exceptions.ProtocolError) is events


def test_an_error_survives_pickling_without_the_request() -> None:
    """The pickle keeps both classes and the data, and neither the signed request nor a secret of its URL."""
    both: Any = as_sent(expired("ttfb"), REQUEST)
    assert both.request is REQUEST
    again: Any = pickle.loads(pickle.dumps(both))
    assert type(again) is type(both)
    assert (again.limit, again.request, again.response) == ("ttfb", None, None)
    assert again.kwargs["endpoint_url"].startswith("https://bedrock.example/model/a.b/converse")
    assert "secret" not in repr(vars(again))
