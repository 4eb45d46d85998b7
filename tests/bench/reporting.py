"""What does it cost to be told of calls?

The same calls with and without: a sink that takes the record of each short stream; an incident log, of calls that are
answered with status 400; ``on_notice``, of calls whose first attempt is answered with status 503. Processor time of
this process for each call.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmwatch import CallRecord, Client, LLMWatchError, Retry
from tests.bench.entry_points import BODY, read_client, repeated
from tests.bench.measure import Figure, Result, compare
from tests.bench.server import running

CALLS = 100
VARIABLE = "LLMWATCH_INCIDENT_LOG"
FIGURES = (
    Figure(name="reporting.record", what="a stream of 5 events: with a sink for its record / without", goal=1.1),
    Figure(name="reporting.incident_log", what="a call that fails: with an incident log / without", goal=1.2),
    Figure(name="reporting.on_notice", what="a call that is made again: with on_notice / without", goal=1.1),
)


def collected(client: Client, url: str, *, fails: bool) -> Callable[[], int]:
    """A call of ``collect``, and whether it has to fail."""

    def call() -> int:
        try:
            client.collect("POST", url, json=BODY)
        except LLMWatchError:
            assert fails
        else:
            assert not fails
        return 1

    return call


def with_log(work: Callable[[], int], path: Path) -> Callable[[], int]:
    """The same with an incident log."""

    def call() -> int:
        os.environ[VARIABLE] = str(path)
        try:
            return work()
        finally:
            del os.environ[VARIABLE]

    return call


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """Each kind of report in turn with none."""
    runs, results = (3 if quick else 15), []
    os.environ.pop(VARIABLE, None)

    def taken(figure: Figure, ours: Callable[[], int], theirs: Callable[[], int]) -> None:
        results.append(compare(figure, ours, theirs, runs))

    if FIGURES[0].name in names:
        records: list[CallRecord] = []
        with running("burst", 5) as url, Client(sinks=[records.append]) as told, Client() as plain:
            sides = [repeated(lambda one=one: len(list(read_client(one, url))), CALLS) for one in (told, plain)]  # type: ignore[misc]
            taken(FIGURES[0], *sides)
        assert records
    if FIGURES[1].name in names:
        with running("bad-request") as url, Client() as client, tempfile.TemporaryDirectory() as directory:
            work = repeated(collected(client, url, fails=True), CALLS)
            path = Path(directory, "incidents")
            taken(FIGURES[1], with_log(work, path), work)
            assert path.stat().st_size
    if FIGURES[2].name in names:
        notices: list[Any] = []
        retry = Retry(backoff=0, breaker=0, budget=0)
        told, plain = Client(retry=retry, on_notice=notices.append), Client(retry=retry)
        with running("status:status=503+healthy") as url, told, plain:
            sides = [repeated(collected(one, url, fails=False), CALLS) for one in (told, plain)]
            taken(FIGURES[2], *sides)
        assert notices
    return results
