"""A token that is refreshed when it has to be, by a refresh that cannot hang. Run it:
``python examples/token_refresh.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from requests.auth import AuthBase

from llmwatch import Client, Limits, RefreshFailed, refreshing
from llmwatch.faults import Context, FaultServer, Script, steps

BODY = {"model": "any", "stream": True, "messages": [{"role": "user", "content": "What does a watchdog do?"}]}


def make_auth(token_url: str, **options: Any) -> AuthBase:
    """What a user writes: how a token is got, and how long that may take."""

    def refresh() -> requests.Response:
        form = {"grant_type": "refresh_token", "refresh_token": os.environ.get("REFRESH_TOKEN", "")}
        return requests.post(token_url, data=form)

    # A limit of a demonstration: the default is 30 s, and LLMWATCH_REFRESH_TIMEOUT_SECONDS sets another.
    return refreshing(refresh, limits=Limits(total=1.0), **options)


def ask(client: Client, url: str, auth: AuthBase) -> str:
    try:
        record = client.collect("POST", url, json=BODY, auth=auth).record
        return f"answered, attempts: {len(record.attempts)}"
    except RefreshFailed as error:
        return f"RefreshFailed, retryable: {error.retryable}: {error}"


# -- a provider in this process, and its token endpoint ---------------------


def json_answer(context: Context, status: int, **document: object) -> Iterator[steps.Step]:
    body = json.dumps(document).encode()
    return context.answer([steps.Chunk(body)], status=status, content_type="application/json", framing="length")


def grant(context: Context) -> Iterator[steps.Step]:
    return json_answer(context, 200, access_token=f"token-{context.request.number}", expires_in=3600)


def reject(context: Context) -> Iterator[steps.Step]:
    return json_answer(context, 400, error="invalid_grant")


def guard(context: Context) -> Iterator[steps.Step]:
    """An API that has forgotten the token of yesterday."""
    if context.request.header("Authorization") == "Bearer yesterday":
        return json_answer(context, 401, error={"message": "The token has expired."})
    return context.answer(steps.paced(context.whole()))


GRANT = Script(name="grant", description="gives out tokens", play=grant)
REJECT = Script(name="reject", description="knows the refresh token no more", play=reject)
GUARD = Script(name="guard", description="wants a good token", play=guard)


def scene(title: str, *endpoint: str | Script, calls: int = 1, together: bool = False, **options: Any) -> None:
    print(f"\n{title}")
    with FaultServer(endpoint) as tokens, FaultServer(GUARD) as api, Client() as client:
        auth = make_auth(f"{tokens.url}/token", **options)
        with ThreadPoolExecutor(calls if together else 1) as pool:
            for outcome in pool.map(lambda _: ask(client, api.chat_url, auth), range(calls)):
                print(f"  {outcome}")
        print(f"  requests at the token endpoint: {len(tokens.requests)}, at the provider: {len(api.requests)}")


def main() -> None:
    scene("Eight calls at once, and no token yet:", GRANT, calls=8, together=True)
    scene("The token of yesterday is refused by the provider:", GRANT, token="yesterday")
    scene("The token endpoint goes silent once:", "silent", GRANT)
    scene("The refresh token is rejected, and the token endpoint is not asked again:", REJECT, calls=2)


if __name__ == "__main__":
    main()
