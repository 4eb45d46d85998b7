"""Caller, worker and supervisor in every order, up to a bound of preemptions.

Each law is seen broken where the code is broken.

``python -m tests.watch.test_interleavings 2`` explores every scenario with two preemptions, and prints how many runs
that takes.
"""

from __future__ import annotations

import functools
import inspect
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from llmwatch.watch import workers
from llmwatch.watch.attempt import Attempt
from llmwatch.watch.cancel import CancelToken
from llmwatch.watch.channel import Bounds, Channel
from llmwatch.watch.clock import WaitList
from llmwatch.watch.machine import Machine, Seen, VerdictKind
from llmwatch.watch.nested import ChildCallHandle
from llmwatch.watch.supervisor import Supervisor
from llmwatch.watch.workers import Workers
from tests.watch import interleaved
from tests.watch.explorer import Explored, Violation, World, explore
from tests.watch.interleaved import EXPIRED, IN_TIME, LIMITS, Call, SharedAttempt, passing
from tests.watch.scripted import Scripted

DONE, FAILED, KILLED, CANCELLED = VerdictKind.DONE, VerdictKind.FAILED, VerdictKind.KILLED, VerdictKind.CANCELLED
End = Callable[[], None]


def _nothing() -> None:
    """Nothing."""


def ends(call: Call, *kinds: VerdictKind, all_taken: bool = True) -> End:
    """The call ends in one of these ways, and its laws hold."""

    def look() -> None:
        verdict = call.settled(all_taken=all_taken)
        call.world.require("the verdict fits", verdict.kind in kinds, str(verdict))

    return look


def both(first: End, second: End) -> End:
    """The laws of two calls."""

    def look() -> None:
        first()
        second()

    return look


# -- the scenarios -----------------------------------------------------------


def an_expiry_meets_the_end(world: World) -> End:
    """A limit expires while the last events come in."""
    call = Call(world, ("text", "end"))
    world.actor("caller", call.caller)
    world.actor("time", passing(world, EXPIRED, call))
    return ends(call, DONE, KILLED)


def a_silent_server(world: World) -> End:
    """Nothing comes after the first event, so the limit ends the attempt."""
    call = Call(world, ("text",))
    world.actor("caller", call.caller)
    world.actor("time", passing(world, EXPIRED, call))
    return ends(call, KILLED)


def a_cancellation_meets_the_end(world: World) -> End:
    """Another thread cancels while the last events come in."""
    call = Call(world, ("text", "end"))
    world.actor("caller", call.caller)
    world.actor("canceller", lambda: call.attempt.cancel("user"))
    return ends(call, DONE, CANCELLED)


def a_token_is_cancelled_at_the_start(world: World) -> End:
    """A token is cancelled while the attempt starts, whichever step it has reached."""
    call, token = Call(world, ("end",), begun=False), CancelToken()

    def cancel() -> None:
        call.attempt.cancel("user")

    def begin() -> None:
        token.subscribe(cancel)
        call.caller()

    world.actor("caller", begin)
    world.actor("canceller", token.cancel)
    return ends(call, DONE, CANCELLED)


def a_dropped_call(world: World) -> End:
    """A finalizer drops the call after its first event, while the server is silent."""
    call = Call(world, ("text",))
    world.fine = True
    world.actor("caller", lambda: call.caller(take=1, then=call.attempt.abandon))
    return ends(call, CANCELLED, all_taken=False)


def a_small_channel(world: World) -> End:
    """The worker waits for room after each event, and no time passes."""
    call = Call(world, ("text", "text", "end"), bounds=Bounds(items=1))
    world.actor("caller", call.caller)
    return ends(call, DONE)


def a_stuck_worker_is_killed(world: World) -> End:
    """Nothing wakes the worker, and its caller is free at once."""
    call = Call(world, ("text",), wakes=False)
    world.actor("caller", call.caller)
    world.actor("time", passing(world, EXPIRED, call))
    return ends(call, KILLED)


