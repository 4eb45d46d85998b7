"""The server: which script answers, what it remembers, how it starts and stops."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import ssl
import threading
import time

import pytest

from llmwatch.faults import Context, FaultServer, Script, catalogue
from llmwatch.faults.shapes import SHAPES
from llmwatch.faults.steps import Chunk, End, Hang, Head, Step
from tests.faults import reading
from tests.faults.client import PATHS, SOON, WireClient, asking

MEBI = 1 << 20
CROWD = 400


def test_scripts_go_by_the_number_of_the_request():
    """Each request gets the script of its number over all connections, and the last script repeats."""
    with FaultServer(["status:status=500", "bad-request", "healthy"]) as server:
        with asking(server) as one, asking(server) as other:
            assert [one.read().status, other.read().status] == [500, 400]
            assert [one.ask().read().status, other.ask().read().status] == [200, 200]
        assert [request.script for request in server.requests] == ["status", "bad-request", "healthy", "healthy"]
        assert [request.number for request in server.requests] == [1, 2, 3, 4]
        assert [request.connection for request in server.requests] == [1, 2, 1, 2]
        assert server.connections == 2


@pytest.mark.parametrize("script", ["healthy", catalogue.get("healthy"), ["healthy"], (catalogue.get("healthy"),)])
def test_one_script_may_stand_alone(script: object):
    """A name, a script, or a sequence of either will do."""
    with FaultServer(script) as server, asking(server) as client:
        assert client.read().ended == "end"


def test_two_requests_on_one_connection():
    """A healthy answer leaves its connection to the next request."""
    with FaultServer("healthy") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SOON)
        for _ in range(3):
            connection.request("POST", "/v1/messages", json.dumps({"stream": True}))
            assert reading.text("anthropic", connection.getresponse().read()) == catalogue.ANSWER
        connection.close()
        assert [request.connection for request in server.requests] == [1, 1, 1]
        server.wait_for_closed(1)
        assert (server.connections, server.open_connections) == (1, 0)


def test_connection_ends_where_the_client_wants_it():
    """A request that asks for it gets a connection that closes after the answer."""
    with FaultServer("healthy") as server, WireClient(server.url) as client:
        client.send(PATHS["generic"], headers=("Connection: close",)).head().read()
        assert client.end_of_connection() == "eof"


def test_requests_are_remembered():
    """A request is kept with its line, headers in order, body and time."""
    ticks = iter((1.5, 2.5))
    with FaultServer("healthy", clock=lambda: next(ticks)) as server, WireClient(server.url) as client:
        client.send("/v1/messages?a=b", {"stream": True, "n": 1}, headers=("X-One: 1", "x-one: 2")).head().read()
        (request,) = server.requests
    assert (request.method, request.target, request.path) == ("POST", "/v1/messages?a=b", "/v1/messages")
    assert request.headers[2:] == [("X-One", "1"), ("x-one", "2")]
    assert (request.header("X-ONE"), request.header("x-two")) == ("1", None)
    assert request.json() == {"stream": True, "n": 1}
    assert request.body_bytes == len(request.body)
    assert (request.complete, request.at) == (True, 1.5)


def test_request_targets_may_be_absolute():
    """The server can be used as a proxy for plain HTTP: the path of an absolute target decides."""
    with FaultServer("healthy") as server, WireClient(server.url) as client:
        client.send("http://example.test/v1/messages").head().read()
        assert reading.is_terminated("anthropic", client.body)


def test_chunked_request_bodies_are_read():
    """A chunked request body is put together, extensions and trailers left out."""
    with FaultServer("healthy") as server, WireClient(server.url) as client:
        client.sock.sendall(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.sock.sendall(b'8;x=y\r\n{"stream\r\n8\r\n": true}\r\n0\r\nX-Sum: 1\r\n\r\n')
        client.head().read()
        assert server.requests[0].body == b'{"stream": true}'
        assert server.requests[0].complete
        assert client.send(PATHS["generic"]).head().read().ended == "end"


def test_continue_is_said_where_it_is_waited_for():
    """A client that expects 100 gets it before it sends its body."""
    with FaultServer("healthy") as server, WireClient(server.url) as client:
        client.sock.sendall(b"POST /v1/messages HTTP/1.1\r\nContent-Length: 15\r\nExpect: 100-continue\r\n\r\n")
        assert client.head().status == 100
        client.sock.sendall(b'{"stream":true}')
        assert client.head().read().status == 200


def test_large_bodies_are_counted_and_kept_in_part():
    """The server keeps the first MiB of a large body and counts the rest.

    A ``stream`` field at the end is seen.
    """
    body = {"padding": "x" * (3 * MEBI), "stream": True}
    with FaultServer("healthy") as server, WireClient(server.url) as client:
        client.send(PATHS["anthropic"], body).head().read()
        (request,) = server.requests
    assert len(request.body) == MEBI
    assert request.body_bytes == len(json.dumps(body))
    assert request.complete
    assert client.headers["content-type"] == "text/event-stream"


def test_request_that_is_cut_is_remembered_as_far_as_it_came():
    """A client that leaves in the middle of its body leaves an incomplete request."""
    with FaultServer("healthy") as server:
        with WireClient(server.url) as client:
            client.sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
        server.wait_for_requests(1)
        (request,) = server.requests
        assert (request.body, request.body_bytes, request.complete) == (b"abc", 3, False)


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/2\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"x" * 200_000],
)
def test_bytes_that_are_not_http_are_refused(garbage: bytes):
    """Bytes that are not HTTP get a 400 and do not count as a request."""
    with FaultServer("healthy") as server, WireClient(server.url) as client:
        client.sock.sendall(garbage)
        assert client.head().status == 400
        assert server.requests == []


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_can_be_fixed(shape: str):
    """A fixed shape answers at any path, and names its usual one."""
    with FaultServer("healthy", shape=shape) as server, WireClient(server.url) as client:
        assert server.endpoint == server.url + SHAPES[shape].path
        client.send(SHAPES[shape].path).head().read()
        assert reading.text(shape, client.body) == catalogue.ANSWER


def test_addresses_are_those_of_the_providers():
    """The server names the address of each provider's endpoint."""
    with FaultServer() as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert server.chat_url == server.endpoint == f"{server.url}/v1/chat/completions"
        assert server.responses_url == f"{server.url}/v1/responses"
        assert server.messages_url == f"{server.url}/v1/messages"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scripts": []}, "at least one script"),
        ({"shape": "openai"}, "shape is 'openai'"),
        ({"framing": "none"}, "framing is 'none'"),
    ],
)
def test_wrong_options_are_errors(options: dict, message: str):
    """An invalid option is an error, and takes no port."""
    with pytest.raises(ValueError, match=message):
        FaultServer(**options)


