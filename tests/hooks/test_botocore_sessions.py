"""Untouched clients of botocore under ``install()``, against servers on loopback."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import json
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.endpoint
import botocore.exceptions
import botocore.httpsession
import pytest
import urllib3
from botocore.stub import Stubber

import llmwatch
from llmwatch import CallLog, CallRecord, Limits, Retry
from llmwatch.engine.settings import environment_sinks
from llmwatch.faults import FaultServer, ProxyServer
from llmwatch.faults.steps import Chunk, Hang
from llmwatch.hooks import left_alone
from tests.hooks.bedrock import ANTHROPIC, CALLS, CHUNKS, MODEL, STREAMS, Recorder, chunks, client, masked
from tests.hooks.bedrock import use_dummy_keys as _use_dummy_keys
from tests.sdk.times import LONG, SOON

pytestmark = pytest.mark.usefixtures("nothing_left")

every_call = pytest.mark.parametrize("how", CALLS)
every_stream = pytest.mark.parametrize("how", STREAMS)

MODES = {"legacy": 5, "standard": 3, "adaptive": 3}
"""The requests of a call in each retry mode of botocore 1.44.8, as it is by default."""

Session = botocore.httpsession.URLLib3Session
Install = Callable[..., list[CallRecord]]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dummy keys."""
    _use_dummy_keys(monkeypatch.setenv)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits of botocore before its resends, which take no time."""
    waited: list[float] = []
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=waited.append, time=time.time))
    return waited


@pytest.fixture
def install() -> Install:
    """Install with limits that end what must end, and return the records that come."""

    def made(**limits: float) -> list[CallRecord]:
        records: list[CallRecord] = []
        given = Limits(**{"ttfb": LONG, "stale": LONG, **limits})
        llmwatch.install(limits=given, sinks=[records.append])
        return records

    return made


def script_for(how: str, script: str = "healthy") -> Any:
    """``script`` as the server plays it for the operation ``how``."""
    if how != "InvokeModelWithResponseStream":
        return script
    stalled = chunks(*map(Chunk, CHUNKS[:4]), Hang())
    return {"healthy": chunks(), "headers-then-silent": chunks(Hang()), "stall": stalled}.get(script, script)


def asked(how: str, server: Any, seen: list[Any] | None = None, **settings: Any) -> list[Any]:
    """What came of one call; ``seen`` has it although the call failed."""
    came: list[Any] = [] if seen is None else seen
    with client(server.url, **settings) as made:
        CALLS[how](made, came)
    return came


def headers_of(request: Any) -> dict[str, str]:
    """The headers of a request by their names in lower case."""
    return {name.lower(): value for name, value in request.headers}


# -- healthy calls --------------------------------------------------------------------


@every_call
def test_a_healthy_call_is_equal_to_a_bare_one(serve: Any, install: Install, how: str) -> None:
    """A healthy call gives the same events or document, with one request and one record."""
    server = serve(script_for(how))
    expected = asked(how, server)
    assert expected
    records = install()
    assert asked(how, server) == expected
    first, second = server.requests
    assert (second.method, second.target, second.body) == (first.method, first.target, first.body)
    (record,) = records
    assert (record.outcome, record.entry_point) == ("done", "botocore")
    assert record.attempts[0].dialect == ("bedrock" if how in STREAMS else None)
    if how in STREAMS:
        assert record.attempts[0].events["text"] > 1
        assert record.end == "terminal"


@every_call
def test_a_request_has_the_same_bytes(install: Install, how: str) -> None:
    """Every header, its spelling and its place, and the body are botocore's."""
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nx-amzn-ErrorType: AccessDeniedException\r\n\r\n{}"
    with Recorder(answer) as server:
        for watched in (False, True):
            if watched:
                install()
            with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
                asked(how, server)
        llmwatch.uninstall()
    bare, watched_too = map(masked, server.received)
    assert watched_too == bare
    assert b"Signature" in server.received[1]


