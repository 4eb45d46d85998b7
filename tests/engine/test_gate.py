"""``llmwatch.engine.hosts``: the barriers that hold an attempt back.

The order of attempts and their waking are tested too.
"""

from __future__ import annotations

import random
import threading
from typing import Any

from llmwatch import CircuitOpen
from llmwatch.engine.hosts import Barrier, Delay, Gate, Hosts, Turn
from llmwatch.engine.planner import History, Planner
from llmwatch.engine.request import CallRequest
from llmwatch.engine.settings import CallOptions, Settings
from llmwatch.policy import EffectiveRetry
from llmwatch.recovery import EntryPoint, Outcome
from tests.engine.simulation import Time
from tests.watch.scripted import Caller, held


class Street:
    """A gate, and turns that note when they are woken."""

    def __init__(self, share: float = 0.5, **retry: Any) -> None:
        self.gate = Gate(EffectiveRetry(**retry), lambda: share)
        self.woken: list[str] = []
        self.stirred: list[str] = []  # to ask again, and not to go out

    def turn(self, name: str = "", **more: Any) -> Turn:
        turn = Turn(self.gate, **more)
        turn.wake = lambda: (self.woken if turn.permit else self.stirred).append(name)
        return turn

    def out(self, now: float = 100.0, **more: Any) -> Turn:
        """One that goes out at once."""
        turn = self.turn(**more)
        assert self.gate.ask(turn, now) is None
        return turn

    def break_down(self, now: float = 100.0) -> None:
        """Open the circuit."""
        for turn in [self.out(now) for _ in range(5)]:
            self.gate.settle(turn, Outcome.LOST, now)


def test_no_attempt_waits_while_the_circuit_is_closed() -> None:
    """Any number of attempts goes out at once, and none is woken, since none slept."""
    street = Street()
    for _ in range(100):
        street.out()
    assert street.woken == []


def test_the_call_with_most_attempts_left_probes_next() -> None:
    """A call whose probe failed has one attempt fewer and comes after all others.

    Among equals the first to come goes first.
    """
    street = Street()
    street.break_down()
    turns = {name: street.turn(name, attempts_left=left) for name, left in (("b", 2), ("a", 3), ("c", 3), ("d", 1))}
    for turn in turns.values():
        assert street.gate.ask(turn, 100.5) == Delay(Barrier.BREAKER, 101.0)
    now, order = 101.0, []
    while turns:
        # The right attempt is let out, whichever thread looks first.
        street.gate.ask(next(iter(turns.values())), now)
        (name,) = (name for name, turn in turns.items() if turn.permit is not None)
        order.append(name)
        street.gate.settle(turns.pop(name), Outcome.LOST, now)
        now += 30.0
    assert order == ["a", "c", "b", "d"]


def test_waiting_attempts_go_out_in_growing_numbers_after_an_answer() -> None:
    """One, two, four: each is woken when it may go, and none before."""
    street = Street()
    street.break_down()
    line = [street.turn(str(number)) for number in range(10)]
    for turn in line:
        street.gate.ask(turn, 100.5)
    probe = street.turn("probe", attempts_left=9)
    assert street.gate.ask(probe, 101.0) is None
    rounds, out = [], [probe]
    while out:
        for turn in out:
            street.gate.answered(turn, 101.5)
        out = [turn for turn in line if turn.permit is not None]
        rounds.append(len(out))
    assert rounds == [1, 2, 4, 3, 0]
    assert street.woken == [str(number) for number in range(10)]
    street.out(102.0)


def test_a_withdrawn_turn_frees_its_place() -> None:
    """The next attempt goes out, whether the withdrawn one was in line or had leave to go."""
    street = Street()
    street.break_down()
    first, second, third = street.turn("first"), street.turn("second"), street.turn("third")
    for turn in (first, second, third):
        street.gate.ask(turn, 100.5)
    street.gate.withdraw(first, 100.6)
    assert street.gate.ask(third, 101.0) is not None
    assert second.permit is not None
    street.gate.withdraw(second, 101.1)
    assert third.permit is not None
    assert street.woken == ["second", "third"]
    street.gate.withdraw(third, 101.2)
    street.gate.withdraw(third, 101.2)
    assert street.gate.ask(street.turn(), 101.2) is None


