"""A user's script with its own loop around a library that retries by itself, on a watched transport.

``python retrying.py LIBRARY URL TRIES``: each try is a call with the library's own retries as they are by default. It
prints, as JSON, the classes of what each try raised.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

SAY: Any = [{"role": "user", "content": "Say it."}]


def transport() -> Any:
    from llmwatch.sdk import Transport

    return Transport()


def openai(url: str) -> Callable[[], Any]:
    import httpx2
    import openai

    client = openai.OpenAI(api_key="k", base_url=url + "/v1", http_client=httpx2.Client(transport=transport()))
    return lambda: client.chat.completions.create(model="m", messages=SAY, stream=True)


def anthropic(url: str) -> Callable[[], Any]:
    import anthropic
    import httpx2

    client = anthropic.Anthropic(api_key="k", base_url=url, http_client=httpx2.Client(transport=transport()))
    return lambda: client.messages.create(model="m", max_tokens=9, messages=SAY, stream=True)


def groq(url: str) -> Callable[[], Any]:
    import groq
    import httpx

    client = groq.Groq(api_key="k", base_url=url, http_client=httpx.Client(transport=transport()))
    return lambda: client.chat.completions.create(model="m", messages=SAY, stream=True)


def zai(url: str) -> Callable[[], Any]:
    import httpx
    from zai import ZaiClient

    client = ZaiClient(api_key="k.k", base_url=url + "/v1", http_client=httpx.Client(transport=transport()))
    return lambda: client.chat.completions.create(model="m", messages=SAY, stream=True)


def cohere(url: str) -> Callable[[], Any]:
    import cohere
    import httpx

    client = cohere.ClientV2(api_key="k", base_url=url, httpx_client=httpx.Client(transport=transport()))
    return lambda: client.chat(model="m", messages=SAY)


LIBRARIES: dict[str, Callable[[str], Callable[[], Any]]] = {
    "openai": openai,
    "anthropic": anthropic,
    "groq": groq,
    "zai": zai,
    "cohere": cohere,
}


def main(name: str, url: str, tries: str) -> None:
    ask, raised = LIBRARIES[name](url), []
    for _ in range(int(tries)):
        try:
            ask()
        except Exception as error:
            raised.append(f"{type(error).__module__}.{type(error).__name__}")
    print("\n" + json.dumps(raised))


if __name__ == "__main__":
    main(*sys.argv[1:])
