"""What does an event of 8 MiB cost?

A stream with one such event is read by a client and by bare requests with sseclient-py, processor time of this process;
and by a client against eight streams with an event of 1 MiB: the cost is linear.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.entry_points import repeated, streams
from tests.bench.measure import Figure, Result, compare
from tests.bench.server import running

MIB = 2**20
FIGURES = (
    Figure(name="large_event.bare", what="an event of 8 MiB: Client.stream / requests and sseclient-py", goal=1.0),
    Figure(name="large_event.linear", what="an event of 8 MiB / eight streams with one of 1 MiB", goal=1.1),
)


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """One stream with 8 MiB in turn with what it is held against."""
    results = []
    runs = 2 if quick else 9
    with (
        running("large", 8 * MIB) as large,
        running("large", MIB) as small,
        streams("client", large) as (ours, theirs),
        streams("client", small) as (eighth, _),
    ):
        if FIGURES[0].name in names:
            results.append(compare(FIGURES[0], ours, theirs, runs, factor=1e3, unit="ms"))
        if FIGURES[1].name in names:

            def eight() -> int:
                return repeated(eighth, 8)() // 8

            results.append(compare(FIGURES[1], ours, eight, runs, factor=1e3, unit="ms"))
    return results
