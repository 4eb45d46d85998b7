"""The fields that say which tools there are: safety and secrecy know the same ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmwatch.payload import ToolExposure, json_object, secrets_in, tool_exposure
from llmwatch.payload.executors import CALLER, OTHER, READ_ONLY
from llmwatch.payload.tool_fields import TOOL_FIELDS, ToolField
from tests.rows import each

KEY = "falcon-blue-4471"
SERVER = {"type": "mcp", "server_label": "harbour", "authorization": f"Bearer {KEY}"}
NEW = {
    "x_agents": ToolField(exposes=CALLER),
    "x_search": ToolField(exposes=READ_ONLY),
    "x_servers": ToolField(exposes=OTHER),
    "x_skills": ToolField(),
    "x_tools": ToolField(entries=True),
    "x_data": ToolField(exposes=READ_ONLY, data=True),
    "x_choice": ToolField(exposes=None),
    "x_assistant": ToolField(exposes=None, stored=True),
    "x_library": ToolField(exposes=READ_ONLY, stored=True),
}
"""A row of each kind for a field that no provider has."""
ROWS = {**TOOL_FIELDS, **NEW}


@pytest.fixture
def new_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table with the new rows."""
    for name, field in NEW.items():
        monkeypatch.setitem(TOOL_FIELDS, name, field)


def body_of(name: str) -> dict[str, Any]:
    """A body with a server and its credential in the field ``name``, in the shape of that field."""
    field = ROWS[name]
    if name in ("toolConfig", "tool_config"):
        return {name: {"tools": [SERVER]}}
    return {name: SERVER if field.stored or field.exposes is None else [SERVER]}


@each("name", ROWS)
@pytest.mark.usefixtures("new_rows")
def test_secrecy_knows_every_field(name: str) -> None:
    """A credential that stands in a field of tools is one of the secrets of its request."""
    for value in (SERVER, [SERVER], [[SERVER]], {"servers": [SERVER]}, ["text", 5, None, SERVER]):
        assert KEY in list(secrets_in({name: value})), value


@each("name", ROWS)
@pytest.mark.usefixtures("new_rows")
def test_text_in_a_field_is_no_secret(name: str) -> None:
    """Text without a key is an identifier, a mode or the prompt, in a list as well."""
    assert list(secrets_in({name: "harbour-4471"})) == list(secrets_in({name: ["harbour-4471", 5]})) == []


@each("name", [name for name in TOOL_FIELDS if name != "prompt"])
def test_a_long_prompt_hides_no_secret_of_another_field(name: str) -> None:
    """The prompt's row is the last: the secrets of the others are found behind any number of tokens."""
    assert KEY in list(secrets_in({"prompt": list(range(10_000)), **body_of(name)}))


@each("name", ROWS)
@pytest.mark.usefixtures("new_rows")
def test_safety_knows_every_field(name: str) -> None:
    """A server counts as its field or as the server itself says.

    One stored elsewhere makes the body incomplete.
    """
    field, exposure = ROWS[name], tool_exposure(body_of(name))
    if field.entries:
        assert exposure.provider_other + exposure.unknown == 1
    else:
        counts = {} if field.exposes is None else {field.exposes: 1}
        assert exposure == ToolExposure(**counts, complete=not field.stored)


@each("name", ROWS)
@pytest.mark.usefixtures("new_rows")
def test_a_field_that_stands_twice_is_not_read(name: str) -> None:
    """Two values under one such name show the tools incompletely, whatever they are."""
    text = f'{{"model": "test-model", "{name}": [], "{name}": []}}'
    assert not tool_exposure(json.loads(text, object_pairs_hook=json_object)).complete


@each("name", NEW)
def test_a_field_without_a_row_is_not_read(name: str) -> None:
    """The row in the table is all by which safety and secrecy know a new field."""
    assert tool_exposure(body_of(name)) == ToolExposure()
    assert list(secrets_in(body_of(name))) == []


@each(
    ("field", "expected"),
    [
        (ToolField(), ToolExposure(unknown=4)),
        (ToolField(entries=True), ToolExposure(caller=1, provider_other=1, unknown=2)),
        (ToolField(exposes=CALLER), ToolExposure(caller=4)),
    ],
)
def test_each_entry_of_a_new_field_counts(field: ToolField, expected: ToolExposure) -> None:
    """The executor of an entry is the field's, or the one that the entry states.

    Without either it is unknown.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TOOL_FIELDS, "remote_agents", field)
        assert tool_exposure({"remote_agents": [{"type": "function"}, SERVER, {"type": "teleport"}, 3]}) == expected
