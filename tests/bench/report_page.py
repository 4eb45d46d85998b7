"""How long do the page of 100,000 calls and its making take?

The calls are those of the real run in ``tests/cli``, again and again, with times of their own. The page is opened in a
headless browser; the time is that of the page's own clock, from the start of the navigation until everything is drawn.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from llmwatch import CallRecord
from llmwatch.report.advice import advise, variables
from llmwatch.report.columns import Columns
from llmwatch.report.page import page
from llmwatch.report.tuning import Grouping
from tests.bench.measure import Figure, Result, Spread
from tests.cli.traffic import LENGTH, log_of
from tests.page.browser import launched, opened, program

CALLS = 100_000
FIGURES = (
    Figure(
        name="report_page.open",
        what="a page of 100,000 calls in a browser: from the navigation until everything is drawn",
        goal=2.0,
        unit="s",
        each=True,
    ),
    Figure(name="report_page.filter", what="the same page: a filter, until all is drawn anew", goal=1.0, unit="s"),
    Figure(name="report_page.size", what="the same page: its bytes, in millions", goal=5.0, unit="MB"),
    Figure(name="report_page.make", what="making the page: seconds for each 1,000 calls", goal=0.5, unit="s"),
)


def lines(count: int, folder: Path) -> Iterator[str]:
    """Lines of a call log: those of the real run, with ids and times of their own."""
    dice = random.Random(1)
    real = log_of(folder).read_text(encoding="ascii").splitlines()
    for number in range(count):
        call = json.loads(real[number % len(real)])
        later, factor = number // len(real) * LENGTH, dice.uniform(0.7, 1.4)
        call["call_id"] = f"{dice.getrandbits(128):032x}"
        call["started_at"] += later
        call["elapsed"] *= factor
        for attempt in call["attempts"]:
            attempt["started_at"] += later
            attempt["elapsed"] *= factor
            attempt["timings"] = {name: at * factor for name, at in attempt["timings"].items()}
            if "longest_gap" in attempt:
                attempt["longest_gap"] *= factor
        yield json.dumps(call)


def made(count: int, path: Path) -> float:
    """Write the page of ``count`` calls; the seconds that it took, reading included."""
    text = list(lines(count, path.parent))
    began = time.perf_counter()
    columns, grouping = Columns(), Grouping()
    for line in text:
        record = CallRecord.from_json(line)
        columns.add(record)
        grouping.add(record)
    advised = advise(grouping.groups())
    path.write_text(page(columns, advised, variables(advised)), encoding="utf-8")
    return time.perf_counter() - began


def _opened(browser: Browser, path: Path) -> tuple[float, float]:
    with opened(browser, path) as shown:
        drawn = shown.page.evaluate("Number(document.documentElement.dataset.drawn)") / 1000
        shown.page.select_option("#model", index=1)
        filtered = shown.page.evaluate("Number(document.documentElement.dataset.rendered)") / 1000
        assert 0 < shown.tiles()["calls"] < CALLS
    return drawn, filtered


def measure(names: Sequence[str], quick: bool) -> list[Result]:
    """The page is made once, and opened several times in one browser."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "report.html")
        seconds = made(CALLS, path)
        values = {
            "report_page.make": Spread.of([seconds / CALLS * 1_000]),
            "report_page.size": Spread.of([path.stat().st_size / 1e6]),
        }
        found, note = program(playwright), "no browser"
        if found is not None:
            with launched(playwright, found) as browser:
                times = [_opened(browser, path) for _ in range(3 if quick else 10)]
                note = f"Chromium {browser.version}"
            values["report_page.open"] = Spread.of([drawn for drawn, _ in times])
            values["report_page.filter"] = Spread.of([filtered for _, filtered in times])
    return [
        Result(
            figure=figure, value=values.get(figure.name), ours=values.get(figure.name), unit=figure.unit, notes=(note,)
        )
        for figure in FIGURES
        if figure.name in names
    ]
