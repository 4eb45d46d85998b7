"""A proxy through which no connection comes about, and the library's own client beside ours."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import openai
import pytest
import requests

import llmwatch
from llmwatch import Limits, Retry
from llmwatch.faults import refused_port
from llmwatch.faults.link import Link
from llmwatch.faults.listener import Listener
from llmwatch.sdk import Transport
from tests.rows import each
from tests.sdk.times import LONG, PATIENCE

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Say it."}]}


class Answering(Listener):
    """A proxy that reads the request, sends ``answer`` and hangs up, with a reset if there is no answer."""

    def __init__(self, answer: bytes | None) -> None:
        super().__init__(host="127.0.0.1", port=0)
        self._answer = answer

    def serve(self, link: Link, number: int) -> None:
        link.receive(65536)
        if self._answer is None:
            link.reset()
        elif self._answer:
            link.send(self._answer)


@contextlib.contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    with Answering(answer) as proxy:
        yield f"http://{proxy.netloc}"


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    with refused_port() as port:
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def unknown() -> Iterator[str]:
    look_up = socket.getaddrinfo

    def unknown_to_it(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in ("proxy.test", b"proxy.test"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown_to_it)
        yield "http://proxy.test:3128"


@contextlib.contextmanager
def without_tls() -> Iterator[str]:
    with Answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as proxy:
        yield f"https://{proxy.netloc}"


def refusing(status: int) -> Callable[[], contextlib.AbstractContextManager[str]]:
    return lambda: answering(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)


PROXIES = [
    ("refused", nobody, "ConnectError", 3),
    ("unknown", unknown, "ConnectError", 1),
    ("no TLS", without_tls, "ConnectError", 1),
    ("403", refusing(403), "ProxyError", 1),
    ("407", refusing(407), "ProxyError", 1),
    ("502", refusing(502), "ProxyError", 1),
    ("reset", lambda: answering(None), "ReadError", 3),
    ("end", lambda: answering(b""), "RemoteProtocolError", 3),
    ("no HTTP", lambda: answering(b"What?\r\n\r\n"), "RemoteProtocolError", 1),
]


@libraries
@each(("name", "proxy", "kind", "attempts"), PROXIES)
def test_a_refused_tunnel_is_the_librarys_own_error(
    library: Any, name: str, proxy: Any, kind: str, attempts: int
) -> None:
    """The error is ``ConnectFailed`` too, and blames the proxy."""
    session = requests.Session()
    with proxy() as url:
        session.proxies = {"https": url}
        with library.Client(proxy=url, timeout=PATIENCE) as native, pytest.raises(library.TransportError) as theirs:
            native.post("https://127.0.0.1:9/v1/chat/completions", json=CHAT)
        made = Transport(session=session, limits=Limits(connect=LONG, ttfb=LONG), retry=Retry(backoff=0.01))
        with library.Client(transport=made, timeout=None) as client, pytest.raises(llmwatch.ConnectFailed) as ours:
            client.post("https://127.0.0.1:9/v1/chat/completions", json=CHAT)
    error: Any = ours.value
    assert theirs.type is getattr(library, kind)
    assert isinstance(error, theirs.type)
    assert (error.cause, len(error.record.attempts)) == ("proxy", attempts)
    assert "roxy" in str(error)
    assert error.status == (int(name) if name.isdecimal() else None)


@libraries
@each(("name", "proxy", "kind", "attempts"), [row for row in PROXIES if row[2] == "ConnectError"])
def test_a_missing_forwarding_proxy_is_the_librarys_own_error(
    library: Any, name: str, proxy: Any, kind: str, attempts: int
) -> None:
    """Plain HTTP goes to the proxy without a tunnel.

    Where no connection to it comes about the error is the same.
    """
    session = requests.Session()
    with proxy() as url:
        session.proxies = {"http": url}
        with library.Client(proxy=url, timeout=PATIENCE) as native, pytest.raises(getattr(library, kind)):
            native.get("http://else.test/")
        made = Transport(session=session, limits=Limits(connect=LONG), retry=Retry(backoff=0.01))
        with library.Client(transport=made, timeout=None) as client, pytest.raises(getattr(library, kind)) as caught:
            client.get("http://else.test/")
    assert caught.value.cause == "proxy"
    assert "else.test does not exist" not in str(caught.value)


def test_an_sdk_raises_its_own_connection_error_for_a_proxy() -> None:
    """Through the helper it is the SDK's ``APIConnectionError`` with ours as its cause."""
    session = requests.Session()
    with refusing(407)() as url:
        session.proxies = {"https": url}
        where = {"base_url": "https://127.0.0.1:9", "api_key": "k"}
        with (
            llmwatch.sdk.openai(session=session, **where) as client,
            pytest.raises(openai.APIConnectionError) as caught,
        ):
            client.chat.completions.create(**CHAT)
    assert isinstance(caught.value.__cause__, llmwatch.ConnectFailed)
    assert "HTTP 407" in str(caught.value)
