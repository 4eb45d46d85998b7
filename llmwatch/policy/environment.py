"""The environment variables: their names, their meaning, and how their text is read.

The environment is an argument, read at every call and never at import. An empty or blank variable counts as not set.
Any other invalid text is a :class:`~llmwatch.errors.ConfigError`, even if an argument takes precedence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Generic, TypeVar

from llmwatch.policy import contradictions
from llmwatch.policy.limit_table import LIMITS, NAMES, ZERO
from llmwatch.policy.limits import Limits
from llmwatch.policy.profiles import PROFILES, check_profile
from llmwatch.policy.retry import RETRY_FIELDS, Retry, check_backoff, read_setting
from llmwatch.policy.values import BYTES_ALLOWED, SECONDS_ALLOWED, UNSET, Seconds, refused, seconds

T = TypeVar("T")

__all__ = [
    "CALL_LOG_VARIABLE",
    "INCIDENT_LOG_VARIABLE",
    "KEEPALIVE_VARIABLE",
    "KNOWN_VARIABLES",
    "LIMIT_VARIABLES",
    "LOG_SIZE_VARIABLE",
    "MAX_BODY_VARIABLE",
    "MAX_EVENT_VARIABLE",
    "OVERRIDE_VARIABLE",
    "PREFIX",
    "PROCESS_MARK",
    "PROFILE_VARIABLE",
    "REFRESH_VARIABLE",
    "RETRY_VARIABLES",
    "SINGLE_VARIABLE",
    "STATUS_FILE_VARIABLE",
    "Reading",
    "bytes_from",
    "incident_log",
    "limits_from",
    "override_from",
    "profile_from",
    "retry_from",
    "seconds_from",
    "settings",
    "status_file_from",
    "unknown",
]

PREFIX = "LLMWATCH_"
SINGLE_VARIABLE = "LLMWATCH_TIMEOUT_SECONDS"
PROFILE_VARIABLE = "LLMWATCH_PROFILE"
KEEPALIVE_VARIABLE = "LLMWATCH_KEEPALIVE_SECONDS"
MAX_EVENT_VARIABLE = "LLMWATCH_MAX_EVENT_BYTES"
MAX_BODY_VARIABLE = "LLMWATCH_MAX_BODY_BYTES"
OVERRIDE_VARIABLE = "LLMWATCH_OVERRIDE_TIMEOUTS"
REFRESH_VARIABLE = "LLMWATCH_REFRESH_TIMEOUT_SECONDS"
INCIDENT_LOG_VARIABLE = "LLMWATCH_INCIDENT_LOG"
CALL_LOG_VARIABLE = "LLMWATCH_CALL_LOG"
LOG_SIZE_VARIABLE = "LLMWATCH_LOG_MAX_BYTES"
STATUS_FILE_VARIABLE = "LLMWATCH_STATUS_FILE"

PROCESS_MARK = "{pid}"
"""Stands for the id of the process in the name of a status file."""

LIMIT_VARIABLES: Mapping[str, str] = {name: LIMITS[name].variable for name in NAMES}
"""The fields of :class:`Limits` and their variables."""

RETRY_VARIABLES: Mapping[str, str] = {
    "max_attempts": "LLMWATCH_MAX_ATTEMPTS",
    "backoff": "LLMWATCH_BACKOFF_SECONDS",
    "max_backoff": "LLMWATCH_MAX_BACKOFF_SECONDS",
    "max_retry_after": "LLMWATCH_MAX_RETRY_AFTER_SECONDS",
    "slow_but_alive": "LLMWATCH_SLOW_BUT_ALIVE",
    "resend_with_tools": "LLMWATCH_RESEND_WITH_TOOLS",
    "breaker": "LLMWATCH_BREAKER",
    "breaker_wait": "LLMWATCH_BREAKER_SECONDS",
    "budget": "LLMWATCH_RETRY_BUDGET",
    "max_wait": "LLMWATCH_MAX_WAIT_SECONDS",
    "pace": "LLMWATCH_PACE",
}
"""The fields of :class:`Retry` and their variables; ``on_retry`` is a function and has none."""

KNOWN_VARIABLES: Mapping[str, str] = {
    **{LIMITS[name].variable: LIMITS[name].meaning for name in NAMES},
    SINGLE_VARIABLE: "the single knob: stands for ttfb, first_content, stale and progress; 0 turns all four off",
    PROFILE_VARIABLE: f"which defaults to use instead of detecting them: {', '.join(PROFILES)}",
    RETRY_VARIABLES["max_attempts"]: "requests of one call, the first one included; 0 or 1 resends nothing",
    RETRY_VARIABLES["backoff"]: "seconds before the second attempt, doubled for each further one; 0 does not wait",
    RETRY_VARIABLES["max_backoff"]: "the cap on those seconds; 0 removes it",
    RETRY_VARIABLES["max_retry_after"]: "the longest wait in seconds that a provider may ask for; 0 removes the cap",
    RETRY_VARIABLES["slow_but_alive"]: "whether an attempt whose bytes flowed is resent too: 1 or 0",
    RETRY_VARIABLES["resend_with_tools"]: "whether tools with unknown side effects may be resent: 1 or 0",
    RETRY_VARIABLES["breaker"]: "attempts in a row lost by an origin that open the circuit breaker; 0 off",
    RETRY_VARIABLES["breaker_wait"]: "the longest time in seconds between two probes; 0 probes at once",
    RETRY_VARIABLES["budget"]: "resends that a client may spend on one origin, a success returns a tenth; 0 off",
    RETRY_VARIABLES["max_wait"]: "seconds that a call may wait for breaker, budget and pace; 0 raises at once",
    RETRY_VARIABLES["pace"]: "whether a 429 with a named wait holds back the client's other calls: 1 or 0",
    KEEPALIVE_VARIABLE: "seconds after which an idle pooled connection is not reused; 0 never reuses",
    OVERRIDE_VARIABLE: "whether the time-outs that requests carry are set aside: 1 or 0",
    MAX_EVENT_VARIABLE: "bytes that one event of a stream may have; 0 removes the cap",
    MAX_BODY_VARIABLE: "decoded bytes that the body of a model's answer may have; 0 removes the cap",
    REFRESH_VARIABLE: "seconds that the refresh of a token may take, see llmwatch.refreshing(); 0 off",
    INCIDENT_LOG_VARIABLE: "a file to which every call with a failed attempt is appended as one line of JSON",
    CALL_LOG_VARIABLE: "a file to which every call, good or bad, is appended as one compact line of JSON",
    LOG_SIZE_VARIABLE: "bytes of the call log at which it is rotated, 8 old files are kept; 0 never rotates",
    STATUS_FILE_VARIABLE: "a file in which each process keeps the calls in flight, once a second; {pid} in its name",
}
"""Every variable that llmwatch reads, with its meaning in one line."""

_SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
# float() and int() also take "1_000", "infinity" and digits of other scripts.
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# The names of the fields in code, and the name that other libraries have for attempts.
_FIELDS = {
    **{field.upper(): variable for field, variable in {**LIMIT_VARIABLES, **RETRY_VARIABLES}.items()},
    "MAX_RETRIES": RETRY_VARIABLES["max_attempts"],
    "RETRIES": RETRY_VARIABLES["max_attempts"],
}
_ENDING = re.compile(r"(?:_TIMEOUT)?(?:_SECONDS?)?$")
_WHOLE = re.compile(r"\+?\d{1,18}", re.ASCII)


class Reading(Generic[T]):
    """What ``read`` makes of an environment, read again once a variable has changed.

    ``os.environ`` encodes and decodes each variable at each access. A change is seen in the encoded variables, which
    it keeps in a dict; any other mapping is read each time. The result is shared, so no caller changes it.
    """

    def __init__(self, read: Callable[[Mapping[str, str]], T]) -> None:
        self._read = read
        self._known: tuple[dict[object, object], T] | None = None  # replaced as a whole: threads share it

    def __call__(self, environ: Mapping[str, str]) -> T:
        encoded, known = getattr(environ, "_data", None), self._known
        if known is not None and encoded == known[0]:
            return known[1]
        before = dict(encoded) if type(encoded) is dict else None
        found = self._read(environ)
        # Another thread may have changed a variable meanwhile.
        if before is not None and encoded == before:
            self._known = before, found
        return found


def _settings(environ: Mapping[str, str]) -> dict[str, str]:
    stripped = {}
    for name in environ:
        if name.startswith(PREFIX):
            # Another thread may have removed the variable meanwhile.
            text = environ.get(name, "").strip()
            if text:
                stripped[name] = text
    return stripped


_reading = Reading(_settings)


def settings(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The variables of ``environ`` that start with ``LLMWATCH_`` and are not blank, stripped."""
    return _reading(environ)