def test_the_body_of_an_invoked_model_reads_as_botocores(serve: Any, install: Install) -> None:
    """The document can be read in pieces and in lines, and tells the place, as without llmwatch."""
    server = serve("healthy")

    def read() -> list[Any]:
        with client(server.url) as made:
            body = made.invoke_model(modelId=MODEL, body=json.dumps(ANTHROPIC))["body"]
            body.set_socket_timeout(LONG)
            seen = [body.readable(), body.tell(), body.read(7), body.tell(), next(body)[:5]]
            seen += [len(line) for line in body.iter_lines()]
            again = made.invoke_model(modelId=MODEL, body=json.dumps(ANTHROPIC))["body"]
            with again as raw:
                buffer = bytearray(9)
                seen += [raw.readinto(buffer), bytes(buffer), raw.status, raw.headers["content-type"]]
            return seen

    expected = read()
    records = install()
    assert read() == expected
    assert [record.outcome for record in records] == ["done", "done"]


def test_a_tool_stream_comes_as_it_does_bare(serve: Any, install: Install) -> None:
    """The arguments arrive whole, after a silence too."""
    expected = asked("ConverseStream", serve("tool-arguments-only"))
    assert any("toolUse" in event.get("contentBlockDelta", {}).get("delta", {}) for event in expected)
    server = serve("silent", "tool-arguments-only")
    install(ttfb=SOON)
    assert asked("ConverseStream", server) == expected
    assert len(server.requests) == 2


def test_an_exception_in_the_stream_is_botocores_to_raise(serve: Any, install: Install) -> None:
    """A frame that reports an exception raises what botocore makes of it; the record names it."""
    records = install()
    server = serve("aws-exception:tokens=2")
    seen: list[Any] = []
    with pytest.raises(botocore.exceptions.EventStreamError, match="throttlingException"):
        asked("ConverseStream", server, seen)
    assert len(seen) > 2
    assert len(server.requests) == 1
    assert [(record.outcome, record.cause) for record in records] == [("failed", "provider_error")]


# -- failures before the content ------------------------------------------------------


@every_call
@pytest.mark.parametrize("script", ["silent", "headers-then-silent"])
def test_silence_is_recovered_with_two_requests(
    serve: Any, install: Install, waits: list[float], how: str, script: str
) -> None:
    """botocore sends a second request, also where only the headers had come.

    The script sees the answer alone.
    """
    expected = asked(how, serve(script_for(how)))
    server = serve(script_for(how, script), script_for(how))
    records = install(ttfb=SOON)
    assert asked(how, server) == expected
    tries = [headers_of(request)["amz-sdk-request"].partition(";")[0] for request in server.requests]
    assert tries == ["attempt=1", "attempt=2"]
    assert len(waits) == 1
    (record,) = records
    assert (record.outcome, len(record.attempts), record.entry_point) == ("recovered", 2, "botocore")
    (decision,) = record.decisions
    assert (decision.decision, decision.carried_out, decision.outcome) == ("retry", True, "recovered")


def test_the_requests_of_one_call_are_logged_as_one(
    serve: Any,
    install: Install,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A resend of botocore's has a line with the call's id, and the call one line in its log."""
    monkeypatch.setenv("LLMWATCH_CALL_LOG", str(tmp_path / "calls"))
    records = install(ttfb=SOON)
    with caplog.at_level(logging.INFO, "llmwatch"):
        asked("ConverseStream", serve("silent", "healthy"))
    (record,) = records
    said = [line.llmwatch for line in caplog.records if hasattr(line, "llmwatch")]
    assert [(line["event"], line["attempt"]) for line in said] == [("kill", "1 of 3"), ("resend", "2 of 3")]
    assert {line["call_id"] for line in said} == {record.call_id}
    assert len(waits) == 1
    (log,) = environment_sinks(os.environ)[1]
    assert isinstance(log, CallLog)
    assert log.flush(LONG)
    (line,) = (tmp_path / "calls").read_text().splitlines()
    assert CallRecord.from_json(line).call_id == record.call_id


def test_the_second_request_has_a_signature_of_its_own(
    serve: Any, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore dates and signs each request anew: nothing of the first one's is sent again."""
    now = datetime(2026, 1, 1)
    moments = iter(now + timedelta(minutes=step) for step in range(9))
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *args, **kwargs: next(moments))
    server = serve("silent", "healthy")
    install(ttfb=SOON)
    asked("ConverseStream", server)
    first, second = map(headers_of, server.requests)
    assert (first["x-amz-date"], second["x-amz-date"]) == ("20260101T000000Z", "20260101T000100Z")
    assert first["authorization"].partition("Signature=")[2] != second["authorization"].partition("Signature=")[2]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["ConverseStream", "Converse"])
