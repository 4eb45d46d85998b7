"""Waits of minutes that the defaults and the single knob allow.

They pass on a clock that only the test moves.
"""

from __future__ import annotations

from typing import Any

import pytest

import llmwatch
from llmwatch import Limits, Retry
from llmwatch.faults.catalogue import ANSWER
from tests.end_to_end.calls import asking, eventually, in_thread, stream
from tests.end_to_end.conftest import Connect, Serve
from tests.end_to_end.manual import GRACE, LATE, ManualTime
from tests.end_to_end.scripts import gated, late


def _until(manual: ManualTime, limit: str, texts: int = 0) -> None:
    """Return once ``limit`` is the next to expire, and so many pieces of text have come."""

    def counting() -> bool:
        (attempt,) = manual.attempts()
        due = attempt.counting()
        return due is not None and due.limit == limit and attempt.stats.events["text"] == texts

    eventually(counting, f"{limit} counts")


@pytest.mark.parametrize("knob", ["call", "client", "environment"])
def test_the_single_knob_keeps_a_long_prefill_alive(
    serve: Serve, connect: Connect, manual: ManualTime, monkeypatch: pytest.MonkeyPatch, knob: str
) -> None:
    """A single knob of 900 keeps a prefill of 400 s alive that the default limit kills.

    The knob is set in the call, in the client or in the environment.
    """
    server = serve("silent", late())
    single = Limits.single(900)
    control = manual.on(connect(profile="hosted", retry=Retry.none()))
    client = manual.on(connect(profile="hosted", retry=Retry.none(), limits=single if knob == "client" else None))
    killed = in_thread(stream, control, server.chat_url)
    server.wait_for_requests(1)
    _until(manual, "ttfb")
    if knob == "environment":
        monkeypatch.setenv("LLMWATCH_TIMEOUT_SECONDS", "900")
    waiting = in_thread(stream, client, server.chat_url, limits=single if knob == "call" else None)
    server.wait_for_requests(2)
    eventually(lambda: all(one.counting().limit == "ttfb" for one in manual.attempts()), "both wait for a first byte")
    manual.pass_by(120)
    assert killed.result().failed(llmwatch.WatchTimeout).limit == "ttfb"
    manual.pass_by(280)
    assert manual.live == 1
    server.gate("rest").set()
    outcome = waiting.result()
    outcome.done()
    assert outcome.text == ANSWER
    assert len(server.requests) == 2


@pytest.mark.parametrize("single", [30.0, 2000.0])
@pytest.mark.parametrize("name", ["ttfb", "first_content", "stale", "progress"])
def test_the_single_knob_is_the_value_of_four_limits(
    serve: Serve, connect: Connect, manual: ManualTime, name: str, single: float
) -> None:
    """Each of the four limits lasts as long as the single knob says, and no longer.

    This holds below the defaults and above them.
    """
    script = {"ttfb": "silent", "first_content": "comment-then-silent"}.get(name, "stall-after-content:tokens=3")
    server = serve(script)
    # A shorter name for the same silence would be the reason.
    specific = {"stale": 0} if name in ("first_content", "progress") else {}
    limits = Limits.single(single, **specific)
    waiting = in_thread(
        stream, manual.on(connect(profile="hosted", retry=Retry.none(), limits=limits)), server.chat_url
    )
    server.wait_for_requests(1)
    _until(manual, name, texts=3 if "stall" in script else 0)
    manual.advance(single - 0.5)
    assert manual.live == 1
    manual.pass_by(0.5)
    error = waiting.result().failed(llmwatch.WatchTimeout)
    assert (error.limit, error.limit_seconds) == (name, single)


def test_a_specific_limit_beats_the_single_knob(serve: Serve, connect: Connect, manual: ManualTime) -> None:
    """``Limits.single(900, ttfb=60)`` kills silence at 60 s."""
    server = serve("silent")
    client = manual.on(connect(profile="hosted", retry=Retry.none(), limits=Limits.single(900, ttfb=60)))
    waiting = in_thread(stream, client, server.chat_url)
    server.wait_for_requests(1)
    _until(manual, "ttfb")
    manual.advance(59.9)
    assert manual.live == 1
    manual.pass_by(0.1)
    assert waiting.result().failed(llmwatch.WatchTimeout).limit_seconds == 60


@pytest.mark.parametrize(
    ("profile", "tokens", "silence"),
    [
        ("hosted", 0, 16),
        ("hosted", 130_000, 53),
        ("hosted", 130_000, 564),
        ("reasoning", 100_000, 300),
        ("local", 150_000, 1180),
    ],
)
def test_the_defaults_wait_for_reported_first_bytes(
    serve: Serve, connect: Connect, manual: ManualTime, profile: str, tokens: int, silence: float
) -> None:
    """The default limits wait for a first byte that comes as late as people report.

    The prompts have the sizes that go with those reports.
    """
    server = serve(late())
    client = manual.on(connect(profile=profile, retry=Retry.none()))
    body = asking(messages=[{"role": "user", "content": "x" * (4 * tokens)}])
    waiting = in_thread(stream, client, server.chat_url, json=body)
    server.wait_for_requests(1)
    _until(manual, "ttfb")
    manual.pass_by(silence)
    assert manual.live == 1
    server.gate("rest").set()
    outcome = waiting.result()
    outcome.done()
    assert outcome.text == ANSWER