def limits_from(settings: Mapping[str, str]) -> Limits | None:
    """The limits that the environment sets, or ``None``. Raises :class:`ConfigError` naming the variable."""
    values: dict[str, Seconds] = {name: seconds_from(settings, variable) for name, variable in LIMIT_VARIABLES.items()}
    single = seconds_from(settings, SINGLE_VARIABLE)
    if single is UNSET and all(value is UNSET for value in values.values()):
        return None
    contradictions.check(values, LIMIT_VARIABLES)
    return Limits(single_seconds=single, **values)


def retry_from(settings: Mapping[str, str]) -> Retry | None:
    """The environment's retry settings, or ``None``. Raises :class:`ConfigError` naming the variable."""
    fields: dict[str, Any] = {}
    for name in RETRY_FIELDS:
        variable = RETRY_VARIABLES.get(name)
        if variable is None or variable not in settings:
            continue
        convert, allowed = _KINDS[name]
        text = settings[variable]
        try:
            fields[name] = read_setting(name, convert(text))
        except ValueError:
            raise refused(variable, text, f"{variable}={{}}", allowed) from None
    if not fields:
        return None
    check_backoff(
        fields.get("backoff", UNSET),
        fields.get("max_backoff", UNSET),
        RETRY_VARIABLES["backoff"],
        RETRY_VARIABLES["max_backoff"],
    )
    return Retry(**fields)


