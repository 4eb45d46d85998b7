"""The extensions of a request that change what is on the wire.

The test compares them with what the library's own client makes of them.
"""

from __future__ import annotations

import ssl
from typing import Any

import httpx
import httpx2
import pytest
import requests
import trustme

import llmwatch
from llmwatch import Limits
from llmwatch.faults import ProxyServer
from llmwatch.sdk import Transport
from tests.rows import each
from tests.sdk.clients import QUICK
from tests.sdk.times import LONG, PATIENCE, SOON

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Say it."}]}
STREAM = {**CHAT, "stream": True}


class Named:
    """A TLS context that notes which names it is asked for."""

    def __init__(self, authority: trustme.CA) -> None:
        self.names: list[str | None] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "one.test", "two.test").configure_cert(self.context)
        self.context.sni_callback = lambda tls, name, context: self.names.append(name)


def native(library: Any, bundle: str | None = None) -> Any:
    verify = ssl.create_default_context(cafile=bundle) if bundle else True
    return library.Client(timeout=PATIENCE, verify=verify)


def watched(library: Any, **settings: Any) -> Any:
    made = Transport(**{"limits": Limits(ttfb=LONG), "retry": QUICK, **settings})
    return library.Client(transport=made, timeout=None)


# -- sni_hostname --------------------------------------------------------------


@libraries
@each(
    ("name", "asked", "verifies"),
    [("one.test", "one.test", True), (b"two.test", "two.test", True), ("other.test", "other.test", False)]
    + [(name, None, True) for name in (None, "", b"")],
)
def test_a_server_name_is_sent_and_verified(
    serve: Any, authority: trustme.CA, bundle: str, library: Any, name: Any, asked: str | None, verifies: bool
) -> None:
    """The server is asked for the name, and its certificate must have it.

    The URL and the Host header stay.
    """
    named = Named(authority)
    server = serve(tls=named.context)
    for client in (native(library, bundle), watched(library, verify=bundle)):
        with client:
            if verifies:
                assert client.get(server.url, extensions={"sni_hostname": name}).status_code == 200
            else:
                with pytest.raises(library.ConnectError):
                    client.get(server.url, extensions={"sni_hostname": name})
    assert named.names == [asked, asked]
    assert [one.header("host") for one in server.requests] == [server.netloc] * (2 if verifies else 0)


@libraries
def test_a_connection_belongs_to_one_server_name(serve: Any, authority: trustme.CA, bundle: str, library: Any) -> None:
    """Another name is another connection, which is verified for it; the same name finds its own again."""
    named = Named(authority)
    server = serve(tls=named.context)
    with watched(library, verify=bundle) as client:
        for name in ("one.test", "two.test", None, "one.test", "two.test", None):
            client.post(server.chat_url, json=CHAT, extensions={"sni_hostname": name})
    assert named.names == ["one.test", "two.test", None]


@libraries
def test_a_server_name_holds_in_a_tunnel(serve: Any, authority: trustme.CA, bundle: str, library: Any) -> None:
    """In a tunnel the server is asked for the name too."""
    named, session = Named(authority), requests.Session()
    server = serve(tls=named.context)
    with ProxyServer() as proxy, watched(library, verify=bundle, session=session) as client:
        session.proxies = {"https": proxy.url}
        assert client.get(server.url, extensions={"sni_hostname": "one.test"}).status_code == 200
        assert [one.target for one in proxy.requests] == [server.netloc]
    assert named.names == ["one.test"]


@libraries
def test_a_server_name_has_no_effect_without_tls(serve: Any, library: Any) -> None:
    """Plain HTTP has no name to ask for."""
    server = serve()
    with watched(library) as client:
        assert client.get(server.url, extensions={"sni_hostname": "one.test"}).status_code == 200