def test_a_resend_waits_for_its_token_and_first_attempts_pass_it() -> None:
    """Resends wait in the order in which they came; a success wakes the first of them early."""
    street = Street(budget=1)
    street.out(costs=True)
    first, second = street.turn("first", costs=True), street.turn("second", costs=True)
    assert street.gate.ask(first, 100.0) == Delay(Barrier.BUDGET, 101.0)
    assert street.gate.ask(second, 100.0) == Delay(Barrier.BUDGET, 102.0)
    street.out(100.1)
    assert street.gate.ask(second, 101.0) == Delay(Barrier.BUDGET, 102.0)
    assert (first.permit is not None, street.woken) == (True, ["first"])
    for _ in range(9):
        street.gate.succeeded(101.05)
    street.gate.succeeded(101.1)
    assert second.permit is not None
    assert street.woken == ["first", "second"]


def test_a_beginning_call_adds_tokens_and_an_ending_call_removes_them() -> None:
    """The tokens wake a waiting resend, and the end of the call takes what is left of them, once."""
    street = Street(budget=1)
    street.out(costs=True)
    waiting = street.turn("waiting", costs=True)
    assert street.gate.ask(waiting, 100.0) is not None
    street.gate.enter("a call", 100.0)
    assert street.woken == ["waiting"]
    street.gate.leave("a call")
    street.gate.leave("a call")
    assert street.gate.ask(street.turn(costs=True), 100.0) == Delay(Barrier.BUDGET, 101.0)


def test_a_named_wait_holds_other_calls_of_the_account() -> None:
    """Other calls of the account wait until the end of the named wait and a drawn share of a second.

    Other accounts, and calls without an account, pass.
    """
    street = Street(share=0.25)
    told = street.out(99.0, account="mine")
    street.gate.hold(told, 7.0, 100.0)
    held = street.turn("held", account="mine")
    assert street.gate.ask(held, 100.0) == Delay(Barrier.PACE, 107.25, 0.25)
    street.out(100.0, account="another")
    street.out(100.0)
    assert street.gate.ask(held, 107.2) == Delay(Barrier.PACE, 107.25, 0.25)
    assert street.gate.ask(held, 107.25) is None
    street.out(107.0, account="mine")


def test_a_call_with_its_own_named_wait_waits_no_longer() -> None:
    """The call waits neither for its wait twice nor for waits that were named to earlier attempts.

    A later named wait counts for it too.
    """
    street = Street(share=0.0)
    first, second = street.out(99.0, account="mine"), street.out(99.5, account="mine")
    street.gate.hold(first, 1.0, 100.0)
    street.gate.hold(second, 9.0, 100.5)
    again = street.turn(account="mine", told_at=100.0)
    assert street.gate.ask(again, 101.0) is None
    street.gate.hold(again, 20.0, 101.5)
    later = street.turn(account="mine", told_at=100.5)
    assert street.gate.ask(later, 109.5) == Delay(Barrier.PACE, 121.5)


def test_a_success_ends_a_hold() -> None:
    """A success of an attempt that went out after the named wait ends the hold.

    Held attempts go out within a second of it.
    """
    street = Street()
    told = street.out(99.0, account="mine")
    early = street.out(99.5, account="mine")
    street.gate.hold(told, 7.0, 100.0)
    held = street.turn("held", account="mine")
    street.gate.ask(held, 100.5)
    street.gate.answered(early, 101.0)
    assert street.woken == []
    exempt = street.turn(account="mine", told_at=100.0)
    assert street.gate.ask(exempt, 101.0) is None
    street.gate.answered(exempt, 102.0)
    # Those that were held do not come all at once.
    assert street.gate.ask(held, 102.4) == Delay(Barrier.PACE, 102.5, 0.5)
    assert street.gate.ask(held, 102.5) is None
    street.out(102.0, account="mine")


def taught() -> Street:
    """A street whose provider accepts four calls a second.

    The provider has accepted eight in the two seconds until another may come.
    """
    street = Street(share=0.0)
    street.gate.hold(street.out(99.0, account="mine"), 1.0, 100.0)
    refuse_ninth(street, 101.0, 101.0)
    return street


