"""The settings that every entry point takes are listed once, and shown by each."""

from __future__ import annotations

import dataclasses
import inspect
import pydoc
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
import requests

import llmwatch
from llmwatch.engine.settings import ClientSettings, Settings, checked_settings
from tests.rows import each

ENTRY_POINTS: dict[str, Callable[..., Any]] = {
    "Client": llmwatch.Client,
    "Session": llmwatch.Session,
    "Transport": llmwatch.sdk.Transport,
    "mount": llmwatch.mount,
    "install": llmwatch.install,
}
NAMES = list(ClientSettings.__annotations__)
FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


def test_every_listed_setting_is_a_field_with_a_default() -> None:
    """Each setting is a field, of the same type and in the same order."""
    assert [name for name in FIELDS if name in NAMES] == NAMES
    kept, listed = get_type_hints(Settings), get_type_hints(ClientSettings)
    assert {name: kept[name] for name in NAMES} == listed
    assert all(FIELDS[name].default is not dataclasses.MISSING for name in NAMES)


@each("entry_point", ENTRY_POINTS)
def test_each_entry_point_shows_every_setting(entry_point: str) -> None:
    """A signature at run time names each setting, with its type and default, and has no room for others."""
    shown = inspect.signature(ENTRY_POINTS[entry_point]).parameters
    assert [name for name in shown if name in NAMES] == NAMES
    for name in NAMES:
        parameter = shown[name]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        assert (parameter.default, parameter.annotation) == (FIELDS[name].default, FIELDS[name].type)
    assert not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in shown.values())


@each("entry_point", ENTRY_POINTS)
def test_the_help_page_and_type_hints_name_every_setting(entry_point: str) -> None:
    """The page of help and the type hints name every setting."""
    entry = ENTRY_POINTS[entry_point]
    text = pydoc.render_doc(entry, renderer=pydoc.plaintext)
    assert "keepalive: 'float | None' = None" in text
    hints = get_type_hints(entry.__init__ if inspect.isclass(entry) else entry)
    assert set(NAMES) <= set(hints)


@each("name", ["limit", "clock", "hosts", "started"])
@each("entry_point", ENTRY_POINTS)
def test_an_unknown_setting_is_refused(entry_point: str, name: str) -> None:
    """An unknown name raises a ``TypeError``, and internal fields cannot be set."""
    given = (requests.Session(),) if entry_point == "mount" else ()
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'; the settings are limits, "):
        ENTRY_POINTS[entry_point](*given, **{name: None})


def test_sinks_are_copied() -> None:
    """A list that grows later does not change the settings."""
    sinks = [print]
    checked = checked_settings(sinks=sinks)
    sinks.append(repr)
    assert checked.sinks == (print,)
