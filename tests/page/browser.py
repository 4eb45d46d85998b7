"""A real browser without a window, and the page of a report in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Playwright

__all__ = ["PROGRAMS", "Opened", "launched", "opened", "program"]

PROGRAMS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
"""Names on the path, beside what ``playwright install chromium`` has brought."""

PATIENCE = 60_000
"""Milliseconds until a page that is not drawn fails a test."""


def program(playwright: Playwright) -> str | None:
    """The browser's program, if there is one."""
    own = playwright.chromium.executable_path
    return own if Path(own).exists() else next(filter(None, map(shutil.which, PROGRAMS)), None)


def launched(playwright: Playwright, path: str) -> Browser:
    """The browser, which root may run: in a container there is no other user."""
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


class Opened:
    """A page that is drawn, with what the browser noted meanwhile.

    ``requests``: URLs other than the page's own; ``noted``: warnings and errors of the console, and uncaught errors.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.noted: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.noted.append(str(error)))
        page.on("console", lambda line: self.noted.append(line.text) if line.type in ("warning", "error") else None)

    def go(self, path: Path) -> None:
        """Load the file, and wait until it is drawn."""
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-drawn]", timeout=PATIENCE)
        self.requests.remove(path.as_uri())

    def text(self, selector: str) -> str:
        """The text that an element shows."""
        return self.page.locator(selector).inner_text()

    def tiles(self) -> dict[str, int]:
        """The numbers at the top, by outcome."""
        tiles = self.page.locator("#tiles > div")
        return {
            str(tiles.nth(place).get_attribute("data-tile")): int(
                tiles.nth(place).locator("b").inner_text().replace(",", "")
            )
            for place in range(tiles.count())
        }

    def data(self, source: str) -> dict[str, list[Any]]:
        """The columns of a source of Bokeh, as they are drawn."""
        found: dict[str, list[Any]] = self.page.evaluate(
            """name => Object.fromEntries(Object.entries(Bokeh.documents[0].get_model_by_name(name).data)
                .map(([column, values]) => [column, [...values]]))""",
            source,
        )
        return found

    def choose(self, **filters: str) -> None:
        """Choose filters by what their options say."""
        for name, words in filters.items():
            self.page.select_option(f"#{name}", label=words)


@contextmanager
def opened(browser: Browser, path: Path, **context: Any) -> Iterator[Opened]:
    """The page at ``path`` in a context of its own, 1,200 pixels wide and in UTC by default."""
    given = {"viewport": {"width": 1200, "height": 900}, "timezone_id": "UTC", "locale": "en-US", **context}
    with browser.new_context(**given) as made:
        page = Opened(made.new_page())
        page.go(path)
        yield page
