"""Untouched clients of httpx and httpx2, and of the SDKs on them, under ``install()``."""

from __future__ import annotations

import base64
import contextlib
import functools
import gc
import http.server
import io
import os
import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

import llmwatch
from llmwatch import CallRecord, Limits, Retry
from llmwatch.faults import FaultServer, ProxyServer
from llmwatch.hooks.left_alone import OTHER, counts
from tests.sdk.clients import ASKS, ask
from tests.sdk.times import LONG, SOON

pytestmark = pytest.mark.usefixtures("nothing_left")

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
every_way = pytest.mark.parametrize("how", ["httpx", "httpx2", *ASKS])

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Say it."}]}
STREAM = {**CHAT, "stream": True}
STREAMS = ["httpx", "httpx2", *(name for name, one in ASKS.items() if one.streams)]

_ID = re.compile(r"fault\d+")

Install = Callable[..., list[CallRecord]]


@pytest.fixture
def install() -> Install:
    """Install with limits that end what must end, and return the records that come."""

    def made(**limits: float) -> list[CallRecord]:
        records: list[CallRecord] = []
        given = Limits(**{"ttfb": LONG, "stale": LONG, **limits})
        llmwatch.install(limits=given, retry=Retry(backoff=0.01), sinks=[records.append])
        return records

    return made


@contextlib.contextmanager
def client_of(how: str, server: FaultServer) -> Iterator[Any]:
    """A client as a script that knows nothing of llmwatch makes it."""
    if how in ("httpx", "httpx2"):
        made: Any = {"httpx": httpx, "httpx2": httpx2}[how].Client(timeout=LONG)
    elif ASKS[how].sdk == "openai":
        made = openai.OpenAI(api_key="k", base_url=server.url + "/v1")
    else:
        made = anthropic.Anthropic(api_key="k", base_url=server.url)
    with made as client:
        yield client


def asked(how: str, server: FaultServer, seen: list[str] | None = None) -> str:
    """The answer to one call: the text of an SDK, or the lines of a stream of a library.

    ``seen`` gets the pieces or lines that came.
    """
    lines: list[str] = [] if seen is None else seen
    with client_of(how, server) as client:
        if how in ASKS:
            answer = ask(client, how)
            lines.extend(answer.seen)
            if answer.error is not None:
                raise answer.error
            return answer.text
        with client.stream("POST", server.chat_url, json=STREAM) as response:
            response.raise_for_status()
            # The server numbers the ids of its answers.
            lines.extend(_ID.sub("", line) for line in response.iter_lines())
    return "\n".join(lines)


def shape_of(how: str) -> str:
    """The shape that the server speaks to this client."""
    if how.startswith("messages"):
        return "anthropic"
    return "openai-responses" if how.startswith("responses") else "openai-chat"


@every_way
def test_a_healthy_call_is_equal_to_a_bare_one(serve: Any, install: Install, how: str) -> None:
    """A healthy call gives the same answer in the same pieces, with one request.

    The request's headers are the same, but for the compression of a stream.
    """
    bare, watched = serve("healthy", shape=shape_of(how)), serve("healthy", shape=shape_of(how))
    pieces: list[list[str]] = [[], []]
    expected = asked(how, bare, pieces[0])
    records = install()
    assert asked(how, watched, pieces[1]) == expected
    assert pieces[0] == pieces[1]
    (first,), (second,) = bare.requests, watched.requests
    assert (second.method, second.target, second.body) == (first.method, first.target, first.body)
    changed = {"host": watched.netloc, **({"accept-encoding": "identity"} if how in STREAMS else {})}
    assert second.headers == [(name, changed.get(name.lower(), value)) for name, value in first.headers]
    (record,) = records
    assert (record.outcome, record.entry_point) == ("done", "httpx" if how == "httpx" else "httpx2")


@every_way
def test_silence_is_recovered_with_two_requests(serve: Any, install: Install, sdk_waits: list[int], how: str) -> None:
    """The client sees the answer and nothing of the silence."""
    bare, server = serve("healthy", shape=shape_of(how)), serve("silent", "healthy", shape=shape_of(how))
    expected = asked(how, bare)
    # A plain call that has been sent is slow but alive, and is sent again only if the user says so.
    records: list[CallRecord] = []
    retry = Retry(backoff=0.01, slow_but_alive=how not in STREAMS)
    llmwatch.install(limits=Limits(ttfb=SOON), retry=retry, sinks=[records.append])
    assert asked(how, server) == expected
    assert len(server.requests) == 2
    assert sdk_waits == []
    assert [record.outcome for record in records] == ["recovered"]