def test_the_number_of_requests_is_botocores(
    serve: Any, install: Install, waits: list[float], mode: str, how: str
) -> None:
    """In each retry mode botocore makes as many requests as without llmwatch.

    The error is of both.
    """
    server = serve("silent")
    records = install(ttfb=SOON)
    with pytest.raises(botocore.exceptions.ReadTimeoutError) as caught:
        asked(how, server, retries={"mode": mode})
    error = caught.value
    assert isinstance(error, llmwatch.WatchTimeout)
    assert (error.limit, error.retryable) == ("ttfb", True)
    assert len(server.requests) == MODES[mode]
    assert len(waits) == MODES[mode] - 1
    (record,) = records
    assert (record.outcome, record.cause) == ("failed", "watchdog_timeout")
    assert [attempt.limit for attempt in record.attempts] == ["ttfb"] * MODES[mode]
    assert [decision.carried_out for decision in record.decisions] == [True] * (MODES[mode] - 1) + [False]
    assert error.record == record


def test_max_attempts_of_the_config_counts(serve: Any, install: Install) -> None:
    """``max_attempts`` of botocore's own retries decides, and llmwatch's ``Retry`` adds nothing."""
    server = serve("silent")
    llmwatch.install(limits=Limits(ttfb=SOON), retry=Retry(max_attempts=5, backoff=0.01))
    with pytest.raises(llmwatch.WatchTimeout) as caught:
        asked("ConverseStream", server, retries={"mode": "standard", "total_max_attempts": 2})
    assert len(server.requests) == 2
    recovery = caught.value.recovery
    assert recovery is not None
    assert (recovery.decision, recovery.reason, recovery.safe) == ("stop", "left_to_library", True)


@pytest.mark.parametrize("script", ["reset-before-response", "fin-before-response", "reset-mid-stream:tokens=0"])
def test_a_connection_lost_before_the_content_is_recovered(serve: Any, install: Install, script: str) -> None:
    """botocore sends again what was lost before any content, also behind the headers of a stream."""
    expected = asked("ConverseStream", serve("healthy"))
    server = serve(script, "healthy")
    records = install()
    assert asked("ConverseStream", server) == expected
    assert len(server.requests) == 2
    assert [record.outcome for record in records] == ["recovered"]


@pytest.mark.parametrize("how", ["Converse", "InvokeModel"])
def test_a_document_that_breaks_off_is_asked_for_again(serve: Any, install: Install, how: str) -> None:
    """The whole document is here before botocore has it, so that it is never half of one."""
    expected = asked(how, serve("healthy"))
    server = serve("short-length", "healthy")
    install()
    assert asked(how, server) == expected
    assert len(server.requests) == 2


def test_a_dead_pooled_connection_is_botocores_to_replace(serve: Any, install: Install) -> None:
    """A request that is lost on a reused connection goes out again as botocore's second alone."""
    server = serve("healthy", "reset-before-response", "healthy")
    install()
    with client(server.url) as made:
        for _ in range(2):
            CALLS["ConverseStream"](made, [])
    tries = [headers_of(request)["amz-sdk-request"].partition(";")[0] for request in server.requests]
    assert tries == ["attempt=1", "attempt=1", "attempt=2"]
    assert server.connections == 2


def test_a_refused_connection_is_both_errors(install: Install) -> None:
    """Without a server the error is botocore's for it and llmwatch's, after botocore's number of tries."""
    with FaultServer("healthy") as server:
        pass
    records = install()
    with pytest.raises(botocore.exceptions.EndpointConnectionError) as caught:
        asked("Converse", server)
    assert isinstance(caught.value, llmwatch.ConnectFailed)
    assert caught.value.cause == "refused"
    assert [len(record.attempts) for record in records] == [MODES["standard"]]


@every_call
@pytest.mark.parametrize("status", [500, 429, 403])
def test_an_error_status_is_botocores_to_judge(
    serve: Any, install: Install, waits: list[float], how: str, status: int
) -> None:
    """The error and the number of requests are those without llmwatch."""
    server = serve(f"status:status={status}")

    def refused() -> tuple[Any, ...]:
        before, _ = len(server.requests), waits.clear()
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            asked(how, server)
        return str(caught.value), caught.value.response["Error"], len(server.requests) - before, len(waits)

    expected = refused()
    gc.collect()  # without llmwatch the error keeps its connection until then
    assert expected[2] == (1 if status == 403 else MODES["standard"])
    records = install()
    assert refused() == expected
    assert [(record.cause, len(record.attempts)) for record in records] == [("provider_error", expected[2])]


