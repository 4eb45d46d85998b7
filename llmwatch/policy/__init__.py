"""The user's settings: limits, retries, environment, profiles. Frozen values; no waits and no I/O."""

from llmwatch.policy.effective import (
    DEFAULT_KEEPALIVE,
    EffectiveLimit,
    EffectiveLimits,
    EffectiveRetry,
    overridden_limits,
    resolve_keepalive,
    resolve_limits,
    resolve_max_body,
    resolve_max_event,
    resolve_override,
    resolve_retry,
)
from llmwatch.policy.environment import KNOWN_VARIABLES, LIMIT_VARIABLES, RETRY_VARIABLES, incident_log, seconds_from
from llmwatch.policy.label import LABEL, label
from llmwatch.policy.limit_table import FROM_SENT, LIMITS, NAMES, READ_LIMITS, Expiry
from llmwatch.policy.limits import Limits
from llmwatch.policy.profiles import PROFILES, check_profile, detect_profile
from llmwatch.policy.retry import OnRetry, Retry
from llmwatch.policy.values import UNSET, Seconds, Unset

__all__ = [
    "DEFAULT_KEEPALIVE",
    "FROM_SENT",
    "KNOWN_VARIABLES",
    "LABEL",
    "LIMITS",
    "LIMIT_VARIABLES",
    "NAMES",
    "PROFILES",
    "READ_LIMITS",
    "RETRY_VARIABLES",
    "UNSET",
    "EffectiveLimit",
    "EffectiveLimits",
    "EffectiveRetry",
    "Expiry",
    "Limits",
    "OnRetry",
    "Retry",
    "Seconds",
    "Unset",
    "check_profile",
    "detect_profile",
    "incident_log",
    "label",
    "overridden_limits",
    "resolve_keepalive",
    "resolve_limits",
    "resolve_max_body",
    "resolve_max_event",
    "resolve_override",
    "resolve_retry",
    "seconds_from",
]
