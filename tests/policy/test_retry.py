"""The frozen value that carries a user's wishes about resending."""

from __future__ import annotations

import dataclasses
import math
import pickle

import pytest

from llmwatch.errors import ConfigError
from llmwatch.policy.effective import resolve_retry
from llmwatch.policy.environment import RETRY_VARIABLES
from llmwatch.policy.retry import RETRY_FIELDS, EffectiveRetry, Retry
from llmwatch.policy.values import UNSET
from tests.rows import each


def changed(attempt: object) -> object:
    """A hook for the tests."""
    return attempt


class TestConstruction:
    def test_the_list_of_fields_is_that_of_both_classes(self) -> None:
        """The list of fields is that of both classes; whether a call waits at all is no setting of a user's."""
        for kind, more in ((Retry, ()), (EffectiveRetry, ("waits",))):
            assert tuple(field.name for field in dataclasses.fields(kind)) == (*RETRY_FIELDS, *more)

    def test_what_is_not_given_is_unset(self) -> None:
        """A field that is not given is UNSET."""
        assert all(getattr(Retry(), name) is UNSET for name in RETRY_FIELDS)

    def test_none_makes_one_attempt(self) -> None:
        """Retry.none() allows one attempt, refuses none, and says nothing else."""
        assert Retry.none() == Retry(max_attempts=1, breaker=0, pace=False)
        assert repr(Retry.none()) == "Retry(max_attempts=1, breaker=0, pace=False)"

    def test_zero_attempts_are_one(self) -> None:
        """The first attempt is always made: 0 turns the resending off."""
        assert Retry(max_attempts=0).max_attempts == 1

    @pytest.mark.parametrize(
        ("name", "value", "kept"),
        [
            ("backoff", 0, 0.0),
            ("backoff", None, 0.0),
            ("backoff", 2, 2.0),
            ("max_backoff", 0, None),
            ("max_retry_after", 0, None),
            ("max_retry_after", 30, 30.0),
            ("breaker", 0, 0),
            ("breaker", None, 0),
            ("breaker_wait", 0, 0.0),
            ("budget", None, 0),
            ("budget", 4, 4),
            ("slow_but_alive", True, True),
            ("on_retry", None, None),
            ("on_retry", changed, changed),
        ],
    )
    def test_zero_and_none_turn_a_bound_off(self, name: str, value: object, kept: object) -> None:
        """0 and None turn a bound off, numbers of seconds become floats."""
        found = getattr(Retry(**{name: value}), name)  # type: ignore[arg-type]
        assert found == kept
        assert type(found) is type(kept)

    @each(
        ("name", "value"),
        [
            *(("max_attempts", value) for value in (True, 3.0, "3", -1, None)),
            *((name, value) for name in ("breaker", "budget") for value in (True, 5.0, -1, "5")),
            *(
                (name, value)
                for name in ("backoff", "max_backoff", "max_retry_after", "breaker_wait")
                for value in (math.nan, math.inf, -1, True, "1")
            ),
            *((name, value) for name in ("slow_but_alive", "resend_with_tools") for value in (1, 0, "yes", None)),
            *(("on_retry", value) for value in ("changed", 3, False)),
        ],
    )
    def test_an_invalid_value_is_a_config_error(self, name: str, value: object) -> None:
        """A value of the wrong kind is a ConfigError naming the field, its value and what is allowed."""
        with pytest.raises(ConfigError) as caught:
            Retry(**{name: value})  # type: ignore[arg-type]
        assert caught.value.field == name
        assert f"Retry({name}={value!r}) is not allowed: it takes" in str(caught.value)

    def test_a_backoff_above_its_cap_is_a_config_error(self) -> None:
        """A back-off above its cap in one source is a ConfigError that names both.

        Without a cap there is no error.
        """
        with pytest.raises(ConfigError, match=r"backoff=10 and max_backoff=8 contradict"):
            Retry(backoff=10, max_backoff=8)
        assert Retry(backoff=10, max_backoff=0).max_backoff is None

    def test_retry_survives_pickle(self) -> None:
        """Pickle gives an equal value with an equal hash."""
        retry = Retry(max_attempts=5, budget=0, on_retry=changed)
        again = pickle.loads(pickle.dumps(retry))
        assert again == retry
        assert hash(again) == hash(retry)


