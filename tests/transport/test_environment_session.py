"""Sessions that look through the environment once, and find what requests finds at every call."""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest
import requests
from requests import sessions

import llmwatch
from llmwatch.transport import sender
from llmwatch.transport.sender import EnvironmentSession

PROXY, OTHER = "http://proxy.test:3128", "http://user:secret@other.test"
URLS = [
    "http://provider.test/v1/chat/completions?key=1",
    "https://provider.test:8443",
    "https://api.provider.test/v1",
    "http://127.0.0.1:8000/v1",
    "http://[::1]:8000/v1",
    "HTTP://PROVIDER.TEST/",
    "http://provider.test?no=path/at/all",
    "mailto:somebody@provider.test",
    "provider.test/v1",
    "",
]
ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"http_proxy": PROXY},
    {"HTTP_PROXY": PROXY, "HTTPS_PROXY": OTHER},
    {"ALL_PROXY": OTHER, "no_proxy": "provider.test,127.0.0.0/8"},
    {"all_proxy": PROXY, "NO_PROXY": "*"},
    {"https_proxy": PROXY, "no_proxy": ".test"},
    {"http_proxy": PROXY, "REQUEST_METHOD": "GET", "HTTP_PROXY": OTHER},
    {"http_proxy": "", "HTTP_PROXY": PROXY},
    {"REQUESTS_CA_BUNDLE": "/certificates/one.pem", "CURL_CA_BUNDLE": "/certificates/two.pem"},
    {"CURL_CA_BUNDLE": "/certificates/two.pem", "https_proxy": PROXY},
]


def _sessions(**settings: Any) -> tuple[requests.Session, requests.Session]:
    pair = EnvironmentSession(), requests.Session()
    for session, (name, value) in itertools.product(pair, settings.items()):
        setattr(session, name, value)
    return pair


def _set(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in {name for environment in ENVIRONMENTS for name in environment}:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs for which the environment was looked through."""
    seen: list[str] = []
    find = sessions.get_environ_proxies

    def spy(url: str, no_proxy: str | None = None) -> dict[str, str]:
        seen.append(url)
        return find(url, no_proxy=no_proxy)

    monkeypatch.setattr(sessions, "get_environ_proxies", spy)
    monkeypatch.setattr(sender, "_FIND", spy)
    monkeypatch.setenv("LLMWATCH_TEST_FRESH", str(id(seen)))
    return seen


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"trust_env": False},
        {"proxies": {"http": OTHER, "https": None}},
        {"verify": False, "cert": "client.pem", "stream": True},
        {"verify": "/certificates/own.pem"},
    ],
    ids=repr,
)
def test_it_finds_what_requests_finds(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> None:
    """For every environment, URL and argument, and the second time too."""
    ours, theirs = _sessions(**settings)
    arguments: list[tuple[Any, Any]] = [
        ({}, None),
        ({"http": PROXY}, True),
        ({"no_proxy": "provider.test"}, False),
        (None, "/certificates/own.pem"),
    ]
    for variables in [*ENVIRONMENTS, *ENVIRONMENTS]:
        _set(monkeypatch, variables)
        for url, (proxies, verify) in itertools.product(URLS, arguments):
            found = []
            for session in (ours, ours, theirs):
                given = None if proxies is None else dict(proxies)
                found.append((session.merge_environment_settings(url, given, None, verify, None), given))
            assert found[0] == found[2], (variables, url, proxies, verify)
            assert found[1] == found[2], (variables, url, proxies, verify)
            assert type(found[0][0]["proxies"]) is type(found[2][0]["proxies"])


def test_the_environment_is_looked_through_once(searches: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each server, whatever the path, for all sessions; and again once any variable has changed."""
    monkeypatch.setenv("https_proxy", PROXY)
    for _ in range(3):
        for path in ("", "/v1", "/v2?key=1"):
            for session in _sessions()[0], llmwatch.Session():
                found = session.merge_environment_settings(f"https://provider.test{path}", {}, None, None, None)
                assert found["proxies"] == {"https": PROXY}
    assert searches == ["https://provider.test"]
    monkeypatch.setenv("https_proxy", OTHER)
    found = session.merge_environment_settings("https://provider.test", {}, None, None, None)
    assert found["proxies"] == {"https": OTHER}
    monkeypatch.delenv("https_proxy")
    found = session.merge_environment_settings("https://provider.test", {}, None, None, None)
    assert found["proxies"] == {}
    assert len(searches) == 3


def test_a_change_of_the_result_reaches_no_other_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that changes the proxies of one call changes those of no other."""
    monkeypatch.setenv("https_proxy", PROXY)
    session, _ = _sessions()
    for _ in range(3):
        given: dict[str, str] = {}
        found = session.merge_environment_settings("https://provider.test", given, None, None, None)
        assert found["proxies"] == given == {"https": PROXY}
        found["proxies"]["https"] = given["https"] = OTHER


def test_another_environment_is_read_as_it_is(searches: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain dict in place of ``os.environ`` is looked through each time."""
    plain = {"https_proxy": PROXY}
    monkeypatch.setattr(os, "environ", plain)
    session, _ = _sessions()
    for proxy in (PROXY, OTHER):
        plain["https_proxy"] = proxy
        found = session.merge_environment_settings("https://provider.test", {}, None, None, None)
        assert found["proxies"] == {"https": proxy}
    assert len(searches) == 2


@pytest.mark.parametrize("what", ["the search", "the system"])
def test_other_settings_than_the_environment_are_looked_up_each_time(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A system with proxy settings of its own, and a program that replaces requests' search."""
    asked: list[str] = []

    def find(url: str, no_proxy: str | None = None) -> dict[str, str]:
        asked.append(url)
        return {"https": PROXY}

    monkeypatch.setattr(sessions, "get_environ_proxies", find)
    if what == "the system":
        monkeypatch.setattr(sender, "_FIND", find)
        monkeypatch.setattr(sender, "getproxies", dict)
    session, _ = _sessions()
    for _ in range(3):
        found = session.merge_environment_settings("https://provider.test", {}, None, None, None)
        assert found["proxies"] == {"https": PROXY}
    assert len(asked) == 3


def test_few_servers_are_kept(searches: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A crawler does not fill the memory."""
    monkeypatch.setattr(sender, "_MOST_SERVERS", 2)
    session, _ = _sessions()
    for number in range(5):
        session.merge_environment_settings(f"https://provider{number}.test", {}, None, None, None)
    assert len(sender._proxies(os.environ)) == 2