@pytest.mark.parametrize("how", STREAMS)
def test_a_stall_in_mid_stream_ends_with_one_request(
    serve: Any, install: Install, sdk_waits: list[int], how: str
) -> None:
    """The pieces that came before the stall stay, and nothing is resent.

    The error is the library's, or the SDK's that is made of it.
    """
    server = serve("stall-after-content:tokens=3", shape=shape_of(how))
    records = install(stale=SOON)
    seen: list[str] = []
    with pytest.raises((httpx.ReadTimeout, httpx2.ReadTimeout, openai.APITimeoutError)) as caught:
        asked(how, server, seen)
    error = caught.value
    assert isinstance(error, llmwatch.WatchTimeout) or isinstance(error.__cause__, llmwatch.WatchTimeout)
    assert "".join(seen)
    assert (len(server.requests), sdk_waits) == (1, [])
    assert [record.cause for record in records] == ["watchdog_timeout"]


def test_a_tool_stream_comes_as_it_does_bare(serve: Any, install: Install) -> None:
    """The arguments arrive whole, after a silence too."""

    def tool(server: FaultServer) -> Any:
        with openai.OpenAI(api_key="k", base_url=server.url + "/v1") as client:
            chunks = list(client.chat.completions.create(model="m", messages=CHAT["messages"], stream=True))  # type: ignore[call-overload]
        return [chunk.choices[0].delta.tool_calls for chunk in chunks if chunk.choices]

    script = "tool-arguments-only"
    expected = tool(serve(script))
    assert any(expected)
    server = serve("silent", script)
    install(ttfb=SOON)
    assert tool(server) == expected
    assert len(server.requests) == 2


@every_way
@pytest.mark.parametrize("status", [500, 429])
def test_an_error_status_is_not_retried_twice_over(
    serve: Any, install: Install, sdk_waits: list[int], how: str, status: int
) -> None:
    """The SDKs' own retries send nothing on top of llmwatch's three requests."""
    server = serve(f"status:status={status}", shape=shape_of(how))
    install()
    with pytest.raises(
        (httpx.HTTPStatusError, httpx2.HTTPStatusError, openai.APIStatusError, anthropic.APIStatusError)
    ):
        asked(how, server)
    assert (len(server.requests), sdk_waits) == (3, [])


def test_a_failure_is_not_retried_twice_over(serve: Any, sdk_waits: list[int]) -> None:
    """An SDK that retries an error that llmwatch raised gets the same error without a request."""
    server = serve("silent")
    llmwatch.install(limits=Limits(ttfb=SOON), retry=Retry(backoff=0.01, max_attempts=2))
    assert sdk_waits == []
    with openai.OpenAI(api_key="k", base_url=server.url + "/v1") as client:
        answer = ask(client, "chat-stream")
    assert isinstance(answer.error, openai.APITimeoutError)
    assert isinstance(answer.error.__cause__, llmwatch.WatchTimeout)
    assert len(server.requests) == 2


# -- what is left alone --------------------------------------------------------


def _everything_else(client: Any, server: FaultServer) -> None:
    client.get(server.url + "/v1/models?limit=2", headers={"X-Own": "1"})
    client.post(server.url + "/files", files={"file": ("a.txt", b"text", "text/plain")})
    client.post(server.url + "/login", data={"user": "a"})
    client.post(server.url + "/orders", json={"model": "a-car", "count": 2})
    client.put(server.url + "/object", content=iter([b"{", b"}"]))
    client.post(server.chat_url, content=(piece for piece in [b'{"model": "m", ', b'"messages": []}']))
    client.delete(server.url + "/object")


@libraries
def test_other_requests_go_byte_for_byte_as_before(serve: Any, install: Install, library: Any) -> None:
    """The library's own pool sends other requests, compression and chunks included.

    No record is made.
    """
    bare, server = serve("healthy"), serve("healthy")
    with library.Client(timeout=LONG) as client:
        _everything_else(client, bare)
    records = install()
    with library.Client(timeout=LONG) as client:
        _everything_else(client, server)
        assert "_llmwatch_transport" not in vars(client._transport)

    def sent(one: FaultServer) -> list[Any]:
        return [
            (
                request.method,
                request.target,
                [(name, "" if name.lower() in ("host", "content-type") else value) for name, value in request.headers],
                request.body if b"boundary" not in request.body and b"--" not in request.body else len(request.body),
            )
            for request in one.requests
        ]

    assert sent(server) == sent(bare)
    assert records == []


