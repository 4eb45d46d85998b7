"""The executor of a tool, by the tool's type in requests and answers.

* *Caller*: the model asks for a call, and the caller carries the call out after the answer: functions, custom tools,
  and the provider-defined tools that the caller executes and that change only data kept for the model (``apply_patch``,
  ``text_editor``, ``memory``).
* *Provider, read-only*: the provider runs the tool, which reads, or computes in a sandbox: search, fetch, retrieval,
  code execution, image generation.
* *Provider, other*: the tool may act outside the provider: MCP servers and connectors, computer use, shells. Some
  variants of the last two run at the caller, others in a container or at a gateway, under the same names. All count as
  *other*, since a wrong guess could run a command twice.
* *Unknown*: every type that is not listed, treated as if it may act.
"""

from __future__ import annotations

import re

__all__ = ["CALLER", "OTHER", "READ_ONLY", "UNKNOWN", "executor_of", "may_act"]

CALLER, READ_ONLY, OTHER, UNKNOWN = "caller", "provider_read_only", "provider_other", "unknown"

# Values of "type" in "tools" in the OpenAI, Anthropic and compatible interfaces, without "_preview" and version
# suffixes.
_TYPES = {
    "function": CALLER,
    "custom": CALLER,
    "apply_patch": CALLER,
    "text_editor": CALLER,
    "memory": CALLER,
    "web_search": READ_ONLY,
    "web_fetch": READ_ONLY,
    "x_search": READ_ONLY,
    "file_search": READ_ONLY,
    "collections_search": READ_ONLY,
    "tool_search": READ_ONLY,
    "tool_search_tool_regex": READ_ONLY,
    "tool_search_tool_bm25": READ_ONLY,
    "code_interpreter": READ_ONLY,
    "code_execution": READ_ONLY,
    "image_generation": READ_ONLY,
    "mcp": OTHER,
    "mcp_toolset": OTHER,
    "computer": OTHER,
    "computer_use": OTHER,
    "shell": OTHER,
    "local_shell": OTHER,
    "bash": OTHER,
}
_VERSION = re.compile(r"(?:[_-]preview)?(?:[_-]\d{4,8}(?:[_-]\d{2}){0,2})?$")


def executor_of(kind: object) -> str:
    """The executor of a tool of the type ``kind``; ``UNKNOWN`` for a value that is not text."""
    return _TYPES.get(_VERSION.sub("", kind), UNKNOWN) if isinstance(kind, str) else UNKNOWN


def may_act(kind: object) -> bool:
    """Whether a tool of the type ``kind`` may act outside the provider. Unknown types count as such."""
    return executor_of(kind) in (OTHER, UNKNOWN)
