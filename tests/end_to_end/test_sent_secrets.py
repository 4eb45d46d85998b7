"""A secret that was sent is in no text of llmwatch.

This holds whichever side repeats the secret and wherever it came from. The servers here know no secret: they repeat
every value that they got, in every place where the library keeps words of theirs.
"""

from __future__ import annotations

import base64
import json
import logging
import pickle
import ssl
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import requests
from requests.auth import AuthBase, HTTPDigestAuth

import llmwatch
from llmwatch import LLMWatchError, Retry
from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.sdk import Transport
from tests.end_to_end.calls import Outcome, asking, collect, request, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import BEAT, LIMIT

ENTRY_POINTS = [stream, collect, request]
SECRET = "team7-blue-4471-falcon"
OTHER = "harbor3-0815-otter"
TOOL = "transfer_funds_acme"
TRACES = ("blue-4471", "falcon", "harbor3", "3-0815-", "funds_acme")
BODY = asking(tools=[{"type": "function", "function": {"name": TOOL, "parameters": {"type": "object"}}}])


def _echoed(context: Context) -> list[str]:
    """Every value of the request: of its headers, what is encoded in them, and what its target holds."""
    values = [TOOL, context.request.target]
    for name, value in context.request.headers:
        if name.lower() in ("host", "accept", "accept-encoding", "connection", "content-type", "content-length"):
            continue
        values.append(value)
        if value.startswith("Basic "):
            values.append(base64.b64decode(value[6:]).decode())
    return values


def _message(context: Context) -> str:
    values = _echoed(context)
    return "You sent " + " and ".join([*values, *(value.rpartition(" ")[2].upper() for value in values)])


def _answer(body: bytes, *, status: int = 200, content_type: str = "", **headers: str) -> Iterator[steps.Step]:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    yield steps.Head(status, [("Content-Type", content_type), *named], "length", len(body))
    yield steps.Chunk(body)
    yield steps.End()


def _named(context: Context) -> str:
    """One of the values, for a place that holds a single word."""
    return next((value.rpartition(" ")[2] for value in _echoed(context) if "falcon" in value), "none")


def _document(context: Context) -> bytes:
    name = _named(context)
    return json.dumps({"error": {"message": _message(context), "type": f"no_{name}", "code": name.upper()}}).encode()


def _status(context: Context) -> Iterator[steps.Step]:
    name = _named(context)
    yield from _answer(
        _document(context), status=403, content_type=f"text/plain; for={name}", x_request_id=f"id-{name}"
    )


def _encoding(context: Context) -> Iterator[steps.Step]:
    yield from _answer(b"x", content_type="text/event-stream", Content_Encoding=f"x-{_named(context)}")


def _event(context: Context) -> Iterator[steps.Step]:
    said = b"event: error\ndata: " + _document(context) + b"\n\n"
    yield from _answer(said, content_type="text/event-stream", request_id=_named(context).upper())


def _page(context: Context) -> Iterator[steps.Step]:
    title = f"<html><title>{_named(context)}: {_message(context)}</title>"
    yield from _answer(title.encode(), content_type="text/html")


def _redirect(context: Context) -> Iterator[steps.Step]:
    name = _named(context)
    yield from _answer(b"", status=302, Location=f"/for/{name}/x?caller={name}")


def _broken(context: Context) -> Iterator[steps.Step]:
    yield steps.Send(f"{_message(context)}\r\n\r\n".encode())
    yield steps.Close()


PLACES: dict[str, Callable[[Context], Iterator[steps.Step]]] = {
    "status": _status,
    "encoding": _encoding,
    "event": _event,
    "page": _page,
    "redirect": _redirect,
    "no HTTP": _broken,
}


def _echoing(place: str) -> Script:
    return Script(name=f"echo in {place}", description="repeats all that it gets", play=PLACES[place])


class Token(AuthBase):
    """An auth that only the prepared request knows of."""

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers["X-Signed"] = f"v1 {SECRET}"
        return prepared


def _lender(**settings: Any) -> requests.Session:
    session = requests.Session()
    session.headers.update(settings.pop("headers", {}))
    for name, value in settings.pop("cookies", {}).items():
        session.cookies.set(name, value)
    for name, value in settings.items():
        setattr(session, name, value)
    return session


