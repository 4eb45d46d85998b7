"""The dialects by name: the built-in ones, and those that a user registers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from llmwatch.at_fork import renew_in_child
from llmwatch.errors import ConfigError
from llmwatch.records.log import say
from llmwatch.wire.dialects.anthropic import Anthropic
from llmwatch.wire.dialects.baidu import Baidu
from llmwatch.wire.dialects.base import Dialect
from llmwatch.wire.dialects.bedrock import Bedrock
from llmwatch.wire.dialects.cloudflare import Cloudflare
from llmwatch.wire.dialects.cohere import Cohere
from llmwatch.wire.dialects.cortex import CortexAgent
from llmwatch.wire.dialects.dashscope import DashScope
from llmwatch.wire.dialects.gemini import Gemini
from llmwatch.wire.dialects.generic import DialectReader, FunctionDialect, Generic
from llmwatch.wire.dialects.llamacpp import LlamaCpp
from llmwatch.wire.dialects.ollama import Ollama
from llmwatch.wire.dialects.openai_chat import OpenAIChat
from llmwatch.wire.dialects.openai_responses import OpenAIResponses
from llmwatch.wire.dialects.sglang import SGLang
from llmwatch.wire.dialects.snowflake import Snowflake
from llmwatch.wire.dialects.tgi import TGI
from llmwatch.wire.event import Event

__all__ = [
    "AUTO",
    "DialectDetector",
    "check_dialect",
    "create",
    "detected",
    "is_registered",
    "names",
    "register_dialect",
    "unregister_dialect",
]

AUTO = "auto"
"""The name that stands for detecting the dialect."""

DialectDetector = Callable[[str, "Event | None"], bool]
"""Takes the URL and ``None`` or one of the first events; returns whether the stream is in this dialect."""

_BUILT_IN: dict[str, type[Dialect]] = {
    dialect.name: dialect
    for dialect in (
        OpenAIChat,
        OpenAIResponses,
        Anthropic,
        Gemini,
        Ollama,
        Bedrock,
        Cohere,
        Baidu,
        DashScope,
        TGI,
        Snowflake,
        CortexAgent,
        LlamaCpp,
        Cloudflare,
        SGLang,
        Generic,
    )
}


@dataclass(frozen=True, slots=True)
class _Registered:
    function: DialectReader
    detect: DialectDetector | None
    accepts_eof: bool


# Replaced and never changed, so readers need no lock.
_registered: Mapping[str, _Registered] = MappingProxyType({})
_registering = threading.Lock()  # serialises the writers of _registered
renew_in_child(globals(), "_registering", threading.Lock)


def names() -> tuple[str, ...]:
    """All names that ``dialect=`` accepts, ``"auto"`` first."""
    return (AUTO, *_BUILT_IN, *_registered)


def register_dialect(
    name: str, function: DialectReader, detect: DialectDetector | None = None, *, accepts_eof: bool = False
) -> None:
    """Register a dialect for this process. Registering a name again replaces the dialect.

    ``function`` takes each event (``.event``, ``.data``, ``.id``, ``.json()``) and returns a
    :class:`~llmwatch.wire.Kind`, or a :class:`~llmwatch.wire.Meaning` with text, reasoning and tool pieces.
    ``Kind.TEXT`` alone means that the data is text. Worker threads call the function, several at a time; it must keep
    no state between streams. A ``ValueError`` (``event.json()`` raises it) means that the event is broken; any other
    exception fails the stream too.

    ``detect(url, event)`` lets ``dialect="auto"`` find the dialect: called once with the URL and ``None``, and again
    with the first events while the dialect is unknown, before the built-in dialects, the latest registration first.
    ``accepts_eof``: streams of this dialect have no terminal event; otherwise a body that ends without a ``TERMINAL``
    event or an event with ``finish`` is truncated. The framing is that of server-sent events.

    Raises ``ConfigError`` for a built-in name, and ``TypeError`` for an object that cannot be called.
    """
    if not callable(function) or not (detect is None or callable(detect)):
        raise TypeError(
            "register_dialect() takes a function that reads an event, and for detect= one that recognises a stream"
        )
    if name in _BUILT_IN or name == AUTO or not name:
        raise ConfigError(
            f"The dialect name {name!r} is taken or empty. Register your dialect under a name of its own.",
            field="name",
            value=name,
        )
    _change(name, _Registered(function, detect, accepts_eof))


def unregister_dialect(name: str) -> None:
    """Remove a registered dialect. An unknown name is ignored."""
    _change(name, None)


def _change(name: str, known: _Registered | None) -> None:
    global _registered
    with _registering:
        changed = dict(_registered)
        changed.pop(name, None)
        if known is not None:
            changed[name] = known
        _registered = MappingProxyType(changed)


def is_registered(name: str) -> bool:
    """Whether ``name`` is a registered dialect."""
    return name in _registered


def check_dialect(name: str) -> None:
    """Raise ``ConfigError`` unless ``dialect=`` accepts ``name`` (``"auto"`` included)."""
    if name not in names():
        allowed = ", ".join(names())
        raise ConfigError(
            f"dialect={name!r} is not known. Use one of: {allowed}; or register it first.", field="dialect", value=name
        )


def create(name: str) -> Dialect:
    """A new dialect instance for one attempt. Raises ``ConfigError`` for an unknown name."""
    if name in _BUILT_IN:
        return _BUILT_IN[name]()
    known = _registered.get(name)
    if known is None:
        check_dialect(name)
        raise ConfigError(f"dialect={name!r} stands for no dialect of its own.", field="dialect", value=name)
    return FunctionDialect(name, known.function, accepts_eof=known.accepts_eof)


def detected(url: str, event: Event | None) -> str | None:
    """The registered dialect that recognises the stream, if any. A detector that raises does not."""
    for name, known in reversed(tuple(_registered.items())):
        try:
            if known.detect is not None and known.detect(url, event):
                return name
        except Exception as exc:
            # Only the class is logged, because the text may quote the event.
            message = "the detector of dialect %r raised %s: not asked for this stream"
            say(logging.WARNING, message, name, type(exc).__name__)
    return None
