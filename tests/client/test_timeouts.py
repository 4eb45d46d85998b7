"""``llmwatch.client.timeouts``: requests' ``timeout=`` in the words of limits."""

from __future__ import annotations

from typing import Any

import pytest

from llmwatch import ConfigError, Limits
from llmwatch.client.timeouts import with_timeout


def test_no_timeout_changes_nothing() -> None:
    """``None`` leaves the limits as they are, missing ones included."""
    limits = Limits(ttfb=3)
    assert with_timeout(limits, None) is limits
    assert with_timeout(None, None) is None


@pytest.mark.parametrize(
    ("timeout", "limits"),
    [
        (7, Limits(connect=7, ttfb=7, stale=7)),
        (0.5, Limits(connect=0.5, ttfb=0.5, stale=0.5)),
        ((3, 30), Limits(connect=3, ttfb=30, stale=30)),
        ((None, 30), Limits(ttfb=30, stale=30)),
        ((3, None), Limits(connect=3)),
        ((None, None), Limits()),
        (0, Limits(connect=0, ttfb=0, stale=0)),
    ],
)
def test_a_timeout_stands_for_connect_and_silence(timeout: Any, limits: Limits) -> None:
    """The first number is ``connect``, the second ``ttfb`` and ``stale``; ``None`` adds nothing, 0 turns off."""
    assert with_timeout(None, timeout) == limits
    assert with_timeout(Limits(), timeout) == limits


def test_limits_that_are_given_stay() -> None:
    """What ``limits=`` says is not changed, the single knob included."""
    assert with_timeout(Limits(ttfb=1), 7) == Limits(connect=7, ttfb=1, stale=7)
    assert with_timeout(Limits(ttfb=None), 7) == Limits(connect=7, ttfb=0, stale=7)
    assert with_timeout(Limits.single(900), 7) == Limits.single(900, connect=7)


@pytest.mark.parametrize(
    "timeout", ["7", True, (1,), (1, 2, 3), [1, 2], pytest.param(object(), id="object"), (1, "2"), (True, 2)], ids=repr
)
def test_a_timeout_of_a_wrong_kind_is_refused_by_its_name(timeout: Any) -> None:
    """What requests would not take, or would take for a number by accident, is a ``ConfigError`` about ``timeout``."""
    with pytest.raises(ConfigError, match="timeout") as caught:
        with_timeout(None, timeout)
    assert caught.value.field == "timeout"


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), (3, -1)])
def test_a_timeout_of_a_wrong_value_is_refused(timeout: Any) -> None:
    """Negative and infinite seconds, and none at all, are a ``ConfigError``."""
    with pytest.raises(ConfigError):
        with_timeout(None, timeout)
