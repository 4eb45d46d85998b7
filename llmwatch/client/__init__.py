"""The client and its outer retry loop."""

from llmwatch.client.client import Client
from llmwatch.client.collected import Collected
from llmwatch.client.notices import DelayNotice, Notice, ProgressNotice, RetryNotice, WaitNotice
from llmwatch.client.resend import Resend
from llmwatch.client.shortcuts import collect, effective_limits, request, stats, stream
from llmwatch.client.stream import Stream

__all__ = [
    "Client",
    "Collected",
    "DelayNotice",
    "Notice",
    "ProgressNotice",
    "Resend",
    "RetryNotice",
    "Stream",
    "WaitNotice",
    "collect",
    "effective_limits",
    "request",
    "stats",
    "stream",
]
