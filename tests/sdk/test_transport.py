"""The transport by itself, under a client of httpx and under one of httpx2, over real sockets."""

from __future__ import annotations

import contextlib
import pickle
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import openai
import pytest
import requests

import llmwatch
from llmwatch import CancelToken, Limits, Retry
from llmwatch.faults import Context, ProxyServer, Script, refused_port, steps
from llmwatch.faults.catalogue import ANSWER
from llmwatch.sdk import Transport
from tests.end_to_end.calls import eventually
from tests.sdk.clients import QUICK
from tests.sdk.times import LIMIT, LONG, PATIENCE, SOON

Open = Callable[..., Any]

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Say it."}]}
STREAM = {**CHAT, "stream": True}


@pytest.fixture
def open_client(serve: Any) -> Iterator[Open]:
    """Make clients of a library on a transport; they are closed in the end, before the servers are."""
    with contextlib.ExitStack() as stack:

        def make(library: Any, *, transport: Transport | None = None, timeout: Any = None, **settings: Any) -> Any:
            made = transport or Transport(**{"limits": Limits(ttfb=LONG), "retry": QUICK, **settings})
            return stack.enter_context(library.Client(transport=made, timeout=timeout))

        yield make


def with_headers(*headers: tuple[str, str], body: bytes = b"yes") -> Script:
    """Answers with these headers beside the usual ones."""

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(body)], headers=headers, content_type="text/plain", framing="length")

    return Script(name="with-headers", description="headers of a test's choice", play=play)


# -- what goes out and what comes back ---------------------------------------


@libraries
@pytest.mark.parametrize("script", ["healthy", "gzip", "status:status=404", "unframed", "coalesced"])
@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["plain", "stream"])
def test_the_transport_is_like_the_librarys_own(
    serve: Any, open_client: Open, library: Any, script: str, body: Any
) -> None:
    """The same request arrives, but for compression of a stream, and the same response.

    The response has the same status, headers and body.
    """
    theirs, ours = serve(script), serve(script)
    with library.Client(timeout=None) as native:
        expected = native.post(theirs.chat_url, json=body)
    got = open_client(library).post(ours.chat_url, json=body)
    assert (got.status_code, got.reason_phrase, got.http_version) == (
        expected.status_code,
        expected.reason_phrase,
        expected.http_version,
    )
    assert got.content == expected.content
    if body is CHAT:
        # After the terminal event the bytes that end a compressed stream do not come.
        assert got.num_bytes_downloaded == expected.num_bytes_downloaded
    added = [(b"x-should-retry", b"false")] if got.status_code == 404 else []
    assert got.headers.raw == [*expected.headers.raw, *added]
    (first,), (second,) = theirs.requests, ours.requests
    changed = {"host": ours.netloc, **({"accept-encoding": "identity"} if body is STREAM else {})}
    assert second.headers == [(name, changed.get(name.lower(), value)) for name, value in first.headers]
    assert (second.method, second.target, second.body) == (first.method, first.target, first.body)


@libraries
def test_repeated_headers_are_kept(serve: Any, open_client: Open, library: Any) -> None:
    """Two cookies are two cookies, in their order, and the client has them both."""
    server = serve(with_headers(("Set-Cookie", "a=1"), ("X-Twice", "one"), ("Set-Cookie", "b=2"), ("X-Twice", "two")))
    client = open_client(library)
    response = client.get(server.url)
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.headers.get_list("x-twice") == ["one", "two"]
    assert dict(client.cookies) == {"a": "1", "b": "2"}
    client.get(server.url)
    assert server.requests[1].header("cookie") == "a=1; b=2"


@libraries
def test_repeated_headers_of_a_request_stay_apart(serve: Any, open_client: Open, library: Any) -> None:
    """As the library sends them, each in its place."""
    server = serve()
    open_client(library).get(server.url, headers=[("X-Twice", "one"), ("X-Between", "-"), ("x-twice", "two")])
    headers = [one for one in server.requests[0].headers if one[0].lower().startswith("x-")]
    assert headers == [("X-Twice", "one"), ("X-Between", "-"), ("x-twice", "two")]


@libraries
@pytest.mark.parametrize("target", ["/v1/models?limit=2&after=a%2Fb%20c", "/a%20b/%C3%A9?q=%3D", "/", "/x;y=1?a=b&a=c"])
def test_the_url_is_sent_unchanged(serve: Any, open_client: Open, library: Any, target: str) -> None:
    """Nothing is encoded or decoded on the way."""
    server = serve()
    open_client(library).get(server.url + target)
    assert server.requests[0].target == target


