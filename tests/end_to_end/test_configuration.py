"""Invalid settings: a ``ConfigError`` that names them, at once, and nothing sent."""

from __future__ import annotations

import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Client, ConfigError, Limits, Retry
from tests.end_to_end import calls
from tests.end_to_end.calls import asking, collect, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import PATIENCE
from tests.rows import each

ENTRY_POINTS = [stream, collect, calls.request]

LIMIT_VARIABLES = [
    *(
        f"LLMWATCH_{name}_TIMEOUT_SECONDS"
        for name in ("CONNECT", "SEND", "HEADERS", "TTFB", "FIRST_EVENT", "FIRST_CONTENT", "STALE", "PROGRESS")
    ),
    "LLMWATCH_DRAIN_TIMEOUT_SECONDS",
    "LLMWATCH_TOTAL_TIMEOUT_SECONDS",
    "LLMWATCH_DEADLINE_SECONDS",
    "LLMWATCH_TIMEOUT_SECONDS",
    "LLMWATCH_KEEPALIVE_SECONDS",
    "LLMWATCH_BACKOFF_SECONDS",
    "LLMWATCH_MAX_BACKOFF_SECONDS",
    "LLMWATCH_MAX_RETRY_AFTER_SECONDS",
    "LLMWATCH_BREAKER_SECONDS",
]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "provider.example/v1",
        "//provider.example/v1",
        "/v1/messages",
        "ftp://provider.example/",
        "file:///etc/passwd",
        "http://",
        "http:///v1",
        "https://:443/v1",
        "http://provider.example:port/",
        "http://provider.example:0/",
        "http://provider.example:99999/",
        "http://[::1/v1",
        "http://[nonsense]/",
        "http://a..b/",
        "http://.provider.example/",
        "http://" + "a" * 64 + ".example/",
        "http://*.example/",
        "http://provider example/",
        "http://exa\nmple/",
        b"http://127.0.0.1/",
        None,
        17,
    ],
    ids=repr,
)
def test_an_invalid_url_is_a_config_error(connect: Connect, url: Any) -> None:
    """Every kind of bad URL is a ``ConfigError`` about the URL, at every entry point and at once.

    The error is also a ``ValueError``.
    """
    for entry_point in ENTRY_POINTS:
        outcome = entry_point(connect(), url)
        assert isinstance(outcome.error, ConfigError), repr(outcome.error)
        assert isinstance(outcome.error, ValueError)
        assert outcome.error.field == "url"
        assert "URL" in str(outcome.error)
        assert not outcome.error.retryable
        assert outcome.elapsed < PATIENCE


