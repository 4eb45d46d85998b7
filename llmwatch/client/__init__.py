"""The client, the stream and the answer that it returns, and the functions on a default client."""

from llmwatch.client.client import Client
from llmwatch.client.collected import Collected
from llmwatch.client.shortcuts import collect, effective_limits, request, stats, stream
from llmwatch.client.stream import Stream

__all__ = [
    "Client",
    "Collected",
    "Stream",
    "collect",
    "effective_limits",
    "request",
    "stats",
    "stream",
]
