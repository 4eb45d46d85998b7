"""The call log of the environment, written by real calls through every entry point."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import urllib3

import llmwatch
from llmwatch import CallLog, CallRecord, Client, ConfigError, Limits, Retry
from llmwatch.engine import settings
from tests.end_to_end.calls import asking, collect, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT, PATIENCE
from tests.rows import each

QUICK = Retry(max_attempts=2, backoff=0.01)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that ``LLMWATCH_CALL_LOG`` names."""
    monkeypatch.setenv("LLMWATCH_CALL_LOG", str(tmp_path / "calls.jsonl"))
    return tmp_path / "calls.jsonl"


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    """No test leaves an installation or a label."""
    with llmwatch.label(None):
        yield
    llmwatch.uninstall()


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log that is known in this process, once all of them are written."""
    sink = settings._opened[CallLog, str(path)]
    assert sink.flush(PATIENCE)
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def _client(how: str) -> Callable[[str], object]:
    def ask(url: str) -> None:
        with Client(retry=QUICK) as client:
            if how == "stream":
                with client.stream("POST", url, json=asking()) as events:
                    list(events)
            else:
                getattr(client, how)("POST", url, json=asking())

    return ask


def _session(url: str) -> None:
    with llmwatch.Session(retry=QUICK) as session:
        session.post(url, json=asking())


def _mounted(url: str) -> None:
    with requests.Session() as session:
        llmwatch.mount(session, retry=QUICK).post(url, json=asking())


def _openai(url: str) -> None:
    with llmwatch.sdk.openai(retry=QUICK, api_key="k", base_url="http://unused.example") as client:
        client.post(url, body=asking(), cast_to=object)


def _anthropic(url: str) -> None:
    with llmwatch.sdk.anthropic(retry=QUICK, api_key="k", base_url="http://unused.example") as client:
        client.post(url, body=asking(), cast_to=object)


def _transport(url: str) -> None:
    with httpx.Client(transport=llmwatch.sdk.Transport(retry=QUICK)) as client:
        client.post(url, json=asking())


def _posted(url: str) -> int:
    """What a function that is not to be changed does: a call, and an exception of its own."""
    with requests.Session() as session:
        status = session.post(url, json=asking()).status_code
    if status != 200:
        raise ValueError(status)
    return status


def _called(url: str) -> None:
    llmwatch.call(_posted, url, retry=QUICK)


def _iterated(url: str) -> None:
    list(llmwatch.iterate(lambda: iter([_posted(url)]), retry=QUICK))


def _installed(post: Callable[[str], object]) -> Callable[[str], object]:
    def ask(url: str) -> None:
        llmwatch.install(retry=QUICK)
        post(url)

    return ask


def _urllib3(url: str) -> None:
    with urllib3.PoolManager() as pool:
        pool.request("POST", url, json=asking()).read()


def _urllib(url: str) -> None:
    body = json.dumps(asking()).encode()
    with urllib.request.urlopen(
        urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=PATIENCE
    ) as answer:
        answer.read()


WAYS: dict[str, tuple[str, Callable[[str], object]]] = {
    "stream": ("stream", _client("stream")),
    "collect": ("collect", _client("collect")),
    "request": ("request", _client("request")),
    "Session": ("session", _session),
    "mount": ("session", _mounted),
    "sdk.openai": ("sdk.openai", _openai),
    "sdk.anthropic": ("sdk.anthropic", _anthropic),
    "sdk.Transport": ("httpx", _transport),
    "call": ("wrap", _called),
    "iterate": ("wrap", _iterated),
    "install, requests": ("requests", _installed(lambda url: requests.post(url, json=asking()))),
    "install, httpx": ("httpx", _installed(lambda url: httpx.post(url, json=asking()))),
    "install, urllib3": ("urllib3", _installed(_urllib3)),
    "install, urllib": ("urllib", _installed(_urllib)),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_entry_point_writes_a_line_for_each_call(serve: Serve, log: Path, way: str) -> None:
    """A good call and a failed one are a line each, with label, process, origin and outcome."""
    name, ask = WAYS[way]
    good, bad = serve("healthy"), serve("status:status=400")
    ask(good.chat_url)
    # A status raises only where the library raises it.
    with llmwatch.label("job-7"), contextlib.suppress(Exception):
        ask(bad.chat_url)
    first, second = lines(log)
    for line in (first, second):
        assert (line["entry_point"], line["process"]) == (name, os.getpid())
        assert CallRecord.from_json(json.dumps(line)).call_id == line["call_id"]
    assert ("label" in first, second["label"]) == (False, "job-7")
    assert first["outcome"] == "done"
    if name == "wrap":
        return
    assert [line["origin"] for line in (first, second)] == [good.url, bad.url]
    assert (second["outcome"], second["attempts"][-1]["status"]) == ("failed", 400)
    (attempt,) = first["attempts"]
    assert (attempt["status"], attempt["model"]) == (200, asking()["model"])
    assert first["prompt_bytes"] > 50
    assert 0 < attempt["timings"]["sent"] < attempt["timings"]["headers"] <= attempt["timings"]["first_byte"]
    assert first["limits"]["connect"]["value"] > 0
    assert first["limits"]["connect"]["source"]


def test_a_stream_has_its_counts(serve: Serve, connect: Connect, log: Path) -> None:
    """Events, gaps, the bytes of its content and the provider's counts of tokens."""
    client, server = connect(), serve("healthy")
    outcome = stream(client, server.chat_url)
    answer = client.collect("POST", server.chat_url, json=asking())
    first, second = lines(log)
    (attempt,) = first["attempts"]
    assert attempt["content_bytes"] == len(outcome.text.encode())
    assert attempt["events"]["text"] == sum(bool(event.text) for event in outcome.events)
    assert 0 < attempt["longest_gap"] < attempt["elapsed"]
    assert attempt["timings"]["first_byte"] <= attempt["timings"]["first_content"] <= attempt["timings"]["last_byte"]
    assert answer.usage is not None
    counted = {"input_tokens": answer.usage.input_tokens, "output_tokens": answer.usage.output_tokens}
    assert counted.items() <= second["attempts"][0]["usage"].items()


