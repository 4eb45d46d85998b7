"""The laws of the state machine, over generated lives of attempts."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmwatch.watch.machine import GRACE, Action, Machine, Verdict, VerdictKind
from llmwatch.watch.states import ATTEMPT_LIMITS, EVENT_DRIVEN, READ_DRIVEN, Phase, Seen
from tests.watch.generated import deadlines, law, limits, observations, steps
from tests.watch.modelled import Story
from tests.watch.walking import PATHS, expiry

ORDER = list(Phase)
RANK = {limit: rank for rank, limit in enumerate((*ATTEMPT_LIMITS, "deadline"))}

OLD = 2.0
"""Seconds before which no generated life ends by itself: most would, before anything can expire."""


class Life(RuleBasedStateMachine):
    """Anything that threads can do to a machine, in any order, next to the naive account of it."""

    @initialize(limits=limits, deadline_at=deadlines, phase=st.sampled_from(Phase))
    def begin(self, limits: dict[str, float | None], deadline_at: float | None, phase: Phase) -> None:
        self.machine = Machine(limits, deadline_at=deadline_at)
        self.story = Story(limits, deadline_at)
        self.now = 0.0
        self.held_at: float | None = None
        self.held_total = 0.0
        self.verdict: Verdict | None = None
        self.phase = Phase.IDLE
        self.dropped = 0
        for what in PATHS[phase]:
            self.observe(0.0, what)

    @property
    def active(self) -> float:
        return (self.now if self.held_at is None else self.held_at) - self.held_total

    def expiries(self) -> dict[str, float]:
        over = self.machine.verdict is not None
        return self.story.expiries(self.held_total, held=self.held_at is not None, over=over)

    def overdue(self) -> list[str]:
        """The limits that have expired, the earliest first, ties by rank."""
        expired = [(at, RANK[limit], limit) for limit, at in self.expiries().items() if at < self.now]
        return [limit for _, _, limit in sorted(expired)]

    def inexcusable(self) -> list[str]:
        """The first of them that ends the attempt even if something was just read.

        What is read now shows that bytes were waiting. That excuses a content limit only if nothing was read for a
        second, and it then has its grace for what is made of those bytes. What an error's body costs is for the
        supervisor alone to cut short: how the attempt ends is known already.
        """
        if self.story.refused:
            return []
        for limit in self.overdue():
            if limit in READ_DRIVEN and limit not in self.story.graces:
                if limit not in EVENT_DRIVEN:
                    continue
                if self.read_nothing():
                    self.story.excuse(limit, self.active)
                    continue
            return [limit]
        return []

    def read_nothing(self) -> bool:
        """In the last second."""
        at = self.machine.last_byte_at
        return at is None or self.now - at >= GRACE

    @rule(passed=steps)
    def hold(self, passed: float) -> None:
        self.now += passed
        self.machine.hold(self.now)
        if self.held_at is None:
            self.held_at = self.now

    @rule(passed=steps)
    def resume(self, passed: float) -> None:
        self.now += passed
        self.machine.resume(self.now)
        if self.held_at is not None:
            self.held_total += self.now - self.held_at
            self.held_at = None

    @rule(passed=steps, what=observations)
    def observe(self, passed: float, what: Seen) -> None:
        self.now += passed
        before, fatal = self.machine.verdict, self.inexcusable()
        accepted = self.machine.seen(what, self.now)
        verdict = self.machine.verdict
        if before is not None:
            assert not accepted
            self.dropped += not (before.kind is VerdictKind.DONE and what is Seen.BYTE)
        elif fatal:
            # Whatever runs out after a finish makes a success; what comes after it is as late as after a kill.
            assert not accepted
            assert verdict is not None
            assert verdict.limit == fatal[0]
            assert verdict.kind is (VerdictKind.DONE if self.story.settled else VerdictKind.KILLED)
            self.dropped += 1
        else:
            assert accepted
            self.story.see(what, self.active)
            ended = what is Seen.TERMINAL and not self.story.refused
            assert (verdict is not None and verdict.kind is VerdictKind.DONE) == ended

    @precondition(lambda self: self.now >= OLD)
    @rule()
    def observe_the_end(self) -> None:
        self.observe(0.0, Seen.TERMINAL)

    @rule()
    def the_next_expiry_passes(self) -> None:
        due = self.machine.next_expiry()
        if due is not None:
            self.now = max(self.now, due.at + 0.5)

    @rule(waiting=st.booleans())
    def expire(self, waiting: bool) -> None:
        before, overdue, at = self.machine.verdict, self.overdue(), self.expiries()
        action = self.machine.expire(self.now, waiting=waiting)
        if not overdue:
            assert action is Action.NOTHING
            assert self.machine.verdict is before
            return
        limit = overdue[0]
        waiting = waiting and (limit not in EVENT_DRIVEN or self.read_nothing())
        if limit in READ_DRIVEN and limit not in self.story.graces and (waiting or self.now - at[limit] > GRACE):
            assert action is Action.NOTHING
            assert self.machine.verdict is before
            self.story.excuse(limit, self.active)
        elif self.story.refused or self.story.settled or self.story.ended:
            assert action is Action.HANG_UP
            assert (self.machine.verdict is None) == self.story.refused
            assert self.machine.verdict is None or self.machine.verdict.kind is VerdictKind.DONE
            self.story.dropped = True
        else:
            verdict = self.machine.verdict
            assert action is Action.KILL
            assert before is None
            assert verdict is not None
            assert (verdict.kind, verdict.limit, verdict.at) == (VerdictKind.KILLED, limit, self.now)
            assert verdict.lag == self.now - at[limit] > 0

    @precondition(lambda self: self.now >= OLD)
    @rule(how=st.sampled_from(["finish", "fail", "cancel"]))
    def end(self, how: str) -> None:
        before, fatal = self.machine.verdict, self.inexcusable()
        error = OSError("cut")
        ends: dict[str, Callable[[], bool]] = {
            "finish": lambda: self.machine.finish(self.now),
            "fail": lambda: self.machine.fail(error, self.now),
            "cancel": lambda: self.machine.cancel("user", self.now),
        }
        accepted = ends[how]()
        assert accepted == (before is None and (how == "cancel" or not fatal))
        verdict = self.machine.verdict
        assert verdict is not None
        if accepted:
            kind = {"finish": VerdictKind.DONE, "fail": VerdictKind.FAILED, "cancel": VerdictKind.CANCELLED}[how]
            assert (verdict.kind, verdict.at) == (kind, self.now)

    @invariant()
    def one_verdict(self) -> None:
        """The first verdict stands."""
        if self.verdict is not None:
            assert self.machine.verdict is self.verdict
        self.verdict = self.machine.verdict

    @invariant()
    def one_way(self) -> None:
        """The phase never goes back, but from FINISHING to GENERATING."""
        phase = self.machine.phase
        if (self.phase, phase) != (Phase.FINISHING, Phase.CONTENT):
            assert ORDER.index(phase) >= ORDER.index(self.phase)
        self.phase = phase

    @invariant()
    def late_is_counted(self) -> None:
        """Exactly the dropped events were counted."""
        assert self.machine.late == self.dropped

    @invariant()
    @precondition(lambda self: self.machine.verdict is None)
    def the_next_expiry_follows_from_the_story(self) -> None:
        """The next limit to expire, and its instant, are a function of the observations."""
        found = self.expiries()
        expected = min(((at, RANK[limit], limit) for limit, at in found.items()), default=None)
        assert expiry(self.machine) == (None if expected is None else (expected[2], expected[0]))

    @invariant()
    def no_expiry_is_sooner_than_soonest(self) -> None:
        """A thread that sleeps until ``soonest`` does not come too late."""
        due = self.machine.next_expiry()
        assert due is None or self.machine.soonest <= due.at

    @invariant()
    @precondition(lambda self: self.machine.verdict is not None)
    def after_the_verdict_only_a_drain_runs(self) -> None:
        """A verdict stops every limit but the drain of an answer that is complete."""
        due, verdict = self.machine.next_expiry(), self.machine.verdict
        if due is not None:
            assert due.limit == "drain"
            assert verdict is not None
            assert verdict.kind is VerdictKind.DONE


Life.TestCase.settings = settings(law, stateful_step_count=40)
TestLife = Life.TestCase
