"""Tests of three agents with the fixture ``llm_faults``, which run where the agents are installed.

Each agent asks its one question in a stream, with its own retries and a time-out of a second.
"""

from __future__ import annotations

import asyncio

import pytest

import llmwatch
from llmwatch.testing import LLMFaults

FAULTS = {
    "silence": ("silent", "healthy"),
    "refusal": ("bad-request", "healthy"),
    "busy": ("retry-after:value=2", "healthy"),
    "reset": ("reset-mid-stream", "healthy"),
    "cut": ("eof-without-terminal:tokens=5", "healthy"),
}
QUESTION = "What does a watchdog do?"
each_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


def ask_smolagents(base_url: str) -> str:
    from smolagents import ChatMessage, OpenAIServerModel

    model = OpenAIServerModel("a-model", api_base=base_url, api_key="a-key", client_kwargs={"timeout": 1})
    question = ChatMessage(role="user", content=[{"type": "text", "text": QUESTION}])
    return "".join(delta.content or "" for delta in model.generate_stream([question]))


@each_fault
def test_smolagents(fault: tuple[str, ...], llm_faults: LLMFaults) -> None:
    provider = llm_faults(*fault)
    verdict = provider.run(ask_smolagents, provider.urls.openai)
    assert verdict


@each_fault
def test_smolagents_watched(fault: tuple[str, ...], llm_faults: LLMFaults) -> None:
    llmwatch.install(limits=llmwatch.Limits(ttfb=1))
    try:
        provider = llm_faults(*fault)
        verdict = provider.run(ask_smolagents, provider.urls.openai)
    finally:
        llmwatch.uninstall()
    assert verdict


@each_fault
def test_openai_agents(fault: tuple[str, ...], llm_faults: LLMFaults) -> None:
    from agents import Agent, OpenAIChatCompletionsModel, Runner, set_tracing_disabled
    from openai import AsyncOpenAI

    async def ask(base_url: str) -> str:
        client = AsyncOpenAI(base_url=base_url, api_key="a-key", timeout=1)
        agent = Agent(name="agent", model=OpenAIChatCompletionsModel("a-model", client))
        result = Runner.run_streamed(agent, QUESTION)
        async for _ in result.stream_events():
            pass
        return str(result.final_output)

    set_tracing_disabled(True)
    provider = llm_faults(*fault)
    verdict = provider.run(lambda: asyncio.run(ask(provider.urls.openai)))
    assert verdict


@each_fault
def test_pydantic_ai(fault: tuple[str, ...], llm_faults: LLMFaults) -> None:
    from openai import AsyncOpenAI
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async def ask(base_url: str) -> str:
        client = AsyncOpenAI(base_url=base_url, api_key="a-key", timeout=1)
        agent = Agent(OpenAIChatModel("a-model", provider=OpenAIProvider(openai_client=client)))
        async with agent.run_stream(QUESTION) as result:
            return str(await result.get_output())

    provider = llm_faults(*fault)
    verdict = provider.run(lambda: asyncio.run(ask(provider.urls.openai)))
    assert verdict
