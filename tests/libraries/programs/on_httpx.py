"""A user's script with libraries that use httpx or httpx2: ``python on_httpx.py LIBRARY URL WAY``.

``WAY`` is ``bare``, or ``watched``: then the library's client gets a transport of llmwatch's, as the README says. It
prints, as JSON, the pieces of the answer and the classes of what was raised.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

SAY: Any = [{"role": "user", "content": "Say it."}]


def transport(watched: bool) -> Any:
    """A transport for a client of httpx or httpx2, ``None`` for the library's own."""
    if not watched:
        return None
    from llmwatch.sdk import Transport

    return Transport()


def openai(url: str, watched: bool) -> Iterator[str]:
    import httpx2
    import openai

    http = httpx2.Client(transport=transport(watched))
    client = openai.OpenAI(api_key="k", base_url=url + "/v1", http_client=http, max_retries=0)
    for chunk in client.chat.completions.create(model="m", messages=SAY, stream=True):
        yield chunk.choices[0].delta.content or ""


def anthropic(url: str, watched: bool) -> Iterator[str]:
    import anthropic
    import httpx2

    http = httpx2.Client(transport=transport(watched))
    client = anthropic.Anthropic(api_key="k", base_url=url, http_client=http, max_retries=0)
    for event in client.messages.create(model="m", max_tokens=9, messages=SAY, stream=True):
        if event.type == "content_block_delta":
            yield event.delta.text


def mistralai(url: str, watched: bool) -> Iterator[str]:
    import httpx
    from mistralai.client import Mistral

    client = Mistral(api_key="k", server_url=url, client=httpx.Client(transport=transport(watched)))
    for event in client.chat.stream(model="m", messages=SAY):
        yield event.data.choices[0].delta.content or ""


def groq(url: str, watched: bool) -> Iterator[str]:
    import groq
    import httpx

    http = httpx.Client(transport=transport(watched))
    client = groq.Groq(api_key="k", base_url=url, http_client=http, max_retries=0)
    for chunk in client.chat.completions.create(model="m", messages=SAY, stream=True):
        yield chunk.choices[0].delta.content or ""


def zai(url: str, watched: bool) -> Iterator[str]:
    import httpx
    from zai import ZaiClient

    http = httpx.Client(transport=transport(watched))
    client = ZaiClient(api_key="k.k", base_url=url + "/v1", http_client=http, max_retries=0)
    for chunk in client.chat.completions.create(model="m", messages=SAY, stream=True):
        yield chunk.choices[0].delta.content or ""


def ollama(url: str, watched: bool) -> Iterator[str]:
    import ollama

    for part in ollama.Client(host=url, transport=transport(watched)).chat(model="m", messages=SAY, stream=True):
        yield part.message.content or ""


def cohere(url: str, watched: bool) -> Iterator[str]:
    import cohere
    import httpx

    client = cohere.ClientV2(api_key="k", base_url=url, httpx_client=httpx.Client(transport=transport(watched)))
    for event in client.chat_stream(model="m", messages=SAY):
        if event.type == "content-delta":
            yield event.delta.message.content.text


def google_genai(url: str, watched: bool) -> Iterator[str]:
    import httpx
    from google import genai

    options = genai.types.HttpOptions(base_url=url, httpx_client=httpx.Client(transport=transport(watched)))
    for chunk in genai.Client(api_key="k", http_options=options).models.generate_content_stream(
        model="g", contents="Say it."
    ):
        yield chunk.text or ""


LIBRARIES: dict[str, Callable[[str, bool], Iterator[str]]] = {
    "openai": openai,
    "anthropic": anthropic,
    "mistralai": mistralai,
    "groq": groq,
    "zai": zai,
    "ollama": ollama,
    "cohere": cohere,
    "google-genai": google_genai,
}


def main(name: str, url: str, way: str) -> None:
    pieces: list[str] = []
    error = None
    try:
        for piece in LIBRARIES[name](url, way == "watched"):
            pieces.append(piece)
    except Exception as raised:
        error = [f"{kind.__module__}.{kind.__name__}" for kind in type(raised).__mro__]
    print("\n" + json.dumps({"pieces": pieces, "error": error}))


if __name__ == "__main__":
    main(*sys.argv[1:])
