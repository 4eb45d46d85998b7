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
def test_what_a_beat_ends(stage: MakeStage, event: bool, content: bool, phase: Phase, next_limit: str) -> None:
    """A beat is a byte, an event or content, and ends the limits on the first of each; from then on silence counts."""
    one = function(stage(ttfb=10.0, first_event=20.0, first_content=20.0, stale=20.0, progress=30.0))
    one.pass_time(9.0)
    beat(one, event, content)
    assert one.attempt.phase is phase
    assert one.attempt.stats.beaten
    due = one.attempt.counting()
    assert due is not None
    assert due.limit == next_limit


def test_beats_reset(stage: MakeStage) -> None:
    """Any beat resets stale, only content resets progress; the attempt lives for as long as they come in time."""
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
    """It is counted as late, raises nothing, and does not count as a sign of the function."""
    one = function(stage(ttfb=10.0))
    one.pass_time(10.0 + LATE)
    beat(one)
    assert one.verdict.limit == "ttfb"
    assert one.attempt.late == 1
    assert not one.attempt.stats.beaten
    assert Seen.CONTENT not in one.attempt.machine.marks


def test_a_beat_may_find_the_expiry(stage: MakeStage) -> None:
    """A beat after an expiry that nothing excuses is the end, before the supervisor has looked: sockets are shut, the
    caller is free.
    """
    one = function(stage(total=10.0))
    socket = one.socket()
    caller = Caller(one.attempt.take)
    one.clock.somebody_waits()  # type: ignore[attr-defined]
    one.clock.advance(10.0 + LATE)  # type: ignore[attr-defined]
    beat(one)
    assert caller.result() is None
    assert (one.verdict.kind, one.verdict.limit) == (VerdictKind.KILLED, "total")
    assert socket.shut_down.is_set()


def test_beats_from_many_threads(stage: MakeStage) -> None:
    """Whatever thread beats: all count, and nothing breaks."""
    one = function(stage(**ALL))
    callers = [Caller(lambda: [beat(one) for _ in range(200)]) for _ in range(8)]
    for caller in callers:
        caller.result()
    assert one.attempt.verdict is None
    assert one.attempt.stats.beaten


# -- pauses ------------------------------------------------------------------


def test_a_pause_stops_every_limit_but_the_deadline(stage: MakeStage) -> None:
    """Whatever time passes in it; the deadline comes all the same."""
    one = function(stage(deadline=3 * AGES, **ALL))
    one.attempt.pause()
    one.pass_time(AGES)
    assert one.attempt.verdict is None
    one.pass_time(2 * AGES + LATE)
    assert one.verdict.limit == "deadline"


@pytest.mark.parametrize("times", [1, 3])
def test_limits_keep_what_is_left(stage: MakeStage, times: int) -> None:
    """After the last of the nested pauses a clock has what it had before the first."""
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


def test_nothing_inside_a_pause_lets_the_limits_run(stage: MakeStage) -> None:
    """Neither a beat nor an item that is handed over nor a read: only the end of the pause does."""
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
    one.clock.somebody_waits()  # type: ignore[attr-defined]
    one.attempt.unpause()
    one.pass_time(AGES)
    assert one.attempt.verdict is None
    assert one.attempt.take() == ["item"]
    one.worker.result()
    one.pass_time(10.0 + LATE)
    assert one.verdict.limit in ("progress", "stale")


def test_a_pause_outlasts_a_slow_caller(stage: MakeStage) -> None:
    """The other way round: when room comes within a pause the limits go on standing."""
    one = function(stage(bounds=Bounds(items=1), stale=10.0, progress=10.0))
    one.clock.forget_waits()  # type: ignore[attr-defined]
    one.worker.begin(lambda attempt: attempt.deliver(["item"], 1, BatchMeaning(content=True)))
    one.clock.somebody_waits()  # type: ignore[attr-defined]
    one.attempt.pause()
    assert one.attempt.take() == ["item"]
    one.worker.result()
    one.pass_time(AGES)
    assert one.attempt.verdict is None
    one.attempt.unpause()
    one.pass_time(10.0 + LATE)
    assert one.attempt.verdict is not None


def test_a_pause_of_an_attempt_that_is_over(stage: MakeStage) -> None:
    """It neither keeps a drain from ending nor brings anything back."""
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


def test_one_with_a_handle_has_its_second(stage: MakeStage) -> None:
    """A handle may wake it, so it is waited for; with the handle given back, nothing can."""
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


def test_what_a_kill_found_stays(stage: MakeStage) -> None:
    """A worker that wakes and gives its socket back does not make the attempt one in which nothing was found."""
    one = function(stage(ttfb=10.0))
    socket = one.socket()
    one.pass_time(10.0 + LATE)
    one.worker.do(lambda attempt: attempt.disown(socket))
    assert not one.attempt.stats.opaque


def test_only_sockets_are_counted_as_sockets(stage: MakeStage) -> None:
    """What else is adopted is shut with the rest, and the failure of a connection is not read from it."""
    one = function(stage(ttfb=10.0))
    one.socket()
    assert one.attempt.stats.sockets == 0
    another = Socket(one.attempt)
    one.sockets.append(another)
    one.worker.do(lambda attempt: attempt.adopt(another, reused=False))
    assert one.attempt.stats.sockets == 1


def test_a_cancelled_one_has_a_moment(stage: MakeStage) -> None:
    """A worker that is in the middle of something when its caller gives up is on its way out, most often."""
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


def test_an_answer_inside_is_a_sign_of_every_function_around_it(stage: MakeStage) -> None:
    """The functions around an attempt whose request was answered have done something; a request around it has not."""
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


def test_an_answer_that_a_function_got_itself(stage: MakeStage) -> None:
    """It moves no limit, and stays as the last status that came."""
    outer, one = function(stage()), function(stage(ttfb=10.0, headers=20.0))
    one.worker.do(lambda attempt: attempt.answered(204, "req_1"))
    assert one.attempt.phase is Phase.WAITING
    stats = one.attempt.stats
    assert (stats.status, stats.request_id, stats.beaten) == (204, "req_1", True)
    assert not outer.attempt.stats.beaten
    one.pass_time(10.0 + LATE)
    assert one.verdict.limit == "ttfb"


def test_a_worker_leaves_no_trace_in_its_thread() -> None:
    """An attempt that is started in a thread which is no worker has no outer one."""
    attempt: Attempt[None] = Attempt({})
    attempt.start(lambda attempt: None)
    assert attempt.outer is None
    assert attempt.join(PATIENCE)


def test_what_is_found_inside_is_found(stage: MakeStage) -> None:
    """A socket of an inner attempt is one of every function around it that has nothing else; without it nothing is
    found in them, unless they have something of their own.
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


def test_what_a_kill_found_inside_stays(stage: MakeStage) -> None:
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


def test_a_function_inside_in_which_nothing_is_found(stage: MakeStage) -> None:
    """It makes the one around it such a function too, which is no orphan by that: it comes back with its inner call."""
    outer, inner = function(stage(ttfb=10.0)), stage()
    inner.attempt.stats.function = inner.attempt.stats.opaque = True
    _inside(outer, inner)
    outer.worker.do(lambda attempt: attempt.adopt(ChildCallHandle(inner.attempt.cancel)))
    outer.pass_time(10.0 + LATE)
    assert outer.attempt.stats.opaque
    assert not outer.attempt.orphaned