def refuse_ninth(street: Street, now: float, later: float) -> None:
    """Nine attempts go out at once, at any rate, and the last of them is refused at ``later``."""
    turns = [street.turn(account="mine") for _ in range(9)]
    for turn in turns:
        turn.waits_no_longer()
        assert street.gate.ask(turn, now) is None
    street.gate.hold(turns[-1], 1.0, later)
    for turn in turns:
        street.gate.withdraw(turn, later)


def order_of(street: Street, now: float, *lefts: int) -> list[int]:
    """The order in which attempts go out whose calls have so many attempts left.

    Each is answered at once, from ``now`` on.
    """
    line = {left: street.turn(account="mine", told_at=now - 1.0, attempts_left=left) for left in lefts}
    for turn in line.values():
        street.gate.ask(turn, now - 0.9)
    order = list[int]()
    while len(order) < len(line):
        street.gate.ask(next(turn for left, turn in line.items() if left not in order), now)
        for left in [left for left, turn in line.items() if turn.permit is not None and left not in order]:
            order.append(left)
            street.gate.answered(line[left], now)
        now += 0.1
    return order


def test_attempts_refused_after_a_hold_go_out_at_the_accepted_rate() -> None:
    """The attempts go out one after the other; each notice has the rate, and the time of its own turn."""
    street = taught()
    line = [street.turn(str(number), account="mine") for number in range(3)]
    assert street.gate.ask(line[0], 102.0) is None
    rated = {"at_latest": True, "optional": True, "rate": 4.0}
    assert street.gate.ask(line[1], 102.0) == Delay(Barrier.PACE, 102.25, **rated)
    assert street.gate.ask(line[2], 102.0) == Delay(Barrier.PACE, 102.5, **rated)
    street.out(102.0, account="another")
    street.out(102.0)
    assert street.gate.ask(line[2], 102.25) is not None
    assert street.woken[-1] == "1"
    assert street.gate.ask(line[2], 102.5) is None


def test_a_rate_never_ends_a_call() -> None:
    """A call that may not wait goes out in spite of the rate.

    A call that an attempt in flight waits for goes out too.
    """
    street = taught()
    first = street.out(102.0, account="mine")
    first.attempt = "its attempt"
    turn = street.turn(account="mine")
    delay = street.gate.ask(turn, 102.0)
    assert delay is not None
    assert delay.optional
    turn.waits_no_longer()
    assert street.gate.ask(turn, 102.0) is None
    assert street.gate.ask(street.turn(account="mine", outer=["its attempt"]), 102.0) is None


def test_last_attempts_of_calls_do_not_probe_after_a_refusal() -> None:
    """After a refusal the call with most attempts left goes first.

    Calls on their last attempt go after its answer: before all others if the accepted rate is known, else behind all
    others.
    """
    assert order_of(taught(), 102.0, 2, 1, 3) == [3, 2, 1]
    street = taught()
    refuse_ninth(street, 102.0, 104.0)
    assert order_of(street, 105.0, 2, 1, 4, 3) == [4, 1, 2, 3]


def test_few_calls_go_out_after_refusals_in_a_row() -> None:
    """Four of sixteen calls that were all refused go out at once.

    Others go out only after a second without an answer.
    """
    street = Street()
    for _ in range(16):
        street.gate.enter(object(), 99.0)
    street.gate.hold(street.out(99.0, account="mine"), 1.0, 100.0)
    refused = street.out(101.0, account="mine")
    street.gate.hold(refused, 1.0, 101.1)
    street.gate.withdraw(refused, 101.1)
    line = [street.turn(str(number), account="mine") for number in range(9)]
    for turn in line:
        assert street.gate.ask(turn, 101.2) == Delay(Barrier.PACE, 102.1)
    street.gate.ask(line[0], 102.1)
    assert [turn.permit is not None for turn in line] == [True] * 4 + [False] * 5
    assert street.gate.ask(line[4], 102.2) == Delay(Barrier.PACE, 103.1, at_latest=True, optional=True)
    street.gate.answered(line[0], 102.3)
    assert [turn.permit is not None for turn in line] == [False] + [True] * 8


