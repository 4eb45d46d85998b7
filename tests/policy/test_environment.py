"""The environment variables: names, text, blanks, and unknown variables with a similar name."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from llmwatch.errors import ConfigError
from llmwatch.policy import environment
from llmwatch.policy.effective import resolve_keepalive, resolve_max_body, resolve_max_event
from llmwatch.policy.environment import (
    KEEPALIVE_VARIABLE,
    KNOWN_VARIABLES,
    LIMIT_VARIABLES,
    MAX_BODY_VARIABLE,
    MAX_EVENT_VARIABLE,
    PREFIX,
    RETRY_VARIABLES,
    SINGLE_VARIABLE,
    incident_log,
    seconds_from,
    settings,
)
from llmwatch.policy.limits import NAMES, SINGLE, Limits
from llmwatch.policy.values import UNSET
from tests.policy.resolving import resolve
from tests.rows import each

NO_SECONDS = [
    "abc",
    "nan",
    "inf",
    "-inf",
    "-1",
    "45s",
    "1_000",
    "1e999",
    "0x10",
    "true",
    "None",
    "4 5",
    "1,5",
    "٤٥",
    "--1",
]


class TestNames:
    def test_variables_of_the_limits(self) -> None:
        """Each limit has the documented variable, and the deadline its own form."""
        expected = {name: f"LLMWATCH_{name.upper()}_TIMEOUT_SECONDS" for name in NAMES}
        assert {**expected, "deadline": "LLMWATCH_DEADLINE_SECONDS"} == LIMIT_VARIABLES

    def test_every_variable_is_known_and_explained(self) -> None:
        """The list of known variables holds all that are read, each with one line."""
        others = {
            "LLMWATCH_TIMEOUT_SECONDS",
            "LLMWATCH_PROFILE",
            "LLMWATCH_KEEPALIVE_SECONDS",
            "LLMWATCH_MAX_EVENT_BYTES",
            "LLMWATCH_MAX_BODY_BYTES",
            "LLMWATCH_OVERRIDE_TIMEOUTS",
            "LLMWATCH_REFRESH_TIMEOUT_SECONDS",
            "LLMWATCH_INCIDENT_LOG",
            "LLMWATCH_CALL_LOG",
            "LLMWATCH_LOG_MAX_BYTES",
            "LLMWATCH_STATUS_FILE",
        }
        assert set(KNOWN_VARIABLES) == {*LIMIT_VARIABLES.values(), *RETRY_VARIABLES.values(), *others}
        for name, meaning in KNOWN_VARIABLES.items():
            assert name.startswith(PREFIX)
            assert meaning
            assert "\n" not in meaning
            assert len(meaning) < 110


class TestLimits:
    @pytest.mark.parametrize("name", NAMES)
    def test_a_variable_sets_its_limit(self, name: str) -> None:
        """A variable sets its limit, is named as the source, and counts as explicit."""
        limit = resolve(environ={LIMIT_VARIABLES[name]: " 45.5 "}).limits[name]
        assert (limit.value, limit.source, limit.explicit) == (45.5, LIMIT_VARIABLES[name], True)

    @each("name", NAMES)
    @each("text", ["0", "0.0", "-0", "+0"])
    def test_zero_turns_a_limit_off(self, name: str, text: str) -> None:
        """0 turns a limit off, and says so as its source."""
        limit = resolve(environ={LIMIT_VARIABLES[name]: text}).limits[name]
        assert (limit.value, limit.source, limit.explicit) == (None, LIMIT_VARIABLES[name], True)

    @pytest.mark.parametrize("text", ["", " ", "\t\n"])
    def test_blank_is_not_set(self, text: str) -> None:
        """An empty or blank variable counts as not set, every one of them."""
        assert resolve(environ=dict.fromkeys(KNOWN_VARIABLES, text)) == resolve()

    @each("text", NO_SECONDS)
    @each("variable", [LIMIT_VARIABLES["ttfb"], LIMIT_VARIABLES["deadline"], SINGLE_VARIABLE])
    def test_invalid_seconds_of_a_variable_are_a_config_error(self, variable: str, text: str) -> None:
        """Text that is no finite number of at least 0 is a ConfigError.

        The error names the variable, the text and the rule.
        """
        with pytest.raises(ConfigError) as caught:
            resolve(environ={variable: text})
        assert (caught.value.field, caught.value.value) == (variable, repr(text))
        assert f"{variable}={text!r} is not allowed: it takes a finite number of seconds" in str(caught.value)

    def test_a_bad_variable_is_an_error_even_when_overridden(self) -> None:
        """An invalid variable is never silently ignored, not even where an argument would win."""
        with pytest.raises(ConfigError):
            resolve(call=Limits(ttfb=5), environ={LIMIT_VARIABLES["ttfb"]: "abc"})

    def test_the_single_knob_sets_four_limits(self) -> None:
        """LLMWATCH_TIMEOUT_SECONDS stands for four limits, each where its own variable is not set."""
        found = resolve(environ={SINGLE_VARIABLE: "900", LIMIT_VARIABLES["ttfb"]: "30"})
        assert [found.value(name) for name in SINGLE] == [30.0, 900.0, 900.0, 900.0]
        assert found.limits["stale"].source == SINGLE_VARIABLE
        assert found.limits["stale"].explicit
        assert found.limits["connect"].source == "profile hosted"

    def test_single_knob_zero(self) -> None:
        """LLMWATCH_TIMEOUT_SECONDS=0 turns all four off."""
        found = resolve(environ={SINGLE_VARIABLE: "0"})
        assert [found.value(name) for name in SINGLE] == [None] * 4

    def test_the_environment_is_read_at_every_resolution(self) -> None:
        """A change of the environment shows at the next resolution."""
        environ = {LIMIT_VARIABLES["ttfb"]: "30"}
        assert resolve(environ=environ).value("ttfb") == 30.0
        environ[LIMIT_VARIABLES["ttfb"]] = "31"
        assert resolve(environ=environ).value("ttfb") == 31.0

    def test_a_variable_that_goes_away_while_it_is_read(self) -> None:
        """A variable that another thread removes in the middle of the reading counts as not set."""

        class Vanishing(Mapping[str, str]):
            def __iter__(self) -> Iterator[str]:
                return iter([LIMIT_VARIABLES["ttfb"]])

            def __len__(self) -> int:
                return 1

            def __getitem__(self, name: str) -> str:
                raise KeyError(name)

        assert settings(Vanishing()) == {}


class TestUnknown:
    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("LLMWATCH_TTFB_SECONDS", "LLMWATCH_TTFB_TIMEOUT_SECONDS"),
            ("LLMWATCH_TTFB_TIMEOUT", "LLMWATCH_TTFB_TIMEOUT_SECONDS"),
            ("LLMWATCH_DEADLINE_TIMEOUT_SECONDS", "LLMWATCH_DEADLINE_SECONDS"),
            ("LLMWATCH_STALE_TIMEOUT_SECOND", "LLMWATCH_STALE_TIMEOUT_SECONDS"),
            ("LLMWATCH_MAX_ATTEMPT", "LLMWATCH_MAX_ATTEMPTS"),
            ("LLMWATCH_CONNECT", "LLMWATCH_CONNECT_TIMEOUT_SECONDS"),
            ("LLMWATCH_BREAKER_TIMEOUT_SECONDS", "LLMWATCH_BREAKER_SECONDS"),
            ("LLMWATCH_TIMEOUT", "LLMWATCH_TIMEOUT_SECONDS"),
            ("LLMWATCH_KEEP_ALIVE_SECONDS", "LLMWATCH_KEEPALIVE_SECONDS"),
            ("LLMWATCH_MAX_EVENT", "LLMWATCH_MAX_EVENT_BYTES"),
            ("LLMWATCH_PROFIL", "LLMWATCH_PROFILE"),
            ("LLMWATCH_REFRESH_SECONDS", "LLMWATCH_REFRESH_TIMEOUT_SECONDS"),
            ("LLMWATCH_BREAKER_WAIT", "LLMWATCH_BREAKER_SECONDS"),
            ("LLMWATCH_BUDGET", "LLMWATCH_RETRY_BUDGET"),
            ("LLMWATCH_MAX_WAIT", "LLMWATCH_MAX_WAIT_SECONDS"),
            ("LLMWATCH_MAX_RETRIES", "LLMWATCH_MAX_ATTEMPTS"),
            ("LLMWATCH_RETRIES", "LLMWATCH_MAX_ATTEMPTS"),
        ],
    )
    def test_a_likely_typo_is_a_warning(self, name: str, meant: str) -> None:
        """An unknown variable with llmwatch's prefix causes a warning that names the nearest known variable."""
        found = resolve(environ={name: "1"})
        assert found.warnings == (
            f"{name} has no effect: llmwatch knows no variable of that name; did you mean {meant}?",
        )

    def test_a_field_name_in_capitals_is_reported_with_its_variable(self) -> None:
        """The warning for a field's name in capitals that is no variable names the variable of that field."""
        for field, variable in {**LIMIT_VARIABLES, **RETRY_VARIABLES}.items():
            name = f"LLMWATCH_{field.upper()}"
            if name not in KNOWN_VARIABLES:
                (warning,) = resolve(environ={name: "1"}).warnings
                assert warning.endswith(f"did you mean {variable}?")

    def test_a_name_like_no_variable_is_reported_without_a_guess(self) -> None:
        """A name that is similar to no variable is reported without a guess, and its value is never shown."""
        (warning,) = resolve(environ={"LLMWATCH_ZZZ": "secret"}).warnings
        assert warning == "LLMWATCH_ZZZ has no effect: llmwatch knows no variable of that name."

    @pytest.mark.parametrize(
        "environ", [{"LLMWATCH_TTFB_SECONDS": " "}, {"OTHER_TTFB_SECONDS": "1"}, {"llmwatch_x": "1"}]
    )
    def test_blank_and_foreign_variables_are_not_reported(self, environ: dict[str, str]) -> None:
        """A blank variable, and one with another prefix, is not mentioned."""
        assert resolve(environ=environ).warnings == ()

    def test_known_variables_are_no_typos(self) -> None:
        """No known variable causes a warning."""
        values = {"LLMWATCH_PROFILE": "hosted", "LLMWATCH_SLOW_BUT_ALIVE": "1"}
        environ = {name: values.get(name, "0") for name in KNOWN_VARIABLES}
        assert resolve(environ=environ).warnings == ()


