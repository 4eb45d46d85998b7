"""Tests of an agent on plain requests: the fixture ``llm_faults`` shows four of its mistakes.

    python examples/faults_before.py

pytest finds the fixture wherever llmwatch is installed. faults_after.py has the same tests, and an agent on llmwatch.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import requests

from llmwatch.testing import LLMFaults

BODY: dict[str, Any] = {
    "model": "a-model",
    "stream": True,
    "messages": [{"role": "user", "content": "What does a watchdog do?"}],
}


def ask(base_url: str) -> str:
    """The answer of a model, as many agents ask for it.

    An error is a reason to ask again, and an end is an end.
    """
    for _ in range(3):
        response = requests.post(f"{base_url}/chat/completions", json=BODY, stream=True, timeout=1)
        if response.status_code == 200:
            return "".join(text(line) for line in response.iter_lines())
    raise RuntimeError("the model does not answer")


def text(line: bytes) -> str:
    """The text in one line of the answer."""
    if not line.startswith(b"data: {"):
        return ""
    choices = json.loads(line[len("data: ") :])["choices"]
    return choices[0]["delta"].get("content") or "" if choices else ""


def test_silence(llm_faults: LLMFaults) -> None:
    """A provider that says nothing is asked again."""
    provider = llm_faults("silent", "healthy")
    verdict = provider.run(ask, provider.urls.openai)
    assert verdict


def test_a_refusal(llm_faults: LLMFaults) -> None:
    """What the provider refuses is not sent again."""
    provider = llm_faults("bad-request", "healthy")
    verdict = provider.run(ask, provider.urls.openai)
    assert verdict


def test_a_busy_provider(llm_faults: LLMFaults) -> None:
    """The agent comes back when it was told to."""
    provider = llm_faults("retry-after:value=1", "healthy")
    verdict = provider.run(ask, provider.urls.openai)
    assert verdict
    assert provider.count == 2


def test_a_cut(llm_faults: LLMFaults) -> None:
    """Half an answer is not taken for a whole one."""
    provider = llm_faults("eof-without-terminal:tokens=5", "healthy")
    verdict = provider.run(ask, provider.urls.openai)
    assert verdict


if __name__ == "__main__":
    # In a project of yours: pytest. Here no setting of this repository's own tests is to count.
    pytest.main([__file__, "-q", "--tb=short", "-c", os.devnull, "-p", "no:cacheprovider"])
