"""From sources to effective limits: precedence, explicit beats policy, size, patience, plain calls."""

from __future__ import annotations

import json
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmwatch.policy.effective import resolve_limits
from llmwatch.policy.environment import LIMIT_VARIABLES, SINGLE_VARIABLE
from llmwatch.policy.limits import NAMES, SINGLE, Limits
from tests.policy.resolving import resolve

TOKENS_32K = 128_000  # bytes
MOVED = ("ttfb", "first_content")


class TestPrecedence:
    @pytest.mark.parametrize("name", NAMES)
    def test_the_first_source_that_speaks_decides(self, name: str) -> None:
        """Argument of the call, argument of the client, environment, profile: the first that speaks decides."""
        call, client, environ = Limits(**{name: 1}), Limits(**{name: 2}), {LIMIT_VARIABLES[name]: "3"}
        chain = [
            (resolve(call=call, client=client, environ=environ), 1.0, "argument of the call"),
            (resolve(client=client, environ=environ), 2.0, "argument of the client"),
            (resolve(environ=environ), 3.0, LIMIT_VARIABLES[name]),
        ]
        for found, value, source in chain:
            limit = found.limits[name]
            assert (limit.name, limit.value, limit.source, limit.explicit) == (name, value, source, True)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_limit_that_is_off_does_not_fall_through(self, name: str) -> None:
        """A limit that is turned off does not fall through to the next source."""
        found = resolve(call=Limits(**{name: 0}), client=Limits(**{name: 2}))
        assert found.value(name) is None
        assert found.limits[name].source == "argument of the call"

    def test_the_single_knob_belongs_to_its_source(self) -> None:
        """A source's single knob beats every specific value of a lower source, upwards as well as downwards."""
        environ = {LIMIT_VARIABLES["ttfb"]: "5", LIMIT_VARIABLES["stale"]: "5000"}
        found = resolve(client=Limits.single(900), environ=environ)
        assert [found.value(name) for name in SINGLE] == [900.0] * 4
        assert {found.limits[name].source for name in SINGLE} == {"argument of the client, single knob"}
        assert all(found.limits[name].explicit for name in SINGLE)
        assert found.limits["connect"].source == "profile hosted"

    def test_a_specific_value_of_a_higher_source_beats_a_lower_single(self) -> None:
        """A specific value of the call wins over the client's single knob, which keeps the other three."""
        found = resolve(call=Limits(ttfb=30), client=Limits.single(900))
        assert [found.value(name) for name in SINGLE] == [30.0, 900.0, 900.0, 900.0]

    @given(
        st.lists(
            st.tuples(
                st.dictionaries(st.sampled_from(SINGLE), st.sampled_from([None, 7.0]), max_size=4),
                st.sampled_from(["absent", None, 11.0]),
            ),
            min_size=3,
            max_size=3,
        )
    )
    def test_the_first_specific_value_or_single_knob_decides(
        self, sources: list[tuple[dict[str, float | None], float | str | None]]
    ) -> None:
        """For any three sources each limit is the first specific value or single knob in their order."""
        built = [
            Limits(**fields) if single == "absent" else Limits.single(single, **fields)  # type: ignore[arg-type]
            for fields, single in sources
        ]
        environ = {LIMIT_VARIABLES[name]: str(value or 0) for name, value in sources[2][0].items()}
        if sources[2][1] != "absent":
            environ[SINGLE_VARIABLE] = str(sources[2][1] or 0)
        found = resolve(call=built[0], client=built[1], environ=environ)
        for name in SINGLE:
            expected = next(
                (fields.get(name, single) for fields, single in sources if name in fields or single != "absent"),
                resolve().value(name),
            )
            assert found.value(name) == expected

    @pytest.mark.parametrize("wrong", [30, 30.0, {"ttfb": 30}, (5, 30)])
    def test_a_number_in_place_of_limits_is_a_type_error(self, wrong: object) -> None:
        """A number where Limits belong is a mistake of the program, and the message says what to write."""
        with pytest.raises(TypeError, match=r"limits must be a Limits, such as"):
            resolve(call=wrong)