class TestResolution:
    def test_the_documented_defaults_apply(self) -> None:
        """Without any source the documented defaults apply."""
        assert resolve_retry(environ={}) == EffectiveRetry(
            max_attempts=3,
            backoff=0.5,
            max_backoff=8.0,
            max_retry_after=120.0,
            slow_but_alive=False,
            resend_with_tools=False,
            breaker=5,
            breaker_wait=30.0,
            budget=10,
            on_retry=None,
        )

    def test_precedence_goes_by_field(self) -> None:
        """Each source decides what the sources before it left.

        The sources are the argument of the call, the argument of the client, the environment and the default.
        """
        found = resolve_retry(
            call=Retry(max_attempts=7),
            client=Retry(max_attempts=6, backoff=2.0, on_retry=changed),
            environ={"LLMWATCH_MAX_ATTEMPTS": "5", "LLMWATCH_BACKOFF_SECONDS": "3", "LLMWATCH_BREAKER": "9"},
        )
        assert (found.max_attempts, found.backoff, found.breaker, found.budget) == (7, 2.0, 9, 10)
        assert found.on_retry is changed

    def test_none_of_the_call_beats_the_client(self) -> None:
        """An explicit None or 0 of the call is a word of its own and not a gap."""
        client = Retry(on_retry=changed, budget=3, max_retry_after=5)
        found = resolve_retry(call=Retry(on_retry=None, budget=0, max_retry_after=0), client=client, environ={})
        assert (found.on_retry, found.budget, found.max_retry_after) == (None, 0, math.inf)

    @each(
        ("name", "text", "value"),
        [
            ("max_attempts", "0", 1),
            ("max_attempts", "4", 4),
            ("backoff", "0", 0.0),
            ("backoff", ".25", 0.25),
            ("max_backoff", "0", math.inf),
            ("max_backoff", "20", 20.0),
            ("max_retry_after", "0", math.inf),
            ("max_retry_after", "1e2", 100.0),
            ("breaker", "0", 0),
            ("breaker_wait", "2.5", 2.5),
            ("breaker_wait", "0", 0.0),
            ("budget", "0", 0),
            ("budget", " 12 ", 12),
            *(("slow_but_alive", text, True) for text in ("1", "true", "YES", "On")),
            *(("resend_with_tools", text, False) for text in ("0", "False", "no", "OFF")),
        ],
    )
    def test_each_variable_is_read_as_its_field(self, name: str, text: str, value: object) -> None:
        """Each variable is read as its field is, and 0 turns it off."""
        found = getattr(resolve_retry(environ={RETRY_VARIABLES[name]: text}), name)
        assert found == value
        assert type(found) is type(value)

    @each(
        ("name", "text"),
        [
            *(("max_attempts", text) for text in ("3.0", "-1", "three", "1_0", "9" * 400, "٣")),
            *(("breaker", text) for text in ("true", "1.5")),
            ("budget", "-2"),
            *(("backoff", text) for text in ("nan", "inf", "-1", "1s", "1,5", "1_0", "1e999")),
            *(("slow_but_alive", text) for text in ("2", "maybe", "y")),
        ],
    )
    def test_an_invalid_variable_is_a_config_error(self, name: str, text: str) -> None:
        """An invalid variable is a ConfigError naming it, its text and what is allowed."""
        with pytest.raises(ConfigError, match="it takes") as caught:
            resolve_retry(environ={RETRY_VARIABLES[name]: text})
        assert caught.value.field == RETRY_VARIABLES[name]
        assert caught.value.value == repr(text)
        assert str(caught.value).startswith(f"{RETRY_VARIABLES[name]}='{text[:20]}")

    @pytest.mark.parametrize("name", RETRY_VARIABLES)
    def test_a_blank_variable_is_not_set(self, name: str) -> None:
        """An empty or blank variable counts as not set."""
        assert resolve_retry(environ={RETRY_VARIABLES[name]: " \t"}) == EffectiveRetry()

    def test_contradicting_variables_of_the_backoff_are_named(self) -> None:
        """Two variables that contradict each other are named; from two sources the values stand side by side."""
        environ = {"LLMWATCH_BACKOFF_SECONDS": "10", "LLMWATCH_MAX_BACKOFF_SECONDS": "8"}
        with pytest.raises(ConfigError, match=r"LLMWATCH_BACKOFF_SECONDS=10 and LLMWATCH_MAX_BACKOFF_SECONDS=8"):
            resolve_retry(environ=environ)
        found = resolve_retry(call=Retry(backoff=10), environ={"LLMWATCH_MAX_BACKOFF_SECONDS": "8"})
        assert (found.backoff, found.max_backoff) == (10, 8)

    def test_a_long_backoff_is_not_capped_by_the_default_cap(self) -> None:
        """A cap that is a default stands for waits that it was made for."""
        assert resolve_retry(call=Retry(backoff=60), environ={}).max_backoff == math.inf
        assert resolve_retry(environ={"LLMWATCH_BACKOFF_SECONDS": "60"}).max_backoff == math.inf
        assert resolve_retry(call=Retry(backoff=8), environ={}).max_backoff == 8

    def test_a_number_in_place_of_retry_is_a_type_error(self) -> None:
        """A number where a Retry belongs is a mistake of the program."""
        with pytest.raises(TypeError, match="retry must be a Retry"):
            resolve_retry(call=3, environ={})  # type: ignore[arg-type]
