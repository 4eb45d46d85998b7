"""The lines of calls on the logger ``llmwatch``."""

from __future__ import annotations

import json
import logging

import pytest

from llmwatch.records.log import log_failure, log_kill, log_resend
from tests.records.making import ORIGIN, attempt, call

ID = "0123456789abcdef0123456789abcdef"
PLANTED = "planted-in-a-text"
NAMED = {"call_id": ID, "label": "job-7", "entry_point": "collect", "of": 3}


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    """Lines of every level are caught."""
    caplog.set_level(logging.DEBUG, "llmwatch")


def the_line(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """The only line that was logged; its fields can be written as JSON."""
    (line,) = caplog.records
    assert line.name == "llmwatch"
    json.dumps(line.llmwatch, allow_nan=False)  # type: ignore[attr-defined]
    return line


def test_a_kill_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The line has limit, attempt, phase, id and label."""
    log_kill(attempt(), **NAMED)
    line = the_line(caplog)
    assert line.levelno == logging.WARNING
    assert line.getMessage() == (
        f"llmwatch: kill: attempt 1 of 3 at {ORIGIN}: ttfb of 45 s expired in phase waiting, after 45.020 s"
        f" (call {ID}, job-7)"
    )
    assert line.llmwatch == {  # type: ignore[attr-defined]
        "event": "kill",
        "call_id": ID,
        "label": "job-7",
        "attempt": "1 of 3",
        "entry_point": "collect",
        "origin": ORIGIN,
        "model": None,
        "status": None,
        "phase": "waiting",
        "limit": "ttfb",
        "limit_seconds": 45.0,
        "cause": "watchdog_timeout",
        "elapsed": 45.02,
        "error": "WatchTimeout",
        "wait": None,
        "outcome": None,
        "decision": None,
        "reason": None,
    }


def test_a_resend_is_logged_at_info(caplog: pytest.LogCaptureFixture) -> None:
    """The line names the next attempt, the wait before it, and why there is one."""
    failed = attempt(limit=None, cause="provider_error", status=503)
    log_resend(failed, **{**NAMED, "label": None}, number=2, wait=0.5)
    line = the_line(caplog)
    assert line.levelno == logging.INFO
    assert line.getMessage() == (
        f"llmwatch: resend: attempt 2 of 3 at {ORIGIN} in 0.500 s, after provider_error, status 503 (call {ID})"
    )
    fields = line.llmwatch  # type: ignore[attr-defined]
    assert (fields["attempt"], fields["wait"], fields["status"]) == ("2 of 3", 0.5, 503)


def test_a_resend_beyond_what_is_allowed_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The resend for a dead connection does not count, and is named all the same."""
    log_resend(attempt(), **{**NAMED, "of": 1}, number=2, wait=0.0)
    assert "attempt 2 of 2 at" in the_line(caplog).getMessage()


def test_a_failure_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The line of a failed call has its last cause, its time in all, and the decision."""
    log_failure(call(outcome="failed", cause="watchdog_timeout", attempts=(attempt(),), max_attempts=3, label="job-7"))
    line = the_line(caplog)
    assert line.levelno == logging.WARNING
    assert line.getMessage() == (
        f"llmwatch: failure: POST {ORIGIN} after attempt 1 of 3, in 47.500 s: ttfb (call {ID}, job-7)"
    )
    fields = line.llmwatch  # type: ignore[attr-defined]
    assert (fields["event"], fields["limit"], fields["cause"]) == ("failure", "ttfb", "watchdog_timeout")
    assert (fields["outcome"], fields["reason"], fields["elapsed"]) == ("failed", "silence", 47.5)


def test_a_call_that_failed_before_its_first_attempt(caplog: pytest.LogCaptureFixture) -> None:
    """There is a line for it too."""
    log_failure(call(outcome="failed", cause="setup_failure", attempts=(), decisions=(), max_attempts=3))
    assert "after attempt 0 of 3, in 47.500 s: setup_failure" in the_line(caplog).getMessage()


@pytest.mark.parametrize("outcome", ["done", "recovered", "cancelled"])
def test_no_other_end_of_a_call_is_a_line(caplog: pytest.LogCaptureFixture, outcome: str) -> None:
    """A recovered call has had its lines when they arose."""
    log_failure(call(outcome=outcome))
    assert not caplog.records


def test_no_text_of_a_program_or_provider_is_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """A text planted in URL, message, request id and evidence is in no message and in no field."""
    failed = attempt(
        url=f"{ORIGIN}/{PLANTED}?{PLANTED}={PLANTED}",
        message=PLANTED,
        request_id=PLANTED,
        evidence={"error_text": PLANTED},
        model=f"{PLANTED} in a sentence",
    )
    log_kill(failed, **NAMED)
    log_resend(failed, **NAMED, number=2, wait=0.1)
    log_failure(call(outcome="failed", url=failed.url, attempts=(failed,)))
    assert len(caplog.records) == 3
    assert PLANTED not in "".join(f"{line.getMessage()} {vars(line)}" for line in caplog.records)


def test_a_handler_that_makes_a_call_has_no_line_of_it() -> None:
    """Otherwise a handler that posts its lines, over a connection that fails, would never end."""
    posted: list[str] = []

    class Posts(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            posted.append(record.getMessage())
            log_kill(attempt(), **NAMED)

    handler = Posts()
    logging.getLogger("llmwatch").addHandler(handler)
    try:
        log_kill(attempt(), **NAMED)
        log_kill(attempt(), **NAMED)
    finally:
        logging.getLogger("llmwatch").removeHandler(handler)
    assert len(posted) == 2