class TestSize:
    @pytest.mark.parametrize(
        ("profile", "ttfb", "first_content"), [("hosted", 232, 412), ("reasoning", 412, 1012), ("local", 1012, 1912)]
    )
    def test_default_ttfb_and_first_content_grow_with_the_prompt(
        self, profile: str, ttfb: float, first_content: float
    ) -> None:
        """32,000 tokens of prompt add 112 s to the default ttfb and first_content, and the source says so."""
        found = resolve(profile=profile, body_bytes=TOKENS_32K)
        assert (found.value("ttfb"), found.value("first_content")) == (ttfb, first_content)
        assert found.limits["ttfb"].source == f"profile {profile}, scaled for 32,000 prompt tokens"

    def test_no_other_limit_grows(self) -> None:
        """Size moves no other limit."""
        small, large = resolve(), resolve(body_bytes=TOKENS_32K)
        assert {name for name in NAMES if small.limits[name] != large.limits[name]} == set(MOVED)

    def test_growth_ends_at_half_an_hour(self) -> None:
        """A prompt of any size adds at most 1,800 s."""
        assert resolve(body_bytes=10**10).value("ttfb") == 120 + 1800

    def test_a_small_prompt_changes_nothing(self) -> None:
        """Below 1,000 tokens the default stays as documented, source included."""
        assert resolve(body_bytes=3_999) == resolve()

    def test_base64_payloads_cause_no_growth(self) -> None:
        """Base64 in the body does not count, its text does."""
        body = {"data": "A" * 1_000_000, "media_type": "image/png", "text": "word " * 3_200}
        found = resolve(body=body, body_bytes=1_016_000)
        assert found.limits["ttfb"].source == "profile hosted, scaled for 4,000 prompt tokens"
        assert found.value("ttfb") == 134.0


class TestPatience:
    def test_each_kill_doubles_the_default_ttfb_and_first_content(self) -> None:
        """Each earlier kill before the first content doubles the default ttfb and first_content."""
        found = [resolve(patience=kills) for kills in range(3)]
        assert [limits.value("ttfb") for limits in found] == [120.0, 240.0, 480.0]
        assert [limits.value("first_content") for limits in found] == [300.0, 600.0, 1200.0]
        assert [limits.limits["ttfb"].source for limits in found] == [
            "profile hosted",
            "profile hosted, doubled once",
            "profile hosted, doubled 2 times",
        ]

    def test_growth_is_doubled_too(self) -> None:
        """Doubling applies to the grown default, and the cap on growth does not cap it."""
        found = resolve(patience=1, body_bytes=TOKENS_32K)
        assert found.value("ttfb") == (120 + 112) * 2
        assert found.limits["ttfb"].source == "profile hosted, scaled for 32,000 prompt tokens, doubled once"
        assert resolve(patience=2, body_bytes=10**10).value("ttfb") == (120 + 1800) * 4

    def test_no_other_limit_is_doubled(self) -> None:
        """Patience moves no other limit."""
        first, second = resolve(), resolve(patience=1)
        assert {name for name in NAMES if first.limits[name] != second.limits[name]} == set(MOVED)

    def test_doubling_stays_finite(self) -> None:
        """Doubling ends before a float, or the longest wait of an operating system, would overflow."""
        assert resolve(patience=10_000).value("ttfb") == 120.0 * 2**16


class TestExplicitBeatsPolicy:
    @pytest.mark.parametrize(
        "settings",
        [
            {"call": Limits(ttfb=5, first_content=6)},
            {"client": Limits(ttfb=5, first_content=6)},
            {"environ": {"LLMWATCH_TTFB_TIMEOUT_SECONDS": "5", "LLMWATCH_FIRST_CONTENT_TIMEOUT_SECONDS": "6"}},
        ],
        ids=["call", "client", "environment"],
    )
    @pytest.mark.parametrize("profile", ["hosted", "reasoning", "local"])
    def test_an_explicit_value_is_used_as_given(self, settings: dict[str, object], profile: str) -> None:
        """An explicit value is used as given on every attempt, for any profile, size and history."""
        found = resolve(**settings, profile=profile, body_bytes=10**7, patience=3)  # type: ignore[arg-type]
        assert (found.value("ttfb"), found.value("first_content")) == (5.0, 6.0)

    def test_the_single_knob_is_explicit(self) -> None:
        """Neither size nor patience moves what the single knob set."""
        found = resolve(environ={SINGLE_VARIABLE: "900"}, body_bytes=10**7, patience=3)
        assert [found.value(name) for name in SINGLE] == [900.0] * 4

    def test_one_explicit_value_leaves_the_other_default_alone(self) -> None:
        """A default beside an explicit value still grows."""
        found = resolve(call=Limits(ttfb=5), body_bytes=TOKENS_32K)
        assert (found.value("ttfb"), found.value("first_content")) == (5.0, 412.0)