def a_stuck_worker_is_cancelled(world: World) -> End:
    """The same where another thread cancels."""
    call = Call(world, ("text",), wakes=False)
    world.actor("caller", call.caller)
    world.actor("canceller", lambda: call.attempt.cancel("user"))
    return ends(call, CANCELLED)


def a_full_channel(world: World) -> End:
    """The worker waits for room while the caller takes and a limit expires."""
    call = Call(world, ("text", "end"), bounds=Bounds(items=1))
    world.actor("caller", call.caller)
    world.actor("time", passing(world, EXPIRED, call))
    return ends(call, DONE, KILLED)


def a_full_channel_is_cancelled(world: World) -> End:
    """The same while another thread cancels, and the caller takes only one event."""
    call = Call(world, ("text", "text", "end"), bounds=Bounds(items=1))
    world.actor("caller", lambda: call.caller(take=1))
    world.actor("canceller", lambda: call.attempt.cancel("user"))
    return ends(call, DONE, CANCELLED, all_taken=False)


def the_rest_drains(world: World) -> End:
    """The body goes on behind the end of the answer until ``drain`` expires; the caller reads that too."""
    call = Call(world, ("end", "more"), rest=True)

    def read_rest() -> None:
        while (batch := call.attempt.rest()) is not None:
            call.items += batch

    def look() -> None:
        call.put += call.behind
        call.settled()

    world.actor("caller", lambda: call.caller(take=1, then=read_rest))
    world.actor("time", passing(world, EXPIRED))
    return look


def a_drain_is_closed(world: World) -> End:
    """The caller drops the connection of an answer that is whole, while the worker reads on."""
    call = Call(world, ("end",), rest=True)
    world.actor("caller", lambda: call.caller(then=call.attempt.close))
    return ends(call, DONE)


def a_done_call_is_closed(world: World) -> End:
    """The caller drops the connection of an answer that is whole, while the worker leaves."""
    call = Call(world, ("end",))
    world.actor("caller", lambda: call.caller(then=call.attempt.close))
    return ends(call, DONE)


def a_worker_fails(world: World) -> End:
    """The worker meets an error while a limit expires."""
    call = Call(world, ("text",), error=OSError("reset"))
    world.actor("caller", call.caller)
    world.actor("time", passing(world, EXPIRED, call))
    return ends(call, FAILED, KILLED)


def a_thread_is_used_again(world: World) -> End:
    """The second attempt of a client takes the idle thread of the first, which may just leave."""
    watcher, idle = interleaved.supervisor(), Workers()
    first = Call(world, ("end",), watcher=watcher, workers=idle)
    first.opened = _nothing  # type: ignore[method-assign]
    world.prologue("supervisor", "worker", "caller")
    second = Call(world, ("end",), watcher=watcher, workers=idle, begun=False)

    def caller() -> None:
        first.caller()
        world.explore_from_here()
        second.caller()

    world.actor("caller", caller)
    world.actor("time", passing(world, workers.IDLE))
    return both(ends(first, DONE), ends(second, DONE))


def two_first_attempts(world: World) -> End:
    """Two threads have the first attempts of a process watched: one supervisor starts."""
    world.fine = True
    watcher, log = interleaved.supervisor(), list[tuple[str, str, float | None]]()
    attempts = [Scripted("first", log), Scripted("second", log)]
    for attempt in attempts:
        world.actor(attempt.name, functools.partial(watcher.watch, attempt))

    def look() -> None:
        world.require("one supervisor", world.started("supervisor") == 1, "there are more")
        world.require("each is watched", {name for _, name, _ in log} == {"first", "second"}, str(log))

    return look


def two_expire_at_once(world: World) -> End:
    """Two attempts expire at the same instant: both verdicts come before any shutdown."""
    watcher = interleaved.supervisor()
    first = Call(world, (), watcher=watcher)
    first.opened = _nothing  # type: ignore[method-assign]
    second = Call(world, (), watcher=watcher)
    for call in (first, second):
        call.before_shutdown = lambda: world.require(
            "all verdicts first", first.attempt.verdict and second.attempt.verdict, "one has none"
        )
    world.actor("caller", first.caller)
    world.actor("another", second.caller)
    world.actor("time", passing(world, EXPIRED, first, second))
    return both(ends(first, KILLED), ends(second, KILLED))


