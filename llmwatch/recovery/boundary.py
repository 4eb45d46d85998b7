"""Who would execute the tools that a request exposes. It decides whether sending it twice can do something twice.

Read from the body that is sent, whatever its dialect. Only counts are kept, never a name or an argument.

* *Caller*: the model only asks for such a call, and the caller carries it out after the answer: functions, custom
  tools, and the provider-defined ones that are carried out by the caller and touch only what it keeps for the model
  (``apply_patch``, ``text_editor``, ``memory``). A resend before any output cannot run them twice.
* *Provider, read-only*: the provider runs them, and they read or compute in a sandbox: search, fetch, retrieval, code
  execution, image generation.
* *Provider, other*: what may reach the outside: MCP servers and connectors, computer use, shells. Some makes of the
  last two are carried out by the caller, others inside a container or by a gateway, under the same names; they are
  counted here without a further look, since to take the one for the other could run a command twice.
* *Unknown*: every type that is not listed, and every entry of unexpected shape.

A request that refers to something stored at the provider (a prompt template, an assistant, an agent, a cached context)
may bring tools along that its body does not show: such a snapshot is not complete. Tools that the request switches off
do not count.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ToolBoundary", "snapshot"]

_CALLER, _READ_ONLY, _OTHER, _UNKNOWN = "caller", "provider_read_only", "provider_other", "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolBoundary:
    """Counts of tools by who executes them; see :mod:`llmwatch.recovery.boundary`.

    ``complete``: the body could be read and shows them all.
    """

    caller: int = 0
    provider_read_only: int = 0
    provider_other: int = 0
    unknown: int = 0
    complete: bool = True

    @property
    def blocks(self) -> bool:
        """Whether a request that may have reached the provider is not to be sent again without a person's consent."""
        return not self.complete or self.provider_other > 0 or self.unknown > 0

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, for an attempt's record."""
        return {
            "caller": self.caller,
            "provider_read_only": self.provider_read_only,
            "provider_other": self.provider_other,
            "unknown": self.unknown,
            "complete": self.complete,
        }


# "type" of an entry of "tools" in the OpenAI, Anthropic and compatible shapes, without "_preview" and a version at the
# end.
_TYPES = {
    "function": _CALLER,
    "custom": _CALLER,
    "apply_patch": _CALLER,
    "text_editor": _CALLER,
    "memory": _CALLER,
    "web_search": _READ_ONLY,
    "web_fetch": _READ_ONLY,
    "x_search": _READ_ONLY,
    "file_search": _READ_ONLY,
    "collections_search": _READ_ONLY,
    "tool_search": _READ_ONLY,
    "tool_search_tool_regex": _READ_ONLY,
    "tool_search_tool_bm25": _READ_ONLY,
    "code_interpreter": _READ_ONLY,
    "code_execution": _READ_ONLY,
    "image_generation": _READ_ONLY,
    "mcp": _OTHER,
    "mcp_toolset": _OTHER,
    "computer": _OTHER,
    "computer_use": _OTHER,
    "shell": _OTHER,
    "local_shell": _OTHER,
    "bash": _OTHER,
}
_VERSION = re.compile(r"(?:[_-]preview)?(?:[_-]\d{4,8}(?:[_-]\d{2}){0,2})?$")

# Keys of an entry of "tools" in Gemini's shape, in lower case without underscores.
_GEMINI = {
    "functiondeclarations": _CALLER,
    "googlesearch": _READ_ONLY,
    "googlesearchretrieval": _READ_ONLY,
    "enterprisewebsearch": _READ_ONLY,
    "googlemaps": _READ_ONLY,
    "urlcontext": _READ_ONLY,
    "codeexecution": _READ_ONLY,
    "retrieval": _READ_ONLY,
    "filesearch": _READ_ONLY,
    "computeruse": _OTHER,
    "mcpservers": _OTHER,
}

