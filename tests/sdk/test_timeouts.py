"""Time-outs of a library as limits: only downwards, and those of nobody only on defaults."""

from __future__ import annotations

import anthropic
import httpx
import httpx2
import openai
import pytest

from llmwatch.sdk.timeouts import caps_of, is_nobodys


def test_each_bounds_what_it_means() -> None:
    """Connecting, sending, and silence at the beginning and later; the pool is part of connecting."""
    assert caps_of({"connect": 1, "read": 2, "write": 3, "pool": 4}) == {"connect": 1, "ttfb": 2, "stale": 2, "send": 3}


def test_what_is_off_or_not_said_bounds_nothing() -> None:
    """``None`` is no time-out, and neither is a missing one."""
    assert caps_of({"connect": None, "read": None, "write": 3.5, "pool": None}) == {"send": 3.5}
    assert caps_of({}) == {}


def test_zero_means_at_once() -> None:
    """A limit of 0 would mean never."""
    assert caps_of({"connect": 0, "read": 0.0}) == {"connect": 0.001, "ttfb": 0.001, "stale": 0.001}


def test_limits_can_be_spared() -> None:
    """Those that somebody set, where the time-out is nobody's."""
    found = caps_of({"connect": 1, "read": 2, "write": 3}, spared=["ttfb", "send", "total"])
    assert found == {"connect": 1, "stale": 2}


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_clients_own_default_is_nobodys(library: object) -> None:
    """That of a bare client of either library is recognised, and another is not."""
    assert is_nobodys(library.Client().timeout.as_dict())  # type: ignore[attr-defined]
    assert not is_nobodys(library.Timeout(600.0).as_dict())  # type: ignore[attr-defined]
    assert not is_nobodys(library.Timeout(None).as_dict())  # type: ignore[attr-defined]
    assert not is_nobodys({})


@pytest.mark.parametrize("sdk", [openai, anthropic])
def test_an_sdks_default_is_nobodys(sdk: object) -> None:
    """That of the installed versions of both SDKs."""
    assert is_nobodys(sdk.DEFAULT_TIMEOUT.as_dict())  # type: ignore[attr-defined]
