"""What does the call log cost?

Short streams on a kept connection, with a call log and without, by turns; processor time of this process for each call,
that of the log's own thread among it. A difference of 2 % of a call takes many short pairs. The wall time stands beside
it, and shows what a caller waits. The log alone takes the records of such streams as they come, 20 together.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from llmwatch import CallLog, CallRecord, Client
from llmwatch.engine.settings import environment_sinks
from tests.bench.entry_points import read_client, repeated
from tests.bench.measure import Figure, Result, Sample, Spread, pairs, sample
from tests.bench.server import running

CALLS = 100
TOGETHER = 20
VARIABLE = "LLMWATCH_CALL_LOG"
FIGURES = (
    Figure(
        name="call_log.line",
        what="a stream of 5 events: processor time with a call log, less the time without",
        goal=30.0,
        unit="us",
    ),
    Figure(name="call_log.alone", what="the log alone: processor time for each record", goal=30.0, unit="us"),
)


def with_log(work: Callable[[], int], path: Path) -> Callable[[], int]:
    """The same with a call log, until its last line is written."""

    def call() -> int:
        os.environ[VARIABLE] = str(path)
        try:
            count = work()
            for log in environment_sinks(os.environ)[1]:
                assert log.flush(60.0)  # type: ignore[attr-defined]
            return count
        finally:
            del os.environ[VARIABLE]

    return call


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """The same client in turn with a call log and without."""
    os.environ.pop(VARIABLE, None)
    with running("burst", 5) as url, Client() as client, tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "calls")
        results = []
        if FIGURES[0].name in names:
            work = repeated(lambda: len(list(read_client(client, url))), CALLS)
            ours = with_log(work, path)
            results.append(_result(pairs(lambda: sample(ours), lambda: sample(work), 40 if quick else 200)))
        if FIGURES[1].name in names:
            records: list[CallRecord] = []
            with Client(sinks=[records.append]) as told:
                repeated(lambda: len(list(read_client(told, url))), TOGETHER)()
            results.append(_alone(records, path, 50 if quick else 300))
    return results


def _alone(records: list[CallRecord], path: Path, runs: int) -> Result:
    log = CallLog(path)

    def work() -> int:
        for record in records:
            log(record)
        assert log.flush(60.0)
        return len(records)

    work()
    lines = path.read_bytes().splitlines()
    note = f"{sum(map(len, lines)) / len(lines):,.0f} bytes a line, {len(records)} records together"
    spread = Spread.of([sample(work).processor for _ in range(runs)]).times(1e6)
    return Result(figure=FIGURES[1], value=spread, ours=spread, unit="us", notes=(note,))


def _result(found: Sequence[tuple[Sample, Sample]]) -> Result:
    return Result(
        figure=FIGURES[0],
        value=Spread.of([one.processor - other.processor for one, other in found]).times(1e6),
        ours=Spread.of([one.processor for one, _ in found]).times(1e6),
        theirs=Spread.of([other.processor for _, other in found]).times(1e6),
        unit="us",
        wall=Spread.of([one.wall / other.wall for one, other in found]),
    )
