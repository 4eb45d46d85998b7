"""The lines of real calls on the logger ``llmwatch``: a line a kill, a resend and a failure."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from typing import Any

import pytest

import llmwatch
from llmwatch import Limits, Retry
from tests.end_to_end.calls import stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.times import LIMIT

QUICK = Retry(max_attempts=3, backoff=0.01)


class JsonFormatter(logging.Formatter):
    """As formatters for JSON do: whatever ``extra=`` gave the record goes out with it."""

    def format(self, record: logging.LogRecord) -> str:
        known = vars(logging.makeLogRecord({})).keys()
        given = {name: value for name, value in vars(record).items() if name not in known}
        return json.dumps({"level": record.levelname, "message": record.getMessage(), **given}, allow_nan=False)


def fields(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of the lines of calls, in order."""
    return [line.llmwatch for line in caplog.records if hasattr(line, "llmwatch")]


def test_a_recovered_call_has_a_kill_and_a_resend(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Both come when they arise, with the id that the record has, and a good call has no line."""
    client = connect(limits=Limits(ttfb=LIMIT), retry=QUICK)
    server = serve("silent", "healthy")
    with caplog.at_level(logging.DEBUG, "llmwatch"), llmwatch.label("job-7"):
        record = stream(client, server.chat_url).done("recovered")
        stream(client, server.chat_url).done()
    kill, resend = fields(caplog)
    assert [line.levelno for line in caplog.records] == [logging.WARNING, logging.INFO]
    assert (kill["event"], kill["attempt"], kill["limit"], kill["limit_seconds"]) == ("kill", "1 of 3", "ttfb", LIMIT)
    assert (resend["event"], resend["attempt"], resend["cause"]) == ("resend", "2 of 3", "watchdog_timeout")
    assert resend["wait"] == record.decisions[0].wait
    for line in (kill, resend):
        assert (line["call_id"], line["label"], line["origin"]) == (record.call_id, "job-7", server.url)
    assert all(record.call_id in line.getMessage() and "job-7" in line.getMessage() for line in caplog.records)


def test_a_failed_call_has_a_line_of_its_own(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """After the kill that could not be resent, and after an error status that is not worth a resend."""
    client = connect(limits=Limits(stale=LIMIT), retry=QUICK)
    with caplog.at_level(logging.DEBUG, "llmwatch"):
        stream(client, serve("stall-after-content").chat_url).failed(llmwatch.WatchTimeout)
        stream(client, serve("status:status=401").chat_url).failed(llmwatch.ProviderError)
    assert [(line["event"], line["attempt"], line["limit"], line["status"]) for line in fields(caplog)] == [
        ("kill", "1 of 3", "stale", 200),
        ("failure", "1 of 3", "stale", 200),
        ("failure", "1 of 3", None, 401),
    ]
    assert [line["decision"] for line in fields(caplog)[1:]] == ["continue", "stop"]


def test_each_resend_is_a_line(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """Attempts are numbered, and the failure comes last."""
    with caplog.at_level(logging.DEBUG, "llmwatch"):
        stream(connect(retry=QUICK), serve("status:status=503").chat_url).failed(llmwatch.ProviderError)
    assert [(line["event"], line["attempt"]) for line in fields(caplog)] == [
        ("resend", "2 of 3"),
        ("resend", "3 of 3"),
        ("failure", "3 of 3"),
    ]
    assert len({line["call_id"] for line in fields(caplog)}) == 1


def test_a_formatter_of_json_gets_every_field(serve: Serve, connect: Connect) -> None:
    """Each line is a JSON object with the fields under ``llmwatch``."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("llmwatch")
    logger.addHandler(handler)
    try:
        stream(connect(retry=Retry.none()), serve("status:status=503").chat_url).failed(llmwatch.ProviderError)
    finally:
        logger.removeHandler(handler)
    (line,) = map(json.loads, written.getvalue().splitlines())
    assert line["level"] == "WARNING"
    assert (line["llmwatch"]["event"], line["llmwatch"]["status"]) == ("failure", 503)


def test_an_import_sets_nothing_up() -> None:
    """Importing llmwatch adds no handler that writes, sets no level, and writes nothing."""
    script = (
        "import logging, llmwatch, llmwatch.records, llmwatch.errors; llmwatch.Client\n"
        "logger = logging.getLogger('llmwatch')\n"
        "assert not logging.getLogger().handlers\n"
        "assert all(type(one) is logging.NullHandler for one in logger.handlers), logger.handlers\n"
        "assert (logger.level, logger.propagate, logger.disabled) == (logging.NOTSET, True, False)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_program_without_logging_sees_no_line(serve: Serve) -> None:
    """A program that configures no logging gets nothing on its standard error."""
    script = (
        "import sys, llmwatch\n"
        "try:\n"
        "    llmwatch.collect('POST', sys.argv[1], json={'stream': True, 'messages': []})\n"
        "except llmwatch.ProviderError:\n"
        "    pass\n"
    )
    url = serve("status:status=401").chat_url
    ended = subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
