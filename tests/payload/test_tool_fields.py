"""The fields that say which tools there are: safety and secrecy know the same ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch.payload import ToolExposure, json_object, secrets_in, tool_exposure
from llmwatch.payload.executors import OTHER
from llmwatch.payload.tool_fields import TOOL_FIELDS, ToolField
from tests.rows import each

KEY = "falcon-blue-4471"
SERVER = {"type": "mcp", "server_label": "harbour", "authorization": f"Bearer {KEY}"}
CHOOSING = {"tool_choice", "function_call", "toolConfig", "tool_config"}
"""Fields that choose among the tools of others, or hold settings beside them."""


def body_of(name: str, field: ToolField) -> dict[str, Any]:
    """A body with a server and its credential in the field ``name``, in the shape in which such a field comes."""
    return {name: SERVER if field.stored or name in CHOOSING else [SERVER]}


@each("name", TOOL_FIELDS)
def test_secrecy_knows_every_field(name: str) -> None:
    """A credential that stands in a field of tools is one of the secrets of its request."""
    assert KEY in list(secrets_in(body_of(name, TOOL_FIELDS[name])))


@each("name", [name for name in TOOL_FIELDS if name not in CHOOSING])
def test_safety_knows_every_field(name: str) -> None:
    """A field of tools that is not empty exposes something, and what may act keeps a request from being resent."""
    field = TOOL_FIELDS[name]
    exposure = tool_exposure(body_of(name, field))
    assert exposure != ToolExposure()
    assert exposure.blocks or field.exposes == "provider_read_only" or name == "functions"


@each("name", TOOL_FIELDS)
def test_a_field_that_stands_twice_is_not_read(name: str) -> None:
    """Two values under one such name show the tools incompletely, whatever they are."""
    text = f'{{"model": "test-model", "{name}": [], "{name}": []}}'
    assert not tool_exposure(json.loads(text, object_pairs_hook=json_object)).complete


def test_a_new_field_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row in the table is all that safety and secrecy need to know of a new field."""
    body = {"remote_agents": [SERVER]}
    assert tool_exposure(body) == ToolExposure()
    assert list(secrets_in(body)) == []
    monkeypatch.setitem(TOOL_FIELDS, "remote_agents", ToolField(exposes=OTHER))
    assert tool_exposure(body) == ToolExposure(provider_other=1)
    assert KEY in list(secrets_in(body))
