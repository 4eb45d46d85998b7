"""The verdict on agents that a fault server has seen: sound ones, and each fault by itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

import llmwatch
from llmwatch import Client, Limits, Retry
from llmwatch.faults import Script, catalogue
from llmwatch.faults.steps import Chunk, Close, End, Head, Reset, WaitFor, paced
from llmwatch.testing import FaultyProvider, LLMFaults
from tests.conftest import SCALE
from tests.testing.agents import BODY, ask_until, careless, last_words

LONG = 30 * SCALE
"""Seconds that must not pass."""
MCP: dict[str, Any] = {"type": "mcp", "server_label": "crm", "server_url": "https://crm.example.com"}
WITH_TOOLS = {**BODY, "tools": [MCP]}
QUICK = Limits(
    connect=LONG,
    ttfb=0.3 * SCALE,
    first_content=0.4 * SCALE,
    stale=0.3 * SCALE,
    progress=0.4 * SCALE,
    finish=0.6 * SCALE,
    drain=0.1,
    total=1.5 * SCALE,
)
"""Limits that end what is silent, and nothing that the catalogue sends after a pause."""


def collected(base_url: str) -> str:
    with Client(limits=QUICK, retry=Retry(backoff=0), max_event=1 << 19) as client:
        return client.collect("POST", f"{base_url}/chat/completions", json=BODY).text


def streamed(base_url: str) -> str:
    client = Client(limits=QUICK, retry=Retry(backoff=0), max_event=1 << 19)
    with client, client.stream("POST", f"{base_url}/chat/completions", json=BODY) as stream:
        return "".join(event.text for event in stream)


def plain(base_url: str) -> Any:
    with Client(limits=QUICK, retry=Retry(backoff=0)) as client:
        answer = client.request("POST", f"{base_url}/chat/completions", json={**BODY, "stream": False})
        answer.raise_for_status()
        return answer.json()


@pytest.mark.parametrize("name", catalogue.SCRIPTS)
def test_llmwatch_is_sound_on_every_fault(name: str) -> None:
    """Whatever a provider does first, collecting and streaming with llmwatch break no rule."""
    for agent, hands_on in ((collected, False), (streamed, True)):
        with FaultyProvider(name, "healthy", hands_on=hands_on) as provider:
            verdict = provider.run(agent, provider.urls.openai)
        assert verdict, (agent, verdict)
        assert verdict.requests == provider.count >= 1
        assert (verdict.error is None) is isinstance(verdict.answer, str)


@pytest.mark.parametrize("name", ["healthy", "status", "cut-chunk", "silent", "reset-before-response", "retry-after"])
def test_llmwatch_is_sound_in_plain_calls(name: str) -> None:
    """A plain call is judged by its document."""
    with FaultyProvider(name, "healthy") as provider:
        verdict = provider.run(plain, provider.urls.openai)
    assert verdict, verdict


FAULTS: dict[str, tuple[tuple[Any, ...], Callable[..., object], dict[str, Any], str, str]] = {
    "a status is not retried": (
        ("status:status=503", "healthy"),
        last_words,
        {},
        "retried",
        "request 1 got status 503, and was not sent again",
    ),
    "silence is not retried": (
        ("silent", "healthy"),
        last_words,
        {},
        "retried",
        "request 1 got no answer, and was not sent again",
    ),
    "a wait that can be waited for is not retried": (
        ("retry-after:value=100", "healthy"),
        last_words,
        {},
        "retried",
        "request 1 got status 429, and was not sent again",
    ),
    "what is refused is sent again": (
        ("bad-request", "healthy"),
        ask_until,
        {},
        "safe",
        "request 1 was sent again as request 2, status 400 is the answer to the same request again",
    ),
    "a refused key is sent again": (
        ("status:status=401", "healthy"),
        ask_until,
        {},
        "safe",
        "request 1 was sent again as request 2, status 401 is the answer to the same request again",
    ),
    "a tool of the provider may run twice": (
        ("reset-before-response", "healthy"),
        ask_until,
        {"body": WITH_TOOLS},
        "safe",
        "request 1 was sent again as request 2, after no answer: ",
    ),
    "two answers in a row are thrown away": (
        ("reset-mid-stream", "reset-mid-stream", "healthy"),
        ask_until,
        {},
        "safe",
        "request 2 was sent again as request 3, after a part of an answer for the second time",
    ),
    "a named wait is not waited for": (
        ("retry-after:value=2", "healthy"),
        ask_until,
        {"patient": False},
        "waited",
        "request 1 was sent again as request 2 after 0.0",
    ),
    "a cut is taken for the end": (
        ("eof-without-terminal",),
        careless,
        {},
        "whole",
        "the program returned as if all was well, and its last request got a part of an answer",
    ),
    "an error is taken for an answer": (
        ("error-field",),
        careless,
        {},
        "whole",
        "the program returned as if all was well, and its last request got a part of an answer",
    ),
}


@pytest.mark.parametrize(("faults", "agent", "more", "rule", "message"), FAULTS.values(), ids=FAULTS)
def test_one_rule_is_broken(
    faults: tuple[Any, ...], agent: Callable[..., object], more: dict[str, Any], rule: str, message: str
) -> None:
    """The finding names the rule and the requests, and no other rule is said to be broken."""
    with FaultyProvider(*faults) as provider:
        verdict = provider.run(agent, provider.urls.openai, **more)
    assert not verdict
    assert {name: getattr(verdict, name) for name in ("retried", "safe", "waited", "whole")} == {
        "retried": rule != "retried",
        "safe": rule != "safe",
        "waited": rule != "waited",
        "whole": rule != "whole",
    }
    (found,) = verdict.findings
    assert str(found).startswith(message)
    assert f"* {rule}: {message}" in repr(verdict)


SOUND: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "a status is retried": (("status:status=503", "healthy"), {}),
    "a wait is waited for": (("retry-after:value=0.2", "healthy"), {}),
    "a key is renewed": (("status:status=401", "healthy"), {"keys": "abc"}),
    "one answer is thrown away": (("reset-mid-stream", "healthy"), {}),
    "a program gives up": (("status:status=500",), {}),
    "a wait is too long": (("retry-after:value=121,status=429", "healthy"), {"attempts": 1, "patient": False}),
    "a refusal is passed on": (("bad-request", "healthy"), {"attempts": 1}),
    "pings are left alone": (("keepalive-only:every=0.5", "healthy"), {"attempts": 1}),
    "a long answer": (("giant-event",), {"attempts": 1}),
    "steps": (((Head(503), Chunk(b"busy"), End()), "healthy"), {}),
    "one step": ((Reset(), "healthy"), {}),
    "a script": ((Script.of("closed", Close()), "healthy"), {}),
}


@pytest.mark.parametrize(("faults", "more"), SOUND.values(), ids=SOUND)
def test_no_rule_is_broken(faults: tuple[Any, ...], more: dict[str, Any]) -> None:
    """A program may do what is neither a breach nor what llmwatch would do."""
    with FaultyProvider(*faults) as provider:
        verdict = provider.run(ask_until, provider.urls.openai, **more)
    assert verdict, verdict


def test_text_that_was_shown_is_not_asked_for_again() -> None:
    """The same resend is sound or not by whether the user has seen the text."""
    found = []
    for hands_on in (False, True):
        with FaultyProvider("reset-mid-stream", "healthy", hands_on=hands_on) as provider:
            found.append(provider.run(ask_until, provider.urls.openai).safe)
    assert found == [True, False]


def test_the_answer_that_came_last_is_the_one_that_counts() -> None:
    """A program that has two requests under way may return the answer to the first."""
    whole = Script(
        name="later", description="", play=lambda context: [WaitFor("now"), *context.answer(paced(context.whole()))]
    )
    provider = FaultyProvider(whole, "silent")

    def hedge(base_url: str) -> str:
        with ThreadPoolExecutor() as pool:
            first = pool.submit(requests.post, f"{base_url}/chat/completions", json=BODY, timeout=LONG)
            provider.wait_for_requests(1)
            with pytest.raises(requests.Timeout):
                careless(base_url)
            provider.gate("now").set()
            return first.result().text

    with provider:
        verdict = provider.run(hedge, provider.urls.openai)
    assert verdict.whole, verdict


def test_each_call_is_judged_by_itself() -> None:
    """A second question is no resend of the first."""

    def two(base_url: str) -> None:
        careless(base_url)
        last_words(base_url, {**BODY, "messages": [{"role": "user", "content": "And now?"}]})

    with FaultyProvider("bad-request", "healthy") as provider:
        verdict = provider.run(two, provider.urls.openai)
    assert verdict, verdict


def test_a_verdict_without_a_function() -> None:
    """The test says how its program took it, where it does not raise."""
    with FaultyProvider("eof-without-terminal") as provider:
        careless(provider.urls.openai)
        assert provider.verdict(succeeded=False)
        verdict = provider.verdict(succeeded=True)
    assert not verdict.whole
    assert repr(verdict).startswith("<Verdict on 1 requests: not sound\n* whole: the program returned")


def test_what_the_program_returned_or_raised_is_kept() -> None:
    """Ctrl-C and the end of a test are no failure of the program, and pass."""
    with FaultyProvider() as provider:
        assert provider.run(lambda: 5).answer == 5
        raised = provider.run(lambda: 1 / 0)
        assert isinstance(raised.error, ZeroDivisionError)
        with pytest.raises(KeyboardInterrupt):
            provider.run(_interrupted)


def _interrupted() -> None:
    raise KeyboardInterrupt


def test_the_log_of_requests() -> None:
    """Requests can be counted, and their distance is known."""
    with FaultyProvider("retry-after:value=0.2", "healthy") as provider:
        ask_until(provider.urls.openai)
        assert provider.count == 2
        assert [request.json() for request in provider.requests] == [BODY, BODY]
        (gap,) = provider.spacing
        assert 0.2 <= gap < 30
        provider.wait_for_closed(2)
        log = provider.log
    assert [seen.what for seen in log if seen.connection == 1] == ["opened", "request", "answered", "closed"]


def test_servers_end_with_their_block() -> None:
    """Several providers may run at once, and a script that fails is not passed over."""

    def broken(context: object) -> Any:
        raise RuntimeError("broken script")

    with pytest.raises(RuntimeError, match="broken script"), LLMFaults() as llm_faults:
        first, second = llm_faults("healthy"), llm_faults(Script(name="broken", description="", play=broken))
        assert "data: [DONE]" in last_words(first.urls.openai)
        with pytest.raises(requests.ConnectionError):
            last_words(second.urls.openai)
        with pytest.raises(RuntimeError, match="broken script"):
            second.verdict(succeeded=True)


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    """A wrong name is told before anything is served."""
    with pytest.raises(KeyError, match="did you mean stall-after-content, "), LLMFaults() as llm_faults:
        llm_faults("stall-after-contents")


PATHS = {
    "openai": ("/chat/completions", BODY),
    "responses": ("/responses", {"model": "m", "stream": True, "input": "Hello!"}),
    "anthropic": ("/v1/messages", BODY),
    "gemini": (
        "/v1beta/models/m:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": "Hello!"}]}]},
    ),
    "ollama": ("/api/chat", BODY),
    "cohere": ("/v2/chat", BODY),
    "bedrock": ("/model/m/converse-stream", {"messages": [{"role": "user", "content": [{"text": "Hello!"}]}]}),
}


@pytest.mark.parametrize("api", PATHS)
def test_every_provider_has_its_base_url(api: str) -> None:
    """Each API answers in its own form below its base URL, whole, and its cuts are seen."""
    path, body = PATHS[api]
    for name, sound in (("healthy", True), ("reset-mid-stream", False)):
        with FaultyProvider(name, text="All of it.") as provider, Client(retry=Retry.none()) as client:

            def ask(url: str, client: llmwatch.Client = client) -> str:
                return client.collect("POST", url, json=body).text

            verdict = provider.run(ask, getattr(provider.urls, api) + path)
            assert (verdict.answer == "All of it.") is sound
            assert verdict, verdict
            assert provider.verdict(succeeded=True).whole is sound
