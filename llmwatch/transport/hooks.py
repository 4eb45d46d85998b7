"""Bounds on what a response hook may read.

A hook of requests runs in the worker's thread before the attempt reads the body. An authentication that answers a
challenge is such a hook: requests' own for Digest reads the whole body of the 401. The attempt's bounds hold there too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import requests

from llmwatch.transport.encoding import body_too_large

__all__ = ["bound", "unbind"]

_LARGEST_PIECE = 65536
_NAME = "iter_content"


def bound(response: requests.Response, *, most: int, most_of_error: int) -> None:
    """Give a hook at most ``most`` decoded bytes; one more raises :class:`~llmwatch.BodyTooLarge`.
    The bound covers ``content``, ``text``, ``json``, ``iter_lines`` and ``iter_content``, but not ``raw``. The body of
    an error or of a redirect ends after ``most_of_error`` bytes, and so does its connection.
    """
    read = response.iter_content
    refused = response.status_code >= 400 or response.is_redirect
    largest = most_of_error if refused else most

    def bounded(pieces: Iterable[Any]) -> Iterator[Any]:
        size = 0
        for piece in pieces:
            size += len(piece)
            if size <= largest:
                yield piece
            elif refused:
                if rest := piece[: len(piece) - (size - largest)]:
                    yield rest
                # The unread rest would precede the next answer on the connection.
                response.raw.close()
                return
            else:
                raise body_too_large(urlsplit(response.url).netloc.rpartition("@")[2], largest)

    def iter_content(chunk_size: int | None = 1, decode_unicode: bool = False) -> Iterator[Any]:
        there = response._content_consumed  # type: ignore[attr-defined]
        if chunk_size is None or (isinstance(chunk_size, int) and chunk_size < 0):
            # The caller asks for what is there, but urllib3 would wait for the whole body.
            chunk_size = _LARGEST_PIECE
        if isinstance(chunk_size, int):
            chunk_size = min(chunk_size, largest + 1)
        pieces = read(chunk_size, decode_unicode)
        return iter(pieces) if there else bounded(pieces)

    response.__dict__[_NAME] = iter_content


def unbind(response: requests.Response) -> None:
    """The hooks have run: remove the bound. Later readers have bounds of their own."""
    response.__dict__.pop(_NAME, None)
