"""``llmwatch.transport.prepared``: a prepared request through the adapter of its session."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.util import Timeout

from llmwatch.faults import FaultServer
from llmwatch.transport import context as contexts
from llmwatch.transport.context import RequestContext
from llmwatch.transport.prepared import PreparedSender
from llmwatch.watch.interfaces import Aborted, Handle
from tests.transport.drive import STREAM


class Observer:
    """Notes what is reported; ``over`` names the report at which the attempt is over."""

    def __init__(self, over: str = "") -> None:
        self.over = over
        self.said: list[str] = []
        self.handles: list[Handle] = []

    def _note(self, what: str) -> None:
        self.said.append(what)
        if what.partition(" ")[0] == self.over:
            raise Aborted

    def check(self) -> None:
        if self.over == "check":
            raise Aborted

    def adopt(self, handle: Handle, *, reused: bool | None = None, idle: float | None = None) -> None:
        self.handles.append(handle)
        self._note(f"adopt {reused}")

    def disown(self, handle: Handle) -> bool:
        if handle in self.handles:
            self.handles.remove(handle)
            handle.release()
        return True

    def connected(self) -> None:
        self._note("connected")

    def sending(self, size: int) -> None:
        pass

    def pause(self) -> None:
        pass

    def unpause(self) -> None:
        pass

    def sent(self) -> None:
        self._note("sent")

    def headers(self, status: int, *, refused: bool, request_id: str | None = None) -> None:
        self._note(f"headers {status} {refused}")

    def time_left(self, limit: str) -> float | None:
        return None


def _context(observer: Observer) -> RequestContext:
    return RequestContext(
        observer=observer, keepalive=10, connect_backstop=31.0, send_backstop=32.0, read_backstop=33.0
    )


GIVEN: dict[str, Any] = {"stream": False, "timeout": (3, 5), "verify": True, "cert": None, "proxies": {}}


def _prepared(url: str, **more: Any) -> requests.PreparedRequest:
    with requests.Session() as session:
        return session.prepare_request(requests.Request(**{"method": "POST", "url": url, "data": STREAM, **more}))


def _open(sender: PreparedSender, observer: Observer, url: str, kwargs: Any = None, *, streaming: bool = True) -> Any:
    return sender.open(
        _context(observer), "POST", url, sender.kwargs if kwargs is None else kwargs, streaming=streaming
    )


class Seen(HTTPAdapter):
    """Keeps what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, dict[str, Any]]] = []

    def send(self, request: Any, **kwargs: Any) -> requests.Response:
        self.seen.append((request, kwargs))
        assert contexts.current() is not None
        return super().send(request, **kwargs)


@pytest.fixture
def adapter() -> Iterator[Seen]:
    """An adapter of the user's, closed in the end."""
    one = Seen()
    yield one
    one.close()


