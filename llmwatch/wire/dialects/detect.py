"""The dialects by name, and detecting a stream's dialect by URL, content type and first events.

The rules of a guess, which reads the beginning of one attempt:

* The URL and the content type suggest a dialect. The first event of that dialect settles it.
* An event of another dialect settles that dialect once the event carries content or ends an answer. Before that, the
  event is read in the dialect that it looks like, and later events decide: gateways send notices of many shapes before
  an answer.
* An event of no dialect settles nothing. If no dialect is suggested, the event is text. A notice (only names and
  states) is held back: it becomes text once text follows or the body ends, and is dropped once a dialect is found.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from llmwatch.at_fork import renew_in_child
from llmwatch.errors import ConfigError, NotAStream
from llmwatch.interruption import is_interruption
from llmwatch.records.log import say
from llmwatch.wire.dialects.anthropic import ANTHROPIC_EVENTS, Anthropic
from llmwatch.wire.dialects.baidu import Baidu
from llmwatch.wire.dialects.base import ENDS, KEEPALIVE_NAMES, Dialect
from llmwatch.wire.dialects.bedrock import BEDROCK_EVENTS, Bedrock
from llmwatch.wire.dialects.cloudflare import Cloudflare
from llmwatch.wire.dialects.cohere import COHERE_EVENTS, COHERE_LINES, Cohere
from llmwatch.wire.dialects.cortex import CORTEX_EVENTS, CortexAgent
from llmwatch.wire.dialects.dashscope import DashScope
from llmwatch.wire.dialects.gemini import Gemini
from llmwatch.wire.dialects.generic import DialectReader, FunctionDialect, Generic
from llmwatch.wire.dialects.llamacpp import LlamaCpp, is_llama
from llmwatch.wire.dialects.ollama import Ollama
from llmwatch.wire.dialects.openai_chat import OpenAIChat
from llmwatch.wire.dialects.openai_responses import OpenAIResponses
from llmwatch.wire.dialects.sglang import SGLang, is_sglang
from llmwatch.wire.dialects.snowflake import Snowflake
from llmwatch.wire.dialects.tgi import TGI
from llmwatch.wire.error_objects import error_in
from llmwatch.wire.event import Event, Kind
from llmwatch.wire.eventstream import FRAME_TYPE
from llmwatch.wire.news import is_notice
from llmwatch.wire.refusal import COHERE_LINE_TYPE, LINE_TYPES, media_type

__all__ = [
    "AUTO",
    "DialectDetector",
    "Framing",
    "Guess",
    "by_event",
    "by_frame",
    "by_url",
    "check_dialect",
    "create",
    "detected",
    "framing_of",
    "is_line",
    "is_registered",
    "names",
    "register_dialect",
    "unregister_dialect",
]

AUTO = "auto"
"""The name that stands for detecting the dialect."""

DialectDetector = Callable[[str, Event | None], bool]
"""Takes the URL and an early event or ``None``. Returns whether the stream is in this dialect."""

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
    :class:`~llmwatch.Kind`, or a :class:`~llmwatch.Meaning` with text, reasoning and tool pieces.
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
            if is_interruption(exc):
                raise
            # Only the class is logged, because the text may quote the event.
            message = "the detector of dialect %r raised %s: not asked for this stream"
            say(logging.WARNING, message, name, type(exc).__name__)
    return None


Framing = Literal["events", "lines", "frames"]
"""Server-sent events, JSON lines, or the frames of an AWS event stream."""

# Tested before the endings, which some of these paths have too.
_PARTS = (
    ("/wenxinworkshop/", "baidu"),
    ("/services/aigc/text-generation/", "dashscope"),
    ("/services/aigc/multimodal-generation/", "dashscope"),
    ("/cortex/inference:complete", "snowflake"),
    ("/cortex/agent:run", "cortex-agent"),
    ("/ai/run/@", "cloudflare"),
    ("/workers-ai/@", "cloudflare"),
)
# A stored agent.
_AGENT = re.compile(r"/agents/[^/]+:run$")

_ENDINGS = (
    ("/chat/completions", "openai-chat"),
    ("/completions", "openai-chat"),
    ("/responses", "openai-responses"),
    ("/messages", "anthropic"),
    (":streamgeneratecontent", "gemini"),
    ("/v2/chat", "cohere"),
)
# Paths of Bedrock, at which gateways answer with server-sent events.
_BEDROCK = ("/converse-stream", "/invoke-with-response-stream")


def by_url(url: str, content_type: str = "") -> str | None:
    """The dialect that the URL and the ``Content-Type`` suggest; ``None`` if they leave it open."""
    kind = media_type(content_type)
    if kind == FRAME_TYPE:
        return "bedrock"
    if kind == COHERE_LINE_TYPE:
        return "cohere"
    if kind in LINE_TYPES:
        return "ndjson"
    try:
        path = urlsplit(url).path.rstrip("/").lower()
    except ValueError:
        return None
    if path.endswith(_BEDROCK):
        return None if kind else "bedrock"
    for part, name in _PARTS:
        if part in f"{path}/":
            return name
    if path.endswith(("/api/chat", "/api/generate")):
        # Other servers use these paths too, and send server-sent events.
        return None if kind == "text/event-stream" else "ndjson"
    for ending, name in _ENDINGS:
        if path.endswith(ending):
            return name
    if _AGENT.search(path):
        return "cortex-agent"
    if "/responses/" in path:
        # A stored response: /v1/responses/resp_123
        return "openai-responses"
    if path.endswith(":streamrawpredict") and "/publishers/anthropic/" in path:
        return "anthropic"
    return None


def framing_of(name: str | None, content_type: str) -> Framing | None:
    """The framing of a body of the dialect ``name``; ``None`` if the first bytes must decide."""
    kind = media_type(content_type)
    if kind == FRAME_TYPE or name == "bedrock":
        return "frames"
    if name == "ndjson" or (name in (None, "cohere") and kind in LINE_TYPES):
        return "lines"
    if name is None or (name == "cohere" and kind != "text/event-stream"):
        return None
    return "events"


def by_frame(event: Event) -> str | None:
    """The dialect of a first frame: ``bedrock`` or ``generic``; ``None`` if the frame shows nothing."""
    if event.event == "initial-response":
        return None
    known = event.event in BEDROCK_EVENTS or event.event.startswith(("exception:", "error:"))
    return "bedrock" if known else "generic"


def by_event(event: Event) -> str | None:
    """The dialect of a first event: ``generic`` for no known dialect; ``None`` for a keep-alive."""
    data = event.data.strip()
    if event.event in ANTHROPIC_EVENTS:
        return "anthropic"
    if event.event in CORTEX_EVENTS or event.event == "metadata":
        # OpenAI uses some of these names too, with a type in the data.
        return _by_agent(event)
    if event.event.startswith("response."):
        return "openai-responses"
    if data in ENDS:
        return "openai-chat"
    try:
        value = event.json() if data else {}
    except (ValueError, RecursionError):
        return None if event.event in KEEPALIVE_NAMES else "generic"
    if value is None:
        return None
    return _by_shape(event, value) if isinstance(value, dict) else "generic"


def _by_agent(event: Event) -> str | None:
    try:
        value = event.json()
    except (ValueError, RecursionError):
        return "generic"
    if not isinstance(value, dict):
        return None if value is None else "generic"
    if str(value.get("type", "")).startswith("response."):
        return "openai-responses"
    if event.event == "metadata" and not {"role", "message_id"} <= value.keys():
        return _by_shape(event, value)
    return "cortex-agent"


def _by_shape(event: Event, value: dict[str, Any]) -> str | None:
    kind = value.get("type")
    kind = kind if isinstance(kind, str) else ""
    if not value or (event.event in KEEPALIVE_NAMES and not kind):
        return None
    if kind in ANTHROPIC_EVENTS:
        return "anthropic"
    if kind in KEEPALIVE_NAMES:
        # Anthropic's ping, the Responses API's keepalive: later events decide.
        return None
    if kind.startswith("response."):
        return "openai-responses"
    if _is_snowflake(value):
        return "snowflake"
    if isinstance(value.get("choices"), list) and value["choices"]:
        # Before the other shapes, whose fields a gateway may put beside choices.
        return "openai-chat"
    if kind in COHERE_EVENTS or _event_type(value) in COHERE_LINES or _is_generated(value):
        return "cohere"
    if kind == "error":
        return "anthropic" if isinstance(value.get("error"), dict) else "openai-responses"
    if ("result" in value and "is_end" in value) or (value.get("error_code") and "error_msg" in value):
        return "baidu"
    if (
        "choices" in value
        or "base_resp" in value
        or str(value.get("object", "")).startswith(("chat.completion", "text_completion"))
    ):
        return "openai-chat"
    if "candidates" in value or "promptFeedback" in value or "usageMetadata" in value:
        return "gemini"
    if isinstance(value.get("output"), dict) and ("request_id" in value or "usage" in value):
        return "dashscope"
    if event.event == "error" and "request_id" in value and "code" in value:
        return "dashscope"
    if isinstance(value.get("token"), dict) and ("generated_text" in value or "details" in value or _is_token(value)):
        return "tgi"
    if is_llama(value):
        return "llamacpp"
    if is_sglang(value):
        return "sglang"
    if isinstance(value.get("response"), str) and isinstance(value.get("p"), str):
        # "p" is Workers AI's padding, which hides the length of a piece.
        return "cloudflare"
    if isinstance(value.get("done"), bool) and (
        isinstance(value.get("message"), dict) or isinstance(value.get("response"), str)
    ):
        # Ollama's objects, which gateways frame as events.
        return "ndjson"
    if value.get("error") or value.get("object") == "error":
        # Errors look alike in the remaining dialects, and the same code reads them.
        return "openai-chat"
    return "generic"


def is_line(value: object) -> bool:
    """Whether a JSON value is a line of Ollama or of Cohere's first version."""
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("done"), bool) or _event_type(value) in COHERE_LINES or _is_generated(value)


