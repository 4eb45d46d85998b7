"""OpenTelemetry's instrumentation of urllib3 and of urllib beside ``install()``, in every order.

The packages are the real ones, and keep their spans in memory.
"""

from __future__ import annotations

import importlib
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

import llmwatch
from llmwatch import CallRecord, Limits, Retry
from llmwatch.faults import FaultServer
from tests.end_to_end.calls import eventually
from tests.hooks.bare_calls import STREAM, WAYS
from tests.sdk.times import SOON

# An environment that was made before they were in the extra lacks them.
INSTRUMENTORS: dict[str, Any] = {
    "urllib3": pytest.importorskip("opentelemetry.instrumentation.urllib3").URLLib3Instrumentor,
    "urllib": pytest.importorskip("opentelemetry.instrumentation.urllib").URLLibInstrumentor,
}
trace: Any = importlib.import_module("opentelemetry.sdk.trace")
export: Any = importlib.import_module("opentelemetry.sdk.trace.export")
memory: Any = importlib.import_module("opentelemetry.sdk.trace.export.in_memory_span_exporter")

pytestmark = pytest.mark.usefixtures("nothing_left")

every_way = pytest.mark.parametrize("name", WAYS)

PLACES: list[tuple[Any, str]] = [
    (urllib3.HTTPConnectionPool, "urlopen"),
    (urllib3.PoolManager, "urlopen"),
    (urllib3.PoolManager, "clear"),
    (urllib.request.OpenerDirector, "open"),
    (urllib.request.AbstractHTTPHandler, "do_open"),
]
"""What either side replaces."""

BOTH = ["theirs, ours", "ours, theirs", "ours, theirs, ours", "theirs, ours, ours", "ours, theirs, undo ours, ours"]


class Tracing:
    """Both sides: the steps of an order, and what each side saw."""

    def __init__(self, library: str) -> None:
        self.records: list[CallRecord] = []
        self.instrumentor = INSTRUMENTORS[library]()
        self._exporter = memory.InMemorySpanExporter()
        self._provider = trace.TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(export.SimpleSpanProcessor(self._exporter))

    def take(self, order: str) -> None:
        """Take the steps of ``order``: each side's ``install`` and ``uninstall``."""
        for step in order.split(", "):
            if step == "theirs":
                self.instrumentor.instrument(tracer_provider=self._provider)
            elif step == "undo theirs":
                self.instrumentor.uninstrument()
            elif step == "ours":
                llmwatch.install(limits=Limits(ttfb=SOON), retry=Retry(backoff=0.01), sinks=[self.records.append])
            else:
                assert step == "undo ours"
                llmwatch.uninstall()

    def span_ids(self, number: int) -> list[str]:
        """The sorted ids of the ``number`` spans of the test. That of a killed attempt ends with its thread."""
        eventually(lambda: len(self._exporter.get_finished_spans()) >= number, f"{number} spans have ended")
        return sorted(format(span.context.span_id, "016x") for span in self._exporter.get_finished_spans())


@pytest.fixture
def tracing(name: str) -> Iterator[Tracing]:
    """A tracer of this test alone. All attributes are as before afterwards."""
    before = [vars(owner)[attribute] for owner, attribute in PLACES]
    made = Tracing(WAYS[name].recorded_as)
    yield made
    llmwatch.uninstall()
    if made.instrumentor.is_instrumented_by_opentelemetry:
        made.instrumentor.uninstrument()
    for (owner, attribute), value in zip(PLACES, before, strict=True):
        setattr(owner, attribute, value)
    llmwatch.install()
    llmwatch.uninstall()
    assert all(vars(owner)[attribute] is was for (owner, attribute), was in zip(PLACES, before, strict=True))


def _parents(server: FaultServer) -> list[str]:
    """The span that each request at the server names as its parent."""
    return [str(request.header("traceparent")).split("-")[2] for request in server.requests]


@every_way
@pytest.mark.parametrize("order", BOTH)
def test_both_see_a_call_in_any_order(serve: Any, tracing: Tracing, name: str, order: str) -> None:
    """The tracer of urllib sees the call, and that of urllib3 each of its two requests."""
    tracing.take(order)
    server = serve("silent", "healthy")
    assert WAYS[name].post(server.chat_url, STREAM)[0] == 200
    number = 1 if WAYS[name].recorded_as == "urllib" else 2
    spans = tracing.span_ids(number)
    assert len(spans) == number
    assert sorted(_parents(server)) == (spans if number == 2 else spans * 2)
    assert [record.outcome for record in tracing.records] == ["recovered"]


@every_way
@pytest.mark.parametrize("order", BOTH[:4])
def test_theirs_alone_after_ours_is_taken_back(serve: Any, tracing: Tracing, name: str, order: str) -> None:
    """The tracer sees the call once, and llmwatch does not."""
    tracing.take(f"{order}, undo ours")
    server = serve("healthy")
    assert WAYS[name].post(server.chat_url, STREAM)[0] == 200
    assert _parents(server) == tracing.span_ids(1)
    assert len(server.requests) == 1
    assert tracing.records == []


@every_way
@pytest.mark.parametrize("order", ["ours, theirs, undo theirs", "theirs, ours, undo theirs"])
def test_ours_alone_after_theirs_is_taken_back(serve: Any, tracing: Tracing, name: str, order: str) -> None:
    """llmwatch recovers the call, and there is no span: the two wrap different functions."""
    tracing.take(order)
    server = serve("silent", "healthy")
    assert WAYS[name].post(server.chat_url, STREAM)[0] == 200
    assert tracing.span_ids(0) == []
    assert len(server.requests) == 2
    assert [record.outcome for record in tracing.records] == ["recovered"]


@every_way
@pytest.mark.parametrize(
    "order",
    [
        "theirs, ours, undo ours, undo theirs",
        "theirs, ours, undo theirs, undo ours",
        "ours, theirs, undo theirs, undo ours",
        "ours, theirs, undo ours, undo theirs",
    ],
)
def test_both_taken_back_leave_the_very_objects(serve: Any, tracing: Tracing, name: str, order: str) -> None:
    """The attributes are the objects that they were, and nothing is seen."""
    before = [vars(owner)[attribute] for owner, attribute in PLACES]
    tracing.take(order)
    assert all(vars(owner)[attribute] is was for (owner, attribute), was in zip(PLACES, before, strict=True))
    server = serve("healthy")
    assert WAYS[name].post(server.chat_url, STREAM)[0] == 200
    assert tracing.span_ids(0) == []
    assert tracing.records == []
