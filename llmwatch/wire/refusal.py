"""What is said in place of an answer: error bodies, error events, web pages, documents.

Everything here looks at values and bytes that a provider or a proxy sent, and never fails on them: what is not
understood gives a short general message. Nothing of a body is quoted but the provider's own error text and the
title of a page, both capped.
"""

from __future__ import annotations

import codecs
import html
import json
import re
from http import HTTPStatus
from typing import Any

from llmwatch.errors import LLMWatchError, NotAStream, ProviderError
from llmwatch.records import redact
from llmwatch.wire.codes import may_pass
from llmwatch.wire.event import StreamError
from llmwatch.wire.lines import ENOUGH_OF_LINE, may_be_events

__all__ = [
    "bare_error",
    "broken_error",
    "error_in",
    "has_error",
    "in_stream_error",
    "is_loading",
    "is_named",
    "is_notice",
    "json_document",
    "lone_error",
    "media_type",
    "not_a_stream",
    "printed",
    "provider_error",
    "retry_delay",
    "shorten",
    "stray_error",
]

_MOST_TEXT = 500
_MOST_TITLE = 80
_MOST_NAME = 80
_MOST_DETAILS = 16
_DECIMAL = re.compile(r"[+-]?\d{1,15}(?:\.\d{0,20})?", re.ASCII)

COHERE_LINE_TYPE = "application/stream+json"
"""The content type of the JSON lines of Cohere's first version."""

LINE_TYPES = frozenset(
    (
        COHERE_LINE_TYPE,
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json-seq",
    )
)
"""Content types of JSON lines."""

# Where the header says so, or says nothing while bytes come, what cannot be read is a damaged stream.
_READ_TYPES = frozenset(("", "text/event-stream", "application/vnd.amazon.eventstream"))
_LINE_END = re.compile(rb"[\r\n]")

_PAGE_TYPES = frozenset(("text/html", "application/xhtml+xml"))
_FIELD = re.compile(rb"(?:data|event|id|retry)?:|[{\[]")
_TITLE = re.compile(r"<(title|h1)\b[^<>]*>([^<]*)<", re.IGNORECASE)

# Not in the standard library: Cloudflare's own, and Anthropic's overload.
_PHRASES = {
    520: "the server behind the proxy gave an unknown error",
    521: "the server behind the proxy is down",
    522: "the proxy could not connect to the server",
    523: "the server behind the proxy is unreachable",
    524: "the server behind the proxy did not answer in time",
    525: "the TLS handshake behind the proxy failed",
    526: "the certificate behind the proxy is invalid",
    527: "the proxy lost the server",
    529: "the provider is overloaded",
}


def _decoded(body: bytes) -> str:
    """``body`` without a byte order mark. The codec for that is written in Python, and wraps what a signal handler
    raises in the middle of it into another exception.
    """
    return body.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")


