"""TLS, certificates and proxies: each case has the same verdict with and without ``install()``.

The verdict is the status or the class of the library's error. The same requests reach the servers and the proxies.
"""

from __future__ import annotations

import contextlib
import ssl
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import certifi
import httpx
import httpx2
import pytest
import requests
import trustme
from urllib3.exceptions import InsecureRequestWarning

import llmwatch
from llmwatch import CallRecord, Limits, Retry
from llmwatch.faults import FaultServer, ProxyServer, refused_port
from tests.hooks.test_httpx_transports import CHAT
from tests.sdk.test_proxies import Answering
from tests.sdk.times import LONG

pytestmark = pytest.mark.usefixtures("nothing_left")

LIBRARIES: dict[str, Any] = {"httpx": httpx, "httpx2": httpx2}
PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class World:
    """The servers and proxies of a case, and files with certificates.

    ``strict`` asks for a client's certificate, ``old`` speaks TLS 1.2 alone, and ``forwarding`` answers in place of
    any server of plain HTTP.
    """

    authority: trustme.CA
    bundle: str
    client_pem: str
    web: FaultServer
    plain: FaultServer
    strict: FaultServer
    old: FaultServer
    proxy: ProxyServer
    tls_proxy: ProxyServer
    refusing: ProxyServer
    forwarding: FaultServer
    tls_forwarding: FaultServer
    speechless: Answering
    """It answers a handshake in plain text."""
    closed: int
    """A port on which nothing listens."""

    def context(self, **changes: Any) -> ssl.SSLContext:
        """A context that trusts the servers, with ``changes`` of its attributes."""
        context = ssl.create_default_context(cafile=self.bundle)
        for name, value in changes.items():
            setattr(context, name, value)
        return context

    def with_certificate(self) -> ssl.SSLContext:
        """The same with a client's certificate."""
        context = self.context()
        context.load_cert_chain(self.client_pem)
        return context

    def requests_so_far(self) -> dict[str, list[Any]]:
        """What each server and proxy got, in order."""
        servers = [name for name, one in vars(self).items() if isinstance(one, FaultServer)]
        proxies = [name for name, one in vars(self).items() if isinstance(one, ProxyServer)]
        seen: dict[str, list[Any]] = {
            # A forwarding proxy gets its own header in another place.
            name: [(one.method, one.target, sorted(one.headers), one.body) for one in getattr(self, name).requests]
            for name in servers
        }
        for name in proxies:
            seen[name] = [
                (one.target, [pair for pair in one.headers if pair[0].lower() not in _OF_THE_CONNECT])
                for one in getattr(self, name).requests
            ]
        return seen


_OF_THE_CONNECT = ("accept", "host")
"""Headers of a CONNECT that http.client and httpcore choose: httpcore adds ``Accept: */*``."""


