"""LLMWATCH_* variables change a call whose code sets nothing.

    python examples/tuning_by_environment.py
    LLMWATCH_TTFB_TIMEOUT_SECONDS=20 python examples/tuning_by_environment.py

The first scene is what your shell sets. In the others this process sets variables itself, as a shell would: they are
read at every call.
"""

from __future__ import annotations

import os

import llmwatch
from llmwatch.faults import FaultServer

BODY = {"model": "any", "stream": True, "messages": [{"role": "user", "content": "What does a watchdog do?"}]}

# Each scene: the variables, and what the provider does with the first request and with those after it.
SCENES: list[tuple[dict[str, str], list[str]]] = [
    ({"LLMWATCH_TTFB_TIMEOUT_SECONDS": "1.0"}, ["silent", "healthy"]),
    ({"LLMWATCH_TIMEOUT_SECONDS": "0.8", "LLMWATCH_STALE_TIMEOUT_SECONDS": "5"}, ["silent", "healthy"]),
    ({"LLMWATCH_TTFB_TIMEOUT_SECONDS": "1.0", "LLMWATCH_MAX_ATTEMPTS": "1"}, ["silent", "healthy"]),
    ({"LLMWATCH_PROFILE": "hosted", "LLMWATCH_TTFB_TIMEOUT": "0.4"}, ["healthy"]),
    ({"LLMWATCH_TTFB_TIMEOUT_SECONDS": "soon"}, ["healthy"]),
]


def ask(url: str) -> str:
    """The call, with nothing tuned in code."""
    try:
        record = llmwatch.collect("POST", url, json=BODY).record
        return f"{record.outcome}, attempts: {len(record.attempts)}"
    except llmwatch.WatchTimeout as error:
        return f"killed at {error.limit} in phase {error.phase} after {error.elapsed:.1f} s"


def show_limits(url: str) -> None:
    effective = llmwatch.effective_limits(url)
    for limit in effective.limits.values():
        value = "off" if limit.value is None else f"{limit.value:g} s"
        print(f"    {limit.name:14} {value:>8}   {limit.source}")
    for warning in effective.warnings:
        print(f"    note: {warning}")


def play(title: str, scripts: list[str]) -> None:
    print(f"\n{title}")
    with FaultServer(scripts) as server:
        try:
            show_limits(server.chat_url)
            print(f"  {ask(server.chat_url)}, requests at the provider: {len(server.requests)}")
        except llmwatch.ConfigError as error:
            print(f"  {type(error).__name__}: {error}")


def main() -> None:
    play("Your own environment", ["healthy"])
    for variables, scripts in SCENES:
        for name in list(os.environ):
            if name.startswith("LLMWATCH_"):
                del os.environ[name]
        os.environ.update(variables)
        play(" ".join(f"{name}={value}" for name, value in variables.items()), scripts)


if __name__ == "__main__":
    main()
