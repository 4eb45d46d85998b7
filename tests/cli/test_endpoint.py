from __future__ import annotations

import pytest
import requests

from llmwatch import ConfigError
from llmwatch.cli.endpoint import Endpoint, read_key


@pytest.mark.parametrize(
    ("base", "dialect", "url", "spoken"),
    [
        ("https://h.test/v1", "auto", "https://h.test/v1/chat/completions", "openai-chat"),
        ("https://h.test/v1/", "auto", "https://h.test/v1/chat/completions", "openai-chat"),
        ("https://h.test", "auto", "https://h.test/v1/chat/completions", "openai-chat"),
        ("https://h.test/", "auto", "https://h.test/v1/chat/completions", "openai-chat"),
        ("https://h.test/api/openai", "auto", "https://h.test/api/openai/chat/completions", "openai-chat"),
        (
            "http://127.0.0.1:8000/v1/chat/completions",
            "auto",
            "http://127.0.0.1:8000/v1/chat/completions",
            "openai-chat",
        ),
        ("https://h.test/v1/responses", "auto", "https://h.test/v1/responses", "openai-responses"),
        ("https://h.test/v1", "openai-responses", "https://h.test/v1/responses", "openai-responses"),
        ("https://h.test/v1/messages", "auto", "https://h.test/v1/messages", "anthropic"),
        ("https://api.anthropic.com", "auto", "https://api.anthropic.com/v1/messages", "anthropic"),
        ("https://api.anthropic.com/v1", "auto", "https://api.anthropic.com/v1/messages", "anthropic"),
        ("https://API.Anthropic.com/v1/", "auto", "https://API.Anthropic.com/v1/messages", "anthropic"),
        ("https://h.test/proxy", "anthropic", "https://h.test/proxy/v1/messages", "anthropic"),
        ("https://h.test/v1/messages", "openai-chat", "https://h.test/v1/messages", "openai-chat"),
        (
            "https://h.test/d/x?api-version=1#top",
            "auto",
            "https://h.test/d/x/chat/completions?api-version=1",
            "openai-chat",
        ),
        ("http://[::1]:1/v1", "auto", "http://[::1]:1/v1/chat/completions", "openai-chat"),
    ],
)
def test_a_base_url_gets_its_dialects_path(base: str, dialect: str, url: str, spoken: str) -> None:
    """A base URL gets its dialect's path, and a full endpoint is used as it is.

    Anthropic's host is known.
    """
    endpoint = Endpoint.of(base, dialect)
    assert (endpoint.url, endpoint.dialect) == (url, spoken)


@pytest.mark.parametrize(
    "base", ["h.test/v1", "localhost:8000", "ftp://h.test", "http://", "http://h:port/v1", "http://[::1"]
)
def test_an_invalid_url_is_a_config_error(base: str) -> None:
    """Anything but an absolute http URL is a ConfigError."""
    with pytest.raises(ConfigError, match="URL"):
        Endpoint.of(base)


def test_the_chat_body_has_instructions_and_bound() -> None:
    """The chat dialect puts instructions into a message.

    It puts a bound where servers other than OpenAI's look for it.
    """
    body = Endpoint.of("https://h.test").body(model="m", prompt="p", system="s", max_tokens=9)
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "p"}]
    assert body == {"model": "m", "stream": True, "messages": messages, "max_tokens": 9}
    assert Endpoint.of("https://h.test").body(model="m", prompt="p") == {
        "model": "m",
        "stream": True,
        "messages": [{"role": "user", "content": "p"}],
    }
    body = Endpoint.of("https://api.openai.com/v1").body(model="m", prompt="p", max_tokens=9)
    assert body["max_completion_tokens"] == 9
    assert "max_tokens" not in body


def test_the_anthropic_body_always_has_a_bound() -> None:
    """Anthropic's dialect always has a bound, and its instructions outside the messages."""
    endpoint = Endpoint.of("https://api.anthropic.com")
    assert endpoint.headers == {"anthropic-version": "2023-06-01"}
    messages = [{"role": "user", "content": "p"}]
    assert endpoint.body(model="m", prompt="p") == {
        "model": "m",
        "stream": True,
        "max_tokens": 4096,
        "messages": messages,
    }
    body = endpoint.body(model="m", prompt="p", system="s", max_tokens=7)
    assert (body["system"], body["max_tokens"]) == ("s", 7)


def test_the_responses_body_has_its_own_fields() -> None:
    """The Responses dialect has words of its own for all of it."""
    body = Endpoint.of("https://h.test/v1/responses").body(model="m", prompt="p", system="s", max_tokens=7)
    assert body == {"model": "m", "stream": True, "input": "p", "instructions": "s", "max_output_tokens": 7}


@pytest.mark.parametrize(
    ("base", "header", "value"),
    [("https://h.test", "Authorization", "Bearer k"), ("https://api.anthropic.com", "x-api-key", "k")],
)
def test_the_key_goes_into_the_dialects_header(base: str, header: str, value: str) -> None:
    """The key goes where the dialect wants it, and nowhere without one."""
    endpoint = Endpoint.of(base)
    auth = endpoint.auth("k")
    prepared = requests.Request("POST", endpoint.url, headers=endpoint.headers, auth=auth).prepare()
    assert prepared.headers[header] == value
    assert ("Authorization" in prepared.headers) == (header == "Authorization")
    assert endpoint.auth(None) is None


def test_an_entry_in_netrc_does_not_replace_the_key(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry in .netrc for the host does not replace the key that was asked for."""
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:
        file.write("machine h.test login someone password other\n")
    monkeypatch.setenv("NETRC", netrc)
    session = requests.Session()
    prepared = session.prepare_request(
        requests.Request("POST", "https://h.test", auth=Endpoint.of("https://h.test").auth("k"))
    )
    assert prepared.headers["Authorization"] == "Bearer k"


def test_the_key_comes_from_the_named_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key comes from the variable that was named.

    It lacks the line break of the file it was pasted from.
    """
    monkeypatch.setenv("A_KEY", " sk-1\n")
    assert read_key("A_KEY") == "sk-1"
    assert read_key(None) is None


@pytest.mark.parametrize("value", [None, "", "  ", "sk-\u2013secret", "sk\r\nX-Other: 1"])
def test_a_missing_or_unusable_key_is_a_config_error(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """A key that is missing or cannot be sent is a ConfigError.

    The error names the variable and does not show the key.
    """
    monkeypatch.delenv("A_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("A_KEY", value)
    with pytest.raises(ConfigError, match="A_KEY") as caught:
        read_key("A_KEY")
    assert "sk" not in str(caught.value)


def test_a_key_in_place_of_its_variable_is_not_shown() -> None:
    """A key in place of its variable's name is an error that does not repeat the key."""
    with pytest.raises(ConfigError) as caught:
        read_key("sk-abcdefghijklmnopqrstuvwx")
    assert "name of an environment variable" in str(caught.value)
    assert "sk-" not in str(caught.value)
