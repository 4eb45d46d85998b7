"""The rules, one by one. That no combination is without an answer stands in test_table.py."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from llmwatch.errors import Cancelled, CircuitOpen, RefreshFailed
from llmwatch.payload import ToolExposure
from llmwatch.records import Decision
from llmwatch.recovery import (
    Context,
    EntryPoint,
    Facts,
    Failure,
    FailureKind,
    Plan,
    Reason,
    Sent,
    decide,
    failure_of,
    is_safe,
)
from tests.recovery.making import ALIVE, CLEAN, SENT, TEXT, UNSENT, context, facts
from tests.rows import each

MCP = ToolExposure(provider_other=1)
UNKNOWN_TOOL = ToolExposure(unknown=1)
HARMLESS = ToolExposure(caller=3, provider_read_only=2)
UNREADABLE = ToolExposure(complete=False)

CALL = replace(TEXT, tool_input=True, tool_call=True)
FRAGMENT = replace(TEXT, text=False, tool_input=True)
THOUGHT = replace(TEXT, text=False, reasoning=True)


def killed(limit: str) -> Failure:
    """A kill by a limit."""
    return Failure(kind=FailureKind.WATCHDOG, limit=limit)


def of(kind: FailureKind, **fields: object) -> Failure:
    """A failure of a kind."""
    return Failure(kind=kind, **fields)  # type: ignore[arg-type]


CUT = of(FailureKind.CUT)


def outcome(plan: Plan) -> tuple[Decision, Reason]:
    """Decision and reason, which must agree with what the error will say."""
    assert plan.recovery.reason == plan.reason.value
    return plan.recovery.decision, plan.reason


class TestSilence:
    @pytest.mark.parametrize("limit", ["headers", "ttfb", "first_event", "first_content", "total"])
    def test_silence_after_sent_is_resent(self, limit: str) -> None:
        """A silent attempt is resent, and the first content and total limits count as silent without a byte."""
        assert outcome(decide(killed(limit), SENT, context())) == (Decision.RETRY, Reason.SILENCE)

    @pytest.mark.parametrize("limit", ["connect", "send"])
    def test_a_stall_before_sent_is_resent(self, limit: str) -> None:
        """A connection or an upload that stalls is resent."""
        assert outcome(decide(killed(limit), UNSENT, context())) == (Decision.RETRY, Reason.SILENCE)

    @pytest.mark.parametrize("limit", ["stale", "first_event"])
    def test_silence_after_keep_alives_is_resent(self, limit: str) -> None:
        """Silence after keep-alives, before any content, is resent."""
        assert outcome(decide(killed(limit), ALIVE, context())) == (Decision.RETRY, Reason.SILENCE)

    @pytest.mark.parametrize(("attempt", "decision"), [(1, Decision.RETRY), (2, Decision.RETRY), (3, Decision.STOP)])
    def test_attempts_end_at_max_attempts(self, attempt: int, decision: Decision) -> None:
        """Three attempts by default; after the last one a resend could still work and would be safe."""
        plan = decide(killed("ttfb"), SENT, context(attempt=attempt))
        assert plan.recovery.decision is decision
        assert (plan.could_work, plan.safe) == (True, True)
        assert (plan.reason is Reason.ATTEMPTS_EXHAUSTED) is (attempt == 3)

    def test_one_allowed_attempt_is_not_resent(self) -> None:
        """One attempt allowed means one attempt."""
        plan = decide(killed("ttfb"), SENT, context(max_attempts=1))
        assert outcome(plan) == (Decision.STOP, Reason.ATTEMPTS_EXHAUSTED)


class TestSlowButAlive:
    @pytest.mark.parametrize("limit", ["first_content", "total"])
    def test_slow_but_alive_is_not_resent(self, limit: str) -> None:
        """While bytes flow the provider works and bills: no resend unless opted in."""
        plan = decide(killed(limit), ALIVE, context())
        assert outcome(plan) == (Decision.STOP, Reason.SLOW_BUT_ALIVE)
        assert (plan.could_work, plan.safe) == (True, False)
        plan = decide(killed(limit), ALIVE, context(slow_but_alive=True))
        assert outcome(plan) == (Decision.RETRY, Reason.SLOW_BUT_ALIVE_ALLOWED)

    def test_a_pausing_answer_of_collect_is_not_resent(self) -> None:
        """collect() delivers nothing, but an answer that only pauses is still being worked on."""
        assert outcome(decide(killed("progress"), TEXT, context(EntryPoint.COLLECT))) == (
            Decision.STOP,
            Reason.SLOW_BUT_ALIVE,
        )
        assert outcome(decide(killed("progress"), TEXT, context(EntryPoint.COLLECT, slow_but_alive=True))) == (
            Decision.RETRY,
            Reason.PARTIAL_DISCARDED,
        )

    @pytest.mark.parametrize("limit", ["headers", "ttfb", "stale", "total"])
    def test_a_silent_plain_call_is_not_resent_after_sent(self, limit: str) -> None:
        """A plain call is silent until it is finished, so silence says nothing."""
        plain = context(EntryPoint.REQUEST, plain=True)
        assert outcome(decide(killed(limit), SENT, plain)) == (Decision.STOP, Reason.SLOW_BUT_ALIVE)
        assert decide(killed(limit), SENT, replace(plain, slow_but_alive=True)).recovery.decision is Decision.RETRY

    @pytest.mark.parametrize(("limit", "base"), [("connect", UNSENT), ("send", facts(sent=Sent.PARTLY))])
    def test_a_plain_call_is_resent_before_sent(self, limit: str, base: Facts) -> None:
        """Before the whole request is out the provider has not begun."""
        assert decide(killed(limit), base, context(EntryPoint.REQUEST, plain=True)).recovery.decision is Decision.RETRY


class TestDelivered:
    @each("entry_point", [EntryPoint.STREAM, EntryPoint.SESSION])
    @each("failure", [killed("stale"), killed("progress"), killed("deadline"), CUT], ids=str)
    @each(
        ("base", "decision", "reason"),
        [
            (TEXT, Decision.CONTINUE, Reason.OUTPUT_DELIVERED),
            (THOUGHT, Decision.CONTINUE, Reason.OUTPUT_DELIVERED),
            (FRAGMENT, Decision.CONTINUE, Reason.TOOL_INPUT_DELIVERED),
            (CALL, Decision.CONFIRM, Reason.TOOL_CALL_DELIVERED),
        ],
    )
    def test_delivered_output_forbids_a_resend(
        self, entry_point: EntryPoint, failure: Failure, base: Facts, decision: Decision, reason: Reason
    ) -> None:
        """The user continues, or a person decides about a tool call."""
        for delivered in (True, False):
            everything = context(entry_point, slow_but_alive=True, resend_with_tools=True)
            assert outcome(decide(failure, facts(base, delivered=delivered), everything)) == (decision, reason)

    @pytest.mark.parametrize("tools", [MCP, UNKNOWN_TOOL, UNREADABLE])
    def test_delivered_text_with_provider_tools_needs_a_person(self, tools: ToolExposure) -> None:
        """If the provider may have used a tool as well, a person decides whether to continue."""
        plan = decide(CUT, facts(TEXT, tools=tools), context())
        assert plan.recovery.decision is Decision.CONFIRM

    def test_a_delivered_unknown_event_needs_a_person(self) -> None:
        """An item that was handed over and is of no known content fails closed."""
        assert outcome(decide(CUT, facts(ALIVE, delivered=True), context())) == (
            Decision.CONFIRM,
            Reason.FACTS_UNKNOWN,
        )

    def test_lifecycle_events_alone_allow_a_resend(self) -> None:
        """Before content nothing is delivered, so a stream that only began is resent."""
        assert outcome(decide(CUT, ALIVE, context())) == (Decision.RETRY, Reason.STREAM_CUT)


class TestCollect:
    @each("base", [TEXT, THOUGHT, FRAGMENT, CALL])
    @each("failure", [killed("stale"), CUT, of(FailureKind.TRUNCATED), of(FailureKind.MALFORMED)])
    def test_collect_resends_once_after_partial_output(self, base: Facts, failure: Failure) -> None:
        """No output was delivered: the part is discarded, once per call."""
        assert outcome(decide(failure, base, context(EntryPoint.COLLECT))) == (Decision.RETRY, Reason.PARTIAL_DISCARDED)
        assert outcome(decide(failure, base, context(EntryPoint.COLLECT, attempt=2, partial_resends_used=1))) == (
            Decision.STOP,
            Reason.PARTIAL_RESEND_USED,
        )

    def test_an_attempt_without_output_does_not_use_up_the_partial_resend(self) -> None:
        """The one partial resend does not use up the others either."""
        used = context(EntryPoint.COLLECT, attempt=2, partial_resends_used=1)
        assert outcome(decide(killed("ttfb"), SENT, used)) == (Decision.RETRY, Reason.SILENCE)

    @pytest.mark.parametrize("tools", [MCP, UNKNOWN_TOOL, UNREADABLE])
    def test_provider_tools_forbid_a_partial_resend(self, tools: ToolExposure) -> None:
        """A tool that the provider runs has run, delivered or not."""
        plan = decide(CUT, facts(CALL, tools=tools), context(EntryPoint.COLLECT))
        assert plan.recovery.decision is Decision.CONFIRM

    def test_an_answer_that_ended_with_half_a_tool_call_is_resent_once(self) -> None:
        """An end in good order is no answer where a call in it is not whole: one resend, and not a second."""
        ended = facts(FRAGMENT, terminal=True)
        broken = of(FailureKind.MALFORMED)
        assert outcome(decide(broken, ended, context(EntryPoint.COLLECT))) == (Decision.RETRY, Reason.PARTIAL_DISCARDED)
        used = context(EntryPoint.COLLECT, attempt=2, partial_resends_used=1)
        assert outcome(decide(broken, ended, used)) == (Decision.STOP, Reason.PARTIAL_RESEND_USED)
        assert outcome(decide(CUT, ended, context(EntryPoint.COLLECT))) == (Decision.STOP, Reason.ANSWER_COMPLETE)


class TestWhatTheAnswerShows:
    @each("base", [ALIVE, TEXT, THOUGHT, FRAGMENT, CALL])
    @each("entry_point", [EntryPoint.STREAM, EntryPoint.SESSION, EntryPoint.COLLECT, EntryPoint.REQUEST])
    def test_a_provider_tool_in_the_answer_needs_a_person(self, entry_point: EntryPoint, base: Facts) -> None:
        """The answer shows a tool with side effects that the request does not.

        A person decides, at every entry point.
        """
        acted = facts(base, provider_acted=True)
        plan = decide(CUT, acted, context(entry_point))
        delivered = base is CALL and entry_point.hands_over
        reason = Reason.TOOL_CALL_DELIVERED if delivered else Reason.PROVIDER_TOOLS
        assert outcome(plan) == (Decision.CONFIRM, reason)
        assert (plan.could_work, plan.safe) == (True, False)
        if not (entry_point.hands_over and base is not ALIVE):
            assert decide(CUT, acted, context(entry_point, resend_with_tools=True)).recovery.decision is Decision.RETRY

    def test_an_unsent_request_has_run_no_tool(self) -> None:
        """The request was not sent, so no tool has run."""
        assert decide(CUT, facts(UNSENT, provider_acted=True), context()).recovery.decision is Decision.RETRY


class TestToolExposure:
    @pytest.mark.parametrize(
        ("tools", "reason"),
        [
            (MCP, Reason.PROVIDER_TOOLS),
            (UNKNOWN_TOOL, Reason.UNKNOWN_TOOLS),
            (UNREADABLE, Reason.UNREADABLE_BODY),
            (None, Reason.UNREADABLE_BODY),
        ],
    )
    @pytest.mark.parametrize("sent", [Sent.PARTLY, Sent.YES])
    def test_tools_with_side_effects_need_consent(self, tools: ToolExposure | None, reason: Reason, sent: Sent) -> None:
        """Once anything was sent, tools with side effects, unknown ones and an unreadable body need consent."""
        silent = facts(sent=sent, tools=tools)
        plan = decide(killed("ttfb"), silent, context())
        assert outcome(plan) == (Decision.CONFIRM, reason)
        assert (plan.could_work, plan.safe) == (True, False)
        assert decide(killed("ttfb"), silent, context(resend_with_tools=True)).recovery.decision is Decision.RETRY

    @pytest.mark.parametrize("tools", [HARMLESS, ToolExposure()])
    def test_caller_tools_and_read_only_tools_need_no_consent(self, tools: ToolExposure) -> None:
        """Tools of the caller and read-only ones of the provider cannot be run twice by a resend."""
        assert decide(killed("ttfb"), facts(tools=tools), context()).recovery.decision is Decision.RETRY

    @pytest.mark.parametrize("tools", [MCP, UNKNOWN_TOOL, UNREADABLE, None])
    def test_an_unsent_request_needs_no_consent(self, tools: ToolExposure | None) -> None:
        """A request that never left cannot have used a tool."""
        plan = decide(of(FailureKind.CONNECT_REFUSED), facts(UNSENT, tools=tools), context())
        assert outcome(plan) == (Decision.RETRY, Reason.NOT_CONNECTED)

    def test_a_final_failure_stops_without_asking_for_consent(self) -> None:
        """If a resend could not work there is nothing to confirm, and ``safe`` keeps its value."""
        plan = decide(of(FailureKind.HTTP_STATUS, status=401), facts(ALIVE, tools=MCP), context())
        assert outcome(plan) == (Decision.STOP, Reason.HTTP_STATUS_FINAL)
        assert (plan.could_work, plan.safe) == (False, False)


class TestFreeResend:
    REUSED = facts(socket_reused=True, socket_idle=3.0, since_sent=0.2)

    @pytest.mark.parametrize("kind", [FailureKind.CUT, FailureKind.CONNECT_RESET])
    @pytest.mark.parametrize("sent", [Sent.NO, Sent.PARTLY, Sent.YES])
    def test_a_dead_pooled_connection_has_a_free_resend(self, kind: FailureKind, sent: Sent) -> None:
        """A reused connection that is lost at once is replaced at once, outside every budget."""
        exhausted = context(attempt=3, budget_ok=False, breaker_ok=False)
        plan = decide(of(kind), replace(self.REUSED, sent=sent), exhausted)
        assert outcome(plan) == (Decision.RETRY, Reason.DEAD_CONNECTION)
        assert plan.free

    def test_the_free_resend_is_given_once_per_call(self) -> None:
        """The second loss is an ordinary one."""
        plan = decide(CUT, self.REUSED, context(free_resend_used=True))
        assert outcome(plan) == (Decision.RETRY, Reason.LOST_BEFORE_RESPONSE)
        assert not plan.free

    @pytest.mark.parametrize(
        "changed",
        [
            {"socket_reused": False},
            {"socket_reused": None},
            {"since_sent": 5.001},
            {"since_sent": 60.0},
            {"since_sent": None},
            {"headers": True},
            {"first_byte": True, "bytes": 1},
        ],
    )
    def test_other_losses_are_ordinary_attempts(self, changed: dict[str, object]) -> None:
        """A fresh connection, a later loss, or a byte of a response: an attempt like any other."""
        plan = decide(CUT, replace(self.REUSED, **changed), context())  # type: ignore[arg-type]
        assert plan.recovery.decision is Decision.RETRY
        assert not plan.free
        assert decide(CUT, replace(self.REUSED, **changed), context(attempt=3)).reason is Reason.ATTEMPTS_EXHAUSTED  # type: ignore[arg-type]

    def test_a_loss_at_exactly_five_seconds_has_the_free_resend(self) -> None:
        """The bound itself counts as within."""
        assert decide(CUT, replace(self.REUSED, since_sent=5.0), context()).free

    def test_the_free_resend_obeys_tools_deadline_and_body(self) -> None:
        """The free resend is outside the budget, and inside the rules of safety."""
        assert decide(CUT, replace(self.REUSED, tools=MCP), context()).recovery.decision is Decision.CONFIRM
        assert decide(CUT, self.REUSED, context(time_ok=False)).reason is Reason.NO_TIME_LEFT
        assert decide(CUT, replace(self.REUSED, replayable=False), context()).reason is Reason.BODY_NOT_REPLAYABLE
        for plan in (
            decide(CUT, self.REUSED, context(time_ok=False)),
            decide(CUT, replace(self.REUSED, replayable=False), context()),
        ):
            assert not plan.free

    def test_a_library_that_makes_every_resend_makes_this_one_too(self) -> None:
        """Where a library signs each request anew, not even a dead connection is worth a resend here."""
        plan = decide(CUT, self.REUSED, context(library_resends=True, loading=True))
        assert (plan.recovery.decision, plan.reason, plan.free) == (Decision.STOP, Reason.LEFT_TO_LIBRARY, False)
        assert (plan.could_work, plan.safe) == (True, True)

    def test_a_kill_or_a_status_has_no_free_resend(self) -> None:
        """Silence on a reused connection is silence."""
        assert not decide(killed("ttfb"), self.REUSED, context()).free
        assert not decide(of(FailureKind.HTTP_STATUS, status=503), self.REUSED, context()).free


class TestStops:
    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"attempt": 3}, Reason.ATTEMPTS_EXHAUSTED),
            ({"breaker_ok": False}, Reason.CIRCUIT_OPEN),
            ({"budget_ok": False}, Reason.BUDGET_EMPTY),
            ({"pace_ok": False}, Reason.HELD_BACK),
            ({"wait_ok": False}, Reason.RETRY_AFTER_TOO_LONG),
            ({"time_ok": False}, Reason.NO_TIME_LEFT),
            ({"library_resends": True}, Reason.LEFT_TO_LIBRARY),
            ({"cancelled_by": "user"}, Reason.CANCELLED_BY_USER),
            ({"cancelled_by": "lifecycle"}, Reason.CANCELLED_BY_LIFECYCLE),
        ],
    )
    def test_a_stopped_resend_names_what_stops_it(self, changed: dict[str, object], reason: Reason) -> None:
        """``could_work`` and ``safe`` keep their values."""
        plan = decide(killed("ttfb"), SENT, context(**changed))  # type: ignore[arg-type]
        assert outcome(plan) == (Decision.STOP, reason)
        assert (plan.could_work, plan.safe) == (True, True)

    def test_a_used_up_body_is_not_resent(self) -> None:
        """An iterator is used up: the silence could have been overcome, this body cannot be resent."""
        plan = decide(killed("ttfb"), facts(replayable=False), context())
        assert outcome(plan) == (Decision.STOP, Reason.BODY_NOT_REPLAYABLE)
        assert plan.could_work

    def test_an_expired_deadline_stops_the_call(self) -> None:
        """When the call's own limit ran out nothing is resent."""
        plan = decide(killed("deadline"), SENT, context())
        assert outcome(plan) == (Decision.STOP, Reason.DEADLINE)
        assert not plan.could_work

    @pytest.mark.parametrize("by", ["user", "lifecycle"])
    def test_a_cancelled_call_stops_without_facts(self, by: str) -> None:
        """A cancelled call stops after any delivery, and needs no facts."""
        for known in (None, SENT, facts(CALL, delivered=True)):
            plan = decide(failure_of(Cancelled("m", by=by)), known, context())
            assert plan.recovery.decision is Decision.STOP
            assert plan.reason.value == f"cancelled_by_{by}"

    def test_a_plan_can_be_stopped_later(self) -> None:
        """A wait that does not end in a resend gives the same answers and a new decision."""
        planned = decide(CUT, TestFreeResend.REUSED, context())
        stopped = planned.stopped(Reason.NO_TIME_LEFT)
        assert outcome(stopped) == (Decision.STOP, Reason.NO_TIME_LEFT)
        assert (stopped.could_work, stopped.safe, stopped.free) == (True, True, False)
        assert planned.recovery.decision is Decision.RETRY

    def test_an_open_circuit_stops_the_call(self) -> None:
        """Nothing was sent: it could work later, is safe, and is not done now."""
        plan = decide(failure_of(CircuitOpen("m", retry_after=3.0)), None, context())
        assert outcome(plan) == (Decision.STOP, Reason.CIRCUIT_OPEN)
        assert (plan.could_work, plan.safe) == (True, True)
        assert outcome(decide(of(FailureKind.ORPHANS), None, context())) == (Decision.STOP, Reason.TOO_MANY_ORPHANS)
        assert outcome(decide(of(FailureKind.THREADS), None, context())) == (Decision.STOP, Reason.TOO_MANY_THREADS)

    def test_a_failed_refresh_is_resent_and_a_rejected_one_is_not(self) -> None:
        """A token that could not be refreshed just now is tried again, a rejected one is not."""
        assert outcome(decide(failure_of(RefreshFailed("m", retryable=True)), None, context())) == (
            Decision.RETRY,
            Reason.REFRESH_TRANSIENT,
        )
        assert outcome(decide(failure_of(RefreshFailed("m")), None, context())) == (
            Decision.STOP,
            Reason.REFRESH_REJECTED,
        )

    def test_a_complete_answer_is_not_resent(self) -> None:
        """After the terminal event a resend would pay twice; the end of an error's body completes nothing."""
        done = facts(TEXT, terminal=True)
        assert outcome(decide(CUT, done, context(EntryPoint.COLLECT))) == (Decision.STOP, Reason.ANSWER_COMPLETE)
        refused = facts(ALIVE, terminal=True)
        plan = decide(of(FailureKind.HTTP_STATUS, status=503), refused, context(EntryPoint.REQUEST, plain=True))
        assert outcome(plan) == (Decision.RETRY, Reason.HTTP_STATUS)


