"""A token endpoint, and an API that takes only some of its tokens.

Refresh functions ask the one for the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import requests

from llmwatch.auth import Refresh, Refreshing
from llmwatch.faults import Context, FaultServer, Script, steps
from llmwatch.watch.clock import Clock

__all__ = [
    "CLIENT_SECRET",
    "REFRESH_TOKEN",
    "asking_at",
    "document",
    "granting",
    "guarded",
    "refreshing_on",
    "saying",
    "token",
]

REFRESH_TOKEN = "refresh-Zx81kQpLw93mTfVb27NcRy60"
CLIENT_SECRET = "hunter2hunter2"


def token(number: int) -> str:
    """The token that the token endpoint returns for the request with this number."""
    return f"access-{number}-Lw93mTfVb27NcRy60Zx81kQp"


def document(number: int = 1, **more: Any) -> bytes:
    """The body of such an answer."""
    return json.dumps({"access_token": token(number), "token_type": "Bearer", **more}).encode()


def granting(**more: Any) -> Script:
    """A token endpoint that gives out one token after the other."""

    def play(context: Context) -> Iterator[steps.Step]:
        body = document(context.request.number, **more)
        yield from context.answer([steps.Chunk(body)], content_type="application/json", framing="length")

    return Script(name="granting", description="gives out tokens", play=play)


def saying(body: bytes, status: int = 200) -> Script:
    """An answer with this body."""

    def play(context: Context) -> Iterator[steps.Step]:
        yield from context.answer([steps.Chunk(body)], status=status, content_type="application/json", framing="length")

    return Script(name="saying", description="says what it is told", play=play)


def guarded(*numbers: int, header: str = "Authorization", scheme: str = "Bearer ") -> Script:
    """An API that answers requests with one of these tokens, and says 401 to all others."""
    good = {f"{scheme}{token(number)}" for number in numbers}

    def play(context: Context) -> Iterator[steps.Step]:
        if context.request.header(header) in good:
            yield from context.answer(steps.paced(context.whole()))
        else:
            yield from context.answer(
                [steps.Chunk(context.error_document(401))],
                status=401,
                content_type="application/json",
                framing="length",
            )

    return Script(name="guarded", description="wants a good token", play=play)


def asking_at(server: FaultServer, **options: Any) -> Callable[[], requests.Response]:
    """A refresh function as users write it, with everything secret in it that there is."""

    def refresh() -> requests.Response:
        form = {"grant_type": "refresh_token", "refresh_token": REFRESH_TOKEN, "client_secret": CLIENT_SECRET}
        return requests.post(f"{server.url}/token?code={CLIENT_SECRET}", data=form, **options)

    return refresh


def refreshing_on(clock: Clock, refresh: Refresh, **options: Any) -> Refreshing:
    """An authentication whose tokens age, and whose refreshes expire, on this clock."""

    class OnClock(Refreshing):
        _clock = clock

    return OnClock(refresh, **options)
