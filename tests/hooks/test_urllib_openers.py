"""The openers of ``urllib.request`` under ``install()``: their connections, responses and handlers."""

from __future__ import annotations

import base64
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

import llmwatch
from llmwatch import CallRecord, Limits, Retry
from llmwatch.faults import ProxyServer
from llmwatch.hooks.left_alone import counts
from tests.hooks.bare_calls import CHAT, STREAM, posted
from tests.sdk.times import LONG, SOON

pytestmark = pytest.mark.usefixtures("nothing_left")

Install = Callable[..., list[CallRecord]]
HANDLER = urllib.request.AbstractHTTPHandler


@pytest.fixture
def install() -> Install:
    """Install, and return the records that come."""

    def made(limits: Limits | None = None, **retry: Any) -> list[CallRecord]:
        records: list[CallRecord] = []
        given = Retry(**{"backoff": 0.01, **retry})
        llmwatch.install(limits=limits or Limits(ttfb=LONG), retry=given, sinks=[records.append])
        return records

    return made


def test_the_response_is_the_librarys_own(serve: Any, install: Install) -> None:
    """Its attributes and its ways to read are those of a bare one."""

    def seen(url: str) -> Any:
        with urllib.request.urlopen(posted(url, CHAT), timeout=LONG) as response:
            head = (response.status, response.code, response.reason, response.msg, response.version)
            headers = sorted(name for name, _ in response.getheaders()), response.info()["content-type"]
            parts = [response.read(3), response.read1(4), response.peek(2)[:2], response.readline(), response.read()]
            return head, headers, parts[:3], response.isclosed(), response.url == url, response.read()

    expected = seen(serve("healthy").chat_url)
    records = install()
    assert seen(serve("healthy").chat_url) == expected
    assert [record.entry_point for record in records] == ["urllib"]


def test_the_response_has_the_record(serve: Any, install: Install) -> None:
    """Once its body is read."""
    install()
    with urllib.request.urlopen(posted(serve("healthy").chat_url, STREAM), timeout=LONG) as response:
        response.read()
        assert response.llmwatch_record.outcome == "done"


def test_the_librarys_own_tls_context_decides(
    serve: Any, install: Install, server_tls: ssl.SSLContext, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdicts are the same with and without llmwatch.

    The cases are a context that trusts the server, the default that does not, no verification, an opener's handler,
    and a program that has replaced the default of the module ``ssl``.
    """
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    server = serve("healthy", tls=server_tls)
    request = posted(f"https://localhost:{server.port}/v1/chat/completions", STREAM)
    trusting, unverified = ssl.create_default_context(cafile=bundle), ssl._create_unverified_context()

    def verdict(context: ssl.SSLContext | None = None, opener: Any = None) -> Any:
        try:
            if opener is not None:
                return opener.open(request, timeout=LONG).read() and 200
            with urllib.request.urlopen(request, context=context, timeout=LONG) as response:
                return response.read() and response.status
        except urllib.error.URLError as error:
            return isinstance(error.reason, ssl.SSLError)

    def verdicts() -> list[Any]:
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trusting))
        seen = [verdict(trusting), verdict(), verdict(unverified), verdict(opener=opener)]
        with monkeypatch.context() as patch:
            patch.setattr(ssl, "_create_default_https_context", ssl._create_unverified_context)
            # From Python 3.12 on the handler asks for the default, before that each connection.
            seen.append(verdict(opener=urllib.request.build_opener()))
        return seen

    authorities = trusting.get_ca_certs()
    expected = verdicts()
    assert expected == [200, True, 200, 200, 200]
    records = install()
    assert verdicts() == expected
    assert [record.outcome for record in records] == ["done", "failed", "done", "done", "done"]
    assert trusting.get_ca_certs() == authorities
    assert (trusting.verify_mode, trusting.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_openers_proxy_is_used(
    serve: Any, install: Install, server_tls: ssl.SSLContext, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment's proxies are used, NO_PROXY is heeded, and a tunnel hides the credentials."""
    server = serve("healthy", tls=server_tls)
    context = ssl.create_default_context(cafile=bundle)

    def answered(url: str) -> int:
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        with opener.open(posted(url, STREAM), timeout=LONG) as response:
            assert response.read()
            return int(response.status)

    seen: list[Any] = []
    for watched in (False, True):
        records = install() if watched else []
        # The fault server answers a request for a whole URL itself, as a proxy without a tunnel.
        forward = serve("healthy")
        with ProxyServer() as tunnel, monkeypatch.context() as patch:
            patch.setenv("https_proxy", f"http://user:secret@{tunnel.netloc}")
            patch.setenv("http_proxy", f"http://user:secret@{forward.netloc}")
            assert answered(f"https://localhost:{server.port}/v1/chat/completions") == 200
            assert answered("http://example.com/v1/chat/completions") == 200
            patch.setenv("no_proxy", "localhost")
            assert answered(f"https://localhost:{server.port}/v1/chat/completions") == 200
            asked = [*tunnel.requests, *forward.requests]
        assert len(records) == 3 * watched
        seen.append([(one.target, dict(one.headers).get("Proxy-Authorization")) for one in asked])
        assert not any("proxy-authorization" in {name.lower() for name, _ in one.headers} for one in server.requests)
    assert seen[0] == seen[1]
    credentials = "Basic " + base64.b64encode(b"user:secret").decode()
    assert seen[0] == [
        (f"localhost:{server.port}", credentials),
        ("http://example.com/v1/chat/completions", credentials),
    ]


def test_the_programs_time_out_stands_for_the_limits(serve: Any, install: Install) -> None:
    """It ends a silence where no limit is set, with the error of a bare call before and in the body."""
    install(Limits(), max_attempts=1)
    request = posted(serve("silent").chat_url, STREAM)
    with pytest.raises(urllib.error.URLError) as caught:
        urllib.request.urlopen(request, timeout=SOON)
    assert isinstance(caught.value, llmwatch.WatchTimeout)
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value.reason, TimeoutError)
    with urllib.request.urlopen(posted(serve("stall-after-content").chat_url, STREAM), timeout=SOON) as response:
        with pytest.raises(TimeoutError) as in_body:
            response.read()
        assert isinstance(in_body.value, llmwatch.WatchTimeout)