LAST: dict[str, Any] = {"account": "mine", "told_at": 100.0, "attempts_left": 1, "cautious": True}


def refused(street: Street) -> None:
    """The provider has told a call at 100.0 to wait for a second, and there are two more."""
    street.gate.hold(street.out(99.0, account="mine"), 1.0, 100.0)
    street.gate.enter(object(), 101.0)
    street.gate.enter(object(), 101.0)


def test_the_last_attempt_of_a_refused_call_waits_for_another_answer() -> None:
    """After a refusal the last attempt waits until another call is answered, for a second at most."""
    street = Street()
    refused(street)
    street.gate.withdraw(next(iter(street.gate._out)), 100.5)
    waiting = street.turn("waiting", **LAST)
    assert street.gate.ask(waiting, 101.0) == Delay(Barrier.PACE, 102.0, optional=True)
    fresh = street.out(101.5, account="mine")
    street.gate.answered(fresh, 101.6)
    assert street.woken == ["waiting"]
    street.gate.settle(waiting, Outcome.ABANDONED, 101.6)
    in_vain = street.turn(**LAST)
    assert street.gate.ask(in_vain, 101.6) is not None
    assert street.gate.ask(in_vain, 102.6) is None


def test_last_attempts_go_out_one_by_one() -> None:
    """Last attempts go out behind calls with more attempts left, which may be refused in their place.

    Then each waits for the one before.
    """
    street = Street()
    refused(street)
    street.gate.withdraw(next(iter(street.gate._out)), 100.5)
    street.gate.hold(street.turn(account="mine"), 4.0, 100.9)
    held = street.turn("held", account="mine", attempts_left=3)
    street.gate.ask(held, 101.0)
    first, second = street.turn("first", **LAST), street.turn("second", **LAST)
    for turn in (first, second):
        street.gate.ask(turn, 101.0)
    for turn in (first, second):
        assert street.gate.ask(turn, 103.0) == Delay(Barrier.PACE, 104.0, optional=True)
    assert street.gate.ask(held, 105.5) is None
    assert street.gate.ask(first, 106.0) is not None
    street.gate.settle(held, Outcome.ABANDONED, 107.0)
    assert (first.permit is not None, second.permit is not None) == (True, False)
    street.gate.answered(first, 107.5)
    assert street.woken == ["first", "second"]


def test_the_last_attempt_waits_for_an_answer_while_others_are_lost() -> None:
    """The last attempt waits for a second, or until another call is answered.

    A call that is alone does not wait.
    """
    street = Street()
    street.gate.settle(street.out(100.0), Outcome.LOST, 101.0)
    assert street.gate.ask(street.turn(attempts_left=1, cautious=True), 101.0) is None
    street.gate.enter(object(), 101.0)
    street.gate.enter(object(), 101.0)
    last = street.turn("last", attempts_left=1, cautious=True)
    assert street.gate.ask(last, 101.0) == Delay(Barrier.BREAKER, 102.0, optional=True)
    street.gate.answered(street.out(101.1), 101.5)
    assert street.woken == ["last"]
    street.gate.settle(street.out(101.6), Outcome.LOST, 101.6)
    late = street.turn(attempts_left=1, cautious=True)
    assert street.gate.ask(late, 101.6) is not None
    assert street.gate.ask(late, 102.6) is None


def test_a_call_made_by_a_probes_hook_passes_the_breaker() -> None:
    """A call to the same origin that a probe's hook makes passes the breaker, and does not change it.

    The hook may ask for a token, for instance.
    """
    street = Street()
    street.break_down()
    probe = street.out(101.0)
    probe.attempt = "the probe's"
    assert street.gate.ask(street.turn(outer=["another's"]), 101.0) is not None
    inner = street.turn(outer=["the probe's"])
    assert street.gate.ask(inner, 101.0) is None
    street.gate.settle(inner, Outcome.LOST, 101.5)
    street.gate.settle(probe, Outcome.LOST, 102.0)
    assert street.gate.ask(street.turn(outer=["the probe's"]), 102.0) == Delay(Barrier.BREAKER, 104.0)