def a_call_in_a_call(world: World) -> End:
    """A worker makes a call of its own and waits for it, while the outer call is cancelled."""
    watcher = interleaved.supervisor()
    inner = Call(world, ("end",), watcher=watcher, begun=False)
    outer = SharedAttempt({"ttfb": 10.0}, supervisor=watcher)
    outer.stats.function = True

    def work(outer: Attempt[str]) -> None:
        outer.adopt(ChildCallHandle(inner.attempt.cancel))
        inner.caller()

    def call() -> None:
        outer.start(work)
        outer.take()

    def look() -> None:
        kinds = [outer.verdict and outer.verdict.kind]
        if inner.attempt.verdict is not None:
            kinds.append(inner.settled().kind)
        world.require("the verdict fits", set(kinds) <= {DONE, CANCELLED}, str(kinds))
        world.require("no worker is left", watcher.registry.counts()["workers"] == 0, "one is left")

    world.actor("caller", call)
    world.actor("canceller", lambda: outer.cancel("user"))
    return look


def the_process_exits(world: World) -> End:
    """The interpreter exits while the worker reads and the caller, a daemon thread, waits or takes."""
    call = Call(world, ("text",))
    world.actor("caller", call.caller)
    world.actor("exit", call.attempt.end_at_exit)
    world.actor("time", passing(world, EXPIRED))
    return ends(call, CANCELLED, KILLED, all_taken=False)


def an_expiry_moves_forward(world: World) -> End:
    """An attempt's next expiry moves forward just as the supervisor falls asleep until a later one."""
    world.fine = True
    call = Call(world, (), limits={**LIMITS, "connect": 100.0})
    world.prologue("worker")

    def wait_for_schedule() -> None:
        world.explore_from_here()
        world.point(lambda: call.supervisor.scheduled > 0)

    call.before_sent = wait_for_schedule
    world.actor("caller", call.caller)
    world.actor("time", passing(world, EXPIRED, call))

    def look() -> None:
        lag = call.settled().at - call.attempt.machine.marks[Seen.SENT] - LIMITS["ttfb"]
        world.require("no expiry is slept over", lag <= 2 * IN_TIME, f"the kill is {lag} s late")

    return look


def an_interrupted_call(world: World) -> End:
    """A signal handler raises at any line of the caller, from the start of the attempt to its end."""
    call = Call(world, ("text", "end"), begun=False)
    world.actor("caller", call.caller, interruptible=True)
    return lambda: look_interrupted(call, DONE, CANCELLED)


def an_interrupted_cancellation(world: World) -> End:
    """A signal handler raises at any line of a cancellation, which the caller repeats."""
    call = Call(world, ("text",))
    world.actor("caller", lambda: call.caller(take=1, then=lambda: call.attempt.cancel("user")), interruptible=True)
    return lambda: look_interrupted(call, CANCELLED)


def an_interrupted_cancellation_is_completed(world: World) -> End:
    """The same where nothing repeats it: the supervisor completes what was begun."""
    call = Call(world, ("text",))

    def cancel_once() -> None:
        begun = call.attempt._given_up is not None
        call.attempt.cancel("user") if not begun else None

    call.give_up = cancel_once
    world.actor("caller", lambda: call.caller(take=1, then=lambda: call.attempt.cancel("user")), interruptible=True)
    return lambda: look_interrupted(call, CANCELLED)


def an_interrupted_start(world: World) -> End:
    """A signal handler raises at any line of a start, which cancels what it had begun by itself."""
    call = Call(world, ("text",), begun=False)
    call.give_up = _nothing

    def end() -> None:
        world.point(last=True)
        if call.interrupted is None:
            call.attempt.cancel("user")

    world.actor("caller", lambda: call.caller(take=0), interruptible=True)
    world.actor("canceller", end)
    return lambda: look_interrupted(call, CANCELLED)


