"""Telling the SDK's retry of what has failed from every other request."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import requests

from llmwatch import WatchTimeout
from llmwatch.session.sdk_retries import Repeats, Sending


def sending(count: object = 0, *, method: str = "POST", url: str = "http://h/v1", body: object = b"{}") -> Sending:
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url, prepared.body = method, url, body  # type: ignore[assignment]
    prepared.headers = requests.structures.CaseInsensitiveDict()
    if count is not None:
        prepared.headers["X-Stainless-Retry-Count"] = str(count)
    return Sending(prepared)


def failure() -> WatchTimeout:
    try:
        raise WatchTimeout("silent", limit="ttfb", limit_seconds=1.0, phase="waiting", elapsed=1.0)
    except WatchTimeout as error:
        return error


def test_every_retry_of_the_sdk_is_recognised() -> None:
    """The first, the second and so on, with the same error each time."""
    repeats = Repeats()
    repeats.failed(sending(), failure())
    for count in (1, 2, 3):
        known = repeats.known(sending(count))
        assert isinstance(known, WatchTimeout)
        assert (known.limit, known.limit_seconds, str(known)) == ("ttfb", 1.0, "silent")


@pytest.mark.parametrize("count", [0, None, 2, 3, -1, "one", "", "١", "9" * 30])
def test_a_count_that_does_not_follow_is_another_request(count: object) -> None:
    """A call made again on purpose counts from 0.

    A call without a count, or with one that does not follow, is sent.
    """
    repeats = Repeats()
    repeats.failed(sending(), failure())
    assert repeats.known(sending(count)) is None


@pytest.mark.parametrize(
    "other",
    [sending(1, method="GET"), sending(1, url="http://h/v2"), sending(1, body=b'{"model": 2}'), sending(1, body=None)],
)
def test_another_request_is_sent(other: Sending) -> None:
    """Another method, URL or body, whatever its count."""
    repeats = Repeats()
    repeats.failed(sending(), failure())
    assert repeats.known(other) is None


def test_a_retry_after_a_status_is_not_recognised() -> None:
    """A retry after a status is none of an exception's."""
    assert Repeats().known(sending(1)) is None


def test_failures_are_remembered_per_thread() -> None:
    """The same request of another thread did not fail."""
    repeats, found = Repeats(), []
    repeats.failed(sending(), failure())
    thread = threading.Thread(target=lambda: found.append(repeats.known(sending(1))))
    thread.start()
    thread.join()
    assert found == [None]
    assert repeats.known(sending(1)) is not None


def test_a_form_is_the_same_with_another_boundary() -> None:
    """The SDK draws it anew for each of its retries."""

    def form(boundary: str, count: int, content: bytes = b"x") -> Sending:
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url = "POST", "http://h/v1/files"
        prepared.body = b"--%b\r\n\r\n%b\r\n--%b--" % (boundary.encode(), content, boundary.encode())
        prepared.headers = requests.structures.CaseInsensitiveDict(
            {"content-type": f"multipart/form-data; boundary={boundary}", "x-stainless-retry-count": str(count)}
        )
        return Sending(prepared)

    repeats = Repeats()
    repeats.failed(form("a1", 0), failure())
    assert repeats.known(form("b2", 1, b"y")) is None
    assert repeats.known(form("b2", 1)) is not None


def test_neither_body_nor_frames_are_kept(set_aside: None) -> None:
    """A failure that is remembered holds neither the prompt nor what was on the stack."""

    class Witness:
        """Dies with its frame."""

    repeats = Repeats()

    def fail() -> weakref.ref[Witness]:
        witness = Witness()
        try:
            raise WatchTimeout("silent", limit="ttfb", limit_seconds=1.0, phase="waiting", elapsed=1.0)
        except WatchTimeout as error:
            repeats.failed(sending(), error)
        return weakref.ref(witness)

    seen = fail()
    gc.collect()
    assert seen() is None
    assert repeats.known(sending(1)) is not None


def test_a_new_call_ends_what_was_remembered() -> None:
    """A retry is not answered with the failure of an earlier call once the user has called again."""
    repeats = Repeats()
    repeats.failed(sending(), failure())
    assert repeats.known(sending(0)) is None
    assert repeats.known(sending(1)) is None
