"""Settings that every entry point takes, and says what is wrong with when they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Client, Session
from llmwatch.sdk import Transport
from tests.rows import each

Make = Callable[..., object]


def _mount(**settings: Any) -> object:
    return llmwatch.mount(requests.Session(), **settings)


def _install(**settings: Any) -> object:
    try:
        return llmwatch.install(**settings)
    finally:
        llmwatch.uninstall()


MAKERS: list[Make] = [Client, Session, Transport, _mount, _install]


@each(
    ("make", "settings", "word"),
    [
        (make, settings, word)
        for make in MAKERS
        for settings, word in (
            ({"sinks": print}, "sinks must be a sequence of functions"),
            ({"sinks": [print, 5]}, "sinks must be a sequence of functions"),
            ({"sinks": "name"}, "sinks must be a sequence of functions"),
            ({"on_notice": 5}, "on_notice must be a function"),
            ({"on_notice": [print]}, "on_notice must be a function"),
        )
    ],
)
def test_a_callback_that_is_not_callable_is_a_type_error(make: Make, settings: dict[str, Any], word: str) -> None:
    """A sink or a callback that cannot be called is a TypeError where it is given.

    It is not a word in a log later.
    """
    with pytest.raises(TypeError, match=word):
        make(**settings)


@each("make", MAKERS)
def test_any_callable_is_a_callback(make: Make) -> None:
    """Functions, methods and objects with ``__call__`` are taken, in any sequence, and none at all."""
    for settings in (
        {"sinks": [print, [].append], "on_notice": print},
        {"sinks": (sink for sink in (print,))},
        {"sinks": (), "on_notice": None},
    ):
        make(**settings)