def test_the_adapter_gets_the_arguments_of_requests(adapter: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter gets the caller's own arguments.

    Beneath it a connection has backstops for time-outs, and nothing is retried.
    """
    beneath: list[dict[str, Any]] = []
    urlopen = HTTPConnectionPool.urlopen

    def look(self: Any, *args: Any, **kwargs: Any) -> Any:
        beneath.append(kwargs)
        return urlopen(self, *args, **kwargs)

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", look)
    with FaultServer() as server:
        prepared, observer = _prepared(server.chat_url), Observer()
        sender = PreparedSender(adapter, prepared, GIVEN, model=True)
        reply = _open(sender, observer, server.chat_url, streaming=False)
        assert reply.read()
        reply.close()
    ((request, given),) = adapter.seen
    assert request is prepared
    assert given == GIVEN
    assert (beneath[0]["timeout"].connect_timeout, beneath[0]["timeout"].read_timeout) == (31, 33)
    assert beneath[0]["retries"].total == 0
    assert observer.said == ["adopt False", "connected", "sent", "headers 200 False"]
    assert contexts.current() is None
    assert reply.response.request is prepared


def test_a_stream_is_asked_for_uncompressed(adapter: Seen) -> None:
    """Only on the wire, and only where requests' own default stands."""
    with FaultServer() as server:
        for headers, expected in (({}, "identity"), ({"Accept-Encoding": "gzip"}, "gzip")):
            prepared = _prepared(server.chat_url, headers=headers)
            before = dict(prepared.headers)
            reply = _open(PreparedSender(adapter, prepared, GIVEN, model=True), Observer(), server.chat_url)
            reply.close()
            assert server.requests[-1].header("accept-encoding") == expected
            assert dict(prepared.headers) == before
            assert reply.response.request is prepared


def test_a_changed_request_is_prepared_anew(adapter: Seen) -> None:
    """The changes of ``on_retry`` are sent: URL, headers and body.

    The request has the right length and no old framing.
    """
    with FaultServer() as server, FaultServer() as other:
        prepared = _prepared(server.chat_url, headers={"X-Old": "1"})
        sender = PreparedSender(adapter, prepared, GIVEN, model=True)
        kwargs = {"headers": {**prepared.headers, "X-New": "2", "X-Gone": None}, "data": b'{"stream": true, "a": 1}'}
        reply = _open(sender, Observer(), other.chat_url, kwargs, streaming=False)
        reply.close()
        assert len(server.requests) == 0
        (request,) = other.requests
        assert request.body == kwargs["data"]
        assert [request.header(one) for one in ("x-old", "x-new", "x-gone")] == ["1", "2", None]
        assert [value for name, value in request.headers if name.lower() == "content-length"] == [
            str(len(request.body))
        ]
        assert reply.response.request.url == other.chat_url


@pytest.mark.parametrize(("model", "refused"), [(True, True), (False, False)])
def test_only_an_error_status_of_a_model_call_is_a_refusal(adapter: Seen, model: bool, refused: bool) -> None:
    """The body of any other error status belongs to the caller, and is read like any other."""
    with FaultServer("status:status=404") as server:
        observer = Observer()
        _open(PreparedSender(adapter, _prepared(server.url), GIVEN, model=model), observer, server.url + "/").close()
    assert observer.said[-1] == f"headers 404 {refused}"


@pytest.mark.parametrize("over", ["check", "adopt", "connected", "sent", "headers"])
def test_an_ended_attempt_leaves_no_connection_and_no_context(adapter: Seen, over: str) -> None:
    """Wherever the attempt ends, the connection is closed, and its duplicate too.

    The thread has no request context any more.
    """
    with FaultServer() as server:
        observer = Observer(over)
        with pytest.raises(Aborted):
            _open(PreparedSender(adapter, _prepared(server.chat_url), GIVEN, model=True), observer, server.chat_url)
        assert observer.handles == []
        assert contexts.current() is None
        if over not in ("check", "adopt"):
            server.wait_for_closed(1)
        if over not in ("sent", "headers"):
            assert len(server.requests) == 0


class Own(BaseAdapter):
    """Has connections of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []

    def send(self, request: Any, **kwargs: Any) -> requests.Response:
        self.seen.append(kwargs)
        response = requests.Response()
        response.status_code, response.raw, response.url = 200, io.BytesIO(b"own"), request.url
        return response

    def close(self) -> None:
        pass


def test_an_adapter_of_unknown_connections_counts_as_connected_and_sent() -> None:
    """The adapter gets the backstops as time-outs, because its connections have no others."""
    adapter, observer = Own(), Observer()
    sender = PreparedSender(adapter, _prepared("http://provider.test/"), GIVEN, model=False)
    assert not sender.findable
    reply = _open(sender, observer, "http://provider.test/", streaming=False)
    assert reply.read() + reply.read() == b"own"
    assert observer.said == ["connected", "sent", "headers 200 False"]
    timeout = adapter.seen[0]["timeout"]
    assert isinstance(timeout, Timeout)
    assert (timeout.connect_timeout, timeout.read_timeout) == (31, 33)
    assert {**adapter.seen[0], "timeout": None} == {**GIVEN, "timeout": None}


def test_new_pools_of_an_adapter_are_watched_in_the_next_attempt(adapter: Seen) -> None:
    """An adapter that got new pools between two attempts reports from those as well."""
    with FaultServer() as server:
        sender = PreparedSender(adapter, _prepared(server.chat_url), GIVEN, model=True)
        adapter.close()
        adapter.init_poolmanager(1, 1)
        observer = Observer()
        _open(sender, observer, server.chat_url).close()
    assert observer.said[:3] == ["adopt False", "connected", "sent"]
