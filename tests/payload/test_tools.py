"""Which side executes the tools of a request, read from its body."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmwatch.payload import ToolExposure, json_object, tool_exposure
from tests.rows import each

FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {}}}
FLAT = {"type": "function", "name": "f", "parameters": {}}
CLIENT = {"name": "f", "description": "d", "input_schema": {"type": "object"}}


def exposure(
    caller: int = 0, read_only: int = 0, other: int = 0, unknown: int = 0, complete: bool = True
) -> ToolExposure:
    """An exposure, in one line."""
    return ToolExposure(
        caller=caller, provider_read_only=read_only, provider_other=other, unknown=unknown, complete=complete
    )


@each(
    ("tool", "expected"),
    [
        # OpenAI chat, Ollama and what is compatible
        (FUNCTION, exposure(caller=1)),
        ({"function": {"name": "f"}}, exposure(caller=1)),
        ({"type": "custom", "custom": {"name": "f"}}, exposure(caller=1)),
        # OpenAI Responses
        (FLAT, exposure(caller=1)),
        ({"type": "custom", "name": "f", "format": {"type": "text"}}, exposure(caller=1)),
        ({"type": "apply_patch"}, exposure(caller=1)),
        ({"type": "web_search"}, exposure(read_only=1)),
        ({"type": "web_search_preview"}, exposure(read_only=1)),
        ({"type": "web_search_preview_2025_03_11"}, exposure(read_only=1)),
        ({"type": "web_search_2025_08_26"}, exposure(read_only=1)),
        ({"type": "file_search", "vector_store_ids": ["v"]}, exposure(read_only=1)),
        ({"type": "code_interpreter", "container": {"type": "auto"}}, exposure(read_only=1)),
        ({"type": "image_generation"}, exposure(read_only=1)),
        ({"type": "tool_search"}, exposure(read_only=1)),
        ({"type": "mcp", "server_label": "s", "server_url": "https://s"}, exposure(other=1)),
        ({"type": "computer_use_preview", "environment": "browser"}, exposure(other=1)),
        ({"type": "computer"}, exposure(other=1)),
        ({"type": "local_shell"}, exposure(other=1)),
        ({"type": "shell", "environment": {"type": "container_auto"}}, exposure(other=1)),
        ({"type": "namespace", "name": "n", "tools": [FLAT, FLAT, {"type": "mcp"}]}, exposure(caller=2, unknown=1)),
        # Anthropic
        (CLIENT, exposure(caller=1)),
        ({**CLIENT, "type": "custom"}, exposure(caller=1)),
        ({"type": "text_editor_20250728", "name": "f"}, exposure(caller=1)),
        ({"type": "memory_20250818", "name": "memory"}, exposure(caller=1)),
        ({"type": "web_search_20250305", "name": "web_search"}, exposure(read_only=1)),
        ({"type": "web_fetch_20250910", "name": "web_fetch"}, exposure(read_only=1)),
        ({"type": "code_execution_20250825", "name": "code_execution"}, exposure(read_only=1)),
        ({"type": "tool_search_tool_regex_20251119", "name": "t"}, exposure(read_only=1)),
        ({"type": "bash_20250124", "name": "bash"}, exposure(other=1)),
        ({"type": "computer_20250124", "name": "computer"}, exposure(other=1)),
        ({"type": "mcp_toolset", "mcp_server_name": "s"}, exposure(other=1)),
        # Gemini
        ({"functionDeclarations": [{"name": "a"}, {"name": "b"}]}, exposure(caller=2)),
        ({"function_declarations": [{"name": "a"}]}, exposure(caller=1)),
        ({"googleSearch": {}}, exposure(read_only=1)),
        ({"google_search_retrieval": {}}, exposure(read_only=1)),
        ({"urlContext": {}}, exposure(read_only=1)),
        ({"codeExecution": {}}, exposure(read_only=1)),
        ({"retrieval": {"vertexAiSearch": {}}}, exposure(read_only=1)),
        ({"computerUse": {"environment": "ENVIRONMENT_BROWSER"}}, exposure(other=1)),
        ({"functionDeclarations": [{"name": "a"}], "googleSearch": {}}, exposure(caller=1, read_only=1)),
        # unknown
        ({"type": "teleport"}, exposure(unknown=1)),
        ({"type": "web_searcher"}, exposure(unknown=1)),
        ({"type": "function_2"}, exposure(unknown=1)),
        ({"type": None, "name": "x"}, exposure(unknown=1)),
        ({"type": 3}, exposure(unknown=1)),
        ({"type": ""}, exposure(unknown=1)),
        ({"teleport": {}}, exposure(unknown=1)),
        ({}, exposure(unknown=1)),
        ("function", exposure(unknown=1)),
        (None, exposure(unknown=1)),
        ([FUNCTION], exposure(unknown=1)),
    ],
    ids=lambda case: json.dumps(case)[:60] if not isinstance(case, ToolExposure) else "",
)
def test_each_type_of_tool_counts_where_it_is_executed(tool: object, expected: ToolExposure) -> None:
    """Each documented type counts where it is executed; each other one is unknown."""
    assert tool_exposure({"model": "m", "tools": [tool]}) == expected


@each(
    ("body", "expected"),
    [
        (None, exposure()),
        ({}, exposure()),
        ({"messages": [], "tools": None}, exposure()),
        ({"tools": []}, exposure()),
        ({"tools": FUNCTION}, exposure(caller=1)),
        ({"tools": "all"}, exposure(unknown=1)),
        ({"tools": [FUNCTION, FLAT, {"type": "mcp"}, {"type": "web_search"}, {"type": "x"}]}, exposure(2, 1, 1, 1)),
        ({"functions": [{"name": "a"}, {"name": "b"}]}, exposure(caller=2)),
        ({"functions": [{"name": "a"}], "function_call": "auto"}, exposure(caller=1)),
        ({"web_search_options": {}}, exposure(read_only=1)),
        ({"search_parameters": {"mode": "auto"}}, exposure(read_only=1)),
        ({"data_sources": [{"type": "azure_search"}]}, exposure(read_only=1)),
        ({"dataSources": [{"type": "AzureCognitiveSearch"}]}, exposure(read_only=1)),
        ({"mcp_servers": [{"type": "url"}, {"type": "url"}]}, exposure(other=2)),
        ({"mcp_servers": []}, exposure()),
        ({"connectors": [{"id": "web-search"}]}, exposure(unknown=1)),
        ({"plugins": [{"id": "web"}, {"id": "teleport"}, 3]}, exposure(read_only=1, unknown=2)),
        ({"toolConfig": {"tools": [{"toolSpec": {"name": "f"}}, {"cachePoint": {}}]}}, exposure(caller=1)),
        ({"toolConfig": {"tools": [{"systemTool": {"name": "f"}}]}}, exposure(unknown=1)),
        ({"tool_config": {"tools": [{"toolSpec": {"name": "f"}}, {"cachePoint": {}}]}}, exposure(caller=1)),
        ({"tool_config": {"tools": [{"systemTool": {"name": "f"}}]}}, exposure(unknown=1)),
        ({"toolConfig": {"tools": []}, "tool_config": {"tools": [{"type": "mcp"}]}}, exposure(unknown=1)),
    ],
)
def test_tools_are_found_in_every_dialect(body: object, expected: ToolExposure) -> None:
    """Tools are found in the fields of every dialect."""
    assert tool_exposure(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"tools": [FUNCTION, {"type": "mcp"}], "tool_choice": "none"}, exposure()),
        ({"tools": [{"type": "teleport"}], "tool_choice": {"type": "none"}}, exposure()),
        ({"mcp_servers": [{}], "tools": [{"type": "mcp_toolset"}], "tool_choice": {"type": "none"}}, exposure()),
        ({"prompt": {"id": "pmpt_1"}, "tool_choice": "none"}, exposure()),
        ({"functions": [{"name": "a"}], "function_call": "none"}, exposure()),
        ({"tools": [{"type": "mcp"}], "function_call": "none"}, exposure(other=1)),
        (
            {
                "tools": [{"functionDeclarations": [{}]}, {"googleSearch": {}}],
                "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
            },
            exposure(read_only=1),
        ),
        (
            {
                "tools": [{"function_declarations": [{}]}],
                "tool_config": {"function_calling_config": {"mode": "none"}},
            },
            exposure(),
        ),
        (
            {
                "tools": [{"functionDeclarations": [{}]}],
                "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
                "tool_config": {"functionCallingConfig": {"mode": "AUTO"}},
            },
            exposure(caller=1),
        ),
        ({"tools": [{"type": "mcp"}], "tool_choice": "auto"}, exposure(other=1)),
        ({"tools": [{"type": "mcp"}], "tool_choice": {"type": "auto"}}, exposure(other=1)),
        ({"tools": [{"type": "mcp"}], "tool_choice": ["none"]}, exposure(other=1)),
        ({"plugins": [{"id": "teleport"}], "tool_choice": "none"}, exposure(unknown=1)),
    ],
)
def test_forbidden_tools_are_not_exposed(body: object, expected: ToolExposure) -> None:
    """A request that forbids its tools exposes none; what it does not forbid stays."""
    assert tool_exposure(body) == expected


@pytest.mark.parametrize("body", [[], "text", 3, True, [{"tools": []}]])
def test_a_body_that_is_no_object_is_incomplete(body: object) -> None:
    """JSON of another shape shows nothing."""
    assert tool_exposure(body) == exposure(complete=False)


def test_an_unreadable_body_is_incomplete() -> None:
    """An upload or an iterator could say anything."""
    assert tool_exposure(None, readable=False) == exposure(complete=False)
    assert tool_exposure({"tools": []}, readable=False) == exposure(complete=False)


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": {"id": "pmpt_1"}},
        {"assistant_id": "asst_1"},
        {"agent_id": "ag_1"},
        {"cachedContent": "cachedContents/1"},
        {"cached_content": "cachedContents/1"},
    ],
)
def test_a_reference_to_stored_content_is_incomplete(body: dict[str, object]) -> None:
    """A stored prompt, assistant or context may bring tools that the body does not show."""
    assert tool_exposure(body) == exposure(complete=False)
    assert tool_exposure({"prompt": "just text"}) == exposure()


@pytest.mark.parametrize(
    ("value", "blocks"),
    [
        (exposure(), False),
        (exposure(caller=9, read_only=9), False),
        (exposure(other=1), True),
        (exposure(unknown=1), True),
        (exposure(complete=False), True),
    ],
)
def test_unknown_tools_and_incomplete_bodies_block_a_resend(value: ToolExposure, blocks: bool) -> None:
    """Other and unknown tools, and what could not be read, block a resend."""
    assert value.blocks is blocks


def test_the_json_of_an_exposure_has_counts_only() -> None:
    """The JSON has every field, and no data of the request."""
    value = tool_exposure(
        {"tools": [{"type": "function", "function": {"name": "secret_name", "parameters": {"a": "b"}}}]}
    )
    assert list(value.to_dict()) == [field.name for field in dataclasses.fields(ToolExposure)]
    assert "secret" not in json.dumps(value.to_dict())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["tools", "functions", "tool_choice", "function_call", "toolConfig", "plugins", "mcp_servers", "prompt", "type"]
)


@given(st.dictionaries(names, json_values | st.lists(st.dictionaries(names, json_values, max_size=3), max_size=3)))
@settings(deadline=None)
def test_any_json_gives_an_exposure(body: dict[str, object]) -> None:
    """Any JSON gives an exposure."""
    assert tool_exposure(body).to_dict()


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ('{"tools": [{"type": "mcp"}], "tools": []}', False),
        ('{"tools": [], "tools": []}', False),
        ('{"tools": [], "\\u0074ools": [{"type": "mcp"}]}', False),
        ('{"tool_choice": "auto", "tool_choice": "none", "tools": []}', False),
        ('{"functions": [], "functions": []}', False),
        ('{"mcp_servers": [{}], "mcp_servers": []}', False),
        ('{"cachedContent": "c", "cachedContent": null}', False),
        ('{"toolConfig": {}, "toolConfig": {}}', False),
        ('{"tools": [{"type": "mcp", "type": "function"}]}', False),
        ('{"tools": [{"type": "namespace", "tools": [{"type": "mcp", "type": "function"}]}]}', False),
        ('{"tool_choice": {"type": "auto", "type": "none"}}', False),
        ('{"toolConfig": {"functionCallingConfig": {"mode": "ANY", "mode": "NONE"}}}', False),
        ('{"tools": [], "model": "m"}', True),
        ('{"temperature": 1, "temperature": 0, "tools": []}', True),
        ('{"messages": [{"content": "a", "content": "b"}], "tools": []}', True),
    ],
)
def test_a_repeated_key_of_tools_is_incomplete(text: str, complete: bool) -> None:
    """The value that the provider uses is unknown; a repeated key elsewhere does not matter."""
    body = json.loads(text, object_pairs_hook=json_object)
    assert body == json.loads(text)
    assert tool_exposure(body).complete is complete
    assert tool_exposure(json.loads(text)).complete
