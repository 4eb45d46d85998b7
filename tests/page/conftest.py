"""A browser for all tests of the page, and pages of the real run and of hostile names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.cli.running import invoke
from tests.cli.traffic import log_of
from tests.page.browser import PROGRAMS, launched, program


@pytest.fixture(scope="package")
def browser(pytestconfig: pytest.Config) -> Iterator[Browser]:
    """Skips the tests where there is no browser, and without ``--browser``.

    A browser that starts or draws holds two processors up for up to 0.4 s, while tests of other workers hold answers to
    limits of half of that. Playwright keeps a loop of asyncio running in this thread, in which tests of other packages
    start their own.
    """
    if not pytestconfig.getoption("--browser"):
        pytest.skip("--browser is not given")
    with sync_playwright() as playwright:
        path = program(playwright)
        if path is None:
            pytest.skip(f"no browser: none of {', '.join(PROGRAMS)} is on the path, and playwright has installed none")
        with launched(playwright, path) as made:
            yield made


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of the real run."""
    return log_of(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="session")
def page(log: Path) -> Path:
    """Its page."""
    path = log.with_name("report.html")
    done = invoke("report", str(log), "-o", str(path))
    assert done.code == 0, done.err
    return path
