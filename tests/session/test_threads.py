"""One session, many threads: each call gets its own answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import requests
from requests.adapters import HTTPAdapter

import llmwatch
from llmwatch import Limits
from llmwatch.faults import Context, FaultServer, Script, steps
from tests.end_to_end.calls import asking, eventually, in_thread
from tests.session.entry_points import Way, record_of
from tests.session.times import LONG

THREADS = 100
ROUNDS = 2
"""Calls of each thread: the second goes over a connection that another kind of call may have left."""


def _personal(fails: int) -> Script:
    """A server that answers with the text of the request.

    Every ``fails``th request is reset before its answer.
    """

    def play(context: Context) -> Iterator[steps.Step]:
        if fails and context.request.number % fails == 0:
            yield steps.Reset()
        said = context.request.header("x-said") or ""
        if context.request.asks_stream:
            blocks = [block for word in said.split("-") for block in context.shape.text(word + "-")]
            yield from context.answer(steps.paced([*blocks, *context.ending()]))
        else:
            yield from context.answer([steps.Chunk(said.encode())], content_type="text/plain")

    return Script(name="personal", description="answers everybody with his own words", play=play)


def _stream(session: requests.Session, server: FaultServer, said: str) -> str:
    found = []
    with session.post(server.chat_url, json=asking(), headers={"X-Said": said}, stream=True) as response:
        for line in response.iter_lines():
            if b'"content":"' in line:
                found.append(line.partition(b'"content":"')[2].partition(b'"')[0].decode())
    return "".join(found)[:-1]


def _loaded(session: requests.Session, server: FaultServer, said: str) -> str:
    return session.post(server.chat_url, json=asking(stream=False), headers={"X-Said": said}).text


def _get(session: requests.Session, server: FaultServer, said: str) -> str:
    return session.get(server.url + "/file", headers={"X-Said": said}).text


KINDS: list[Callable[..., str]] = [_stream, _loaded, _get]


def _everybody(session: requests.Session, server: FaultServer, rounds: int) -> list[tuple[list[str], list[str]]]:
    barrier = threading.Barrier(THREADS)

    def one(number: int) -> tuple[list[str], list[str]]:
        barrier.wait()
        said = [f"thread-{number}-round-{turn}" for turn in range(rounds)]
        return said, [KINDS[(number + turn) % 3](session, server, text) for turn, text in enumerate(said)]

    return [running.result(LONG) for running in [in_thread(one, number) for number in range(THREADS)]]


def test_a_hundred_threads_on_one_session_get_their_own_answers(way: Way) -> None:
    """A hundred threads at once get the right answers, with one request each.

    They make streams, plain calls and downloads.
    """
    with FaultServer(_personal(0)) as server, way.session(limits=Limits(connect=LONG)) as session:
        for said, heard in _everybody(session, server, ROUNDS):
            assert heard == said
        assert len(server.requests) == ROUNDS * THREADS
    eventually(lambda: llmwatch.stats()["workers"] == 0, "the workers are gone")


def test_a_hundred_threads_recover_from_resets(way: Way) -> None:
    """Each answer is the right one, even if every seventh request is reset.

    Each loss costs one request.
    """
    records: list[llmwatch.CallRecord] = []
    settings: dict[str, Any] = {"limits": Limits(connect=LONG), "sinks": [records.append]}
    settings["retry"] = llmwatch.Retry(max_attempts=8, backoff=0.01, budget=0)
    with FaultServer(_personal(7)) as server, way.session(**settings) as session:
        for said, heard in _everybody(session, server, ROUNDS):
            assert heard == said
        lost = sum(len(one.attempts) - 1 for one in records)
        assert len(server.requests) == ROUNDS * THREADS + lost
        assert lost == len(server.requests) // 7


def test_threads_may_share_an_adapter_between_sessions(way: Way) -> None:
    """Threads may share an adapter between sessions.

    Two watching adapters around it, and a plain session on it beside them, do not get into each other's way.
    """
    adapter = HTTPAdapter(pool_maxsize=4)

    def with_adapter() -> requests.Session:
        session = requests.Session()
        session.mount("http://", adapter)
        return session

    with FaultServer(_personal(0)) as server, way.session(with_adapter(), limits=Limits(connect=LONG)) as first:
        with llmwatch.mount(with_adapter(), limits=Limits(connect=LONG)) as second:
            plain = with_adapter()

            def one(number: int) -> bool:
                session = (first, second, plain)[number % 3]
                kind = KINDS[number // 3 % 3]
                return all(kind(session, server, f"t-{number}-{turn}") == f"t-{number}-{turn}" for turn in range(4))

            assert all(running.result(LONG) for running in [in_thread(one, number) for number in range(36)])
        assert len(server.requests) == 36 * 4


def test_concurrent_first_calls_of_an_adapter_are_all_watched(way: Way) -> None:
    """An adapter whose first calls come from many threads is made watchable once.

    Every call is watched.
    """
    with FaultServer(_personal(0)) as server:
        for _ in range(10):
            session = requests.Session()
            session.mount("http://", HTTPAdapter())
            with way.session(session) as watched:
                barrier = threading.Barrier(12)

                def one(number: int, watched: Any = watched, barrier: Any = barrier) -> Any:
                    barrier.wait()
                    return watched.get(server.url, headers={"X-Said": str(number)})

                answers = [running.result(LONG) for running in [in_thread(one, number) for number in range(12)]]
                assert [one.text for one in answers] == [str(number) for number in range(12)]
                assert all(record_of(one).attempts[0].socket_reused is not None for one in answers)
