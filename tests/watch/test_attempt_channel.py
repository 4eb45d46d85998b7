"""What an attempt hands over, what it holds back, and how a slow caller stops its limits."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from llmwatch.watch.attempt import Attempt, BatchMeaning
from llmwatch.watch.channel import Bounds
from llmwatch.watch.clock import Waiter
from llmwatch.watch.interfaces import Aborted
from llmwatch.watch.machine import VerdictKind
from tests.watch.scripted import PATIENCE, Caller, Stage

MakeStage = Callable[..., Stage]
LATE = 0.25
AGES = 100_000.0
"""Seconds that a slow caller takes; longer than every limit here."""
LIMITS = {"ttfb": 10.0, "first_event": 10.0, "first_content": 10.0, "stale": 10.0, "progress": 10.0, "total": 50.0}


# -- holding back ------------------------------------------------------------


@pytest.mark.parametrize("end", ["kill", "fail"])
def test_lifecycle_events_of_a_failed_attempt_are_never_delivered(stage: MakeStage, end: str) -> None:
    """An attempt that fails before its first content delivers none of its lifecycle events."""
    one = stage(first_content=10.0)
    one.open()
    one.receive("created", content=False)
    one.receive("in progress", content=False)
    if end == "kill":
        one.pass_time(10.0 + LATE)
    else:
        one.worker.crash(OSError("reset"))
    assert one.verdict.kind is (VerdictKind.KILLED if end == "kill" else VerdictKind.FAILED)
    assert one.taken() == []
    assert not one.attempt.opened


@pytest.mark.parametrize("meaning", ["content", "finish", "terminal"])
def test_content_releases_held_back_events_in_order_once(stage: MakeStage, meaning: str) -> None:
    """The first content, or the end of the answer, lets everything before it through.

    The items come in order, exactly once.
    """
    one = stage()
    one.open()
    for item in ("created", "in progress"):
        one.receive(item, content=False)
        assert one.taken() == []
    one.receive("it", **{"content": meaning == "content", meaning: True})
    assert one.attempt.opened
    assert one.taken() == ["created", "in progress", "it"]
    if meaning != "terminal":
        one.receive("ping", content=False)
        assert one.taken() == ["ping"]
    assert one.taken() == []


def test_a_piece_without_a_whole_event_resets_the_byte_limits_only(stage: MakeStage) -> None:
    """Bytes that hold no whole event count as bytes only, and are held back with the rest."""
    one = stage(first_event=10.0)
    one.open()
    one.worker.do(lambda attempt: attempt._received(3))
    one.worker.do(lambda attempt: attempt.deliver(["dat"], 3, BatchMeaning(content=False, event=False)))
    assert one.taken() == []
    one.pass_time(10.0 + LATE)
    assert (one.verdict.kind, one.verdict.limit) == (VerdictKind.KILLED, "first_event")


def test_response_headers_can_be_delivered_before_any_byte(stage: MakeStage) -> None:
    """Headers that the caller needs at once come out before the body begins, and do not stop ttfb."""
    one = stage(ttfb=10.0)
    one.open()
    one.worker.do(lambda attempt: attempt.headers(200, refused=False))
    one.worker.do(lambda attempt: attempt.deliver(["head"], 0, BatchMeaning(content=False, event=False, visible=True)))
    assert one.taken() == ["head"]
    one.pass_time(10.0 + LATE)
    assert one.verdict.limit == "ttfb"


def test_held_back_items_that_outgrow_the_bounds_are_let_through(stage: MakeStage) -> None:
    """An endless run of lifecycle events is handed over rather than waited on for ever."""
    one = stage(bounds=Bounds(items=3, size=1_000))
    one.open()
    for number in range(2):
        one.receive(number, content=False)
    assert one.taken() == []
    one.worker.do(lambda attempt: attempt._received(1))
    one.worker.begin(lambda attempt: attempt.deliver([2], 1, BatchMeaning(content=False)))
    assert one.attempt.take() == [0]
    one.worker.result()
    assert one.taken() == [1, 2]


def test_held_back_items_of_a_cancelled_attempt_are_gone(stage: MakeStage) -> None:
    """A cancellation discards them with everything else, and a later opening shows nothing."""
    one = stage()
    one.open()
    one.receive("created", content=False)
    one.attempt.cancel("user")
    with pytest.raises(Aborted):
        one.receive("a", read=False)
    assert one.taken() == []


# -- the slow caller ---------------------------------------------------------


def _waits_for_room(one: Stage) -> None:
    assert one.clock.next_waiter() in one.attempt._channel.room  # type: ignore[attr-defined]


@pytest.mark.parametrize("bounds", [Bounds(items=2, size=1_000_000), Bounds(items=1_000, size=20)])
def test_a_full_channel_holds_the_limits(stage: MakeStage, bounds: Bounds) -> None:
    """A caller slower than every limit kills nothing, and its memory is bounded.

    On resume the limits have what they had left.
    """
    one = stage(**LIMITS, bounds=bounds)
    one.open()
    one.clock.advance(4.0)  # type: ignore[attr-defined]
    one.receive("a")
    one.clock.advance(5.0)  # type: ignore[attr-defined]
    one.worker.do(lambda attempt: attempt._received(10))
    one.worker.begin(lambda attempt: attempt.deliver(["b"], 10, BatchMeaning(content=True)))
    _waits_for_room(one)
    for _ in range(5):
        one.pass_time(AGES)
    assert one.attempt.verdict is None
    assert one.attempt.take() == ["a"]
    one.worker.result()
    left = {limit: one.attempt.time_left(limit) for limit in ("stale", "progress", "total")}
    assert left == {"stale": 10.0, "progress": 10.0, "total": 41.0}
    one.pass_time(10.0)
    assert one.attempt.verdict is None
    one.pass_time(LATE)
    held = 5 * AGES
    assert (one.verdict.limit, one.verdict.elapsed, one.verdict.paused) == ("stale", held + 10.0 + LATE, held)
    assert one.taken() == ["b"]


def _slow_to_wake(one: Stage, monkeypatch: pytest.MonkeyPatch, name: str) -> threading.Event:
    """Keep the threads of that name asleep after they were woken, until the event is set.

    On a busy machine threads are as slow to wake.
    """
    free, wait = threading.Event(), one.clock.wait

    def slowly(waiter: Waiter, until: float | None) -> None:
        wait(waiter, until)
        if threading.current_thread().name == name:
            free.wait(PATIENCE)

    monkeypatch.setattr(one.clock, "wait", slowly)
    return free


def test_the_limits_run_while_a_woken_caller_is_scheduled(stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that was woken is not busy, however long its thread takes to run again, so the limits run."""
    one = stage(**LIMITS, bounds=Bounds(items=1))
    one.open()
    free = _slow_to_wake(one, monkeypatch, "test-caller")
    caller = Caller(one.attempt.take)
    one.clock.next_waiter()  # type: ignore[attr-defined]
    one.worker.do(lambda attempt: attempt._received(10))
    one.worker.begin(lambda attempt: attempt.deliver(["a"], 10, BatchMeaning(content=True)))
    _waits_for_room(one)
    one.pass_time(10.0 + LATE)
    assert (one.verdict.limit, one.verdict.elapsed, one.verdict.paused) == ("stale", 10.0 + LATE, 0.0)
    free.set()
    assert caller.result() == ["a"]