def test_a_call_made_by_a_notice_waits_no_longer_than_its_caller() -> None:
    """The call waits as any other until the attempt in line, which waits for it, is let out.

    Then it waits no longer.
    """
    street = Street()
    street.break_down()
    waiting = street.turn("waiting", attempts_left=3)
    street.gate.ask(waiting, 100.5)
    inner = street.turn("inner", outer=[waiting])
    assert street.gate.ask(inner, 100.6) == Delay(Barrier.BREAKER, 101.0)
    street.gate.ask(street.turn(), 101.0)
    assert street.woken == ["waiting", "inner"]


def test_a_wait_behind_a_probe_has_a_latest_time_alone() -> None:
    """While a probe is out only the latest time of the next one is known."""
    street = Street()
    street.break_down()
    street.out(101.0)
    assert street.gate.ask(street.turn(), 101.5) == Delay(Barrier.BREAKER, 131.0, at_latest=True)


def test_a_sleeping_attempt_is_woken_when_its_time_moves_forward() -> None:
    """An attempt that came while a probe was out sleeps long.

    Once the probe is lost the next goes sooner, and one sleeper looks again.
    """
    street = Street()
    street.break_down()
    probe = street.out(101.0)
    first, second = street.turn("first"), street.turn("second")
    assert street.gate.ask(first, 101.5) == Delay(Barrier.BREAKER, 131.0, at_latest=True)
    street.gate.ask(second, 101.5)
    street.gate.settle(probe, Outcome.LOST, 102.0)
    assert (street.stirred, street.woken) == (["first"], [])
    assert first.stirred
    delay = street.gate.ask(first, 102.0)
    assert delay is not None
    assert (delay.until, delay.look_at, first.stirred) == (104.0, 104.0, False)
    # The same where tokens are what they wait for then.
    street.gate.withdraw(first, 103.0)
    assert street.stirred == ["first", "second"]


def test_requests_that_are_no_model_calls_pass_the_breaker() -> None:
    """Their losses and answers say nothing of the model either."""
    street = Street()
    street.break_down()
    other = street.out(100.5, heeds_breaker=False)
    street.gate.answered(other, 100.6)
    assert street.gate.ask(street.turn(), 100.6) == Delay(Barrier.BREAKER, 101.0)


def test_looking_ahead_takes_no_place_and_no_token() -> None:
    """A hold that will be over by then is still in force afterwards."""
    street = Street(budget=1)
    turn = street.turn(costs=True)
    assert [street.gate.outlook(turn, 100.0) for _ in range(3)] == [None] * 3
    street.out(costs=True)
    assert street.gate.outlook(turn, 100.0) == Delay(Barrier.BUDGET, 101.0)
    street.break_down()
    assert street.gate.outlook(turn, 100.0) == Delay(Barrier.BREAKER, 101.0)
    assert street.gate.outlook(turn, 101.0) is None
    street.gate.hold(street.turn(account="mine"), 7.0, 100.0)
    assert street.gate.outlook(street.turn(account="mine"), 107.0) is None
    assert street.gate.outlook(street.turn(account="mine"), 100.0) == Delay(Barrier.PACE, 107.5, 0.5)