@pytest.mark.parametrize("variable", LIMIT_VARIABLES)
def test_an_invalid_variable_of_seconds_is_a_config_error(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The error names the variable and its value; nothing is sent."""
    server, client = serve(), connect(retry=None)
    for value in ("soon", "-1", "nan", "inf", "1e999", "1_000", "true", "5s"):
        monkeypatch.setenv(variable, value)
        with pytest.raises(ConfigError) as caught:
            client.collect("POST", server.chat_url, json=asking())
        assert caught.value.field == variable
        assert variable in str(caught.value)
        assert value in str(caught.value)
    assert server.connections == 0
    monkeypatch.delenv(variable)
    # The environment is read at every call, so the client is as good as ever.
    assert client.collect("POST", server.chat_url, json=asking()).text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LLMWATCH_PROFILE", "fast"),
        ("LLMWATCH_MAX_ATTEMPTS", "1.5"),
        ("LLMWATCH_MAX_ATTEMPTS", "-2"),
        ("LLMWATCH_SLOW_BUT_ALIVE", "maybe"),
        ("LLMWATCH_RESEND_WITH_TOOLS", "2"),
        ("LLMWATCH_BREAKER", "many"),
        ("LLMWATCH_RETRY_BUDGET", "x"),
        ("LLMWATCH_MAX_EVENT_BYTES", "64 MiB"),
        ("LLMWATCH_MAX_EVENT_BYTES", "-1"),
    ],
)
def test_any_other_invalid_variable_is_a_config_error(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """Every entry point reads the environment, and refuses what is invalid by the name of the variable."""
    for entry_point in ENTRY_POINTS:
        server = serve()
        monkeypatch.setenv(variable, value)
        error = entry_point(connect(retry=None), server.chat_url).error
        assert isinstance(error, ConfigError)
        assert error.field == variable
        assert value in str(error)
        assert server.connections == 0


def test_an_incident_log_that_cannot_be_written(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log in a directory that never existed is an error before anything is sent.

    The error names the variable of the log.
    """
    server = serve()
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", "/does/not/exist/incidents.jsonl")
    error = stream(connect(), server.chat_url).error
    assert isinstance(error, ConfigError)
    assert error.field == "LLMWATCH_INCIDENT_LOG"
    assert str(error) == (
        "LLMWATCH_INCIDENT_LOG=/does/not/exist/incidents.jsonl is not usable: The incident log cannot be opened"
        " for appending (No such file or directory). Name a file in a directory that exists and can be written, or"
        " unset it."
    )
    assert server.connections == 0


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_a_lost_incident_log_fails_no_call(
    serve: Serve,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    entry_point: Any,
) -> None:
    """A log whose directory is removed between two calls fails none of the calls that follow.

    The logger gets one error, however many calls follow, and ``stats()`` counts the incidents that are lost. The
    log is written again once the directory is back.
    """
    log = tmp_path / "logs" / "incidents.jsonl"
    log.parent.mkdir()
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", str(log))
    server = serve(*["reset-before-response", "healthy"] * 5)
    client = connect()
    entry_point(client, server.chat_url).done("recovered")
    shutil.rmtree(log.parent)
    lost = llmwatch.stats()["incidents_lost"]
    with caplog.at_level(logging.WARNING, "llmwatch"):
        for _ in range(3):
            entry_point(client, server.chat_url).done("recovered")
        assert [(one.levelno, str(log) in one.getMessage()) for one in caplog.records] == [(logging.ERROR, True)]
        assert "No such file or directory" in caplog.text
        log.parent.mkdir()
        entry_point(client, server.chat_url).done("recovered")
    assert caplog.records[-1].getMessage().endswith("is written again; meanwhile 3 incidents were lost")
    assert llmwatch.stats()["incidents_lost"] == lost + 3
    assert len(caplog.records) == 2
    assert len(log.read_text().splitlines()) == 1


def test_a_removed_working_directory_fails_no_call(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A log with a path relative to a directory that is removed is lost like any other."""
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(there)
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", "incidents.jsonl")
    server = serve(*["reset-before-response", "healthy"] * 2)
    client = connect()
    stream(client, server.chat_url).done("recovered")
    shutil.rmtree(there)
    stream(client, server.chat_url).done("recovered")
    assert [str(there / "incidents.jsonl") in one.getMessage() for one in caplog.records] == [True]


def test_a_working_directory_without_a_writable_log_fails_no_call(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process that moves to a directory in which its log cannot be opened keeps the file that it had.

    A name that was never valid is refused there.
    """
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "there" / "incidents.jsonl").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", "incidents.jsonl")
    server = serve(*["reset-before-response", "healthy"] * 2)
    client = connect()
    stream(client, server.chat_url).done("recovered")
    monkeypatch.chdir(tmp_path / "there")
    stream(client, server.chat_url).done("recovered")
    assert len((tmp_path / "here" / "incidents.jsonl").read_text().splitlines()) == 2
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", "./incidents.jsonl")
    assert isinstance(stream(client, server.chat_url).error, ConfigError)


@each(
    ("make", "field"),
    [
        (lambda: Limits(ttfb=-1), "ttfb"),
        (lambda: Limits(stale=float("nan")), "stale"),
        (lambda: Limits(stale=True), "stale"),
        (lambda: Limits(total="60"), "total"),
        (lambda: Limits(ttfb=90, total=60), "ttfb"),
        (lambda: Limits.single(float("inf")), "single_seconds"),
        (lambda: Retry(max_attempts=1.5), "max_attempts"),
        (lambda: Retry(backoff=-0.1), "backoff"),
        (lambda: Client(dialect="esperanto"), "dialect"),
        (lambda: Client(profile="fast"), "profile"),
        (lambda: Client(keepalive=-1), "keepalive"),
        (lambda: Client(max_event=-1), "max_event"),
        (lambda: Client(max_event=1.5), "max_event"),
        (lambda: llmwatch.Session(max_event=True), "max_event"),
        (lambda: llmwatch.mount(requests.Session(), max_event="1"), "max_event"),
        (lambda: llmwatch.install(max_event=-1), "max_event"),
        (lambda: llmwatch.sdk.Transport(max_event=-1), "max_event"),
        (lambda: llmwatch.sdk.openai(api_key="k", max_event=-1), "max_event"),
        (lambda: llmwatch.sdk.anthropic(api_key="k", max_event=-1), "max_event"),
        (lambda: Client(notice_every=0), "notice_every"),
    ],
)
def test_an_invalid_argument_is_a_config_error(make: Any, field: str) -> None:
    """An argument's ``ConfigError`` names the argument, and survives pickling."""
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.field == field
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.field) == (ConfigError, str(caught.value), field)