def test_waits_return_as_soon_as_it_happened():
    """A wait for requests, connections or their end returns when that many came."""
    with FaultServer("silent") as server:
        sender = threading.Timer(0.02, lambda: WireClient(server.url).send("/").sock.close())
        sender.start()
        server.wait_for_connections(1)
        server.wait_for_requests(1)
        server.wait_for_closed(1)
        sender.join()


@pytest.mark.parametrize("what", ["connections", "requests", "closed"])
def test_every_wait_of_the_server_times_out(what: str):
    """A wait that is not fulfilled ends in a TimeoutError that states its progress."""
    with FaultServer() as server, pytest.raises(TimeoutError, match=r"0 of 2 .* after 0.01 s"):
        getattr(server, f"wait_for_{what}")(2, 0.01)


def test_port_refuses_until_the_start():
    """The port is known and taken before the server listens, and refuses connections meanwhile."""
    server = FaultServer()
    with pytest.raises(ConnectionRefusedError):
        WireClient(server.url)
    with server, asking(server) as client:
        assert client.read().ended == "end"


def test_stop_wakes_every_script_at_once():
    """A stop ends scripts that hang, wait, write, read and handshake, and resets their connections."""
    scripts = [
        "silent",
        "late-headers:after=60",
        "late-terminal",
        "endless-content:every=0",
        "upload-stall",
        "drip:every=60",
    ]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(FaultServer(scripts))
        clients = [stack.enter_context(WireClient(server.url)) for _ in range(len(scripts) + 1)]
        for number, client in enumerate(clients[:-1], 1):
            client.send(PATHS["generic"])
            server.wait_for_requests(number)
        server.wait_for_connections(len(clients))
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < SOON
        assert server.open_connections == 0
        assert {client.end_of_connection() for client in clients} == {"reset"}
        server.stop()


def test_stopped_server_does_not_start_again():
    """A server has one life."""
    server = FaultServer()
    server.stop()
    with pytest.raises(RuntimeError, match="was stopped"):
        server.start()


