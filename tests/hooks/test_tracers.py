"""OpenTelemetry's instrumentation of requests, httpx and httpx2 beside ``install()``, in every order.

The package is the real one, and keeps its spans in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import pytest
import requests
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import llmwatch
from llmwatch import CallRecord, Limits, Retry
from llmwatch.faults import FaultServer
from llmwatch.hooks.left_alone import counts
from tests.hooks.test_httpx_transports import STREAM
from tests.sdk.times import LONG, SOON

pytestmark = pytest.mark.usefixtures("nothing_left")

INSTRUMENTORS: dict[str, Any] = {
    "requests": RequestsInstrumentor,
    "httpx": HTTPXClientInstrumentor,
    "httpx2": HTTPX2ClientInstrumentor,
}
LIBRARIES: dict[str, Any] = {"httpx": httpx, "httpx2": httpx2}

every_library = pytest.mark.parametrize("name", INSTRUMENTORS)
on_httpx = pytest.mark.parametrize("name", LIBRARIES)


def _attributes() -> list[tuple[Any, str]]:
    """What either side replaces."""
    found: list[tuple[Any, str]] = [(requests.Session, name) for name in ("send", "get_adapter")]
    return found + [
        (library.HTTPTransport, name)
        for library in LIBRARIES.values()
        for name in ("handle_request", "close", "__exit__")
    ]


class Tracing:
    """Both sides: the steps of an order, and what each side saw."""

    def __init__(self, name: str, exporter: InMemorySpanExporter, provider: TracerProvider) -> None:
        self.name = name
        self.records: list[CallRecord] = []
        self._exporter = exporter
        self._provider = provider

    def take(self, order: str) -> None:
        """Take the steps of ``order``: each side's ``install`` and ``uninstall``."""
        instrumentor = INSTRUMENTORS[self.name]()
        for step in order.split(", "):
            if step == "theirs":
                instrumentor.instrument(tracer_provider=self._provider)
            elif step == "undo theirs":
                instrumentor.uninstrument()
            elif step == "ours":
                llmwatch.install(limits=Limits(ttfb=SOON), retry=Retry(backoff=0.01), sinks=[self.records.append])
            else:
                assert step == "undo ours"
                llmwatch.uninstall()

    def post(self, server: FaultServer) -> int:
        """The status of a streamed model call through a new client."""
        if self.name == "requests":
            return requests.post(server.chat_url, json=STREAM, timeout=LONG).status_code
        with LIBRARIES[self.name].Client(timeout=LONG) as client:
            status: int = client.post(server.chat_url, json=STREAM).status_code
            return status

    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended since the last look."""
        spans = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return spans


@pytest.fixture
def tracing(name: str) -> Iterator[Tracing]:
    """A tracer of this test alone. All attributes are put back afterwards."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before = [(owner, attribute, vars(owner)[attribute]) for owner, attribute in _attributes()]
    yield Tracing(name, exporter, provider)
    llmwatch.uninstall()
    if INSTRUMENTORS[name]().is_instrumented_by_opentelemetry:
        INSTRUMENTORS[name]().uninstrument()
    for owner, attribute, value in before:
        setattr(owner, attribute, value)
    llmwatch.install()
    llmwatch.uninstall()
    assert all(vars(owner)[attribute] is value for owner, attribute, value in before)


def trace_parents(server: FaultServer) -> list[str]:
    """The span that each request at the server names as its parent."""
    return [dict(request.headers)["traceparent"].split("-")[2] for request in server.requests]


BOTH = [
    "theirs, ours",
    "ours, theirs",
    "ours, theirs, ours",
    "theirs, ours, ours",
    "ours, theirs, undo ours, ours",
]


@every_library
@pytest.mark.parametrize("order", BOTH)
def test_both_see_a_call_in_any_order(serve: Any, tracing: Tracing, name: str, order: str) -> None:
    """A silence is recovered with two requests inside one span; both carry its id to the server."""
    tracing.take(order)
    server = serve("silent", "healthy")
    assert tracing.post(server) == 200
    (span,) = tracing.spans()
    assert span.status.is_ok
    assert span.context is not None
    assert trace_parents(server) == [format(span.context.span_id, "016x")] * 2
    assert [(record.entry_point, record.outcome) for record in tracing.records] == [(name, "recovered")]


@every_library
@pytest.mark.parametrize("order", BOTH[:2])
def test_a_failure_is_in_both_records(serve: Any, tracing: Tracing, name: str, order: str) -> None:
    """The span of a call that failed names the library's error, and ours has its cause."""
    tracing.take(f"{order}, undo ours")
    llmwatch.install(limits=Limits(ttfb=SOON), retry=Retry.none(), sinks=[tracing.records.append])
    server = serve("silent")
    with pytest.raises((httpx.ReadTimeout, httpx2.ReadTimeout, requests.ReadTimeout)) as caught:
        tracing.post(server)
    assert isinstance(caught.value, llmwatch.WatchTimeout)
    (span,) = tracing.spans()
    assert not span.status.is_ok
    assert len(server.requests) == 1
    assert [record.cause for record in tracing.records] == ["watchdog_timeout"]


