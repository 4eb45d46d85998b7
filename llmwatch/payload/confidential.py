"""What of a request's body must not be repeated: its prompt, the names of its tools, and credentials.

An error in the provider's own words may quote any of it. :mod:`llmwatch.redaction` takes out of the words what this
module finds in the body.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from llmwatch.payload.endpoints import ENDPOINTS, field_of
from llmwatch.payload.tool_fields import TOOL_FIELDS
from llmwatch.redaction.sent import of_address, of_value

__all__ = ["MOST_PROMPT", "PROMPT_FIELDS", "prompt_texts", "secrets_in"]

# -- the prompt --------------------------------------------------------------

MOST_PROMPT = 64 * 1024
"""Characters of the prompt that are compared, from its beginning and as many from its end."""

# In the words of OpenAI, Anthropic, Google, Ollama and Cohere; in front, since the search is bounded.
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
"""Fields of a request's body that hold what a person or a program asked, with dots where they are nested: those that
the providers document (:mod:`llmwatch.payload.endpoints`), and those beside them."""

_DESCRIBED = ("tools", "functions")
"""Fields in which the descriptions are words of the program."""

# Names that the provider gives, or gave: they are in the prompt's fields, and no prompt.
_STRUCTURE = frozenset(
    ("role", "type", "id", "call_id", "tool_call_id", "tool_use_id", "status", "media_type", "mime_type", "mimeType")
)
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:/+-]*")
_MOST_VALUES = 20_000

# Pictures and sound are no words, and would use up what is compared.
_LEAST_PAYLOAD = 1024
_PAYLOAD = re.compile(r"(?:data:[a-z0-9.+/-]{1,80}[;,]|[A-Za-z0-9+/_-]{256})")


def prompt_texts(body: object) -> Iterator[str]:
    """The texts of the prompt in ``body``, as far as they are compared: 64 KiB from either end, pieces of those that
    reach beyond. Payloads of pictures and the like are left out.
    """
    if not isinstance(body, Mapping):
        return
    complete = yield from _texts(body, backwards=False)
    if not complete:
        yield from _texts(body, backwards=True)


def _texts(body: Mapping[Any, Any], *, backwards: bool) -> Generator[str, None, bool]:
    """The texts from one end; whether these are all of them."""
    # By hand: a body may be nested more deeply than functions can be called.
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
            inner = [(one, str(key), tools) for key, one in list(value.items())]
            todo += inner if backwards else inner[::-1]
        elif isinstance(value, (list, tuple)):
            # Its elements go by its own name. A list of tokens can be as long as a book.
            some = value[-_MOST_VALUES:] if backwards else value[_MOST_VALUES - 1 :: -1]
            todo += [(one, name, tools) for one in some]
    return left >= 0


def _is_name(name: str, text: str) -> bool:
    return name in _STRUCTURE and _IDENTIFIER.fullmatch(text) is not None


def _is_payload(text: str) -> bool:
    return len(text) >= _LEAST_PAYLOAD and _PAYLOAD.match(text) is not None


# -- names of tools and credentials ------------------------------------------

_PERSON_FIELDS = ("user", "safety_identifier", "prompt_cache_key")
_MOST_ENTRIES = 4000
_NAMES = frozenset(("name", "serverlabel", "allowedtools", "toolnames", "allowedfunctionnames"))
_CREDENTIAL = re.compile(
    r"auth|token|secret|passw|credential|signature|connection_?string|headers$|(?:^|_)key$|api-?_?key"
)
# What a tool is for and what it takes: it is long, and its names are those of fields.
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
# A tool of any other type is the provider's own, and so is its name.
_TYPES = frozenset(("function", "custom", "namespace", "tool", "mcp", "mcp_toolset", "url", "allowed_tools"))


def secrets_in(body: object) -> Iterator[str]:
    """The names of tools, the credentials of servers and data, and the names of people in ``body``, the parsed JSON
    body of a request. At most 4,000 values are looked at.
    """
    if not isinstance(body, Mapping):
        return
    for name in _PERSON_FIELDS:
        value = body.get(name)
        if isinstance(value, str):
            yield value
    # By hand: a body may be nested more deeply than functions can be called. With each value goes what its key says.
    todo: list[tuple[Any, str]] = [
        (body[name], "data" if field.data else "")
        for name, field in reversed(TOOL_FIELDS.items())
        if name in body and not (field.stored and not isinstance(body[name], Mapping))
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
            todo += [(one, _kind(str(key).lower(), kind, own)) for key, one in reversed(list(value.items()))]
        elif isinstance(value, (list, tuple)):
            todo += [(one, kind) for one in reversed(value[:_MOST_ENTRIES])]


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
