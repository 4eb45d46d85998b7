"""The client, the stream and the answer that it returns, and the functions on a default client."""

from llmwatch.client.client import Client, Stream
from llmwatch.client.collected import Collected
from llmwatch.client.shortcuts import collect, effective_limits, request, stats, stream

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
