"""Whether and when to resend: facts, decisions, messages, waits, budget, breaker, pace."""

from llmwatch.recovery.breaker import NEWS, Breaker, BreakerState, Permit, outcome_of
from llmwatch.recovery.budget import RetryBudget
from llmwatch.recovery.call_context import Context, EntryPoint
from llmwatch.recovery.decision import Plan, decide
from llmwatch.recovery.facts import Facts, Sent
from llmwatch.recovery.failure import Failure, FailureKind, Outcome, failure_of
from llmwatch.recovery.messages import in_seconds, recovery, timeout_message
from llmwatch.recovery.pace import SPREAD, Hold, Pace, release
from llmwatch.recovery.reason import Reason
from llmwatch.recovery.retryability import could_work
from llmwatch.recovery.safety import is_safe
from llmwatch.recovery.timing import backoff, retry_after, should_retry

__all__ = [
    "NEWS",
    "SPREAD",
    "Breaker",
    "BreakerState",
    "Context",
    "EntryPoint",
    "Facts",
    "Failure",
    "FailureKind",
    "Hold",
    "Outcome",
    "Pace",
    "Permit",
    "Plan",
    "Reason",
    "RetryBudget",
    "Sent",
    "backoff",
    "could_work",
    "decide",
    "failure_of",
    "in_seconds",
    "is_safe",
    "outcome_of",
    "recovery",
    "release",
    "retry_after",
    "should_retry",
    "timeout_message",
]