def test_the_limits_run_once_the_caller_has_made_room(stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits run once the caller has made room, however late the worker's thread runs again.

    They are held at the next wait.
    """
    one = stage(**LIMITS, bounds=Bounds(items=1))
    one.open()
    free = _slow_to_wake(one, monkeypatch, "llmwatch-worker")
    one.worker.do(lambda attempt: attempt._received(10))
    one.worker.begin(lambda attempt: attempt.deliver(["a"], 10, BatchMeaning(content=True)))
    _waits_for_room(one)
    one.pass_time(AGES)
    assert one.attempt.take() == ["a"]
    one.pass_time(9.0)
    free.set()
    one.worker.result()
    one.clock.forget_waits()  # type: ignore[attr-defined]
    one.worker.begin(lambda attempt: attempt.deliver(["b"], 10, BatchMeaning(content=False)))
    _waits_for_room(one)
    one.pass_time(AGES)
    assert one.attempt.verdict is None
    assert one.attempt.take() == ["b"]
    one.pass_time(1.0 + LATE)
    assert (one.verdict.limit, one.verdict.paused) == ("stale", 2 * AGES)


def test_a_full_channel_holds_no_limit_while_the_library_takes(stage: MakeStage) -> None:
    """If the library takes every item before it returns, a full channel is not the user's time."""
    one = stage(**LIMITS, bounds=Bounds(items=1))
    one.attempt.collected = True
    one.open()
    one.worker.do(lambda attempt: attempt._received(10))
    one.worker.begin(lambda attempt: attempt.deliver(["a"], 10, BatchMeaning(content=True)))
    _waits_for_room(one)
    one.pass_time(10.0 + LATE)
    assert (one.verdict.limit, one.verdict.elapsed, one.verdict.paused) == ("stale", 10.0 + LATE, 0.0)


def test_every_wait_for_room_holds_the_limits(stage: MakeStage) -> None:
    """The limits are held in the second batch of one read too, and in a batch that came without a read."""
    one = stage(**LIMITS, bounds=Bounds(items=2))
    one.open()
    one.worker.do(lambda attempt: attempt._received(10))
    one.worker.do(lambda attempt: attempt.deliver(["a"], 5, BatchMeaning(content=True)))
    for last, taken in (("b", ["a"]), ("c", ["b"]), ("d", ["c"])):
        one.clock.forget_waits()  # type: ignore[attr-defined]
        one.worker.begin(lambda attempt, last=last: attempt.deliver([last], 5, BatchMeaning(content=True)))
        _waits_for_room(one)
        one.pass_time(AGES)
        assert one.attempt.verdict is None
        assert one.attempt.take() == taken
        one.worker.result()
    one.pass_time(10.0 + LATE)
    assert one.verdict.limit == "stale"


def test_a_caller_that_never_takes_is_bounded_by_the_deadline(stage: MakeStage) -> None:
    """The deadline runs on while the channel is full, and ends the worker's wait for room."""
    one = stage(**LIMITS, deadline=1_000.0, bounds=Bounds(items=1))
    one.open()
    one.worker.begin(lambda attempt: attempt.deliver(["a"], 5, BatchMeaning(content=True)))
    _waits_for_room(one)
    one.pass_time(999.0)
    assert one.attempt.verdict is None
    one.pass_time(1.0 + LATE)
    assert (one.verdict.kind, one.verdict.limit) == (VerdictKind.KILLED, "deadline")
    with pytest.raises(Aborted):
        one.worker.result()
    assert one.taken() == ["a"]


@pytest.mark.parametrize("how", ["cancel", "abandon"])
def test_the_end_of_an_attempt_wakes_a_worker_that_waits_for_room(stage: MakeStage, how: str) -> None:
    """A worker that waits for room in the channel is woken by a cancellation or a kill."""
    one = stage(bounds=Bounds(items=1))
    one.open()
    one.worker.begin(lambda attempt: attempt.deliver(["a"], 5, BatchMeaning(content=True)))
    _waits_for_room(one)
    if how == "cancel":
        one.attempt.cancel("user")
    else:
        one.attempt.abandon()
        one.supervisor.look()
    with pytest.raises(Aborted):
        one.worker.result()
    assert one.attempt.join(PATIENCE)
    assert one.taken() == []


def test_a_terminal_event_does_not_wait_for_room(stage: MakeStage) -> None:
    """The terminal event is the last delivery, so a full channel delays neither the worker nor the drain."""
    one = stage(drain=1.0, bounds=Bounds(items=1))
    socket = one.open()
    one.receive("a", "b", "c", terminal=True)
    assert one.verdict.kind is VerdictKind.DONE
    one.pass_time(1.0 + LATE)
    assert socket.shut_down.is_set()
    assert one.taken() == ["a", "b", "c"]


def test_a_long_answer_through_a_small_channel(stage: MakeStage) -> None:
    """A caller that takes while the worker delivers gets every item once, in order."""
    one = stage(**LIMITS, bounds=Bounds(items=3))
    one.open()

    def work(attempt: Attempt[int]) -> None:
        for number in range(2_000):
            attempt._received(1)
            attempt.deliver([number], 1, BatchMeaning(content=True))
        attempt.deliver([2_000], 1, BatchMeaning(content=True, terminal=True))

    one.worker.begin(work)
    items: list[int] = []
    while (batch := one.attempt.take()) is not None:
        items += batch
    one.worker.result()
    assert items == list(range(2_001))
    assert one.verdict.kind is VerdictKind.DONE


# -- limits and reading ------------------------------------------------------


def test_the_limits_run_while_the_worker_decodes(stage: MakeStage) -> None:
    """From a read to the next one the limits run, whatever the worker does with what it read."""
    one = stage(stale=30.0, first_content=10.0, total=20.0)
    one.open()
    one.clock.advance(3.0)  # type: ignore[attr-defined]
    one.worker.do(lambda attempt: attempt._received(10))
    one.clock.advance(4.0)  # type: ignore[attr-defined]
    one.worker.do(lambda attempt: attempt._read_on())
    assert {limit: one.attempt.time_left(limit) for limit in ("stale", "first_content", "total")} == {
        "stale": 26.0,
        "first_content": 3.0,
        "total": 13.0,
    }
    one.pass_time(3.0 + LATE)
    assert (one.verdict.limit, one.verdict.elapsed, one.verdict.paused) == ("first_content", 10.0 + LATE, 0.0)


@pytest.mark.parametrize(
    ("limit", "limits"),
    [
        ("first_event", {"first_event": 3.0}),
        ("first_content", {"first_content": 3.0}),
        ("progress", {"progress": 3.0}),
        ("total", {"total": 3.0}),
    ],
)
@pytest.mark.parametrize("waiting", [False, True])
def test_a_flood_without_content_holds_no_limit(
    stage: MakeStage, limit: str, limits: dict[str, float], waiting: bool
) -> None:
    """Bytes without content that come as fast as they can be read excuse nothing at an expiry.

    The verdict tells the true time.
    """
    one = stage(**limits)
    handle = one.open()
    if limit == "progress":
        one.receive("a")
    began = one.clock.now()
    handle.readable = waiting
    while one.attempt.verdict is None and one.clock.now() < began + 10.0:
        one.worker.do(lambda attempt: attempt._received(10))
        one.clock.advance(0.1)  # type: ignore[attr-defined]
        if limit == "total" and one.attempt.verdict is None:
            one.worker.do(lambda attempt: attempt.deliver(["x"], 1, BatchMeaning(content=True)))
            one.attempt.take()
        elif one.attempt.verdict is None:
            one.worker.do(lambda attempt: attempt._read_on())
        one.pass_time(0.0)
    assert (one.verdict.limit, one.verdict.paused) == (limit, 0.0)
    assert 3.0 < one.verdict.elapsed < 3.25


def test_a_piece_read_in_time_is_decoded_before_a_kill(stage: MakeStage) -> None:
    """A piece that was read in time is decoded before its attempt is killed for lack of content.

    This happens once, and for a bounded time.
    """
    for delay, kind in ((0.01, VerdictKind.DONE), (0.05, VerdictKind.KILLED)):
        one = stage(first_content=10.0)
        one.open()
        one.clock.advance(9.995)  # type: ignore[attr-defined]
        one.worker.do(lambda attempt: attempt._received(10))
        one.pass_time(0.006)
        assert one.attempt.verdict is None
        one.pass_time(delay)
        if kind is VerdictKind.DONE:
            one.receive("a", read=False)
            one.receive("end", terminal=True)
        assert one.verdict.kind is kind


def test_the_time_of_the_read_decides_over_the_time_of_decoding(stage: MakeStage) -> None:
    """A terminal event that was read before the deadline and decoded after it is a success."""
    one = stage(deadline=10.0)
    one.open()
    one.clock.advance(10.0)  # type: ignore[attr-defined]
    one.worker.do(lambda attempt: attempt._received(10))
    one.clock.advance(LATE)  # type: ignore[attr-defined]
    one.receive("end", terminal=True, read=False)
    assert one.verdict.kind is VerdictKind.DONE
    assert one.taken() == ["end"]


def test_the_end_of_the_body_counts_as_a_read(stage: MakeStage) -> None:
    """No limit expires between the end of the body and the worker's own end."""
    one = stage(stale=10.0, total=10.0)
    one.open()
    one.receive("a")
    one.worker.do(lambda attempt: attempt._received(0))
    one.pass_time(AGES)
    one.leave()
    assert one.verdict.kind is VerdictKind.DONE


def test_an_event_after_the_terminal_one_does_not_stop_the_drain(stage: MakeStage) -> None:
    """Later events are dropped and counted, and the time of the drain runs on."""
    one = stage(drain=1.0)
    socket = one.open()
    one.receive("end", terminal=True)
    one.receive("more", content=False)
    assert one.attempt.late == 1
    one.pass_time(1.0 + LATE)
    assert socket.shut_down.is_set()
    assert one.taken() == ["end"]


@pytest.mark.parametrize("limit", ["first_event", "first_content", "total"])
def test_bytes_without_events_reset_silence_alone(stage: MakeStage, limit: str) -> None:
    """Bytes without events, read one by one, reset the limit on silence and no other."""
    one = stage(**{limit: 10.0}, stale=3.0)
    one.open()
    for _ in range(10):
        one.receive(size=1)
        one.pass_time(1.0)
        assert one.attempt.verdict is None
    one.pass_time(LATE)
    assert one.verdict.limit == limit


def test_events_without_content_do_not_reset_progress(stage: MakeStage) -> None:
    """Pings after content end at ``progress``."""
    one = stage(progress=10.0, stale=3.0)
    one.open()
    one.receive("a")
    for _ in range(10):
        one.pass_time(1.0)
        one.receive("ping", content=False)
    one.pass_time(LATE)
    assert one.verdict.limit == "progress"
    assert one.taken() == ["a", *["ping"] * 10]