@pytest.mark.parametrize("gap", [32, 91, 329])
def test_the_defaults_wait_for_reported_gaps(serve: Serve, connect: Connect, manual: ManualTime, gap: float) -> None:
    """A gap in a healthy stream as long as people report is survived by the default limits.

    The gap is in the record.
    """
    server = serve(gated(3))
    waiting = in_thread(stream, manual.on(connect(profile="hosted", retry=Retry.none())), server.chat_url)
    server.wait_for_requests(1)
    _until(manual, "stale", texts=3)
    manual.pass_by(gap)
    assert manual.live == 1
    server.gate("rest").set()
    outcome = waiting.result()
    record = outcome.done()
    assert outcome.text == ANSWER
    assert record.attempts[0].longest_gap >= gap


def test_a_gap_just_under_the_limit_is_survived_and_remembered(
    serve: Serve, connect: Connect, manual: ManualTime
) -> None:
    """A gap a tenth of a second below ``stale`` and ``progress`` ends no call.

    It is the longest gap in the record.
    """
    server = serve(gated(3))
    client = manual.on(connect(limits=Limits(stale=30, progress=30), retry=Retry.none()))
    waiting = in_thread(stream, client, server.chat_url)
    server.wait_for_requests(1)
    _until(manual, "stale", texts=3)
    manual.advance(29.9)
    assert manual.live == 1
    server.gate("rest").set()
    outcome = waiting.result()
    record = outcome.done()
    assert outcome.text == ANSWER
    assert record.attempts[0].longest_gap == pytest.approx(29.9)


def test_patience_doubles_a_default_and_no_explicit_limit(serve: Serve, connect: Connect, manual: ManualTime) -> None:
    """The default ``ttfb`` doubles after a kill before the first content: 120, 240, 480 s.

    An explicit limit is the same every time.
    """
    server = serve("silent")
    client = manual.on(connect(profile="hosted", retry=Retry(backoff=0)))
    waiting: Any = in_thread(stream, client, server.chat_url)
    for number, limit in enumerate((120, 240, 480), 1):
        server.wait_for_requests(number)
        _until(manual, "ttfb")
        manual.pass_by(limit)
    record = waiting.result().failed(llmwatch.WatchTimeout).record
    assert [one.limit_seconds for one in record.attempts] == [120, 240, 480]
    client = manual.on(connect(profile="hosted", limits=Limits(ttfb=100), retry=Retry(backoff=0)))
    waiting = in_thread(stream, client, server.chat_url)
    for number in (4, 5, 6):
        server.wait_for_requests(number)
        _until(manual, "ttfb")
        manual.pass_by(100)
    record = waiting.result().failed(llmwatch.WatchTimeout).record
    assert [one.limit_seconds for one in record.attempts] == [100] * 3


def test_a_late_supervisor_gives_a_second_of_grace(serve: Serve, connect: Connect, manual: ManualTime) -> None:
    """A supervisor that wakes long after an expiry gives one second of grace, and then the limit kills."""
    server = serve(late(), late())
    client = manual.on(connect(profile="hosted", retry=Retry.none()))
    waiting = in_thread(stream, client, server.chat_url)
    server.wait_for_requests(1)
    _until(manual, "ttfb")
    manual.advance(5000)
    assert manual.live == 1
    server.gate("rest").set()
    waiting.result().done()
    server.gate("rest").clear()
    waiting = in_thread(stream, client, server.chat_url)
    server.wait_for_requests(2)
    _until(manual, "ttfb")
    manual.advance(5000)
    assert manual.live == 1
    manual.advance(GRACE)
    assert waiting.result().failed(llmwatch.WatchTimeout).limit == "ttfb"


def test_the_wall_clock_moves_no_limit(serve: Serve, connect: Connect, manual: ManualTime) -> None:
    """Wall time that is set back and forth by days moves no limit; only the records' dates follow it."""
    server = serve("silent")
    client = manual.on(connect(profile="hosted", retry=Retry.none()))
    waiting = in_thread(stream, client, server.chat_url)
    server.wait_for_requests(1)
    _until(manual, "ttfb")
    for days in (-40, 80, -3):
        manual.clock.set_wall(1_700_000_000 + days * 86_400)
        manual.advance(39.5)
        assert manual.live == 1
    manual.advance(1.5 + LATE)
    error = waiting.result().failed(llmwatch.WatchTimeout)
    assert error.elapsed == pytest.approx(120 + LATE)
    assert error.record is not None
    assert error.record.elapsed == pytest.approx(120 + LATE)
