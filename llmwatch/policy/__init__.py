"""What the user decides: limits, retries, environment, profiles. Frozen values; nothing here waits or does I/O."""

from llmwatch.policy.effective import (
    DEFAULT_KEEPALIVE,
    EffectiveLimit,
    EffectiveLimits,
    EffectiveRetry,
    resolve_keepalive,
    resolve_limits,
    resolve_retry,
)
from llmwatch.policy.environment import KNOWN_VARIABLES, LIMIT_VARIABLES, RETRY_VARIABLES, incident_log, seconds_from
from llmwatch.policy.limits import NAMES, UNSET, Limits, Unset
from llmwatch.policy.modelcalls import IDEMPOTENT, is_model_call, may_hold_prompt, register_model_url
from llmwatch.policy.profiles import PROFILES, check_profile, detect_profile
from llmwatch.policy.prompt import base64_bytes, prompt_tokens
from llmwatch.policy.reasoning import REASONING_MODELS, register_reasoning_model
from llmwatch.policy.retry import Retry
from llmwatch.policy.streaming import is_streaming

__all__ = [
    "DEFAULT_KEEPALIVE",
    "IDEMPOTENT",
    "KNOWN_VARIABLES",
    "LIMIT_VARIABLES",
    "NAMES",
    "PROFILES",
    "REASONING_MODELS",
    "RETRY_VARIABLES",
    "UNSET",
    "EffectiveLimit",
    "EffectiveLimits",
    "EffectiveRetry",
    "Limits",
    "Retry",
    "Unset",
    "base64_bytes",
    "check_profile",
    "detect_profile",
    "incident_log",
    "is_model_call",
    "is_streaming",
    "may_hold_prompt",
    "prompt_tokens",
    "register_model_url",
    "register_reasoning_model",
    "resolve_keepalive",
    "resolve_limits",
    "resolve_retry",
    "seconds_from",
]
