"""Each error of llmwatch as one of requests'.

The table is complete, and no data of the error is lost.
"""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest
import requests
from requests import exceptions

from llmwatch import errors
from llmwatch.records import Decision, Recovery
from llmwatch.session.requests_errors import as_requests
from llmwatch.transport.errors import Summary
from tests.rows import each

REQUEST = requests.Request("POST", "http://provider.test/", headers={"X-Key": "secret"}).prepare()
RESPONSE = requests.Response()

SAMPLES: list[errors.LLMWatchError] = [
    errors.WatchTimeout("late", limit="connect", limit_seconds=1.0, phase="connecting", elapsed=1.5),
    errors.WatchTimeout("late", limit="ttfb", limit_seconds=1.0, phase="waiting", elapsed=1.5),
    errors.WatchTimeout("late", limit="deadline", limit_seconds=1.0, phase="waiting", elapsed=1.5),
    *(
        errors.ConnectFailed("no", cause=cause)
        for cause in ("refused", "reset", "dns", "dns_temporary", "tls", "proxy", "unreachable")
    ),
    errors.StreamCut("cut"),
    errors.StreamTruncated("short"),
    errors.EmptyStream("empty"),
    errors.NotAStream("page"),
    errors.MalformedEvent("broken"),
    errors.EventTooLarge("large"),
    errors.BodyTooLarge("large"),
    errors.ProviderError("no", status=200, code="c", type="t", retry_after=3.0, should_retry=True),
    errors.CircuitOpen("open", retry_after=4.0),
    errors.TooManyOrphans("stuck"),
    errors.TooManyThreads("none left"),
    errors.RefreshFailed("token", retryable=True),
    errors.ConfigError("setting", field="url", value="x"),
]

THEIRS: dict[str, tuple[type[Exception], type[Exception]]] = {
    "WatchTimeout": (exceptions.Timeout, exceptions.ConnectionError),
    "ConnectFailed": (exceptions.ConnectionError, exceptions.ConnectionError),
    "StreamCut": (exceptions.ConnectionError, exceptions.ChunkedEncodingError),
    "StreamTruncated": (exceptions.ChunkedEncodingError, exceptions.ChunkedEncodingError),
    "EmptyStream": (exceptions.ChunkedEncodingError, exceptions.ChunkedEncodingError),
    "NotAStream": (exceptions.ContentDecodingError, exceptions.ContentDecodingError),
    "MalformedEvent": (exceptions.ContentDecodingError, exceptions.ContentDecodingError),
    "EventTooLarge": (exceptions.ContentDecodingError, exceptions.ContentDecodingError),
    "BodyTooLarge": (exceptions.ContentDecodingError, exceptions.ContentDecodingError),
    "ProviderError": (exceptions.ChunkedEncodingError, exceptions.ChunkedEncodingError),
    "CircuitOpen": (exceptions.ConnectionError, exceptions.ConnectionError),
    "TooManyOrphans": (exceptions.ConnectionError, exceptions.ConnectionError),
    "TooManyThreads": (exceptions.ConnectionError, exceptions.ConnectionError),
    "RefreshFailed": (exceptions.RequestException, exceptions.RequestException),
    "ConfigError": (exceptions.InvalidURL, exceptions.InvalidURL),
}

sample = each("error", SAMPLES, ids=lambda one: f"{type(one).__name__}-{vars(one).get('cause', '')}")


def test_every_class_has_its_counterpart() -> None:
    """Every error there is has a class of requests; but for the root, and for what was cancelled."""
    known = {cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.LLMWatchError)}
    shown = {type(one) for one in SAMPLES}
    assert known - shown == {errors.LLMWatchError, errors.Cancelled}
    assert {cls.__name__ for cls in shown} == set(THEIRS)


@sample
@each("response", [None, RESPONSE], ids=["before", "in the body"])
def test_an_error_is_llmwatchs_and_requests_at_once(error: errors.LLMWatchError, response: Any) -> None:
    """The error can be caught as llmwatch's and as requests', which is also an ``OSError``.

    It has the request and the response.
    """
    found: Any = as_requests(error, REQUEST, response)
    assert isinstance(found, type(error))
    assert isinstance(found, THEIRS[type(error).__name__][response is not None])
    assert isinstance(found, requests.RequestException)
    assert isinstance(found, OSError)
    assert (found.request, found.response) == (REQUEST, response)
    assert str(found) == str(error)
    assert found.args == (str(error),)


