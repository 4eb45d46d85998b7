"""The openai and anthropic SDKs, and whatever else speaks through httpx or httpx2, on watched connections.

Importing this imports none of them: each is looked for when it is first needed, and :class:`ImportError` says what to
install where it is missing.
"""

from llmwatch.sdk.clients import anthropic, openai
from llmwatch.sdk.transport import Through, Translate, Transport
from llmwatch.sdk.trust import Verify

__all__ = ["Through", "Translate", "Transport", "Verify", "anthropic", "openai"]