@libraries
def test_stand_ins_for_the_network_get_their_calls(
    install: Install, library: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Stand-ins for the network get every call that is made through them.

    The stand-ins are a mock transport, a transport of the user's own, WSGI, and a pool that other code has
    replaced.
    """
    records = install()

    def answer(request: Any) -> Any:
        return library.Response(200, text="mocked")

    class Own(library.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            return answer(request)

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"mocked"]

    for transport in (library.MockTransport(answer), Own(), library.WSGITransport(application)):
        with library.Client(transport=transport) as client:
            assert client.post("http://127.0.0.1:1/v1/chat/completions", json=CHAT).text == "mocked"
    core = __import__({"httpx": "httpcore", "httpx2": "httpcore2"}[library.__name__])
    monkeypatch.setattr(core.ConnectionPool, "handle_request", lambda self, request: core.Response(200, content=b"m"))
    with library.Client() as client:
        assert client.post("http://127.0.0.1:1/v1/chat/completions", json=CHAT).text == "m"
    assert records == []
    assert caplog.records == []


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are silent."""


@contextlib.contextmanager
def answering(path: str) -> Iterator[None]:
    """A server on a Unix socket."""
    with socketserver.UnixStreamServer(path, _Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@libraries
def test_what_cannot_be_watched_is_left_alone_and_said_once(
    serve: Any, install: Install, library: Any, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A client for HTTP/2 and one for a Unix socket have the library's own connections.

    The log says why, once for each.
    """
    records, server = install(), serve("healthy")
    transport = library.HTTPTransport()
    transport._pool._http2 = True  # what http2=True does, without the package h2
    path = str(tmp_path / "socket")
    with answering(path):
        for made in (transport, library.HTTPTransport(uds=path)):
            with library.Client(transport=made, timeout=LONG) as client:
                for _ in range(2):
                    assert client.post(server.chat_url, json=STREAM).status_code == 200
    assert len(server.requests) == 2
    name = library.__name__
    assert [record.getMessage().partition(". ")[0] for record in caplog.records] == [
        f"llmwatch: a model call through {name} is not watched: HTTP/2",
        f"llmwatch: a model call through {name} is not watched: a Unix socket",
    ]
    assert counts() == {name: {"HTTP/2": 2, "a Unix socket": 2}}
    assert records == []


@libraries
def test_requests_that_are_left_alone_are_counted(
    serve: Any, install: Install, library: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Other requests are counted without a line, a model call with an extension with one."""
    url, chat = serve("healthy").url + "/orders", serve("healthy").chat_url

    with library.Client(timeout=LONG) as client:
        client.get(url)
        assert counts() == {}
        install()
        client.get(url)
        client.post(url, json={"prompt": "a car"})
        client.post(url, content=iter([b"a"]))
        client.post(chat, content=iter([b"{", b"}"]))
        client.post(chat, json=STREAM, extensions={"trace": lambda *_: None})
    assert counts() == {
        library.__name__: {OTHER: 2, "a body that is read once": 2, "an extension trace or target of the request": 1}
    }
    assert [record.getMessage() for record in caplog.records] == [
        f"llmwatch: a model call through {library.__name__} is not watched: a body that is read once."
        " Pass the body as bytes or text.",
        f"llmwatch: a model call through {library.__name__} is not watched: an extension trace or target of the"
        " request. Leave the extension out.",
    ]


# -- the connections -----------------------------------------------------------


@libraries
def test_the_clients_own_tls_context_decides(
    serve: Any, install: Install, server_tls: ssl.SSLContext, bundle: str, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's own TLS context decides the same with and without llmwatch.

    The cases are a context that trusts the server, the default that does not, and no verification.
    """
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    trusting = ssl.create_default_context(cafile=bundle)
    server = serve("healthy", tls=server_tls)
    url = f"https://localhost:{server.port}/v1/chat/completions"

    def verdicts() -> list[Any]:
        seen: list[Any] = []
        for verify in (trusting, True, False):
            with library.Client(verify=verify, timeout=LONG) as client:
                try:
                    seen.append(client.post(url, json=STREAM).status_code)
                except library.ConnectError:
                    seen.append(library.ConnectError)
        return seen

    authorities = trusting.get_ca_certs()
    expected = verdicts()
    assert expected == [200, library.ConnectError, 200]
    records = install()
    assert verdicts() == expected
    assert [record.outcome for record in records] == ["done", "failed", "done"]
    assert trusting.get_ca_certs() == authorities
    assert (trusting.verify_mode, trusting.check_hostname) == (ssl.CERT_REQUIRED, True)
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    assert verdicts() == [200, 200, 200]


@libraries
def test_the_clients_own_proxy_is_used(
    serve: Any, install: Install, server_tls: ssl.SSLContext, bundle: str, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's proxy is used with its credentials, from an argument and from the environment.

    NO_PROXY and mounts are the client's matter.
    """
    server = serve("healthy", tls=server_tls)
    url = f"https://localhost:{server.port}/v1/chat/completions"
    context = ssl.create_default_context(cafile=bundle)
    install()
    with ProxyServer() as proxy:
        address = f"http://user:secret@{proxy.netloc}"
        with library.Client(proxy=address, verify=context, timeout=LONG) as client:
            assert client.post(url, json=STREAM).status_code == 200
        (connect,) = proxy.requests
        assert dict(connect.headers)["Proxy-Authorization"] == "Basic " + base64.b64encode(b"user:secret").decode()
        assert connect.target == f"localhost:{server.port}"
        monkeypatch.setenv("HTTPS_PROXY", address)
        with library.Client(verify=context, timeout=LONG) as client:
            assert client.post(url, json=STREAM).status_code == 200
        assert proxy.connects == 2
        with library.Client(
            verify=context, timeout=LONG, mounts={"https://": library.HTTPTransport(verify=context)}
        ) as client:
            assert client.post(url, json=STREAM).status_code == 200
        monkeypatch.setenv("NO_PROXY", "localhost")
        with library.Client(verify=context, timeout=LONG) as client:
            assert client.post(url, json=STREAM).status_code == 200
        assert proxy.connects == 2
    assert len(server.requests) == 4


@libraries
def test_socket_options_and_the_local_address_are_kept(serve: Any, install: Install, library: Any) -> None:
    """The server sees the address; the socket has the option."""
    server = serve("late-terminal")
    install()
    option = (socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    transport = library.HTTPTransport(local_address="127.0.0.2", socket_options=[option])
    server.gate("terminal").set()
    with library.Client(transport=transport, timeout=LONG) as client:
        assert client.post(server.chat_url, json=STREAM).status_code == 200
        (pool,) = transport._llmwatch_transport._adapter.poolmanager.pools._container.values()
        assert pool.conn_kw["source_address"] == ("127.0.0.2", 0)
        assert option in pool.conn_kw["socket_options"]
        assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in pool.conn_kw["socket_options"]


@libraries
def test_a_limit_on_connections_holds(serve: Any, install: Install, library: Any) -> None:
    """With one connection the second call waits for the first one's."""
    server = serve("late-terminal")
    install()
    limits = library.Limits(max_connections=1)
    with library.Client(limits=limits, timeout=LONG) as client:
        answers: list[int] = []

        def post() -> None:
            answers.append(client.post(server.chat_url, json=STREAM).status_code)

        threads = [threading.Thread(target=post) for _ in range(2)]
        for thread in threads:
            thread.start()
        server.wait_for_requests(1)
        assert server.connections == 1
        server.gate("terminal").set()
        for thread in threads:
            thread.join()
    assert answers == [200, 200]
    assert server.connections == 1


@libraries
def test_closing_a_client_closes_what_was_made_for_it(serve: Any, install: Install, library: Any) -> None:
    """``close()`` and the end of a ``with`` block close the connection that was made for a client.

    ``uninstall`` closes idle connections.
    """
    install()
    for number, end in enumerate(("close", "with", "uninstall")):
        server = serve("healthy")
        client = library.Client(timeout=LONG)
        with contextlib.ExitStack() as stack:
            if end == "with":
                stack.enter_context(client)
            assert client.post(server.chat_url, json=STREAM).status_code == 200
            if end == "close":
                client.close()
            if end == "uninstall":
                llmwatch.uninstall()
        server.wait_for_closed(1)
        client.close()
        assert number < 3


@libraries
def test_budget_and_breaker_are_shared_by_origin(serve: Any, library: Any) -> None:
    """Clients that are made for one call each find the breaker that the calls before have opened."""
    server = serve("status:status=503")
    records: list[CallRecord] = []
    llmwatch.install(retry=Retry(max_attempts=1, breaker=2, max_wait=0.05), sinks=[records.append])
    for _ in range(4):
        with library.Client(timeout=LONG) as client, contextlib.suppress(llmwatch.LLMWatchError):
            client.post(server.chat_url, json=STREAM)
    assert len(server.requests) < 4


def _open_now() -> tuple[int, int]:
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count()


@libraries
def test_clients_that_are_made_and_dropped_leave_nothing(serve: Any, install: Install, library: Any) -> None:
    """Five hundred clients that are dropped unclosed leave no connection, descriptor or thread."""
    server = serve("healthy")
    install()
    context = ssl.create_default_context()

    def one() -> None:
        client = library.Client(timeout=LONG, verify=context, trust_env=False)
        assert client.post(server.chat_url, json=STREAM).status_code == 200

    one()
    gc.collect()  # httpx 0.28 keeps a client's pool and its response in a circle, without llmwatch too
    server.wait_for_closed(1)
    before = _open_now()
    for _ in range(500):
        one()
    gc.collect()
    server.wait_for_closed(501)
    after = _open_now()
    assert after[0] <= before[0]
    assert after[1] <= before[1]


# -- install and uninstall -------------------------------------------------------


def _attributes(library: Any) -> list[Any]:
    return [vars(library.HTTPTransport)[name] for name in ("handle_request", "close", "__exit__")]


@libraries
def test_uninstall_restores_the_very_objects(library: Any) -> None:
    """``uninstall`` puts the very objects back, any number of times.

    An ``install`` that no longer names a library puts that library's objects back too.
    """
    before = _attributes(library)
    for _ in range(3):
        llmwatch.install()
        llmwatch.install()
        assert all(now is not was for now, was in zip(_attributes(library), before, strict=True))
        llmwatch.uninstall()
        assert all(now is was for now, was in zip(_attributes(library), before, strict=True))
    llmwatch.install()
    llmwatch.install(libraries=["requests"])
    assert all(now is was for now, was in zip(_attributes(library), before, strict=True))


@libraries
def test_a_wrapper_on_top_stays_and_ours_passes_on(
    serve: Any, install: Install, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wrapper and llmwatch both see a call while llmwatch is installed.

    Afterwards the wrapper and the library alone see it.
    """
    original = vars(library.HTTPTransport)["handle_request"]
    records = install()
    ours = vars(library.HTTPTransport)["handle_request"]
    spans: list[str] = []

    @functools.wraps(ours)
    def theirs(self: Any, request: Any) -> Any:
        spans.append(str(request.url))
        return ours(self, request)

    monkeypatch.setattr(library.HTTPTransport, "handle_request", theirs)
    server = serve("healthy")
    with library.Client(timeout=LONG) as client:
        client.post(server.chat_url, json=STREAM)
        llmwatch.uninstall()
        assert vars(library.HTTPTransport)["handle_request"] is theirs
        client.post(server.chat_url, json=STREAM)
    assert (len(spans), len(records), len(server.requests)) == (2, 1, 2)
    monkeypatch.undo()
    llmwatch.uninstall()
    assert vars(library.HTTPTransport)["handle_request"] is original


def test_a_second_install_exchanges_the_settings(serve: Any, install: Install) -> None:
    """A second ``install`` gives a client that is in use new settings from its next call on."""
    server = serve("healthy", "healthy")
    first = install()
    with httpx.Client(timeout=LONG) as client:
        client.post(server.chat_url, json=STREAM)
        second = install()
        client.post(server.chat_url, json=STREAM)
    assert (len(first), len(second)) == (1, 1)


def test_unknown_libraries_are_refused() -> None:
    """An unknown library is a ``ConfigError`` that names the known ones; nothing is installed."""
    for wrong in (["aiohttp"], "httpx"):
        with pytest.raises(llmwatch.ConfigError, match="requests, httpx, httpx2"):
            llmwatch.install(libraries=wrong)
    assert "llmwatch" not in vars(httpx.HTTPTransport)["handle_request"].__globals__["__name__"]


# -- what a request and its answer look like ------------------------------------


def _like_bare(
    serve: Any, install: Install, library: Any, ask: Callable[[Any, FaultServer], Any], script: str = "healthy"
) -> tuple[tuple[Any, Any], tuple[Any, Any], list[CallRecord]]:
    """What ``ask`` returned or raised and what the server got, bare and installed, and the records.

    Left out are hosts, and the encoding that a stream asks for.
    """

    def outcome(server: FaultServer) -> tuple[Any, Any]:
        with library.Client(timeout=LONG) as client:
            try:
                came = ask(client, server)
            except Exception as error:
                came = type(error)
        left_out = ("host", "accept-encoding")
        return came, [
            (one.target, [pair for pair in one.headers if pair[0].lower() not in left_out], one.body)
            for one in server.requests
        ]

    bare = outcome(serve(script))
    records = install()
    return bare, outcome(serve(script)), records


@libraries
@pytest.mark.parametrize("status", [307, 308])
def test_the_call_after_a_redirect_is_watched(serve: Any, install: Install, library: Any, status: int) -> None:
    """httpx repeats a redirected body from the stream alone; silence behind the redirect is recovered."""
    records = install(ttfb=SOON)
    server = serve(f"retry-after:status={status},header=location,value=/v1/chat/completions", "silent", "healthy")
    with library.Client(timeout=LONG, follow_redirects=True) as client:
        response = client.post(server.chat_url, json=STREAM, headers={"x-api-key": "k"})
    assert response.status_code == 200
    assert [len(record.attempts) for record in records] == [1, 2]
    assert [one.json() for one in server.requests] == [STREAM] * 3
    assert [one.header("x-api-key") for one in server.requests] == ["k"] * 3


@libraries
def test_a_redirect_to_another_origin_takes_along_what_the_library_takes(
    serve: Any, install: Install, library: Any
) -> None:
    """The library leaves ``Authorization`` behind and no other key, and so does a watched call."""
    end = serve("healthy")
    start = serve(f"retry-after:status=307,header=location,value=http://localhost:{end.port}/v1/chat/completions")
    records = install()
    with library.Client(timeout=LONG, follow_redirects=True) as client:
        headers = {"x-api-key": "k", "authorization": "Bearer t"}
        assert client.post(start.chat_url, json=STREAM, headers=headers).status_code == 200
    assert [end.requests[0].header(name) for name in headers] == ["k", None]
    assert len(records) == 2


@libraries
@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "Bearer k\n"}, {"Authorization": "Bearer "}, {"X-Zero": "a\0b"}, {"X Blank": "a"}],
    ids=["newline", "blank-at-the-end", "zero", "name"],
)
def test_headers_that_the_library_refuses_are_refused_by_it(
    serve: Any, install: Install, library: Any, headers: dict[str, str]
) -> None:
    """The error is the library's own, and nothing is sent."""

    def ask(client: Any, server: FaultServer) -> Any:
        return client.post(server.chat_url, json=STREAM, headers=headers)

    bare, watched, records = _like_bare(serve, install, library, ask)
    assert watched == bare == (library.LocalProtocolError, [])
    assert records == []


@libraries
@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".example", "127.0.0.1:99999"])
def test_hosts_that_no_look_up_takes_fail_as_bare(serve: Any, install: Install, library: Any, host: str) -> None:
    """The error has the class that it has without llmwatch."""

    def ask(client: Any, server: FaultServer) -> Any:
        return client.post(f"http://{host}/v1/chat/completions", json=STREAM)

    bare, watched, records = _like_bare(serve, install, library, ask)
    assert watched == bare
    assert records == []


@libraries
@pytest.mark.parametrize("stream", [True, False])
def test_no_header_is_added(serve: Any, install: Install, library: Any, stream: bool) -> None:
    """A client without the library's default headers sends none of urllib3's."""

    def ask(client: Any, server: FaultServer) -> Any:
        for name in ("user-agent", "accept-encoding"):
            del client.headers[name]
        client.post(server.chat_url, json={**STREAM, "stream": stream})
        return [one.header("accept-encoding") for one in server.requests]

    (_, bare), (encodings, watched), records = _like_bare(serve, install, library, ask)
    assert watched == bare
    assert encodings == ["identity" if stream else None]
    assert len(records) == 1


@libraries
@pytest.mark.parametrize("stream", [True, False])
def test_headers_go_out_in_the_order_and_number_of_the_library(
    serve: Any, install: Install, library: Any, stream: bool
) -> None:
    """Repeated headers stay apart, and a host of the caller's own stands first, as the library writes it."""

    def ask(client: Any, server: FaultServer) -> Any:
        headers = [("X-One", "1"), ("x-two", "2"), ("X-ONE", "3"), ("Host", "own.example"), ("Cookie", "a=1")]
        client.post(server.chat_url, json={**STREAM, "stream": stream}, headers=[*headers, ("Cookie", "b=2")])
        left_out = "accept-encoding" if stream else ""
        return [[pair for pair in one.headers if pair[0].lower() != left_out] for one in server.requests]

    (bare, _), (watched, _), records = _like_bare(serve, install, library, ask)
    assert watched == bare
    assert [value for name, value in watched[0] if name.lower() == "x-one"] == ["1", "3"]
    assert watched[0][0] == ("Host", "own.example")
    assert len(records) == 1


@libraries
@pytest.mark.parametrize("stream", [True, False])
def test_the_network_stream_tells_of_the_connection(serve: Any, install: Install, library: Any, stream: bool) -> None:
    """Addresses are those of the connection; reading beside the body is refused, and harms no answer."""

    def ask(client: Any, server: FaultServer) -> Any:
        with client.stream("POST", server.chat_url, json={**STREAM, "stream": stream}) as response:
            below = response.extensions["network_stream"]
            facts = [below.get_extra_info(name) for name in ("server_addr", "ssl_object", "unknown")]
            client_host = below.get_extra_info("client_addr")[0]
            own_socket = below.get_extra_info("socket")
            if "llmwatch" in response.extensions:
                for read in (lambda: below.read(1), lambda: below.write(b"x"), lambda: below.start_tls(None)):
                    with pytest.raises(io.UnsupportedOperation, match=r"iter_bytes\(\)"):
                        read()
                below.close()
            body = re.sub(rb"fault[0-9]+", b"", response.read())
            assert own_socket.getpeername() == ("127.0.0.1", server.port)
        return [facts[0] == ("127.0.0.1", server.port), *facts[1:], client_host, body]

    (bare, _), (watched, _), records = _like_bare(serve, install, library, ask)
    assert watched == bare
    assert watched[:4] == [True, None, None, "127.0.0.1"]
    assert len(records) == 1


@libraries
def test_the_network_stream_shows_the_certificate(
    serve: Any, install: Install, library: Any, server_tls: ssl.SSLContext, bundle: str
) -> None:
    """The TLS object has the server's certificate, cipher and version, as a bare one has."""
    server = serve("healthy", tls=server_tls)
    seen = []
    for installed in (False, True):
        if installed:
            records = install()
        with library.Client(verify=ssl.create_default_context(cafile=bundle), timeout=LONG) as client:
            response = client.post(server.chat_url, json=STREAM)
            tls = response.extensions["network_stream"].get_extra_info("ssl_object")
            seen.append((tls.getpeercert(True), tls.version(), tls.cipher(), tls.selected_alpn_protocol()))
    assert seen[0] == seen[1]
    assert seen[0][0]
    assert len(records) == 1


@libraries
def test_the_target_is_quoted_as_the_library_quotes_it(serve: Any, install: Install, library: Any) -> None:
    """A signature may cover the query, so it goes out as the library writes it."""

    def ask(client: Any, server: FaultServer) -> Any:
        return client.post(server.chat_url + "?q=é&x=[1]|^&y=a%2fb c#part", json=STREAM).status_code

    bare, watched, records = _like_bare(serve, install, library, ask)
    assert watched == bare
    assert bare[0] == 200
    assert len(records) == 1


class _Blanks(_Answer):
    def do_POST(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Blanks:  a  b \t \r\n\r\n")


@libraries
def test_headers_of_the_answer_end_without_blanks(install: Install, library: Any) -> None:
    """The library's own parser takes the blanks off both ends of a value."""
    install()
    with socketserver.TCPServer(("127.0.0.1", 0), _Blanks) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with library.Client(timeout=LONG) as client:
            response = client.post(f"http://127.0.0.1:{server.server_address[1]}/v1/chat/completions", json=STREAM)
        thread.join()
    assert (b"X-Blanks", b"a  b") in response.headers.raw
