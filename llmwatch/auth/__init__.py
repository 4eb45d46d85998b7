"""Tokens for requests: an authentication whose refresh cannot hang."""

from llmwatch.auth.grant import Refresh
from llmwatch.auth.refreshing import Refreshing, refreshing

__all__ = ["Refresh", "Refreshing", "refreshing"]