def test_a_lost_connection_is_the_librarys_error(serve: Any, install: Install) -> None:
    """Before the response it is ``RemoteDisconnected``, as bare."""
    install(max_attempts=1)
    with pytest.raises(http.client.RemoteDisconnected) as caught:
        urllib.request.urlopen(posted(serve("fin-before-response").chat_url, STREAM), timeout=LONG)
    assert isinstance(caught.value, llmwatch.StreamCut)


def test_redirects_are_the_openers_matter(serve: Any, install: Install) -> None:
    """A 302 becomes a GET that is not watched; a 307 of a POST is an ``HTTPError``."""
    found, temporary = serve("redirect-302", "healthy"), serve("redirect-307")
    records = install()
    with urllib.request.urlopen(posted(found.chat_url, STREAM), timeout=LONG) as response:
        response.read()
    assert [request.method for request in found.requests] == ["POST", "GET"]
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(posted(temporary.chat_url, STREAM), timeout=LONG)
    with caught.value:
        assert caught.value.code == 307
    assert (len(temporary.requests), len(records)) == (1, 2)


class _OwnConnection(http.client.HTTPConnection):
    """A connection of another package."""


class _OwnHandler(urllib.request.HTTPHandler):
    def http_open(self, req: Any) -> Any:
        return self.do_open(_OwnConnection, req)


def test_what_cannot_be_watched_is_left_alone_and_said_once(
    serve: Any, install: Install, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The library sends it, and the log says why, once for each reason."""
    server, records = serve("healthy"), install()
    for _ in range(2):
        for handler, request in (
            (_OwnHandler(), posted(server.chat_url, STREAM)),
            (urllib.request.HTTPHandler(debuglevel=1), posted(server.chat_url, STREAM)),
        ):
            with urllib.request.build_opener(handler).open(request, timeout=LONG) as response:
                assert response.read()
    reasons = ["connections of another kind", "a debug level"]
    assert [record.getMessage() for record in caplog.records] == [
        f"llmwatch: a model call through urllib is not watched: {reason}. llmwatch.stream() or llmwatch.Session() sends"
        " and watches it."
        for reason in reasons
    ]
    assert counts() == {"urllib": dict.fromkeys(reasons, 2)}
    assert records == []
    assert "send:" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["connect", "request"])
def test_a_stand_in_for_the_network_gets_its_calls(
    install: Install, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """What a test puts into http.client answers by itself."""
    records = install()
    monkeypatch.setattr(http.client.HTTPConnection, name, mock.Mock(side_effect=ConnectionRefusedError("mocked")))
    with pytest.raises(urllib.error.URLError, match="mocked"):
        urllib.request.urlopen(posted("http://127.0.0.1:9/v1/chat/completions", STREAM), timeout=LONG)
    assert (records, caplog.records) == ([], [])


def test_a_request_that_cannot_be_sent_raises_the_librarys_error(install: Install) -> None:
    """Its URL is not for llmwatch to judge."""
    install()
    with pytest.raises(http.client.InvalidURL):
        urllib.request.urlopen(posted("http://127.0.0.1:9/v1/chat/completions?a b", STREAM), timeout=LONG)
    with pytest.raises(http.client.InvalidURL):
        urllib.request.urlopen(posted("http://user:secret@127.0.0.1/v1/chat/completions", STREAM), timeout=LONG)


def test_uninstall_restores_the_very_object() -> None:
    """``uninstall`` puts the very object back, and so does an ``install`` that does not name urllib3."""
    before = vars(HANDLER)["do_open"]
    for end in (llmwatch.uninstall, lambda: llmwatch.install(libraries=["requests"])):
        llmwatch.install()
        assert vars(HANDLER)["do_open"] is not before
        end()
        assert vars(HANDLER)["do_open"] is before