def test_a_deadline_ends_all_of_botocores_requests(serve: Any, install: Install) -> None:
    """The deadline of the first request is that of the later ones, and its expiry is not resent."""
    server = serve("silent")
    records = install(ttfb=SOON, stale=SOON, deadline=1.5 * SOON)
    with pytest.raises(llmwatch.WatchTimeout) as caught:
        asked("ConverseStream", server)
    assert caught.value.limit == "deadline"
    assert isinstance(caught.value, botocore.exceptions.BotoCoreError)
    assert len(server.requests) == 2
    (record,) = records
    assert [attempt.limit for attempt in record.attempts] == ["ttfb", "deadline"]


def test_a_deadline_counts_through_error_statuses(serve: Any, install: Install) -> None:
    """A status that botocore resends does not begin the deadline anew."""
    server = serve("status:status=500", "silent")
    install(ttfb=SOON, stale=SOON, deadline=SOON)
    with pytest.raises(llmwatch.WatchTimeout) as caught:
        asked("ConverseStream", server)
    assert caught.value.limit == "deadline"
    assert len(server.requests) == 2
    assert caught.value.elapsed == pytest.approx(SOON, abs=SOON / 2)


def test_a_session_without_a_client_is_watched(serve: Any, install: Install) -> None:
    """Each request of botocore's bare session is a call, whose failure is told at once."""
    server = serve("silent", "healthy")
    request = signed(server)
    records = install(ttfb=SOON)
    with pytest.raises(botocore.exceptions.ReadTimeoutError):
        Session().send(request)
    assert b"messageStart" in b"".join(Session().send(request).raw.stream())
    assert [record.outcome for record in records] == ["failed", "done"]


def signed(server: Any) -> Any:
    """A signed request for a stream, which is not sent."""
    taken: list[Any] = []

    def take(request: Any) -> Any:
        taken.append(request)
        raise InterruptedError

    with client(server.url) as made, pytest.MonkeyPatch.context() as patch, contextlib.suppress(InterruptedError):
        patch.setattr(made._endpoint, "_send", take)
        CALLS["ConverseStream"](made, [])
    return taken[0]


def test_an_interrupted_wait_leaves_a_record(serve: Any, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in botocore's wait before a resend ends the call, and its failed attempt is told."""

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=interrupt, time=time.time))
    server = serve("silent")
    records = install(ttfb=SOON)
    with pytest.raises(KeyboardInterrupt):
        asked("ConverseStream", server)
    assert [(record.outcome, len(record.attempts)) for record in records] == [("failed", 1)]