def test_a_kill_and_a_resend_are_in_the_line(serve: Serve, connect: Connect, log: Path) -> None:
    """Each attempt has its cause, and the decision between two of them its wait."""
    server = serve("silent", "healthy", "stall-after-content")
    client = connect(limits=Limits(ttfb=LIMIT, stale=LIMIT), retry=QUICK)
    stream(client, server.chat_url).done("recovered")
    stream(client, server.chat_url).failed(llmwatch.WatchTimeout)
    recovered, failed = lines(log)
    assert [one.get("cause") for one in recovered["attempts"]] == ["watchdog_timeout", None]
    assert recovered["attempts"][0]["limit"] == "ttfb"
    assert recovered["attempts"][0]["limit_seconds"] == pytest.approx(LIMIT)
    assert recovered["limits"]["ttfb"] == {"value": LIMIT, "source": "argument of the client"}
    (decision,) = recovered["decisions"]
    assert (decision["decision"], decision["carried_out"]) == ("retry", True)
    assert 0 <= decision["wait"] <= 0.01
    assert (failed["outcome"], failed["cause"], failed["attempts"][0]["limit"]) == (
        "failed",
        "watchdog_timeout",
        "stale",
    )


def test_a_cancelled_call_is_a_line(serve: Serve, connect: Connect, log: Path) -> None:
    """So is a stream that is left before its end."""
    with connect().stream("POST", serve("stall-after-content").chat_url, json=asking()) as events:
        next(events)
    (line,) = lines(log)
    assert line["outcome"] == "cancelled"