@libraries
def test_json_that_comes_in_pieces_can_be_sent_again(serve: Any, open_client: Open, library: Any) -> None:
    """The body of a model call is read once and sent twice, with its length."""
    server = serve("silent", "healthy")
    body = [b'{"model": "m", "stream": true, ', b'"messages": [{"role": "user", "content": "Say it."}]}']
    client = open_client(library, limits=Limits(ttfb=SOON))
    response = client.post(server.chat_url, content=iter(body), headers={"content-type": "application/json"})
    assert response.status_code == 200
    assert [one.body for one in server.requests] == [b"".join(body)] * 2
    assert [one.header("transfer-encoding") for one in server.requests] == [None] * 2


@libraries
def test_an_upload_is_sent_as_it_is_read(serve: Any, open_client: Open, library: Any) -> None:
    """Any other body stays a stream, and is not sent again."""
    server = serve("status:status=500", "healthy")
    response = open_client(library).post(f"{server.url}/v1/files", content=iter([b"x" * 70000, b"y"]))
    assert response.status_code == 500
    (request,) = server.requests
    assert (request.body, request.header("transfer-encoding")) == (b"x" * 70000 + b"y", "chunked")


@libraries
def test_a_form_with_a_file_is_sent_whole(serve: Any, open_client: Open, library: Any) -> None:
    """A multipart form arrives with its length and its boundary."""
    server = serve()
    open_client(library).post(f"{server.url}/v1/files", files={"file": ("a.txt", b"content")}, data={"purpose": "p"})
    (request,) = server.requests
    assert (request.header("content-length"), request.complete) == (str(request.body_bytes), True)
    assert b"content" in request.body


@libraries
def test_pieces_come_as_they_are_sent(serve: Any, open_client: Open, library: Any) -> None:
    """The first words are there while the provider still holds the rest back."""

    def play(context: Context) -> Iterator[steps.Step]:
        blocks, before = context.whole(), len(context.part(3))
        yield from context.answer([*steps.paced(blocks[:before]), steps.WaitFor("rest"), *steps.paced(blocks[before:])])

    server = serve(Script(name="gated", description="stops at a gate", play=play))
    with open_client(library).stream("POST", server.chat_url, json=STREAM) as response:
        seen = b""
        pieces = response.iter_bytes()
        while b"counts" not in seen:
            seen += next(pieces)
        assert response.extensions["llmwatch"].record is None
        server.gate("rest").set()
        seen += b"".join(pieces)
    assert seen.endswith(b"data: [DONE]\n\n")
    assert response.extensions["llmwatch"].record.outcome == "done"


@libraries
def test_a_redirect_is_the_librarys_business(serve: Any, library: Any) -> None:
    """A 307 is followed by a client that follows, each request on the transport."""
    server = serve("redirect-307", "healthy")
    with library.Client(transport=Transport(), timeout=None, follow_redirects=True) as client:
        response = client.post(server.chat_url, json=CHAT)
    assert response.status_code == 200
    assert [one.target for one in server.requests] == ["/v1/chat/completions", "/v1/chat/completions?redirected=1"]


def test_one_transport_serves_both_libraries(serve: Any) -> None:
    """A transport answers each library with its own response, over the same connection."""
    server = serve()
    with Transport() as transport:
        one = httpx.Client(transport=transport, timeout=None).post(server.chat_url, json=CHAT)
        two = httpx2.Client(transport=transport, timeout=None).post(server.chat_url, json=CHAT)
    assert (type(one), type(two)) == (httpx.Response, httpx2.Response)
    assert server.connections == 1


def test_a_request_of_another_library_is_refused() -> None:
    """A request of another library is a mistake."""
    with pytest.raises(TypeError, match="takes requests of httpx or httpx2, not Request"):
        Transport().handle_request(requests.Request("GET", "http://localhost"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"limits": 3}, TypeError),
        ({"retry": 3}, TypeError),
        ({"session": 3}, TypeError),
        ({"cancel": 3}, TypeError),
        ({"dialect": "klingon"}, llmwatch.ConfigError),
        ({"profile": "klingon"}, llmwatch.ConfigError),
        ({"keepalive": -1}, llmwatch.ConfigError),
    ],
)
def test_invalid_settings_are_refused_at_once(settings: dict[str, Any], error: type[Exception]) -> None:
    """Invalid settings are refused when the transport is made."""
    with pytest.raises(error):
        Transport(**settings)