@sample
def test_an_error_keeps_fields_recovery_partial_and_cause(error: errors.LLMWatchError) -> None:
    """Fields, the recovery, what was delivered, and the cause go along."""
    given = copy.copy(error)
    given.recovery = Recovery(
        safe=True, decision=Decision.STOP, reason="silence", message="It is silent.", action="Wait."
    )
    given.partial = "Once upon"
    given.__cause__ = ValueError("why")
    found: Any = as_requests(given, REQUEST, None)
    expected = {**vars(given), "request": REQUEST, "response": None}
    assert vars(found) == expected
    assert found.__cause__ is given.__cause__
    assert found.__suppress_context__


@sample
@each("response", [None, RESPONSE])
@each("again", [copy.copy, lambda one: pickle.loads(pickle.dumps(one))], ids=["copy", "pickle"])
def test_an_error_survives_pickle_without_request_and_response(
    error: errors.LLMWatchError, response: Any, again: Any
) -> None:
    """Pickled or copied it is the same, without the request, which holds headers, and the response."""
    found: Any = as_requests(error, REQUEST, response)
    found.partial = "Once"
    back = again(found)
    assert type(back) is type(found)
    assert vars(back) == {**vars(found), "request": None, "response": None}
    assert str(back) == str(found)


def test_a_cancellation_becomes_no_error_of_requests() -> None:
    """Neither a cancellation nor the root becomes one of requests' errors.

    An error that is both already comes back as it is.
    """
    for error in (errors.Cancelled("gone", by="user"), errors.LLMWatchError("odd")):
        assert as_requests(error, REQUEST, None) is error
        assert not isinstance(error, requests.RequestException)
    both = as_requests(errors.StreamCut("cut"), REQUEST, None)
    assert as_requests(both, REQUEST, RESPONSE) is both


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (SAMPLES[0], (requests.ConnectTimeout,)),
        (SAMPLES[1], (requests.ReadTimeout,)),
        (errors.ConnectFailed("no", cause="tls"), (exceptions.SSLError,)),
        (errors.ConnectFailed("no", cause="proxy"), (exceptions.ProxyError,)),
        (
            errors.WatchTimeout("x", limit="stale", limit_seconds=1, phase="content", elapsed=1),
            (TimeoutError, requests.ReadTimeout),
        ),
        (errors.StreamCut("cut"), (ConnectionError, requests.ConnectionError)),
        (errors.ConfigError("x"), (ValueError, exceptions.InvalidURL)),
    ],
)
def test_errors_that_requests_and_python_distinguish_stay_distinct(
    error: errors.LLMWatchError, kinds: tuple[type[BaseException], ...]
) -> None:
    """Errors that requests or Python distinguish stay distinct."""
    assert all(isinstance(as_requests(error, REQUEST, None), kind) for kind in kinds)
    body = as_requests(error, REQUEST, RESPONSE)
    if isinstance(error, errors.WatchTimeout):
        assert isinstance(body, requests.ReadTimeout)
        assert isinstance(body, requests.ConnectionError)
        assert not isinstance(body, requests.ConnectTimeout)


@pytest.mark.parametrize(("response", "more"), [(None, ()), (RESPONSE, (exceptions.ChunkedEncodingError,))])
def test_a_tls_alert_is_an_ssl_error(response: requests.Response | None, more: tuple[type[Exception], ...]) -> None:
    """An alert is requests' ``SSLError``; the end of a TLS connection is not."""
    for kind, expected in (("SSLError", True), ("SSLEOFError", False)):
        error = errors.StreamCut("cut")
        error.__cause__ = Summary(kind, "", "text")
        both = as_requests(error, REQUEST, response)
        assert isinstance(both, exceptions.SSLError) is expected
        assert all(isinstance(both, cls) for cls in (exceptions.ConnectionError, *more))
