"""What does watching cost for each event of a saturated stream?

A stream of 20,000 chunks of a chat completion comes as fast as it is read, through each entry point and through what
stands in its place without llmwatch; processor time of this process for each event.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.entry_points import NAMES, streams
from tests.bench.measure import Figure, Result, compare
from tests.bench.server import running

EVENTS = 20_000
FIGURES = (
    Figure(name="events.client", what="an event: Client.stream / requests, sseclient-py and json.loads", goal=1.0),
    Figure(name="events.session", what="an event: Session by iter_lines and json.loads / requests so", goal=1.5),
    Figure(name="events.sdk", what="an event: openai on sdk.openai() / on its own transport", goal=1.0),
)


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """Each entry point in turn with what it is held against."""
    results = []
    for figure, entry_point in zip(FIGURES, NAMES, strict=True):
        if figure.name in names:
            events = EVENTS // (5 if entry_point == "sdk" else 1)
            with running("burst", events) as url, streams(entry_point, url) as (ours, theirs):
                results.append(compare(figure, ours, theirs, 3 if quick else 15))
    return results
