"""Texts as values of variables: each text is read exactly, or refused with the variable's name.

Nothing is replaced by a default on the way: only a blank text counts as not set.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from llmwatch.errors import ConfigError
from llmwatch.policy.effective import resolve_keepalive, resolve_max_body, resolve_max_event, resolve_override
from llmwatch.policy.environment import (
    CALL_LOG_VARIABLE,
    INCIDENT_LOG_VARIABLE,
    KEEPALIVE_VARIABLE,
    KNOWN_VARIABLES,
    LIMIT_VARIABLES,
    LOG_SIZE_VARIABLE,
    MAX_BODY_VARIABLE,
    MAX_EVENT_VARIABLE,
    OVERRIDE_VARIABLE,
    PROFILE_VARIABLE,
    REFRESH_VARIABLE,
    RETRY_VARIABLES,
    SINGLE_VARIABLE,
    STATUS_FILE_VARIABLE,
    bytes_from,
    incident_log,
    profile_from,
    retry_from,
    seconds_from,
    settings,
)
from llmwatch.policy.limits import SINGLE
from llmwatch.policy.profiles import PROFILES
from llmwatch.policy.values import UNSET
from tests.policy.resolving import resolve
from tests.rows import each

NO = ConfigError
"""Refused."""
BLANK: Any = UNSET
"""Not set."""

# What each text is as seconds, as a whole number, and as a switch.
TEXTS: dict[str, tuple[Any, Any, Any]] = {
    "": (BLANK, BLANK, BLANK),
    " ": (BLANK, BLANK, BLANK),
    "\t\r\n\v\f": (BLANK, BLANK, BLANK),
    "\u00a0\u3000": (BLANK, BLANK, BLANK),
    "0": (0.0, 0, False),
    "1": (1.0, 1, True),
    "2": (2.0, 2, NO),
    "00": (0.0, 0, NO),
    "007": (7.0, 7, NO),
    " 7 ": (7.0, 7, NO),
    "7\n": (7.0, 7, NO),
    "\u00a07": (7.0, 7, NO),
    "+7": (7.0, 7, NO),
    "-7": (NO, NO, NO),
    "- 7": (NO, NO, NO),
    "+-7": (NO, NO, NO),
    "++7": (NO, NO, NO),
    "7-": (NO, NO, NO),
    "+": (NO, NO, NO),
    "-": (NO, NO, NO),
    "+0": (0.0, 0, NO),
    "-0": (0.0, NO, NO),
    "-0.0": (0.0, NO, NO),
    "0.0": (0.0, NO, NO),
    ".5": (0.5, NO, NO),
    "5.": (5.0, NO, NO),
    ".": (NO, NO, NO),
    "1.5": (1.5, NO, NO),
    "1.5.0": (NO, NO, NO),
    "1,5": (NO, NO, NO),
    "1,000": (NO, NO, NO),
    "1_000": (NO, NO, NO),
    "1 000": (NO, NO, NO),
    "1'000": (NO, NO, NO),
    "1e3": (1000.0, NO, NO),
    "1E+3": (1000.0, NO, NO),
    "1e-3": (0.001, NO, NO),
    "1e": (NO, NO, NO),
    "e3": (NO, NO, NO),
    "1e3.5": (NO, NO, NO),
    "1e999": (NO, NO, NO),
    "1e-400": (NO, NO, NO),
    "0e9": (0.0, NO, NO),
    "nan": (NO, NO, NO),
    "NaN": (NO, NO, NO),
    "inf": (NO, NO, NO),
    "-inf": (NO, NO, NO),
    "Infinity": (NO, NO, NO),
    "∞": (NO, NO, NO),
    "0x10": (NO, NO, NO),
    "0b11": (NO, NO, NO),
    "0o17": (NO, NO, NO),
    "1f": (NO, NO, NO),
    "7s": (NO, NO, NO),
    "7 s": (NO, NO, NO),
    "500ms": (NO, NO, NO),
    "1m": (NO, NO, NO),
    "PT1M": (NO, NO, NO),
    "00:01": (NO, NO, NO),
    "50%": (NO, NO, NO),
    "1/2": (NO, NO, NO),
    "64MiB": (NO, NO, NO),
    "64k": (NO, NO, NO),
    '"7"': (NO, NO, NO),
    "'7'": (NO, NO, NO),
    "7;": (NO, NO, NO),
    "7 # seven": (NO, NO, NO),
    "$SEVEN": (NO, NO, NO),
    "${SEVEN:-7}": (NO, NO, NO),
    "[7]": (NO, NO, NO),
    "None": (NO, NO, NO),
    "null": (NO, NO, NO),
    "default": (NO, NO, NO),
    "true": (NO, NO, True),
    "TRUE": (NO, NO, True),
    " Yes ": (NO, NO, True),
    "on": (NO, NO, True),
    "False": (NO, NO, False),
    "no": (NO, NO, False),
    "OFF": (NO, NO, False),
    "y": (NO, NO, NO),
    "t": (NO, NO, NO),
    "enabled": (NO, NO, NO),
    "truе": (NO, NO, NO),  # the last letter is Cyrillic
    "\uff17": (NO, NO, NO),
    "٧": (NO, NO, NO),
    "७": (NO, NO, NO),
    "²": (NO, NO, NO),
    "½": (NO, NO, NO),
    "Ⅶ": (NO, NO, NO),
    "\u22127": (NO, NO, NO),
    "7\u200b": (NO, NO, NO),
    "\ufeff7": (NO, NO, NO),
    "7\x01": (NO, NO, NO),
    "\x1b[31m7": (NO, NO, NO),
    "7\n8": (NO, NO, NO),
    "\udcff": (NO, NO, NO),
    "9" * 18: (999999999999999999.0, 999999999999999999, NO),
    "9" * 19: (9999999999999999999.0, NO, NO),
    "9" * 400: (NO, NO, NO),
    "0" * 400: (0.0, NO, NO),
    "x" * 100_000: (NO, NO, NO),
    "{0}": (NO, NO, NO),
    "%s": (NO, NO, NO),
}

_SWITCHES = [RETRY_VARIABLES[name] for name in ("slow_but_alive", "resend_with_tools", "pace")]
_COUNTS = [RETRY_VARIABLES[name] for name in ("max_attempts", "breaker", "budget")]
_WAITS = [name for name in RETRY_VARIABLES.values() if name not in (*_SWITCHES, *_COUNTS)]

Read = Callable[[Mapping[str, str]], Any]


def _limit(name: str) -> Read:
    def read(environ: Mapping[str, str]) -> Any:
        limit = resolve(environ=environ).limits[name]
        return (limit.value or 0.0) if limit.explicit else BLANK

    return read


def _single(environ: Mapping[str, str]) -> Any:
    (found,) = {_limit(name)(environ) for name in SINGLE}
    return found


def _retry(variable: str) -> Read:
    (field,) = [field for field, name in RETRY_VARIABLES.items() if name == variable]

    def read(environ: Mapping[str, str]) -> Any:
        retry = retry_from(settings(environ))
        found = BLANK if retry is None else getattr(retry, field)
        # Off is None there.
        return 0.0 if found is None else found

    return read


def _refresh(environ: Mapping[str, str]) -> Any:
    found = seconds_from(environ, REFRESH_VARIABLE)
    return 0.0 if found is None else found


def _keepalive(environ: Mapping[str, str]) -> Any:
    return resolve_keepalive(None, environ)


def _size(resolve: Callable[[Mapping[str, str]], int]) -> Read:
    def read(environ: Mapping[str, str]) -> Any:
        found = resolve(environ)
        return 0 if found == sys.maxsize else found

    return read


# How each variable is read, which of the three kinds it is, and what it is where it is not set.
VARIABLES: dict[str, tuple[Read, int, Any]] = {
    **{variable: (_limit(name), 0, BLANK) for name, variable in LIMIT_VARIABLES.items()},
    SINGLE_VARIABLE: (_single, 0, BLANK),
    REFRESH_VARIABLE: (_refresh, 0, BLANK),
    KEEPALIVE_VARIABLE: (_keepalive, 0, 10.0),
    **{variable: (_retry(variable), 0, BLANK) for variable in _WAITS},
    **{variable: (_retry(variable), 1, BLANK) for variable in _COUNTS},
    MAX_EVENT_VARIABLE: (_size(lambda environ: resolve_max_event(None, environ, default=77)), 1, 77),
    LOG_SIZE_VARIABLE: (lambda environ: bytes_from(environ, LOG_SIZE_VARIABLE), 1, None),
    MAX_BODY_VARIABLE: (_size(lambda environ: resolve_max_body(None, environ)), 1, 1 << 30),
    **{variable: (_retry(variable), 2, BLANK) for variable in _SWITCHES},
    OVERRIDE_VARIABLE: (lambda environ: resolve_override(False, environ), 2, False),
}


def test_every_variable_is_tried() -> None:
    """No variable of llmwatch is left out, and there are texts enough."""
    files = {INCIDENT_LOG_VARIABLE, CALL_LOG_VARIABLE, STATUS_FILE_VARIABLE}
    assert {*VARIABLES, PROFILE_VARIABLE, *files} == set(KNOWN_VARIABLES)
    assert len(TEXTS) >= 80


@each("variable", VARIABLES)
def test_a_text_is_taken_exactly_or_refused(variable: str) -> None:
    """The value is the text's, of the right type.

    Else the error names the variable, the text and what is allowed.
    """
    read, kind, unset = VARIABLES[variable]
    for text, meanings in TEXTS.items():
        meant = meanings[kind]
        if meant is NO:
            with pytest.raises(ConfigError) as caught:
                read({variable: text})
            assert caught.value.field == variable, text[:80]
            _names(str(caught.value), variable, text)
            assert "it takes" in str(caught.value)
        else:
            expected = unset if meant is BLANK else meant
            if variable == RETRY_VARIABLES["max_attempts"] and expected == 0:
                # Both mean that nothing is resent.
                expected = 1
            found = read({variable: text})
            assert (found, type(found)) == (expected, type(expected)), text[:80]


def _names(message: str, variable: str, text: str) -> None:
    shown = repr(text.strip())
    assert f"{variable}={shown if len(shown) <= 80 else shown[:40]}" in message
    assert len(message) < 400
    assert message.isprintable()


def test_a_profile_is_one_of_the_list_or_refused() -> None:
    """Only the names themselves are profiles: no other case, no abbreviation, no number."""
    for name in PROFILES:
        assert profile_from(settings({PROFILE_VARIABLE: f" {name}\n"})) == name
    for text, meanings in TEXTS.items():
        if meanings[0] is BLANK:
            assert profile_from(settings({PROFILE_VARIABLE: text})) is None
    others = [text for text, meanings in TEXTS.items() if meanings[0] is not BLANK]
    for text in (*others, *(name.upper() for name in PROFILES), *(name[:-1] for name in PROFILES), ",".join(PROFILES)):
        with pytest.raises(ConfigError) as caught:
            profile_from(settings({PROFILE_VARIABLE: text}))
        _names(str(caught.value), PROFILE_VARIABLE, text)
        assert all(name in str(caught.value) for name in PROFILES)


def test_a_path_is_taken_as_it_stands() -> None:
    """Any text but a blank one names a file, without the blanks around it.

    Whether the file can be opened is found later.
    """
    for text in TEXTS:
        assert incident_log({INCIDENT_LOG_VARIABLE: text}) == (text.strip() or None)
