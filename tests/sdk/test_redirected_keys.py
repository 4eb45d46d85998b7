"""Keys stay within the origin that they were sent to.

This holds for whichever header has them and whichever side follows a redirect.
"""

from __future__ import annotations

import pickle
from typing import Any

import httpx
import pytest
import requests

from llmwatch import Client, Retry
from llmwatch.faults import FaultServer, Script, steps
from llmwatch.redaction.patterns import carries_a_key
from llmwatch.transport.redirects import leave_keys
from tests.rows import each
from tests.sdk.following import ENTRY_POINTS, SESSIONS, transport

PLAIN = {"model": "m", "messages": []}
RETRY = Retry(backoff=0.01)

KEYS = (
    "Authorization",
    "x-api-key",
    "api-key",
    "X-Goog-Api-Key",
    "Ocp-Apim-Subscription-Key",
    "x-functions-key",
    "apikey",
    "X-Auth-Token",
    "X-Amz-Security-Token",
    "cf-aig-authorization",
    "Helicone-Auth",
    "x-portkey-api-key",
    "x-litellm-api-key",
    "X-RapidAPI-Key",
    "PRIVATE-TOKEN",
    "x-signature",
    "x-client-secret",
)
OTHERS = (
    "User-Agent",
    "anthropic-version",
    "anthropic-beta",
    "OpenAI-Organization",
    "x-request-id",
    "X-Stainless-Lang",
    "Idempotency-Key",
    "x-cache-key",
    "x-keyboard",
    "x-tokens-left",
    "x-author",
)
HEADERS = {name: f"value-of-{name.lower()}" for name in (*KEYS, *OTHERS)}


@each("name", KEYS)
def test_every_key_header_is_recognised_in_any_case(name: str) -> None:
    """Each is known in any case."""
    assert carries_a_key(name)
    assert carries_a_key(name.upper())


@each("name", [*OTHERS, "Content-Type", "Accept", "Host", "x-monkey", ""])
def test_a_header_without_a_key_is_kept(name: str) -> None:
    """A header that describes or identifies a request is no key."""
    assert not carries_a_key(name)


def _to(location: str, status: int = 307) -> Script:
    return Script.of("redirect", steps.Head(status, [("Location", location)], "length", 0), steps.End())


def _names(server: FaultServer) -> list[set[str]]:
    """The test's headers that came with each request, in lower case."""
    ours = {name.lower() for name in HEADERS}
    return [ours & {name.lower() for name, _ in request.headers} for request in server.requests]


ALL = {name.lower() for name in HEADERS}
KEPT = {name.lower() for name in OTHERS}


@each(
    ("entry_point", "status"),
    [(entry_point, status) for entry_point in ENTRY_POINTS for status in (301, 302, 303, 307, 308)],
)
def test_a_model_call_drops_its_keys_at_another_origin(entry_point: Any, status: int) -> None:
    """To another origin a redirected model call takes no key along, and everything else.

    It takes none there either when that leads on.
    """
    with FaultServer([_to("/elsewhere"), "healthy"]) as other, entry_point() as session:
        with FaultServer(_to(f"{other.url}/v1/chat/completions", status)) as server:
            assert session.post(server.chat_url, json=PLAIN, headers=HEADERS).status_code == 200
            assert _names(server) == [ALL]
        assert _names(other) == [KEPT, KEPT]


@each("entry_point", ENTRY_POINTS)
def test_a_model_call_keeps_its_keys_within_its_origin(entry_point: Any) -> None:
    """A redirect that stays there takes all of them along, and one that leaves later none."""
    with FaultServer("healthy") as other, entry_point() as session:
        with FaultServer([_to("/moved"), _to(f"{other.url}/v1/chat/completions")]) as server:
            assert session.post(server.chat_url, json=PLAIN, headers=HEADERS).status_code == 200
            assert _names(server) == [ALL, ALL]
        assert _names(other) == [KEPT]


