"""What does watching cost for a plain call?

An answer of 2 KiB as JSON, on a kept connection, parsed; processor time of this process for each call.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.entry_points import plain
from tests.bench.measure import Figure, Result
from tests.bench.server import running
from tests.bench.short_streams import calls

SIZE = 2048
FIGURES = (
    Figure(name="plain_calls.client", what="a plain call of 2 KiB: Client.request / requests", goal=1.6),
    Figure(name="plain_calls.session", what="a plain call of 2 KiB: Session / requests", goal=1.6),
    Figure(name="plain_calls.sdk", what="a plain call of 2 KiB: sdk.openai() / openai on its own transport", goal=1.3),
)


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """Each entry point in turn with what it is held against."""
    with running("plain", SIZE) as url:
        return calls(FIGURES, names, url, plain, quick)
