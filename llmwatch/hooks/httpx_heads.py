"""Asks the parser of httpx about the head of an answer, which another parser has read."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["takes_head"]


def takes_head(head: bytes) -> bool:
    """Whether h11 reads ``head``, with the interim answers before it, as a response to a POST.

    http.client drops a header line without a colon and those behind it, and takes blanks before a colon for a part of
    the name. ``True`` where the program has no h11: then its library is none that is known.
    """
    h11: Any = sys.modules.get("h11")
    if h11 is None:
        return True
    connection = h11.Connection(our_role=h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(head)
    try:
        while isinstance(connection.next_event(), h11.InformationalResponse):
            pass
    except h11.RemoteProtocolError:
        return False
    return True