def _is_generated(value: dict[str, Any]) -> bool:
    # Lines of Cohere's generate, without a type.
    return isinstance(value.get("is_finished"), bool) and ("text" in value or "response" in value)


def _is_snowflake(value: dict[str, Any]) -> bool:
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    delta = first.get("delta") if isinstance(first, dict) else None
    return isinstance(delta, dict) and "content_list" in delta


def _is_token(value: dict[str, Any]) -> bool:
    # Servers compatible with TGI leave out the other fields until the last event.
    return len(value) == 1 and {"id", "text"} <= value["token"].keys()


def _event_type(value: dict[str, Any]) -> str:
    kind = value.get("event_type")
    return kind if isinstance(kind, str) else ""


_GENERIC = "generic"
# Events of no dialect after which detection stops, and the maximum number of notices held back.
_MOST_EVENTS = 16
_MOST_NOTICES = 8
# Pairs of dialects: an event that looks like the second is also an event of the first.
_ALIKE = frozenset((("snowflake", "openai-chat"), ("cortex-agent", "openai-responses")))


class Guess:
    """Reads events until their dialect is ``settled``.

    ``named`` is the dialect that the URL or the content type suggests; ``make`` makes a dialect by its name.
    ``dialect`` is the present assumption. ``foreign``: an event with text of no dialect came, and no event of any
    dialect.
    """

    __slots__ = ("_events", "_make", "_named", "_notices", "_said", "_seen", "_tried", "_url", "dialect", "settled")

    def __init__(self, make: Callable[[str], Dialect], *, named: str | None, url: str) -> None:
        self.settled = False
        self.dialect = None if named is None else make(named)
        self._make = make
        self._named = named
        self._url = url
        self._tried: dict[str, Dialect] = {} if self.dialect is None else {self.dialect.name: self.dialect}
        self._seen = False
        self._said = False  # an event of no dialect had text
        self._events = 0
        self._notices: list[str] = []

    @property
    def foreign(self) -> bool:
        return self._said and not (self._seen or self.settled)

    def refusal(self, framing: str | None) -> NotAStream:
        """The error of a body of ``foreign`` events."""
        name = self._named or AUTO
        if framing == "lines":
            what, use = "JSON lines", ""
        else:
            what, use = "events", ", dialect='generic' to take the data of each as text, or a dialect of your own"
        return NotAStream(
            f"The endpoint answered with {what} that no dialect reads, and with none of the dialect that was expected "
            f"({name}). Use llmwatch.Session with stream=True to read its bytes as they come{use}; check the URL if "
            "something else was to answer.",
            retryable=False,
        )

    def waiting(self) -> str:
        """Take the text of the held-back notices, which counts as text at the end of the body."""
        text = "".join(self._notices)
        self._notices.clear()
        return text

    def read(self, event: Event, framing: str) -> None:
        """Fill in the meaning of the event. Raises the exceptions of dialects."""
        name, certain = self._shown_by(event, framing)
        if name == _GENERIC and not certain and self.dialect is None:
            self.dialect = self._make(_GENERIC)
        base = self.dialect
        if certain and name is not None:
            self._settle(name).read(event)
        elif base is not None and (name in (None, _GENERIC) or not self._is_of(name, event, base)):
            self._read_as(base, event, foreign=name == _GENERIC)
        elif name is None:
            event.kind = Kind.KEEPALIVE
        else:
            self._try(name, event)

    def _shown_by(self, event: Event, framing: str) -> tuple[str | None, bool]:
        """The dialect that the event looks like, and whether this settles the dialect."""
        open_to_all = self._named is None and (self.dialect is None or self.dialect.name == _GENERIC)
        if open_to_all and (found := detected(self._url, event)) is not None:
            return found, True
        if framing == "frames":
            return by_frame(event), True
        name = by_event(event)
        if self.dialect is not None and event.data.strip() in ENDS:
            # Proxies append [DONE] to any dialect.
            return None, False
        if name == _GENERIC and framing == "lines" and self.dialect is None:
            return "ndjson", True
        return name, name is not None and name == self._named

    def _is_of(self, name: str | None, event: Event, base: Dialect) -> bool:
        """Whether an event that looks like the dialect ``name`` changes the assumption ``base``."""
        if (base.name, name) in _ALIKE or name == base.name:
            return name == base.name
        if base.name == _GENERIC:
            # Data of a generic stream may look like a dialect.
            return not self._said or (name is not None and self._carries(name, event))
        if self._said and not self._seen:
            # The text that came before would be missing from the answer.
            return False
        # Errors look alike in several dialects.
        return event.event != "error" and error_in(_json_or_none(event)) is None

    def _carries(self, name: str, event: Event) -> bool:
        """Whether the dialect ``name`` finds content or a finish mark in the event, which stays unchanged."""
        tried = Event(event.event, event.data, event.id, event.retry)
        try:
            self._make(name).read(tried)
        except (ValueError, RecursionError):
            return False
        return tried.has_content or tried.finish

    def _try(self, name: str, event: Event) -> None:
        dialect = self.dialect = self._tried.get(name) or self._make(name)
        self._tried[name] = dialect
        self._seen = True
        self._notices.clear()
        dialect.read(event)
        self.settled = _tells(event)

    def _settle(self, name: str) -> Dialect:
        self.dialect = self._tried.get(name) or self._make(name)
        self._notices.clear()
        self.settled = True
        return self.dialect

    def _read_as(self, base: Dialect, event: Event, *, foreign: bool) -> None:
        generic = base.name == _GENERIC
        notice = (foreign or generic) and is_notice(_json_or_none(event))
        if foreign and not notice:
            self._said = self._said or not _is_damaged(event)
        base.read(event)
        if generic:
            self._read_generic(event, notice=notice)
        elif base.name == self._named:
            # Only content settles: proxies append the end mark of another dialect, and errors look alike.
            self.settled = event.has_content or event.finish

    def _read_generic(self, event: Event, *, notice: bool) -> None:
        self._events += 1
        self.settled = self._events >= _MOST_EVENTS
        if event.kind is Kind.TEXT and notice and not self._said and len(self._notices) < _MOST_NOTICES:
            self._notices.append(event.text)
            event.kind, event.text = Kind.LIFECYCLE, ""
        elif event.kind in (Kind.TEXT, Kind.TERMINAL):
            self._said = True
            event.text = self.waiting() + event.text


def _tells(event: Event) -> bool:
    """Whether the event carries part of an answer, or ends one."""
    return event.has_content or event.finish or event.kind in (Kind.TERMINAL, Kind.ERROR)


def _is_damaged(event: Event) -> bool:
    """Whether the data may be part of a damaged object and not words."""
    try:
        event.json()
    except (ValueError, RecursionError):
        return any(mark in event.data for mark in '{}"\ufffd') or not event.data.isprintable()
    return False


def _json_or_none(event: Event) -> object:
    try:
        return event.json()
    except (ValueError, RecursionError):
        return None
