"""Agents on plain requests, each with a fault of its own, and what they ask."""

from __future__ import annotations

import time
from typing import Any

import requests

__all__ = ["BODY", "TIMEOUT", "ask_until", "careless", "last_words"]

BODY: dict[str, Any] = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
TIMEOUT = 0.3
"""The read time-out of the agents, in seconds: what is silent stays so."""


def careless(base_url: str, body: Any = BODY) -> str:
    """The text of the only answer, whatever it is."""
    return requests.post(f"{base_url}/chat/completions", json=body, timeout=TIMEOUT).text


def last_words(base_url: str, body: Any = BODY) -> str:
    """The text of the only answer, which must be whole."""
    answer = requests.post(f"{base_url}/chat/completions", json=body, timeout=TIMEOUT)
    answer.raise_for_status()
    if "data: [DONE]" not in answer.text:
        raise ConnectionError("the answer is not whole")
    return answer.text


def ask_until(base_url: str, body: Any = BODY, *, attempts: int = 3, patient: bool = True, keys: str = "aaa") -> str:
    """The first whole answer; each attempt has its key. ``patient``: waits as long as it is asked to."""
    for key in keys[:attempts]:
        headers = {"Authorization": f"Bearer {key}"}
        try:
            answer = requests.post(f"{base_url}/chat/completions", json=body, headers=headers, timeout=TIMEOUT)
        except requests.RequestException:
            continue
        if patient and "Retry-After" in answer.headers:
            time.sleep(float(answer.headers["Retry-After"]))
        if "data: [DONE]" in answer.text:
            return answer.text
    raise ConnectionError("no whole answer came")