@each("entry_point", ENTRY_POINTS)
def test_another_request_keeps_the_headers_that_the_library_keeps(entry_point: Any) -> None:
    """Another request keeps the headers that plain requests, or plain httpx, keeps."""

    def seen(session: Any) -> list[set[str]]:
        with FaultServer("healthy") as other:
            with FaultServer(_to(f"{other.url}/files")) as server:
                session.post(f"{server.url}/files", json={"a": 1}, headers=HEADERS)
            return _names(other)

    with entry_point() as session:
        found = seen(session)
    with httpx.Client(follow_redirects=True) if entry_point is transport else requests.Session() as plain:
        assert found == seen(plain)
    assert "x-api-key" in found[0]


@each("entry_point", SESSIONS)
def test_the_next_request_of_a_response_has_no_keys(entry_point: Any) -> None:
    """If the program follows a redirect itself, its next request has no keys; its own request keeps them."""
    with FaultServer("healthy") as other, entry_point() as session:
        with FaultServer(_to(f"{other.url}/v1/chat/completions")) as server:
            response = session.post(server.chat_url, json=PLAIN, headers=HEADERS, allow_redirects=False)
            assert response.status_code == 307
            assert response.next is not None
            assert session.send(response.next).status_code == 200
            assert response.request.headers["x-api-key"] == HEADERS["x-api-key"]
            copied = pickle.loads(pickle.dumps(response.request.headers))
            assert type(copied) is requests.structures.CaseInsensitiveDict
            assert copied == response.request.headers
        assert _names(other) == [KEPT]


@each("status", [301, 302, 303, 307, 308])
def test_a_client_drops_its_keys_at_another_origin(status: int) -> None:
    """A GET of a Client, whose redirects are followed, loses its keys too, from any source."""
    with FaultServer("healthy") as other, requests.Session() as lender:
        lender.headers.update(HEADERS)
        with FaultServer([_to("/moved", status), _to(f"{other.url}/models", status)]) as server:
            with Client(retry=RETRY, session=lender) as client:
                assert client.request("GET", f"{server.url}/v1/models").status_code == 200
            assert _names(server) == [ALL, ALL]
        assert _names(other) == [KEPT]


def test_the_next_request_of_a_clients_response_has_no_keys() -> None:
    """A redirected POST is not followed; the request that it would be has no key."""
    with FaultServer("healthy") as other, FaultServer(_to(f"{other.url}/v1/chat/completions")) as server:
        with Client(retry=RETRY) as client:
            response = client.request("POST", server.chat_url, json=PLAIN, headers=HEADERS)
        assert response.next is not None
        assert {name.lower() for name in response.next.headers} & ALL == KEPT
        assert other.requests == []


@each(
    ("old", "new", "kept"),
    [
        ("http://a.example/x", "https://a.example/x", True),  # the one step that requests takes Authorization along on
        ("https://a.example/x", "https://a.example:443/y", True),
        ("https://a.example/x", "http://a.example/x", False),
        ("https://a.example/x", "https://b.example/x", False),
        ("https://a.example/x", "https://a.example:8443/x", False),
        ("https://a.example/x", "https://a.example:99999/x", False),
        ("https://a.example/x", "https://[a.example/x", False),
    ],
)
def test_keys_follow_the_rule_of_authorization(old: str, new: str, kept: bool) -> None:
    """Keys go where Authorization goes, and nowhere else."""
    headers: Any = requests.structures.CaseInsensitiveDict(HEADERS)
    leave_keys(headers, old, new)
    assert {name.lower() for name in headers} == (ALL if kept else KEPT)


@each("entry_point", SESSIONS)
def test_a_redirect_to_an_invalid_port_raises_requests_error(entry_point: Any) -> None:
    """What leads nowhere is the error that requests has for it, with a key as without one. (Where an
    Authorization goes along requests itself stumbles over the port, with a ValueError of its own.)
    """
    with FaultServer(_to("http://127.0.0.1:99999/v1/chat/completions")) as server, entry_point() as session:
        for headers in ({}, {"x-api-key": "k"}):
            with pytest.raises(requests.exceptions.InvalidURL):
                session.post(server.chat_url, json=PLAIN, headers=headers)
