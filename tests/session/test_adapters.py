"""Adapters of the user's own: kept as they are, watched all the same."""

from __future__ import annotations

import http.client
import io
import logging
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import trustme
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.util.retry import Retry as OldRetry

import llmwatch
from llmwatch import Limits, Retry
from llmwatch.faults import FaultServer
from llmwatch.transport import instrument
from tests.end_to_end.calls import asking, eventually, in_thread
from tests.session.entry_points import Way, caught, record_of
from tests.session.scripts import LINES, echo, encoded, reply
from tests.session.times import FREE, LIMIT, LONG, PATIENCE, SOON

LIMITS = Limits(ttfb=SOON)


def _with(adapter: BaseAdapter, prefix: str = "http://") -> requests.Session:
    session = requests.Session()
    session.mount(prefix, adapter)
    return session


def _forceful() -> HTTPAdapter:
    return HTTPAdapter(max_retries=OldRetry(3, status_forcelist=[500], allowed_methods=None, backoff_factor=0))


def test_an_adapters_retries_are_not_added_to_llmwatchs_resends(way: Way) -> None:
    """If llmwatch resends, and for a model call, llmwatch's rules alone give the number of requests."""
    with FaultServer("status:status=500") as server, way.session(_with(_forceful())) as session:
        assert session.post(server.chat_url, json=asking()).status_code == 500
        assert len(server.requests) == 3
    for script, kind in (("silent", requests.ReadTimeout), ("reset-before-response", requests.ConnectionError)):
        with FaultServer(script) as server, way.session(_with(_forceful()), limits=LIMITS) as session:
            caught(kind, session.get, server.url)
            assert len(server.requests) == 3
            caught(kind, session.post, server.chat_url, json=asking())
            assert len(server.requests) == 6


