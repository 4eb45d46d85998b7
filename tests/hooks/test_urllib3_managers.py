"""The managers of urllib3 under ``install()``: connections, retries, redirects, and uninstalling."""

from __future__ import annotations

import contextlib
import functools
import gc
import gzip
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
import urllib3
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ResponseError, SSLError
from urllib3.poolmanager import PoolManager, ProxyManager

import llmwatch
from llmwatch import CallRecord, Limits, Retry
from llmwatch.faults import Context, FaultServer, ProxyServer, Script, blackhole, refused_port, steps
from llmwatch.hooks.left_alone import counts
from tests.hooks.bare_calls import STREAM
from tests.sdk.times import LIMIT, LONG, SOON

pytestmark = pytest.mark.usefixtures("nothing_left")

Install = Callable[..., list[CallRecord]]


@pytest.fixture
def install() -> Install:
    """Install for urllib3, and return the records that come."""

    def made(limits: Limits | None = None, **retry: Any) -> list[CallRecord]:
        records: list[CallRecord] = []
        given = Retry(**{"backoff": 0.01, **retry})
        llmwatch.install(limits=limits or Limits(ttfb=LONG), retry=given, sinks=[records.append])
        return records

    return made


def post(manager: PoolManager, url: str, **more: Any) -> Any:
    """Post a model call."""
    return manager.request("POST", url, json=STREAM, **more)


# -- the connections -----------------------------------------------------------


