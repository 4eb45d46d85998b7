"""The tests of faults_before.py, and the agent on llmwatch: they pass.

python examples/faults_after.py
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from llmwatch import Client, Limits
from llmwatch.testing import LLMFaults

BODY: dict[str, Any] = {
    "model": "a-model",
    "stream": True,
    "messages": [{"role": "user", "content": "What does a watchdog do?"}],
}


CLIENT = Client(limits=Limits(ttfb=1))


def ask(base_url: str) -> str:
    """The whole answer of a model, or an error that says what happened and whether to ask again."""
    return CLIENT.collect("POST", f"{base_url}/chat/completions", json=BODY).text


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
