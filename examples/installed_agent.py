"""legacy_agent.py with the watchdog installed: one line, and the agent stays as it is.

    python examples/installed_agent.py
    OPENAI_API_KEY=... python examples/installed_agent.py https://api.openai.com/v1

The base URL may also stand in OPENAI_BASE_URL, the model in OPENAI_MODEL. Without one, a provider in this process goes
wrong on purpose: it is silent when it is first asked, and when it is asked for the third time it stops in mid-sentence.
"""

from __future__ import annotations

import os
import sys

import legacy_agent

import llmwatch
from llmwatch import CallRecord
from llmwatch.faults import FaultServer

SCRIPTS = ["silent", "tool-arguments-only:count=4", "stall-after-content:tokens=3", "healthy"]


def tell(record: CallRecord) -> None:
    attempts = ", ".join(attempt.close_reason for attempt in record.attempts)
    print(f"  llmwatch: {record.outcome} ({attempts})")


def main() -> None:
    llmwatch.install(sinks=[tell])  # the one line; sinks, limits and retry may be left out
    base_url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("OPENAI_BASE_URL", "")
    if base_url:
        legacy_agent.work(base_url)
        return
    # Limits of a demonstration: the defaults leave a provider minutes.
    os.environ.setdefault("LLMWATCH_TTFB_TIMEOUT_SECONDS", "0.5")
    os.environ.setdefault("LLMWATCH_STALE_TIMEOUT_SECONDS", "0.5")
    with FaultServer(SCRIPTS) as server:
        legacy_agent.work(f"{server.url}/v1")
        print(f"requests at the provider: {len(server.requests)}")


if __name__ == "__main__":
    main()