@pytest.fixture
def world(authority: trustme.CA, bundle: str, server_tls: ssl.SSLContext, tmp_path: Path) -> Iterator[World]:
    """The servers of a case, which run until its end."""
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(strict)
    authority.configure_trust(strict)
    strict.verify_mode = ssl.CERT_REQUIRED
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(old)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    own = authority.issue_cert("client.test").private_key_and_cert_chain_pem
    (tmp_path / "client.pem").write_bytes(own.bytes())
    with contextlib.ExitStack() as stack:
        yield World(
            authority=authority,
            bundle=bundle,
            client_pem=str(tmp_path / "client.pem"),
            web=stack.enter_context(FaultServer(tls=server_tls)),
            plain=stack.enter_context(FaultServer()),
            strict=stack.enter_context(FaultServer(tls=strict)),
            old=stack.enter_context(FaultServer(tls=old)),
            proxy=stack.enter_context(ProxyServer()),
            tls_proxy=stack.enter_context(ProxyServer(tls=server_tls)),
            refusing=stack.enter_context(ProxyServer("refuse", status=407)),
            forwarding=stack.enter_context(FaultServer()),
            tls_forwarding=stack.enter_context(FaultServer(tls=server_tls)),
            speechless=stack.enter_context(Answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
            closed=stack.enter_context(refused_port()),
        )


Given = Callable[[World], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One client and its environment; ``expected`` is the verdict."""

    name: str
    expected: int | str
    client: Callable[[Any, World], dict[str, Any]] = lambda library, world: {}
    """The arguments of the library's client."""
    environment: Callable[[World], dict[str, str]] = lambda world: {}
    to: str = "web"


def _trusting(more: Callable[[Any, World], dict[str, Any]]) -> Callable[[Any, World], dict[str, Any]]:
    return lambda library, world: {"verify": world.context(), **more(library, world)}


def _with_user(url: str) -> str:
    return url.replace("://", "://user:p%40ss@")


UNTRUSTED = "an environment that is not trusted"

CASES = [
    Case("a context that trusts", 200, lambda lib, w: {"verify": w.context()}),
    Case("a context that does not", "ConnectError", lambda lib, w: {"verify": ssl.create_default_context()}),
    Case("no verification", 200, lambda lib, w: {"verify": False}),
    Case("a path", 200, lambda lib, w: {"verify": w.bundle}),
    Case("the default", "ConnectError"),
    Case("another name", "ConnectError", lambda lib, w: {"verify": w.context()}, to="elsewhere"),
    Case("no name checked", 200, lambda lib, w: {"verify": w.context(check_hostname=False)}, to="elsewhere"),
    Case("TLS 1.2 alone", 200, lambda lib, w: {"verify": w.context(maximum_version=ssl.TLSVersion.TLSv1_2)}),
    Case(
        "no version in common",
        "ConnectError",
        lambda lib, w: {"verify": w.context(minimum_version=ssl.TLSVersion.TLSv1_3)},
        to="old",
    ),
    Case("a certificate", 200, lambda lib, w: {"verify": w.with_certificate()}, to="strict"),
    Case("no certificate", "ReadError", lambda lib, w: {"verify": w.context()}, to="strict"),
    Case(
        "no certificate in TLS 1.2",
        "ConnectError",
        lambda lib, w: {"verify": w.context(maximum_version=ssl.TLSVersion.TLSv1_2)},
        to="strict",
    ),
    Case("a server without TLS", "ConnectError", lambda lib, w: {"verify": w.context()}, to="speechless"),
    Case("SSL_CERT_FILE", 200, environment=lambda w: {"SSL_CERT_FILE": w.bundle}),
    Case("SSL_CERT_FILE of others", "ConnectError", environment=lambda w: {"SSL_CERT_FILE": certifi.where()}),
    Case(
        "SSL_CERT_FILE with certificate",
        200,
        lambda lib, w: {"cert": w.client_pem},
        lambda w: {"SSL_CERT_FILE": w.bundle},
        to="strict",
    ),
    Case("REQUESTS_CA_BUNDLE", "ConnectError", environment=lambda w: {"REQUESTS_CA_BUNDLE": w.bundle}),
    Case(
        UNTRUSTED,
        "ConnectError",
        lambda lib, w: {"trust_env": False},
        lambda w: {"SSL_CERT_FILE": w.bundle},
    ),
    # Proxies of TLS targets.
    Case("a proxy", 200, _trusting(lambda lib, w: {"proxy": w.proxy.url})),
    Case("a proxy with a user", 200, _trusting(lambda lib, w: {"proxy": _with_user(w.proxy.url)})),
    Case("a proxy with auth=", 200, _trusting(lambda lib, w: {"proxy": lib.Proxy(w.proxy.url, auth=("u", "p"))})),
    Case(
        "a proxy with headers",
        200,
        _trusting(lambda lib, w: {"proxy": lib.Proxy(w.proxy.url, headers={"X-Proxy": "1"})}),
    ),
    Case("a proxy that wants a user", "ProxyError", _trusting(lambda lib, w: {"proxy": w.refusing.url})),
    Case(
        "a proxy that is not there", "ConnectError", _trusting(lambda lib, w: {"proxy": f"http://127.0.0.1:{w.closed}"})
    ),
    Case("a proxy, and a server not trusted", "ConnectError", lambda lib, w: {"proxy": w.proxy.url}),
    Case("HTTPS_PROXY", 200, _trusting(lambda lib, w: {}), lambda w: {"HTTPS_PROXY": _with_user(w.proxy.url)}),
    Case("https_proxy", 200, _trusting(lambda lib, w: {}), lambda w: {"https_proxy": w.proxy.url}),
    Case("ALL_PROXY", 200, _trusting(lambda lib, w: {}), lambda w: {"ALL_PROXY": w.proxy.url}),
    Case("HTTP_PROXY for a TLS server", 200, _trusting(lambda lib, w: {}), lambda w: {"HTTP_PROXY": w.refusing.url}),
    Case(
        "HTTPS_PROXY before ALL_PROXY",
        200,
        _trusting(lambda lib, w: {}),
        lambda w: {"HTTPS_PROXY": w.proxy.url, "ALL_PROXY": w.refusing.url},
    ),
    Case(
        "NO_PROXY",
        200,
        _trusting(lambda lib, w: {}),
        lambda w: {"HTTPS_PROXY": w.refusing.url, "NO_PROXY": "localhost"},
    ),
    Case(
        "NO_PROXY for all", 200, _trusting(lambda lib, w: {}), lambda w: {"ALL_PROXY": w.refusing.url, "NO_PROXY": "*"}
    ),
    Case(
        "NO_PROXY for others",
        "ProxyError",
        _trusting(lambda lib, w: {}),
        lambda w: {"HTTPS_PROXY": w.refusing.url, "NO_PROXY": "else.test"},
    ),
    Case(
        "a proxy in the environment not trusted",
        200,
        _trusting(lambda lib, w: {"trust_env": False}),
        lambda w: {"HTTPS_PROXY": w.refusing.url},
    ),
    Case(
        "an argument before the environment",
        200,
        _trusting(lambda lib, w: {"proxy": w.proxy.url}),
        lambda w: {"HTTPS_PROXY": w.refusing.url, "NO_PROXY": "localhost"},
    ),
    # A proxy over TLS, which has a context of its own.
    Case("a TLS proxy", 200, _trusting(lambda lib, w: {"proxy": lib.Proxy(w.tls_proxy.url, ssl_context=w.context())})),
    Case("a TLS proxy not trusted", "ConnectError", _trusting(lambda lib, w: {"proxy": w.tls_proxy.url})),
    Case(
        "a TLS proxy trusted alone",
        "ConnectError",
        lambda lib, w: {"proxy": lib.Proxy(w.tls_proxy.url, ssl_context=w.context())},
    ),
    Case(
        "a TLS proxy with a user",
        200,
        _trusting(lambda lib, w: {"proxy": lib.Proxy(w.tls_proxy.url, auth=("u", "p"), ssl_context=w.context())}),
    ),
    # Proxies of servers of plain HTTP.
    Case("a forwarding proxy", 200, lambda lib, w: {"proxy": _with_user(w.forwarding.url)}, to="plain"),
    Case("HTTP_PROXY", 200, environment=lambda w: {"HTTP_PROXY": _with_user(w.forwarding.url)}, to="plain"),
    Case(
        "http_proxy and NO_PROXY",
        200,
        environment=lambda w: {"http_proxy": w.refusing.url, "NO_PROXY": "localhost"},
        to="plain",
    ),
    Case(
        "a forwarding TLS proxy",
        200,
        lambda lib, w: {"proxy": lib.Proxy(w.tls_forwarding.url, ssl_context=w.context())},
        to="plain",
    ),
    Case(
        "a forwarding TLS proxy not trusted", "ConnectError", lambda lib, w: {"proxy": w.tls_forwarding.url}, to="plain"
    ),
    # Mounts, each with settings of its own.
    Case("a mount for TLS", 200, lambda lib, w: {"mounts": {"https://": lib.HTTPTransport(verify=w.context())}}),
    Case(
        "a mount for another host",
        "ConnectError",
        lambda lib, w: {"mounts": {"https://else.test": lib.HTTPTransport(verify=w.context())}},
    ),
    Case(
        "a mount with a proxy",
        200,
        lambda lib, w: {"mounts": {"all://localhost": lib.HTTPTransport(verify=w.context(), proxy=w.proxy.url)}},
    ),
    Case(
        "a mount without the proxy",
        200,
        _trusting(lambda lib, w: {"proxy": w.refusing.url, "mounts": {"all://localhost": None}}),
    ),
    Case(
        "a mount before the environment",
        200,
        lambda lib, w: {"mounts": {"https://": lib.HTTPTransport(verify=w.context())}},
        lambda w: {"HTTPS_PROXY": w.refusing.url},
    ),
]


def _url(world: World, to: str) -> str:
    if to == "elsewhere":
        return f"https://127.0.0.1:{world.old.port}{PATH}"
    if to == "plain":
        return f"http://localhost:{world.plain.port}{PATH}"
    return f"https://localhost:{getattr(world, to).port}{PATH}"


def _in_words(error: Exception, package: str) -> str:
    """The class of ``package`` that ``error`` is an instance of."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] == package)


def _watched(records: list[CallRecord]) -> None:
    llmwatch.install(limits=Limits(connect=LONG, ttfb=LONG), retry=Retry(max_attempts=1), sinks=[records.append])


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_case_of_httpx_has_the_same_verdict(
    world: World, case: Case, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own client and the watched one agree, and the watched call has a record."""
    library = LIBRARIES[name]
    for variable, value in case.environment(world).items():
        monkeypatch.setenv(variable, value)

    def verdict() -> tuple[int | str, dict[str, list[Any]]]:
        before = world.requests_so_far()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of paths and cert=
            client = library.Client(timeout=LONG, **case.client(library, world))
        with client:
            try:
                result: int | str = client.post(_url(world, case.to), json=CHAT).status_code
            except library.TransportError as error:
                result = _in_words(error, name)
        return result, {at: sent[len(before[at]) :] for at, sent in world.requests_so_far().items()}

    bare = verdict()
    # httpx2 before 2.16 trusts the variables all the same.
    assert bare[0] == case.expected or (case.name == UNTRUSTED and httpx2.__version__ < "2.16")
    records: list[CallRecord] = []
    _watched(records)
    assert verdict() == bare
    assert [record.outcome for record in records] == ["done" if bare[0] == 200 else "failed"]


def _proxies(url: str) -> dict[str, str]:
    return {"http": url, "https": url}


OF_REQUESTS = [
    Case("a path", 200, lambda lib, w: {"verify": w.bundle}),
    Case("the default", "SSLError"),
    Case("no verification", 200, lambda lib, w: {"verify": False}),
    Case("another name", "SSLError", lambda lib, w: {"verify": w.bundle}, to="elsewhere"),
    Case("a certificate", 200, lambda lib, w: {"verify": w.bundle, "cert": w.client_pem}, to="strict"),
    Case("no certificate", "SSLError", lambda lib, w: {"verify": w.bundle}, to="strict"),
    Case("a server without TLS", "SSLError", lambda lib, w: {"verify": w.bundle}, to="speechless"),
    Case("REQUESTS_CA_BUNDLE", 200, environment=lambda w: {"REQUESTS_CA_BUNDLE": w.bundle}),
    Case("SSL_CERT_FILE", "SSLError", environment=lambda w: {"SSL_CERT_FILE": w.bundle}),
    Case("a proxy", 200, lambda lib, w: {"verify": w.bundle, "proxies": _proxies(_with_user(w.proxy.url))}),
    Case("a proxy that wants a user", "ProxyError", lambda lib, w: {"proxies": _proxies(w.refusing.url)}),
    Case("HTTPS_PROXY", 200, lambda lib, w: {"verify": w.bundle}, lambda w: {"HTTPS_PROXY": _with_user(w.proxy.url)}),
    Case(
        "NO_PROXY",
        200,
        lambda lib, w: {"verify": w.bundle},
        lambda w: {"HTTPS_PROXY": w.refusing.url, "NO_PROXY": "localhost"},
    ),
    Case("a forwarding proxy", 200, lambda lib, w: {"proxies": _proxies(_with_user(w.forwarding.url))}, to="plain"),
    Case("HTTP_PROXY", 200, environment=lambda w: {"HTTP_PROXY": _with_user(w.forwarding.url)}, to="plain"),
]


@pytest.mark.parametrize("case", OF_REQUESTS, ids=[case.name for case in OF_REQUESTS])
def test_a_case_of_requests_has_the_same_verdict(world: World, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """``requests.post`` agrees with itself, and the watched call has a record."""
    for variable, value in case.environment(world).items():
        monkeypatch.setenv(variable, value)

    def verdict() -> tuple[int | str, dict[str, list[Any]]]:
        before = world.requests_so_far()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)
            try:
                answer = requests.post(_url(world, case.to), json=CHAT, timeout=LONG, **case.client(requests, world))
                result: int | str = answer.status_code
            except requests.RequestException as error:
                result = _in_words(error, "requests")
        return result, {at: sent[len(before[at]) :] for at, sent in world.requests_so_far().items()}

    bare = verdict()
    assert bare[0] == case.expected
    records: list[CallRecord] = []
    _watched(records)
    assert verdict() == bare
    assert [record.outcome for record in records] == ["done" if case.expected == 200 else "failed"]