class TestKeepalive:
    @pytest.mark.parametrize(
        ("value", "text", "expected"),
        [
            (None, "", 10.0),
            (None, "4", 4.0),
            (None, "0", 0.0),
            (25, "4", 25.0),
            (0, "4", 0.0),
            (0.5, "", 0.5),
        ],
    )
    def test_keepalive_comes_from_argument_environment_or_default(
        self, value: float | None, text: str, expected: float
    ) -> None:
        """Argument, environment and 10 s, in this order; 0 means never to reuse."""
        assert resolve_keepalive(value, {KEEPALIVE_VARIABLE: text}) == expected

    @pytest.mark.parametrize("value", [-1, True, "10", float("nan")])
    def test_an_invalid_keepalive_argument_is_a_config_error(self, value: object) -> None:
        """A wrong argument is a ConfigError naming it."""
        with pytest.raises(ConfigError, match="0 never reuses a connection") as caught:
            resolve_keepalive(value, {})  # type: ignore[arg-type]
        assert caught.value.field == "keepalive"

    def test_an_invalid_keepalive_variable_is_a_config_error(self) -> None:
        """A wrong variable is a ConfigError naming it, also where the argument would win."""
        with pytest.raises(ConfigError, match="0 never reuses a connection") as caught:
            resolve_keepalive(3.0, {KEEPALIVE_VARIABLE: "ten"})
        assert caught.value.field == KEEPALIVE_VARIABLE