class TestUnknown:
    def test_a_failure_without_facts_needs_consent(self) -> None:
        """Without any facts every failure that is worth a resend needs a person's consent."""
        for known in (None, Facts()):
            plan = decide(killed("ttfb"), known, context(resend_with_tools=True))
            assert outcome(plan) == (Decision.CONFIRM, Reason.FACTS_UNKNOWN)

    @pytest.mark.parametrize(
        "base",
        [facts(sent=Sent.UNKNOWN), facts(replayable=None), facts(ALIVE, terminal=None)],
    )
    def test_one_missing_fact_needs_consent(self, base: Facts) -> None:
        """A single missing fact is enough, with any consent of the user."""
        everything = context(slow_but_alive=True, resend_with_tools=True)
        assert outcome(decide(killed("stale"), base, everything)) == (Decision.CONFIRM, Reason.FACTS_UNKNOWN)

    def test_an_unknown_limit_is_not_resent(self) -> None:
        """A limit that the rules say nothing about is not guessed at."""
        plan = decide(killed("something_new"), SENT, context())
        assert outcome(plan) == (Decision.CONFIRM, Reason.FACTS_UNKNOWN)
        assert plan.could_work

    def test_an_unknown_failure_is_not_resent(self) -> None:
        """An error of another library is not resent."""
        assert outcome(decide(failure_of(ValueError()), SENT, context())) == (Decision.STOP, Reason.UNKNOWN_FAILURE)