def test_the_variable_sets_the_size_of_the_files(
    serve: Serve, connect: Connect, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``LLMWATCH_LOG_MAX_BYTES`` holds from the next call on; files are for their owner alone."""
    client, server = connect(), serve("healthy")
    stream(client, server.chat_url).done()
    assert len(lines(log)) == 1
    monkeypatch.setenv("LLMWATCH_LOG_MAX_BYTES", "1")
    stream(client, server.chat_url).done()
    assert len(lines(log)) == 1
    assert sorted(os.listdir(log.parent)) == ["calls.jsonl", "calls.jsonl.1"]
    assert {stat.S_IMODE(one.stat().st_mode) for one in log.parent.iterdir()} == {0o600}


@each("variable", ["LLMWATCH_CALL_LOG", "LLMWATCH_LOG_MAX_BYTES"])
def test_a_wrong_variable_is_a_config_error(
    serve: Serve, connect: Connect, log: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The error names the variable, and nothing is sent."""
    monkeypatch.setenv(variable, "/does/not/exist/calls" if variable == "LLMWATCH_CALL_LOG" else "64M")
    server = serve()
    with pytest.raises(ConfigError, match=variable) as raised:
        connect().collect("POST", server.chat_url, json=asking())
    assert raised.value.field == variable
    assert server.connections == 0


def test_without_the_variable_there_is_no_file(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    """A program that asks for no log has none."""
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        stream(connect(), serve("healthy").chat_url).done()
    finally:
        os.chdir(before)
    assert not list(tmp_path.iterdir())


def test_the_incident_log_has_the_same_fields(
    serve: Serve, connect: Connect, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each field of the call log stands in the incident log, by the same name."""
    incidents = tmp_path / "incidents.jsonl"
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", str(incidents))
    client = connect(limits=Limits(ttfb=LIMIT), retry=QUICK)
    with llmwatch.label("job-7"):
        stream(client, serve("silent", "healthy").chat_url).done("recovered")
    (short,) = lines(log)
    (long,) = map(json.loads, incidents.read_text().splitlines())

    def close(found: object, wanted: object) -> bool:
        if isinstance(found, dict):
            assert isinstance(wanted, dict)
            return all(close(value, wanted[name]) for name, value in found.items())
        if isinstance(found, list):
            assert isinstance(wanted, list)
            return len(found) == len(wanted) and all(map(close, found, wanted))
        return found == pytest.approx(wanted, abs=1e-6) if isinstance(found, float) else found == wanted

    assert close(short, long)
    assert long["label"] == "job-7"


PLANTED = "planted-by-Ada"
"""Of no form that a scrubber knows."""


@pytest.mark.parametrize(
    "script",
    [
        "healthy",
        "silent",
        "stall-after-content",
        f"status:status=401,body=Your key {PLANTED} is not known",
        f"status:status=503,body={PLANTED}",
        f"error-event:message={PLANTED} is overloaded",
        f"redirect-302:location=http://127.0.0.1:9/{PLANTED}?key={PLANTED}",
    ],
)
def test_nothing_of_prompt_answer_url_header_and_error_is_in_a_log(
    serve: Serve,
    connect: Connect,
    log: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
) -> None:
    """A planted text is in no line of the call log, the incident log and the logger."""
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", str(log.parent / "incidents"))
    server = serve(script)
    body = asking(messages=[{"role": "user", "content": PLANTED}], user=PLANTED)
    scheme, _, rest = server.chat_url.partition("://")
    url = f"{scheme}://{PLANTED}:{PLANTED}@{rest}?key={PLANTED}#{PLANTED}"
    client = connect(limits=Limits(ttfb=LIMIT, stale=LIMIT), retry=QUICK)
    with caplog.at_level(logging.DEBUG, "llmwatch"):
        for entry_point in (stream, collect, request):
            entry_point(client, url, json=body, headers={"Authorization": PLANTED, "X-Api-Key": PLANTED})
    assert PLANTED in str(server.requests[0].body)
    assert len(lines(log)) == 3
    assert PLANTED.encode() not in log.read_bytes()
    incidents = (log.parent / "incidents").read_bytes()
    assert bool(incidents) == (script != "healthy")
    assert PLANTED.encode() not in incidents
    assert PLANTED not in "\n".join(f"{line.getMessage()} {vars(line)}" for line in caplog.records)
