"""Is a request a call of a model? For the doors through which everything goes, the script's other requests too.

The rule: a POST with a JSON object for a body that goes to one of the providers' documented methods and holds a prompt,
or that goes anywhere, names a model (in the body, or in the URL) and holds what nothing but a prompt looks like. Where
the method's name is one that other interfaces use as well, the body has to show that it is for a model. What a user has
registered goes first.

The rule is narrow on purpose: a request that is taken for a model's is sent again after a failure, which an order must
never be. A model's request that it misses is sent once, and can be registered.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from llmwatch.errors import ConfigError
from llmwatch.payload.reasoning import model_of

__all__ = ["IDEMPOTENT", "is_model_call", "may_hold_prompt", "register_model_url"]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""Methods that HTTP (RFC 9110, 9.2.2) defines as the same whether they are sent once or more often."""

# What the documented methods of the providers' HTTP interfaces end with.
_MODEL_PATHS = (
    "/chat/completions",
    "/completions",
    "/responses",
    "/messages",
    "/complete",
    "/embeddings",
    ":generateContent",
    ":streamGenerateContent",
    ":rawPredict",
    ":streamRawPredict",
    "/invoke",
    "/invoke-with-response-stream",
    "/converse",
    "/converse-stream",
    "/generate",
    "/generate_stream",
    "/api/chat",
)
# Of these, those whose names say little: orders are completed, and lambdas invoked.
_COMMON_PATHS = ("/messages", "/responses", "/complete", "/invoke")
# Models too, but what comes is sound, which a player wants while it comes.
_NO_ANSWERS = ("/audio/speech",)
_PROMPTS = frozenset({"messages", "prompt", "input", "inputs", "contents", "system", "instructions"})

_TURN = frozenset({"role", "content", "parts", "type"})

_registered: tuple[tuple[re.Pattern[str], bool], ...] = ()
_registering = threading.Lock()  # serialises the writers of _registered; readers take the tuple as it is


def register_model_url(pattern: str, *, model: bool = True) -> None:
    """Have requests whose URL matches ``pattern`` treated as calls of a model, or, with ``model=False``, never so; in
    this process, from the next call on.

    ``pattern`` is a regular expression, searched anywhere in the URL without its query, and without regard to case. The
    latest registration that matches decides. A request that is treated as a model call gets the clocks of one, is read
    as one, and is sent again where that is safe, whatever its method; any other is only watched for silence, and sent
    again only if its method is idempotent. Raises :class:`~llmwatch.errors.ConfigError` for a pattern that is empty or
    cannot be compiled.
    """
    global _registered
    try:
        compiled = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ConfigError(f"{pattern!r} is no regular expression: {error}.", field="pattern", value=pattern) from None
    if compiled.search("") is not None:
        raise ConfigError(f"{pattern!r} matches every URL, the empty one too.", field="pattern", value=pattern)
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
    path = parts.path.rstrip("/")
    if path.endswith(_NO_ANSWERS):
        return False
    named = bool(model_of(url, body))
    if path.endswith(_MODEL_PATHS):
        prompted = any(isinstance(body.get(name), (str, list, Mapping)) for name in _PROMPTS)
        return prompted and (named or _is_conversation(body) or not path.endswith(_COMMON_PATHS))
    return named and (_is_conversation(body) or isinstance(body.get("prompt") or body.get("input"), (str, list)))


def may_hold_prompt(body: bytes | str) -> bool:
    """Whether a body that was not parsed may be that of a model call: a quick look, which says yes too often."""
    if isinstance(body, bytes):
        return any(f'"{name}"'.encode() in body for name in _PROMPTS)
    return any(f'"{name}"' in body for name in _PROMPTS)


def _is_conversation(body: Mapping[str, object]) -> bool:
    """Whether there is a list of turns in it, each with who speaks or what is said."""
    for name in ("messages", "input", "contents"):
        turns = body.get(name)
        if isinstance(turns, list) and turns and isinstance(turns[0], Mapping) and turns[0].keys() & _TURN:
            return True
    return False
