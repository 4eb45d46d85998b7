"""Calls whose stream, response or iterator is dropped in mid-answer, unclosed.

Their sinks are told once, and nothing is held for them any more.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

import llmwatch
from llmwatch import CallRecord, CancelToken, Client, Event, Limits, Retry, sdk
from llmwatch.engine import call, hosts
from llmwatch.engine.hosts import Gate, Hosts
from llmwatch.faults import Context, Script, steps
from llmwatch.watch import dropped
from llmwatch.watch import supervisor as supervisors
from llmwatch.wrap import starting
from tests.end_to_end.calls import QUICK, asking, eventually, in_thread, run_stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT, LONG, PATIENCE
from tests.engine.fakes import DONE, chunk

pytestmark = pytest.mark.usefixtures("set_aside")

Sinks = list[Callable[[CallRecord], object]]
MESSAGES: Any = asking()["messages"]
WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


@dataclasses.dataclass
class Holding:
    """The objects of a begun call that a program holds, and its other objects."""

    held: list[Any]
    close: Callable[[], object] = int


Open = Callable[[str, Sinks], Holding]


def to_the_text(events: Iterator[Event]) -> None:
    """Read events up to the first with text."""
    assert any(event.text for event in events)


def _client(url: str, sinks: Sinks) -> tuple[Client, Any]:
    client = Client(sinks=sinks, retry=QUICK)
    return client, client.stream("POST", url + "/v1/chat/completions", json=asking())


def stream_entered(url: str, sinks: Sinks) -> Holding:
    client, stream = _client(url, sinks)
    stream.__enter__()
    to_the_text(stream)
    return Holding([stream], client.close)


def stream_iterator(url: str, sinks: Sinks) -> Holding:
    client, stream = _client(url, sinks)
    iterator = iter(stream)
    to_the_text(iterator)
    return Holding([iterator], client.close)


def default_client(url: str, sinks: Sinks) -> Holding:
    client = Client(sinks=sinks, retry=QUICK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmwatch.client.shortcuts._default", client)
        stream = llmwatch.stream("POST", url + "/v1/chat/completions", json=asking())
    to_the_text(stream)
    return Holding([stream], client.close)


def _response(session: requests.Session, url: str) -> requests.Response:
    return session.post(url + "/v1/chat/completions", json=asking(), stream=True)


def session_response(url: str, sinks: Sinks) -> Holding:
    session = llmwatch.Session(sinks=sinks, retry=QUICK)
    return Holding([_response(session, url)], session.close)


def session_lines(url: str, sinks: Sinks) -> Holding:
    session = llmwatch.Session(sinks=sinks, retry=QUICK)
    lines = _response(session, url).iter_lines()
    assert next(lines)
    return Holding([lines], session.close)


def mounted_content(url: str, sinks: Sinks) -> Holding:
    session = llmwatch.mount(requests.Session(), sinks=sinks, retry=QUICK)
    content = _response(session, url).iter_content(None)
    assert next(content)
    return Holding([content], session.close)


def mounted_raw(url: str, sinks: Sinks) -> Holding:
    session = llmwatch.mount(requests.Session(), sinks=sinks, retry=QUICK)
    raw = _response(session, url).raw
    assert raw.read1()
    return Holding([raw], session.close)


def installed_raw_stream(url: str, sinks: Sinks) -> Holding:
    llmwatch.install(sinks=sinks, retry=QUICK)
    try:
        session = requests.Session()
        stream = _response(session, url).raw.stream()
    finally:
        llmwatch.uninstall()
    assert next(stream)
    return Holding([stream], session.close)


def _watching(sinks: Sinks) -> Any:
    """Functions have no client that would have sinks."""
    own = {"sinks": tuple(sinks), "hosts": Hosts()}
    return pytest.MonkeyPatch.context, dataclasses.replace(starting._SETTINGS, **own)  # type: ignore[arg-type]


def iterated(url: str, sinks: Sinks) -> Holding:
    def lines() -> Iterator[bytes]:
        with requests.Session() as session, _response(session, url) as response:
            yield from response.iter_lines()

    context, settings = _watching(sinks)
    with context() as patch:
        patch.setattr(starting, "_SETTINGS", settings)
        items = llmwatch.iterate(lines)
        assert next(items)
    return Holding([items])


def watched_generator(url: str, sinks: Sinks) -> Holding:
    @llmwatch.watched
    def lines() -> Iterator[bytes]:
        with requests.Session() as session, _response(session, url) as response:
            yield from response.iter_lines()

    context, settings = _watching(sinks)
    with context() as patch:
        patch.setattr(starting, "_SETTINGS", settings)
        items = iter(lines())
        assert next(items)
    return Holding([items])


def httpx_response(url: str, sinks: Sinks) -> Holding:
    client = httpx.Client(transport=sdk.Transport(sinks=sinks, retry=QUICK))
    request = client.build_request("POST", url + "/v1/chat/completions", json=asking())
    return Holding([client.send(request, stream=True)], client.close)


def httpx_lines(url: str, sinks: Sinks) -> Holding:
    client = httpx.Client(transport=sdk.Transport(sinks=sinks, retry=QUICK))
    request = client.build_request("POST", url + "/v1/chat/completions", json=asking())
    lines = client.send(request, stream=True).iter_lines()
    assert next(lines)
    return Holding([lines], client.close)


def openai_stream(url: str, sinks: Sinks) -> Holding:
    client = sdk.openai(transport=sdk.Transport(sinks=sinks, retry=QUICK), api_key="k", base_url=url + "/v1")
    stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    assert next(iter(stream)).choices
    return Holding([stream], client.close)


def anthropic_stream(url: str, sinks: Sinks) -> Holding:
    client = sdk.anthropic(transport=sdk.Transport(sinks=sinks, retry=QUICK), api_key="k", base_url=url)
    stream = client.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=True)
    assert next(iter(stream)).type == "message_start"
    return Holding([stream], client.close)


OPENS: list[Open] = [
    stream_entered,
    stream_iterator,
    default_client,
    session_response,
    session_lines,
    mounted_content,
    mounted_raw,
    installed_raw_stream,
    iterated,
    watched_generator,
    httpx_response,
    httpx_lines,
    openai_stream,
    anthropic_stream,
]


OF_HTTPX = (httpx_response, httpx_lines, openai_stream)
"""httpx makes a circle of each response and its stream, which only the collector finds."""


def open_after(*events: bytes) -> Script:
    """An answer of these events whose body stays open."""

    def play(context: Context) -> Iterator[steps.Step]:
        yield steps.Head(200, [("Content-Type", "text/event-stream")], "chunked")
        for event in events:
            yield steps.Chunk(event)
        yield steps.WaitFor("rest")
        yield steps.End()

    return Script(name="open", description="an answer whose body stays open", play=play)


def told(records: list[CallRecord], count: int = 1) -> None:
    """Return once so many records came, and no thread is left that might deliver more."""
    eventually(lambda: len(records) >= count, f"{count} records")
    eventually(lambda: llmwatch.stats()["workers"] == 0, "the workers leave")
    quiet()
    assert len(records) == count


def quiet() -> None:
    """Return once no record is left to be delivered."""
    eventually(lambda: not dropped._left, "the supervisor hands on what was dropped")
    for backlog in (dropped.CLOSING, dropped.TELLING):
        eventually(lambda backlog=backlog: backlog._busy is None, "its thread leaves")  # type: ignore[misc]


@pytest.mark.parametrize("circle", [False, True], ids=["del", "circle"])
@pytest.mark.parametrize("open_", OPENS, ids=lambda one: one.__name__)
def test_a_dropped_call_is_one_record_at_the_sinks(
    serve: Serve, open_: Open, circle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sinks get one record of a dropped call, through every entry point.

    The last reference goes, or the collector finds the cycle. The record says that the user cancelled the call in
    mid-answer, with all that is known of the attempt.
    """
    gates: list[Gate] = []

    class Noted(Gate):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            gates.append(self)

    monkeypatch.setattr(hosts, "Gate", Noted)
    server = serve("stall-after-content")
    records: list[CallRecord] = []
    holding = open_(server.url, [records.append])
    assert records == []
    assert sum(gate._budget.calls for gate in gates) >= 1
    if circle:
        holding.held.append(holding.held)
    holding.held = []
    if circle or open_ in OF_HTTPX:
        gc.collect()
    told(records)
    (record,) = records
    assert (record.outcome, record.cause) == ("cancelled", "user_cancel")
    (attempt,) = record.attempts
    assert (attempt.cause, attempt.close_reason, attempt.error) == ("user_cancel", "user_cancel", "Cancelled")
    assert attempt.timings.first_content is not None
    assert attempt.timings.end is not None
    assert attempt.facts["delivered"] is True
    assert attempt.status == 200
    assert not record.incident
    assert [(gate._budget.calls, gate._out, gate._line) for gate in gates] == [(0, set(), [])] * len(gates)
    server.wait_for_closed(1)
    holding.close()


