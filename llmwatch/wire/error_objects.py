"""Recognising and reading errors in JSON, in the body of an answer and in events.

The functions take values that a provider or a proxy sent, and never fail on them: a value that is not understood is not
an error, or an error with a short general message. Only the provider's error text is quoted, capped.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any

from llmwatch.lazy_pattern import lazy
from llmwatch.redaction import redact
from llmwatch.wire.event import StreamError

__all__ = [
    "bare_error",
    "broken_error",
    "error_body",
    "error_in",
    "has_error",
    "is_named",
    "is_notice",
    "lone_error",
    "printed",
    "shorten",
    "stray_error",
]

_MOST_TEXT = 500
MOST_NAME = 80


def shorten(text: str, most: int = _MOST_TEXT) -> str:
    """Foreign ``text`` on one line, without keys, cut to ``most`` characters, with a mark at the cut."""
    # White space is joined twice: before scrubbing, so that a key across lines is found, and after it, because control
    # characters become spaces.
    return " ".join(redact.text(" ".join(text.split()), cap=most).split())


def _name(value: object) -> str | None:
    # Codes are words or numbers. bool is a subclass of int and not a code.
    if isinstance(value, str):
        return shorten(value, MOST_NAME) or None
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
    """Whether the field ``error`` of an object is an error.

    Some gateways send the field with every event, with nulls, with a code of success, or as the word ``none``. An empty
    message alone is an error: Python prints an exception without arguments as an empty text.
    """
    error = source.get("error")
    if isinstance(error, str):
        return error.strip().lower() not in _NO_ERRORS
    if not isinstance(error, dict) or all(field is None for field in error.values()):
        return bool(error) and not isinstance(error, dict)
    words = _first_text(error, "message", "detail", "error", "msg")
    well = (_name(error.get("code")) or "").lower() in _FINE_CODES and not error.get("type")
    return not well or (words is not None and words.strip(" .!").lower() not in _NOTICES)


def error_in(value: object) -> StreamError | None:
    """The error that a parsed JSON value states; ``None`` if the value states no error.

    Known forms: ``{"error": {...}}`` (OpenAI, Anthropic, OpenRouter; with ``status`` in place of ``type``: Gemini,
    which may also put it into a list), ``{"error": "..."}`` (Ollama and others), ``{"error_code": ..., "error_msg":
    "..."}`` (Baidu), ``{"base_resp": {"status_code": ...}}`` (MiniMax), ``{"object": "error", ...}`` and ``{"type":
    "error", ...}`` with the fields beside it (vLLM, Mistral, the Responses API), ``{"event": "error", ...}`` (Dify),
    ``{"text": ..., "error_code": ...}`` (FastChat), a list under ``error`` (Cloudflare's AI Gateway), and an object
    under another name: ``{"Response": {"Error": ...}}`` (Tencent), ``{"ErrorMsg": ...}`` (Hunyuan), ``{"fault": ...}``
    (Apigee, WSO2).
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
    """An error of Baidu's form, or of FastChat's, which has the message in the field of the text."""
    code = value.get("error_code")
    message = _first_text(value, "error_msg", "error_message", "message", "text")
    if not code or (_name(code) or "").lower() in _FINE_CODES or (message is None and "error_msg" not in value):
        return None
    return StreamError(None, _name(code), message or "no message was given")


def _held_error(value: dict[str, Any]) -> StreamError | None:
    """The error in an object under another name than ``error``."""
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
"""Codes of success that some gateways send with every answer."""

# With the states that report progress.
_UNDER_WAY = _FINE_CODES | frozenset(
    ("completed", "done", "finished", "in_progress", "loading", "pending", "processing", "queued", "running", "started")
)
# Codes and words of notices.
_NOTICES = _UNDER_WAY | frozenset(
    ("accepted", "begin", "begun", "continue", "created", "debug", "info", "information", "notice", "ready", "waiting")
)
_FAILED = frozenset(("error", "exception", "fail", "failed", "failure"))
# Values of a field "error" that mean no error.
_NO_ERRORS = frozenset(("", "none", "null", "no error"))
_LEAST_STATUS, _MOST_STATUS = 400, 599
_FINE_STATUSES = frozenset(status for status in HTTPStatus if status < 300)
# The fields of an object that is an error and nothing else.
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
    """Whether a code beside ``words`` reports success or progress.

    True for a name of success or progress, and for an HTTP status below 300. For any other number that is not an HTTP
    error status, true if ``words`` is nothing but such a name.
    """
    name = (_name(code) or "0").lower()
    if name in _NOTICES:
        return True
    number = int(name) if name.isdecimal() else _LEAST_STATUS
    fine = (words or "").strip(" .!").lower() in _NOTICES
    return number in _FINE_STATUSES or (fine and (number < _LEAST_STATUS or number > _MOST_STATUS))


def bare_error(value: object) -> StreamError | None:
    """The error in an object without any part of an answer.

    Beside the forms of :func:`error_in`: a code beside a message (DashScope, Zhipu), and a list of errors (Cloudflare).
    """
    error = error_in(value)
    if error is None and isinstance(value, dict):
        words = _first_text(value, "message", "msg")
        coded = words is not None and not is_notice(_name(value.get("code")) or value.get("statusCode"), words)
        if coded or _from_details(value.get("errors")) is not None:
            error = error_body(value)
    return error


def lone_error(value: object, *, text: bool = False) -> StreamError | None:
    """The error in an object of any wire that holds an error and nothing else.

    Beside the forms of :func:`error_in`: a failed state (``success`` that is false, ``status`` that is ``error``, 400
    or more, a code beside words), a list of ``errors``, FastAPI's ``detail`` alone, the problems of RFC 9457, AWS
    Lambda's ``errorMessage``, the ``__type`` of AWS's JSON protocols, an ``exception``, and a code with words in a
    ``header`` (Spark) or a ``status`` (SenseNova). An object with other data beside the error, or with a type other
    than an error's, is not an error. ``text``: the stream carries data of any kind, in which a code below 400, or a
    word as a code, means nothing.
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
    words = error_body(value)
    message = words.message if words else told or _first_text(value, "reason") or "no message was given"
    code = next((code for name in reversed(_STATES) if (code := _name(value.get(name)))), None)
    return StreamError(kind, code, message)


def _state_error(value: dict[str, Any]) -> StreamError | None:
    """The error in a state that is an object with a code and words."""
    for name in ("header", "status"):
        state = value.get(name)
        if isinstance(state, dict):
            code, message = _name(state.get("code")), _first_text(state, "message", "msg")
            if code is not None and message is not None and not is_notice(code, message):
                return StreamError(None, code, message)
    return None


# In order of precedence.
_STATES = ("status", "statusCode", "status_code", "code", "error_code")


def is_named(value: dict[str, Any]) -> bool:
    """Whether an object has a type other than an error's. The type of a problem (RFC 9457) may be a URL."""
    return any(_is_other(value.get(name)) for name in ("type", "event"))


def _is_other(name: object) -> bool:
    if not isinstance(name, str):
        return False
    lower = name.lower()
    addresses = lower.startswith(("http:", "https:", "about:"))
    return bool(lower) and not addresses and not any(word in lower for word in ("error", "exception", "fail"))


def _has_failed(value: dict[str, Any], *, text: bool) -> bool | None:
    """Whether the states in an object report a failure; ``None`` if no known state is there."""
    for name in ("success", "ok"):
        if isinstance(value.get(name), bool):
            return not value[name]
    if value.get("error") is True:
        return True
    words = _first_text(value, "message", "msg", "reason", "title", "detail")
    states = (_is_failure(value.get(name), words, code="code" in name and not text) for name in _STATES)
    return next((state for state in states if state is not None), None)


def _is_failure(state: object, words: str | None, *, code: bool) -> bool | None:
    word = (_name(state) or "").lower()
    if word in _FAILED or word in _UNDER_WAY:
        return word in _FAILED
    if not word or words is None:
        return None
    if is_notice(state, words):
        return False if code else None
    # Any other code beside words is the code of an error.
    return True if code or (word.isdigit() and int(word) >= _LEAST_STATUS) else None


_NAMES_ERROR = lazy(r'(?<!\\)"errors?"\s*:\s*[{"\[]|(?<!\\)"(?:object|type)"\s*:\s*"error"')
_WORDS = lazy(r'(?<!\\)"(?:message|error|detail)"\s*:\s*"(.*)', re.DOTALL)
_NEXT_FIELD = lazy(r'"\s*,\s*"\w+"\s*:|"\s*[}\]]')
# The same in Python's notation.
_BEGINS_PRINTED = ("{'", "[{'")
_NAMES_PRINTED_ERROR = lazy(r"""(?<!\\)'errors?'\s*:\s*[{'"\[<]|(?<!\\)'(?:object|type)'\s*:\s*'error'""")
_PRINTED_WORDS = lazy(r"""(?<!\\)'(?:message|error|detail)'\s*:\s*['"](.*)""", re.DOTALL)
_NEXT_PRINTED = lazy(r"""['"]\s*,\s*'\w+'\s*:|['"]\s*[}\]]""")


def broken_error(text: str) -> StreamError | None:
    """The error that invalid JSON names, with the readable part of its text; ``None`` without one.

    The server of transformers, for example, does not escape the text of its errors; some servers send an object in
    Python's notation.
    """
    text = text.strip()
    if (value := printed(text)) is not None:
        return error_in(value)
    names, says, ends, rest = _NAMES_ERROR, _WORDS, _NEXT_FIELD, ' "}]\n'
    if text.startswith(_BEGINS_PRINTED):
        names, says, ends, rest = _NAMES_PRINTED_ERROR, _PRINTED_WORDS, _NEXT_PRINTED, " '\"}]\n"
    if not text.startswith(("{", "[")) or names.search(text) is None:
        return None
    match = says.search(text)
    words = text if match is None else ends.split(match[1])[0].rstrip(rest)
    return StreamError(None, None, shorten(words) or "no message was given")


_MOST_PRINTED = 64 * 1024
# The last alternative is invalid outside a string. Matching it as a pair keeps the search linear.
_PRINTED = lazy(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\b(?:None|True|False)\b|\\.""", re.DOTALL)
_CONSTANTS = {"None": "null", "True": "true", "False": "false"}
_ESCAPED = lazy(r'\\x([0-9a-fA-F]{2})|\\(.)|(")', re.DOTALL)


def printed(text: str) -> Any:
    """The object that ``text`` holds in Python's notation, in single quotes; ``None`` if unreadable."""
    if not text.startswith(_BEGINS_PRINTED) or len(text) > _MOST_PRINTED:
        return None
    try:
        return json.loads(_PRINTED.sub(_json_token, text))
    except (ValueError, RecursionError):
        return None


def _json_token(match: re.Match[str]) -> str:
    token = match[0]
    return _json_string(token[1:-1]) if token[0] in "'\"" else _CONSTANTS.get(token, token)


def _json_string(inside: str) -> str:
    """The content of a Python string as a JSON string."""

    def escaped(found: re.Match[str]) -> str:
        if found[1]:
            return f"\\u00{found[1]}"
        # A quotation mark, escaped or not, or another escape, which JSON writes alike.
        return "'" if found[2] == "'" else f"\\{found[2] or found[3]}"

    return f'"{_ESCAPED.sub(escaped, inside)}"'


def stray_error(text: str) -> StreamError | None:
    """The error in a line of an event stream that is not a field; ``None`` if it is not an error."""
    text = text.strip()
    if not text.startswith(("{", "[")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return broken_error(text)
    error = bare_error(value) or lone_error(value)
    if error is None and isinstance(value, dict):
        # The body of an error, with a code or the message alone (Cohere, AWS): no part of an answer stands outside the
        # events.
        coded = value.keys() & {"code", "status", "statusCode", "detail"}
        if coded or value.keys() - _IDENTITIES - {"id"} in ({"message"}, {"Message"}):
            error = error_body(value)
    return error


def error_body(value: object) -> StreamError | None:
    # For a body with an error status: any field that looks like a message is the message.
    error = error_in(value)
    if error is not None or not isinstance(value, dict):
        return error
    message = (
        _first_text(value, "message", "Message", "msg", "error_description", "title")
        or _from_details(value.get("detail"))
        or _from_details(value.get("errors"))
        or _from_details(value.get("fault"))
    )
    if message is None and value.get("error") != {}:
        return None
    return StreamError(_name(value.get("type")), _name(value.get("code")), message or "no message was given")