def look_interrupted(call: Call, *kinds: VerdictKind) -> None:
    if call.attempt.verdict is None and not call.began:
        # The interruption came before the first step of the start.
        call.world.require("no interruption is replaced", call.interrupted, "nothing was started")
        return
    ends(call, *kinds, all_taken=False)()


@dataclass(frozen=True)
class Bound:
    """The depth to which the suite explores a scenario, and the least number of its ends."""

    preemptions: int
    interruptions: int = 0
    ends: int = 10


SCENARIOS: dict[Callable[[World], End], Bound] = {
    an_expiry_meets_the_end: Bound(1),
    a_silent_server: Bound(1),
    a_cancellation_meets_the_end: Bound(1),
    a_token_is_cancelled_at_the_start: Bound(1),
    a_dropped_call: Bound(1),
    a_stuck_worker_is_killed: Bound(1),
    a_stuck_worker_is_cancelled: Bound(1),
    a_small_channel: Bound(1),
    a_full_channel: Bound(1),
    a_full_channel_is_cancelled: Bound(1),
    the_rest_drains: Bound(1),
    a_drain_is_closed: Bound(1),
    a_done_call_is_closed: Bound(2),
    a_worker_fails: Bound(1),
    a_thread_is_used_again: Bound(1),
    two_first_attempts: Bound(1),
    two_expire_at_once: Bound(0),
    a_call_in_a_call: Bound(0),
    the_process_exits: Bound(0),
    an_expiry_moves_forward: Bound(1),
    an_interrupted_call: Bound(0, 1),
    an_interrupted_start: Bound(0, 1),
    an_interrupted_cancellation: Bound(1, 1),
    an_interrupted_cancellation_is_completed: Bound(1, 1),
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_laws_hold_in_every_order(scenario: Callable[[World], End]) -> None:
    """In every order within the bound the laws hold."""
    bound = SCENARIOS[scenario]
    found = explore(scenario, preemptions=bound.preemptions, interruptions=bound.interruptions)
    assert found.ends >= bound.ends


# -- the same with broken code -------------------------------------------------


@dataclass(frozen=True)
class Broken:
    """A line of a function that is replaced, a scenario that shows it, and the law that is broken then."""

    owner: Any
    function: str
    line: str
    instead: str
    scenario: Callable[[World], End]
    law: str
    preemptions: int = 0
    """More than the scenario has by itself."""

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        function = inspect.unwrap(vars(self.owner)[self.function])
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(self.line) == 1, f"{self.function} has no such line"
        code = compile(source.replace(self.line, self.instead), function.__code__.co_filename, "exec")
        made: dict[str, Any] = {}
        exec(code, function.__globals__, made)
        patch.setattr(self.owner, self.function, made[self.function])


END_OF_START = '    self.cancel("user")\n        raise'
BROKEN = {
    "a second verdict": Broken(
        Machine, "_end", "if self.verdict is not None:", "if False:", a_cancellation_meets_the_end, "one verdict"
    ),
    "an event behind the verdict": Broken(
        Attempt,
        "deliver",
        "machine.late += len(batch)",
        "self._hand_over(batch, size, meaning, self._clock.now())",
        an_expiry_meets_the_end,
        "nothing after the verdict",
    ),
    "a request of an attempt that is over": Broken(
        Attempt, "sending", "self._running()", "pass", a_token_is_cancelled_at_the_start, "nothing after the verdict"
    ),
    "items of a cancelled attempt": Broken(
        Attempt,
        "cancel",
        "self._channel.close()",
        "self._channel.wake()",
        a_cancellation_meets_the_end,
        "nothing after the verdict",
    ),
    "a socket that is given back and kept": Broken(
        Attempt,
        "disown",
        "self._handles.remove(handle)",
        "pass",
        a_done_call_is_closed,
        "no shutdown of a released socket",
    ),
    "the supervisor closes": Broken(
        Attempt, "_shut", "handle.shutdown()", "handle.release()", a_silent_server, "the owner closes"
    ),
    "a refused socket stays open": Broken(
        Attempt, "adopt", "handle.release()", "pass", a_token_is_cancelled_at_the_start, "the owner closes once"
    ),
    "a socket that was shut is used again": Broken(
        Attempt,
        "disown",
        "return not self._closed and (verdict is None or verdict.kind is VerdictKind.DONE)",
        "return True",
        a_cancellation_meets_the_end,
        "no reuse of a socket that was shut",
    ),
    "a kill that wakes no caller": Broken(
        Attempt, "abort", "self._conclude()", "pass", a_stuck_worker_is_killed, "no deadlock"
    ),
    "a shutdown that is left out": Broken(
        Attempt, "cancel", "self._shut()", "self._shut_down = True", an_interrupted_cancellation, "no deadlock"
    ),
    "a kill that is not carried out": Broken(
        Attempt,
        "_judge",
        "return Action.KILL",
        "return Action.NOTHING",
        an_interrupted_cancellation_is_completed,
        "no deadlock",
    ),
    "room of which no worker is told": Broken(
        Channel, "take", "self.room.wake()", "pass", a_small_channel, "no deadlock"
    ),
    "a waiter that is not entered": Broken(
        WaitList, "enter", "self._waiters[waiter] = None", "pass", an_expiry_meets_the_end, "no deadlock"
    ),
    "an attempt that is armed after the look": Broken(
        Supervisor,
        "arm",
        "self._unarmed.append(attempt)\n    if attempt.armed < self._wakes_at",
        "soon = attempt.armed < self._wakes_at\n    self._unarmed.append(attempt)\n    if soon",
        an_expiry_moves_forward,
        "no expiry is slept over",
        preemptions=1,
    ),
    "a sleep without a last look": Broken(
        Supervisor,
        "turn",
        " or self._unarmed else until",
        " else until",
        an_expiry_moves_forward,
        "no expiry is slept over",
        preemptions=1,
    ),
    "a job for a thread that has left": Broken(
        Workers, "give", "return not seat.left", "return True", a_thread_is_used_again, "no deadlock"
    ),
    "a lock of the outer call": Broken(
        Attempt,
        "_settle",
        "now = self._clock.now()",
        "now = self._clock.now()\n        self.outer and self.outer.counting()",
        a_call_in_a_call,
        "no deadlock",
        preemptions=1,
    ),
    "a start that nothing serialises": Broken(
        Supervisor, "watch", "with self._start_lock:", "if True:", two_first_attempts, "one supervisor"
    ),
    "a shutdown between two verdicts": Broken(
        Supervisor, "turn", "self._doomed.append(attempt)", "attempt.abort()", two_expire_at_once, "all verdicts first"
    ),
    "a start whose interruption is swallowed": Broken(
        Attempt,
        "start",
        END_OF_START,
        '    self.cancel("user")',
        an_interrupted_call,
        "no interruption is replaced",
    ),
    "a start whose interruption is replaced": Broken(
        Attempt,
        "start",
        END_OF_START,
        f"{END_OF_START} RuntimeError from None",
        an_interrupted_call,
        "no exception is let out",
    ),
    "an interrupted start that leaves its worker": Broken(
        Attempt, "start", END_OF_START, "    raise", an_interrupted_start, "one verdict"
    ),
    "an interrupted cancellation of which nobody is told": Broken(
        Attempt,
        "cancel",
        "except BaseException:\n        self._supervisor.look_at(self)",
        "except BaseException:",
        an_interrupted_cancellation_is_completed,
        "no deadlock",
    ),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_line_breaks_its_law(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a line of the code is broken, an order is found in which its law is broken."""
    broken.apply(monkeypatch)
    bound = SCENARIOS[broken.scenario]
    with pytest.raises(Violation) as found:
        explore(broken.scenario, preemptions=bound.preemptions + broken.preemptions, interruptions=bound.interruptions)
    assert found.value.law == broken.law


def main(preemptions: int) -> None:
    for scenario, bound in SCENARIOS.items():
        began = time.perf_counter()
        found: Explored = explore(
            scenario, preemptions=preemptions, interruptions=bound.interruptions, most=sys.maxsize
        )
        seconds = time.perf_counter() - began
        print(f"{scenario.__name__:45} {found.runs:7} runs {found.ends:6} ends {seconds:6.1f} s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
