"""Failures before the request is sent have one class and a cause of a closed list.

The error says whether a resend could work.
"""

from __future__ import annotations

import errno
import gc
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import trustme
from urllib3 import connection
from urllib3.exceptions import InsecureRequestWarning

from llmwatch.errors import ConnectFailed
from llmwatch.faults import FaultServer, ProxyServer, refused_port
from llmwatch.faults.link import Link
from llmwatch.faults.listener import Listener
from llmwatch.transport.sender import Reply, Sender
from llmwatch.watch.machine import VerdictKind
from tests.transport.drive import Call
from tests.transport.scenes import Network


def _failed(call: Call) -> ConnectFailed:
    call.run()
    assert call.verdict.kind is VerdictKind.FAILED
    assert call.verdict.error is call.error
    assert isinstance(call.error, ConnectFailed)
    assert call.attempt.stats.sent == "no"
    return call.error


def _raise(error: OSError) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    return fail


def test_a_refusing_port_is_refused(sender: Sender) -> None:
    """Nothing listens at the port; a resend may help."""
    with refused_port() as port:
        error = _failed(Call(sender, f"http://127.0.0.1:{port}/"))
    assert (error.cause, error.retryable) == ("refused", True)


@pytest.mark.parametrize(
    ("number", "cause", "retryable"),
    [
        (socket.EAI_NONAME, "dns", False),
        (socket.EAI_FAIL, "dns", False),
        (socket.EAI_AGAIN, "dns_temporary", True),
    ],
)
def test_an_unknown_host_is_final_and_a_temporary_failure_is_not(
    number: int, cause: str, retryable: bool, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that does not exist is final; a resolver that asks to try again is not."""
    monkeypatch.setattr(socket, "getaddrinfo", _raise(socket.gaierror(number, "as the resolver puts it")))
    call = Call(sender, "http://provider.invalid/")
    error = _failed(call)
    assert (error.cause, error.retryable) == (cause, retryable)
    assert call.attempt.stats.sockets == 0


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EADDRNOTAVAIL])
def test_a_network_without_a_route_is_unreachable(number: int, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resend may help."""
    monkeypatch.setattr(socket.socket, "connect_ex", lambda self, address: number)
    monkeypatch.setattr(socket.socket, "connect", _raise(OSError(number, "no way")))
    error = _failed(Call(sender, "http://127.0.0.1:9/"))
    assert (error.cause, error.retryable) == ("unreachable", True)


class _Resetting(Listener):
    """Resets once the handshake has begun, or when it is told to."""

    def __init__(self, *, told: bool) -> None:
        super().__init__()
        self._told = told
        self.go = threading.Event()

    def serve(self, link: Link, number: int) -> None:
        if self._told:
            link.wait_for(self.go)
        else:
            link.receive()
        link.reset()


def test_a_reset_in_the_handshake_is_a_reset_before_sent(sender: Sender, network: Network) -> None:
    """A connection that is reset in the middle of the TLS handshake was reset before anything was sent."""
    with _Resetting(told=False) as server:
        error = _failed(Call(sender, f"https://{server.netloc}/", verify=network.bundle))
    assert (error.cause, error.retryable) == ("reset", True)


def test_a_reset_just_before_the_handshake_leaks_nothing(
    sender: Sender, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is reset before the handshake has begun is closed at once.

    The connection stands when it is reset, and is not left to the garbage collector.
    """
    wrap = vars(connection)["ssl_wrap_socket"]

    def late(*args: Any, **kwargs: Any) -> Any:
        server.go.set()
        server.wait_for_closed(1)
        return wrap(*args, **kwargs)

    monkeypatch.setattr(connection, "ssl_wrap_socket", late)
    with _Resetting(told=True) as server:
        process = psutil.Process()
        gc.collect()
        gc.disable()
        try:
            error = _failed(Call(sender, f"https://{server.netloc}/", verify=network.bundle))
            server.wait_for_closed(1)
            descriptors = process.num_fds()
            gc.collect()
            assert process.num_fds() == descriptors
        finally:
            gc.enable()
    assert (error.cause, error.retryable) == ("reset", True)


def test_a_certificate_of_an_unknown_authority_is_tls_and_final(sender: Sender, network: Network) -> None:
    """A certificate of an unknown authority is ``tls``, final, and the message names what to do."""
    with FaultServer(tls=network.tls) as server:
        error = _failed(Call(sender, server.chat_url))
        assert server.requests == []
    assert (error.cause, error.retryable) == ("tls", False)
    assert "verify=" in str(error)
    assert "certificate" in str(error)


def test_a_certificate_of_another_host_is_tls_and_final(
    sender: Sender, network: Network, authority: trustme.CA
) -> None:
    """A certificate for another name is ``tls`` and final."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.invalid").configure_cert(context)
    with FaultServer(tls=context) as server:
        error = _failed(Call(sender, server.chat_url, verify=network.bundle))
    assert (error.cause, error.retryable) == ("tls", False)


class _NoTls(Listener):
    """Answers whatever comes in plain text."""

    def serve(self, link: Link, number: int) -> None:
        link.receive()
        link.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def test_a_handshake_with_a_plain_server_is_tls_and_final(sender: Sender, network: Network) -> None:
    """A server that answers a handshake with something else is ``tls``, and final."""
    with _NoTls() as server:
        error = _failed(Call(sender, f"https://{server.netloc}/", verify=network.bundle))
    assert (error.cause, error.retryable) == ("tls", False)


class _Leaving(Listener):
    """Closes when the handshake begins."""

    def serve(self, link: Link, number: int) -> None:
        link.receive()
        link.close()


def test_a_connection_closed_in_the_handshake_is_retryable(sender: Sender, network: Network) -> None:
    """A connection that is closed in the middle of the handshake may work at the next try."""
    with _Leaving() as server:
        error = _failed(Call(sender, f"https://{server.netloc}/", verify=network.bundle))
    assert (error.cause in ("tls", "reset"), error.retryable) == (True, True)


def test_an_unverified_certificate_is_accepted_where_the_user_says_so(sender: Sender, network: Network) -> None:
    """With ``verify=False`` the same server answers."""
    with FaultServer(tls=network.tls) as server:
        call = Call(sender, server.chat_url, verify=False)
        with pytest.warns(InsecureRequestWarning):
            call.run()
        assert call.error is None
        assert call.seen


@pytest.mark.parametrize("status", [403, 407, 502])
@pytest.mark.parametrize("proxy_tls", [False, True], ids=["plain", "tls"])
def test_a_proxy_that_refuses_is_named(status: int, proxy_tls: bool, sender: Sender, network: Network) -> None:
    """A proxy that says no to the CONNECT is ``proxy``, with its status in the message, and final."""
    tls = network.tls if proxy_tls else None
    with FaultServer(tls=network.tls) as server, ProxyServer("refuse", status=status, tls=tls) as proxy:
        error = _failed(Call(sender, server.chat_url, verify=network.bundle, proxies={"https": proxy.url}))
        assert (proxy.connects, server.connections) == (1, 0)
    assert (error.cause, error.status, error.retryable) == ("proxy", status, False)
    assert f"The proxy {proxy.netloc} answered HTTP {status}" in str(error)
    assert ("user and password" in str(error)) is (status == 407)


def test_a_proxy_whose_port_refuses_is_retryable(sender: Sender, network: Network) -> None:
    """A proxy whose port refuses is ``proxy``, and a resend may cure it."""
    with refused_port() as port:
        error = _failed(
            Call(sender, "https://127.0.0.1:9/", verify=network.bundle, proxies={"https": f"http://127.0.0.1:{port}"})
        )
    assert (error.cause, error.status, error.retryable) == ("proxy", None, True)
    assert f"No connection to the proxy 127.0.0.1:{port}" in str(error)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_without_tls_is_named_with_its_fix(scheme: str, sender: Sender) -> None:
    """A proxy that is no TLS server, with a URL that says so, is named, and what to write in its place."""
    with _Hasty(b"HTTP/1.1 400 Bad Request\r\n\r\n") as proxy:
        error = _failed(Call(sender, f"{scheme}://127.0.0.1:9/", proxies={scheme: f"https://{proxy.netloc}"}))
    assert (error.cause, error.status, error.retryable) == ("proxy", None, False)
    assert f"No connection to the proxy {proxy.netloc}" in str(error)
    assert "begins with http://" in str(error)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_bad_certificate_of_a_proxy_is_blamed_on_the_proxy(scheme: str, sender: Sender, network: Network) -> None:
    """The proxy's certificate is blamed, and the URL's host is not; what helps against it is said."""
    with FaultServer(tls=network.tls) as proxy:
        call = Call(sender, f"{scheme}://127.0.0.1:9/", proxies={scheme: f"https://{proxy.netloc}"})
        error = _failed(call)
        assert proxy.requests == []
    assert (error.cause, error.status, error.retryable) == ("proxy", None, False)
    assert f"the certificate of the proxy {proxy.netloc} does not verify" in str(error)
    assert "verify=" in str(error)


@pytest.mark.parametrize(("number", "retryable"), [(socket.EAI_NONAME, False), (socket.EAI_AGAIN, True)])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_unknown_proxy_name_is_blamed_on_the_proxy(
    number: int, retryable: bool, scheme: str, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy's name is blamed, and not that of the URL."""
    monkeypatch.setattr(socket, "getaddrinfo", _raise(socket.gaierror(number, "no")))
    error = _failed(Call(sender, f"{scheme}://127.0.0.1:9/", proxies={scheme: "http://proxy.test:3128"}))
    assert (error.cause, error.retryable) == ("proxy", retryable)
    assert "No connection to the proxy proxy.test:3128" in str(error)
    assert "127.0.0.1:9 does not exist" not in str(error)


class _Hasty(Listener):
    """A proxy that takes a CONNECT, sends ``answer`` and hangs up."""

    def __init__(self, answer: bytes, *, reset: bool = False) -> None:
        super().__init__(host="127.0.0.1", port=0)
        self._answer, self._reset = answer, reset

    def serve(self, link: Link, number: int) -> None:
        link.receive(65536)
        if self._answer:
            link.send(self._answer)
        if self._reset:
            link.reset()


@pytest.mark.parametrize(
    ("answer", "reset", "retryable"), [(b"", False, True), (b"", True, True), (b"What?\r\n\r\n", False, False)]
)
def test_a_proxy_that_breaks_off_is_named(answer: bytes, reset: bool, retryable: bool, sender: Sender) -> None:
    """A proxy that closes the connection in place of an answer is ``proxy`` too.

    An answer that is not HTTP is final.
    """
    with _Hasty(answer, reset=reset) as proxy:
        url = f"http://{proxy.netloc}"
        error = _failed(Call(sender, "https://127.0.0.1:9/", proxies={"https": url}))
    assert (error.cause, error.status, error.retryable) == ("proxy", None, retryable)
    assert f"The proxy {proxy.netloc}" in str(error)


def test_a_proxy_certificate_of_an_unknown_authority_is_final(sender: Sender, network: Network) -> None:
    """A TLS proxy with a certificate of an unknown authority is final, and nothing reaches the origin."""
    with FaultServer(tls=network.tls) as server, ProxyServer(tls=network.tls) as proxy:
        error = _failed(Call(sender, server.chat_url, proxies={"https": proxy.url}))
        assert server.connections == 0
    assert (error.cause in ("proxy", "tls"), error.retryable) == (True, False)


@pytest.mark.parametrize("text", ["refused it", "timed out", "certificate verify failed", "Name or service not known"])
def test_the_text_of_a_message_decides_nothing(text: str, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    """The errno alone decides, whatever the system's text is."""
    monkeypatch.setattr(socket.socket, "connect_ex", _raise(OSError(errno.EHOSTUNREACH, text)))
    monkeypatch.setattr(socket.socket, "connect", _raise(OSError(errno.EHOSTUNREACH, text)))
    assert _failed(Call(sender, "http://127.0.0.1:9/")).cause == "unreachable"


def test_an_error_of_the_callers_own_code_stays_what_it_is(sender: Sender) -> None:
    """An exception of an auth callable or a hook is raised unchanged, and nothing is sent."""

    class Mistake(Exception):
        pass

    def broken(request: Any) -> Any:
        raise Mistake

    def missing(request: Any) -> Any:
        raise FileNotFoundError(errno.ENOENT, "no token file")

    with FaultServer() as server:
        for auth, kind in ((broken, Mistake), (missing, FileNotFoundError)):
            call = Call(sender, server.chat_url, auth=auth)
            call.run()
            assert type(call.verdict.error) is kind
        assert server.requests == []


def test_a_callers_error_while_reading_stays_what_it_is(sender: Sender) -> None:
    """A mistake in the code that reads the answer is not taken for a broken connection."""

    def fail(call: Call, reply: Reply) -> None:
        raise KeyError("choices")

    with FaultServer() as server:
        call = Call(sender, server.chat_url, reading=fail)
        call.run()
        assert type(call.verdict.error) is KeyError