@libraries
def test_a_server_name_holds_for_every_attempt(serve: Any, authority: trustme.CA, bundle: str, library: Any) -> None:
    """A resend asks for the same name."""
    named = Named(authority)
    server = serve("silent", "healthy", tls=named.context)
    with watched(library, verify=bundle, limits=Limits(ttfb=SOON)) as client:
        client.post(server.chat_url, json=STREAM, extensions={"sni_hostname": "one.test"})
    assert named.names == ["one.test", "one.test"]


@libraries
@each(
    ("name", "error"),
    [(3, TypeError), (["one.test"], TypeError), (".one.test", llmwatch.ConfigError), ("a..b", llmwatch.ConfigError)],
)
def test_an_invalid_server_name_is_refused(serve: Any, library: Any, name: Any, error: type[Exception]) -> None:
    """An invalid server name is refused, and nothing is sent."""
    server = serve()
    with watched(library) as client, pytest.raises(error, match="sni_hostname"):
        client.get(server.url, extensions={"sni_hostname": name})
    assert server.connections == 0


# -- target --------------------------------------------------------------------

TARGETS = [b"/test^path", "/x?a=b+c", b"*", b"http://else.test/x", b"/a#f", b"/%7euser/../b", b"//x"]


@libraries
@each("target", TARGETS)
def test_a_target_is_sent_byte_for_byte(serve: Any, library: Any, target: Any) -> None:
    """The target stands in the first line in place of the URL's path; the Host header is the URL's."""
    server = serve()
    for client in (native(library), watched(library)):
        with client:
            assert client.get(server.url + "/a?b=c", extensions={"target": target}).status_code == 200
    sent = target.decode() if isinstance(target, bytes) else target
    assert [(one.target, one.header("host")) for one in server.requests] == [(sent, server.netloc)] * 2


@libraries
def test_a_targets_path_decides_about_a_model_call(serve: Any, library: Any) -> None:
    """A model's path in the target makes a model call: its silence is resent, to the same target."""
    server = serve("silent", "healthy")
    with watched(library, limits=Limits(ttfb=SOON)) as client:
        response = client.post(server.url, json=STREAM, extensions={"target": b"/v1/chat/completions"})
    assert response.status_code == 200
    assert [one.target for one in server.requests] == ["/v1/chat/completions"] * 2


@libraries
def test_a_target_stays_out_of_the_tunnel(serve: Any, server_tls: ssl.SSLContext, bundle: str, library: Any) -> None:
    """The proxy is asked for the server, and the server for the target."""
    server, session = serve(tls=server_tls), requests.Session()
    with ProxyServer() as proxy, watched(library, verify=bundle, session=session) as client:
        session.proxies = {"https": proxy.url}
        assert client.get(server.url, extensions={"target": b"/t^"}).status_code == 200
        assert [one.target for one in proxy.requests] == [server.netloc]
    assert [one.target for one in server.requests] == ["/t^"]


@libraries
def test_a_target_goes_to_a_proxy_with_its_server(serve: Any, library: Any) -> None:
    """A proxy that forwards plain HTTP needs to know where to."""
    server, session = serve(), requests.Session()
    session.proxies = {"http": server.url}
    with watched(library, session=session) as client:
        client.get("http://else.test:8080/a", extensions={"target": b"/t^"})
        client.get("http://else.test:8080/a", extensions={"target": b"*"})
    assert [one.target for one in server.requests] == ["http://else.test:8080/t^", "*"]


@libraries
@each("target", [b"/a b", b"/\xc3\xa9", b"", b"/a\r\nX-Other: 1", "/\u00e9", 3, None])
def test_an_invalid_target_is_refused(serve: Any, library: Any, target: Any) -> None:
    """An invalid target is refused as the library refuses it, and nothing is sent."""
    server, raised = serve(), []
    for client in (native(library), watched(library)):
        with client, pytest.raises((TypeError, library.LocalProtocolError)) as caught:
            client.get(server.url, extensions={"target": target})
        raised.append(caught.type)
    assert raised[0] is raised[1]
    assert "target" in str(caught.value)
    # The library connects before it looks.
    assert server.requests == []
