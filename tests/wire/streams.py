"""Building bodies, and an independent reading of server-sent events to compare with."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any, NamedTuple

from llmwatch.wire import Decoder, Event


class Fields(NamedTuple):
    """The fields of an event, as the standard reads them."""

    event: str
    data: str
    id: str | None
    retry: int | None


def sse(*items: Any) -> bytes:
    """A body: text as it is, anything else as JSON, a pair with the event's name first."""
    blocks = []
    for item in items:
        name, data = item if isinstance(item, tuple) else (None, item)
        text = data if isinstance(data, str) else json.dumps(data)
        blocks.append((f"event: {name}\n" if name else "") + f"data: {text}\n\n")
    return "".join(blocks).encode()


def lines(*items: Any) -> bytes:
    """A body of JSON lines."""
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def decode(dialect: str, *items: Any, body: bytes | None = None) -> tuple[list[Event], Decoder]:
    """The events of a body, and the decoder after its end."""
    decoder = Decoder(dialect)
    if body is None:
        body = lines(*items) if dialect == "ndjson" else sse(*items)
    return [*decoder.feed(body), *decoder.end()], decoder


def pieces(body: bytes, cuts: list[int]) -> list[bytes]:
    """``body`` cut at these places."""
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[start:end] for start, end in itertools.pairwise(places)]


def fields_of(event: Event) -> Fields:
    """The fields that were sent, without the dialect's reading."""
    return Fields(event.event, event.data, event.id, event.retry)


def by_the_standard(body: bytes) -> tuple[list[Fields], int]:
    """The events of a whole body and the number of its comments.

    The code is written down from the standard, line by line.

    Comments of the unterminated rest count as long as nothing else came before them in it.
    """
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    found: list[Fields] = []
    comments = waiting = 0
    only_comments = True
    event, data, identity, retry = "", "", None, None
    *complete, _ = re.split("\r\n|\r|\n", text)
    for line in complete:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line.startswith(":"):
            waiting += 0 if only_comments else 1
            comments += 1 if only_comments else 0
        elif line:
            only_comments = False
        if not line:
            if data:
                found.append(Fields(event or "message", data[:-1], identity, retry))
            comments += waiting
            waiting, only_comments = 0, True
            event, data, identity, retry = "", "", None, None
        elif name == "data":
            data += value + "\n"
        elif name == "event":
            event = value
        elif name == "id" and "\0" not in value:
            identity = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            retry = int(value) if len(value) <= 15 else None
    return found, comments