def test_a_warning_about_the_adapters_retries_is_given_once(
    way: Way, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One warning is given, with the settings in question.

    It is given neither for each call nor for each session that is made like it.
    """
    monkeypatch.setattr(instrument._adopted, "_warned", set())
    with caplog.at_level(logging.WARNING, "llmwatch"), FaultServer(reply()) as server:
        for _ in range(3):
            with way.session(_with(_forceful())) as session:
                session.get(server.url)
                session.get(server.url)
    (warning,) = [one for one in caplog.records if "max_retries" in one.getMessage()]
    assert "total=3" in warning.getMessage()


def test_an_adapter_without_retries_gives_no_warning(
    way: Way, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests' own default retries nothing, and neither does ``max_retries=0``."""
    monkeypatch.setattr(instrument._adopted, "_warned", set())
    with caplog.at_level(logging.WARNING, "llmwatch"), FaultServer(reply()) as server:
        for adapter in (HTTPAdapter(), HTTPAdapter(max_retries=0), HTTPAdapter(max_retries=OldRetry(0))):
            with way.session(_with(adapter)) as session:
                session.get(server.url)
    assert [one for one in caplog.records if "max_retries" in one.getMessage()] == []


class _OwnContext(HTTPAdapter):
    """An adapter like that in the documentation of requests."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
        return super().init_poolmanager(*args, ssl_context=self.context, **kwargs)


def test_an_adapters_own_tls_context_is_kept(way: Way, authority: trustme.CA, server_tls: ssl.SSLContext) -> None:
    """A context that trusts another authority, and speaks TLS 1.2 only, is used.

    What goes over it is watched.
    """
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def act(session: requests.Session, server: FaultServer) -> Any:
        session.mount("https://", _OwnContext(context))
        if way.name == "mount":
            llmwatch.mount(session)
        return session.get(server.url).content

    assert way.alike(act, reply(b"trusted"), tls=server_tls) == b"trusted"
    prepared = _with(_OwnContext(context), "https://")
    with FaultServer("silent", tls=server_tls) as server, way.session(prepared, limits=LIMITS) as session:
        caught(requests.ReadTimeout, session.get, server.url)
        server.wait_for_closed(3, PATIENCE)
        assert llmwatch.stats()["orphans"] == 0


def test_an_adapters_own_pool_sizes_are_kept(way: Way) -> None:
    """A pool of one connection that blocks lets one call through at a time; the others wait for its slot."""
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, pool_block=True)
    with FaultServer(echo()) as server, way.session(_with(adapter)) as session:
        threads = [in_thread(session.post, server.url, data=b"%d" % number) for number in range(12)]
        assert [one.result().content for one in threads] == [b"%d" % number for number in range(12)]
        assert server.connections == 1
    assert adapter.poolmanager.connection_pool_kw["maxsize"] == 1


def test_waiting_for_a_slot_is_part_of_connecting(way: Way) -> None:
    """A call that finds a blocking pool empty ends at ``connect``, and has sent nothing.

    Its slot is not lost.
    """
    adapter = HTTPAdapter(pool_maxsize=1, pool_block=True)
    limits = Limits(connect=SOON, ttfb=LONG)
    scripts = ["late-terminal", reply(b"next")]
    with FaultServer(scripts) as server, way.session(_with(adapter), limits=limits, retry=Retry.none()) as session:
        first = session.post(server.chat_url, json=asking(), stream=True)
        error = caught(requests.ConnectTimeout, session.get, server.url)
        assert isinstance(error, llmwatch.WatchTimeout)
        assert error.limit == "connect"
        server.gate("terminal").set()
        assert first.content
        eventually(lambda: llmwatch.stats()["workers"] == 0, "the worker that waited has left")
        assert session.get(server.url).content == b"next"
        assert len(server.requests) == 2


class _Stamping(HTTPAdapter):
    """Changes requests on their way, and has a time-out by default, as many do."""

    def send(self, request: Any, stream: Any = False, timeout: Any = None, *args: Any, **kwargs: Any) -> Any:
        assert timeout is None or isinstance(timeout, (int, float))
        request.headers["X-Stamp"] = f"{stream}-{timeout}"
        return super().send(request, stream, timeout or 30, *args, **kwargs)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("timeout", [None, 25])
def test_an_overridden_send_is_called_with_the_callers_arguments(way: Way, stream: bool, timeout: Any) -> None:
    """The adapter's ``send`` gets the caller's own ``stream`` and ``timeout``."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        session.mount("http://", _Stamping())
        if way.name == "mount":
            llmwatch.mount(session)
        session.get(server.url, stream=stream, timeout=timeout)
        return [one.header("x-stamp") for one in server.requests]

    assert way.alike(act, reply()) == [f"{stream}-{timeout}"]


class _Reading(HTTPAdapter):
    """Reads every response first, as a log or a cache does."""

    def send(self, *args: Any, **kwargs: Any) -> Any:
        response = super().send(*args, **kwargs)
        response.read_before = len(response.content)  # type: ignore[attr-defined]
        return response


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_read_by_the_adapter_is_not_decoded_twice(way: Way, encoding: str, stream: bool) -> None:
    """A body that was read, and decoded, along the way is not decoded twice."""

    def act(session: requests.Session, server: FaultServer) -> Any:
        session.mount("http://", _Reading())
        if way.name == "mount":
            llmwatch.mount(session)
        found = []
        for call in (lambda: session.get(server.url, stream=stream), lambda: session.post(server.url, stream=stream)):
            response = call()
            found.append((response.content, response.read_before, response.headers["content-encoding"]))
        return found

    assert way.alike(act, encoded(LINES, encoding)) == [(LINES, len(LINES), encoding)] * 2


def test_a_model_stream_read_by_the_adapter_is_still_judged(way: Way) -> None:
    """A model's stream that the adapter has read is decoded and judged as any other."""
    with FaultServer(["gzip", "eof-without-terminal"]) as server, way.session(_with(_Reading())) as session:
        assert b"[DONE]" in session.post(server.chat_url, json=asking(), headers={"Accept-Encoding": "gzip"}).content
        caught(llmwatch.StreamTruncated, lambda: session.post(server.chat_url, json=asking(), stream=True).content)


class _Own(BaseAdapter):
    """Has connections of its own, which the transport cannot find."""

    def __init__(self, fail: Callable[[], BaseException] | None = None) -> None:
        super().__init__()
        self.fail = fail
        self.sent = 0

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        self.sent += 1
        if self.fail is not None:
            raise self.fail()
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, request.url
        if request.url.startswith("http://"):
            parts = urlsplit(request.url)
            connection = http.client.HTTPConnection(
                parts.hostname or "", parts.port, timeout=kwargs["timeout"].read_timeout
            )
            try:
                connection.request(request.method, "/", request.body, dict(request.headers))
                response.raw = io.BytesIO(connection.getresponse().read())
            finally:
                connection.close()
        else:
            response.raw = io.BytesIO(b"local")
        return response

    def close(self) -> None:
        pass


def test_an_adapter_of_another_scheme_is_left_alone(way: Way) -> None:
    """The adapter is called as it is, and its response is what it returned."""
    adapter = _Own()
    for prefix in ("file://", "http+unix://"):
        with way.session(_with(adapter, prefix)) as session:
            response = session.get(f"{prefix}somewhere/x")
            assert type(response) is requests.Response
            assert response.content == b"local"
            assert session.get_adapter(prefix) is adapter


def test_a_hanging_adapter_of_unknown_connections_frees_its_caller(way: Way) -> None:
    """A hanging adapter of unknown connections frees its caller at the limit.

    The adapter's answers come through. Where it hangs, the worker is counted, and nothing is resent, since the facts
    are unknown.
    """
    before = llmwatch.stats()["unabortable"]
    limits = Limits(ttfb=SOON, connect=LIMIT)
    with FaultServer([reply(b"own"), "silent"]) as server, way.session(_with(_Own()), limits=limits) as session:
        assert session.get(server.url).content == b"own"
        error = caught(requests.ReadTimeout, session.get, server.url)
        assert isinstance(error, llmwatch.WatchTimeout)
        assert error.limit == "ttfb"
        assert error.elapsed < SOON + FREE
        assert error.recovery is not None
        assert error.recovery.reason == "facts_unknown"
        assert len(server.requests) == 2
        assert llmwatch.stats()["unabortable"] == before + 1


@pytest.mark.parametrize(
    "fail",
    [
        lambda: requests.ConnectionError("own"),
        lambda: requests.ReadTimeout("own"),
        lambda: ConnectionResetError(104, "own"),
        lambda: TimeoutError("own"),
        lambda: ZeroDivisionError("own"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_exception_of_an_adapter_comes_out_after_one_try(
    way: Way, fail: Callable[[], BaseException], method: str
) -> None:
    """The exception comes out as it is, and the record says that the reason is not known."""
    adapter, records = _Own(fail), list[llmwatch.CallRecord]()
    with way.session(_with(adapter), sinks=[records.append]) as session:
        error = caught(type(fail()), session.request, method, "http://provider.invalid/", json=asking())
    assert (str(error), adapter.sent) == (str(fail()), 1)
    assert not isinstance(error, llmwatch.LLMWatchError)
    assert [(one.outcome, one.cause) for one in records] == [("failed", "unknown")]


@pytest.mark.parametrize("prefix", ["", "http", "HTTP://", "http://127.0.0.1", b"http://"])
def test_every_prefix_that_may_be_http_is_watched(way: Way, prefix: Any) -> None:
    """An adapter for one host, for any URL, or with a prefix in capitals is watched."""
    with FaultServer(["silent", reply(b"yes")]) as server:
        prepared = requests.Session()
        if prefix in ("", "http"):
            prepared.adapters.clear()
        adapter = HTTPAdapter()
        prepared.mount(prefix.decode() if isinstance(prefix, bytes) and way.name != "Session" else prefix, adapter)
        with way.session(prepared, limits=LIMITS) as session:
            assert record_of(session.get(server.url)).outcome == "recovered"


def test_attributes_of_a_watching_adapter_are_those_of_its_adapter(way: Way) -> None:
    """Attributes are read from, and set on, the adapter that the user knows."""
    adapter = HTTPAdapter(pool_maxsize=7)
    with way.session(_with(adapter)) as session:
        found: Any = session.get_adapter("http://x/")
        assert found.poolmanager is adapter.poolmanager
        assert found._pool_maxsize == 7
        found.max_retries = OldRetry(2)
        assert adapter.max_retries.total == 2
        assert not hasattr(found, "no_such_thing")
        assert "HTTPAdapter" in repr(found)


class _ByHand(BaseAdapter):
    """Makes its responses by hand, as stand-ins in tests do: a content, and no raw."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.url, response.request = 200, request.url or "", request
        response._content = b'{"a": 1}'
        return response

    def close(self) -> None: ...


@pytest.mark.parametrize("stream", [True, False])
def test_a_response_built_by_the_adapter_keeps_its_content(stream: bool) -> None:
    """The content that the adapter has set is returned, for any request."""
    with llmwatch.Session() as session:
        session.mount("http://", _ByHand())
        body = asking(stream=False)
        assert session.post("http://by.hand/v1/chat/completions", json=body, stream=stream).json() == {"a": 1}
        assert session.post("http://by.hand/orders", json={}, stream=stream).json() == {"a": 1}
        assert session.get("http://by.hand/", stream=stream).json() == {"a": 1}
