"""The tools that a request exposes, counted by executor, to decide about a second sending.

The counts are read from the request's body, in any dialect. No name and no argument is kept.

* *Caller*: a resend before any output cannot run the tool twice. *Provider, read-only*: a second run does no harm.
* *Provider, other*: the tool may act outside the provider.
* *Unknown*: every type that is not listed, and every entry of unexpected shape.

:mod:`llmwatch.payload.executors` lists the types. Tools that the request switches off do not count.

An object that is stored at the provider (a prompt template, an assistant, an agent, a cached context) may have tools
that the body does not show: the exposure of a request that refers to such an object is not complete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmwatch.payload.executors import CALLER, OTHER, READ_ONLY, UNKNOWN, executor_of
from llmwatch.payload.tool_fields import TOOL_FIELDS

__all__ = ["ToolExposure", "json_object", "tool_exposure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolExposure:
    """Counts of tools by executor; see :mod:`llmwatch.payload.tools`.

    ``complete``: the body could be read and shows all tools.
    """

    caller: int = 0
    provider_read_only: int = 0
    provider_other: int = 0
    unknown: int = 0
    complete: bool = True

    @property
    def blocks(self) -> bool:
        """Whether only a person may decide to resend a request that may have reached the provider."""
        return not self.complete or self.provider_other > 0 or self.unknown > 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for an attempt's record."""
        return {
            "caller": self.caller,
            "provider_read_only": self.provider_read_only,
            "provider_other": self.provider_other,
            "unknown": self.unknown,
            "complete": self.complete,
        }


# Keys of an entry of "tools" in Gemini's shape, in lower case without underscores.
_GEMINI = {
    "functiondeclarations": CALLER,
    "googlesearch": READ_ONLY,
    "googlesearchretrieval": READ_ONLY,
    "enterprisewebsearch": READ_ONLY,
    "googlemaps": READ_ONLY,
    "urlcontext": READ_ONLY,
    "codeexecution": READ_ONLY,
    "retrieval": READ_ONLY,
    "filesearch": READ_ONLY,
    "computeruse": OTHER,
    "mcpservers": OTHER,
}

_CONFIGS = ("toolConfig", "tool_config")
_PLUGINS = {"web": READ_ONLY, "file-parser": READ_ONLY, "response-healing": READ_ONLY}


class _Repeating(dict[str, Any]):
    """A JSON object with ``repeated`` keys in its text. It has the last value of each of these keys."""

    repeated: frozenset[str] = frozenset()


def json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An ``object_pairs_hook`` for a body whose tools :func:`tool_exposure` counts: marks repeated keys.

    The provider may use another value of a repeated key than Python's parser, which must not decide about tools.
    """
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    repeating = _Repeating(value)
    times = Counter(key for key, _ in pairs)
    repeating.repeated = frozenset(key for key, count in times.items() if count > 1)
    return repeating


def tool_exposure(body: object, readable: bool = True) -> ToolExposure:
    """The counts of the tools that a request exposes.

    ``body`` is the parsed JSON (see :func:`json_object`), ``None`` for a request without a body. ``readable`` is false
    for a body that could not be parsed: then the result is not complete. Never raises.
    """
    if not readable or not (body is None or isinstance(body, Mapping)):
        return ToolExposure(complete=False)
    if body is None:
        return ToolExposure()
    count: Counter[str] = Counter()
    off = _switched_off(body.get("tool_choice"))
    # A gateway's plug-ins run even if tools are switched off.
    for name in ("plugins",) if off else TOOL_FIELDS:
        if name in body:
            _count_field(name, body, count)
    return ToolExposure(**count, complete=(off or not _is_stored(body)) and not _is_ambiguous(body))


def _is_stored(body: Mapping[str, Any]) -> bool:
    """Whether the body refers to an object at the provider that may have tools of its own."""
    for name, field in TOOL_FIELDS.items():
        value = body.get(name) if field.stored else None
        # Text in "prompt" is the prompt.
        if isinstance(value, Mapping) or (value and name != "prompt"):
            return True
    return False


def _is_ambiguous(body: Mapping[str, Any]) -> bool:
    if isinstance(body, _Repeating) and body.repeated & TOOL_FIELDS.keys():
        return True
    inside: list[Any] = [body[name] for name in TOOL_FIELDS if name in body]
    while inside:
        value = inside.pop()
        if isinstance(value, _Repeating):
            return True
        if isinstance(value, Mapping):
            inside += value.values()
        elif isinstance(value, (list, tuple)):
            inside += value
    return False


def _switched_off(choice: object) -> bool:
    return (choice.get("type") if isinstance(choice, Mapping) else choice) == "none"


def _count_field(name: str, body: Mapping[str, Any], count: Counter[str]) -> None:
    field, value = TOOL_FIELDS[name], body.get(name)
    if field.exposes is None or (name == "functions" and body.get("function_call") == "none"):
        return
    if not field.entries:
        # An empty object switches web search on; an empty list names no server.
        count[field.exposes] += len(_items(value)) if value or isinstance(value, Mapping) else 0
        return
    functions_off = _gemini_functions_off(body)
    bedrock = name in _CONFIGS
    for entry in _items(value.get("tools") if bedrock and isinstance(value, Mapping) else value):
        if not isinstance(entry, Mapping):
            count[UNKNOWN] += 1
        elif name == "plugins":
            count[_PLUGINS.get(str(entry.get("id")), UNKNOWN)] += 1
        elif not bedrock:
            _count_tool(entry, count, functions_off=functions_off)
        elif "cachePoint" not in entry:
            count[CALLER if isinstance(entry.get("toolSpec"), Mapping) else UNKNOWN] += 1


def _count_tool(tool: Mapping[str, Any], count: Counter[str], *, functions_off: bool) -> None:
    kind = tool.get("type")
    if kind is not None:
        nested = tool.get("tools")
        if kind == "namespace" and isinstance(nested, list):
            for entry in nested:
                known = isinstance(entry, Mapping) and entry.get("type") in ("function", "custom")
                count[CALLER if known else UNKNOWN] += 1
            return
        count[executor_of(kind)] += 1
        return
    if isinstance(tool.get("input_schema"), Mapping) or isinstance(tool.get("function"), Mapping):
        count[CALLER] += 1
        return
    kinds = {name: _GEMINI.get(str(name).replace("_", "").lower(), UNKNOWN) for name in tool}
    for name, executed_by in kinds.items():
        if executed_by is CALLER:
            count[CALLER] += 0 if functions_off else len(_items(tool[name]))
        elif executed_by is not UNKNOWN:
            count[executed_by] += 1
    count[UNKNOWN] += not kinds or UNKNOWN in kinds.values()


def _gemini_functions_off(body: Mapping[str, Any]) -> bool:
    # A provider may read either spelling, so each one that is given has to switch the functions off.
    configs = [config for name in _CONFIGS if isinstance(config := body.get(name), Mapping)]
    given = [config.get(name) for config in configs for name in ("functionCallingConfig", "function_calling_config")]
    modes = {str(calling.get("mode")).upper() if isinstance(calling, Mapping) else "" for calling in given if calling}
    return modes == {"NONE"}


def _items(value: object) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    return [] if value is None else [value]