# Beside "tools": keys that expose something by themselves.
_BESIDE = {
    "web_search_options": _READ_ONLY,
    "search_parameters": _READ_ONLY,
    "data_sources": _READ_ONLY,
    "mcp_servers": _OTHER,
    "connectors": _UNKNOWN,
}
_PLUGINS = {"web": _READ_ONLY, "file-parser": _READ_ONLY, "response-healing": _READ_ONLY}

# What is stored at the provider and may have tools of its own.
_STORED = ("assistant_id", "agent_id", "cachedContent", "cached_content")


def snapshot(body: object, readable: bool = True) -> ToolBoundary:
    """The tool boundary of a request.

    ``body`` is its parsed JSON, ``None`` for a request without one; ``readable`` is false where there is a body that
    could not be parsed, and then the result is not complete. Never raises.
    """
    if not readable or not (body is None or isinstance(body, Mapping)):
        return ToolBoundary(complete=False)
    if body is None:
        return ToolBoundary()
    count: Counter[str] = Counter()
    off = _switched_off(body.get("tool_choice"))
    if not off:
        _count_tools(body, count)
    # Plug-ins of a gateway run whatever the model chooses.
    for plugin in _items(body.get("plugins")):
        count[_PLUGINS.get(str(plugin.get("id")), _UNKNOWN) if isinstance(plugin, Mapping) else _UNKNOWN] += 1
    stored = any(body.get(name) for name in _STORED) or isinstance(body.get("prompt"), Mapping)
    return ToolBoundary(**count, complete=off or not stored)


def _switched_off(choice: object) -> bool:
    return (choice.get("type") if isinstance(choice, Mapping) else choice) == "none"


def _count_tools(body: Mapping[str, Any], count: Counter[str]) -> None:
    gemini_functions_off = _gemini_functions_off(body)
    for tool in _items(body.get("tools")):
        if isinstance(tool, Mapping):
            _count_tool(tool, count, functions_off=gemini_functions_off)
        else:
            count[_UNKNOWN] += 1
    if body.get("function_call") != "none":
        count[_CALLER] += len(_items(body.get("functions")))
    for name, kind in _BESIDE.items():
        value = body.get(name)
        # An empty object switches web search on; an empty list names no server.
        if value or isinstance(value, Mapping):
            count[kind] += len(_items(value))
    config = body.get("toolConfig")
    for tool in _items(config.get("tools")) if isinstance(config, Mapping) else ():
        if not (isinstance(tool, Mapping) and "cachePoint" in tool):
            known = isinstance(tool, Mapping) and isinstance(tool.get("toolSpec"), Mapping)
            count[_CALLER if known else _UNKNOWN] += 1


def _count_tool(tool: Mapping[str, Any], count: Counter[str], *, functions_off: bool) -> None:
    kind = tool.get("type")
    if kind is not None:
        name = _VERSION.sub("", kind) if isinstance(kind, str) else ""
        nested = tool.get("tools")
        if name == "namespace" and isinstance(nested, list):
            for one in nested:
                known = isinstance(one, Mapping) and one.get("type") in ("function", "custom")
                count[_CALLER if known else _UNKNOWN] += 1
            return
        count[_TYPES.get(name, _UNKNOWN)] += 1
        return
    if isinstance(tool.get("input_schema"), Mapping) or isinstance(tool.get("function"), Mapping):
        count[_CALLER] += 1
        return
    kinds = {name: _GEMINI.get(str(name).replace("_", "").lower(), _UNKNOWN) for name in tool}
    for name, executed_by in kinds.items():
        if executed_by is _CALLER:
            count[_CALLER] += 0 if functions_off else len(_items(tool[name]))
        elif executed_by is not _UNKNOWN:
            count[executed_by] += 1
    count[_UNKNOWN] += not kinds or _UNKNOWN in kinds.values()


def _gemini_functions_off(body: Mapping[str, Any]) -> bool:
    config = body.get("toolConfig") or body.get("tool_config")
    calling = None
    if isinstance(config, Mapping):
        calling = config.get("functionCallingConfig") or config.get("function_calling_config")
    return isinstance(calling, Mapping) and str(calling.get("mode")).upper() == "NONE"


def _items(value: object) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    return [] if value is None else [value]