def test_stop_without_a_start_leaves_nothing():
    """A server that was never started can be stopped, gates and all."""
    server = FaultServer()
    server.gate("terminal").set()
    server.stop()
    server.gate("terminal").clear()


def test_hundreds_of_clients_at_once_are_served():
    """Hundreds of clients connect at once, each gets its answer."""
    with FaultServer("linger-after-done:tokens=1") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(WireClient(server.url)) for _ in range(CROWD)]
        for client in clients:
            client.send(PATHS["openai-chat"])
        server.wait_for_requests(CROWD, 30)
        for client in clients:
            client.head().read(until=b"[DONE]")
        assert server.open_connections == CROWD
        server.stop()
        assert server.open_connections == 0


def test_script_may_be_a_function_of_the_request():
    """A user's own script sees the request and yields steps."""

    def echo(context: Context, *, mark: str = "!"):
        yield Head(200, [("Content-Type", "text/plain")], "length", len(context.request.body) + len(mark))
        yield Chunk(context.request.body + mark.encode())
        yield End()

    script = Script(name="echo", description="says what it heard", play=echo)
    with FaultServer([script, script.having(mark="?")]) as server, WireClient(server.url) as client:
        assert client.send("/", b"one").head().read().body == b"one!"
        assert client.send("/", b"two").head().read().body == b"two?"


def test_script_that_breaks_is_reported():
    """A script that raises is no fault that a test asked for: its error comes out of the block."""

    class Broken(Step):
        def play(self, exchange: object) -> None:
            raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        FaultServer(Script.of("broken", Broken())) as server,
        WireClient(server.url) as client,
    ):
        client.send("/").end_of_connection()


def test_tls_serves_as_plain_does(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext):
    """Over TLS a connection serves several requests."""
    with FaultServer("healthy", tls=server_tls) as server, asking(server, tls=client_tls) as client:
        assert server.url.startswith("https://")
        assert reading.text("openai-chat", client.read().body) == catalogue.ANSWER
        assert reading.text("anthropic", client.ask("anthropic").read().body) == catalogue.ANSWER
        assert server.connections == 1


def test_large_answers_pass_through_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext):
    """A write that is larger than all buffers goes out whole over TLS."""
    with FaultServer("giant-event:size=8000000", tls=server_tls) as server, asking(server, tls=client_tls) as client:
        assert reading.text("openai-chat", client.read().body) == "x" * 8_000_000


def test_client_without_trust_is_only_gone(server_tls: ssl.SSLContext):
    """A client that does not trust the certificate leaves no request and no failure."""
    with FaultServer("healthy", tls=server_tls) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            WireClient(server.url, ssl.create_default_context())
        server.wait_for_closed(1)
        assert server.requests == []


@pytest.mark.parametrize("script", ["silent", "stall-after-content", "keepalive-only:every=0.005"])
def test_tls_client_that_leaves_is_noticed(script: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext):
    """A TLS client that goes frees the thread that waits for it."""
    with FaultServer(script, tls=server_tls) as server:
        with WireClient(server.url, client_tls) as client:
            client.send(PATHS["openai-chat"])
            server.wait_for_requests(1)
        server.wait_for_closed(1)


def test_tls_silent_never_shakes_hands(client_tls: ssl.SSLContext):
    """The connection is accepted and the handshake never answered; a client that leaves is let go."""
    with FaultServer(tls_silent=True) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.1) as sock:
            server.wait_for_connections(1)
            with pytest.raises(TimeoutError):
                client_tls.wrap_socket(sock, server_hostname="127.0.0.1")
        server.wait_for_closed(1)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 in this Python")
def test_ipv6_is_possible():
    """The server can listen on the loopback address of IPv6."""
    try:
        server = FaultServer(host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback on this machine")
    with server:
        assert server.url == f"http://[::1]:{server.port}"
        with asking(server) as client:
            assert client.read().ended == "end"


def test_slow_reader_holds_the_server_and_is_let_go():
    """A client that does not read stops the writing; when it leaves, the thread is free."""
    with FaultServer("endless-event") as server:
        with asking(server) as client:
            assert select.select([client.sock], [], [], SOON)[0]
            assert server.open_connections == 1
        server.wait_for_closed(1)


def test_gates_are_one_for_each_name():
    """A gate is the same for the test and for the script, and different names are different gates."""
    with FaultServer(Script.of("none", Hang())) as server:
        assert server.gate("a") is server.gate("a")
        assert server.gate("a") is not server.gate("b")
