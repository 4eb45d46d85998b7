"""A proxy that wants credentials: the error says that the proxy wants them.

The credentials that the proxy got are not repeated.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Client, ConnectFailed, ProviderError, Retry
from llmwatch.faults import FaultServer, ProxyServer, Script, steps
from tests.end_to_end.calls import asking
from tests.rows import each
from tests.session.entry_points import caught

HOST = "provider.invalid"
USER, WORD = "team-blue", "correct-horse-9"
BASIC = base64.b64encode(f"{USER}:{WORD}".encode()).decode()
RETRY = Retry(backoff=0.01)


def _answer(status: int, said: str = "no") -> Script:
    headers = [("Content-Type", "text/plain"), ("Proxy-Authenticate", 'Basic realm="squid"')]
    body = said.encode()
    return Script.of("refusal", steps.Head(status, headers, "length", len(body)), steps.Chunk(body), steps.End())


def _proxied(server: Any) -> dict[str, str]:
    url = f"http://{USER}:{WORD}@{server.netloc}"
    return {"http": url, "https": url}


def _hides(error: BaseException) -> bool:
    # What legacy code finds there is the request itself.
    kept = {name: value for name, value in vars(error).items() if name not in ("request", "response")}
    shown = f"{error} {error!r} {error.__cause__!r} {kept}"
    return not any(secret in shown for secret in (USER, WORD, BASIC))


def _collected(url: str, proxies: dict[str, str]) -> Any:
    with Client(retry=RETRY) as client:
        return client.collect("POST", url, json=asking(), proxies=proxies)


def test_a_407_without_a_tunnel_is_the_proxys() -> None:
    """The error names the proxy when the proxy answers in place of the server.

    It says that the request went no further.
    """
    with FaultServer(_answer(407, f"{USER} may not, nor {BASIC}")) as proxy:
        error = caught(ProviderError, _collected, f"http://{HOST}/v1/chat/completions", _proxied(proxy))
        assert [request.header("proxy-authorization") for request in proxy.requests] == [f"Basic {BASIC}"]
        assert error.status == 407
        assert error.retryable is False
        assert f"The proxy {proxy.netloc} answered HTTP 407" in str(error)
        assert f"handed nothing on to {HOST}" in str(error)
        assert "proxies=" in str(error)
        assert _hides(error)


@each("status", [400, 401, 403, 502, 503])
def test_another_status_may_be_the_proxys_or_the_servers(status: int) -> None:
    """Behind such a proxy the error says that any other status may be the server's."""
    with FaultServer(_answer(status)) as proxy:
        url = f"http://{HOST}/v1/chat/completions"
        with Client(retry=Retry.none()) as client:
            error = caught(ProviderError, client.collect, "POST", url, json=asking(), proxies=_proxied(proxy))
        assert str(error).startswith(f"{HOST} answered HTTP {status}")
        assert _hides(error)


def test_a_407_without_a_proxy_is_the_servers() -> None:
    """Without a proxy the 407 is the server's own."""
    with FaultServer(_answer(407)) as server:
        error = caught(ProviderError, _collected, server.chat_url, {})
        assert str(error).startswith(f"{server.netloc} answered HTTP 407")


@each("status", [407, 502, 503])
def test_a_status_of_a_connect_is_the_proxys(status: int) -> None:
    """The answer to a CONNECT is the proxy's own, whatever the status."""
    with ProxyServer("refuse", status=status) as proxy:
        error = caught(ConnectFailed, _collected, f"https://{HOST}/v1/chat/completions", _proxied(proxy))
        assert (error.cause, error.status) == ("proxy", status)
        assert f"The proxy {proxy.netloc} answered HTTP {status}" in str(error)
        assert HOST in str(error)
        assert _hides(error)


@each("install", [False, True])
def test_a_session_hands_the_407_on(install: bool) -> None:
    """A 407 is a response through a session, as with plain requests.

    A CONNECT's 407 is a ``ProxyError`` that names the proxy.
    """
    with FaultServer(_answer(407)) as server, ProxyServer("refuse", status=407) as proxy:
        with requests.Session() if install else llmwatch.Session(retry=RETRY) as session:
            if install:
                llmwatch.install(retry=RETRY)
            try:
                url = f"http://{HOST}/v1/chat/completions"
                assert session.post(url, json=asking(), proxies=_proxied(server)).status_code == 407
                with pytest.raises(requests.exceptions.ProxyError) as found:
                    session.post(f"https://{HOST}/v1/chat/completions", json=asking(), proxies=_proxied(proxy))
            finally:
                llmwatch.uninstall()
        assert f"The proxy {proxy.netloc} answered HTTP 407" in str(found.value)
        assert _hides(found.value)
