"""The fields of a request's body that say which tools there are: one table, for safety and for secrecy.

:mod:`llmwatch.payload.tools` reads from it whether a request may be sent twice, and
:mod:`llmwatch.payload.confidential` which of its names and credentials must not be repeated. A field that stands in
the text of a body twice may mean one thing to the provider and another to its reader, so such a body shows its tools
incompletely.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmwatch.payload.executors import OTHER, READ_ONLY, UNKNOWN

__all__ = ["TOOL_FIELDS", "ToolField"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolField:
    """One field at the top of a body.

    * ``exposes``: who executes each of its entries (:mod:`llmwatch.payload.executors`); ``None`` for a field whose
      entries say that themselves, or which only chooses among the tools of others.
    * ``stored``: refers to something at the provider that may have tools of its own, which the body does not show.
      Text in such a field is an identifier, or the prompt itself (``prompt``).
    * ``data``: refers to data, of which every name and key counts as confidential.
    """

    exposes: str | None = None
    stored: bool = False
    data: bool = False


TOOL_FIELDS = {
    "tools": ToolField(),
    "functions": ToolField(),
    "tool_choice": ToolField(),
    "function_call": ToolField(),
    "toolConfig": ToolField(),
    "tool_config": ToolField(),
    "mcp_servers": ToolField(exposes=OTHER),
    "connectors": ToolField(exposes=UNKNOWN),
    "plugins": ToolField(),
    "data_sources": ToolField(exposes=READ_ONLY, data=True),
    "web_search_options": ToolField(exposes=READ_ONLY),
    "search_parameters": ToolField(exposes=READ_ONLY),
    "prompt": ToolField(stored=True),
    "assistant_id": ToolField(stored=True),
    "agent_id": ToolField(stored=True),
    "cachedContent": ToolField(stored=True),
    "cached_content": ToolField(stored=True),
}
"""Each field by its name, in the words of OpenAI, Anthropic, Google, Amazon Bedrock, Mistral, Cohere, xAI, Azure and
OpenRouter. A new field is one line here."""