class TestWrap:
    WAITING = Facts(sent=Sent.YES, terminal=False, since_sent=1.0, tools=CLEAN, replayable=True)
    """A function in which a connection waits for its first answer, or whose abort callback was called."""
    UNSEEN = replace(WAITING, replayable=None)
    ALLOWED = context(EntryPoint.WRAP, resend_with_tools=True)
    SILENT = ("connect", "headers", "ttfb", "first_event", "first_content", "stale", "total")

    @pytest.mark.parametrize("limit", SILENT)
    def test_a_function_without_a_sign_is_run_again(self, limit: str) -> None:
        """The function could be ended, and has had no known effect."""
        assert outcome(decide(killed(limit), self.WAITING, context(EntryPoint.WRAP))) == (
            Decision.RETRY,
            Reason.SILENCE,
        )

    @pytest.mark.parametrize("limit", SILENT)
    def test_an_unwakeable_function_needs_consent(self, limit: str) -> None:
        """The function's effect is unknown, and it may still run.

        Only its user can know if another run is harmless.
        """
        plan = decide(killed(limit), self.UNSEEN, context(EntryPoint.WRAP))
        assert outcome(plan) == (Decision.CONFIRM, Reason.FUNCTION_MAY_RUN)
        assert outcome(decide(killed(limit), self.UNSEEN, self.ALLOWED)) == (Decision.RETRY, Reason.SILENCE)

    def test_a_function_that_was_never_called_is_run_again(self) -> None:
        """Its worker had not begun, so nothing was done, whatever could have been found."""
        unsent = replace(self.UNSEEN, sent=Sent.NO)
        assert outcome(decide(killed("connect"), unsent, context(EntryPoint.WRAP))) == (Decision.RETRY, Reason.SILENCE)

    @each("limit", ["ttfb", "stale", "progress", "total", "deadline"])
    @each("sign", [{"beaten": True}, {"headers": True}])
    @each("replayable", [True, None])
    def test_a_function_that_has_beaten_needs_consent(
        self, limit: str, sign: dict[str, bool], replayable: bool | None
    ) -> None:
        """The function has beaten or was answered, so its effect is unknown."""
        begun = replace(self.WAITING, replayable=replayable, **sign)
        plan = decide(killed(limit), begun, context(EntryPoint.WRAP, slow_but_alive=True))
        assert outcome(plan) == (Decision.CONFIRM, Reason.FUNCTION_HAS_BEATEN)

    @pytest.mark.parametrize("sign", [{"beaten": True}, {"headers": True}])
    def test_resend_with_tools_allows_a_second_run(self, sign: dict[str, bool]) -> None:
        """A function that was at work when it was killed needs ``slow_but_alive`` as well."""
        begun = replace(self.WAITING, **sign)
        assert outcome(decide(killed("stale"), begun, self.ALLOWED)) == (Decision.RETRY, Reason.SILENCE)
        plan = decide(killed("progress"), begun, self.ALLOWED)
        assert outcome(plan) == (Decision.STOP, Reason.SLOW_BUT_ALIVE)
        both = replace(self.ALLOWED, slow_but_alive=True)
        assert outcome(decide(killed("progress"), begun, both)) == (Decision.RETRY, Reason.SLOW_BUT_ALIVE_ALLOWED)

    @pytest.mark.parametrize("limit", ["first_content", "total"])
    def test_a_beat_is_a_sign_of_work(self, limit: str) -> None:
        """A function that had beaten was alive when these expired."""
        plan = decide(killed(limit), replace(self.WAITING, beaten=True), self.ALLOWED)
        assert outcome(plan) == (Decision.STOP, Reason.SLOW_BUT_ALIVE)

    @pytest.mark.parametrize("base", [WAITING, UNSEEN, facts(TEXT, tools=None)])
    def test_an_iterator_is_not_made_anew_after_an_item(self, base: Facts) -> None:
        """An iterator is never made anew after an item, with any consent."""
        plan = decide(killed("stale"), replace(base, delivered=True), replace(self.ALLOWED, slow_but_alive=True))
        assert outcome(plan) == (Decision.CONFIRM, Reason.FUNCTION_HAS_BEATEN)

    @pytest.mark.parametrize("base", [facts(sent=Sent.UNKNOWN), Facts()])
    def test_a_function_with_missing_facts_needs_consent(self, base: Facts) -> None:
        """The rule is that of a request, whatever was opted into."""
        assert outcome(decide(killed("ttfb"), base, self.ALLOWED)) == (Decision.CONFIRM, Reason.FACTS_UNKNOWN)
        plan = decide(killed("something_new"), self.WAITING, self.ALLOWED)
        assert outcome(plan) == (Decision.CONFIRM, Reason.FACTS_UNKNOWN)

    def test_an_expired_deadline_stops_a_function(self) -> None:
        """The deadline belongs to the call, so nothing follows."""
        assert outcome(decide(killed("deadline"), self.WAITING, context(EntryPoint.WRAP))) == (
            Decision.STOP,
            Reason.DEADLINE,
        )


