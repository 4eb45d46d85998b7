"""``llmwatch.engine.timeouts``: requests' ``timeout=`` in the words of limits."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch import ConfigError, Limits
from llmwatch.engine.timeouts import Timeouts, of_requests
from llmwatch.policy import resolve_limits
from llmwatch.policy.effective import TIMEOUT_SOURCE


def test_a_timeout_of_none_changes_no_limit() -> None:
    """``None``, and a pair of it, leave the limits as they are."""
    found = resolve_limits(call=Limits(ttfb=3), environ={})
    assert of_requests(None).on(found) == found
    assert of_requests((None, None)).on(found) == found


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        (7, {"connect": 7, "ttfb": 7, "stale": 7}),
        (0.5, {"connect": 0.5, "ttfb": 0.5, "stale": 0.5}),
        ((3, 30), {"connect": 3, "ttfb": 30, "stale": 30}),
        ((None, 30), {"ttfb": 30, "stale": 30}),
        ((3, None), {"connect": 3}),
        ((None, None), {}),
        (0, {"connect": None, "ttfb": None, "stale": None}),
    ],
)
def test_a_timeout_stands_for_connect_and_silence(timeout: Any, seconds: dict[str, float | None]) -> None:
    """The first number is ``connect``, the second ``ttfb`` and ``stale``.

    ``None`` says nothing, and 0 turns off. Default limits are replaced, upwards and downwards.
    """
    found = of_requests(timeout)
    assert found == Timeouts(seconds=seconds, stand=True)
    before = resolve_limits(environ={}, profile="hosted")
    after = found.on(before)
    assert after.seconds == {**before.seconds, **seconds}
    assert [limit.name for limit in after.limits.values() if limit.explicit] == list(seconds)


@pytest.mark.parametrize(
    ("limits", "environ", "seconds"),
    [
        (Limits(ttfb=1), {}, (7, 1, 7)),
        (Limits(ttfb=30), {}, (7, 7, 7)),
        (None, {"LLMWATCH_TTFB_TIMEOUT_SECONDS": "1"}, (7, 1, 7)),
        (None, {"LLMWATCH_TTFB_TIMEOUT_SECONDS": "0"}, (7, 7, 7)),
        (Limits.single(5), {}, (7, 5, 5)),
        (Limits.single(900), {}, (7, 7, 7)),
        (Limits(connect=2, ttfb=None), {}, (2, 7, 7)),
        # one source would contradict itself, two do not
        (Limits(total=3), {}, (7, 7, 7)),
    ],
)
def test_a_timeout_lowers_set_limits_and_never_raises_them(
    limits: Limits | None, environ: dict[str, str], seconds: tuple[float, ...]
) -> None:
    """The timeout lowers a limit from any source, and sets a limit that is off."""
    before = resolve_limits(call=limits, environ=environ, profile="hosted")
    after = of_requests(7).on(before)
    assert tuple(after.value(name) for name in ("connect", "ttfb", "stale")) == seconds
    assert [after.limits[name].timeout for name in ("connect", "ttfb", "stale", "total")] == [7, 7, 7, None]


def test_a_timeout_of_zero_lowers_no_set_limit() -> None:
    """0 takes the place of defaults alone."""
    after = of_requests(0).on(resolve_limits(call=Limits(ttfb=3), environ={}))
    assert [after.value(name) for name in ("connect", "ttfb", "stale")] == [None, 3, None]


def test_a_timeout_can_be_set_aside() -> None:
    """The timeout is noted then, and no limit changes."""
    before = resolve_limits(call=Limits(ttfb=30), environ={})
    after = of_requests(7, heeded=False).on(before)
    assert after.seconds == before.seconds
    assert after.limits["ttfb"].to_dict() == {
        "value": 30,
        "source": "argument of the call",
        "explicit": True,
        "timeout": 7,
    }


def test_a_limit_names_the_timeout_as_its_source() -> None:
    """A limit that a timeout decides says what would apply without it."""
    after = of_requests(7).on(resolve_limits(call=Limits(stale=None), environ={}, profile="hosted"))
    assert after.limits["ttfb"].to_dict() == {
        "value": 7,
        "source": TIMEOUT_SOURCE,
        "explicit": True,
        "timeout": 7,
        "instead_of": 120,
    }
    assert after.limits["stale"].to_dict()["instead_of"] is None
    assert "timeout" not in after.limits["send"].to_dict()


@pytest.mark.parametrize(
    "timeout", ["7", True, (1,), (1, 2, 3), [1, 2], pytest.param(object(), id="object"), (1, "2"), (True, 2)], ids=repr
)
def test_a_timeout_of_a_wrong_kind_is_refused_by_its_name(timeout: Any) -> None:
    """A time-out of a wrong kind is a ``ConfigError`` about ``timeout``.

    requests refuses it, or takes it for a number by accident.
    """
    with pytest.raises(ConfigError, match="timeout") as caught:
        of_requests(timeout)
    assert caught.value.field == "timeout"


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), (3, -1)])
def test_a_timeout_of_a_wrong_value_is_refused(timeout: Any) -> None:
    """Negative, infinite and missing seconds are a ``ConfigError`` about ``timeout``, set aside or not."""
    for heeded in (True, False):
        with pytest.raises(ConfigError, match="0 or more") as caught:
            of_requests(timeout, heeded=heeded)
        assert str(caught.value).startswith(f"timeout={timeout!r} ")
        assert caught.value.field == "timeout"
