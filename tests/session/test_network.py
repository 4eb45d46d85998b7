"""Proxies, certificates and time-outs, through each entry point as without it."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from urllib3.util import Timeout

import llmwatch
from llmwatch import Retry
from llmwatch.faults import Context, FaultServer, ProxyServer, Script, blackhole, refused_port, steps
from tests.end_to_end.calls import asking
from tests.session.entry_points import Way, caught, record_of, together
from tests.session.scripts import reply
from tests.session.times import FREE, LIMIT, LONG, PATIENCE, SOON


def test_a_plain_url_goes_to_its_proxy_in_absolute_form(way: Way) -> None:
    """A plain URL is asked of the proxy in its absolute form, with the proxy's credentials."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        session.proxies["http"] = server.url.replace("://", "://me:secret@")
        answer = session.get("http://provider.invalid/file")
        (request,) = server.requests
        return answer.content, request.target, request.header("proxy-authorization")

    assert way.alike(act, reply(b"found")) == (b"found", "http://provider.invalid/file", "Basic bWU6c2VjcmV0")


@pytest.mark.parametrize("given", ["argument", "session", "environment"])
@pytest.mark.parametrize("through", ["plain", "tls"])
def test_an_https_url_goes_through_connect(
    way: Way, given: str, through: str, server_tls: ssl.SSLContext, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An https URL goes through CONNECT, from every source of the proxy.

    The proxy is plain or behind TLS. The connection is reused.
    """

    def act(session: requests.Session, server: FaultServer) -> Any:
        with ProxyServer(tls=server_tls if through == "tls" else None) as proxy:
            proxies = {"https": proxy.url}
            if given == "session":
                session.proxies = dict(proxies)
            if given == "environment":
                monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            more: dict[str, Any] = {"proxies": proxies} if given == "argument" else {}
            found = [session.get(server.url, verify=bundle, **more).content for _ in range(2)]
            session.close()
            return found, proxy.connects, server.connections

    assert way.alike(act, reply(b"found"), tls=server_tls) == ([b"found"] * 2, 1, 1)


def test_a_refused_connect_is_a_proxy_error(way: Way, server_tls: ssl.SSLContext, bundle: str) -> None:
    """A refused CONNECT is requests' ``ProxyError``, after one CONNECT."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        with ProxyServer("refuse", status=407) as proxy:
            error = caught(
                requests.exceptions.ProxyError, session.get, server.url, verify=bundle, proxies={"https": proxy.url}
            )
            assert error.request is not None
            return error.request.method, proxy.connects, len(server.requests)

    assert way.alike(act, reply(), tls=server_tls) == ("GET", 1, 0)


@pytest.mark.parametrize("proxy", ["http://", "http://[::1", "nonsense://x"])
def test_an_invalid_proxy_raises_what_requests_raises(way: Way, proxy: str) -> None:
    """The error is one that existing code catches, and nothing is sent."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        error = caught(Exception, session.get, server.url, proxies={"http": proxy})
        return isinstance(error, requests.RequestException), isinstance(error, ValueError), len(server.requests)

    way.alike(act, reply())


def test_verify_is_respected_in_every_form(
    way: Way, server_tls: ssl.SSLContext, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``verify`` is respected in every form, each once.

    A bundle verifies, no bundle is requests' ``SSLError``, ``verify=False`` does not ask, and the environment's bundle
    counts.
    """

    def act(session: requests.Session, server: FaultServer) -> Any:
        found: list[Any] = [session.get(server.url, verify=bundle).content]
        with pytest.warns(match="Unverified HTTPS request"):
            found.append(session.get(server.url, verify=False).content)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
        found.append(session.get(server.url).content)
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        connections = server.connections
        session.close()
        error = caught(requests.exceptions.SSLError, session.get, server.url)
        return found, isinstance(error, requests.ConnectionError), server.connections - connections

    assert way.alike(act, reply(b"found"), tls=server_tls) == ([b"found"] * 3, True, 1)


def test_a_missing_bundle_is_an_os_error(way: Way, server_tls: ssl.SSLContext) -> None:
    """A path that leads nowhere is an ``OSError``, before anything is sent."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        error = caught(OSError, session.get, server.url, verify="/nowhere/bundle.pem")
        return "/nowhere/bundle.pem" in str(error), server.connections

    assert way.alike(act, reply(), tls=server_tls) == (True, 0)


def test_a_client_certificate_is_shown(way: Way, authority: trustme.CA, bundle: str, tmp_path: Path) -> None:
    """``cert=`` is shown to a server that asks for one, as a file or as a pair."""
    own = authority.issue_cert("client@example.org")
    own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    own.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    def act(session: requests.Session, server: FaultServer) -> Any:
        session.verify = bundle
        pair = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
        found = [session.get(server.url, cert=cert).content for cert in (str(tmp_path / "both.pem"), pair)]
        error = caught(requests.ConnectionError, session.get, server.url)
        return found, error.request is not None

    assert way.alike(act, reply(b"found"), tls=context)[0] == [b"found"] * 2


TIMEOUTS = {
    "number": SOON,
    "pair": (LONG, SOON),
    "half a pair": (None, SOON),
    "Timeout": Timeout(connect=LONG, read=SOON),
    "Timeout, total": Timeout(total=SOON),
    "Timeout, all": Timeout(connect=LONG, read=LONG, total=SOON),
}


@pytest.mark.parametrize("script", ["silent", "headers-then-silent"])
def test_an_explicit_time_out_is_honoured(way: Way, script: str) -> None:
    """``timeout=`` in every form limits the silence before the answer and in it.

    The errors are requests' own exceptions.
    """

    def act(session: requests.Session, server: FaultServer) -> Any:
        def ask(timeout: str) -> Any:
            error = caught(requests.RequestException, session.post, server.url, data="x", timeout=TIMEOUTS[timeout])
            kinds = [requests.ReadTimeout, requests.Timeout, requests.ConnectionError]
            found = [isinstance(error, kind) for kind in kinds]
            return found[:2] if script == "silent" else found[2]

        found = together(ask, TIMEOUTS)
        server.wait_for_requests(len(TIMEOUTS), PATIENCE)
        return found

    assert way.alike(act, script) == [[True, True] if script == "silent" else True] * len(TIMEOUTS)


def test_an_explicit_time_out_becomes_the_limits(way: Way) -> None:
    """The record names the time-out as the limits' source.

    ``connect`` is the first, ``ttfb`` and ``stale`` are the second, and ``None`` leaves the defaults.
    """
    with FaultServer(reply()) as server, way.session() as session:
        given = record_of(session.get(server.url, timeout=(3.5, 27)))
        none = record_of(session.get(server.url, timeout=(None, None)))
        both = record_of(session.get(server.url, timeout=Timeout(connect=2, read=8, total=5)))
    limits = [[record.limits[name]["value"] for name in ("connect", "ttfb", "stale")] for record in (given, none, both)]
    assert limits == [[3.5, 27, 27], [10, 1800, 900], [2, 5, 5]]
    assert given.limits["ttfb"]["source"] == "timeout of the request"


def _in_two_steps(context: Context) -> Iterator[steps.Step]:
    """A head and a body, each of which takes most of the limit."""
    yield steps.Wait(0.7 * SOON)
    yield from context.answer([steps.Wait(0.7 * SOON), steps.Chunk(b"found")], content_type="text/plain")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_a_time_out_starts_anew_with_the_headers_of_an_ordinary_request(way: Way, method: str, stream: bool) -> None:
    """As in requests: an answer in two steps comes, after one request."""
    script = Script(name="two-steps", description="takes its time twice", play=_in_two_steps)

    def act(session: requests.Session, server: FaultServer) -> Any:
        response = session.request(method, server.url + "/report", data=b"x", stream=stream, timeout=SOON)
        return response.content, len(server.requests)

    assert way.alike(act, script) == (b"found", 1)


@pytest.mark.parametrize("script", ["silent", "stall-after-content"])
def test_a_longer_time_out_raises_no_set_limit(way: Way, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer ``timeout=`` raises no limit of an argument or of a variable.

    A library may send a longer one by itself.
    """
    name = "ttfb" if script == "silent" else "stale"

    def ask(session: requests.Session) -> None:
        with FaultServer(script) as server:
            post = functools.partial(session.post, server.chat_url, json=asking(), stream=True, timeout=LONG)
            error = caught(requests.RequestException, lambda: post().content)
            assert isinstance(error, llmwatch.WatchTimeout)
            assert (error.limit, error.limit_seconds) == (name, SOON)

    with way.session(limits=llmwatch.Limits(**{name: SOON}), retry=llmwatch.Retry.none()) as session:
        ask(session)
    monkeypatch.setenv(f"LLMWATCH_{name.upper()}_TIMEOUT_SECONDS", str(SOON))
    with way.session(retry=llmwatch.Retry.none()) as session:
        ask(session)


def test_a_shorter_time_out_lowers_a_set_limit(way: Way) -> None:
    """A shorter ``timeout=``, the program's own, lowers a limit that is set.

    A time-out that is set aside, by the argument or by the variable, lowers nothing.
    """
    with FaultServer("silent") as server, way.session(limits=llmwatch.Limits(ttfb=LONG)) as session:
        error = caught(requests.RequestException, session.get, server.url, timeout=(LONG, LIMIT))
        assert isinstance(error, llmwatch.WatchTimeout)
        assert (error.limit, error.limit_seconds) == ("ttfb", LIMIT)


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_a_time_out_can_be_set_aside(way: Way, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script whose ``timeout=`` is too short gets its answer; the record notes what it said."""
    if by == "variable":
        monkeypatch.setenv("LLMWATCH_OVERRIDE_TIMEOUTS", "1")
    with (
        FaultServer(f"late-headers:after={2 * LIMIT}") as server,
        way.session(override_timeouts=by == "argument") as session,
    ):
        response = session.get(server.url, timeout=LIMIT)
        assert response.status_code == 200
        assert len(server.requests) == 1
    limit = record_of(response).limits["ttfb"]
    assert (limit["value"], limit["timeout"], limit["source"]) == (1800, LIMIT, "profile local, plain call")


@pytest.mark.parametrize("timeout", ["5", (1, 2, 3), (1,), -1, [1, 2], True, (1, "x"), float("nan")])
def test_an_invalid_time_out_is_a_value_error(way: Way, timeout: Any) -> None:
    """The error is that of requests, and nothing is sent."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        caught(ValueError, session.get, server.url, timeout=timeout)
        return server.connections

    if timeout != timeout:
        # Plain requests waits for no time at all.
        with FaultServer() as server, way.session() as session:
            assert act(session, server) == 0
    else:
        assert way.alike(act, reply()) == 0


def test_an_invalid_environment_is_a_config_error(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable and is not one of requests', which a retry loop would catch.

    Nothing is sent.
    """
    monkeypatch.setenv("LLMWATCH_TTFB_TIMEOUT_SECONDS", "soon")
    with FaultServer() as server, way.session() as session:
        error = caught(llmwatch.ConfigError, session.get, server.url)
        assert error.field == "LLMWATCH_TTFB_TIMEOUT_SECONDS"
        assert not isinstance(error, requests.RequestException)
        assert server.connections == 0


def test_connecting_takes_no_longer_than_its_time_out(way: Way) -> None:
    """If no server answers, the connect time-out ends the call as requests' ``ConnectTimeout``."""
    with blackhole() as (host, port), way.session(retry=Retry.none()) as session:
        error = caught(requests.ConnectTimeout, session.get, f"http://{host}:{port}/", timeout=(LIMIT, LONG))
    assert isinstance(error, llmwatch.WatchTimeout)
    assert isinstance(error, (requests.ConnectionError, requests.Timeout))
    assert (error.limit, error.limit_seconds) == ("connect", LIMIT)
    assert error.elapsed < LIMIT + FREE


def test_a_refused_connection_is_a_connection_error(way: Way) -> None:
    """A port that refuses is requests' ``ConnectionError``, and no time-out.

    It is raised after all attempts, since nothing was sent.
    """
    with refused_port() as port:
        with way.session() as session:
            error = caught(requests.ConnectionError, session.post, f"http://127.0.0.1:{port}/", data="x")
        assert isinstance(error, llmwatch.ConnectFailed)
        assert not isinstance(error, requests.Timeout)
        assert error.record is not None
        assert len(error.record.attempts) == 3


def test_an_unknown_host_is_a_connection_error_after_one_look_up(way: Way) -> None:
    """A name that does not exist is a ``ConnectionError`` after one look-up."""
    with way.session() as session:
        error = caught(requests.ConnectionError, session.get, "http://no-such-host.invalid/")
    assert isinstance(error, llmwatch.ConnectFailed)
    assert error.record is not None
    assert error.cause in ("dns", "dns_temporary")
    assert len(error.record.attempts) == (1 if error.cause == "dns" else 3)


@pytest.mark.parametrize("url", ["foo://x/", "no-scheme", "http://", "http://*.example/", "http://127.0.0.1:99999/"])
def test_an_unusable_url_raises_what_requests_raises(way: Way, url: str) -> None:
    """An unusable URL raises the exception of requests."""
    with requests.Session() as plain:
        expected = caught(requests.RequestException, plain.get, url)
    with way.session() as session:
        assert type(caught(requests.RequestException, session.get, url)) is type(expected)