@pytest.mark.parametrize("open_", OPENS, ids=lambda one: one.__name__)
def test_a_dropped_call_with_a_lost_attempt_is_an_incident(
    serve: Serve, open_: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The incident log gets the whole line of a dropped call that lost an earlier attempt."""
    log = tmp_path / "log"
    monkeypatch.setenv("LLMWATCH_INCIDENT_LOG", str(log))
    monkeypatch.setenv("LLMWATCH_TTFB_TIMEOUT_SECONDS", str(LIMIT))
    server = serve("silent", "stall-after-content")
    records: list[CallRecord] = []
    holding = open_(server.url, [records.append])
    holding.held = []
    gc.collect()
    told(records)
    (line,) = log.read_text().splitlines()
    assert CallRecord.from_json(line) == records[0]
    assert [one.cause for one in records[0].attempts] == ["watchdog_timeout", "user_cancel"]
    holding.close()


class TestOutcomeOfADroppedCall:
    """A dropped call is recorded like a call that is closed at that moment."""

    def _both(self, serve: Serve, script: str | Script, read: Callable[[Any], object], **options: Any) -> CallRecord:
        found = []
        for close in (True, False):
            records: list[CallRecord] = []
            server = serve(script)
            with Client(sinks=[records.append], retry=QUICK, **options) as client:
                stream = client.stream("POST", server.chat_url, json=asking())
                read(stream)
                if close:
                    stream.close()
                del stream
                server.gate("rest").set()
                told(records)
                found.append(records[0])
        closed, left = found
        assert (left.outcome, left.cause, len(left.decisions)) == (closed.outcome, closed.cause, len(closed.decisions))
        for name in ("cause", "close_reason", "error", "end", "limit", "late_events"):
            assert getattr(left.attempts[-1], name) == getattr(closed.attempts[-1], name), name
        return left

    def test_a_dropped_whole_answer_is_done(self, serve: Serve) -> None:
        """The answer came to its end before the drop, whether or not the caller had read it."""

        def whole(stream: Any) -> None:
            stream.__enter__()
            eventually(lambda: stream._call._attempt.verdict is not None, "the answer is whole")

        assert self._both(serve, "healthy", whole).outcome == "done"

    def test_a_dropped_call_that_was_killed_has_failed(self, serve: Serve) -> None:
        """A limit expired before the drop, though the program has not come to the error yet."""

        def until_it_stalls(stream: Any) -> None:
            to_the_text(stream)
            eventually(lambda: stream._call._attempt.verdict is not None, "it is killed")

        record = self._both(serve, "stall-after-content", until_it_stalls, limits=Limits(stale=LIMIT))
        assert (record.outcome, record.attempts[0].close_reason) == ("failed", "stale_kill")

    def test_a_call_dropped_after_its_end_mark_is_done(self, serve: Serve) -> None:
        """The caller has all of the answer, whether or not the body is over."""

        def with_its_mark(stream: Any) -> None:
            assert [next(stream).text for _ in range(2)] == ["Yes.", ""]
            assert stream._call._attempt.verdict is None

        record = self._both(serve, open_after(chunk("Yes."), DONE), with_its_mark, limits=Limits(drain=LONG))
        assert (record.outcome, record.end) == ("done", "terminal")

    @pytest.mark.parametrize("close", [True, False])
    def test_a_call_dropped_after_its_error_was_handed_on_has_failed(self, serve: Serve, close: bool) -> None:
        """A program that reads an error among the bytes of its answer and leaves has met a failure."""
        error = b'data: {"error": {"message": "overloaded", "type": "overloaded_error"}}\n\n'
        server = serve(open_after(chunk("Yes."), error))
        records: list[CallRecord] = []
        with llmwatch.Session(sinks=[records.append], retry=QUICK) as session:
            response = _response(session, server.url)
            for line in response.iter_lines():
                if b"overloaded" in line:
                    break
            if close:
                response.close()
            del response
            server.gate("rest").set()
            told(records)
        assert (records[0].outcome, records[0].cause) == ("failed", "provider_error")
        assert records[0].attempts[0].error == "ProviderError"

    def test_a_stream_dropped_before_its_start_is_no_call(self, serve: Serve, connect: Connect) -> None:
        """Nothing was sent, and no sink is called."""
        records: list[CallRecord] = []
        server, client = serve(), connect(sinks=[records.append])
        client.stream("POST", server.chat_url, json=asking())
        quiet()
        assert records == []
        assert server.connections == 0


def test_a_drop_that_races_another_end_gives_one_record(serve: Serve) -> None:
    """A dropped call leaves one record, even if the drop meets another end of the call.

    The other end is a cancellation, the close of the client or the end of the answer.
    """
    server = serve("healthy:delay=0.001")
    records: list[CallRecord] = []
    ends: list[Callable[[CancelToken, Client], object]] = [
        lambda token, client: token.cancel(),
        lambda token, client: client.close(),
        lambda token, client: None,
    ]

    def one(number: int) -> None:
        token, client = CancelToken(), Client(sinks=[records.append], retry=QUICK)
        stream = client.stream("POST", server.chat_url, json=asking(), cancel=token)
        for _ in range(number % 4):
            next(stream)
        ending = in_thread(ends[number % 3], token, client)
        del stream
        ending.result()
        client.close()

    numbers = [number for number in range(120) if number % 4]
    for start in range(0, len(numbers), 10):
        for running in [in_thread(one, number) for number in numbers[start : start + 10]]:
            running.result()
    told(records, len(numbers))
    assert len({record.call_id for record in records}) == len(numbers)
    assert {record.outcome for record in records} <= {"cancelled", "done"}


def test_a_dropped_probe_lets_the_next_go_out(serve: Serve, connect: Connect) -> None:
    """The drop of a probe lets the next call go out: an open circuit lets one probe out at a time."""
    server = serve("silent", "silent", "healthy")
    client = connect(retry=Retry(max_attempts=1, breaker=1), limits=Limits(ttfb=LONG))
    lost = client.stream("POST", server.chat_url, json=asking(), limits=Limits(ttfb=LIMIT))
    assert isinstance(run_stream(lost).error, llmwatch.WatchTimeout)
    probe = client.stream("POST", server.chat_url, json=asking())
    probe.__enter__()
    server.wait_for_requests(2)
    del probe, lost
    answer = in_thread(client.collect, "POST", server.chat_url, json=asking()).result(PATIENCE)
    assert answer.text
    assert len(server.requests) == 3


class TestSinks:
    def test_sinks_of_dropped_calls_run_in_a_thread_of_their_own(self, serve: Serve, connect: Connect) -> None:
        """Neither the finalizer nor the supervisor calls a sink; sinks see the context variables of the call."""
        seen: list[tuple[str, str]] = []
        records: list[CallRecord] = []
        server = serve("stall-after-content")
        client = connect(sinks=[lambda record: seen.append((threading.current_thread().name, WHO.get()))])
        client._settings = dataclasses.replace(client._settings, sinks=(*client._settings.sinks, records.append))

        def drop() -> None:
            WHO.set("somebody")
            stream = client.stream("POST", server.chat_url, json=asking())
            next(stream)

        contextvars.copy_context().run(drop)
        told(records)
        assert seen == [("llmwatch-telling", "somebody")]

    def test_a_blocking_sink_stops_neither_limits_nor_other_calls(self, serve: Serve, connect: Connect) -> None:
        """Limits are kept and other calls are recorded while a sink does not return.

        Dropped calls are over in the meantime. Their records follow, and none is lost.
        """
        server = serve("stall-after-content")
        gate, entered = threading.Event(), threading.Event()
        records: list[CallRecord] = []

        def blocking(record: CallRecord) -> None:
            entered.set()
            assert gate.wait(LONG)
            records.append(record)

        slow = connect(sinks=[blocking])
        try:
            for _ in range(20):
                next(slow.stream("POST", server.chat_url, json=asking()))
            assert entered.wait(PATIENCE)
            eventually(lambda: dropped.CLOSING._busy is None and not dropped._left, "the calls are over")
            assert records == []
            others: list[CallRecord] = []
            with Client(sinks=[others.append], limits=Limits(stale=LIMIT), retry=QUICK) as client:
                made = client.stream("POST", server.chat_url, json=asking())
                assert isinstance(run_stream(made).error, llmwatch.WatchTimeout)
            assert [one.outcome for one in others] == ["failed"]
        finally:
            gate.set()
        told(records, 20)

    def test_records_behind_a_sink_that_never_returns_are_bounded(
        self, serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A fixed number of records waits for a blocking sink; further ones are lost, counted and logged."""
        monkeypatch.setattr(dropped.TELLING, "_most", 3)
        server = serve("stall-after-content")
        gate, entered = threading.Event(), threading.Event()
        records: list[CallRecord] = []

        def blocking(record: CallRecord) -> None:
            entered.set()
            assert gate.wait(LONG)
            records.append(record)

        client, before = connect(sinks=[blocking]), llmwatch.stats()["sink_errors"]
        try:
            next(client.stream("POST", server.chat_url, json=asking()))
            assert entered.wait(PATIENCE)
            for _ in range(8):
                next(client.stream("POST", server.chat_url, json=asking()))
            eventually(lambda: llmwatch.stats()["sink_errors"] == before + 5, "the others are counted")
        finally:
            gate.set()
        told(records, 4)
        assert len(caplog.records) == 1
        assert "wait for a sink that does not come back" in caplog.text

    def test_a_sink_that_raises_for_a_dropped_call_is_logged(
        self, serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Any exception of a sink is logged; the other sink and the next call are not affected."""
        records: list[CallRecord] = []
        errors: list[BaseException] = [ValueError(), SystemExit(), KeyboardInterrupt()]

        def broken(record: CallRecord) -> None:
            raise errors.pop(0)

        server, client = serve("stall-after-content"), connect(sinks=[records.append, broken])
        for count in (1, 2, 3):
            next(client.stream("POST", server.chat_url, json=asking()))
            told(records, count)
        assert errors == []
        assert "broken raised ValueError" in caplog.text


def test_a_finalizer_takes_no_lock(serve: Serve, connect: Connect) -> None:
    """A drop while another thread holds every lock of the library only leaves a mark.

    The sinks are told afterwards.
    """
    server = serve("stall-after-content")
    records: list[CallRecord] = []
    client = connect(sinks=[records.append])
    stream = client.stream("POST", server.chat_url, json=asking())
    next(stream)
    call = stream._call
    assert call is not None
    assert call._attempt is not None
    supervisor = call._attempt._supervisor
    locks = [call._lock, call._attempt._lock, supervisor.registry._lock, client._lock]
    locks += [dropped.CLOSING._lock, dropped.TELLING._lock]
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            held.set()
            assert done.wait(PATIENCE)

    holding, holder = in_thread(hold), [stream]
    assert held.wait(PATIENCE)
    del stream, call
    in_thread(holder.clear).result(PATIENCE / 2)
    assert records == []
    done.set()
    holding.result()
    told(records)


@pytest.mark.parametrize("open_", OPENS, ids=lambda one: one.__name__)
def test_a_collection_in_the_supervisors_thread_calls_no_sink(serve: Serve, open_: Open) -> None:
    """A garbage collection in the supervisor's thread calls no sink there.

    A collection may run in any thread and close generators there, as those of the SDKs.
    """
    server = serve("stall-after-content")
    records: list[CallRecord] = []
    threads: list[str] = []
    holding = open_(server.url, [lambda record: threads.append(threading.current_thread().name), records.append])
    held, holding.held = holding.held, []
    circle: list[Any] = [held]
    circle.append(circle)
    done = threading.Event()

    def collect() -> None:
        gc.collect()
        done.set()

    gc.disable()
    try:
        del held, circle
        supervisors.current().look_at(dropped._Lent(collect))
        assert done.wait(PATIENCE)
    finally:
        gc.enable()
    told(records)
    assert threads == ["llmwatch-telling"]
    holding.close()


def test_a_thousand_dropped_calls_leave_records_alone(serve: Serve, connect: Connect) -> None:
    """A thousand dropped calls leave a thousand records, no thread, no descriptor and no call.

    They leave no more attempts than a schedule keeps, which is compacted at 64 stale entries.
    """
    server = serve("stall-after-content")
    records: list[CallRecord] = []
    client = connect(sinks=[records.append])
    token = CancelToken()

    def drop(count: int) -> None:
        for _ in range(count):
            next(client.stream("POST", server.chat_url, json=asking(), cancel=token))

    for running in [in_thread(drop, 125) for _ in range(8)]:
        running.result(LONG)
    told(records, 1_000)
    assert {(one.outcome, one.cause, len(one.attempts)) for one in records} == {("cancelled", "user_cancel", 1)}
    assert token._callbacks == {}
    gc.collect()
    eventually(lambda: len(client._calls) == 0, "nobody has a call in hand")
    assert len(client._attempts) <= 64


AT_EXIT = """
import sys
from llmwatch import Client
client = Client(sinks=[lambda record: print(record.outcome, record.cause, len(record.attempts), flush=True)])
body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
for _ in range(int(sys.argv[2])):
    next(client.stream("POST", sys.argv[1], json=body))
"""


def test_a_call_dropped_just_before_the_exit_is_recorded(serve: Serve) -> None:
    """The records of dropped calls are delivered, and the program ends in good order."""
    server = serve("stall-after-content")
    command = [sys.executable, "-c", AT_EXIT, server.chat_url, "5"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["cancelled user_cancel 1"] * 5


OPEN_AT_EXIT = """
import sys, threading
from llmwatch import Client
def tell(record): print(record.outcome, record.cause, [one.cause for one in record.attempts], flush=True)
client = Client(sinks=[tell])
body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
stream = client.stream("POST", sys.argv[1], json=body)
if sys.argv[2] == "main":
    next(stream)
elif sys.argv[2] == "thread":
    thread = threading.Thread(target=next, args=(stream,))
    thread.start()
    thread.join()
else:
    next(stream)
    def wait():
        try: list(stream)
        finally: print("it woke")
    threading.Thread(target=wait, daemon=True).start()
    while not stream._call._inside: pass
"""


@pytest.mark.parametrize("reader", ["main", "thread", "daemon"])
def test_a_stream_left_open_at_exit_is_recorded_unless_a_thread_reads_it(serve: Serve, reader: str) -> None:
    """A stream that a script has left open ends with the script, and its sinks are told.

    A stream that a daemon thread waits for is left to that thread.
    """
    server = serve("stall-after-content")
    command = [sys.executable, "-c", OPEN_AT_EXIT, server.chat_url, reader]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    told_of = [] if reader == "daemon" else ["cancelled lifecycle_close ['lifecycle_close']"]
    assert ended.stdout.splitlines() == told_of


IN_AN_EXIT_HANDLER = """
import atexit, sys, threading
from llmwatch import Client
from llmwatch.watch import dropped
from llmwatch.watch import supervisor as supervisors
sink = {"blocks": lambda record: threading.Event().wait(), "tells": lambda record: print(record.outcome, flush=True)}
client = Client(sinks=[sink[sys.argv[2]]])
body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
streams = [client.stream("POST", sys.argv[1], json=body) for _ in range(3)]
for stream in streams: next(stream)
del stream
def none_left(*_): raise RuntimeError("can't create new thread at interpreter shutdown")
def drop():
    if sys.argv[3] == "without threads": dropped._thread.start_new_thread = none_left
    streams.clear()
atexit.register(drop)
"""


@pytest.mark.parametrize("threads", ["with threads", "without threads"])
@pytest.mark.parametrize("sink", ["tells", "blocks"])
def test_a_call_dropped_in_an_exit_handler_is_recorded(serve: Serve, sink: str, threads: str) -> None:
    """A call that is dropped in an exit handler is recorded.

    The interpreter may start no thread any more then. A sink that never returns does not keep the process.
    """
    server = serve("stall-after-content")
    command = [sys.executable, "-c", IN_AN_EXIT_HANDLER, server.chat_url, sink, threads]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == (["cancelled"] * 3 if sink == "tells" else [])


IN_A_FORK = """
import os, sys, threading
from llmwatch import Client
pipe = os.pipe()
def tell(record): os.write(pipe[1], f"{os.getpid()} {record.outcome}\\n".encode())
client = Client(sinks=[tell])
body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
stream = client.stream("POST", sys.argv[1], json=body)
next(stream)
child = os.fork()
if not child:
    del stream
    next(client.stream("POST", sys.argv[1], json=body))
    sys.exit(0)
os.waitpid(child, 0)
del stream
told = b""
while told.count(b"\\n") < 2: told += os.read(pipe[0], 100)
told = told.decode().replace(str(child), "child").replace(str(os.getpid()), "parent")
print(sorted(told.splitlines()))
os.set_blocking(pipe[0], False)
try: print(os.read(pipe[0], 100))
except BlockingIOError: print("no more")
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no forks here")
def test_a_forked_child_records_its_own_calls_alone(serve: Serve) -> None:
    """A stream that is dropped in parent and child is recorded by the parent.

    The child records the calls that it began.
    """
    server = serve("stall-after-content")
    command = [sys.executable, "-W", "ignore", "-c", IN_A_FORK, server.chat_url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["['child cancelled', 'parent cancelled']", "no more"]


def test_the_collector_is_off_while_reading_threads_are_sought_at_exit(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector continues afterwards; without an open call there is no search."""
    seen: list[bool] = []
    frames = sys._current_frames

    def look() -> Any:
        seen.append(gc.isenabled())
        return frames()

    monkeypatch.setattr(sys, "_current_frames", look)
    # A call that another test has dropped within a circle counts as open until then.
    gc.collect()
    assert not call._open
    call._leave_open_calls()
    assert seen == []
    stream = connect(limits=Limits(stale=LONG)).stream("POST", serve("stall-after-content").chat_url, json=asking())
    with stream:
        to_the_text(stream)
        call._leave_open_calls()
        assert gc.isenabled()
    assert seen == [False]