def profile_from(settings: Mapping[str, str]) -> str | None:
    """The environment's profile, or ``None``. Raises :class:`ConfigError` listing the profiles."""
    text = settings.get(PROFILE_VARIABLE)
    return None if text is None else check_profile(text, PROFILE_VARIABLE)


def seconds_from(settings: Mapping[str, str], variable: str) -> Seconds:
    """The seconds of ``variable``: ``None`` for 0, UNSET if unset or blank. Raises :class:`ConfigError`."""
    text = settings.get(variable, "").strip()
    if not text:
        return UNSET
    try:
        return seconds(_number(text))
    except ValueError:
        raise refused(
            variable, text, f"{variable}={{}}", f"{SECONDS_ALLOWED}, and 0 {_ZEROS.get(variable, ZERO)}"
        ) from None


def bytes_from(settings: Mapping[str, str], variable: str) -> int | None:
    """The bytes that ``variable`` sets, ``None`` if not set. Raises :class:`ConfigError`."""
    text = settings.get(variable, "").strip()
    if not text:
        return None
    try:
        return _count(text)
    except ValueError:
        raise refused(variable, text, f"{variable}={{}}", BYTES_ALLOWED) from None


def override_from(settings: Mapping[str, str]) -> bool:
    """Whether ``LLMWATCH_OVERRIDE_TIMEOUTS`` overrides requests' time-outs. Raises :class:`ConfigError`."""
    text = settings.get(OVERRIDE_VARIABLE, "").strip()
    if not text:
        return False
    try:
        return _switch(text)
    except ValueError:
        raise refused(OVERRIDE_VARIABLE, text, f"{OVERRIDE_VARIABLE}={{}}", _SWITCH_ALLOWED) from None


