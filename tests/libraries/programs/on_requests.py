"""A user's script with libraries that use requests: ``python on_requests.py LIBRARY URL SECONDS``.

``SECONDS`` is the time-out that the script sets in the library's own way. The script knows nothing of llmwatch. It
prints, as JSON, the pieces of the answer and the classes of what was raised.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

SAY: Any = [{"role": "user", "content": "Say it."}]


def openai(url: str, timeout: float) -> Iterator[str]:
    import openai

    openai.api_key, openai.api_base = "k", url + "/v1"
    for chunk in openai.ChatCompletion.create(model="m", messages=SAY, stream=True, request_timeout=timeout):
        yield chunk.choices[0].delta.get("content", "")


def cohere(url: str, timeout: float) -> Iterator[str]:
    import cohere

    client = cohere.Client("k", api_url=url, check_api_key=False, max_retries=0, timeout=timeout)
    for event in client.chat("Say it.", model="m", stream=True):
        yield getattr(event, "text", "")


def dashscope(url: str, timeout: float) -> Iterator[str]:
    import dashscope

    dashscope.base_http_api_url = url + "/api/v1"
    for response in dashscope.Generation.call(
        "m",
        messages=SAY,
        api_key="k",
        stream=True,
        incremental_output=True,
        result_format="message",
        request_timeout=timeout,
    ):
        if response.status_code != 200:
            raise RuntimeError(f"{response.status_code} {response.code}")
        yield response.output.choices[0].message.content


def text_generation(url: str, timeout: float) -> Iterator[str]:
    from text_generation import Client

    for response in Client(url, timeout=timeout).generate_stream("Say it.", max_new_tokens=9):
        yield "" if response.token.special else response.token.text


def google_generativeai(url: str, timeout: float) -> Iterator[str]:
    import google.generativeai as genai

    genai.configure(api_key="k", transport="rest", client_options={"api_endpoint": url})
    options = {"retry": None, "timeout": timeout}
    for chunk in genai.GenerativeModel("g").generate_content("Say it.", stream=True, request_options=options):
        yield chunk.text


LIBRARIES: dict[str, Callable[[str, float], Iterator[str]]] = {
    "openai": openai,
    "cohere": cohere,
    "dashscope": dashscope,
    "text-generation": text_generation,
    "google-generativeai": google_generativeai,
}


def main(name: str, url: str, seconds: str) -> None:
    pieces: list[str] = []
    error = None
    try:
        for piece in LIBRARIES[name](url, float(seconds)):
            pieces.append(piece)
    except Exception as raised:
        error = [f"{kind.__module__}.{kind.__name__}" for kind in type(raised).__mro__]
    print("\n" + json.dumps({"pieces": pieces, "error": error}))


if __name__ == "__main__":
    main(*sys.argv[1:])
