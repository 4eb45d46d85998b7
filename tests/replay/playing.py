"""A server that plays one body, in the pieces that each request names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmwatch.faults import Context, FaultServer, Script
from llmwatch.faults.steps import Chunk, Close, End, Head, Reset, Step, Trickle

__all__ = ["PIECES", "asking", "asks", "playing"]

PIECES = ("whole", "byte by byte")
_HEADER = "X-Pieces"


def asks(pieces: str) -> dict[str, str]:
    """The header by which a request says in which pieces it wants the body."""
    return {_HEADER: pieces}


def asking(path: str, more: dict[str, Any]) -> dict[str, Any]:
    """The body of a request for a stream to a path: with what it needs, or a conversation."""
    turns = {"messages": [{"role": "user", "content": "?"}]}
    given = {"input": turns} if "/aigc/" in path else {} if more else turns
    return {"model": "m", "stream": True, **given, **more}


def playing(body: bytes, content_type: str, *, ends: str = "clean") -> FaultServer:
    """A server of this body, which ends ``clean`` or in one of three other ways.

    The others: its last chunk is missing (``cut``), it ends before its announced length (``short``), or with a
    ``reset``.
    """

    def play(context: Context) -> Iterator[Step]:
        kind = [("Content-Type", content_type)] if content_type else []
        yield Head(200, kind, "length", len(body) + 1) if ends == "short" else Head(200, kind, "chunked")
        yield Trickle(body) if context.request.header(_HEADER) == "byte by byte" else Chunk(body)
        yield {"clean": End(), "reset": Reset()}.get(ends, Close())

    return FaultServer(Script(name="replay", description="plays a body", play=play))