def incident_log(environ: Mapping[str, str]) -> str | None:
    """The file that ``LLMWATCH_INCIDENT_LOG`` names, or ``None``."""
    return environ.get(INCIDENT_LOG_VARIABLE, "").strip() or None


def status_file_from(settings: Mapping[str, str]) -> str | None:
    """The file that ``LLMWATCH_STATUS_FILE`` names, with ``{pid}`` as it stands, or ``None``.

    Raises :class:`ConfigError` for another word in braces.
    """
    text = settings.get(STATUS_FILE_VARIABLE, "").strip()
    if not _BRACES.isdisjoint(text.replace(PROCESS_MARK, "")):
        raise refused(STATUS_FILE_VARIABLE, text, f"{STATUS_FILE_VARIABLE}={{}}", _FILE_ALLOWED)
    return text or None


def unknown(settings: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each unknown variable that begins with ``LLMWATCH_``, with the name probably meant."""
    return tuple(_not_known(name) for name in sorted(settings) if name not in KNOWN_VARIABLES)


@lru_cache(maxsize=64)
def _not_known(name: str) -> str:
    # An argument's name means its variable, even if another variable looks more alike. If only the ending is wrong,
    # the variable with the same stem is meant; else the most similar one. The prefix is left out, since it makes all
    # names look alike.
    rest = {known[len(PREFIX) :]: known for known in KNOWN_VARIABLES}
    typed = name[len(PREFIX) :]
    if (field := _FIELDS.get(typed.upper())) is not None:
        return _no_effect(name, field)
    same = [known for known in rest if _ENDING.sub("", known) == _ENDING.sub("", typed)]
    import difflib  # only a name that is wrong needs it

    near = difflib.get_close_matches(typed, same, n=1, cutoff=0.0) or difflib.get_close_matches(typed, rest, n=1)
    return _no_effect(name, rest[near[0]] if near else None)


def _no_effect(name: str, meant: str | None) -> str:
    guess = "." if meant is None else f"; did you mean {meant}?"
    return f"{name} has no effect: llmwatch knows no variable of that name{guess}"


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError
    number = float(text)
    if not number and text.lower().partition("e")[0].strip("+-0."):
        # Too small for a float; it would become 0, which means something else.
        raise ValueError
    return number


def _count(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError
    return int(text)


def _switch(text: str) -> bool:
    try:
        return _SWITCHES[text.lower()]
    except KeyError:
        raise ValueError from None


_ZEROS = {
    **{LIMITS[name].variable: LIMITS[name].zero for name in NAMES},
    KEEPALIVE_VARIABLE: "never reuses a connection",
    SINGLE_VARIABLE: "turns all four limits off",
}
_BRACES = frozenset("{}")
_FILE_ALLOWED = "it takes the name of a file, in which {pid} stands for the process and is the only word in braces"
_SWITCH_ALLOWED = "it takes 1, true, yes or on, or else 0, false, no or off"
_COUNT_ALLOWED = "it takes a whole number, 0 or more"
_KINDS: Mapping[str, tuple[Callable[[str], object], str]] = {
    "max_attempts": (_count, f"{_COUNT_ALLOWED}; 0 and 1 both mean that nothing is resent"),
    "backoff": (_number, f"{SECONDS_ALLOWED}; 0 resends without waiting"),
    "max_backoff": (_number, f"{SECONDS_ALLOWED}; 0 removes the cap"),
    "max_retry_after": (_number, f"{SECONDS_ALLOWED}; 0 removes the cap"),
    "slow_but_alive": (_switch, _SWITCH_ALLOWED),
    "resend_with_tools": (_switch, _SWITCH_ALLOWED),
    "breaker": (_count, f"{_COUNT_ALLOWED}; 0 turns the circuit breaker off"),
    "breaker_wait": (_number, f"{SECONDS_ALLOWED}; 0 lets the next call probe at once"),
    "budget": (_count, f"{_COUNT_ALLOWED}; 0 turns the budget off"),
    "max_wait": (_number, f"{SECONDS_ALLOWED}; 0 raises at once"),
    "pace": (_switch, _SWITCH_ALLOWED),
}
