"""The whole table of decisions.

Every kind of failure with every class of facts through every entry point has exactly one decision.

More than half a million combinations are generated and none is written down; what is written down are the laws.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from llmwatch.payload import ToolExposure
from llmwatch.policy import NAMES
from llmwatch.records import Decision
from llmwatch.recovery import Context, EntryPoint, Facts, Failure, FailureKind, Plan, Reason, Sent, decide
from tests.rows import each

EXPOSURES = (
    ToolExposure(),
    ToolExposure(caller=1, provider_read_only=1),
    ToolExposure(provider_other=1),
    ToolExposure(unknown=1),
    ToolExposure(complete=False),
    None,
)

STATUSES = ((None, None), (400, None), (400, True), (409, None), (409, True), (418, None), (429, False), (503, None))

FAILURES = (
    *(Failure(kind=FailureKind.WATCHDOG, limit=limit) for limit in (*NAMES, "error_body", "something_new", None)),
    *(Failure(kind=FailureKind.HTTP_STATUS, status=status, should_retry=asked) for status, asked in STATUSES),
    *(
        Failure(kind=FailureKind.STREAM_ERROR, status=200, error_type=word)
        for word in (None, "server_error", "invalid_request_error")
    ),
    *(
        Failure(kind=kind)
        for kind in FailureKind
        if kind not in (FailureKind.WATCHDOG, FailureKind.HTTP_STATUS, FailureKind.STREAM_ERROR)
    ),
    Failure(kind=FailureKind.CONNECT_REFUSED, retryable=False),
    Failure(kind=FailureKind.TLS_CONNECT, retryable=True),
    Failure(kind=FailureKind.EMPTY, retryable=False),
    Failure(kind=FailureKind.NOT_A_STREAM, retryable=False),
)


def progress() -> Iterator[dict[str, object]]:
    """How far a response had come."""
    nothing: dict[str, object] = {}
    yield nothing
    yield {"headers": True}
    alive = {"headers": True, "first_byte": True, "bytes": 9}
    yield alive
    alive = {**alive, "first_event": True, "events": 1}
    yield alive
    for kinds in (("text",), ("reasoning",), ("tool_input",), ("text", "tool_input", "tool_call")):
        yield {**alive, **dict.fromkeys(kinds, True)}


ROWS: tuple[dict[str, object], ...] = (
    {},
    {"delivered": True},
    {"delivered": True, "terminal": None},
    {"terminal": True},
    {"terminal": None},
    {"socket_reused": True},
    {"socket_reused": True, "since_sent": 60.0},
    {"socket_reused": True, "since_sent": None},
    {"replayable": False},
    {"replayable": None},
    {"socket_reused": None, "since_sent": None, "replayable": None, "terminal": None},
    {"beaten": True},
    {"provider_acted": True},
)
USUAL: dict[str, object] = {"terminal": False, "socket_reused": False, "since_sent": 1.0, "replayable": True}


def all_facts() -> Iterator[Facts]:
    """Every class of facts that a rule tells apart."""
    for came, sent, tools, row in itertools.product(progress(), Sent, EXPOSURES, ROWS):
        yield Facts(sent=sent, tools=tools, **{**USUAL, **came, **row})  # type: ignore[arg-type]


FACTS = tuple(all_facts())
_EVERY = 7
"""Of how many combinations one is looked at as a plan that was stopped or carried out, too."""


def contexts(entry_point: EntryPoint) -> tuple[Context, ...]:
    """The contexts that rules tell apart: what a call has opted into and used up."""
    plain = entry_point is EntryPoint.REQUEST
    return (
        Context(entry_point=entry_point, plain=plain),
        Context(entry_point=entry_point, plain=plain, slow_but_alive=True, resend_with_tools=True),
        Context(entry_point=entry_point, plain=plain, attempt=3, free_resend_used=True, partial_resends_used=1),
    )


def laws(failure: Failure, facts: Facts, context: Context, plan: Plan) -> None:
    """Check the laws that hold for every combination."""
    decision, reason = plan.recovery.decision, plan.reason
    assert plan.recovery.reason == reason.value
    assert plan.recovery.message == reason.message
    assert plan.recovery.action
    assert plan.recovery.safe is plan.safe
    content = facts.text or facts.reasoning or facts.tool_input or facts.tool_call
    if decision is Decision.RETRY:
        allowed_to_resend(failure, facts, context, plan, content)
    else:
        assert not plan.free
    if failure.kind in (FailureKind.CANCELLED_USER, FailureKind.CANCELLED_LIFECYCLE):
        assert decision is Decision.STOP
    elif may_have_done_something(facts, context) or (facts.delivered and facts.tool_call):
        assert decision is Decision.CONFIRM
    if decision is Decision.CONTINUE:
        assert facts.delivered or content
        assert not facts.tool_call
    if decision is Decision.CONFIRM:
        assert not plan.safe
    # One limit only is not worth another try.
    if failure.kind is FailureKind.WATCHDOG:
        assert plan.could_work is (failure.limit != "deadline")


def may_have_done_something(facts: Facts, context: Context) -> bool:
    """A wrapped function that was seen at work, and whose user has not said that it may run twice."""
    if context.entry_point is not EntryPoint.WRAP:
        return facts.beaten
    return facts.delivered or ((facts.beaten or facts.headers) and not context.resend_with_tools)


def allowed_to_resend(failure: Failure, facts: Facts, context: Context, plan: Plan, content: bool) -> None:
    """The laws of a resend."""
    assert plan.could_work
    assert plan.safe
    assert not facts.delivered
    assert not may_have_done_something(facts, context)
    assert facts.replayable is not False
    assert facts.sent is not Sent.UNKNOWN
    assert failure.limit != "deadline"
    assert failure.kind not in (FailureKind.UNKNOWN, FailureKind.SETUP, FailureKind.CIRCUIT_OPEN, FailureKind.ORPHANS)
    if content:
        assert context.entry_point in (EntryPoint.COLLECT, EntryPoint.REQUEST)
        assert not context.partial_resends_used
    if context.entry_point is EntryPoint.WRAP:
        assert facts.replayable or facts.sent is Sent.NO or context.resend_with_tools
    else:
        assert facts.replayable is True
        if facts.sent is not Sent.NO and not context.resend_with_tools:
            assert facts.tools is not None
            assert not facts.tools.blocks
            assert not facts.provider_acted
    if plan.free:
        assert facts.socket_reused
        assert not facts.headers
        assert not context.free_resend_used
        assert facts.sent is not Sent.YES or (facts.since_sent or 99) <= 5
    else:
        assert context.attempt < context.max_attempts
    if not context.slow_but_alive and failure.kind is FailureKind.WATCHDOG:
        assert failure.limit != "progress"
        assert failure.limit not in ("first_content", "total") or not facts.first_byte


@each("entry_point", EntryPoint)
@each("kind", FailureKind)
def test_every_combination_has_a_decision_that_keeps_the_laws(kind: FailureKind, entry_point: EntryPoint) -> None:
    """None is undefined, none raises, and none breaks a law.

    Every failure meets all facts, through every third entry point each, and in turns one context with each of them: the
    next failure meets another one with the same facts.
    """
    opted = contexts(entry_point)
    for number, failure in enumerate(FAILURES):
        if failure.kind is kind:
            first = (number + list(EntryPoint).index(entry_point)) % 3
            for turn, facts in enumerate(FACTS[first::3], number):
                context = opted[turn % len(opted)]
                plan = decide(failure, facts, context)
                laws(failure, facts, context, plan)
                if turn % _EVERY == 0:
                    for other in (plan.stopped(plan.reason), plan.resent(plan.reason)):
                        assert other.recovery.safe is plan.safe
            for context in opted:
                assert decide(failure, None, context).reason in Reason


def test_every_decision_and_nearly_every_reason_comes_about() -> None:
    """The table is not trivially lawful: it has all four decisions.

    It has every reason but those of waits and budgets.
    """
    found: Counter[Reason] = Counter()
    decisions: Counter[Decision] = Counter()
    for failure in FAILURES:
        for entry_point in EntryPoint:
            for context in contexts(entry_point):
                for facts in FACTS[::31]:
                    plan = decide(failure, facts, context)
                    found[plan.reason] += 1
                    decisions[plan.recovery.decision] += 1
    assert set(decisions) == set(Decision)
    elsewhere = {
        # given by could_work and is_safe only
        Reason.NOTHING_SENT,
        Reason.NOTHING_DELIVERED,
        # a matter of the call, not of the attempt
        Reason.BUDGET_EMPTY,
        Reason.HELD_BACK,
        # of the adapter's own retries
        Reason.ADAPTER_RETRIES,
        Reason.ADAPTER_RETRIES_EXHAUSTED,
        # of a library that makes every resend
        Reason.LEFT_TO_LIBRARY,
        Reason.RETRY_AFTER_TOO_LONG,
        Reason.NO_TIME_LEFT,
    }
    assert set(Reason) - set(found) == elsewhere