class TestOrdinary:
    @pytest.mark.parametrize(
        ("base", "reason"),
        [
            (facts(since_sent=60.0), Reason.LOST_BEFORE_RESPONSE),
            (facts(), Reason.LOST_BEFORE_RESPONSE),
            (facts(ALIVE, text=False), Reason.STREAM_CUT),
        ],
    )
    def test_a_loss_after_sent_is_resent_only_with_a_safe_tool_exposure(self, base: Facts, reason: Reason) -> None:
        """A loss that is late, or on a fresh connection, is resent only where that is safe.

        The tool exposure must show this.
        """
        assert outcome(decide(CUT, base, context())) == (Decision.RETRY, reason)
        assert decide(CUT, replace(base, tools=None), context()).recovery.decision is Decision.CONFIRM

    @pytest.mark.parametrize(
        "kind",
        [FailureKind.TRUNCATED, FailureKind.EMPTY, FailureKind.MALFORMED, FailureKind.NOT_A_STREAM],
    )
    def test_a_wrong_stream_before_content_is_resent(self, kind: FailureKind) -> None:
        """A stream that ended early, is empty, broken or a page is resent while nothing was delivered."""
        assert decide(of(kind), ALIVE, context()).recovery.decision is Decision.RETRY

    def test_a_too_large_event_is_not_resent(self) -> None:
        """The same event would come again."""
        assert outcome(decide(of(FailureKind.TOO_LARGE), ALIVE, context())) == (Decision.STOP, Reason.EVENT_TOO_LARGE)

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 302])
    def test_refusals_and_redirects_are_not_resent(self, status: int) -> None:
        """A refusal stays one, and a redirect is not followed."""
        kind = FailureKind.REDIRECT if status == 302 else FailureKind.HTTP_STATUS
        assert decide(of(kind, status=status), ALIVE, context()).recovery.decision is Decision.STOP


def test_is_safe_gives_its_reason() -> None:
    """is_safe says why it is safe."""
    assert is_safe(killed("ttfb"), SENT, context()) == (True, Decision.RETRY, Reason.NOTHING_DELIVERED)
    assert is_safe(killed("connect"), UNSENT, context()) == (True, Decision.RETRY, Reason.NOTHING_SENT)
    assert is_safe(CUT, TEXT, context(EntryPoint.COLLECT)) == (True, Decision.RETRY, Reason.PARTIAL_DISCARDED)


def test_a_plan_pickles() -> None:
    """Everything here is plain data."""
    plan = decide(CUT, TEXT, Context(entry_point=EntryPoint.STREAM))
    assert pickle.loads(pickle.dumps((plan, TEXT, CUT))) == (plan, TEXT, CUT)
