"""Deciding whether a request is a model call, for entry points that also carry other requests.

A model call is a POST with a JSON object as its body that

* goes to a documented path of a provider (:mod:`llmwatch.payload.endpoints`), names a model in the body or the URL, and
  holds a prompt in a field that is documented for that path; or
* goes to any URL, names a model, and holds a conversation with a known role in a turn, and no answer.

The user's registrations take precedence.

The rule is narrow on purpose: a model call is sent again after a failure, and an order must never be. A model call that
the rule misses is sent once, and its URL can be registered. Agents and workflows, which act, and speech, which is
played while it comes, are not model calls by this rule.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from llmwatch.at_fork import renew_in_child
from llmwatch.payload.endpoints import Endpoint, Prompt, endpoints_at, field_of, is_set
from llmwatch.payload.reasoning import compiled_pattern, model_of

__all__ = ["IDEMPOTENT", "is_model_call", "is_model_url", "may_be_model_call", "may_hold_prompt", "register_model_url"]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""The idempotent methods of HTTP (RFC 9110, 9.2.2)."""

# Fields that hold a prompt at most paths, and at paths that a user registers.
_COMMON = frozenset(("messages", "Messages", "prompt", "input", "inputs", "contents", "system", "instructions"))
# Fields that hold a conversation, for any URL.
_CONVERSATIONS = ("messages", "input", "contents", "Messages")
# The fields of a conversation that never hold plain text.
_TURNS = frozenset({"messages", "contents", "Messages"})
_ROLES = frozenset(
    ("system", "developer", "user", "human", "assistant", "model", "chatbot", "bot", "ai", "tool", "function")
)
# Fields that name the model, for any URL.
_NAMES = ("model", "model_id", "Model")
# Fields with the content of a turn.
_SAID = frozenset({"content", "Content", "parts", "text", "tool_calls", "tool_call_id"})

# Fields of an answer: a body with one of these reports a finished call, for example to a log.
_ANSWERS = frozenset({"output", "choices", "completion"})

_registered: tuple[tuple[re.Pattern[str], bool], ...] = ()
_registering = threading.Lock()  # serialises the writers of _registered; readers take the tuple as it is
renew_in_child(globals(), "_registering", threading.Lock)


def register_model_url(pattern: str, *, model: bool = True) -> None:
    """Treat requests whose URL matches ``pattern`` as model calls, or never so with ``model=False``.

    The registration holds in this process, from the next call on. ``pattern`` is a regular expression, searched in the
    URL without query and user info, ignoring case. The latest matching registration decides. A model call gets the
    limits of a model call, is decoded, and is sent again if that is safe, whatever its method. Any other request is
    only watched for silence, and is sent again only if its method is idempotent. Raises
    :class:`~llmwatch.errors.ConfigError` for a pattern that matches the empty text or cannot be compiled.
    """
    global _registered
    compiled = compiled_pattern(pattern, "URL, the empty one")
    with _registering:
        kept = tuple(entry for entry in _registered if entry[0] != compiled)
        _registered = ((compiled, model), *kept)


def is_model_call(method: str, url: str, body: object) -> bool:
    """Whether a request is a model call. ``body`` is the parsed JSON, ``None`` if unknown or not JSON."""
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


def is_model_url(method: str, url: str) -> bool:
    """Whether method and URL alone say that a request is a model call, as a provider documents it.
    A path of one name (``/generate``) does not say so.
    """
    return method.upper() == "POST" and bool(endpoints_at(url)) and urlsplit(url).path.strip("/").count("/") > 0


def may_be_model_call(method: str, url: object, body: bytes) -> bool:
    """Whether a request may be a model call, quickly, with false positives. ``url``'s text is the URL."""
    if _registered:
        return True
    return method.upper() == "POST" and body.lstrip()[:1] == b"{" and may_hold_prompt(body, str(url))


def may_hold_prompt(body: bytes | str, url: str = "") -> bool:
    """Whether an unparsed body may belong to a model call: a quick test with false positives."""
    names = _quoted(endpoints_at(url))
    if isinstance(body, bytes):
        return any(name in body for name in names)
    return any(name.decode() in body for name in names)


@lru_cache(maxsize=64)
def _quoted(endpoints: tuple[tuple[Endpoint, str], ...]) -> tuple[bytes, ...]:
    """The fields that may hold the prompt, in quotation marks."""
    return tuple(f'"{name}"'.encode() for name in _COMMON.union(*(endpoint.prompt_fields for endpoint, _ in endpoints)))


def _asks(endpoint: Endpoint, named: str, body: Mapping[str, object]) -> bool:
    """Whether ``body`` fits the documentation of ``endpoint``. ``named`` is the model in the URL."""
    if not any(_is_prompt(endpoint, name, field_of(body, name)) for name in endpoint.prompts):
        return False
    if endpoint.needs and not is_set(body, endpoint.needs):
        return False
    models = (named, *(body.get(name) for name in endpoint.model))
    return any(map(endpoint.may_name, models)) or is_set(body, endpoint.instead)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_prompt(endpoint: Endpoint, field: str, value: object) -> bool:
    """Whether ``value`` fits the documented ``field``: conversation, text, or a list."""
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
    """Whether ``turns`` is a list with a turn that has content and a known role."""
    return isinstance(turns, list) and any(
        isinstance(turn, Mapping) and _speaks(turn) and turn.keys() & _SAID for turn in turns
    )


def _speaks(turn: Mapping[str, object]) -> bool:
    role = turn.get("role", turn.get("Role", turn.get("sender_type")))
    return isinstance(role, str) and role.lower() in _ROLES