@libraries
@pytest.mark.parametrize("script", ["html-instead", "json-instead", "error-event", "empty-stream", "malformed-event"])
def test_a_wrong_answer_is_handed_to_the_library(serve: Any, open_client: Open, library: Any, script: str) -> None:
    """The bytes and the status of what came, after one request, as the library's own transport has them."""
    found = []
    for client in (library.Client(timeout=PATIENCE), open_client(library)):
        server = serve(script)
        response = client.post(server.chat_url, json=STREAM)
        found.append((response.status_code, response.headers["content-type"], response.content))
        assert len(server.requests) == 1
        client.close()
    assert found[0] == found[1]
    assert response.extensions["llmwatch"].record.incident


@pytest.mark.parametrize("encoding", ["x-own", "gzip, x-own"])
def test_an_unrequested_encoding_is_handed_on_or_named(serve: Any, open_client: Open, encoding: str) -> None:
    """A library's own client has its bytes after one request.

    An SDK, which would see no event in them, has an error that says what they are, after one request as well.
    """

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(b"packed")], headers=[("Content-Encoding", encoding)])

    script = Script(name="packed", description="an encoding of its own", play=play)
    server = serve(script)
    with open_client(httpx2).stream("POST", server.chat_url, json=STREAM) as response:
        assert b"".join(response.iter_raw()) == b"packed"
    assert len(server.requests) == 1
    server = serve(script)
    with llmwatch.sdk.openai(base_url=f"{server.url}/v1", api_key="k") as client:
        with pytest.raises(openai.APIConnectionError, match="x-own") as caught:
            list(client.chat.completions.create(model="m", messages=[], stream=True))
        assert isinstance(caught.value.__cause__, llmwatch.NotAStream)
    assert len(server.requests) == 1


@libraries
def test_a_binary_stream_passes(serve: Any, open_client: Open, library: Any) -> None:
    """Unknown frames come as they were sent, after one request, in a model call too."""
    frames = b"\x00\x00\x00\x10\xff\xfe binary \x00" * 3

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(frames)], content_type="application/vnd.amazon.eventstream")

    server = serve(Script(name="binary", description="frames of another kind", play=play))
    url = f"{server.url}/model/m/invoke-with-response-stream"
    assert open_client(library).post(url, json=CHAT).content == frames
    assert len(server.requests) == 1


@libraries
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_a_document_is_whole_before_it_is_handed_out(
    serve: Any, open_client: Open, library: Any, content_type: str
) -> None:
    """A plain call whose document is cut is resent unseen.

    Another body is handed out as it comes, so it is not resent.
    """

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(b'{"half": '), steps.Close()], content_type=content_type, ends=False)

    server = serve(Script(name="cut", description="half of an answer", play=play), "healthy")
    post = open_client(library).post
    if content_type == "application/json":
        assert post(server.chat_url, json=CHAT).json()["choices"]
        assert len(server.requests) == 2
    else:
        with pytest.raises(llmwatch.StreamCut):
            post(server.chat_url, json=CHAT)
        assert len(server.requests) == 1


# -- what goes wrong -----------------------------------------------------------


@libraries
@pytest.mark.parametrize(
    ("script", "limits", "theirs", "ours", "count"),
    [
        ("silent", Limits(ttfb=LIMIT), "ReadTimeout", llmwatch.WatchTimeout, 3),
        ("reset-before-response", Limits(), "ReadError", llmwatch.StreamCut, 3),
        ("fin-before-response", Limits(), "RemoteProtocolError", llmwatch.StreamCut, 3),
        ("stall-after-content", Limits(stale=SOON), "ReadTimeout", llmwatch.WatchTimeout, 1),
        ("eof-without-terminal", Limits(), "RemoteProtocolError", llmwatch.StreamTruncated, 1),
        ("reset-mid-stream", Limits(), "ReadError", llmwatch.StreamCut, 1),
        ("cut-chunk", Limits(), "RemoteProtocolError", llmwatch.StreamCut, 1),
    ],
)
def test_a_failure_is_ours_and_the_librarys(
    serve: Any, open_client: Open, library: Any, script: str, limits: Limits, theirs: str, ours: Any, count: int
) -> None:
    """One exception is both, before the response and in mid-stream.

    The request is on it, and it can be pickled.
    """
    server = serve(script)
    client = open_client(library, limits=limits)
    with pytest.raises(ours) as caught:
        client.post(server.chat_url, json=STREAM)
    error: Any = caught.value
    assert isinstance(error, getattr(library, theirs))
    assert str(error.request.url) == server.chat_url
    assert error.__context__ is None
    server.wait_for_requests(count, PATIENCE)
    assert len(error.record.attempts) == len(server.requests) == count
    again: Any = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.record, again.recovery) == (str(error), error.record, error.recovery)
    with pytest.raises(RuntimeError, match=r"\.request"):
        again.request  # noqa: B018


