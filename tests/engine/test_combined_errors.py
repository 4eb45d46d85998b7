"""The factory of errors that are ours and a library's at once."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import httpx
import pytest
import requests

import llmwatch
from llmwatch import errors
from llmwatch.engine.combined_errors import also, copy_of


def timeout() -> errors.WatchTimeout:
    return errors.WatchTimeout("late", limit="ttfb", limit_seconds=1.0, phase="waiting", elapsed=1.5)


def test_a_combined_error_is_of_every_named_class() -> None:
    """A combined error is one of llmwatch and of each named library, under llmwatch's name.

    The class is the same each time.
    """
    found = also(timeout(), "requests.exceptions", "ReadTimeout", "ConnectionError")
    for cls in (llmwatch.WatchTimeout, TimeoutError, requests.ReadTimeout, requests.ConnectionError):
        assert isinstance(found, cls)
    assert (type(found).__module__, type(found).__qualname__) == ("llmwatch.errors", "WatchTimeout")
    assert type(also(timeout(), "requests.exceptions", "ReadTimeout", "ConnectionError")) is type(found)
    assert not isinstance(also(timeout(), "httpx", "ReadTimeout"), requests.RequestException)
    assert isinstance(also(timeout(), "httpx", "ReadTimeout"), httpx.ReadTimeout)


def test_a_pickled_combined_error_loads_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the pickle loads as llmwatch's own class."""
    error: Any = also(timeout(), "httpx", "ReadTimeout")
    error.request = httpx.Request("GET", "http://h/")
    pickled = pickle.dumps(error)
    monkeypatch.setattr("llmwatch.engine.combined_errors._classes", {})
    monkeypatch.setitem(sys.modules, "httpx", None)
    again: Any = pickle.loads(pickled)
    assert type(again) is llmwatch.WatchTimeout
    assert not hasattr(again, "_request")
    assert (again.limit, again.limit_seconds, str(again)) == ("ttfb", 1.0, "late")


def test_a_copy_has_no_traceback() -> None:
    """A copy of an error equals it in everything but the traceback."""
    error = errors.StreamCut("cut")
    error.__cause__ = ValueError("why")
    with pytest.raises(llmwatch.StreamCut):
        raise error
    found = copy_of(error)
    assert error.__traceback__ is not None
    assert found.__traceback__ is None
    assert (type(found), vars(found), found.__cause__) == (type(error), vars(error), error.__cause__)
