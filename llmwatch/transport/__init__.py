"""The watchdog's hold on requests and urllib3: connections that can be aborted, pools that recycle."""

from llmwatch.transport.adapter import WatchedAdapter
from llmwatch.transport.context import Overrides, RequestContext
from llmwatch.transport.errors import translate
from llmwatch.transport.sender import Reply, Sender

__all__ = ["Overrides", "Reply", "RequestContext", "Sender", "WatchedAdapter", "translate"]
