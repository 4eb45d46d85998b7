"""What events mean: one module a dialect, and the registry of them."""

from llmwatch.wire.dialects.base import Dialect
from llmwatch.wire.dialects.detect import by_event, by_url
from llmwatch.wire.dialects.lookup import check_dialect, create, names, register_dialect, unregister_dialect

__all__ = [
    "Dialect",
    "by_event",
    "by_url",
    "check_dialect",
    "create",
    "names",
    "register_dialect",
    "unregister_dialect",
]