@libraries
def test_a_refused_connection_is_the_librarys_connect_error(open_client: Open, library: Any) -> None:
    """A refused connection is the library's ConnectError, after the attempts that it is worth."""
    with refused_port() as port, pytest.raises(llmwatch.ConnectFailed) as caught:
        open_client(library).post(f"http://127.0.0.1:{port}/v1/chat/completions", json=CHAT)
    error: Any = caught.value
    assert isinstance(error, library.ConnectError)
    assert (error.cause, len(error.record.attempts)) == ("refused", 3)


@libraries
def test_a_stalled_send_is_the_librarys_write_timeout(serve: Any, open_client: Open, library: Any) -> None:
    """A send that stalls is the library's WriteTimeout."""
    server = serve("upload-stall", receive_buffer=4096)
    client = open_client(library, limits=Limits(send=LIMIT), retry=Retry.none())
    with pytest.raises(llmwatch.WatchTimeout) as caught:
        client.post(server.chat_url, json={**CHAT, "padding": "x" * (32 << 20)})
    assert isinstance(caught.value, library.WriteTimeout)
    assert caught.value.limit == "send"


@libraries
def test_a_hanging_handshake_is_the_librarys_connect_timeout(serve: Any, open_client: Open, library: Any) -> None:
    """A hang before the request is sent is the library's ConnectTimeout."""
    server = serve(tls_silent=True)
    client = open_client(library, limits=Limits(connect=LIMIT), retry=Retry.none())
    with pytest.raises(llmwatch.WatchTimeout) as caught:
        client.post(server.chat_url, json=CHAT)
    assert isinstance(caught.value, library.ConnectTimeout)
    assert caught.value.limit == "connect"


