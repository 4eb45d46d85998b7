"""Time-outs of a library as limits: they only lower, and a library's own default changes nothing."""

from __future__ import annotations

import anthropic
import httpx
import httpx2
import openai
import pytest

from llmwatch.engine.timeouts import Timeouts
from llmwatch.sdk.timeouts import timeouts_of


def test_each_timeout_lowers_its_limits() -> None:
    """Connecting, sending, and silence at the beginning and later; the pool is part of connecting."""
    found = timeouts_of({"connect": 1, "read": 2, "write": 3, "pool": 4})
    assert found == Timeouts(seconds={"connect": 1, "ttfb": 2, "stale": 2, "send": 3})


def test_a_timeout_of_none_lowers_nothing() -> None:
    """``None`` is no time-out, and neither is a missing one."""
    found = timeouts_of({"connect": None, "read": None, "write": 3.5, "pool": None})
    assert found == Timeouts(seconds={"send": 3.5})
    assert timeouts_of({}).seconds == {}


def test_a_timeout_of_zero_ends_at_once() -> None:
    """A limit of 0 would be off."""
    assert timeouts_of({"connect": 0, "read": 0.0}).seconds == {"connect": 0.001, "ttfb": 0.001, "stale": 0.001}


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_librarys_default_timeout_lowers_nothing(library: object) -> None:
    """The default of a bare client of either library is noted and ignored; another timeout counts."""
    own = timeouts_of(library.Client().timeout.as_dict())  # type: ignore[attr-defined]
    assert own == Timeouts(seconds={"connect": 5, "ttfb": 5, "stale": 5, "send": 5}, heeded=False)
    assert timeouts_of(library.Timeout(45.0).as_dict()).heeded  # type: ignore[attr-defined]
    assert timeouts_of(library.Timeout(5.0, read=6.0).as_dict()).heeded  # type: ignore[attr-defined]


@pytest.mark.parametrize("sdk", [openai, anthropic])
def test_an_sdks_default_timeout_lowers_nothing(sdk: object) -> None:
    """The default time-outs of the installed versions of both SDKs."""
    assert not timeouts_of(sdk.DEFAULT_TIMEOUT.as_dict()).heeded  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("connect", "others"), [(5, 5), (5, 600), (5, 60), (300, 300), (8, 300), (600, 600), (None, None)]
)
def test_a_default_timeout_counts_once_one_of_its_seconds_is_changed(
    connect: float | None, others: float | None
) -> None:
    """Each library's default has four seconds; a user has set the timeout where one of them differs."""
    whole = {"connect": connect, "read": others, "write": others, "pool": others}
    assert not timeouts_of(whole).heeded
    for name in ("read", "write", "pool"):
        assert timeouts_of({**whole, name: 77}).heeded
    assert timeouts_of({**whole, "connect": 6}).heeded


def test_every_timeout_can_be_set_aside() -> None:
    """A timeout that a user has set counts for nothing then."""
    assert not timeouts_of({"connect": 1, "read": 2, "write": 3, "pool": 4}, heeded=False).heeded
