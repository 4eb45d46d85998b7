"""One record of the requests that a library resends by itself."""

from __future__ import annotations

from llmwatch.engine.library_loop import LibraryLoop
from llmwatch.records import AttemptRecord, Decision, DecisionRecord, Timings


def lost(loop: LibraryLoop, now: float, told: list[float], *, limit: str | None = "ttfb", text: bool = False) -> None:
    """A request of ``loop`` fails at ``now``."""
    number = len(loop.attempts) + 1
    record = AttemptRecord(
        number=number,
        started_at=0.0,
        timings=Timings(end=1.0),
        method="POST",
        url="https://h/",
        origin="https://h",
        limit=limit,
        facts={"text": text},
    )
    loop.attempts.append(record)
    decision = DecisionRecord(attempt=number, decision=Decision.STOP, reason="silence", could_work=True, safe=True)
    loop.decisions.append(decision)
    loop.failed(now, lambda: told.append(now))


def test_a_failure_is_told_once_the_library_gives_up() -> None:
    """A failure that is followed by a resend is not told; the last one is, once."""
    loop, told = LibraryLoop(), list[float]()
    loop.resume(1.0, 100.0)
    lost(loop, 2.0, told)
    loop.resume(5.0, 104.0)
    lost(loop, 6.0, told)
    assert told == []
    loop.over()
    loop.over()
    assert told == [6.0]


def test_a_resend_is_the_decision_about_the_attempt_before() -> None:
    """The decision becomes a resend that was carried out; the call began with its first request."""
    loop = LibraryLoop()
    loop.resume(1.0, 100.0)
    lost(loop, 2.0, [])
    loop.resume(5.0, 104.0)
    lost(loop, 6.0, [])
    loop.over()
    assert [(one.decision, one.carried_out, one.wait) for one in loop.decisions] == [
        (Decision.RETRY, True, 3.0),
        (Decision.STOP, False, None),
    ]
    assert loop.began == (1.0, 100.0)


def test_patience_counts_the_attempts_that_a_limit_ended_without_content() -> None:
    """An expiry before any content counts; a lost connection and an expiry after content do not."""
    loop = LibraryLoop()
    for limit, text, patience in (("ttfb", False, 1), (None, False, 1), ("stale", True, 1), ("ttfb", False, 2)):
        loop.resume(0.0, 0.0)
        lost(loop, 1.0, [], limit=limit, text=text)
        loop.resume(2.0, 0.0)
        assert loop.patience == patience
    loop.over()