class TestPlain:
    @pytest.mark.parametrize(("profile", "ttfb"), [("hosted", 600), ("reasoning", 1800), ("local", 1800)])
    def test_a_plain_call_has_its_own_default_ttfb(self, profile: str, ttfb: float) -> None:
        """A plain call is silent until it is finished, so its default ttfb is longer."""
        limit = resolve(plain=True, profile=profile).limits["ttfb"]
        assert (limit.value, limit.source) == (ttfb, f"profile {profile}, plain call")

    def test_the_ttfb_of_a_plain_call_grows_and_doubles(self) -> None:
        """Size and patience move the default of a plain call as well."""
        assert resolve(plain=True, body_bytes=TOKENS_32K, patience=1).value("ttfb") == (600 + 112) * 2

    @pytest.mark.parametrize("name", ["first_event", "first_content", "progress"])
    @pytest.mark.parametrize("source", ["call", "client", "environ"])
    def test_content_limits_are_off_in_a_plain_call(self, name: str, source: str) -> None:
        """Content limits have no meaning in a plain call and are off even where they are set."""
        setting: object = {LIMIT_VARIABLES[name]: "5"} if source == "environ" else Limits(**{name: 5})
        limit = resolve(plain=True, **{source: setting}).limits[name]  # type: ignore[arg-type]
        assert (limit.value, limit.source, limit.explicit) == (None, "off in a plain call", False)

    def test_other_limits_hold_in_a_plain_call(self) -> None:
        """An explicit ttfb and the single knob hold in a plain call too."""
        assert resolve(plain=True, call=Limits(ttfb=5)).value("ttfb") == 5.0
        found = resolve(plain=True, call=Limits.single(70))
        assert (found.value("ttfb"), found.value("stale"), found.value("progress")) == (70.0, 70.0, None)
        assert found.warnings == ()


class TestResult:
    def test_effective_limits_hold_all_limits_in_order(self) -> None:
        """The mapping holds every limit, in the order in which a call meets them."""
        found = resolve()
        assert tuple(found.limits) == tuple(found.seconds) == NAMES
        assert found.seconds["ttfb"] == found.value("ttfb") == 120.0

    def test_an_unknown_limit_is_a_key_error(self) -> None:
        """A name that is no limit is a KeyError."""
        with pytest.raises(KeyError):
            resolve().value("idle")

    def test_to_dict_and_to_json(self) -> None:
        """to_dict gives plain data, and to_json its text, that a program can read back."""
        found = resolve(call=Limits(ttfb=45, stale=0), environ={"LLMWATCH_X": "1"})
        data = json.loads(found.to_json())
        assert data == found.to_dict()
        assert json.loads(found.limits["ttfb"].to_json()) == data["limits"]["ttfb"]
        assert list(data) == ["profile", "profile_source", "limits", "warnings"]
        assert data["limits"]["ttfb"] == {"value": 45.0, "source": "argument of the call", "explicit": True}
        assert data["limits"]["stale"]["value"] is None
        assert len(data["warnings"]) == 1

    def test_effective_limits_survive_pickle(self) -> None:
        """Pickle gives an equal value."""
        found = resolve(call=Limits.single(900), body_bytes=TOKENS_32K)
        assert pickle.loads(pickle.dumps(found)) == found

    def test_os_environ_can_be_passed(self) -> None:
        """os.environ itself can be handed in."""
        assert resolve_limits(environ=os.environ).value("connect") is not None

    def test_effective_limits_hold_nothing_of_the_request(self) -> None:
        """Neither URL nor body nor model shows in the result."""
        found = resolve(
            url="https://key@api.example.com/x?key=sk-secret", body={"model": "o3-secret", "input": "secret"}
        )
        assert "secret" not in repr(found)
        assert "secret" not in json.dumps(found.to_dict())


class TestLowered:
    def test_a_cap_only_lowers(self) -> None:
        """A shorter cap replaces a limit and names its source; a longer one changes nothing."""
        limits = resolve(call=Limits(ttfb=50, stale=20)).lowered({"ttfb": 10, "stale": 30}, "an SDK's timeout")
        ttfb, stale = limits.limits["ttfb"], limits.limits["stale"]
        assert (ttfb.value, ttfb.source, ttfb.explicit) == (10, "an SDK's timeout", True)
        assert (stale.value, stale.source) == (20.0, "argument of the call")

    def test_a_cap_sets_what_is_off(self) -> None:
        """A limit that is off is longer than any cap."""
        assert resolve(call=Limits(ttfb=0)).lowered({"ttfb": 600}, "cap").value("ttfb") == 600

    def test_without_a_cap_nothing_changes(self) -> None:
        """Limits without a cap stay."""
        limits = resolve(call=Limits(ttfb=50))
        assert limits.lowered({}, "cap") == limits
