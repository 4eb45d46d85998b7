"""Watched connections for requests and urllib3: an attempt can abort them, and pools recycle them."""

from llmwatch.transport.adapter import WatchedAdapter
from llmwatch.transport.context import Overrides, RequestContext
from llmwatch.transport.errors import translate
from llmwatch.transport.sender import Reply, Sender

__all__ = ["Overrides", "Reply", "RequestContext", "Sender", "WatchedAdapter", "translate"]
