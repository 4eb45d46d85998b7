"""The confidential parts of a request's body: the prompt, the names of tools, and credentials.

A provider's error may quote any of these. :mod:`llmwatch.redaction` removes from the error what this module finds in
the body.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from llmwatch.lazy_pattern import lazy
from llmwatch.payload.endpoints import ENDPOINTS, field_of
from llmwatch.payload.tool_fields import TOOL_FIELDS
from llmwatch.redaction.sent import of_address, of_value

__all__ = ["MOST_PROMPT", "PROMPT_FIELDS", "prompt_texts", "secrets_in"]

# -- the prompt --------------------------------------------------------------

MOST_PROMPT = 64 * 1024
"""Characters of the prompt that are compared, from the beginning, and the same number from the end."""

# Names of OpenAI, Anthropic, Google, Ollama and Cohere. These come first, since the search is bounded.
_COMMON = (
    "messages",
    "input",
    "inputs",
    "prompt",
    "suffix",
    "system",
    "contents",
    "instructions",
    "system_instruction",
    "systemInstruction",
    "message",
    "preamble",
    "chat_history",
    "documents",
)
PROMPT_FIELDS = (
    *_COMMON,
    *dict.fromkeys(name for row in ENDPOINTS for name in row.prompts if name.partition(".")[0] not in _COMMON),
)
"""Fields of a request's body that hold the prompt, with dots for nested fields.

These are the common fields, and the fields that the providers document (:mod:`llmwatch.payload.endpoints`).
"""

_DESCRIBED = ("tools", "functions")
"""Fields whose descriptions are part of the prompt."""

# Fields within the prompt whose values are the provider's names and not part of the prompt.
_STRUCTURE = frozenset(
    ("role", "type", "id", "call_id", "tool_call_id", "tool_use_id", "status", "media_type", "mime_type", "mimeType")
)
_IDENTIFIER = lazy(r"[A-Za-z0-9_.:/+-]*")
_MOST_VALUES = 20_000

# Payloads of pictures and sound are left out: they are not words, and would use up MOST_PROMPT.
_LEAST_PAYLOAD = 1024
_PAYLOAD = lazy(r"(?:data:[a-z0-9.+/-]{1,80}[;,]|[A-Za-z0-9+/_-]{256})")


def prompt_texts(body: object) -> Iterator[str]:
    """The texts of the prompt in ``body``: the first and the last 64 KiB, without pictures and sound."""
    if not isinstance(body, Mapping):
        return
    complete = yield from _texts(body, backwards=False)
    if not complete:
        yield from _texts(body, backwards=True)


def _texts(body: Mapping[Any, Any], *, backwards: bool) -> Generator[str, None, bool]:
    """Yield the texts from one end. Return whether these were all texts."""
    # A stack instead of recursion: a body may be nested more deeply than the interpreter allows calls.
    todo: list[tuple[Any, str, bool]] = [
        (field_of(body, name), name.rpartition(".")[2], name in _DESCRIBED) for name in (*_DESCRIBED, *PROMPT_FIELDS)
    ]
    if not backwards:
        todo.reverse()
    left, values = MOST_PROMPT, _MOST_VALUES
    while todo:
        value, name, tools = todo.pop()
        values -= 1
        if left <= 0 or values < 0:
            return False
        if isinstance(value, str):
            if (name == "description" or not tools) and not _is_name(name, value) and not _is_payload(value):
                yield value[-left:] if backwards else value[:left]
                left -= len(value)
        elif isinstance(value, Mapping):
            inner = [(inner_value, str(key), tools) for key, inner_value in list(value.items())]
            todo += inner if backwards else inner[::-1]
        elif isinstance(value, (list, tuple)):
            # The elements take the name of the list. The number is capped because a list of tokens may be very long.
            some = value[-_MOST_VALUES:] if backwards else value[_MOST_VALUES - 1 :: -1]
            todo += [(inner_value, name, tools) for inner_value in some]
    return left >= 0


def _is_name(name: str, text: str) -> bool:
    return name in _STRUCTURE and _IDENTIFIER.fullmatch(text) is not None


def _is_payload(text: str) -> bool:
    return len(text) >= _LEAST_PAYLOAD and _PAYLOAD.match(text) is not None


# -- names of tools and credentials ------------------------------------------

_PERSON_FIELDS = ("user", "safety_identifier", "prompt_cache_key")
_MOST_ENTRIES = 4000
_NAMES = frozenset(("name", "serverlabel", "allowedtools", "toolnames", "allowedfunctionnames"))
_CREDENTIAL = lazy(
    r"auth|token|secret|passw|credential|signature|connection_?string|headers$|(?:^|_|embedding)key$|api-?_?key"
)
# Fields that describe a tool's purpose and parameters: they are long, and the names in them are names of fields.
_NOT_LOOKED_INTO = frozenset(
    (
        "description",
        "parameters",
        "inputschema",
        "parametersjsonschema",
        "response",
        "responsejsonschema",
        "inputexamples",
    )
)
# Types of tools that the caller names. A tool of any other type has the provider's name.
_TYPES = frozenset(("function", "custom", "namespace", "tool", "mcp", "mcp_toolset", "url", "allowed_tools"))


def secrets_in(body: object) -> Iterator[str]:
    """The names of tools, the credentials of servers and data, and the names of users in ``body``.

    ``body`` is the parsed JSON body of a request. At most 4,000 values are examined.
    """
    if not isinstance(body, Mapping):
        return
    for name in _PERSON_FIELDS:
        value = body.get(name)
        if isinstance(value, str):
            yield value
    # A stack instead of recursion: a body may be nested more deeply than the interpreter allows calls. Each value is
    # kept with the kind that its key gives it.
    todo: list[tuple[Any, str]] = [
        (body[name], "data" if field.data else "") for name, field in reversed(TOOL_FIELDS.items()) if name in body
    ]
    left = _MOST_ENTRIES
    while todo and left:
        value, kind = todo.pop()
        left -= 1
        if isinstance(value, str):
            if kind == "credential":
                yield from of_value(value, credentials=True)
            elif kind == "name":
                yield value
            elif kind == "address":
                yield from of_address(value)
        elif isinstance(value, Mapping):
            own = value.get("type") is None or value.get("type") in _TYPES
            todo += [(inner, _kind(str(key).lower(), kind, own)) for key, inner in reversed(list(value.items()))]
        elif isinstance(value, (list, tuple)):
            todo += [(inner, kind) for inner in reversed(value[:_MOST_ENTRIES])]


def _kind(key: str, outer: str, own: bool) -> str:
    bare = key.replace("_", "")
    if outer == "open" or bare == "type":
        return "open"
    if outer == "credential" or _CREDENTIAL.search(key):
        return "credential"
    if bare in _NOT_LOOKED_INTO and outer != "data":
        return "open"
    if bare in _NAMES:
        return "name" if own else "open"
    return "address" if key.endswith(("url", "uri", "endpoint")) else outer
