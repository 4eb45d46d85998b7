"""Removal of secrets and of the prompt from text: by patterns, and by what was sent."""

from llmwatch.redaction import prompt, redact
from llmwatch.redaction.sent import Secrets

__all__ = ["Secrets", "prompt", "redact"]
