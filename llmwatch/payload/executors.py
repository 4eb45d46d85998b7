"""Who executes a tool, by the type that requests and answers name it with.

* *Caller*: the model only asks for such a call, and the caller carries it out after the answer: functions, custom
  tools, and the provider-defined ones that are carried out by the caller and touch only what it keeps for the model
  (``apply_patch``, ``text_editor``, ``memory``).
* *Provider, read-only*: the provider runs them, and they read or compute in a sandbox: search, fetch, retrieval, code
  execution, image generation.
* *Provider, other*: what may reach the outside: MCP servers and connectors, computer use, shells. Some makes of the
  last two are carried out by the caller, others inside a container or by a gateway, under the same names; they are
  counted here without a further look, since to take the one for the other could run a command twice.
* *Unknown*: every type that is not listed. Nothing is known in its favour.
"""

from __future__ import annotations

import re

__all__ = ["CALLER", "OTHER", "READ_ONLY", "UNKNOWN", "executor_of", "may_act"]

CALLER, READ_ONLY, OTHER, UNKNOWN = "caller", "provider_read_only", "provider_other", "unknown"

# "type" of an entry of "tools" in the OpenAI, Anthropic and compatible shapes, without "_preview" and a version at the
# end.
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
    """Who executes a tool of this type; ``UNKNOWN`` for what is no text."""
    return _TYPES.get(_VERSION.sub("", kind), UNKNOWN) if isinstance(kind, str) else UNKNOWN


def may_act(kind: object) -> bool:
    """Whether the provider may do something outside with a tool of this type: what is not known counts."""
    return executor_of(kind) in (OTHER, UNKNOWN)