@pytest.mark.parametrize(
    ("name", "variable", "resolve", "default"),
    [
        ("max_event", MAX_EVENT_VARIABLE, lambda value, there: resolve_max_event(value, there, default=7), 7),
        ("max_body", MAX_BODY_VARIABLE, resolve_max_body, 1 << 30),
    ],
)
class TestSizes:
    @pytest.mark.parametrize(
        ("value", "text", "expected"),
        [
            (None, "", None),
            (None, " 4096 ", 4096),
            (None, "0", sys.maxsize),
            (25, "4096", 25),
            (0, "4096", sys.maxsize),
            (1, "", 1),
        ],
    )
    def test_a_size_comes_from_argument_environment_or_default(
        self, name: str, variable: str, resolve: Any, default: int, value: int | None, text: str, expected: int | None
    ) -> None:
        """Argument, environment and default, in this order; 0 removes the cap."""
        assert resolve(value, {variable: text}) == (default if expected is None else expected)

    @pytest.mark.parametrize("value", [-1, True, "4096", 1.5, 4096.0, float("nan")])
    def test_an_invalid_size_argument_is_a_config_error(
        self, name: str, variable: str, resolve: Any, default: int, value: object
    ) -> None:
        """A wrong argument is a ConfigError naming it."""
        with pytest.raises(ConfigError, match="0 removes the cap") as caught:
            resolve(value, {})
        assert caught.value.field == name
        assert f"{name}={value!r}" in str(caught.value)

    @pytest.mark.parametrize("text", ["-1", "1.5", "64 MiB", "1e6", "1_000", "many", "nan"])
    def test_an_invalid_size_variable_is_a_config_error(
        self, name: str, variable: str, resolve: Any, default: int, text: str
    ) -> None:
        """A wrong variable is a ConfigError naming it, also where the argument would win."""
        with pytest.raises(ConfigError, match="a whole number of bytes") as caught:
            resolve(3, {variable: text})
        assert caught.value.field == variable
        assert text in str(caught.value)