@libraries
def test_an_invalid_variable_is_a_config_error(
    serve: Any, open_client: Open, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in the settings is no failure of the network, and comes as it is."""
    server = serve()
    monkeypatch.setenv("LLMWATCH_TTFB_TIMEOUT_SECONDS", "soon")
    with pytest.raises(llmwatch.ConfigError) as caught:
        open_client(library).post(server.chat_url, json=CHAT)
    assert not isinstance(caught.value, library.HTTPError)
    assert server.requests == []


@libraries
def test_a_token_cancels_every_call_of_a_transport(serve: Any, open_client: Open, library: Any) -> None:
    """A call that is cancelled while it waits is ``Cancelled`` and not the library's error.

    So is a call that is cancelled before anything is sent.
    """
    server, token = serve("silent"), CancelToken()
    client = open_client(library, limits=Limits(ttfb=LONG), cancel=token)
    helper = threading.Thread(target=lambda: (server.wait_for_requests(1, PATIENCE), token.cancel()))
    helper.start()
    for _ in range(2):
        with pytest.raises(llmwatch.Cancelled) as caught:
            client.post(server.chat_url, json=STREAM)
        assert caught.value.by == "user"
        assert not isinstance(caught.value, library.HTTPError)
    helper.join(PATIENCE)
    assert len(server.requests) == 1


@libraries
def test_closing_a_stream_early_closes_its_connection(serve: Any, open_client: Open, library: Any) -> None:
    """A response that is closed early hangs up."""
    server, records = serve("endless-content"), []
    with open_client(library, sinks=[records.append]).stream("POST", server.chat_url, json=STREAM) as response:
        next(response.iter_bytes())
    (record,) = records
    assert (record.outcome, record.cause) == ("cancelled", "user_cancel")
    eventually(lambda: server.open_connections == 0, "the connection is closed")


# -- connections ---------------------------------------------------------------


@libraries
def test_verify_comes_from_the_session(
    serve: Any, open_client: Open, server_tls: ssl.SSLContext, bundle: str, library: Any
) -> None:
    """The session's bundle is trusted; without it the certificate is refused, once."""
    server, session = serve(tls=server_tls), requests.Session()
    with pytest.raises(llmwatch.ConnectFailed) as caught:
        open_client(library).post(server.chat_url, json=CHAT)
    assert isinstance(caught.value, library.ConnectError)
    assert (caught.value.cause, server.requests) == ("tls", [])
    session.verify = bundle
    response = open_client(library, session=session).post(server.chat_url, json=CHAT)
    assert response.json()["choices"][0]["message"]["content"] == ANSWER


@libraries
@pytest.mark.parametrize("where", ["session", "environment"])
def test_proxies_come_from_the_session(
    serve: Any,
    open_client: Open,
    server_tls: ssl.SSLContext,
    bundle: str,
    library: Any,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """The session's own proxies, or those of the environment, are on the way of every request."""
    server, session = serve("silent", "healthy", tls=server_tls), requests.Session()
    session.verify = bundle
    with ProxyServer() as proxy:
        if where == "session":
            session.proxies = {"https": proxy.url}
        else:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        client = open_client(library, session=session, limits=Limits(ttfb=SOON))
        assert client.post(server.chat_url, json=STREAM).status_code == 200
        assert proxy.connects == len(server.requests) == 2
        client.close()


@libraries
def test_a_refusing_proxy_is_the_librarys_proxy_error(
    serve: Any, open_client: Open, server_tls: ssl.SSLContext, bundle: str, library: Any
) -> None:
    """A proxy that refuses is the library's ProxyError."""
    server, session = serve(tls=server_tls), requests.Session()
    with ProxyServer("refuse", status=403) as proxy:
        session.proxies = {"https": proxy.url}
        with pytest.raises(llmwatch.ConnectFailed) as caught:
            open_client(library, session=session).post(server.chat_url, json=CHAT)
    assert isinstance(caught.value, library.ProxyError)
    assert server.requests == []


@libraries
def test_a_session_lends_nothing_else(serve: Any, open_client: Open, library: Any) -> None:
    """Its headers, auth and cookies stay with it, and it stays as it was."""
    server, session = serve(with_headers(("Set-Cookie", "a=1"))), requests.Session()
    session.headers["X-Session"] = "mine"
    session.auth = ("me", "secret")
    session.cookies.set("c", "3")
    open_client(library, session=session).get(server.url)
    (request,) = server.requests
    assert [request.header(name) for name in ("x-session", "authorization", "cookie")] == [None] * 3
    assert dict(session.cookies) == {"c": "3"}


@libraries
def test_closing_the_client_closes_the_connections(serve: Any, library: Any) -> None:
    """The idle connection goes with the client; a transport that is used again opens a new one."""
    server, transport = serve(), Transport()
    with library.Client(transport=transport, timeout=None) as client:
        client.post(server.chat_url, json=CHAT)
        assert server.open_connections == 1
    eventually(lambda: server.open_connections == 0, "the connection is closed")
    with library.Client(transport=transport, timeout=None) as client:
        client.post(server.chat_url, json=CHAT)
    assert server.connections == 2


# -- time-outs -----------------------------------------------------------------


@libraries
def test_a_smaller_timeout_lowers_the_limits(serve: Any, open_client: Open, library: Any) -> None:
    """``read`` is what a limit says of it: a lower one counts, even against a limit of an argument."""
    server = serve("silent")
    client = open_client(library, timeout=library.Timeout(LONG, read=LIMIT), limits=Limits(ttfb=LONG))
    with pytest.raises(llmwatch.WatchTimeout) as caught:
        client.post(server.chat_url, json=CHAT)
    assert (caught.value.limit, caught.value.limit_seconds) == ("ttfb", LIMIT)


@libraries
def test_a_longer_timeout_raises_nothing(serve: Any, open_client: Open, library: Any) -> None:
    """A time-out beyond the limit changes nothing, and neither does none at all."""
    server = serve("silent")
    for timeout in (library.Timeout(LONG), None):
        client = open_client(library, timeout=timeout, limits=Limits(ttfb=LIMIT), retry=Retry.none())
        with pytest.raises(llmwatch.WatchTimeout) as caught:
            client.post(server.chat_url, json=CHAT)
        assert (caught.value.limit, caught.value.limit_seconds) == ("ttfb", LIMIT)


@libraries
def test_a_broken_body_raises_at_every_read(serve: Any, open_client: Open, library: Any) -> None:
    """A caller that catches the error and reads the response again finds no half of it.

    So it is with the library's own transport.
    """
    server = serve("short-length")
    with open_client(library).stream("POST", server.url + "/stream", json={"order": 1}) as response:
        with pytest.raises(library.TransportError):
            response.read()
        for look in (response.read, lambda: list(response.iter_raw()), lambda: response.content, lambda: response.text):
            with pytest.raises(library.StreamError):
                look()
        for _ in range(2):
            with pytest.raises(library.TransportError):
                list(response.stream)
    assert len(server.requests) == 1
