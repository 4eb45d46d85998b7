"""Fault servers for the tests of a program, as the pytest fixture ``llm_faults`` starts them."""

from __future__ import annotations

import itertools
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import ParamSpec

from llmwatch.faults import FaultServer, Observation, Script
from llmwatch.faults.catalogue import ANSWER
from llmwatch.faults.steps import Framing, Step
from llmwatch.testing.judging import Verdict, judge
from llmwatch.watch.clock import SYSTEM

__all__ = ["BaseUrls", "Faults", "FaultyProvider", "LLMFaults"]

P = ParamSpec("P")

Faults = str | Script | Step | Iterable[Step]
"""What answers one request: a name of the catalogue with parameters, a script, or steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseUrls:
    """The base URL that each provider's client takes, without a trailing slash.

    ``openai`` serves chat completions and what speaks like them, ``responses`` OpenAI's Responses.
    """

    openai: str
    responses: str
    anthropic: str
    gemini: str
    ollama: str
    cohere: str
    bedrock: str


class FaultyProvider(FaultServer):
    """A provider that fails: a fault server, its log, and the verdict on the program that called it.

    ``faults`` answer the requests one after the other, the last of them all that follow. ``hands_on``: the program
    shows the text of an answer to its user as it comes, so that nothing may be sent again once an answer has begun.
    Times are in seconds on a monotonic clock.
    """

    def __init__(
        self,
        *faults: Faults,
        hands_on: bool = False,
        shape: str = "auto",
        framing: Framing = "chunked",
        text: str = ANSWER,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._seen: list[Observation] = []
        self._seen_lock = threading.Lock()
        self._hands_on = hands_on
        super().__init__(
            [_script(fault) for fault in faults] or "healthy",
            shape=shape,
            framing=framing,
            text=text,
            tls=tls,
            clock=SYSTEM.now,
            observer=self._see,
        )

    @property
    def urls(self) -> BaseUrls:
        """The base URLs of this server."""
        urls = self.base_urls
        return BaseUrls(
            openai=urls["openai-chat"],
            responses=urls["openai-responses"],
            anthropic=urls["anthropic"],
            gemini=urls["gemini"],
            ollama=urls["ndjson"],
            cohere=urls["cohere"],
            bedrock=urls["bedrock"],
        )

    @property
    def log(self) -> list[Observation]:
        """A copy of what was seen so far: connections, requests, and how each answer ended."""
        with self._seen_lock:
            return list(self._seen)

    @property
    def count(self) -> int:
        """The number of requests that have come."""
        return len(self.requests)

    @property
    def spacing(self) -> list[float]:
        """Seconds from each request to the next."""
        times = [request.at or 0.0 for request in self.requests]
        return [later - earlier for earlier, later in itertools.pairwise(times)]

    def run(self, program: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> Verdict:
        """Call ``program`` and judge it, by what the server saw and by whether it returned or raised.

        The verdict keeps what it returned, or the ``Exception`` that it raised. The server is stopped.
        """
        answer, error = None, None
        try:
            answer = program(*args, **kwargs)
        except Exception as raised:
            error = raised
        return self._verdict(answer, error, succeeded=error is None)

    def verdict(self, *, succeeded: bool) -> Verdict:
        """Judge a program that has ended. ``succeeded``: it behaved as if all was well.

        The server is stopped. Raises what a script of the server has raised.
        """
        return self._verdict(None, None, succeeded=succeeded)

    def _verdict(self, answer: object, error: Exception | None, *, succeeded: bool) -> Verdict:
        # An answer that is still open, because its client holds the connection, ends here as well.
        self.stop()
        if self.failures:
            raise self.failures[0]
        seen = self.log
        findings = judge(seen, succeeded=succeeded, hands_on=self._hands_on)
        return Verdict(findings=findings, requests=self.count, answer=answer, error=error)

    def _see(self, observation: Observation) -> None:
        with self._seen_lock:
            self._seen.append(observation)


class LLMFaults:
    """Starts faulty providers, and stops them with its ``with`` block: the fixture ``llm_faults``.

    Called with the faults and options of a :class:`FaultyProvider`, it returns one that listens on a free port here.
    """

    def __init__(self) -> None:
        self._started = ExitStack()

    def __call__(
        self,
        *faults: Faults,
        hands_on: bool = False,
        shape: str = "auto",
        framing: Framing = "chunked",
        text: str = ANSWER,
        tls: ssl.SSLContext | None = None,
    ) -> FaultyProvider:
        provider = FaultyProvider(*faults, hands_on=hands_on, shape=shape, framing=framing, text=text, tls=tls)
        return self._started.enter_context(provider)

    def __enter__(self) -> LLMFaults:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._started.__exit__(kind, error, trace)


def _script(fault: Faults) -> str | Script:
    if isinstance(fault, (str, Script)):
        return fault
    steps = (fault,) if isinstance(fault, Step) else tuple(fault)
    return Script.of("steps", *steps, description="steps of the test")