@pytest.mark.parametrize(
    "timeout", [-1, "soon", (1, 2, 3), (1, -2), True, pytest.param(object(), id="object")], ids=repr
)
def test_an_invalid_timeout_is_a_config_error(serve: Serve, connect: Connect, timeout: Any) -> None:
    """``timeout=`` is read as strictly as the limits that it stands for, and nothing is sent."""
    server = serve()
    assert isinstance(stream(connect(), server.chat_url, timeout=timeout).error, ConfigError)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"colour": "red"}, TypeError),
        ({"cancel": object()}, TypeError),
        ({"limits": {"ttfb": 1}}, TypeError),
        ({"retry": 3}, TypeError),
    ],
)
def test_a_mistake_of_the_calling_program_is_a_type_error(
    serve: Serve, connect: Connect, options: dict[str, Any], kind: type[Exception]
) -> None:
    """A value of the wrong type is a plain ``TypeError``, and nothing is sent."""
    server = serve()
    with pytest.raises(kind):
        stream(connect(), server.chat_url, **options)
    assert server.connections == 0


def test_a_body_that_is_no_json_is_refused_before_anything_is_sent(serve: Serve, connect: Connect) -> None:
    """A body that cannot be written as JSON raises the exception of requests, in the caller's thread."""
    server = serve()
    with pytest.raises(requests.exceptions.InvalidJSONError):
        stream(connect(), server.chat_url, json={"n": float("nan")})
    assert server.connections == 0


@pytest.mark.parametrize("name", ["Author\u00eft\u00e9", "X-Bad\r\nInjected"])
def test_an_invalid_header_is_a_config_error_without_its_value(serve: Serve, connect: Connect, name: str) -> None:
    """A header that cannot be sent is a ``ConfigError`` about headers, without the header's value in it."""
    server = serve()
    error = stream(connect(), server.chat_url, headers={name: "s3cret"}).error
    assert isinstance(error, ConfigError), repr(error)
    assert error.field == "headers"
    assert "s3cret" not in str(error)
    assert server.requests == []


def test_a_bundle_that_does_not_exist_is_a_configuration_error(connect: Connect) -> None:
    """A ``verify=`` that names no file is a ``ConfigError``, not a failure of the provider."""
    error = stream(connect(), "https://127.0.0.1:9/", verify="/does/not/exist.pem").error
    assert isinstance(error, ConfigError)
    assert error.field == "verify"


def test_making_a_client_opens_no_connection(serve: Serve) -> None:
    """A client and a stream that is not entered open no connection and send no request."""
    server = serve()
    before = llmwatch.stats()["workers"]
    with Client() as client:
        client.stream("POST", server.chat_url, json=asking())
        assert llmwatch.stats()["workers"] == before
    assert server.connections == 0
