"""Calls as scripts on urllib3 and ``urllib.request`` make them, which know nothing of llmwatch."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import urllib3

from tests.sdk.times import LONG

__all__ = ["CHAT", "HEADERS", "STREAM", "WAYS", "Way", "posted"]

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Say it."}]}
STREAM = {**CHAT, "stream": True}
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer k"}

_ID = re.compile(rb"fault\d+")


def posted(url: str, body: object) -> urllib.request.Request:
    """A request of ``urllib.request``."""
    return urllib.request.Request(url, data=json.dumps(body).encode(), headers=HEADERS)


def _pieces(url: str, body: object, seen: list[bytes]) -> int:
    with urllib3.PoolManager(timeout=LONG) as manager:
        response = manager.request("POST", url, json=body, headers=HEADERS, preload_content=False)
        seen.extend(response.stream())
        return response.status


def _whole(url: str, body: object, seen: list[bytes]) -> int:
    with urllib3.PoolManager(timeout=LONG) as manager:
        response = manager.urlopen("POST", url, body=json.dumps(body), headers=HEADERS)
        seen.append(response.data)
        return response.status


def _lines(url: str, body: object, seen: list[bytes]) -> int:
    try:
        with urllib.request.urlopen(posted(url, body), timeout=LONG) as response:
            assert isinstance(response, http.client.HTTPResponse)
            seen.extend(response)
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            seen.append(error.read())
        return int(error.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to post ``body``: the name in records, and whether pieces are delivered as they come."""

    recorded_as: str
    delivers: bool
    run: Callable[[str, object, list[bytes]], int]

    def post(self, url: str, body: object, seen: list[bytes] | None = None) -> tuple[int, bytes]:
        """The status and the body, without the numbers that the server gives its answers."""
        pieces: list[bytes] = [] if seen is None else seen
        status = self.run(url, body, pieces)
        return status, _ID.sub(b"", b"".join(pieces))


WAYS: dict[str, Any] = {
    "urllib3, in pieces": Way(recorded_as="urllib3", delivers=True, run=_pieces),
    "urllib3, whole": Way(recorded_as="urllib3", delivers=False, run=_whole),
    "urllib.request": Way(recorded_as="urllib", delivers=True, run=_lines),
}
