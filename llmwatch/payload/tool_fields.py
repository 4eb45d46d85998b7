"""The fields of a request's body that expose tools: one table, for safety and for secrecy.

:mod:`llmwatch.payload.tools` uses the table to decide whether a request may be sent twice;
:mod:`llmwatch.payload.confidential` uses it to find the names and credentials that must not be repeated. The provider
and llmwatch may read a field that occurs twice in a body differently, so such a body counts as showing its tools
incompletely.

A field without a row is ignored, and nothing says so: its tools do not count, so a request that exposes them is resent,
and the names and credentials in it are not taken out of errors. To add a provider's field:

1. Add its row to :data:`TOOL_FIELDS`, before ``prompt``. ``tests/payload/test_tool_fields.py`` tries every row with a
   server and its credential; a field of another shape than ``tools`` needs that shape in ``body_of`` there.
2. If its entries state types that are not in ``_TYPES`` of :mod:`llmwatch.payload.executors`, add these: they decide
   about tools in answers as well. A type without a row counts as unknown, and blocks a resend. Entries that state no
   ``type`` are counted by ``_count_field`` in :mod:`llmwatch.payload.tools`.
3. If it holds the name of a tool or a credential under a key that no other field has, add the key to ``_NAMES`` or
   ``_CREDENTIAL`` in :mod:`llmwatch.payload.confidential`.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmwatch.payload.executors import CALLER, OTHER, READ_ONLY, UNKNOWN

__all__ = ["TOOL_FIELDS", "ToolField"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolField:
    """One field at the top of a body.

    * ``exposes``: the executor of each entry (:mod:`llmwatch.payload.executors`), or ``None`` for a field without
      entries, which only chooses among the tools of other fields or refers to a stored object.
    * ``entries``: each entry states its own executor, as in ``tools``.
    * ``stored``: the field refers to an object at the provider that may have tools which the body does not show. Text
      in such a field is an identifier, or the prompt itself (``prompt``).
    * ``data``: the field refers to data, of which every name and key counts as confidential.
    """

    exposes: str | None = UNKNOWN
    entries: bool = False
    stored: bool = False
    data: bool = False


TOOL_FIELDS = {
    "tools": ToolField(entries=True),
    "functions": ToolField(exposes=CALLER),
    "tool_choice": ToolField(exposes=None),
    "function_call": ToolField(exposes=None),
    "toolConfig": ToolField(entries=True),
    "tool_config": ToolField(entries=True),
    "mcp_servers": ToolField(exposes=OTHER),
    "connectors": ToolField(),
    "plugins": ToolField(entries=True),
    "data_sources": ToolField(exposes=READ_ONLY, data=True),
    "dataSources": ToolField(exposes=READ_ONLY, data=True),
    "web_search_options": ToolField(exposes=READ_ONLY),
    "search_parameters": ToolField(exposes=READ_ONLY),
    "assistant_id": ToolField(exposes=None, stored=True),
    "agent_id": ToolField(exposes=None, stored=True),
    "cachedContent": ToolField(exposes=None, stored=True),
    "cached_content": ToolField(exposes=None, stored=True),
    # Last, since the number of values in which secrets are searched is bounded, and a prompt may be a long list.
    "prompt": ToolField(exposes=None, stored=True),
}
"""Fields of OpenAI, Anthropic, Google, Amazon Bedrock, Mistral, Cohere, xAI, Azure and OpenRouter."""