def test_default_limits_are_more_patient_after_a_silence(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default ``ttfb`` of the second request is twice that of the first, as after llmwatch's resend."""
    records: list[CallRecord] = []
    llmwatch.install(limits=Limits(first_content=SOON), sinks=[records.append])
    server = serve("silent", "healthy")
    asked("ConverseStream", server)
    (record,) = records
    assert [attempt.limit for attempt in record.attempts] == ["first_content", None]
    assert record.limits["ttfb"]["value"] == 2 * 900


def test_a_cancelled_call_is_no_failure_of_botocores(serve: Any, install: Install) -> None:
    """botocore does not resend what the end of its client has ended."""
    server = serve("silent")
    install()
    caught: list[BaseException] = []

    def call() -> None:
        try:
            asked("ConverseStream", server)
        except llmwatch.LLMWatchError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    server.wait_for_requests(1)
    for one in _open_calls():
        one.cancel("user")
    thread.join()
    assert [type(error) for error in caught] == [llmwatch.Cancelled]
    assert len(server.requests) == 1


def _open_calls() -> list[Any]:
    from llmwatch.engine import call as calls

    return [one for reference in list(calls._open.values()) if (one := reference()) is not None]


# -- failures in mid-stream --------------------------------------------------------------


@every_stream
@pytest.mark.parametrize("caught_as", [botocore.exceptions.ReadTimeoutError, urllib3.exceptions.ReadTimeoutError])
def test_a_stall_in_mid_stream_ends_with_one_request(
    serve: Any, install: Install, waits: list[float], how: str, caught_as: type[Exception]
) -> None:
    """The events that came before stay, and the error is botocore's, urllib3's and llmwatch's."""
    script = "stall-after-content:tokens=3" if how == "ConverseStream" else script_for(how, "stall")
    server = serve(script)
    records = install(stale=SOON)
    seen: list[Any] = []
    with pytest.raises(caught_as) as caught:
        asked(how, server, seen)
    assert isinstance(caught.value, llmwatch.WatchTimeout)
    assert caught.value.limit == "stale"
    assert caught.value.partial
    assert len(seen) >= 4
    assert (len(server.requests), waits) == (1, [])
    assert [record.cause for record in records] == ["watchdog_timeout"]


@pytest.mark.parametrize("script", ["reset-mid-stream", "cut-chunk", "aws-cut", "aws-cut:clean=true"])
def test_a_cut_in_mid_stream_ends_with_one_request(serve: Any, install: Install, script: str) -> None:
    """A cut answer raises, also where botocore by itself would end as after a whole one."""
    server = serve(script)
    install()
    seen: list[Any] = []
    with pytest.raises(botocore.exceptions.ResponseStreamingError) as caught:
        asked("ConverseStream", server, seen)
    assert isinstance(caught.value, (llmwatch.StreamCut, llmwatch.StreamTruncated))
    assert isinstance(caught.value, urllib3.exceptions.ProtocolError)
    assert seen
    assert len(server.requests) == 1


def test_a_stream_that_is_closed_early_ends_its_call(serve: Any, install: Install) -> None:
    """``close()`` on the event stream gives the connection up."""
    server = serve("stall-after-content:tokens=3")
    records = install()
    with client(server.url) as made:
        stream = made.converse_stream(modelId=MODEL, messages=[{"role": "user", "content": [{"text": "hi"}]}])["stream"]
        next(iter(stream))
        stream.close()
        server.wait_for_closed(1)
    assert [record.outcome for record in records] == ["cancelled"]


# -- time-outs -----------------------------------------------------------------------


def test_a_read_timeout_of_the_config_bounds_silence(serve: Any, install: Install) -> None:
    """``read_timeout`` stands for ``ttfb`` and ``stale``; botocore's own default stands for nothing."""
    records: list[CallRecord] = []
    llmwatch.install(sinks=[records.append])
    server = serve("silent")
    with pytest.raises(llmwatch.WatchTimeout):
        asked("ConverseStream", server, read_timeout=SOON, retries={"total_max_attempts": 1})
    asked("ConverseStream", serve("healthy"))
    given, default = (record.limits for record in records)
    assert {given[name]["value"] for name in ("ttfb", "stale")} == {SOON}
    assert given["connect"]["value"] == default["connect"]["value"] == 10
    assert (default["ttfb"]["value"], default["ttfb"]["timeout"]) == (900, 60)


def test_a_connect_timeout_of_the_config_bounds_connect(serve: Any, install: Install) -> None:
    """``connect_timeout`` stands for ``connect``, and may only lower a limit that is set."""
    records: list[CallRecord] = []
    llmwatch.install(limits=Limits(ttfb=1.0), sinks=[records.append])
    asked("ConverseStream", serve("healthy"), connect_timeout=7, read_timeout=LONG)
    (record,) = records
    assert (record.limits["connect"]["value"], record.limits["ttfb"]["value"]) == (7, 1.0)


# -- connections ---------------------------------------------------------------------


def verdict(how: str, server: Any, **settings: Any) -> Any:
    """The number of pieces that came, or the class of botocore's error."""
    with client(server.url.replace("127.0.0.1", "localhost"), retries={"total_max_attempts": 1}, **settings) as made:
        seen: list[Any] = []
        try:
            CALLS[how](made, seen)
        except botocore.exceptions.BotoCoreError as error:
            return next(cls for cls in type(error).__mro__ if cls.__module__ == "botocore.exceptions")
        return len(seen)


def test_the_sessions_own_trust_decides(
    serve: Any, install: Install, server_tls: ssl.SSLContext, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verdicts about a certificate are botocore's, with ``verify=`` and with the variable that it reads.

    What requests reads (``REQUESTS_CA_BUNDLE``) does not count for a model call where botocore's own names another.
    """
    server = serve("healthy", tls=server_tls)

    def verdicts() -> list[Any]:
        seen = [verdict("ConverseStream", server, verify=verify) for verify in (bundle, None, False)]
        with monkeypatch.context() as context:
            context.setenv("AWS_CA_BUNDLE", bundle)
            return [*seen, verdict("ConverseStream", server), verdict("Converse", server)]

    with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        expected = verdicts()
    assert expected[1] is botocore.exceptions.SSLError
    assert [type(one) for one in expected] == [int, type, int, int, int]
    records = install()
    with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        assert verdicts() == expected
    assert [record.outcome for record in records] == ["done", "failed", "done", "done", "done"]


def test_a_client_certificate_is_shown(
    serve: Any, install: Install, authority: Any, bundle: str, tmp_path: Any
) -> None:
    """A server that asks for a certificate gets that of ``client_cert``, and refuses a client without."""
    path = str(tmp_path / "client.pem")
    authority.issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    server = serve("healthy", tls=context)
    records = install()
    assert verdict("ConverseStream", server, verify=bundle, client_cert=path) > 3
    assert issubclass(verdict("ConverseStream", server, verify=bundle), botocore.exceptions.BotoCoreError)
    assert [record.outcome for record in records] == ["done", "failed"]


def test_the_sessions_own_proxy_is_used(
    serve: Any, install: Install, server_tls: ssl.SSLContext, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of the Config and that of the environment are used with their credentials.

    NO_PROXY counts as botocore reads it.
    """
    server = serve("healthy", tls=server_tls)
    records = install()
    with ProxyServer() as proxy:
        address = f"http://user:secret@{proxy.netloc}"
        assert verdict("ConverseStream", server, verify=bundle, proxies={"https": address}) > 3
        (connect,) = proxy.requests
        assert dict(connect.headers)["Proxy-Authorization"] == "Basic dXNlcjpzZWNyZXQ="
        monkeypatch.setenv("HTTPS_PROXY", address)
        assert verdict("ConverseStream", server, verify=bundle) > 3
        assert proxy.connects == 2
        monkeypatch.setenv("NO_PROXY", "localhost")
        assert verdict("ConverseStream", server, verify=bundle) > 3
        assert proxy.connects == 2
    assert len(server.requests) == 3
    assert [record.outcome for record in records] == ["done"] * 3
    with ProxyServer("refuse") as refusing:
        monkeypatch.delenv("NO_PROXY")
        found = verdict("ConverseStream", server, verify=bundle, proxies={"https": f"http://{refusing.netloc}"})
    assert found is botocore.exceptions.ProxyConnectionError


def test_a_proxy_without_tls_gets_whole_urls(serve: Any, install: Install) -> None:
    """Without TLS the proxy gets the whole URL and its credentials with the request itself."""
    server = serve("silent", "healthy")
    records = install(ttfb=SOON)
    endpoint = SimpleNamespace(url="http://bedrock.example:8080")
    assert len(asked("ConverseStream", endpoint, proxies={"http": f"http://user:secret@{server.netloc}"})) > 3
    for request in server.requests:
        assert request.target.startswith("http://bedrock.example:8080/model/")
        assert headers_of(request)["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ="
    (record,) = records
    assert record.outcome == "recovered"
    assert "secret" not in record.to_json()


def test_connections_are_kept_and_closed_with_the_client(serve: Any, install: Install) -> None:
    """A client reuses its connection; ``close()`` and ``uninstall()`` close it."""
    install()
    for end in ("close", "uninstall"):
        server = serve("healthy")
        with contextlib.ExitStack() as stack:
            made = stack.enter_context(client(server.url, max_pool_connections=1))
            for _ in range(3):
                CALLS["ConverseStream"](made, [])
            assert server.connections == 1
            pools = vars(made._endpoint.http_session)["_llmwatch_adapter"].poolmanager.pools
            assert {pools.get(key).pool.maxsize for key in pools.keys()} == {1}  # noqa: SIM118
            if end == "uninstall":
                llmwatch.uninstall()
                server.wait_for_closed(1)
        server.wait_for_closed(1)


def test_clients_that_are_made_and_dropped_leave_nothing(serve: Any, install: Install) -> None:
    """Sessions that are dropped unclosed leave no connection, descriptor or thread."""
    server = serve("healthy")
    install()
    request = signed(server)

    def one() -> None:
        answer = Session().send(request)
        assert b"".join(answer.raw.stream())

    one()
    gc.collect()
    server.wait_for_closed(1)
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(100):
        one()
    server.wait_for_closed(101)
    assert len(os.listdir("/proc/self/fd")) <= before[0]
    assert threading.active_count() <= before[1]


def test_a_forked_child_watches_with_connections_of_its_own(serve: Any, install: Install) -> None:
    """The child's call is answered on a new connection, and the parent's connection is still good."""
    server = serve("healthy")
    install()
    with client(server.url) as made:
        CALLS["ConverseStream"](made, [])
        child = os.fork()
        if not child:
            code = 1
            try:
                seen: list[Any] = []
                CALLS["ConverseStream"](made, seen)
                code = 0 if len(seen) > 3 else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        CALLS["ConverseStream"](made, [])
    assert len(server.requests) == 3
    assert server.connections == 2


# -- what is left alone ------------------------------------------------------------------

_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: 36\r\nx-amz-request-id: 1\r\n\r\n"
    b"<Result><Name>b</Name></Result>     "
)


def _everything_else(url: str) -> list[Any]:
    """Calls of services that are no models' calls, and what came of them."""
    seen: list[Any] = []
    with client(url, "s3", s3={"addressing_style": "path"}) as s3:
        s3.put_object(Bucket="b", Key="a/k.txt", Body=b"text", Metadata={"Own": "1"})
        s3.put_object(Bucket="b", Key="file", Body=io.BytesIO(b"0123456789" * 4000))
        body = s3.get_object(Bucket="b", Key="k", Range="bytes=0-9")["Body"]
        seen += [body.read(4), body.tell(), list(body.iter_chunks(9))]
        seen.append(s3.list_objects_v2(Bucket="b")["Name"])
        s3.delete_object(Bucket="b", Key="k")
    with client(url, "lambda") as functions:
        # The conversation is the function's, which may do anything.
        payload = {"model": "m", "messages": ANTHROPIC["messages"]}
        seen.append(functions.invoke(FunctionName="f", Payload=json.dumps(payload))["Payload"].read())
    with client(url) as models, contextlib.suppress(botocore.exceptions.ClientError):
        # Another operation of the same client.
        models.apply_guardrail(
            guardrailIdentifier="g", guardrailVersion="1", source="INPUT", content=[{"text": {"text": "x"}}]
        )
    return seen


def test_other_requests_go_byte_for_byte_as_before(install: Install) -> None:
    """botocore's own pools send other requests, uploads and ``Expect`` included. No record is made."""
    with Recorder(_ANSWER) as server:
        expected = _everything_else(server.url)
        bare = list(map(masked, server.received))
        server.received.clear()
        records = install()
        assert _everything_else(server.url) == expected
        watched = list(map(masked, server.received))
    assert len(bare) == 7
    assert any(b"100-continue" in request for request in bare)
    assert watched == bare
    assert records == []
    assert left_alone.counts() == {"botocore": {left_alone.OTHER: 7}}


def test_a_file_as_the_body_is_left_alone_and_said_once(
    serve: Any, install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that botocore reads while it sends goes botocore's way; the log says so, once."""
    server, records = serve("healthy"), install()
    with client(server.url) as made:
        for _ in range(2):
            made.invoke_model(modelId=MODEL, body=io.BytesIO(json.dumps(ANTHROPIC).encode()))["body"].read()
    assert len(server.requests) == 2
    assert records == []
    assert [record.getMessage() for record in caplog.records] == [
        "llmwatch: a model call through botocore is not watched: a file as its body. Pass the body as bytes."
    ]


def test_stand_ins_of_botocores_own_get_their_calls(install: Install) -> None:
    """A ``Stubber`` and a handler of ``before-send`` (moto) answer before a request comes to the session."""
    answer = {"output": {"message": {"role": "assistant", "content": [{"text": "stub"}]}}, "stopReason": "end_turn"}
    usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
    records = install()
    with client("http://127.0.0.1:1") as made:
        seen: list[Any] = []
        with Stubber(made) as stubber:
            stubber.add_response("converse", {**answer, "usage": usage, "metrics": {"latencyMs": 1}})
            CALLS["Converse"](made, seen)
        raw = SimpleNamespace(stream=lambda: iter([json.dumps(answer).encode()]))
        response = botocore.awsrequest.AWSResponse("http://127.0.0.1:1", 200, {}, raw)
        made.meta.events.register("before-send.bedrock-runtime", lambda **_: response)
        CALLS["Converse"](made, seen)
    assert [said["output"] for said in seen] == [answer["output"]] * 2
    assert records == []


def test_stand_ins_for_the_network_get_their_calls(
    serve: Any, install: Install, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another package's connections, and another package's ``send`` below llmwatch's, get every call."""
    server = serve("healthy")
    pool = botocore.awsrequest.AWSHTTPConnectionPool

    class Recorded(pool.ConnectionCls):  # type: ignore[misc, name-defined]
        """A connection that records and replays."""

    with monkeypatch.context() as context:
        context.setattr(pool, "ConnectionCls", Recorded)
        records = install()
        assert asked("ConverseStream", server)
        llmwatch.uninstall()
    original = vars(Session)["send"]
    spans: list[str] = []

    def theirs(self: Any, request: Any) -> Any:
        spans.append(request.url)
        return original(self, request)

    monkeypatch.setattr(Session, "send", theirs)
    install()
    assert asked("ConverseStream", server)
    llmwatch.uninstall()
    assert vars(Session)["send"] is theirs
    assert (len(spans), len(server.requests)) == (1, 2)
    assert records == []
    assert caplog.records == []
    counted = left_alone.counts()["botocore"]
    assert counted == {"a stand-in for the network": 1, "another package's send": 1}


# -- install and uninstall ------------------------------------------------------------------


def test_uninstall_restores_the_very_objects() -> None:
    """``uninstall`` puts the very objects back, and so does an ``install`` without botocore."""
    places = [(Session, "send"), (Session, "close"), (botocore.endpoint.Endpoint, "make_request")]
    before = [vars(owner)[name] for owner, name in places]

    def changed() -> list[bool]:
        return [vars(owner)[name] is not was for (owner, name), was in zip(places, before, strict=True)]

    for _ in range(3):
        llmwatch.install(libraries=["botocore"])
        llmwatch.install(libraries=("botocore",))
        assert changed() == [True] * 3
        llmwatch.uninstall()
        assert changed() == [False] * 3
    llmwatch.install()
    llmwatch.install(libraries=["requests", "httpx"])
    assert changed() == [False] * 3


def test_a_wrapper_on_top_stays_and_ours_passes_on(
    serve: Any, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wrapper and llmwatch both see a call while llmwatch is installed, afterwards the wrapper alone."""
    original = vars(Session)["send"]
    records = install()
    ours = vars(Session)["send"]
    spans: list[str] = []

    @functools.wraps(ours)
    def theirs(self: Any, request: Any) -> Any:
        spans.append(request.url)
        return ours(self, request)

    monkeypatch.setattr(Session, "send", theirs)
    server = serve("healthy")
    with client(server.url) as made:
        CALLS["ConverseStream"](made, [])
        llmwatch.uninstall()
        assert vars(Session)["send"] is theirs
        CALLS["ConverseStream"](made, [])
    assert (len(spans), len(records), len(server.requests)) == (2, 1, 2)
    monkeypatch.undo()
    llmwatch.uninstall()
    assert vars(Session)["send"] is original


def test_a_second_install_exchanges_the_settings(serve: Any, install: Install) -> None:
    """A client that is in use has the new settings from its next call on, over the same connection."""
    server = serve("healthy")
    first = install()
    with client(server.url) as made:
        CALLS["ConverseStream"](made, [])
        second = install()
        CALLS["ConverseStream"](made, [])
    assert (len(first), len(second), server.connections) == (1, 1, 1)


def test_threads_share_a_client(serve: Any, install: Install) -> None:
    """The first calls of many threads at once get adapters and answers that are whole."""
    expected = asked("ConverseStream", serve("healthy"))
    server, records = serve("healthy"), install()
    begin, answers = threading.Barrier(8), []  # type: ignore[var-annotated]
    with client(server.url) as made:

        def call() -> None:
            seen: list[Any] = []
            begin.wait()
            CALLS["ConverseStream"](made, seen)
            answers.append(seen)

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [expected] * 8
    assert [record.outcome for record in records] == ["done"] * 8
