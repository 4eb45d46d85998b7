"""A wrapped function's signs: beats, pauses, answers that it got, and what can wake it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llmwatch.watch.attempt import Attempt, BatchMeaning
from llmwatch.watch.channel import Bounds
from llmwatch.watch.machine import Phase, Seen, VerdictKind
from llmwatch.watch.nested import ChildCallHandle
from tests.watch.scripted import PATIENCE, Caller, Socket, Stage

MakeStage = Callable[..., Stage]
LATE = 0.25
AGES = 100_000.0
"""Seconds; longer than every limit here."""
ALL = {"ttfb": 10.0, "first_event": 10.0, "first_content": 10.0, "stale": 10.0, "progress": 10.0, "total": 50.0}


def function(one: Stage) -> Stage:
    """Start a function of which nothing is known."""
    one.attempt.stats.function = one.attempt.stats.opaque = True
    one.start()
    one.worker.do(lambda attempt: attempt.connected())
    one.worker.do(lambda attempt: attempt.sent())
    return one


def beat(one: Stage, event: bool = True, content: bool = True) -> None:
    one.attempt.beat(event=event, content=content)


# -- beats -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "content", "phase", "next_limit"),
    [
        (False, False, Phase.BODY, "first_event"),
        (True, False, Phase.EVENTS, "first_content"),
        (True, True, Phase.CONTENT, "stale"),
    ],
)
def test_a_beat_ends_the_first_byte_event_and_content_limits(
    stage: MakeStage, event: bool, content: bool, phase: Phase, next_limit: str
) -> None:
    """A beat is a byte, an event or content, and ends the limits on the first of each.

    From then on silence counts.
    """
    one = function(stage(ttfb=10.0, first_event=20.0, first_content=20.0, stale=20.0, progress=30.0))
    one.pass_time(9.0)
    beat(one, event, content)
    assert one.attempt.phase is phase
    assert one.attempt.stats.beaten
    due = one.attempt.counting()
    assert due is not None
    assert due.limit == next_limit


def test_beats_reset_stale_and_content_beats_reset_progress(stage: MakeStage) -> None:
    """Any beat resets stale, and only content resets progress.

    The attempt lives for as long as the beats come in time.
    """
    one = function(stage(ttfb=10.0, stale=10.0, progress=25.0))
    beat(one)
    for _ in range(10):
        one.pass_time(9.0)
        beat(one)
    for _ in range(2):
        one.pass_time(9.0)
        beat(one, event=False, content=False)
    assert one.attempt.verdict is None
    one.pass_time(7.0 + LATE)
    assert (one.verdict.kind, one.verdict.limit) == (VerdictKind.KILLED, "progress")


def test_a_late_beat_changes_nothing(stage: MakeStage) -> None:
    """A beat after the verdict is counted as late, raises nothing, and is no sign of the function."""
    one = function(stage(ttfb=10.0))
    one.pass_time(10.0 + LATE)
    beat(one)
    assert one.verdict.limit == "ttfb"
    assert one.attempt.late == 1
    assert not one.attempt.stats.beaten
    assert Seen.CONTENT not in one.attempt.machine.marks


def test_a_beat_after_a_strict_expiry_ends_the_attempt(stage: MakeStage) -> None:
    """The beat ends the attempt before the supervisor has looked.

    The sockets are shut, and the caller is free.
    """
    one = function(stage(total=10.0))
    socket = one.socket()
    caller = Caller(one.attempt.take)
    one.clock.next_waiter()  # type: ignore[attr-defined]
    one.clock.advance(10.0 + LATE)  # type: ignore[attr-defined]
    beat(one)
    assert caller.result() is None
    assert (one.verdict.kind, one.verdict.limit) == (VerdictKind.KILLED, "total")
    assert socket.shut_down.is_set()


def test_beats_from_many_threads_are_all_counted(stage: MakeStage) -> None:
    """Beats of any thread count."""
    one = function(stage(**ALL))
    callers = [Caller(lambda: [beat(one) for _ in range(200)]) for _ in range(8)]
    for caller in callers:
        caller.result()
    assert one.attempt.verdict is None
    assert one.attempt.stats.beaten


# -- pauses ------------------------------------------------------------------


def test_a_pause_holds_every_limit_but_the_deadline(stage: MakeStage) -> None:
    """No limit expires in a pause, whatever time passes; the deadline does."""
    one = function(stage(deadline=3 * AGES, **ALL))
    one.attempt.pause()
    one.pass_time(AGES)
    assert one.attempt.verdict is None
    one.pass_time(2 * AGES + LATE)
    assert one.verdict.limit == "deadline"


@pytest.mark.parametrize("times", [1, 3])
def test_nested_pauses_leave_each_limit_its_remainder(stage: MakeStage, times: int) -> None:
    """After the last of the nested pauses a limit has the seconds that it had before the first."""
    one = function(stage(ttfb=10.0))
    one.pass_time(6.0)
    for _ in range(times):
        one.attempt.pause()
    for _ in range(times):
        one.pass_time(AGES)
        one.attempt.unpause()
    one.pass_time(4.0 - LATE)
    assert one.attempt.verdict is None
    one.pass_time(2 * LATE)
    assert one.verdict.limit == "ttfb"
    assert one.verdict.elapsed == pytest.approx(10.0 + times * AGES, abs=2 * LATE)
    assert one.verdict.paused == times * AGES


def test_only_the_end_of_a_pause_resumes_the_limits(stage: MakeStage) -> None:
    """A beat, a delivered item or a read does not resume the limits."""
    one = function(stage(stale=10.0, progress=10.0, total=50.0))
    one.attempt.pause()
    beat(one)
    one.pass_time(AGES)
    one.receive("item")
    one.pass_time(AGES)
    one.receive("another", read=False)
    one.pass_time(AGES)
    one.worker.do(lambda attempt: attempt._read_on())
    one.pass_time(AGES)
    assert one.attempt.verdict is None
    assert one.taken() == ["item", "another"]
    one.attempt.unpause()
    one.pass_time(10.0 + LATE)
    assert one.verdict.limit == "stale"


def test_a_slow_caller_stops_the_limits_beyond_a_pause(stage: MakeStage) -> None:
    """When a pause ends while the channel is full, the limits stand until the caller takes something."""
    one = function(stage(bounds=Bounds(items=1), stale=10.0, progress=10.0))
    one.attempt.pause()
    one.clock.forget_waits()  # type: ignore[attr-defined]
    one.worker.begin(lambda attempt: attempt.deliver(["item"], 1, BatchMeaning(content=True)))
    one.clock.next_waiter()  # type: ignore[attr-defined]
    one.attempt.unpause()
    one.pass_time(AGES)
    assert one.attempt.verdict is None
    assert one.attempt.take() == ["item"]
    one.worker.result()
    one.pass_time(10.0 + LATE)
    assert one.verdict.limit in ("progress", "stale")


def test_a_pause_holds_the_limits_after_a_slow_caller_takes(stage: MakeStage) -> None:
    """When the channel has room again within a pause, the limits stay held."""
    one = function(stage(bounds=Bounds(items=1), stale=10.0, progress=10.0))
    one.clock.forget_waits()  # type: ignore[attr-defined]
    one.worker.begin(lambda attempt: attempt.deliver(["item"], 1, BatchMeaning(content=True)))
    one.clock.next_waiter()  # type: ignore[attr-defined]
    one.attempt.pause()
    assert one.attempt.take() == ["item"]
    one.worker.result()
    one.pass_time(AGES)
    assert one.attempt.verdict is None
    one.attempt.unpause()
    one.pass_time(10.0 + LATE)
    assert one.attempt.verdict is not None


def test_a_pause_after_the_end_changes_nothing(stage: MakeStage) -> None:
    """The pause neither holds a drain nor changes the verdict."""
    one = stage(drain=1.0)
    one.open()
    one.receive("end", terminal=True)
    one.attempt.pause()
    one.pass_time(1.0 + LATE)
    assert one.sockets[0].shut_down.is_set()
    one.attempt.unpause()
    assert one.verdict.kind is VerdictKind.DONE


# -- what can wake it --------------------------------------------------------


def _counted(one: Stage) -> tuple[int, int]:
    counts = one.supervisor.registry.counts()
    return counts["orphans"], counts["unabortable"]


def test_a_killed_function_that_nothing_can_wake_is_an_orphan_at_once(stage: MakeStage) -> None:
    """Before its caller is told, so that the record can say so."""
    one = function(stage(ttfb=10.0))
    one.pass_time(10.0 + LATE)
    assert one.attempt.orphaned
    assert _counted(one) == (1, 1)
    one.pass_time(AGES)
    assert _counted(one) == (1, 1)
    one.leave()
    assert _counted(one) == (0, 1)


def test_a_killed_function_with_a_handle_has_a_second_to_end(stage: MakeStage) -> None:
    """A killed function with a handle has a second to end, because the handle may wake it.

    Once the handle is given back, the second is not waited for.
    """
    one = function(stage(ttfb=10.0))
    socket = one.socket(wakes=False)
    assert not one.attempt.stats.opaque
    one.pass_time(10.0 + LATE)
    assert not one.attempt.orphaned
    one.pass_time(1.0 + LATE)
    assert one.attempt.orphaned
    assert socket.log == ["waiting", "shutdown"]

    other = function(stage(ttfb=10.0))
    socket = other.socket()
    other.worker.do(lambda attempt: attempt.disown(socket))
    assert other.attempt.stats.opaque
    other.pass_time(10.0 + LATE)
    assert other.attempt.orphaned


def test_sockets_found_at_a_kill_stay_in_the_record(stage: MakeStage) -> None:
    """A worker that wakes and gives its socket back does not change what the kill has found."""
    one = function(stage(ttfb=10.0))
    socket = one.socket()
    one.pass_time(10.0 + LATE)
    one.worker.do(lambda attempt: attempt.disown(socket))
    assert not one.attempt.stats.opaque


def test_only_adopted_sockets_count_as_sockets(stage: MakeStage) -> None:
    """Other handles that are adopted are shut too, and no failure of a connection is read from them."""
    one = function(stage(ttfb=10.0))
    one.socket()
    assert one.attempt.stats.sockets == 0
    another = Socket(one.attempt)
    one.sockets.append(another)
    one.worker.do(lambda attempt: attempt.adopt(another, reused=False))
    assert one.attempt.stats.sockets == 1


def test_a_cancelled_worker_has_a_moment_to_end(stage: MakeStage) -> None:
    """A worker that is busy when its caller cancels is not an orphan at once."""
    one = function(stage(ttfb=10.0))
    one.attempt.cancel("user")
    one.supervisor.look()
    assert _counted(one) == (0, 0)
    one.pass_time(0.1)
    assert _counted(one) == (1, 1)


# -- nesting -----------------------------------------------------------------


def _inside(outer: Stage, inner: Stage) -> None:
    """Start ``inner`` in the worker of ``outer``."""
    outer.worker.do(lambda attempt: inner.attempt.start(inner.worker))
    inner.worker.is_there()


def test_an_answered_request_is_a_sign_of_every_enclosing_function(stage: MakeStage) -> None:
    """The functions around an attempt whose request was answered have done something.

    An enclosing request has not.
    """
    outermost, middle, inner = function(stage()), stage(), stage()
    _inside(outermost, middle)
    _inside(middle, inner)
    assert inner.attempt.outer is middle.attempt
    assert middle.attempt.outer is outermost.attempt
    assert outermost.attempt.outer is None
    inner.worker.do(lambda attempt: attempt.headers(200, refused=False))
    assert outermost.attempt.stats.beaten
    assert not middle.attempt.stats.beaten
    assert not inner.attempt.stats.beaten
    assert outermost.attempt.phase is Phase.WAITING


def test_an_answer_inside_a_function_moves_no_limit_of_it(stage: MakeStage) -> None:
    """The answer moves no limit, and is kept as the last status."""
    outer, one = function(stage()), function(stage(ttfb=10.0, headers=20.0))
    one.worker.do(lambda attempt: attempt.answered(204, "req_1"))
    assert one.attempt.phase is Phase.WAITING
    stats = one.attempt.stats
    assert (stats.status, stats.request_id, stats.beaten) == (204, "req_1", True)
    assert not outer.attempt.stats.beaten
    one.pass_time(10.0 + LATE)
    assert one.verdict.limit == "ttfb"


def test_an_attempt_started_outside_a_worker_has_no_outer_one() -> None:
    """A thread that is no worker has no enclosing attempt."""
    attempt: Attempt[None] = Attempt({})
    attempt.start(lambda attempt: None)
    assert attempt.outer is None
    assert attempt.join(PATIENCE)


def test_a_socket_of_an_inner_attempt_counts_for_enclosing_functions(stage: MakeStage) -> None:
    """The socket counts for every enclosing function that has no handle of its own.

    Without the socket those functions are opaque.
    """
    outermost, middle, inner = function(stage()), stage(), stage()
    middle.attempt.stats.function = middle.attempt.stats.opaque = True
    own = outermost.socket()
    outermost.attempt.disown(own)
    _inside(outermost, middle)
    outermost.worker.do(lambda attempt: attempt.adopt(ChildCallHandle(middle.attempt.cancel)))
    _inside(middle, inner)

    def opaque() -> list[bool]:
        return [one.attempt.stats.opaque for one in (outermost, middle, inner)]

    assert opaque() == [True, True, False]
    socket = inner.socket()
    assert opaque() == [False, False, False]
    own = middle.socket()
    inner.worker.do(lambda attempt: attempt.disown(socket))
    assert opaque() == [False, False, False]
    middle.worker.do(lambda attempt: attempt.disown(own))
    assert opaque() == [True, True, False]
    inner.socket()
    inner.leave()
    assert opaque() == [True, True, False]


def test_the_end_of_the_inner_attempt_keeps_what_the_kill_found(stage: MakeStage) -> None:
    """The inner attempt that ends with the outer one changes nothing any more."""
    outer, inner = function(stage(ttfb=10.0)), stage()
    _inside(outer, inner)
    outer.worker.do(lambda attempt: attempt.adopt(ChildCallHandle(inner.attempt.cancel)))
    inner.socket()
    outer.pass_time(10.0 + LATE)
    assert inner.verdict.kind is VerdictKind.CANCELLED
    inner.leave()
    assert not outer.attempt.stats.opaque
    assert not outer.attempt.orphaned


def test_an_unwakeable_inner_function_makes_the_outer_one_no_orphan(stage: MakeStage) -> None:
    """The outer function has nothing to wake either, and is no orphan by that.

    It returns with its inner call.
    """
    outer, inner = function(stage(ttfb=10.0)), stage()
    inner.attempt.stats.function = inner.attempt.stats.opaque = True
    _inside(outer, inner)
    outer.worker.do(lambda attempt: attempt.adopt(ChildCallHandle(inner.attempt.cancel)))
    outer.pass_time(10.0 + LATE)
    assert outer.attempt.stats.opaque
    assert not outer.attempt.orphaned
