"""A simple reader of a body in each shape."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable


def events(body: bytes) -> list[tuple[str, str]]:
    """(event, data) of all complete server-sent events with data, lines ending in LF."""
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        name, data = "message", []
        for line in block.split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
        if data:
            found.append((name, "\n".join(data)))
    return found


def documents(shape: str, body: bytes) -> list[dict]:
    """The JSON of all events, or lines."""
    if shape == "bedrock":
        return [json.loads(payload) for payload in frames(body)]
    if shape == "ndjson":
        return [json.loads(line) for line in body.decode().split("\n") if line]
    return [json.loads(data) for _, data in events(body) if data != "[DONE]"]


def text(shape: str, body: bytes) -> str:
    """The answer's text."""
    if shape == "generic":
        return "".join(data for name, data in events(body) if name == "message" and data != "[DONE]")
    return "".join(text_of(shape, document) for document in documents(shape, body))


def says(shape: str, expected: str) -> Callable[[bytes], bool]:
    """Whether the complete events of a body say this: a condition for reading on."""
    end = b"\n" if shape == "ndjson" else b"\n\n"
    return lambda body: text(shape, body[: body.rfind(end) + len(end)] if end in body else b"") == expected


def reasoning(shape: str, body: bytes) -> str:
    """The reasoning."""
    if shape == "generic":
        return "".join(data for name, data in events(body) if name == "reasoning")
    return "".join(_reasoning(shape, document) for document in documents(shape, body))


def arguments(shape: str, body: bytes) -> str:
    """The arguments of all tool calls, joined."""
    if shape == "generic":
        return "".join(data for name, data in events(body) if name == "tool_arguments")
    return "".join(_arguments(shape, document) for document in documents(shape, body))


def is_terminated(shape: str, body: bytes) -> bool:
    """Whether the last thing said is what ends an answer of that shape."""
    if shape == "ndjson":
        return documents(shape, body)[-1]["done"] is True
    if shape == "bedrock":
        return "usage" in documents(shape, body)[-1]
    name, data = events(body)[-1]
    if shape == "gemini":
        return json.loads(data)["candidates"][0].get("finishReason") is not None
    return {
        "openai-chat": data == "[DONE]",
        "generic": data == "[DONE]",
        "openai-responses": name in ("response.completed", "response.incomplete"),
        "anthropic": name == "message_stop",
        "cohere": name == "message-end",
    }[shape]


def plain_text(shape: str, document: dict) -> str:
    """The text of a plain answer."""
    return {
        "openai-chat": lambda: document["choices"][0]["message"]["content"],
        "openai-responses": lambda: document["output"][0]["content"][0]["text"],
        "anthropic": lambda: document["content"][0]["text"],
        "generic": lambda: document["text"],
        "gemini": lambda: document["candidates"][0]["content"]["parts"][0]["text"],
        "ndjson": lambda: document["message"]["content"],
        "bedrock": lambda: document["output"]["message"]["content"][0]["text"],
        "cohere": lambda: document["message"]["content"][0]["text"],
    }[shape]()


def text_of(shape: str, document: dict) -> str:
    if shape == "openai-chat":
        return "".join(choice["delta"].get("content") or "" for choice in document.get("choices", ()))
    if shape == "openai-responses":
        return document["delta"] if document["type"] == "response.output_text.delta" else ""
    if shape == "anthropic":
        return document.get("delta", {}).get("text", "")
    if shape == "cohere":
        return _of_cohere(document, "content").get("text", "")
    if shape == "bedrock":
        return document.get("delta", {}).get("text", "")
    if shape == "gemini":
        return "".join(part.get("text", "") for part in _parts(document) if not part.get("thought"))
    return document["message"]["content"]


def _reasoning(shape: str, document: dict) -> str:
    if shape == "openai-chat":
        return "".join(choice["delta"].get("reasoning_content") or "" for choice in document["choices"])
    if shape == "openai-responses":
        return document["delta"] if document["type"] == "response.reasoning_summary_text.delta" else ""
    if shape == "anthropic":
        return document.get("delta", {}).get("thinking", "")
    if shape == "cohere":
        return _of_cohere(document, "content").get("thinking", "")
    if shape == "gemini":
        return "".join(part["text"] for part in _parts(document) if part.get("thought"))
    return document["message"].get("thinking", "")


def _arguments(shape: str, document: dict) -> str:
    if shape == "openai-chat":
        calls = [call for choice in document["choices"] for call in choice["delta"].get("tool_calls", ())]
        return "".join(call["function"]["arguments"] for call in calls)
    if shape == "openai-responses":
        return document["delta"] if document["type"] == "response.function_call_arguments.delta" else ""
    if shape == "anthropic":
        return document.get("delta", {}).get("partial_json", "")
    if shape == "bedrock":
        return document.get("delta", {}).get("toolUse", {}).get("input", "")
    if shape == "cohere":
        return _of_cohere(document, "tool_calls").get("function", {}).get("arguments", "")
    if shape == "gemini":
        return "".join(_compact(part["functionCall"]["args"]) for part in _parts(document) if "functionCall" in part)
    calls = document["message"].get("tool_calls", ())
    return "".join(_compact(call["function"]["arguments"]) for call in calls)


def frames(body: bytes) -> list[bytes]:
    """The payloads of all complete frames."""
    payloads = []
    while len(body) >= 12:
        total, headers = struct.unpack(">II", body[:8])
        if len(body) < total:
            break
        payloads.append(body[12 + headers : total - 4])
        body = body[total:]
    return payloads


def _of_cohere(document: dict, what: str) -> dict:
    return document.get("delta", {}).get("message", {}).get(what) or {}


def _parts(document: dict) -> list[dict]:
    return document["candidates"][0]["content"]["parts"]


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