def test_the_managers_own_tls_settings_decide(
    serve: Any, install: Install, server_tls: ssl.SSLContext, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdicts are the same with and without llmwatch, and a context stays as it was.

    The cases are authorities, a context, the default that does not trust the server, no verification, and a name.
    """
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    trusting = ssl.create_default_context(cafile=bundle)
    server = serve("healthy", tls=server_tls)
    cases: list[dict[str, Any]] = [
        {"ca_certs": bundle},
        {"ssl_context": trusting},
        {},
        {"ca_certs": bundle, "assert_hostname": "elsewhere"},
        {"ca_certs": bundle, "assert_fingerprint": "aa" * 32},
    ]

    def verdicts() -> list[Any]:
        seen: list[Any] = []
        for settings in cases:
            with PoolManager(**settings, timeout=LONG, retries=1) as manager:
                try:
                    seen.append(post(manager, f"https://localhost:{server.port}/v1/chat/completions").status)
                except MaxRetryError as error:
                    seen.append(type(error.reason))
        return seen

    authorities = trusting.get_ca_certs()
    expected = verdicts()
    assert expected == [200, 200, SSLError, SSLError, SSLError]
    records = install()
    assert verdicts() == expected
    assert [record.outcome for record in records] == ["done", "done", "failed", "failed", "failed"]
    assert trusting.get_ca_certs() == authorities
    assert (trusting.verify_mode, trusting.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_urllib3_warns_of_an_unverified_certificate_as_it_does_bare(
    serve: Any, install: Install, server_tls: ssl.SSLContext
) -> None:
    """The call goes through, with one warning."""
    server = serve("healthy", tls=server_tls)
    install()
    with (
        PoolManager(cert_reqs="NONE", timeout=LONG) as manager,
        pytest.warns(urllib3.exceptions.InsecureRequestWarning),
    ):
        assert post(manager, f"https://localhost:{server.port}/v1/chat/completions").status == 200


def test_the_managers_own_proxy_is_used(serve: Any, install: Install, server_tls: ssl.SSLContext, bundle: str) -> None:
    """Through a tunnel, and with the whole URL in the first line, the proxy gets its headers."""
    server = serve("healthy", tls=server_tls)
    headers = urllib3.make_headers(proxy_basic_auth="user:secret")
    seen: list[Any] = []
    for watched in (False, True):
        # The fault server answers a request for a whole URL itself, as a proxy without a tunnel.
        forward = serve("healthy")
        with ProxyServer() as tunnel:
            records = install() if watched else []
            for proxy, url in (
                (tunnel, f"https://localhost:{server.port}/v1/chat/completions"),
                (forward, "http://example.com/v1/chat/completions"),
            ):
                with ProxyManager(f"http://{proxy.netloc}", proxy_headers=headers, ca_certs=bundle) as manager:
                    assert post(manager, url).status == 200
            assert len(records) == 2 * watched
            asked = [*tunnel.requests, *forward.requests]
        seen.append([(one.target, {name.lower(): value for name, value in one.headers}) for one in asked])
    assert seen[0] == seen[1]
    assert [target for target, _ in seen[0]] == [
        f"localhost:{server.port}",
        "http://example.com/v1/chat/completions",
    ]
    assert all("proxy-authorization" in sent for _, sent in seen[0])


def test_the_managers_limit_on_connections_holds(serve: Any, install: Install) -> None:
    """With one connection the second call waits for the first one's."""
    server = serve("late-terminal")
    install()
    answers: list[int] = []
    with PoolManager(maxsize=1, block=True, timeout=LONG) as manager:
        threads = [
            threading.Thread(target=lambda: answers.append(post(manager, server.chat_url).status)) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        server.wait_for_requests(1)
        assert server.connections == 1
        server.gate("terminal").set()
        for thread in threads:
            thread.join()
    assert answers == [200, 200]
    assert server.connections == 1


def test_a_connection_is_used_again_and_closed_with_the_manager(serve: Any, install: Install) -> None:
    """``clear()``, the end of a ``with`` block, dropping the manager, and ``uninstall`` close it."""
    install()
    for end in ("clear", "with", "drop", "uninstall"):
        server = serve("healthy")
        manager = PoolManager(timeout=LONG)
        with contextlib.ExitStack() as stack:
            if end == "with":
                stack.enter_context(manager)
            for _ in range(2):
                assert post(manager, server.chat_url).status == 200
            assert server.connections == 1
            if end == "clear":
                manager.clear()
            if end == "uninstall":
                llmwatch.uninstall()
        if end == "drop":
            del manager
        server.wait_for_closed(1)


def test_changed_settings_of_a_manager_hold_for_its_next_call(serve: Any, install: Install) -> None:
    """Its headers, and the arguments of its pools."""
    server = serve("healthy")
    install()
    with PoolManager(headers={"X-Own": "1"}, timeout=LONG) as manager:
        post(manager, server.chat_url)
        manager.headers = {"X-Own": "2"}
        manager.connection_pool_kw["source_address"] = ("127.0.0.1", 0)
        post(manager, server.chat_url)
        manager.connection_pool_kw = {"headers": None}
        post(manager, server.chat_url)
    assert [dict(request.headers).get("X-Own") for request in server.requests] == ["1", "2", "2"]
    assert server.connections == 3


# -- redirects, retries, time-outs -----------------------------------------------


@pytest.mark.parametrize("script", ["redirect-307", "redirect-302"])
def test_redirects_are_followed_as_urllib3_does(serve: Any, install: Install, script: str) -> None:
    """The same requests, history and end; the redirect itself where none is followed; the error."""

    def seen(server: Any, **more: Any) -> Any:
        with PoolManager(timeout=LONG) as manager:
            try:
                response = post(manager, server.chat_url, **more)
            except MaxRetryError as error:
                return str(error.reason), len(server.requests)
            history = [(step.status, step.redirect_location[-20:]) for step in response.retries.history]
            requests = [(request.method, request.target, request.body) for request in server.requests]
            return response.status, history, requests, response.geturl()[-20:]

    def all_seen() -> list[Any]:
        return [
            seen(serve(script, "healthy")),
            seen(serve(script, "healthy"), redirect=False),
            seen(serve(script), retries=2),
        ]

    expected = all_seen()
    assert [len(expected[0][2]), len(expected[1][2]), expected[2]] == [2, 1, ("too many redirects", 3)]
    records = install()
    assert all_seen() == expected
    assert [record.entry_point for record in records] == ["urllib3"] * 6


def test_a_program_whose_retries_name_a_status_gets_its_error(serve: Any, install: Install) -> None:
    """Its ``Retry`` sends nothing on top of llmwatch's requests, and counts as used up."""
    server = serve("status:status=500")
    install()
    retries = urllib3.Retry(5, status_forcelist=[500], allowed_methods=None, backoff_factor=0)
    with PoolManager(retries=retries, timeout=LONG) as manager:
        with pytest.raises(MaxRetryError) as caught:
            post(manager, server.chat_url)
        assert isinstance(caught.value.reason, ResponseError)
        assert post(manager, server.chat_url, retries=retries.new(raise_on_status=False)).status == 500
    assert len(server.requests) == 6


def test_an_error_before_the_request_is_wrapped_unless_retries_are_off(install: Install) -> None:
    """As urllib3 does, for refused connections and for those that do not come about in time."""
    install(Limits(connect=LIMIT), max_attempts=1)
    with PoolManager() as manager, refused_port() as port:
        for retries, expected in ((3, MaxRetryError), (False, NewConnectionError)):
            with pytest.raises(expected) as caught:
                post(manager, f"http://127.0.0.1:{port}/v1/chat/completions", retries=retries)
            assert isinstance(caught.value, llmwatch.ConnectFailed)
    with PoolManager() as manager, blackhole() as (_, silent):
        for retries, expected in ((3, MaxRetryError), (False, ConnectTimeoutError)):
            with pytest.raises(expected) as caught:
                post(manager, f"http://127.0.0.1:{silent}/v1/chat/completions", retries=retries)
            assert isinstance(caught.value, llmwatch.WatchTimeout)


@pytest.mark.parametrize("where", ["call", "manager"])
def test_the_programs_time_out_stands_for_the_limits(serve: Any, install: Install, where: str) -> None:
    """That of a call or of the manager ends a silence, where no limit is set."""
    server = serve("silent")
    install(Limits(), max_attempts=1)
    timeout = urllib3.Timeout(connect=LONG, read=SOON)
    with PoolManager(**({"timeout": timeout} if where == "manager" else {})) as manager:
        with pytest.raises(urllib3.exceptions.ReadTimeoutError) as caught:
            post(manager, server.chat_url, **({"timeout": timeout} if where == "call" else {}))
        assert isinstance(caught.value, llmwatch.WatchTimeout)
        assert caught.value.limit_seconds == SOON
        assert caught.value.url == "/v1/chat/completions"
        with pytest.raises(ValueError, match="Timeout value connect was soon"):
            post(manager, server.chat_url, timeout="soon")


# -- what is left alone --------------------------------------------------------


class _Own(PoolManager):
    def connection_from_host(self, *args: Any, **kwargs: Any) -> Any:
        return super().connection_from_host(*args, **kwargs)


def test_what_cannot_be_watched_is_left_alone_and_said_once(
    serve: Any, install: Install, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library sends it, and the log says why, once for each reason."""
    server, records = serve("healthy"), install()
    other = PoolManager(timeout=LONG)
    other.pool_classes_by_scheme = {**other.pool_classes_by_scheme, "unix": urllib3.HTTPConnectionPool}
    for _ in range(2):
        for manager, more in ((_Own(timeout=LONG), {}), (other, {}), (PoolManager(timeout=LONG), {"chunked": True})):
            assert post(manager, server.chat_url, **more).status == 200
            manager.clear()
    reasons = ["a manager that makes its own pools", "pools of another kind, such as those of a SOCKS proxy"]
    reasons.append("a chunked body")
    assert [record.getMessage() for record in caplog.records] == [
        f"llmwatch: a model call through urllib3 is not watched: {reason}. llmwatch.stream() or llmwatch.Session()"
        " sends and watches it."
        for reason in reasons
    ]
    assert counts() == {"urllib3": dict.fromkeys(reasons, 2)}
    assert records == []


def test_a_pool_without_a_manager_is_left_alone(serve: Any, install: Install) -> None:
    """Nothing there tells a program's call from one of requests."""
    server, records = serve("healthy"), install()
    with urllib3.connection_from_url(server.url, timeout=LONG) as pool:
        assert pool.request("POST", "/v1/chat/completions", json=STREAM).status == 200
    assert (records, counts()) == ([], {})


def test_a_stand_in_for_the_network_gets_its_calls(
    install: Install, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It answers by itself, whatever that is; a wrapper is called for each request."""
    records = install()
    url = "http://127.0.0.1:9/v1/chat/completions"
    with monkeypatch.context() as patch, PoolManager() as manager:
        stand_in = mock.Mock()
        patch.setattr(urllib3.HTTPConnectionPool, "urlopen", stand_in)
        stand_in.return_value.get_redirect_location.return_value = None
        assert post(manager, url) is stand_in.return_value
    assert (records, caplog.records) == ([], [])


def test_a_wrapper_of_pools_sees_every_request(serve: Any, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracer that wraps ``HTTPConnectionPool.urlopen`` sees the silent request and the answered one."""
    server, seen = serve("silent", "healthy"), []
    original = urllib3.HTTPConnectionPool.urlopen

    @functools.wraps(original)
    def traced(pool: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        seen.append(url)
        return original(pool, method, url, *args, **kwargs)

    monkeypatch.setattr(urllib3.HTTPConnectionPool, "urlopen", traced)
    install(Limits(ttfb=SOON))
    with PoolManager() as manager:
        assert post(manager, server.chat_url).status == 200
    assert seen == ["/v1/chat/completions"] * 2


# -- install and uninstall -------------------------------------------------------


def test_uninstall_restores_the_very_objects() -> None:
    """``uninstall`` puts the very objects back, and so does an ``install`` that does not name urllib3."""
    names = ("urlopen", "clear")
    before = [vars(PoolManager)[name] for name in names]
    for end in (llmwatch.uninstall, lambda: llmwatch.install(libraries=["requests"])):
        llmwatch.install()
        llmwatch.install()
        assert all(vars(PoolManager)[name] is not was for name, was in zip(names, before, strict=True))
        end()
        assert all(vars(PoolManager)[name] is was for name, was in zip(names, before, strict=True))


@pytest.mark.parametrize("below", [False, True], ids=["on top", "below"])
def test_a_wrapper_of_other_code_sees_every_call(
    serve: Any, install: Install, monkeypatch: pytest.MonkeyPatch, below: bool
) -> None:
    """The wrapper and llmwatch both see a call, whichever came first. Afterwards the wrapper alone does."""
    server = serve("healthy")
    spans: list[str] = []

    def wrap() -> Any:
        covered = vars(PoolManager)["urlopen"]

        @functools.wraps(covered)
        def theirs(manager: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
            spans.append(url)
            return covered(manager, method, url, *args, **kwargs)

        monkeypatch.setattr(PoolManager, "urlopen", theirs)
        return theirs

    theirs = wrap() if below else None
    records = install()
    theirs = theirs or wrap()
    with PoolManager(timeout=LONG) as manager:
        assert post(manager, server.chat_url).status == 200
        llmwatch.uninstall()
        assert vars(PoolManager)["urlopen"] is theirs
        assert post(manager, server.chat_url).status == 200
    assert (len(spans), len(records), len(server.requests)) == (2, 1, 2)


def test_a_second_install_exchanges_the_settings(serve: Any, install: Install) -> None:
    """A manager that is in use has new settings from its next call on."""
    server = serve("healthy")
    first = install()
    with PoolManager(timeout=LONG) as manager:
        post(manager, server.chat_url)
        second = install()
        post(manager, server.chat_url)
    assert (len(first), len(second)) == (1, 1)


def test_managers_that_are_made_and_dropped_leave_nothing(serve: Any, install: Install) -> None:
    """No connection of theirs stays, without a garbage collection."""
    server = serve("healthy")
    install()
    gc.disable()
    try:
        for _ in range(50):
            assert post(PoolManager(timeout=LONG), server.chat_url).status == 200
        server.wait_for_closed(50)
    finally:
        gc.enable()


_BODY = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def _packed(framing: str) -> Script:
    """A stream that is compressed although the request did not ask for it."""
    packed = gzip.compress(_BODY, mtime=0)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"
    if framing == "chunked":
        answer = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)
    else:
        answer = head + b"Content-Length: %d\r\n\r\n" % len(packed) + packed

    def play(context: Context) -> Iterator[steps.Step]:
        return iter([steps.Send(answer), steps.Close()])

    return Script(name="packed", description="a compressed stream", play=play)


@pytest.mark.parametrize("decode", [None, True, False])
@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("of", [True, False], ids=["decoding", "raw"])
def test_a_compressed_stream_is_decoded_where_urllib3_decodes_it(framing: str, decode: bool | None, of: bool) -> None:
    """urllib3 hands out the chunks of a chunked body as they came, unless the reader says otherwise."""

    def read(url: str) -> tuple[bytes, bytes]:
        with urllib3.PoolManager(timeout=LONG) as manager:
            made = [
                manager.request("POST", url, json=STREAM, preload_content=False, decode_content=of) for _ in range(2)
            ]
            pieces = b"".join(made[0].stream(decode_content=decode))
            return pieces, made[1].read(decode_content=decode)

    with FaultServer(_packed(framing)) as server:
        bare = read(server.chat_url)
        records: list[CallRecord] = []
        llmwatch.install(limits=Limits.single(LONG), sinks=[records.append])
        assert read(server.chat_url) == bare
    assert len(records) == 2
