"""The openai and anthropic SDKs, and other libraries on httpx or httpx2, over watched connections.

Importing this imports none of them. Each is imported when first needed; :class:`ImportError` says what to install.
"""

from llmwatch.sdk.clients import anthropic, openai
from llmwatch.sdk.transport import Through, Translate, Transport
from llmwatch.sdk.trust import Verify

__all__ = ["Through", "Translate", "Transport", "Verify", "anthropic", "openai"]