class TestOthers:
    @pytest.mark.parametrize(("environ", "path"), [({}, None), ({"LLMWATCH_INCIDENT_LOG": "  "}, None)])
    def test_without_a_path_there_is_no_incident_log(self, environ: dict[str, str], path: str | None) -> None:
        """Without a path there is no incident log."""
        assert incident_log(environ) is path

    def test_the_path_of_the_incident_log_is_kept(self) -> None:
        """The path is handed on as it is."""
        assert incident_log({"LLMWATCH_INCIDENT_LOG": "a b.jsonl"}) == "a b.jsonl"

    def test_seconds_of_a_variable_are_unset_off_or_a_number(self) -> None:
        """A reader of its own variable tells not set, off and a number apart."""
        assert seconds_from({}, KEEPALIVE_VARIABLE) is UNSET
        assert seconds_from({KEEPALIVE_VARIABLE: "0"}, KEEPALIVE_VARIABLE) is None
        assert seconds_from({KEEPALIVE_VARIABLE: "15"}, KEEPALIVE_VARIABLE) == 15.0


# -- reading it once -----------------------------------------------------------


class Counted:
    """A function of an environment that counts how often it reads one."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, environ: Mapping[str, str]) -> dict[str, str]:
        self.times += 1
        return dict(environ)


def test_the_environment_is_read_again_once_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found holds until a variable is set, changed or removed, however that is done."""
    read = Counted()
    reading = environment.Reading(read)
    changes: list[Callable[[], object]] = [
        lambda: monkeypatch.setenv("LLMWATCH_TTFB_TIMEOUT_SECONDS", "1"),
        lambda: monkeypatch.setenv("LLMWATCH_TTFB_TIMEOUT_SECONDS", "2"),
        lambda: os.environb.__setitem__(b"LLMWATCH_TTFB_TIMEOUT_SECONDS", b"3"),
        lambda: os.environ.update({"LLMWATCH_TTFB_TIMEOUT_SECONDS": "4"}),
        lambda: monkeypatch.delenv("LLMWATCH_TTFB_TIMEOUT_SECONDS"),
    ]
    for times, change in enumerate(changes, start=1):
        change()
        found = reading(os.environ)
        assert reading(os.environ) is found
        assert found == dict(os.environ)
        assert read.times == times
    os.environ["LLMWATCH_TTFB_TIMEOUT_SECONDS"] = os.environ.pop("LLMWATCH_TTFB_TIMEOUT_SECONDS", "5")
    assert reading(os.environ)["LLMWATCH_TTFB_TIMEOUT_SECONDS"] == "5"
    del os.environ["LLMWATCH_TTFB_TIMEOUT_SECONDS"]


def test_a_plain_mapping_is_read_each_time() -> None:
    """Nothing shows whether a mapping other than ``os.environ`` has changed."""
    read, plain = Counted(), {"a": "1"}
    reading = environment.Reading(read)
    assert reading(plain) == {"a": "1"}
    plain["a"] = "2"
    assert reading(plain) == {"a": "2"}
    assert read.times == 2


def test_what_changes_while_it_is_read_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another thread changes meanwhile is found at the next reading."""

    def read(environ: Mapping[str, str]) -> str | None:
        found = environ.get("LLMWATCH_PROFILE")
        if found == "hosted":
            monkeypatch.setenv("LLMWATCH_PROFILE", "local")
        return found

    reading = environment.Reading(read)
    monkeypatch.setenv("LLMWATCH_PROFILE", "hosted")
    assert reading(os.environ) == "hosted"
    assert reading(os.environ) == "local"
    assert reading(os.environ) == "local"
