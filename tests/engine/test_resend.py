"""``llmwatch.engine.resend``: the hook before a resend changes where and what is sent.

The hook can break nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from llmwatch import ProviderError, Retry, StreamCut
from llmwatch.engine.request import CallRequest
from llmwatch.engine.resend import Resend, changed_request
from tests.engine.fakes import URL, Answer, Studio, whole

BUSY = Answer(status=503)
OTHER = "https://spare.provider.test/v1/chat/completions"


def _changed(changes: Any, **kwargs: Any) -> CallRequest:
    request = CallRequest.build("POST", URL, {"json": {"stream": True, "n": 1}, **kwargs})
    return changed_request(request, lambda resend: changes, 2, StreamCut("cut"))


@pytest.mark.parametrize("changes", [None, {}])
def test_no_change_is_the_same_request(changes: Any) -> None:
    """``None`` and an empty mapping send the very same again."""
    request = CallRequest.build("POST", URL, {"json": {}})
    assert changed_request(request, lambda resend: changes, 2, StreamCut("cut")) is request


def test_the_url_can_change() -> None:
    """Another endpoint keeps body and headers."""
    request = _changed({"url": OTHER}, headers={"X-Own": "yes"})
    assert (request.url, request.origin) == (OTHER, "https://spare.provider.test")
    assert json.loads(request.kwargs["data"]) == {"stream": True, "n": 1}
    assert request.kwargs["headers"] == {"X-Own": "yes"}


def test_the_body_can_change() -> None:
    """A smaller body is measured and read anew, so that its tools and size count."""
    request = _changed({"json": {"stream": True}})
    assert request.body == {"stream": True}
    assert request.size == len(request.kwargs["data"])


def test_headers_are_merged() -> None:
    """New headers are added and old ones replaced.

    ``None``, which requests does not send, stays: it removes a header.
    """
    request = _changed({"headers": {"B": "2", "C": None, "D": "4"}}, headers={"A": "1", "B": "1", "C": "1"})
    assert request.kwargs["headers"] == {"A": "1", "B": "2", "C": None, "D": "4"}


def test_the_names_of_headers_have_no_case() -> None:
    """A header in other letters is the same header, whether it is replaced or removed.

    Names in bytes are names too.
    """
    old = {"Authorization": "Bearer one", "X-Key": "1", b"X-Raw": "1"}
    request = _changed({"headers": {"authorization": None, "x-KEY": "2", "x-raw": None}}, headers=old)
    assert request.kwargs["headers"] == {"authorization": None, "x-KEY": "2", "x-raw": None}


@pytest.mark.parametrize(
    ("changes", "kept"),
    [({"url": OTHER}, False), ({"params": {"a": "1"}}, False), ({"headers": {"A": "1"}}, True), ({"json": {}}, True)],
)
def test_a_followed_redirect_is_kept_until_the_hook_changes_the_url(changes: Any, kept: bool) -> None:
    """A new URL drops the address that the old one was redirected to.

    The number of redirects left does not change.
    """
    request = CallRequest.build("POST", URL, {"json": {}})
    request.trail.hops, request.trail.url = 3, OTHER
    changed = changed_request(request, lambda resend: changes, 2, StreamCut("cut"))
    assert (changed.trail.hops, changed.trail.url) == (3, OTHER if kept else None)
    assert request.trail.url == OTHER


def test_the_hook_is_told_what_happened() -> None:
    """The hook gets the next attempt's number, the last error, and the next request."""
    told: list[Resend] = []
    error = StreamCut("cut")
    request = CallRequest.build("POST", URL, {"json": {}, "headers": {"A": "1"}})
    changed_request(request, lambda resend: told.append(resend), 3, error)
    (resend,) = told
    assert (resend.attempt, resend.error, resend.url) == (3, error, URL)
    assert resend.kwargs["headers"] == {"A": "1"}


@pytest.mark.parametrize(
    "changes", [{"colour": "red"}, {"url": "ftp://x/"}, pytest.param({"json": object()}, id="json"), 7], ids=repr
)
def test_an_invalid_return_of_the_hook_is_logged_and_ignored(changes: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A hook that returns what is invalid leaves the request as it was."""
    with caplog.at_level(logging.ERROR, "llmwatch"):
        request = _changed(changes)
    assert (request.url, request.body) == (URL, {"stream": True, "n": 1})
    assert len(caplog.records) == 1


def test_a_call_goes_where_its_hook_says(studio: Studio) -> None:
    """The second request of a call that fails over goes elsewhere with new credentials.

    The answer comes from there.
    """

    def hook(resend: Resend) -> Mapping[str, Any]:
        assert isinstance(resend.error, ProviderError)
        return {"url": OTHER, "headers": {"Authorization": "Bearer two"}}

    retry = Retry(backoff=0, on_retry=hook)
    call, sender = studio.call(BUSY, whole(), retry=retry, headers={"Authorization": "Bearer one"})
    studio.drain(call)
    assert [url for _, url, _ in sender.asked] == [URL, OTHER]
    assert [kwargs["headers"]["Authorization"] for _, _, kwargs in sender.asked] == ["Bearer one", "Bearer two"]
    assert call.record is not None
    assert [one.origin for one in call.record.attempts] == [
        "https://api.provider.test",
        "https://spare.provider.test",
    ]


def test_the_tools_of_a_changed_body_count(studio: Studio) -> None:
    """The tool exposure is that of the body that is sent.

    A hook that adds unknown tools therefore ends the resends.
    """
    retry = Retry(backoff=0, on_retry=lambda resend: {"json": {"stream": True, "tools": [{"type": "teleport"}]}})
    call, sender = studio.call(BUSY, BUSY, whole(), retry=retry)
    with pytest.raises(ProviderError) as caught:
        studio.drain(call)
    assert caught.value.recovery is not None
    assert caught.value.recovery.decision.value == "confirm"
    assert [one.tool_exposure["unknown"] for one in caught.value.record.attempts] == [0, 1]
    assert len(sender.asked) == 2


def test_the_hook_is_called_only_before_a_resend(studio: Studio) -> None:
    """The hook is called before each resend, and at no other time."""
    asked: list[int] = []
    retry = Retry(backoff=0, max_attempts=3, on_retry=lambda resend: asked.append(resend.attempt))
    call, _ = studio.call(BUSY, retry=retry)
    with pytest.raises(ProviderError):
        studio.drain(call)
    assert asked == [2, 3]
