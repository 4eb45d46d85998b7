"""What a user of an SDK sees in mid-stream on a bare ``Transport``.

llmwatch's client is not there, so this is what the SDK makes of it.
"""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import openai
import pytest

import llmwatch
from llmwatch import Limits
from llmwatch.faults.catalogue import answer
from tests.sdk.clients import ASKS, STREAMS, ask, asked_at_each
from tests.sdk.times import LONG, SOON

OPENAI = [name for name in STREAMS if ASKS[name].sdk == "openai"]
ANTHROPIC = [name for name in STREAMS if ASKS[name].sdk == "anthropic"]


def limits(script: str) -> Limits:
    """Silence is limited where it is what goes wrong."""
    return Limits(ttfb=LONG, stale=SOON if script.startswith("stall") else LONG)


BARE = ["bare", "bare, its retries on"]

entry_points = pytest.mark.parametrize("entry_point", BARE)
faults = pytest.mark.parametrize(
    ("script", "ours", "theirs"),
    [
        ("stall-after-content:tokens=3", llmwatch.WatchTimeout, httpx2.ReadTimeout),
        ("eof-without-terminal:tokens=3", llmwatch.StreamTruncated, httpx2.RemoteProtocolError),
        ("cut-chunk:tokens=3", llmwatch.StreamCut, httpx2.RemoteProtocolError),
        ("reset-mid-stream:tokens=3", llmwatch.StreamCut, httpx2.ReadError),
    ],
)


@faults
@pytest.mark.parametrize("how", OPENAI)
def test_openai_raises_its_own_exception_in_mid_stream(
    serve: Any, make: Any, sdk_waits: list[int], how: str, script: str, ours: Any, theirs: Any
) -> None:
    """llmwatch's error is its cause; nothing is resent."""
    expected = openai.APITimeoutError if theirs is httpx2.ReadTimeout else openai.APIConnectionError
    for _, server, outcome in asked_at_each(serve, make, how, script, entry_points=BARE, limits=limits(script)):
        assert type(outcome.error) is expected
        assert isinstance(outcome.error.__cause__, ours)
        assert isinstance(outcome.error.__cause__, theirs)
        assert outcome.said
        assert (len(server.requests), sdk_waits) == (1, [])


@faults
@pytest.mark.parametrize("how", ANTHROPIC)
def test_anthropic_raises_the_transports_exception(
    serve: Any, make: Any, sdk_waits: list[int], how: str, script: str, ours: Any, theirs: Any
) -> None:
    """The exception is llmwatch's and httpx2's, and not the SDK's."""
    for _, server, outcome in asked_at_each(serve, make, how, script, entry_points=BARE, limits=limits(script)):
        assert isinstance(outcome.error, ours)
        assert isinstance(outcome.error, theirs)
        assert not isinstance(outcome.error, anthropic.AnthropicError)
        assert outcome.said
        assert (len(server.requests), sdk_waits) == (1, [])


@entry_points
@pytest.mark.parametrize("tokens", [0, 3])
@pytest.mark.parametrize("how", STREAMS)
def test_an_error_event_reaches_the_sdk_as_it_came(
    serve: Any, make: Any, entry_point: str, how: str, tokens: int
) -> None:
    """It reaches the SDK as it came, after one request.

    Both raise a class of their own, which knows nothing of ours; Responses hands the event on, and only its helper
    misses the end. The record has it as what it was.
    """
    server, records = serve(f"error-event:tokens={tokens},kind=overloaded_error"), []
    outcome = ask(make(entry_point, ASKS[how].sdk, server, sinks=[records.append]), how)
    error: Any = outcome.error
    if how.startswith("responses"):
        assert type(error) is (RuntimeError if how == "responses-helper" else type(None))
    else:
        assert type(error) is (anthropic.APIStatusError if ASKS[how].sdk == "anthropic" else openai.APIError)
        assert error.__cause__ is None
        assert error.type == "overloaded_error"
    assert outcome.said == (answer(tokens) if tokens else "")
    assert [(one.outcome, one.cause) for one in records] == [("failed", "provider_error")]
    assert len(server.requests) == 1


@pytest.mark.parametrize("how", STREAMS)
def test_broken_json_reaches_the_sdk_as_it_came(serve: Any, make: Any, how: str) -> None:
    """A bare ``JSONDecodeError``; the call is remembered as what it was."""
    server, records = serve("malformed-event:tokens=3"), []
    outcome = ask(make("bare", ASKS[how].sdk, server, sinks=[records.append]), how)
    assert type(outcome.error) is json.JSONDecodeError
    assert outcome.said == answer(3)
    assert [(one.outcome, one.attempts[-1].error) for one in records] == [("failed", "MalformedEvent")]
