"""Server-sent events of no known provider: the data is the text."""

from __future__ import annotations

import json

from llmwatch.faults.shapes.shape import Shape, sse

__all__ = ["Generic"]


class Generic(Shape):
    """Plain text in ``data``, ``[DONE]`` at the end; everything else is in events with a name."""

    name = "generic"
    path = "/stream"

    def text(self, piece: str) -> list[bytes]:
        return [sse(piece)]

    def reasoning(self, piece: str) -> list[bytes]:
        return [sse(piece, "reasoning")]

    def tool_begin(self, identifier: str, name: str) -> list[bytes]:
        return [sse({"id": identifier, "name": name}, "tool_begin")]

    def tool_arguments(self, fragment: str) -> list[bytes]:
        return [sse(fragment, "tool_arguments")]

    def tool_end(self) -> list[bytes]:
        return [sse("{}", "tool_end")]

    def terminal(self) -> list[bytes]:
        return [sse("[DONE]")]

    def plain(self, text: str) -> object:
        return {"text": text}

    def malformed(self) -> list[bytes]:
        return [sse(json.dumps({"broken": "{"})[:-1])]