def test_many_threads_are_each_let_out_once() -> None:
    """In any interleaving every turn goes out once and each thread is woken.

    The gate is empty afterwards.
    """
    street = Street(budget=5)
    done = threading.Semaphore(0)
    chance = random.Random(1)

    def one(seed: float) -> None:
        mine = random.Random(seed)
        woken = threading.Semaphore(0)
        for step in range(50):
            turn = Turn(street.gate, attempts_left=mine.randrange(3), costs=mine.random() < 0.3, wake=woken.release)
            now = 1000.0 * step
            street.gate.enter(turn, now)
            if street.gate.ask(turn, now) is not None:
                street.gate.ask(turn, now + 500.0)
            if turn.permit is not None and mine.random() < 0.9:
                street.gate.settle(turn, mine.choice(list(Outcome)), now)
            street.gate.withdraw(turn, now)
            street.gate.leave(turn)
        done.release()

    threads = [threading.Thread(target=one, args=(chance.random(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(done.acquire(blocking=False) for _ in threads)
    assert (street.gate._line, street.gate._out) == ([], set())


def test_a_worker_never_waits_for_the_lock_of_the_gate() -> None:
    """A worker that finds the gate's lock taken leaves its answer to be counted later.

    The lock's owner may be in a signal handler that waits for this worker.
    """
    street = Street()
    street.break_down()
    probe = street.out(101.0)
    turn = street.turn("next")
    assert street.gate.ask(turn, 101.5) is not None
    with held(street.gate._lock):
        Caller(lambda: street.gate.answered(probe, 102.0)).result()
        assert street.woken == []
    street.gate.leave(object())
    street.gate.enter(object(), 102.5)
    assert street.woken == ["next"]


def test_a_loss_counts_after_an_earlier_answer_that_was_left() -> None:
    """Reports count in their order, also where the first could only be left for later."""
    street = Street(breaker=1)
    turn = street.out()
    with held(street.gate._lock):
        Caller(lambda: street.gate.answered(turn, 101.0)).result()
    street.gate.settle(turn, Outcome.LOST, 102.0)
    assert street.gate.ask(street.turn(), 102.0) is None


def test_a_signal_handlers_call_may_let_out_the_turn_that_goes_next() -> None:
    """The call comes while the thread looks through the line."""
    street = Street()
    inside: list[Turn] = []

    def chance() -> float:
        if inside:
            inside.pop()
            street.gate.enter(object(), 107.0)
        return 0.5

    street.gate._random = chance
    refused = street.out(99.0, account="b")
    street.gate.hold(street.out(99.0, account="a"), 5.0, 100.0)
    street.gate.hold(refused, 10.0, 100.0)
    first, second = street.turn("first", account="a"), street.turn("second", account="b")
    assert street.gate.ask(first, 100.0) == Delay(Barrier.PACE, 105.5, 0.5)
    assert street.gate.ask(second, 100.0) == Delay(Barrier.PACE, 110.5, 0.5)
    street.gate.hold(refused, 20.0, 101.0)
    inside.append(first)
    street.gate.enter(object(), 107.0)
    assert (first.permit is not None, second.permit) == (True, None)
    assert street.woken == ["first"]


def _planner(gate: Gate) -> Planner:
    retry = EffectiveRetry()
    options = CallOptions(
        request=CallRequest.build("POST", "http://h/v1/chat", {"json": {"model": "m"}}), entry_point=EntryPoint.COLLECT
    )
    settings: Any = {"clock": Time(), "random": lambda: 0.5, "hosts": Hosts()}
    return Planner(settings=Settings(**settings), options=options, retry=retry, history=History(), gate=gate)


class InOneStep:
    """A lock that is taken by ``with`` alone, which no signal handler of the thread can come in between."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def test_an_exception_of_a_signal_handler_never_keeps_the_lock() -> None:
    """What a signal handler raises never leaves the origin locked.

    A successful call takes the lock in one step.
    """
    street = Street()
    turn = street.out()
    planner = _planner(street.gate)
    planner.turn = turn
    street.gate._lock = InOneStep()  # type: ignore[assignment]
    planner.attempt_over(None, cancelled=False)
    assert turn.permit is None
    assert not street.gate._answers


def test_a_call_held_to_its_deadline_sends_nothing() -> None:
    """A rate that holds a call back to the end of its deadline ends it there.

    A call that has time left goes out.
    """
    planner = _planner(Street().gate)
    planner.ends_at = 100.0
    delay = Delay(Barrier.PACE, 180.0, at_latest=True, optional=True, rate=0.1)
    assert planner.bears_until(delay, 90.0, 90.0) == 100.0
    assert planner.goes_anyway(delay, 99.0)
    assert planner.bears_until(delay, 90.0, 100.0) is None
    assert not planner.goes_anyway(delay, 100.0)
    error = planner.refuse(delay, None, planner.options.request, 100.0, 90.0)
    assert isinstance(error, CircuitOpen)
    assert "deadline" in str(error)
