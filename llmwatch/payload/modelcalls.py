"""Is a request a call of a model? For the entry points through which everything goes, the script's other requests too.

The rule: a POST with a JSON object for a body that

* goes to a documented path of a provider (:mod:`llmwatch.payload.endpoints`), names a model, in the body or in the URL,
  and holds a prompt in the field that is documented for that path; or
* goes anywhere, names a model, and holds a conversation whose turns say who speaks, in the roles that models know, and
  no answer to it.

What a user has registered goes first.

The rule is narrow on purpose: a request that is taken for a model's is sent again after a failure, which an order must
never be. A model's request that it misses is sent once, and can be registered. So are agents and workflows, which act,
and speech, which is played while it comes.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from llmwatch.at_fork import renew_in_child
from llmwatch.payload.endpoints import Endpoint, Prompt, endpoints_at, field_of, is_set
from llmwatch.payload.reasoning import compiled_pattern, model_of

__all__ = ["IDEMPOTENT", "is_model_call", "may_hold_prompt", "register_model_url"]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""Methods that HTTP (RFC 9110, 9.2.2) defines as the same whether they are sent once or more often."""

# Fields that hold a prompt at most paths, and at those that a user registers.
_COMMON = frozenset(("messages", "Messages", "prompt", "input", "inputs", "contents", "system", "instructions"))
# Fields that hold a conversation, wherever the request goes.
_CONVERSATIONS = ("messages", "input", "contents", "Messages")
# Of these, those that never hold plain text.
_TURNS = frozenset({"messages", "contents", "Messages"})
_ROLES = frozenset(
    ("system", "developer", "user", "human", "assistant", "model", "chatbot", "bot", "ai", "tool", "function")
)
# Fields that name the model, wherever the request goes.
_NAMES = ("model", "model_id", "Model")
# Where a turn says something.
_SAID = frozenset({"content", "Content", "parts", "text", "tool_calls", "tool_call_id"})

# What a call's answer holds: a body with one of these tells of a call that is over, to a log or a ledger.
_ANSWERS = frozenset({"output", "choices", "completion"})

_registered: tuple[tuple[re.Pattern[str], bool], ...] = ()
_registering = threading.Lock()  # serialises the writers of _registered; readers take the tuple as it is
renew_in_child(globals(), "_registering", threading.Lock)


def register_model_url(pattern: str, *, model: bool = True) -> None:
    """Have requests whose URL matches ``pattern`` treated as calls of a model, or, with ``model=False``, never so; in
    this process, from the next call on.

    ``pattern`` is a regular expression, searched anywhere in the URL without its query, and without regard to case. The
    latest registration that matches decides. A request that is treated as a model call gets the limits of one, is read
    as one, and is sent again where that is safe, whatever its method; any other is only watched for silence, and sent
    again only if its method is idempotent. Raises :class:`~llmwatch.errors.ConfigError` for a pattern that is empty or
    cannot be compiled.
    """
    global _registered
    compiled = compiled_pattern(pattern, "URL, the empty one")
    with _registering:
        kept = tuple(one for one in _registered if one[0] != compiled)
        _registered = ((compiled, model), *kept)


def is_model_call(method: str, url: str, body: object) -> bool:
    """Whether a request goes to a model. ``body`` is the parsed JSON, ``None`` if it is none or not known."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    plain = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    for pattern, model in _registered:
        if pattern.search(plain) is not None:
            return model
    if method.upper() != "POST" or not isinstance(body, Mapping):
        return False
    if any(_asks(endpoint, named, body) for endpoint, named in endpoints_at(url)):
        return True
    if body.keys() & _ANSWERS:
        return False
    named = any(_is_name(body.get(name)) for name in _NAMES) or bool(model_of(url, None))
    return named and any(_is_conversation(body.get(name)) for name in _CONVERSATIONS)


def may_hold_prompt(body: bytes | str, url: str = "") -> bool:
    """Whether a body that was not parsed may be that of a model call: a quick look, which says yes too often."""
    names = _COMMON.union(*(endpoint.prompt_fields for endpoint, _ in endpoints_at(url)))
    if isinstance(body, bytes):
        return any(f'"{name}"'.encode() in body for name in names)
    return any(f'"{name}"' in body for name in names)


def _asks(endpoint: Endpoint, named: str, body: Mapping[str, object]) -> bool:
    """Whether ``body`` is what ``endpoint`` documents. ``named`` is the model in the URL."""
    if not any(_is_prompt(endpoint, name, field_of(body, name)) for name in endpoint.prompts):
        return False
    if endpoint.needs and not is_set(body, endpoint.needs):
        return False
    models = (named, *(body.get(name) for name in endpoint.model))
    return any(map(endpoint.may_name, models)) or is_set(body, endpoint.instead)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_prompt(endpoint: Endpoint, field: str, value: object) -> bool:
    """Whether ``value`` may stand in the documented ``field``: a conversation, or text, or a list of texts, tokens or
    parts.
    """
    name = field.rpartition(".")[2]
    if name in _TURNS:
        if not isinstance(value, list):
            return name == "contents" and isinstance(value, str)
        turns = [turn for turn in value if isinstance(turn, Mapping)]
        if not turns:
            return endpoint.empty and not value
        return len(turns) == len(value) and (not endpoint.speakers or any(map(_speaks, turns)))
    if isinstance(value, Mapping):
        return name in ("content", "prompt_variables") and bool(value)
    if isinstance(value, str):
        return bool(value) and endpoint.prompt is not Prompt.ITEMS
    if not isinstance(value, list) or endpoint.prompt is Prompt.TEXT:
        return False
    if endpoint.prompt is Prompt.ITEMS:
        return bool(value) and all(isinstance(part, Mapping) for part in value)
    if name == "inputs":
        return bool(value) and all(isinstance(text, str) for text in value)
    return bool(value)


def _is_conversation(turns: object) -> bool:
    """Whether it is a list of turns, one of which says something in a role that models know."""
    return isinstance(turns, list) and any(
        isinstance(turn, Mapping) and _speaks(turn) and turn.keys() & _SAID for turn in turns
    )


def _speaks(turn: Mapping[str, object]) -> bool:
    role = turn.get("role", turn.get("Role", turn.get("sender_type")))
    return isinstance(role, str) and role.lower() in _ROLES
