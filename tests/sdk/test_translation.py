"""Our errors in the words of the SDKs."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import openai
import pytest

from llmwatch import errors
from llmwatch.sdk.libraries import Library
from llmwatch.sdk.library_errors import in_library
from llmwatch.sdk.translation import as_anthropic, as_openai, status_cause

REQUEST = httpx2.Request("POST", "http://h/v1")

ERRORS: list[tuple[errors.LLMWatchError, str]] = [
    (errors.WatchTimeout("late", limit="stale", limit_seconds=1.0, phase="content", elapsed=1.0), "APITimeoutError"),
    (errors.ConnectFailed("no", cause="refused"), "APIConnectionError"),
    (errors.StreamCut("cut"), "APIConnectionError"),
    (errors.StreamTruncated("short"), "APIConnectionError"),
    (errors.EmptyStream("empty"), "APIConnectionError"),
    (errors.NotAStream("page"), "APIConnectionError"),
    (errors.MalformedEvent("json"), "APIConnectionError"),
    (errors.EventTooLarge("large"), "APIConnectionError"),
    (errors.BodyTooLarge("large"), "APIConnectionError"),
    (errors.CircuitOpen("open", retry_after=3.0), "APIConnectionError"),
    (errors.TooManyOrphans("many"), "APIConnectionError"),
    (errors.TooManyThreads("none"), "APIConnectionError"),
    (errors.RefreshFailed("stale"), "APIConnectionError"),
]


@pytest.mark.parametrize(("error", "name"), ERRORS, ids=lambda one: one if isinstance(one, str) else type(one).__name__)
def test_each_error_has_a_class_of_the_sdk(error: errors.LLMWatchError, name: str) -> None:
    """The class is the same in both SDKs, and llmwatch's error is the cause.

    Where the SDK takes a message it is llmwatch's.
    """
    combined = in_library(error, Library("httpx2"), REQUEST)
    for say, sdk in ((as_openai, openai), (as_anthropic, anthropic)):
        found: Any = say(sdk, combined, REQUEST)
        assert type(found) is getattr(sdk, name)
        assert found.__cause__ is combined
        assert found.request is REQUEST
        assert (str(found), found.message, repr(found)) == (str(error), str(error), f"{name}({str(error)!r})")


def test_a_time_out_of_the_sdk_itself_keeps_its_message() -> None:
    """Our message is on our exceptions alone: the class says of its own what it always said."""
    for say, sdk in ((as_openai, openai), (as_anthropic, anthropic)):
        say(sdk, ERRORS[0][0], REQUEST)
        assert str(sdk.APITimeoutError(request=REQUEST)).startswith("Request timed out")


def test_an_error_event_fills_the_sdks_exception() -> None:
    """The provider's words are on the SDK's exception as the SDK would have put them there."""
    error = errors.ProviderError("It said: busy", status=200, type="overloaded_error", code="busy")
    one: Any = as_openai(openai, error, REQUEST)
    assert type(one) is openai.APIError
    assert (one.type, one.code, one.param, one.message) == ("overloaded_error", "busy", None, "It said: busy")
    two: Any = as_anthropic(anthropic, error, REQUEST)
    assert type(two) is anthropic.APIStatusError
    assert (two.type, two.api_message, two.status_code, two.request_id) == (
        "overloaded_error",
        error.message,
        200,
        None,
    )
    assert (one.__cause__, two.__cause__) == (error, error)


@pytest.mark.parametrize("error", [errors.Cancelled("stopped", by="user"), errors.ConfigError("what", field="f")])
def test_an_exception_that_is_no_failure_stays(error: errors.LLMWatchError) -> None:
    """openai lets it pass; anthropic does so with its own classes alone."""
    assert as_openai(openai, error, REQUEST) is error
    found = as_anthropic(anthropic, error, REQUEST)
    assert isinstance(found, type(error))
    assert isinstance(found, anthropic.AnthropicError)
    assert str(found) == str(error)


def test_a_response_of_another_transport_has_no_cause() -> None:
    """llmwatch has no data of a response that came by another transport."""
    assert status_cause(httpx2.Response(500, request=REQUEST, content=b"")) is None