@every_library
@pytest.mark.parametrize("order", BOTH[:4])
def test_theirs_alone_after_ours_is_taken_back(serve: Any, tracing: Tracing, name: str, order: str) -> None:
    """The tracer sees the call once, and llmwatch does not: its time-out is the library's own."""
    tracing.take(f"{order}, undo ours")
    server = serve("healthy")
    assert tracing.post(server) == 200
    (span,) = tracing.spans()
    assert span.context is not None
    assert trace_parents(server) == [format(span.context.span_id, "016x")]
    assert tracing.records == []


@every_library
def test_ours_alone_after_theirs_is_taken_back(serve: Any, tracing: Tracing, name: str) -> None:
    """llmwatch recovers the call, and there is no span."""
    tracing.take("ours, theirs, undo theirs")
    server = serve("silent", "healthy")
    assert tracing.post(server) == 200
    assert tracing.spans() == []
    assert len(server.requests) == 2
    assert [record.outcome for record in tracing.records] == ["recovered"]


@on_httpx
def test_a_tracer_beneath_ours_does_not_take_itself_back(serve: Any, tracing: Tracing, name: str) -> None:
    """Spans go on after ``uninstrument``: OpenTelemetry unwraps only what lies on top. Ours works on.

    The fact is the tracer's (0.66b1) and the same beneath any other wrapper.
    """
    tracing.take("theirs, ours, undo theirs")
    server = serve("silent", "healthy")
    assert tracing.post(server) == 200
    assert len(tracing.spans()) == 1
    assert [record.outcome for record in tracing.records] == ["recovered"]


@every_library
@pytest.mark.parametrize(
    "order",
    [
        "theirs, ours, undo ours, undo theirs",
        "ours, theirs, undo theirs, undo ours",
        "ours, theirs, undo ours, undo theirs, ours, undo ours",
    ],
)
def test_both_taken_back_leave_the_very_objects(serve: Any, tracing: Tracing, name: str, order: str) -> None:
    """The attributes are the objects that they were.

    Where ours was taken back beneath the tracer's, the next ``install`` and ``uninstall`` put the last one back.
    """
    before = [vars(owner)[attribute] for owner, attribute in _attributes()]
    tracing.take(order)
    assert all(vars(owner)[attribute] is was for (owner, attribute), was in zip(_attributes(), before, strict=True))
    server = serve("healthy")
    assert tracing.post(server) == 200
    assert tracing.spans() == []
    assert tracing.records == []


@on_httpx
def test_every_other_request_is_the_tracers_and_the_librarys(serve: Any, tracing: Tracing, name: str) -> None:
    """Under a tracer that came first, a request that is no model call has its span and no record."""
    tracing.take("theirs, ours")
    server = serve("healthy")
    with LIBRARIES[name].Client(timeout=LONG) as client:
        assert client.get(server.url + "/v1/models").status_code == 200
        assert client.post(server.url + "/login", data={"user": "a"}).status_code == 200
        assert "_llmwatch_transport" not in vars(client._transport)
    assert len(tracing.spans()) == len(server.requests) == 2
    assert tracing.records == []


@on_httpx
def test_the_pool_is_as_it_was_after_uninstall(serve: Any, tracing: Tracing, name: str) -> None:
    """A pool whose calls were watched beneath a tracer has no attribute of llmwatch's afterwards."""
    tracing.take("theirs, ours")
    server = serve("healthy")
    with LIBRARIES[name].Client(timeout=LONG) as client:
        before = set(vars(client._transport._pool))
        assert client.post(server.chat_url, json=STREAM).status_code == 200
        assert set(vars(client._transport._pool)) == before | {"handle_request"}
        llmwatch.uninstall()
        assert set(vars(client._transport._pool)) == before
        assert client.post(server.chat_url, json=STREAM).status_code == 200
    assert (len(tracing.spans()), len(tracing.records)) == (2, 1)


@on_httpx
def test_a_client_with_its_own_tracer_is_watched(serve: Any, tracing: Tracing, name: str) -> None:
    """``instrument_client`` wraps the transport object of one client; both see its calls, in both orders."""
    instrumentor = INSTRUMENTORS[name]()
    tracing.take("ours")
    server = serve("silent", "healthy")
    with LIBRARIES[name].Client(timeout=LONG) as client:
        instrumentor.instrument_client(client, tracer_provider=tracing._provider)
        assert client.post(server.chat_url, json=STREAM).status_code == 200
        tracing.take("undo ours, ours")
        assert client.post(server.chat_url, json=STREAM).status_code == 200
    assert len(tracing.spans()) == 2
    assert [record.outcome for record in tracing.records] == ["recovered", "done"]


@on_httpx
def test_what_cannot_be_watched_under_a_tracer_is_counted(serve: Any, tracing: Tracing, name: str) -> None:
    """A client for HTTP/2 under a tracer that came first goes the library's way, and the count says why."""
    tracing.take("theirs, ours")
    library = LIBRARIES[name]
    transport = library.HTTPTransport()
    transport._pool._http2 = True  # what http2=True does, without the package h2
    server = serve("healthy")
    before = counts().get(name, {}).get("HTTP/2", 0)
    with library.Client(transport=transport, timeout=LONG) as client:
        assert client.post(server.chat_url, json=STREAM).status_code == 200
    assert counts()[name]["HTTP/2"] == before + 1
    assert len(tracing.spans()) == 1
    assert tracing.records == []