# What the client has, and what the call is given beside its body.
SOURCES: dict[str, Callable[[], tuple[requests.Session | None, dict[str, Any]]]] = {
    "header": lambda: (None, {"headers": {"X-Gateway-Key": SECRET, "Authorization": f"Bearer {OTHER}"}}),
    "cookie": lambda: (None, {"cookies": {"session": SECRET, "other": OTHER}}),
    "auth": lambda: (None, {"auth": (OTHER, SECRET)}),
    "own auth": lambda: (None, {"auth": Token()}),
    "params": lambda: (None, {"params": {"caller": SECRET}}),
    "lender's header": lambda: (_lender(headers={"X-Gateway-Key": SECRET}), {}),
    "lender's cookie": lambda: (_lender(cookies={"session": SECRET}), {}),
    "lender's auth": lambda: (_lender(auth=(OTHER, SECRET)), {}),
    "lender's params": lambda: (_lender(params={"caller": SECRET}), {}),
}


def _everything(outcome: Outcome, told: list[Any], caplog: pytest.LogCaptureFixture, log: Path) -> str:
    """All that llmwatch has said and written of a failed call."""
    said = [repr(one) for one in told] + [f"{one.getMessage()} {vars(one)}" for one in caplog.records]
    said += [json.dumps(one.to_dict()) for one in told if hasattr(one, "to_dict")]
    said += [log.read_text() if log.exists() else ""]
    error = outcome.error
    if error is not None:
        said += [str(error), repr(vars(error)), "".join(traceback.format_exception(error, limit=0))]
        said += [repr(error.__cause__), str(vars(pickle.loads(pickle.dumps(error))))]
    return "\n".join(said)


def _traces(said: str) -> list[str]:
    return [trace for trace in TRACES if trace.lower() in said.lower()]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    """The incident log of the environment."""
    caplog.set_level(logging.DEBUG, "llmwatch")
    path = tmp_path / "incidents.jsonl"
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", str(path))
    return path


def _run(
    entry_point: Any,
    connect: Connect,
    server: FaultServer,
    log: Path,
    caplog: pytest.LogCaptureFixture,
    url: str,
    **more: Any,
) -> str:
    session, told = more.pop("session", None), []
    client = connect(
        retry=Retry(max_attempts=1), session=session, sinks=[told.append], on_notice=told.append, notice_every=BEAT
    )
    outcome = entry_point(client, url, json=BODY, **more)
    client.close()
    if session is not None:
        session.close()
    assert outcome.error is not None or outcome.record is not None
    assert server.requests
    return _everything(outcome, [*told, outcome.record], caplog, log)


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize("place", PLACES)
def test_no_sent_secret_is_in_an_error_or_record(
    serve: Serve, connect: Connect, log: Path, caplog: pytest.LogCaptureFixture, place: str, entry_point: Any
) -> None:
    """No value or name that was sent as a secret is in an error or a record, at every entry point.

    Values of headers, cookies, credentials and parameters, of the call or of the lent session, and names of tools
    are masked in statuses, events, pages, redirects, encodings and bytes that are no HTTP.
    """
    server = serve(_echoing(place))
    for source, make in SOURCES.items():
        session, options = make()
        said = _run(entry_point, connect, server, log, caplog, server.chat_url, session=session, **options)
        assert _traces(said) == [], (source, said)
        caplog.clear()
        log.unlink(missing_ok=True)
    assert len(server.requests) >= len(SOURCES)


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_user_info_of_the_url_is_masked(
    serve: Serve, connect: Connect, log: Path, caplog: pytest.LogCaptureFixture, entry_point: Any
) -> None:
    """Name and password are masked alone, together, and in base64."""
    server = serve(_echoing("status"))
    said = _run(
        entry_point,
        connect,
        server,
        log,
        caplog,
        server.chat_url.replace("://", f"://{OTHER}:{SECRET}@") + f"?key={OTHER}",
    )
    assert server.requests[0].header("authorization") is not None
    assert _traces(said) == [], said
    assert base64.b64encode(f"{OTHER}:{SECRET}".encode()).decode().rstrip("=").lower() not in said.lower()
    assert "You sent" in said


