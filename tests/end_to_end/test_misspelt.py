"""A misspelt variable is told in the log once, through every entry point."""

from __future__ import annotations

import time

import pytest

from llmwatch import Client, Session, call, iterate
from llmwatch.engine import settings
from llmwatch.faults import FaultServer
from tests.calibration import VARIABLE

TOLD = (
    "llmwatch: LLMWATCH_STALE_SECONDS has no effect: llmwatch knows no variable of that name; did you mean"
    " LLMWATCH_STALE_TIMEOUT_SECONDS?"
)


def test_a_misspelt_variable_is_logged_once_at_the_first_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the line through each entry point of the library, and not before the first call."""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("LLMWATCH_STALE_SECONDS", "60")
    with FaultServer("healthy") as server, Client() as client, Session() as session:
        url = server.chat_url
        for entry_point in (
            lambda: client.collect("POST", url, json=body),
            lambda: client.request("POST", url, json={**body, "stream": False}),
            lambda: list(client.stream("POST", url, json=body)),
            lambda: session.post(url, json=body),
            lambda: session.get(url),
            lambda: call(time.monotonic),
            lambda: list(iterate(lambda: [1, 2])),
        ):
            settings._told.clear()
            caplog.clear()
            for _ in range(2):
                entry_point()
            assert [one.getMessage() for one in caplog.records] == [TOLD]
