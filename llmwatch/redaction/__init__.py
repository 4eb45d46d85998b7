"""What must not be repeated: patterns of secrets, what was sent, the prompt; and the taking out of it."""

from llmwatch.redaction import prompt, redact
from llmwatch.redaction.sent import Secrets

__all__ = ["Secrets", "prompt", "redact"]