def media_type(content_type: str) -> str:
    """The bare media type of a ``Content-Type`` header, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def shorten(text: str, most: int = _MOST_TEXT) -> str:
    """Foreign ``text`` on one line, scrubbed of keys, at most ``most`` characters, with a mark where it was cut."""
    # Twice: what is spread over lines has to be seen as one text, and control characters become spaces.
    return " ".join(redact.text(" ".join(text.split()), cap=most).split())


def _name(value: object) -> str | None:
    # Codes come as words or as numbers. bool is an int, and says nothing here.
    if isinstance(value, str):
        return shorten(value, _MOST_NAME) or None
    return str(value) if type(value) is int and abs(value) < 10**9 else None


def _first_text(source: dict[str, Any], *names: str) -> str | None:
    for name in names:
        value = source.get(name)
        if isinstance(value, str) and value.strip():
            return shorten(value)
    return None


def _from_details(value: object) -> str | None:
    # FastAPI: {"detail": "..."} or {"detail": [{"loc": ..., "msg": "..."}]}; Cloudflare's API: {"errors":
    # [{"message": "..."}]}.
    if isinstance(value, str):
        return shorten(value) or None
    if isinstance(value, list) and value:
        return _from_details(value[0]) if isinstance(value[0], (str, dict)) else None
    if isinstance(value, dict):
        return _first_text(value, "message", "msg", "error")
    return None


def has_error(source: dict[str, Any]) -> bool:
    """Whether ``error`` in an object is one.

    Some gateways have it in every event, with nulls, with a code of success, or as the word ``none``.
    An empty message alone is no success: it is what Python makes of an exception without words.
    """
    error = source.get("error")
    if isinstance(error, str):
        return error.strip().lower() not in _NO_ERRORS
    if not isinstance(error, dict) or all(said is None for said in error.values()):
        return bool(error) and not isinstance(error, dict)
    words = _first_text(error, "message", "detail", "error", "msg")
    well = (_name(error.get("code")) or "").lower() in _FINE_CODES and not error.get("type")
    return not well or (words is not None and words.strip(" .!").lower() not in _NOTICES)


def error_in(value: object) -> StreamError | None:
    """The error that a parsed JSON value stands for, or ``None`` where it does not say that it is one.

    Known: ``{"error": {...}}`` (OpenAI, Anthropic, OpenRouter; with ``status`` in place of ``type``: Gemini,
    which may also put it into a list), ``{"error": "..."}`` (Ollama and others), ``{"error_code": ..., "error_msg":
    "..."}`` (Baidu), ``{"base_resp": {"status_code": ...}}`` (MiniMax), ``{"object": "error", ...}`` and ``{"type":
    "error", ...}`` with the fields beside it (vLLM, Mistral, the Responses API), ``{"event": "error", ...}`` (Dify),
    ``{"text": ..., "error_code": ...}`` (FastChat), a list under ``error`` (Cloudflare's AI Gateway), and an object of
    its own under other names: ``{"Response": {"Error": ...}}`` (Tencent), ``{"ErrorMsg": ...}`` (Hunyuan), ``{"fault":
    ...}`` (Apigee, WSO2).
    """
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    error = value.get("error") if has_error(value) else None
    if isinstance(error, dict):
        kind = _name(error.get("type")) or _name(error.get("status"))
        message = _first_text(error, "message", "detail", "error", "msg") or "no message was given"
        return StreamError(kind, _name(error.get("code")), message)
    if isinstance(error, str):
        message = _first_text(value, "message", "error_description") or shorten(error)
        return StreamError(_name(value.get("error_type")), _name(value.get("code")), message)
    if error:
        message = _from_details(error) or _first_text(value, "message", "msg", "detail") or "an error of unknown shape"
        first = error[0] if isinstance(error, list) and isinstance(error[0], dict) else {}
        return StreamError(_name(first.get("type")), _name(value.get("code")) or _name(first.get("code")), message)
    status = value.get("base_resp")
    if isinstance(status, dict) and status.get("status_code"):
        message = _first_text(status, "status_msg") or "no message was given"
        return StreamError(None, _name(status["status_code"]), message)
    found = _coded_error(value) or _held_error(value)
    if found is not None:
        return found
    if "error" in (value.get("object"), value.get("type"), value.get("event")):
        kind = _name(value.get("type"))
        message = _first_text(value, "message", "detail") or "no message was given"
        return StreamError(None if kind == "error" else kind, _name(value.get("code")), message)
    return None


def _coded_error(value: dict[str, Any]) -> StreamError | None:
    """Baidu's, by the name of its words, and FastChat's, whose words stand in place of the answer's text."""
    code = value.get("error_code")
    message = _first_text(value, "error_msg", "error_message", "message", "text")
    if not code or (_name(code) or "").lower() in _FINE_CODES or (message is None and "error_msg" not in value):
        return None
    return StreamError(None, _name(code), message or "no message was given")


def _held_error(value: dict[str, Any]) -> StreamError | None:
    """The error in an object of its own that is not named ``error``."""
    response = value.get("Response")
    held = response.get("Error") if isinstance(response, dict) else value.get("ErrorMsg") or value.get("fault")
    if not isinstance(held, dict):
        return None
    message = _first_text(held, "Message", "Msg", "faultstring", "message", "description")
    detail = held.get("detail")
    inner = detail.get("errorcode") if isinstance(detail, dict) else None
    code = next((code for said in (held.get("Code"), held.get("code"), inner) if (code := _name(said))), None)
    if (code or "").lower() in _FINE_CODES or not (code or message):
        return None
    return StreamError(None, code, message or "no message was given")


_FINE_CODES = frozenset(("0", "200", "ok", "success"))
"""Codes that come with every answer of some gateways."""

# And states that come with what others say of their progress.
_UNDER_WAY = _FINE_CODES | frozenset(
    ("completed", "done", "finished", "in_progress", "loading", "pending", "processing", "queued", "running", "started")
)
# Codes and words of notices. Those beside them stand for themselves.
_NOTICES = _UNDER_WAY | frozenset(
    ("accepted", "begin", "begun", "continue", "created", "debug", "info", "information", "notice", "ready", "waiting")
)
_FAILED = frozenset(("error", "exception", "fail", "failed", "failure"))
# What says that there is no error, in its place.
_NO_ERRORS = frozenset(("", "none", "null", "no error"))
_LEAST_STATUS, _MOST_STATUS = 400, 599
_FINE_STATUSES = frozenset(status for status in HTTPStatus if status < 300)
# What an object holds that is an error and nothing else.
_ALONE = frozenset(
    ("error", "errors", "error_type", "error_code", "error_msg", "error_message", "errorMessage", "errorType", "code")
) | frozenset(
    ("status", "statusCode", "status_code", "success", "ok", "type", "object", "event", "message", "msg", "reason")
)
_ALONE |= frozenset(("title", "detail", "result", "messages", "param", "instance", "path", "request_id", "requestId"))
_ALONE |= frozenset(("trace_id", "task_id", "message_id", "conversation_id", "created_at", "timestamp"))
_ALONE |= frozenset(
    ("Response", "RequestId", "ErrorMsg", "Id", "fault", "header", "sid", "exception", "__type", "Message")
)
_IDENTITIES = frozenset(("request_id", "requestId", "trace_id", "timestamp", "path"))


def is_notice(code: object, words: str | None) -> bool:
    """Whether a code beside ``words`` says that all is well, or under way.

    Its name says so, or it is one of HTTP's below 300. Any number but HTTP's own of errors is judged by ``words`` that
    are such a name and nothing else.
    """
    name = (_name(code) or "0").lower()
    if name in _NOTICES:
        return True
    number = int(name) if name.isdecimal() else _LEAST_STATUS
    fine = (words or "").strip(" .!").lower() in _NOTICES
    return number in _FINE_STATUSES or (fine and (number < _LEAST_STATUS or number > _MOST_STATUS))


def bare_error(value: object) -> StreamError | None:
    """The error in an object with nothing of an answer in it: as :func:`error_in` says, a code beside a message
    (DashScope, Zhipu), or a list of errors (Cloudflare).
    """
    found = error_in(value)
    if found is None and isinstance(value, dict):
        words = _first_text(value, "message", "msg")
        coded = words is not None and not is_notice(_name(value.get("code")) or value.get("statusCode"), words)
        if coded or _from_details(value.get("errors")) is not None:
            found = _error_body(value)
    return found


def lone_error(value: object, *, text: bool = False) -> StreamError | None:
    """The error in an object of any wire that holds an error and nothing else. Data with an error in it is data.

    Beside what :func:`error_in` reads: a state that is a failure (``success`` that is false, ``status`` that is
    ``error``, 400 or more, a code beside words), a list of ``errors``, FastAPI's ``detail`` alone, RFC 9457's
    problems, AWS Lambda's ``errorMessage``, the ``__type`` of AWS's JSON protocols, an ``exception``, and a code
    with words in a ``header`` (Spark) or a ``status`` (SenseNova). An object with the type of something else is
    what that says. ``text``: the objects of the stream are data of any kind, in which a code below 400, or a word
    for one, means nothing.
    """
    if not isinstance(value, dict):
        return None
    value = {name: said for name, said in value.items() if said not in (None, "", [], {})}
    if not value or not _ALONE.issuperset(value):
        return None
    error = value.get("error", "")
    readable = isinstance(error, (dict, str)) or (isinstance(error, list) and _from_details(error) is not None)
    if readable and (found := error_in(value)) is not None:
        return found
    if is_named(value):
        return None
    if not text and (found := _state_error(value)) is not None:
        return found
    failed = _has_failed(value, text=text)
    told = (
        _from_details(value.get("errors"))
        or _from_details(value.get("exception"))
        or _first_text(value, "error_message", "errorMessage", "error_msg")
    )
    raised = _name(value.get("__type"))
    alone = value.keys() - _IDENTITIES == {"detail"} and _from_details(value["detail"]) is not None
    if failed is False or not (failed or told or alone or raised):
        return None
    kind = (
        raised.rpartition("#")[2]
        if raised
        else _name(value.get("type")) or _name(value.get("error_type")) or _name(value.get("errorType"))
    )
    words = _error_body(value)
    message = words.message if words else told or _first_text(value, "reason") or "no message was given"
    code = next((code for name in reversed(_STATES) if (code := _name(value.get(name)))), None)
    return StreamError(kind, code, message)


def _state_error(value: dict[str, Any]) -> StreamError | None:
    """The error in a state that is an object, with a code and words of its own."""
    for name in ("header", "status"):
        state = value.get(name)
        if isinstance(state, dict):
            code, message = _name(state.get("code")), _first_text(state, "message", "msg")
            if code is not None and message is not None and not is_notice(code, message):
                return StreamError(None, code, message)
    return None


# In the order in which they count.
_STATES = ("status", "statusCode", "status_code", "code", "error_code")


def is_named(value: dict[str, Any]) -> bool:
    """Whether an object has the type of something other than an error. A problem's type may be an address."""
    return any(_is_other(value.get(name)) for name in ("type", "event"))


def _is_other(name: object) -> bool:
    if not isinstance(name, str):
        return False
    lower = name.lower()
    addresses = lower.startswith(("http:", "https:", "about:"))
    return bool(lower) and not addresses and not any(word in lower for word in ("error", "exception", "fail"))


def _has_failed(value: dict[str, Any], *, text: bool) -> bool | None:
    """What the states in an object say: a failure, none, or nothing that is known."""
    for name in ("success", "ok"):
        if isinstance(value.get(name), bool):
            return not value[name]
    if value.get("error") is True:
        return True
    words = _first_text(value, "message", "msg", "reason", "title", "detail")
    states = (_is_failure(value.get(name), words, code="code" in name and not text) for name in _STATES)
    return next((state for state in states if state is not None), None)


def _is_failure(state: object, words: str | None, *, code: bool) -> bool | None:
    said = (_name(state) or "").lower()
    if said in _FAILED or said in _UNDER_WAY:
        return said in _FAILED
    if not said or words is None:
        return None
    if is_notice(state, words):
        return False if code else None
    # Any other code that stands beside words is an error's.
    return True if code or (said.isdigit() and int(said) >= _LEAST_STATUS) else None


_NAMES_ERROR = re.compile(r'(?<!\\)"errors?"\s*:\s*[{"\[]|(?<!\\)"(?:object|type)"\s*:\s*"error"')
_WORDS = re.compile(r'(?<!\\)"(?:message|error|detail)"\s*:\s*"(.*)', re.DOTALL)
_NEXT_FIELD = re.compile(r'"\s*,\s*"\w+"\s*:|"\s*[}\]]')
# The same as Python prints it.
_BEGINS_PRINTED = ("{'", "[{'")
_NAMES_PRINTED_ERROR = re.compile(r"""(?<!\\)'errors?'\s*:\s*[{'"\[<]|(?<!\\)'(?:object|type)'\s*:\s*'error'""")
_PRINTED_WORDS = re.compile(r"""(?<!\\)'(?:message|error|detail)'\s*:\s*['"](.*)""", re.DOTALL)
_NEXT_PRINTED = re.compile(r"""['"]\s*,\s*'\w+'\s*:|['"]\s*[}\]]""")


def broken_error(text: str) -> StreamError | None:
    """The error that broken JSON names, in the words that can be made out; ``None`` where it names none.

    The server of transformers, for one, does not escape the text of its errors, and some in Python send what ``print``
    makes of an object.
    """
    text = text.strip()
    if (value := printed(text)) is not None:
        return error_in(value)
    names, says, ends, rest = _NAMES_ERROR, _WORDS, _NEXT_FIELD, ' "}]\n'
    if text.startswith(_BEGINS_PRINTED):
        names, says, ends, rest = _NAMES_PRINTED_ERROR, _PRINTED_WORDS, _NEXT_PRINTED, " '\"}]\n"
    if not text.startswith(("{", "[")) or names.search(text) is None:
        return None
    said = says.search(text)
    words = text if said is None else ends.split(said[1])[0].rstrip(rest)
    return StreamError(None, None, shorten(words) or "no message was given")


_MOST_PRINTED = 64 * 1024
# The last of them has no place outside a string. Taken whole, it is looked at once.
_PRINTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\b(?:None|True|False)\b|\\.""", re.DOTALL)
_CONSTANTS = {"None": "null", "True": "true", "False": "false"}
_ESCAPED = re.compile(r'\\x([0-9a-fA-F]{2})|\\(.)|(")', re.DOTALL)


def printed(text: str) -> Any:
    """The object that Python printed as ``text``, with strings in single quotes; ``None`` where it is none."""
    if not text.startswith(_BEGINS_PRINTED) or len(text) > _MOST_PRINTED:
        return None
    try:
        return json.loads(_PRINTED.sub(_json_token, text))
    except (ValueError, RecursionError):
        return None


def _json_token(found: re.Match[str]) -> str:
    token = found[0]
    return _json_string(token[1:-1]) if token[0] in "'\"" else _CONSTANTS.get(token, token)


def _json_string(inside: str) -> str:
    """A string of Python's as one of JSON's."""

    def escaped(found: re.Match[str]) -> str:
        if found[1]:
            return f"\\u00{found[1]}"
        # A quotation mark, escaped or not, and whatever else is escaped, which JSON escapes alike.
        return "'" if found[2] == "'" else f"\\{found[2] or found[3]}"

    return f'"{_ESCAPED.sub(escaped, inside)}"'


def stray_error(text: str) -> StreamError | None:
    """The error that a line without a field of its own stands for; ``None`` where it reads as none."""
    text = text.strip()
    if not text.startswith(("{", "[")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return broken_error(text)
    found = bare_error(value) or lone_error(value)
    if found is None and isinstance(value, dict):
        # As an error's body says it, with a code or all by itself (Cohere, AWS): nothing of an answer is outside its
        # events.
        coded = value.keys() & {"code", "status", "statusCode", "detail"}
        if coded or value.keys() - _IDENTITIES - {"id"} in ({"message"}, {"Message"}):
            found = _error_body(value)
    return found


def _error_body(value: object) -> StreamError | None:
    # With an error status everything that reads like a message is one.
    found = error_in(value)
    if found is not None or not isinstance(value, dict):
        return found
    message = (
        _first_text(value, "message", "Message", "msg", "error_description", "title")
        or _from_details(value.get("detail"))
        or _from_details(value.get("errors"))
        or _from_details(value.get("fault"))
    )
    if message is None and value.get("error") != {}:
        return None
    return StreamError(_name(value.get("type")), _name(value.get("code")), message or "no message was given")


def _json(body: bytes) -> Any:
    text = _decoded(body).strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        # Something may follow, such as an end mark that a proxy adds.
        return json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        pass
    # DashScope, and servers that have begun to stream, answer an error status with an event.
    for said in _data_of_events(text):
        try:
            return json.loads(said)
        except (ValueError, RecursionError):
            continue
    return None


_DATA = re.compile(r"data: ?(.*)")
_TEXT_LINE_END = re.compile(r"\r\n|[\r\n]")


def _data_of_events(text: str) -> list[str]:
    """The data of the server-sent events in ``text``; nothing where it holds none, or anything else."""
    events: list[list[str]] = [[]]
    for line in _TEXT_LINE_END.split(text):
        if not line:
            events.append([])
        elif not may_be_events(line.encode("utf-8", "replace")[:ENOUGH_OF_LINE], whole=True):
            return []
        elif found := _DATA.match(line):
            events[-1].append(found[1])
    return [data for event in events if (data := "\n".join(event).strip())]


def _start(body: bytes) -> bytes:
    return body[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()


def _is_page(content_type: str, body: bytes) -> bool:
    # Only markup begins with "<": no field, no comment and no JSON does. And some servers call their events
    # text/html.
    start = _start(body)
    return start.startswith(b"<") or (media_type(content_type) in _PAGE_TYPES and not _FIELD.match(start))


def _page(body: bytes) -> str:
    found = _TITLE.search(body.decode("utf-8", "replace"))
    title = shorten(html.unescape(found[2]), _MOST_TITLE) if found else ""
    return f'a web page titled "{title}"' if title else "a web page without a title"


def _phrase(status: int) -> str:
    if status in _PHRASES:
        return _PHRASES[status]
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return "no reason was given"


def provider_error(status: int, body: bytes, content_type: str = "") -> StreamError:
    """What an error response says: its ``(type, code, message)``.

    ``body`` is what was read of it and need not be whole. The message is never empty and at most 500 characters
    long; of a web page it has the title only. Whether a resend could work is not decided here.
    """
    if _is_page(content_type, body):
        return StreamError(None, None, f"{_phrase(status)} ({_page(body)})")
    text = _decoded(body).strip()
    events = _data_of_events(text)
    found = _error_body(_json(body)) if events or text[:1] in ("{", "[") else None
    text = events[0] if events else text
    found = found or _error_body(printed(text))
    if found is None and text[:1] not in ("", "{", "[") and " ".join(text.split()).isprintable():
        found = StreamError(None, None, shorten(text))
    return found or StreamError(None, None, _phrase(status))


# The whole message, so that a failure to load is none.
_LOADING = re.compile(
    r"(?:unexpected server status: )?(?:llm server |server is )?loading (?:the )?model\.*"
    r"|(?:the )?model(?: \S{1,200})? is (?:still |currently )?(?:loading|being loaded)\b.{0,200}",
    re.IGNORECASE | re.DOTALL,
)


def is_loading(body: bytes) -> bool:
    """Whether the body of a 503 says that the server is still loading its model.

    llama.cpp and llamafile do so by the type ``unavailable_error``, and with ``Loading model`` as the message that a
    proxy may leave of it (server README and source, 2024 to 2026); Hugging Face's containers by an ``estimated_time``
    beside the error; gateways in front of Ollama's runner in its words. Ollama itself, LM Studio and llama-swap hold
    the request back meanwhile; vLLM and TGI do not listen yet. KoboldCpp's ``service_unavailable`` is a server that is
    busy.
    """
    document = _json(body)
    if not isinstance(document, dict):
        return False
    error = document.get("error")
    found = _error_body(document)
    if found is not None and found.type == "unavailable_error":
        return True
    if isinstance(error, str) and type(document.get("estimated_time")) in (int, float):
        return True
    words = (found.message if found is not None else "", document.get("status"))
    return any(isinstance(said, str) and _LOADING.fullmatch(said.strip()) is not None for said in words)


def retry_delay(said: bytes | str) -> float | None:
    """The seconds after which an error of Google's asks to be retried: the longest ``retryDelay`` of a ``RetryInfo`` in
    its details, never negative; ``None`` where there is none, or nonsense. ``said`` is the JSON of a body or an event:
    the error's object, or a list that begins with it.
    """
    body = said.encode("utf-8", "replace") if isinstance(said, str) else said
    if b"RetryInfo" not in body:
        return None
    document = _json(body)
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    delays = [
        _seconds(detail.get("retryDelay"))
        for detail in (details if isinstance(details, list) else ())[:_MOST_DETAILS]
        if isinstance(detail, dict) and str(detail.get("@type")).endswith("google.rpc.RetryInfo")
    ]
    return max((delay for delay in delays if delay is not None), default=None)


def _seconds(duration: object) -> float | None:
    # protobuf's Duration in JSON: seconds with an "s". Some gateways hand on its two fields.
    if isinstance(duration, dict):
        seconds, nanos = _decimal(duration.get("seconds", 0)), _decimal(duration.get("nanos", 0))
        return None if seconds is None or nanos is None else max(0.0, seconds + nanos / 1e9)
    if not isinstance(duration, str) or not duration.endswith("s"):
        return None
    seconds = _decimal(duration[:-1])
    return None if seconds is None else max(0.0, seconds)


def _decimal(value: object) -> float | None:
    found = _DECIMAL.fullmatch(str(value))
    return None if found is None else float(found[0])


def not_a_stream(
    status: int, content_type: str, first_bytes: bytes, *, dialect: str = "auto", ended: bool = False
) -> LLMWatchError | None:
    """Why a successful response is no event stream, or ``None`` where nothing speaks against it.

    ``first_bytes`` is what is at hand of the body, up to 64 KiB; with all of it the error inside a JSON body
    can be told. ``ended``: the body is over, and no event came of it. What the body begins with counts more than what
    its ``Content-Type`` claims: events never begin with ``<``, ``{`` or ``[``. JSON lines do, so ``{`` is accepted for
    ``dialect="ndjson"`` and for the content types of JSON lines.

    Returns :class:`~llmwatch.errors.NotAStream` for a web page, for a JSON document, and for what is of a content type
    that nothing reads and does not begin like an event; :class:`~llmwatch.errors.ProviderError` where a document is an
    error. It does not judge error statuses
    (:func:`provider_error` reads those) and raises nothing.
    """
    if _is_page(content_type, first_bytes):
        return NotAStream(
            f"The endpoint answered {status} with {_page(first_bytes)} in place of a model's answer. "
            "Check the base URL, and whether a proxy or a login page answers in place of the provider."
        )
    start = _start(first_bytes)[:1]
    if start == b"{" and (dialect == "ndjson" or media_type(content_type) in LINE_TYPES):
        return None
    if start not in (b"{", b"["):
        return _unread(status, content_type, first_bytes, ended=ended and dialect != "bedrock")
    document = _json(first_bytes)
    found = error_in(document) or lone_error(document)
    if document is None:
        found = broken_error(_decoded(first_bytes))
    if found is not None:
        where = f"answered {status} with an error in place of a stream"
        return in_stream_error(found, first_bytes, status=status, where=where)
    if start == b"[":
        return NotAStream(
            f"The endpoint answered {status} with a JSON list where an event stream was asked for. "
            "Gemini does so when the URL lacks alt=sse: add it.",
            retryable=False,
        )
    return json_document(status)


def json_document(status: int) -> NotAStream:
    """The error for a whole JSON document in place of a stream."""
    return NotAStream(
        f"The endpoint answered {status} with a JSON document where an event stream was asked for: it ignored "
        "stream: true, or was not asked for it. Ask for a stream, or make a plain call with request().",
        retryable=False,
    )


def _unread(status: int, content_type: str, first_bytes: bytes, *, ended: bool) -> NotAStream | None:
    """For a body of a content type that nothing reads, unless it begins like server-sent events all the same. One
    without a type is known by its end.
    """
    kind = media_type(content_type)
    if (kind in _READ_TYPES and not (ended and not kind)) or kind in LINE_TYPES:
        return None
    line = _start(first_bytes)[:ENOUGH_OF_LINE]
    end = _LINE_END.search(line)
    if not line or may_be_events(line[: end.start()] if end else line, whole=end is not None):
        return None
    what = f"of the type {shorten(kind, _MOST_NAME)}" if kind else "without a Content-Type"
    return NotAStream(
        f"The endpoint answered {status} with a body {what}, which no dialect reads. "
        "Use request() if it is a whole answer, and llmwatch.Session with stream=True to read its bytes as they come; "
        "register a dialect if these are events of your own.",
        retryable=False,
    )


def in_stream_error(
    error: StreamError,
    said: bytes | str = b"",
    *,
    status: int = 200,
    where: str = "reported an error inside the stream",
    failed: bool = False,
) -> ProviderError:
    """The exception for an error that came without an error status.

    ``said`` is the JSON that it stood in, which may tell how long to wait, and whether its number stands for something
    that passes. ``failed``: the answer ended with the word for a failure of the provider, which is no fault of the
    request.
    """
    names = ", ".join(name for name in (error.type, error.code) if name)
    label = f" ({names})" if names else ""
    return ProviderError(
        f"The provider {where}{label}: {error.message}",
        status=status,
        type=error.type,
        code=error.code,
        retry_after=retry_delay(said),
        retryable=failed or may_pass(said),
    )