def test_netrc_credentials_are_masked(
    serve: Serve,
    connect: Connect,
    log: Path,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """requests puts the credentials of a netrc file into the request at the last moment."""
    server = serve(_echoing("status"))
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {OTHER} password {SECRET}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    said = _run(stream, connect, server, log, caplog, server.chat_url)
    assert server.requests[0].header("authorization") is not None
    assert _traces(said) == [], said


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_credentials_of_a_proxy_are_masked(
    serve: Serve, connect: Connect, log: Path, caplog: pytest.LogCaptureFixture, entry_point: Any
) -> None:
    """Credentials of a proxy that answers in place of the provider are masked.

    The proxy repeats what the request held.
    """
    proxy = serve(_echoing("status"))
    proxies = {"http": proxy.url.replace("://", f"://{OTHER}:{SECRET}@")}
    said = _run(
        entry_point, connect, proxy, log, caplog, "http://api.example.test/v1/chat/completions", proxies=proxies
    )
    assert proxy.requests[0].header("proxy-authorization") is not None
    assert _traces(said) == [], said


def test_the_answer_to_a_challenge_is_masked(
    serve: Serve, connect: Connect, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer to a challenge is masked: a hook sends it in a second request."""

    def challenge(context: Context) -> Iterator[steps.Step]:
        headers = [("WWW-Authenticate", 'Digest realm="r", nonce="dcd98b7102dd", qop="auth"')]
        yield from context.answer([], status=401, headers=headers, framing="length")

    server = serve(Script(name="challenge", description="asks for a digest", play=challenge), _echoing("status"))
    said = _run(stream, connect, server, log, caplog, server.chat_url, auth=HTTPDigestAuth(OTHER, SECRET))
    sent = server.requests[1].header("authorization") or ""
    assert len(server.requests) == 2
    assert sent.partition('response="')[2].partition('"')[0] not in said
    assert _traces(said) == [], said


def test_new_credentials_of_a_resend_are_masked(
    serve: Serve, connect: Connect, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """New credentials that ``on_retry`` puts in place of the first are masked."""
    server = serve("status:status=503", _echoing("status"))
    told: list[Any] = []
    retry = Retry(backoff=0, on_retry=lambda resend: {"headers": {"Authorization": f"Bearer {SECRET}"}})
    outcome = collect(connect(retry=retry, sinks=[told.append]), server.chat_url, json=BODY)
    outcome.failed(llmwatch.ProviderError)
    assert len(server.requests) == 2
    assert _traces(_everything(outcome, told, caplog, log)) == []


@pytest.mark.parametrize("name", [SECRET, f"id-{SECRET.upper()}"])
def test_a_request_id_that_repeats_a_header_is_not_kept(serve: Serve, connect: Connect, name: str) -> None:
    """The record of a good call leaves out a request id that repeats a header.

    Any other request id is kept.
    """
    server = serve(_healthy(name), _healthy("req_011CTx9283"))
    client = connect()
    ids = []
    for _ in range(2):
        record = stream(client, server.chat_url, json=BODY, headers={"X-Gateway-Key": SECRET}).done()
        ids.append(record.attempts[0].request_id)
    assert ids == ["***", "req_011CTx9283"]


def _healthy(request_id: str) -> Script:
    def play(context: Context) -> Iterator[steps.Step]:
        said = {"choices": [{"index": 0, "delta": {"content": "Yes."}, "finish_reason": "stop"}]}
        body = f"data: {json.dumps(said)}\n\ndata: [DONE]\n\n".encode()
        yield from _answer(body, content_type="text/event-stream", x_request_id=request_id)

    return Script(name="healthy", description="answers", play=play)


def test_a_killed_attempt_keeps_no_request_id_that_repeats_a_header(
    serve: Serve, connect: Connect, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An attempt that ran into a limit after its headers keeps none of the repeated secrets."""

    def play(context: Context) -> Iterator[steps.Step]:
        headers = [("Content-Type", f"text/event-stream; for={SECRET}"), ("x-request-id", SECRET)]
        yield steps.Head(200, headers)
        yield steps.Hang()

    server = serve(Script(name="silent", description="sends headers", play=play))
    told: list[Any] = []
    client = connect(retry=Retry(max_attempts=1), limits=llmwatch.Limits(ttfb=LIMIT), sinks=[told.append])
    outcome = stream(client, server.chat_url, json=BODY, headers={"X-Gateway-Key": SECRET})
    outcome.failed(llmwatch.WatchTimeout)
    said = _everything(outcome, told, caplog, log)
    assert _traces(said) == [], said
    assert told[0].attempts[0].request_id == "***"


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("place", ["status", "event", "page", "no HTTP"])
def test_a_session_repeats_no_sent_secret(
    serve: Serve, log: Path, caplog: pytest.LogCaptureFixture, place: str, streaming: bool
) -> None:
    """Errors, records and the log of a session repeat no secret that was sent.

    The session's responses are the server's own.
    """
    server, told = serve(_echoing(place)), []
    with llmwatch.Session(retry=Retry(max_attempts=1), sinks=[told.append]) as session:
        session.headers["X-Gateway-Key"] = SECRET
        session.cookies.set("session", OTHER)
        outcome = Outcome()
        try:
            with session.post(server.chat_url, json={**BODY, "stream": streaming}, stream=streaming) as response:
                assert streaming or response.content
                for _ in response.iter_lines():
                    pass
        except LLMWatchError as error:
            outcome.error = error.with_traceback(None)
            outcome.error.response = outcome.error.request = None  # type: ignore[attr-defined]
    assert told
    said = _everything(outcome, told, caplog, log)
    assert _traces(said) == [], said
    assert place != "status" or told[0].attempts[0].message is not None


def test_the_sdk_transport_repeats_no_sent_secret(serve: Serve, log: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The transport for SDKs repeats no secret that was sent.

    Its headers come from another library, and it hands on an error in a body.
    """
    server, told = serve(_echoing("event")), []
    with httpx2.Client(transport=Transport(retry=Retry(max_attempts=1), sinks=[told.append])) as client:
        client.post(server.chat_url, json=BODY, headers={"X-Gateway-Key": SECRET}, auth=(OTHER, SECRET))
    (record,) = told
    assert record.outcome == "failed"
    assert _traces(_everything(Outcome(), told, caplog, log)) == []


def test_the_cause_of_an_sdk_status_error_repeats_no_secret(serve: Serve) -> None:
    """llmwatch's cause of the SDK's status error repeats no secret, as the record does not."""
    server = serve(_echoing("status"))
    with llmwatch.sdk.openai(
        api_key=SECRET, base_url=f"{server.url}/v1", max_retries=0, retry=Retry(max_attempts=1)
    ) as client:
        with pytest.raises(Exception, match="You sent") as caught:
            client.chat.completions.create(model="m", messages=BODY["messages"], tools=BODY["tools"])
        cause = caught.value.__cause__
        caught.value.__traceback__ = None
    assert isinstance(cause, llmwatch.ProviderError)
    assert "answered HTTP 403: You sent" in str(cause)
    assert cause.type == "***"
    assert _traces(f"{cause} {vars(cause)}") == []


def test_a_refused_tunnel_repeats_no_proxy_credentials(
    connect: Connect, log: Path, caplog: pytest.LogCaptureFixture, server_tls: ssl.SSLContext, serve: Serve
) -> None:
    """The credentials of a proxy that refuses a tunnel and repeats them are masked."""

    def refuse(context: Context) -> Iterator[steps.Step]:
        yield steps.Send(f"HTTP/1.1 407 {_message(context)}\r\n\r\n".encode())
        yield steps.Close()

    proxy = serve(Script(name="refuse", description="refuses a tunnel", play=refuse))
    proxies = {"https": proxy.url.replace("://", f"://{OTHER}:{SECRET}@")}
    said = _run(stream, connect, proxy, log, caplog, "https://api.example.test/v1/chat/completions", proxies=proxies)
    assert "ConnectFailed" in said
    assert _traces(said) == [], said
