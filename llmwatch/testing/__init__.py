"""For tests of programs that call models: providers that fail, no waits, limits of a test's size.

pytest has the fixture ``llm_faults`` wherever llmwatch is installed (elsewhere, ``with LLMFaults() as llm_faults:``)::

    def test_my_agent(llm_faults):
        provider = llm_faults("retry-after:value=1", "reset-mid-stream", "healthy")
        verdict = provider.run(my_agent, base_url=provider.urls.openai)
        assert verdict
        assert provider.count == 3

``llmwatch faults list`` has the names. In a ``conftest.py``, for the whole run::

    llmwatch.testing.no_waiting()
    llmwatch.testing.scaled_limits(0.01)
"""

from llmwatch.testing.judging import Finding, Rule, Verdict
from llmwatch.testing.overriding import Overriding, no_waiting, scaled_limits
from llmwatch.testing.provider import BaseUrls, Faults, FaultyProvider, LLMFaults

__all__ = [
    "BaseUrls",
    "Faults",
    "FaultyProvider",
    "Finding",
    "LLMFaults",
    "Overriding",
    "Rule",
    "Verdict",
    "no_waiting",
    "scaled_limits",
]
