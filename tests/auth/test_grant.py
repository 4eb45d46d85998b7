"""The return values of a refresh function, and the grants that are made of them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import requests

from llmwatch.auth.grant import Grant, read
from llmwatch.auth.refresh_failure import MOST_BODY, Failure
from tests.auth.tokens import token
from tests.rows import each


def response(body: bytes | object, status: int = 200, *, loaded: bool = True) -> requests.Response:
    """A response as requests would have made it."""
    made = requests.Response()
    made.status_code = status
    made.url = "https://auth.provider.test/token?code=abc"
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    if loaded:
        made._content = data
    else:
        made.raw = io.BytesIO(data)
    return made


def refused(answer: object) -> Failure:
    found = read(answer)
    assert isinstance(found, Failure)
    return found


@pytest.mark.parametrize(
    "answer",
    [
        token(1),
        {"access_token": token(1)},
        {"access_token": token(1), "token_type": "bearer", "scope": "all"},
        response({"access_token": token(1)}),
        response({"access_token": token(1)}, loaded=False),
        response(json.dumps({"access_token": token(1)}).encode("utf-16")),
        response({"access_token": token(1), "error": ""}, 201),
    ],
    ids=["text", "mapping", "with more", "response", "unread response", "utf-16", "created"],
)
def test_a_token_is_found(answer: object) -> None:
    """A string, a mapping and a response with a JSON body all give the token."""
    assert read(answer) == Grant(token=token(1))


@each(
    ("expires_in", "lifetime"),
    [
        (3600, 3600.0),
        (0.5, 0.5),
        ("3599", 3599.0),
        (" 60.5 ", 60.5),
        (0, 0.0),
        (-5, 0.0),
        (None, None),
        (True, None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ([3600], None),
        (10**400, None),
        (float("inf"), None),
    ],
)
def test_expires_in_is_seconds_as_number_or_text(expires_in: object, lifetime: float | None) -> None:
    """``expires_in`` is seconds, as a number or as its text; what is neither says nothing."""
    found = read({"access_token": token(1), "expires_in": expires_in})
    assert isinstance(found, Grant)
    assert found.lifetime == lifetime


def test_a_token_is_not_shown() -> None:
    """The ``repr`` of a grant does not show the token."""
    assert token(1) not in repr(read(token(1)))


@pytest.mark.parametrize("answer", [None, b"abc", 7, True, ["abc"], object()])
def test_a_return_of_another_type_is_a_mistake_of_the_function(answer: object) -> None:
    """A function that returns something else is a mistake of its author, and the value is not shown."""
    with pytest.raises(TypeError, match=rf"access_token.*and not {type(answer).__name__}$"):
        read(answer)


@each(
    ("answer", "words"),
    [
        ("", "the token is empty"),
        ("two words", "no header can carry"),
        ("line\n", "no header can carry"),
        ("t\u00f6ken", "no header can carry"),
        ({}, "no access_token in the answer."),
        ({"access_token": None}, "no access_token in the answer."),
        ({"access_token": ""}, "no access_token in the answer that is text"),
        ({"access_token": 7}, "no access_token in the answer that is text"),
        ({"access_token": "a\r\nX-Evil: 1"}, "no header can carry"),
        ({"access_token": "t", "token_type": "DPoP"}, "has to be proved"),
        ({"access_token": "t", "token_type": "mac"}, "has to be proved"),
        (response(b""), "is not JSON"),
        (response(b"<html>"), "is not JSON"),
        (response(b"[" * 50_000), "is not JSON"),
        (response(b"\xff\xfe\xfd"), "is not JSON"),
        (response(["access_token"]), "no JSON object"),
        (response("access_token"), "no JSON object"),
        (response({"token": "t"}), "no access_token in the answer."),
        (response(b" " * (MOST_BODY + 1)), "larger than 65,536 bytes"),
        (response(b" " * (MOST_BODY + 1), loaded=False), "larger than 65,536 bytes"),
        (response({"access_token": "t"}, 302), "answered with HTTP 302"),
        (response(b"nothing here", 404), "answered with HTTP 404"),
    ],
)
def test_an_unusable_token_is_a_final_failure(answer: object, words: str) -> None:
    """An unusable token is a failure that says what is missing, is not retryable, and is not remembered."""
    found = refused(answer)
    assert words in found.message
    assert (found.retryable, found.rejected, found.limit_seconds, found.cause) == (False, False, None, None)


def test_a_body_of_the_largest_size_is_read() -> None:
    """A body of exactly the size that is accepted is read."""
    body = json.dumps({"access_token": token(1)}).encode().ljust(MOST_BODY)
    assert read(response(body)) == read(response(body, loaded=False)) == Grant(token=token(1))


def test_a_token_type_is_accepted_for_the_requested_scheme() -> None:
    """A type of token that needs a proof is taken where it is the scheme that was asked for."""
    assert read({"access_token": "t", "token_type": "DPoP"}, "dpop") == Grant(token="t")


@each("status", [400, 401, 403])
@each("body", [b"", b"<html>", b'{"error": "invalid_grant"}', b'{"error": "unheard of"}', b"[]"])
def test_statuses_400_401_and_403_are_rejections(status: int, body: bytes) -> None:
    """400, 401 and 403 say that the credentials are no good."""
    found = refused(response(body, status))
    assert (found.retryable, found.rejected) == (False, True)
    assert f"auth.provider.test rejected the credentials with HTTP {status}" in found.message
    assert "log in again" in found.message
    assert ("(error invalid_grant)" in found.message) is (b"invalid_grant" in body)


@pytest.mark.parametrize("answer", [{"error": "invalid_grant"}, response({"error": "bad_refresh_token"})])
def test_an_oauth_error_is_a_rejection_without_a_status(answer: Any) -> None:
    """An OAuth error is a rejection with any status, and without a status."""
    found = refused(answer)
    assert (found.retryable, found.rejected) == (False, True)
    assert "HTTP" not in found.message


@pytest.mark.parametrize("error", ["opaque-secret", {"code": 401}, ["x"], 7])
def test_an_unknown_error_code_is_not_quoted(error: object) -> None:
    """An error code that is not one of the known ones may be a quote, and is left out."""
    found = refused({"error": error})
    assert found.rejected
    assert "(an error of its own)" in found.message
    assert "secret" not in found.message


@each("status", [408, 425, 429, 500, 501, 502, 503, 504, 529, 599])
@each("body", [b"", b"<html>", b'{"error": "unheard of"}'])
def test_a_busy_token_endpoint_is_retryable(status: int, body: bytes) -> None:
    """A busy or broken server is worth another try."""
    found = refused(response(body, status))
    assert (found.retryable, found.rejected) == (True, False)
    assert f"auth.provider.test answered with HTTP {status}" in found.message


@each("status", [200, 400, 500])
@each("code", ["server_error", "temporarily_unavailable", "slow_down", "authorization_pending", "internal_failure"])
def test_a_temporary_oauth_error_is_retryable(status: int, code: str) -> None:
    """These OAuth errors concern the server, with any status."""
    found = refused(response({"error": code}, status))
    assert (found.retryable, found.rejected) == (True, False)
    assert f"(error {code})" in found.message


@each(
    "code",
    [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    ],
)
@each("status", [429, 500])
def test_an_oauth_error_about_credentials_is_a_rejection(status: int, code: str) -> None:
    """The OAuth errors about what was sent are rejections, even with a status that would pass."""
    found = refused(response({"error": code}, status))
    assert (found.retryable, found.rejected) == (False, True)


def test_a_large_refusal_is_judged_by_its_status() -> None:
    """An error page beyond the size does not hide the status."""
    assert refused(response(b" " * (MOST_BODY + 1), 503)).retryable
    assert refused(response(b" " * (MOST_BODY + 1), 401)).rejected
